"""The audit trail of a tenant: what a change of a row says, and acts that are more than such a change.

Sessions that are bound to a context write an entry for every row that they make, change or remove. ``act`` names what
such changes are part of; ``note`` writes down an act that changes no row, such as a login. Encrypted columns go into an
entry as they are kept, and a column marked ``info={"audited": False}`` not at all.

The entries of a transaction are written together, just before it commits: what rolls back leaves none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import event, text
from sqlalchemy import inspect as inspected
from sqlalchemy.orm import MANYTOMANY, Mapper, PassiveFlag, Session, SessionTransaction
from sqlalchemy.orm.attributes import get_history

from beak_lims.crypto import keyring
from beak_lims.models.base import LabRecord, Record
from beak_lims.models.encrypted import EncryptedDate, EncryptedText
from tenantry.registry.uids import new_uid

if TYPE_CHECKING:
    from beak_lims.context import LabContext

ACT = "beak_lims.act"
# Told by the entry itself.
LEFT_OUT = frozenset({"uid", "created_at", "created_by_uid", "updated_at", "updated_by_uid"})
SECRET = frozenset({"hashed_password"})  # never repeated anywhere; an entry tells that it changed
HIDDEN = "(hidden)"
PENDING = "beak_lims.audit.pending"  # entries of this transaction that are not written yet
MARKS = "beak_lims.audit.marks"  # how many there were when each savepoint was made
Entry = dict[str, Any]  # the columns of audit_log by name
# One parameter however many entries: the statement stays the same, so it is prepared once.
_WRITE = text(
    "INSERT INTO audit_log (uid, user_uid, user_name, laboratory_uid, action, target_type, target_uid,"
    " state_before, state_after, address, request_id)"
    " SELECT uid, user_uid, user_name, laboratory_uid, action, target_type, target_uid,"
    " state_before, state_after, address, request_id"
    " FROM jsonb_to_recordset(CAST(:entries AS jsonb)) AS e(uid text, user_uid text, user_name text,"
    " laboratory_uid text, action text, target_type text, target_uid text, state_before jsonb, state_after jsonb,"
    " address text, request_id text)"
)


@contextmanager
def act(session: Session, name: str) -> Iterator[None]:
    """Inside, the entries for changed rows have this action instead of ``update``: ``submit``, ``approve``, ..."""
    session.flush()
    before = session.info.get(ACT)
    session.info[ACT] = name
    try:
        yield
        session.flush()
    finally:
        session.info[ACT] = before


def note(
    session: Session,
    context: LabContext,
    action: str,
    target_type: str,
    target_uid: str | None = None,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """Write an entry for an act. ``before`` and ``after`` hold JSON values, and no secret."""
    entry: Entry = {
        "uid": new_uid(),
        "action": action,
        "target_type": target_type,
        "target_uid": target_uid,
        "laboratory_uid": None,
        "state_before": before,
        "state_after": after,
    }
    write(session, context, [entry])


def write(session: Session, context: LabContext, entries: list[Entry]) -> None:
    """Sign entries - who did it, and from where - and have them written when the transaction commits."""
    for entry in entries:
        entry["user_uid"], entry["user_name"] = context.user_uid, context.user_name
        entry["laboratory_uid"] = entry["laboratory_uid"] or context.laboratory_uid
        entry["address"], entry["request_id"] = context.address, context.request_id
    session.info.setdefault(PENDING, []).extend(entries)


@event.listens_for(Session, "before_commit")
def _write_pending(session: Session) -> None:
    if session.in_nested_transaction():
        return  # they may yet be rolled back
    session.flush()  # the commit would flush only after this, and that makes entries too
    pending = session.info.pop(PENDING, None)
    if pending:
        session.connection().execute(_WRITE, {"entries": json.dumps(pending)})


@event.listens_for(Session, "after_transaction_create")
def _mark(session: Session, transaction: SessionTransaction) -> None:
    if transaction.nested:
        session.info.setdefault(MARKS, {})[transaction] = len(session.info.get(PENDING, ()))


@event.listens_for(Session, "after_transaction_end")
def _unmark(session: Session, transaction: SessionTransaction) -> None:
    if transaction.nested:
        session.info[MARKS].pop(transaction, None)


@event.listens_for(Session, "after_soft_rollback")
def _forget(session: Session, transaction: SessionTransaction) -> None:
    if transaction.nested:
        del session.info.get(PENDING, [])[session.info[MARKS].get(transaction, 0) :]
    elif transaction.parent is None:
        session.info.pop(PENDING, None)


def created(row: Record) -> Entry:
    """The entry for a row that is about to be made."""
    state = inspected(row)
    given = {name: value for name, value in state.dict.items() if value is not None and value != []}
    return _entry(row, "create", None, _told(state.mapper, given))


def updated(row: Record, session: Session) -> Entry:
    """The entry for a row that is about to be changed: what changes, before and after."""
    state = inspected(row)
    tellers, links = _tellers(state.mapper)
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for name in (*(name for name in state.committed_state if name in tellers), *links):
        history = get_history(row, name, PassiveFlag.PASSIVE_NO_INITIALIZE)
        if not history.has_changes():
            continue
        if name in links:
            before[name] = [*(history.unchanged or ()), *(history.deleted or ())]
            after[name] = [*(history.unchanged or ()), *(history.added or ())]
        else:
            before[name] = history.deleted[0] if history.deleted else None
            after[name] = history.added[0] if history.added else None
    action = session.info.get(ACT) or "update"
    return _entry(row, action, _told(state.mapper, before), _told(state.mapper, after))


def deleted(row: Record) -> Entry:
    """The entry for a row that is about to go."""
    state = inspected(row)
    return _entry(row, "delete", _told(state.mapper, state.dict), None)


def shown(target_type: str, state: dict[str, Any] | None) -> dict[str, Any] | None:
    """A state as it may be shown: without what is kept encrypted."""
    table = Record.metadata.tables.get(target_type)
    if state is None or table is None:
        return state
    sealed = {column.name for column in table.columns if isinstance(column.type, EncryptedText | EncryptedDate)}
    return {name: HIDDEN if name in sealed and value is not None else value for name, value in state.items()}


def _entry(row: Record, action: str, before: dict[str, Any] | None, after: dict[str, Any] | None) -> Entry:
    return {
        "uid": new_uid(),
        "action": action,
        "target_type": row.__tablename__,
        "target_uid": row.uid,
        "laboratory_uid": row.laboratory_uid if isinstance(row, LabRecord) else None,
        "state_before": before,
        "state_after": after,
    }


@lru_cache(maxsize=1_024)
def _tellers(mapper: Mapper[Any]) -> tuple[dict[str, Callable[[Any], Any]], frozenset[str]]:
    """The attributes of a model that entries tell of, with what tells of each; and those that hold other rows."""
    tellers: dict[str, Callable[[Any], Any]] = {}
    for attribute in mapper.column_attrs:
        column = attribute.columns[0]
        if attribute.key in LEFT_OUT or not column.info.get("audited", True):
            continue
        if attribute.key in SECRET:
            tellers[attribute.key] = _hidden
        else:
            tellers[attribute.key] = _sealed if isinstance(column.type, EncryptedText | EncryptedDate) else _plain
    links = frozenset(one.key for one in mapper.relationships if one.direction is MANYTOMANY)
    return tellers | dict.fromkeys(links, _linked), links


def _told(mapper: Mapper[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as JSON holds them."""
    tellers, _ = _tellers(mapper)
    return {name: tellers[name](value) for name, value in values.items() if name in tellers}


def _plain(value: Any) -> Any:
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    return value


def _sealed(value: Any) -> str | None:
    """Encrypted, as it is kept."""
    text = value.isoformat() if isinstance(value, date) else value
    return None if text is None else keyring().encrypt(text)


def _hidden(value: Any) -> str:
    """That it changed, and nothing else."""
    return HIDDEN


def _linked(rows: Iterable[Record]) -> list[str]:
    """The keys of the rows that it names."""
    return sorted(row.uid for row in rows)
