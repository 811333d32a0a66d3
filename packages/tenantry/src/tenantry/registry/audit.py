"""The audit trail: who did what from where and how it ended, in rows that are chained by their hashes.

Rows are numbered without a gap. Each holds the hash of its content and of the row before it, and one further row holds
the number and the hash of the last, so that a changed, a missing and a swapped row are found, also at the end. Whoever
may write to the tables can write the whole chain anew: keep what ``verify`` calls the head where they cannot reach it.

Writers wait for each other from the moment they append until their transaction ends; they append last.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from tenantry.registry import journal
from tenantry.registry.plane import ControlPlane
from tenantry.registry.tables import RegistryTables, tables

GENESIS = "0" * 64  # stands for the hash of the row before the first
BATCH = 1_000  # rows in memory while the trail is verified or exported
MAX_FAULTS = 100  # are told; a trail in which everything is wrong needs no more


@dataclass(frozen=True)
class AuditEntry:
    """One line of the audit trail: who did what from where, and how it ended."""

    sequence: int
    at: datetime  # UTC
    actor: str
    origin: str
    action: str
    slug: str | None
    outcome: str  # done, failed, refused
    details: Mapping[str, Any]
    previous: str  # the hash of the line before
    hash: str


@dataclass(frozen=True)
class Record:
    """What a change will say of itself in the audit trail, whichever way it ends."""

    at: datetime
    action: str
    slug: str | None
    details: Mapping[str, Any] | None
    actor: str | None  # None: as the innermost ``acting`` says
    origin: str | None


@dataclass(frozen=True)
class AuditFault:
    """A place where the trail is not as it was written: its row's number, one word for it, and a sentence."""

    sequence: int
    kind: str  # changed, missing, unlinked, added
    message: str


@dataclass(frozen=True)
class AuditHead:
    """The end of the trail: noted elsewhere, it proves later that nothing up to there was written anew."""

    sequence: int
    hash: str

    def __str__(self) -> str:
        return f"{self.sequence}:{self.hash}"


@dataclass(frozen=True)
class AuditReport:
    """What a verification found, and how far it went."""

    faults: Sequence[AuditFault]
    head: AuditHead
    rows: int


def digest(
    *,
    sequence: int,
    at: datetime,
    actor: str,
    origin: str,
    action: str,
    slug: str | None,
    outcome: str,
    details: str,
    previous: str,
) -> str:
    """The hash of a row: SHA-256 of its fields as a JSON array, its details as the text that is stored."""
    said = _said(at=at, actor=actor, origin=origin, action=action, slug=slug, outcome=outcome, details=details)
    return hashlib.sha256(f'[{sequence},{said},"{previous}"]'.encode()).hexdigest()


def _said(*, at: datetime, actor: str, origin: str, action: str, slug: str | None, outcome: str, details: str) -> str:
    """What is hashed of a row, between its number and the hash of the row before, which only the database knows."""
    moment = at.astimezone(UTC).isoformat(timespec="microseconds")
    return json.dumps([moment, actor, origin, action, slug, outcome, details], separators=(",", ":"))[1:-1]


_SAID = ("at", "actor", "origin", "action", "slug", "outcome", "details")


@dataclass(frozen=True)
class _Statements:
    """What every appended line sends, built once: building takes as long as sending."""

    advance: sa.sql.dml.ReturningUpdate[Any]
    insert: sa.Insert
    move: sa.Update
    whole: sa.Select[Any]


@functools.cache
def _statements(tables: RegistryTables) -> _Statements:
    head, audit = tables.audit_head, tables.audit
    moved, line = chained(tables)
    return _Statements(
        advance=sa.update(head).values(sequence=head.c.sequence + 1).returning(head.c.sequence, head.c.hash),
        insert=sa.insert(audit),
        move=sa.update(head),
        whole=sa.select(moved.c.sequence).add_cte(line),
    )


def chained(tables: RegistryTables, provided: sa.ColumnElement[bool] | None = None) -> tuple[sa.CTE, sa.CTE]:
    """The appending of one line as parts of a statement on PostgreSQL, which computes the hash itself: what takes the
    next number, one row or none when the end of the trail is not known, and what writes the line.

    ``provided``: settled before the end of the trail is locked. Its parameters are of :func:`line`.
    """
    head, audit = tables.audit_head, tables.audit
    # Locked by a look first: an UPDATE alone cannot return the hash that it replaces.
    end = sa.select(head).where(*([] if provided is None else [provided])).with_for_update().cte("trail_end")
    number = end.c.sequence + sa.literal_column("1")
    said = sa.bindparam("line__said", type_=sa.Text)
    text = sa.func.concat(*_words("[", number, ",", said, ',"', end.c.hash, '"]'))
    hashed = sa.func.encode(sa.func.sha256(sa.func.convert_to(text, *_words("UTF8"))), *_words("hex"))
    moved = (
        sa.update(head)
        .where(head.c.uid == end.c.uid)
        .values(sequence=number, hash=hashed)
        .returning(head.c.sequence, head.c.hash, end.c.hash.label("previous"))
        .cte("trail_moved")
    )
    row = [sa.bindparam(f"line__{name}", type_=audit.c[name].type) for name in _SAID]
    written = sa.select(moved.c.sequence, moved.c.previous, moved.c.hash, *row)
    return moved, sa.insert(audit).from_select(("sequence", "previous", "hash", *_SAID), written).cte("line_written")


