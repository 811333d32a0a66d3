"""Who works, in which tenant and which laboratory; and a session that holds to it.

A session that is bound to a context reads rows of a laboratory for the laboratory at work alone - none when none is at
work - writes them for it alone, notes who wrote, and puts every change of a row into the audit trail. Only what goes
through the ORM is held to it: ``select(Model)``, ``update(Model)``, objects, and ``insert(Model)`` with rows beside it,
which must name the laboratory themselves and leave no entry. A statement on a bare table is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast
from weakref import WeakKeyDictionary

from sqlalchemy import BindParameter, String, bindparam, event, false
from sqlalchemy import inspect as inspected
from sqlalchemy.orm import ORMExecuteState, PassiveFlag, Session, with_loader_criteria
from sqlalchemy.orm.attributes import get_history

from beak_lims import audit
from beak_lims.errors import LaboratoryMismatch, LaboratoryRequired
from beak_lims.models.base import LabRecord, Record
from tenantry.registry.uids import new_uid

KEY = "beak_lims.context"


@dataclass(frozen=True)
class LabContext:
    """The user and the laboratory of one piece of work.

    Without a user it is the installation's own work: a seed, or the operator's command.
    """

    tenant: str  # slug
    user_uid: str | None = None
    user_name: str = "system"
    is_superuser: bool = False
    laboratory_uid: str | None = None
    address: str | None = None
    request_id: str | None = None
    # (action, target): of a route's work those of the route's that are given, where it asks for none all.
    permissions: frozenset[tuple[str, str]] = field(default=frozenset(), repr=False)

    def laboratory(self, what: str) -> str:
        """The laboratory at work. ``what``: the thing that is to be made in it.

        :raises LaboratoryRequired: none is.
        """
        if self.laboratory_uid is None:
            raise LaboratoryRequired(what)
        return self.laboratory_uid


def bind(session: Session, context: LabContext) -> Session:
    """Hold the session to the context, and return it. A session is bound once, before its first statement."""
    session.info[KEY] = context
    return session


def context_of(session: Session) -> LabContext | None:
    """The context that the session is bound to."""
    found: LabContext | None = session.info.get(KEY)
    return found


@event.listens_for(Session, "do_orm_execute")
def _read_within(state: ORMExecuteState) -> None:
    context = state.session.info.get(KEY)
    if context is None:
        return
    if state.is_insert:
        _insert_within(state, context)
    if not (state.is_select or state.is_update or state.is_delete):
        return
    uid = context.laboratory_uid
    if uid is None or not state.is_select:
        state.statement = state.statement.options(_within(uid))
        return
    held = _held.get(state.statement)
    if held is None:
        held = _held[state.statement] = state.statement.options(_AT_WORK)
    state.statement = held
    given = cast("Mapping[str, Any]", state.parameters or {})  # what reads takes one row of parameters
    state.parameters = {**given, LABORATORY: uid}


LABORATORY = "laboratory_at_work"  # the parameter of a statement that is held to the laboratory at work
_PARAMETER: BindParameter[str] = bindparam(LABORATORY, type_=String)
# One for all laboratories of all tenants, so that a statement is compiled once for them.
_AT_WORK = with_loader_criteria(LabRecord, lambda model: model.laboratory_uid == _PARAMETER, include_aliases=True)
# Statements that are used again, each with itself held to the laboratory at work: SQLAlchemy remembers with a statement
# how it is compiled. One that is dropped takes its own with it.
_held: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


@lru_cache(maxsize=1_024)
def _within(laboratory_uid: str | None) -> Any:
    """What a change of rows is held to, and a reading without a laboratory. A change's parameters are its values."""
    if laboratory_uid is None:
        return with_loader_criteria(LabRecord, lambda model: false(), include_aliases=True)
    return with_loader_criteria(LabRecord, lambda model: model.laboratory_uid == laboratory_uid, include_aliases=True)


@event.listens_for(Session, "before_flush")
def _write_within(session: Session, flush_context: Any, instances: Any) -> None:
    context = session.info.get(KEY)
    if context is None:
        return
    entries: list[audit.Entry] = []
    for row in session.new:
        if isinstance(row, Record):
            _own(row, context, new=True)
            row.created_by_uid = row.updated_by_uid = context.user_uid
            entries.append(audit.created(row))
    for row in session.dirty:
        if isinstance(row, Record):
            _own(row, context, new=False)
            entry = audit.updated(row, session)
            if entry["state_after"]:  # else only other tables' rows are to change, which have entries of their own
                row.updated_by_uid = context.user_uid
                entries.append(entry)
    for row in session.deleted:
        if isinstance(row, Record):
            _own(row, context, new=False)
            entries.append(audit.deleted(row))
    audit.write(session, context, entries)


def _insert_within(state: ORMExecuteState, context: LabContext) -> None:
    model = None if state.bind_mapper is None else state.bind_mapper.class_
    if model is None or not issubclass(model, LabRecord):
        return
    given = state.parameters or ()
    rows = [given] if isinstance(given, Mapping) else given
    laboratory_uid = context.laboratory(model.__tablename__)
    if any(row.get("laboratory_uid") != laboratory_uid for row in rows):
        raise LaboratoryMismatch(model.__tablename__)


def _own(row: Record, context: LabContext, *, new: bool) -> None:
    """Give a new row its key and its laboratory; hold any row to the laboratory at work."""
    if new:
        row.uid = row.uid or new_uid()
        for name in _unset(type(row)):
            # As set_committed_value does it, which costs a new row as much as its entry in the audit trail.
            row.__dict__.setdefault(name, None)
    if not isinstance(row, LabRecord):
        return
    what = row.__tablename__
    if new:
        row.laboratory_uid = row.laboratory_uid or context.laboratory(what)
    if row.laboratory_uid != context.laboratory(what) or (
        not new and get_history(row, "laboratory_uid", PassiveFlag.PASSIVE_NO_INITIALIZE).has_changes()
    ):
        raise LaboratoryMismatch(what)


@lru_cache(maxsize=1_024)
def _unset(model: type[Record]) -> tuple[str, ...]:
    """The columns that are null unless they are set. Told outright, a row that was made need not be read again."""
    columns = inspected(model).column_attrs
    return tuple(
        one.key
        for one in columns
        if one.columns[0].nullable and one.columns[0].default is None and one.columns[0].server_default is None
    )
