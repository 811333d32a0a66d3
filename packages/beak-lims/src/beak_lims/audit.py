"""The audit trail of a tenant: what a change of a row says, and acts that are more than such a change.

Sessions that are bound to a context write an entry for every row that they make, change or remove. ``act`` names what
such changes are part of; ``note`` writes down an act that changes no row, such as a login. Encrypted columns go into an
entry as they are kept, and a column marked ``info={"audited": False}`` not at all.

The entries of a transaction are written together, just before it commits: what rolls back leaves none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import event, text
from sqlalchemy import inspect as inspected
from sqlalchemy.orm import MANYTOMANY, Mapper, Session, SessionTransaction

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


def created(row: Record, session: Session) -> Entry:
    """The entry for a row that is about to be made."""
    state = inspected(row)
    after = {
        name: told for name, told in _told(state.mapper, dict(state.dict)).items() if told is not None and told != []
    }
    return _entry(row, "create", None, after)


def updated(row: Record, session: Session) -> Entry:
    """The entry for a row that is about to be changed: what changes, before and after."""
    state = inspected(row)
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    unmodified = state.unmodified
    for name, kind in _kinds(state.mapper).items():
        if name in unmodified and kind is not Kind.LINKS:
            continue
        history = state.attrs[name].history
        if not history.has_changes():
            continue
        if kind is Kind.LINKS:
            before[name] = [*(history.unchanged or ()), *(history.deleted or ())]
            after[name] = [*(history.unchanged or ()), *(history.added or ())]
        else:
            before[name] = history.deleted[0] if history.deleted else None
            after[name] = state.attrs[name].value
    action = session.info.get(ACT) or "update"
    return _entry(row, action, _told(state.mapper, before), _told(state.mapper, after))


def deleted(row: Record, session: Session) -> Entry:
    """The entry for a row that is about to go."""
    state = inspected(row)
    return _entry(row, "delete", _told(state.mapper, dict(state.dict)), None)


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


class Kind(Enum):
    """How an entry tells of an attribute."""

    PLAIN = "as it is"
    SEALED = "encrypted, as it is kept"
    HIDDEN = "that it changed"
    LINKS = "the keys of the rows that it names"


@lru_cache(maxsize=1_024)
def _kinds(mapper: Mapper[Any]) -> dict[str, Kind]:
    """The attributes of a model that entries tell of, and how."""
    kinds: dict[str, Kind] = {}
    for attribute in mapper.column_attrs:
        column = attribute.columns[0]
        if attribute.key in LEFT_OUT or not column.info.get("audited", True):
            continue
        sealed = isinstance(column.type, EncryptedText | EncryptedDate)
        kinds[attribute.key] = Kind.SEALED if sealed else Kind.PLAIN
        if attribute.key in SECRET:
            kinds[attribute.key] = Kind.HIDDEN
    links = {one.key: Kind.LINKS for one in mapper.relationships if one.direction is MANYTOMANY}
    return kinds | links


def _told(mapper: Mapper[Any], values: dict[str, Any]) -> dict[str, Any]:
    """The values as JSON holds them."""
    kinds = _kinds(mapper)
    told: dict[str, Any] = {}
    for name, value in values.items():
        kind = kinds.get(name)
        if kind is Kind.PLAIN:
            told[name] = _plain(value)
        elif kind is Kind.SEALED:
            text = value.isoformat() if isinstance(value, date) else value
            told[name] = None if text is None else keyring().encrypt(text)
        elif kind is Kind.HIDDEN:
            told[name] = HIDDEN
        elif kind is Kind.LINKS:
            told[name] = sorted(other.uid for other in value)
    return told


def _plain(value: Any) -> Any:
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    return value