def _words(*parts: Any) -> list[sa.ColumnElement[Any]]:
    """The parts, with texts as constants of the statement and not as parameters."""
    return [sa.literal_column(f"'{part}'", sa.Text) if isinstance(part, str) else part for part in parts]


def line(record: Record, outcome: str = "done") -> dict[str, Any]:
    """The parameters of :func:`chained`."""
    fields = _fields(record, outcome)
    # The text that SQLAlchemy will store: JSON columns keep it letter by letter.
    said = _said(**{**fields, "details": json.dumps(fields["details"])})
    return {"line__said": said} | {f"line__{name}": value for name, value in fields.items()}


def _fields(record: Record, outcome: str) -> dict[str, Any]:
    who, where = journal.acting(record.actor, record.origin)
    return {
        "at": record.at,
        "actor": who,
        "origin": where,
        "action": record.action,
        "slug": record.slug,
        "outcome": outcome,
        "details": dict(record.details or {}),
    }


def append(connection: sa.Connection, tables: RegistryTables, record: Record, *, outcome: str = "done") -> None:
    """Add one line to the audit trail. Other writers wait from here until the transaction ends."""
    statements = _statements(tables)
    if connection.dialect.name != "sqlite":
        parameters = line(record, outcome)
        if connection.execute(statements.whole, parameters).first() is None:
            _begin_head(connection, tables)
            connection.execute(statements.whole, parameters).one()
        return
    fields = _fields(record, outcome)
    sequence, previous = _advance(connection, tables)
    hashed = digest(sequence=sequence, previous=previous, **{**fields, "details": json.dumps(fields["details"])})
    connection.execute(statements.insert, {**fields, "sequence": sequence, "previous": previous, "hash": hashed})
    connection.execute(statements.move, {"hash": hashed})


def _advance(connection: sa.Connection, tables: RegistryTables) -> tuple[int, str]:
    """Take the next number, with the hash of the row before it, and hold the end of the trail.

    An UPDATE and not a look: on SQLite it is what takes the lock.
    """
    advance = _statements(tables).advance
    found = connection.execute(advance).first()
    if found is None:
        _begin_head(connection, tables)
        found = connection.execute(advance).one()
    return found.sequence, found.hash


def _begin_head(connection: sa.Connection, tables: RegistryTables) -> None:
    """Write down where the trail ends, which is written down nowhere."""
    head, last = tables.audit_head, _last(connection, tables)
    start = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(head)
    connection.execute(start.on_conflict_do_nothing(), {"uid": 1, "sequence": last.sequence, "hash": last.hash})


def _last(connection: sa.Connection, tables: RegistryTables) -> AuditHead:
    """The row with the highest number, whatever the head says."""
    audit = tables.audit
    query = sa.select(audit.c.sequence, audit.c.hash).order_by(audit.c.sequence.desc()).limit(1)
    row = connection.execute(query).first()
    return AuditHead(0, GENESIS) if row is None else AuditHead(row.sequence, row.hash)


