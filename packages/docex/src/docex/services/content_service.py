"""Contents that are kept once per storage, and counted.

A committed row with ``refs`` above 0 has its bytes in the storage. To keep that true under any kill: bytes are stored
before the rows that count them are committed, and removed only under the lock of a row that counts none. What a kill
leaves is bytes that nothing counts, never a count without bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, and_, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from docex.database import Database
from docex.models.holdings import ContentRow
from docex.models.tables import now, table_of
from docex.storage.base import Storage

CHUNK = 200  # contents that are removed in one transaction

TABLE = _table = table_of(ContentRow)
KEY = _table.c.key
_VALUES: dict[str, Any] = {name: bindparam(name) for name in ("place", "checksum", "key", "size", "refs", "created_at")}
_KEY = (_table.c.place, _table.c.checksum)
_HOLD = {
    name: statement.on_conflict_do_update(
        index_elements=_KEY, set_={"refs": _table.c.refs + statement.excluded.refs}
    ).returning(_table.c.key, _table.c.refs)
    for name, statement in (
        ("postgresql", postgresql.insert(_table).values(_VALUES)),
        ("sqlite", sqlite.insert(_table).values(_VALUES)),
    )
}
_KNOW = {
    "postgresql": postgresql.insert(_table).values(_VALUES).on_conflict_do_nothing(),
    "sqlite": sqlite.insert(_table).values(_VALUES).on_conflict_do_nothing(),
}
_RELEASE = (
    update(_table)
    .where(_table.c.place == bindparam("of_place"), _table.c.checksum == bindparam("of_checksum"))
    .values(refs=_table.c.refs - bindparam("released"))
    .returning(_table.c.refs)
)
_LOCK = (
    select(_table.c.refs, _table.c.key)
    .where(_table.c.place == bindparam("of_place"), _table.c.checksum == bindparam("of_checksum"))
    .with_for_update()
)
_FORGET = delete(_table).where(
    _table.c.place == bindparam("of_place"), _table.c.checksum == bindparam("of_checksum"), _table.c.refs == 0
)


def of(place: Column[Any], checksum: Column[Any]) -> ColumnElement[bool]:
    """The condition that joins contents with what holds them."""
    return and_(_table.c.place == place, _table.c.checksum == checksum)


def hold(connection: Connection, place: str, checksum: str, key: str, size: int, times: int = 1) -> tuple[str, bool]:
    """Count a content that is held so many times more. Returns its key, and whether nothing counted it before.

    The row is locked until the transaction ends: nobody can remove the content in between.
    """
    given = {"place": place, "checksum": checksum, "key": key, "size": size, "refs": times, "created_at": now()}
    row = connection.execute(_HOLD[connection.dialect.name], given).one()
    return row.key, row.refs == times


def release(connection: Connection, held: Mapping[tuple[str, str], int]) -> list[tuple[str, str]]:
    """Count contents, named by place and checksum, so many times less. Returns those that nothing counts any more.

    To be given to :func:`reap` when the transaction is committed.
    """
    idle = []
    for (place, checksum), times in sorted(held.items()):  # one order for all, so that nobody waits in a circle
        given = {"of_place": place, "of_checksum": checksum, "released": times}
        refs = connection.execute(_RELEASE, given).scalar_one_or_none()
        if refs is not None and refs <= 0:
            idle.append((place, checksum))
    return idle


def reap(db: Database, storage: Storage, checksums: Iterable[str]) -> int:
    """Remove contents that nothing counts; others are left alone. Returns how many were removed.

    A content without a row, left by a kill, is removed too: it gets a row first, so that whoever adds it at the same
    moment waits for this to end.
    """
    wanted, removed = sorted(set(checksums)), 0
    for start in range(0, len(wanted), CHUNK):
        with db.session(write=True) as session:
            connection = session.connection()
            for checksum in wanted[start : start + CHUNK]:
                key = storage.content_key(checksum, "")
                given = {
                    "place": storage.place,
                    "checksum": checksum,
                    "key": key,
                    "size": 0,
                    "refs": 0,
                    "created_at": now(),
                }
                connection.execute(_KNOW[connection.dialect.name], given)
                which = {"of_place": storage.place, "of_checksum": checksum}
                row = connection.execute(_LOCK, which).one_or_none()
                if row is not None and row.refs <= 0:  # without one, another process has just removed the content
                    storage.delete(row.key)
                    connection.execute(_FORGET, which)
                    removed += 1
    return removed