class AuditTrail(ControlPlane):
    """The audit trail of one control plane. It can be added to and read; nothing here changes or removes a row."""

    def __init__(self, engine: Callable[[], sa.Engine], schema: str | None, location: str) -> None:
        super().__init__(engine, schema, location)
        self._tables = tables(schema)

    def audit(
        self,
        action: str,
        slug: str | None = None,
        *,
        outcome: str = "done",
        details: Mapping[str, Any] | None = None,
        actor: str | None = None,
        origin: str | None = None,
        connection: sa.Connection | None = None,
    ) -> None:
        """Add a line to the audit trail: who did what from where, and how it ended ("done", "failed", "refused").

        In the transaction of a ``connection`` it belongs at the end: until that ends, nobody else can add one.
        """
        with self._transaction(connection, writes=True) as joined:
            record = Record(journal.now(), action, slug, details, actor, origin)
            append(joined, self._tables, record, outcome=outcome)

    def audit_entries(
        self,
        slug: str | None = None,
        *,
        action: str | None = None,
        actor: str | None = None,
        outcome: str | None = None,
        before: int | None = None,
        limit: int = 100,
        connection: sa.Connection | None = None,
    ) -> Sequence[AuditEntry]:
        """The latest lines of the audit trail, newest first; ``before``: only those with a smaller number."""
        audit = self._tables.audit
        query = sa.select(audit).order_by(audit.c.sequence.desc()).limit(limit)
        for column, wanted in ((audit.c.slug, slug), (audit.c.action, action), (audit.c.actor, actor)):
            if wanted is not None:
                query = query.where(column == wanted)
        if outcome is not None:
            query = query.where(audit.c.outcome == outcome)
        if before is not None:
            query = query.where(audit.c.sequence < before)
        with self._transaction(connection) as joined:
            return [AuditEntry(**row) for row in joined.execute(query).mappings()]

    def export_audit(self, slug: str | None = None, *, action: str | None = None, after: int = 0) -> Iterator[str]:
        """The audit trail as JSON Lines, oldest first, each with its line break; ``after``: only higher numbers.

        Read in batches: memory stays flat, no connection is held between two lines, and lines that are added while it
        runs are among them.
        """
        for row in self._rows(after, slug, action):
            fields = {
                "sequence": row.sequence,
                "at": row.at.isoformat(timespec="microseconds"),
                "actor": row.actor,
                "origin": row.origin,
                "action": row.action,
                "slug": row.slug,
                "outcome": row.outcome,
            }
            chained = {"previous": row.previous, "hash": row.hash}
            # The details as they are stored, so that the hash can be computed from the line.
            head, tail = json.dumps(fields, ensure_ascii=False), json.dumps(chained)
            yield f'{head[:-1]}, "details": {row.details}, {tail[1:]}\n'

    def verify_audit(self) -> list[AuditFault]:
        """Every place, up to 100, where the trail is not as it was written; empty when it is whole."""
        return list(self.check_audit().faults)

    def check_audit(self, *, anchor: AuditHead | None = None) -> AuditReport:
        """Verify the trail; with an ``anchor`` also that its row stands there with that hash.

        Lines that are added meanwhile are not looked at.
        """
        with self._transaction(None) as connection:
            stored = connection.execute(sa.select(self._tables.audit_head)).first()
            last = _last(connection, self._tables)
        head = last if stored is None else AuditHead(stored.sequence, stored.hash)
        faults: list[AuditFault] = []
        previous, rows = AuditHead(0, GENESIS), 0
        anchored = anchor is None or anchor == previous
        for row in self._rows(0, until=max(head.sequence, last.sequence)):
            rows += 1
            found = AuditHead(row.sequence, row.hash)
            anchored = anchored or found == anchor
            faults.extend(_faults_of(row, previous, head))
            previous = found
            if len(faults) >= MAX_FAULTS:
                return AuditReport(faults[:MAX_FAULTS], head, rows)
        if stored is None and last.sequence:
            faults.append(AuditFault(last.sequence, "missing", "The record of where the trail ends is missing."))
        if previous.sequence < head.sequence:
            faults.append(_missing(previous.sequence + 1, head.sequence))
        elif previous.sequence == head.sequence and previous.hash != head.hash:
            said = f"Row {head.sequence} is not the one with which the trail ended."
            faults.append(AuditFault(head.sequence, "changed", said))
        if anchor is not None and not anchored:
            said = f"There is no row {anchor.sequence} with the hash {anchor.hash}: the trail was written anew."
            faults.append(AuditFault(anchor.sequence, "changed", said))
        return AuditReport(faults, head, rows)

    def _rows(
        self, after: int, slug: str | None = None, action: str | None = None, until: int | None = None
    ) -> Iterator[sa.Row[*tuple[Any, ...]]]:
        """Rows oldest first, their details as the text that is stored, a batch at a time."""
        audit = self._tables.audit
        columns = [column for column in audit.c if column.name != "details"]
        query = sa.select(*columns, sa.cast(audit.c.details, sa.Text).label("details")).order_by(audit.c.sequence)
        if slug is not None:
            query = query.where(audit.c.slug == slug)
        if action is not None:
            query = query.where(audit.c.action == action)
        if until is not None:
            query = query.where(audit.c.sequence <= until)
        while True:
            with self._transaction(None) as connection:
                batch: Sequence[sa.Row[*tuple[Any, ...]]] = connection.execute(
                    query.where(audit.c.sequence > after).limit(BATCH)
                ).all()
            yield from batch
            if len(batch) < BATCH:
                return
            after = batch[-1].sequence


def _faults_of(row: sa.Row[*tuple[Any, ...]], previous: AuditHead, head: AuditHead) -> Iterator[AuditFault]:
    if row.sequence > head.sequence:
        said = f"Row {row.sequence} stands after the end of the trail, which is row {head.sequence}."
        yield AuditFault(row.sequence, "added", said)
    if row.sequence > previous.sequence + 1:
        yield _missing(previous.sequence + 1, row.sequence - 1)
    if _hash_of(row) != row.hash:
        yield AuditFault(row.sequence, "changed", f"The content of row {row.sequence} is not what was written.")
    elif row.previous != previous.hash and row.sequence == previous.sequence + 1:
        before = f"row {previous.sequence}" if previous.sequence else "the beginning"
        said = f"Row {row.sequence} was not written after {before} as it stands: one of them was replaced."
        yield AuditFault(row.sequence, "unlinked", said)


def _hash_of(row: sa.Row[*tuple[Any, ...]]) -> str:
    fields = {name: value for name, value in row._mapping.items() if name != "hash"}
    return digest(**fields)


def _missing(first: int, last: int) -> AuditFault:
    rows = f"Row {first} is" if first == last else f"Rows {first} to {last} are"
    return AuditFault(first, "missing", f"{rows} missing.")
