"""Routes to list, make, read, change and remove the rows of one set-up table, typed by the table itself.

A noun says which model, which permissions and which links; lengths, references and what must be given are the columns'.
Whatever needs more than that has a router and a service of its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import Body, Depends, Query
from pydantic import BaseModel, Field, create_model
from sqlalchemy import Boolean, Column, Date, Integer, Numeric, Select, String, Text, or_, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session, selectinload

from beak_lims.api.doors import Work, permit
from beak_lims.api.fields import (
    UID_PATTERN,
    Count,
    Email,
    Incoming,
    Lines,
    Name,
    Number,
    Outgoing,
    Reference,
    References,
    Uid,
    Words,
    bounded,
)
from beak_lims.api.paging import LISTED, Page, Paged
from beak_lims.api.routing import LabRouter
from beak_lims.errors import RecordNotFound, ReferenceRejected
from beak_lims.models.base import Base, LabRecord, Record

KEPT = frozenset({"uid", "created_at", "created_by_uid", "updated_at", "updated_by_uid", "laboratory_uid"})


@dataclass(frozen=True)
class Noun:
    """One table as the API shows it.

    ``path``: of the list. ``target``: of the permissions CREATE, READ, UPDATE and DELETE. ``fields``: annotations that
    say more than the column, such as an enumeration. ``links``: the relationships whose rows are named by uid, as
    ``{"method_uids": "methods"}``. ``search``: the columns in which words are looked for. ``fixed``: columns that are
    given once and not changed. ``hidden``: columns that the API does not show. ``actions``: where another
    permission is asked for than the four.
    """

    model: type[Record]
    path: str
    target: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    search: tuple[str, ...] = ("name",)
    fixed: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    actions: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What one row is called."""
        return str(self.model.__tablename__).replace("_", " ")


@dataclass(frozen=True)
class Schemas:
    """The bodies of one noun."""

    new: type[BaseModel]
    change: type[BaseModel]
    row: type[BaseModel]


def schemas_of(noun: Noun) -> Schemas:
    """The models of the noun's bodies, made from its columns."""
    title = noun.model.__name__
    new: dict[str, Any] = {}
    change: dict[str, Any] = {}
    row: dict[str, Any] = {"uid": (str, ...)}
    for column in _columns(noun):
        kind = noun.fields.get(column.name) or _kind(column)
        given = kind | None if column.nullable else kind
        required = not column.nullable and column.default is None and column.server_default is None
        new[column.name] = (given, ... if required else None)
        if column.name not in noun.fixed:
            change[column.name] = (given, None)
        row[column.name] = (_told(column), ...)
    for name in noun.links:
        new[name] = (References, Field(default_factory=list))
        change[name] = (References, None)
        row[name] = (list[str], ...)
    if issubclass(noun.model, LabRecord):
        row["laboratory_uid"] = (str, ...)
    row |= {"created_at": (datetime, ...), "updated_at": (datetime, ...)}
    return Schemas(
        create_model(f"New{title}", __base__=Incoming, __doc__=f"A {noun.name} to make.", **new),
        create_model(f"{title}Change", __base__=Incoming, __doc__="What is to change; the rest stays.", **change),
        create_model(f"{title}Row", __base__=Outgoing, __doc__=noun.model.__doc__, **row),
    )


def add_crud(router: LabRouter, noun: Noun) -> None:
    """Give the router the five routes of the noun."""
    schemas, word = schemas_of(noun), noun.model.__tablename__
    plural = noun.path.strip("/").replace("-", "_")
    filters = _filters(noun)

    def listing(lab: Work, page: Page, q: str | None = None, **chosen: Any) -> list[dict[str, Any]]:
        return [row_of(noun, row) for row in page.of(lab, _query(noun, q, chosen))]

    def create(lab: Work, body: BaseModel) -> dict[str, Any]:
        made = noun.model()
        apply(lab.session, noun, made, body.model_dump(exclude_unset=True))
        lab.session.add(made)
        return _saved(lab.session, noun, made)

    def read(lab: Work, uid: str) -> dict[str, Any]:
        return row_of(noun, found(lab.session, noun, uid))

    def update(lab: Work, uid: str, body: BaseModel) -> dict[str, Any]:
        row = found(lab.session, noun, uid)
        apply(lab.session, noun, row, body.model_dump(exclude_unset=True))
        return _saved(lab.session, noun, row)

    def delete(lab: Work, uid: str) -> None:
        lab.session.delete(found(lab.session, noun, uid))

    def door(action: str) -> dict[str, Any]:
        return {"lab": Annotated[Work, Depends(permit(noun.actions.get(action, action), noun.target))]}

    one, many = f"{noun.path}/{{uid}}", {"page": Paged, **filters}
    new, change = Annotated[schemas.new, Body()], Annotated[schemas.change, Body()]
    add = router.add_api_route
    add(
        noun.path,
        typed(listing, f"list_{plural}", {**door("READ"), **many}, list[schemas.row]),  # type: ignore[name-defined]  # made
        methods=["GET"],
        responses=LISTED,
        summary=f"The rows of {noun.name}, page by page",
    )
    add(
        noun.path,
        typed(create, f"create_{word}", {**door("CREATE"), "body": new}, schemas.row),
        methods=["POST"],
        status_code=201,
        summary=f"Make a {noun.name}",
    )
    add(
        one,
        typed(read, f"read_{word}", {**door("READ"), "uid": Uid}, schemas.row),
        methods=["GET"],
        summary=f"One {noun.name}",
    )
    add(
        one,
        typed(update, f"update_{word}", {**door("UPDATE"), "uid": Uid, "body": change}, schemas.row),
        methods=["PATCH"],
        summary=f"Change a {noun.name}",
    )
    add(
        one,
        typed(delete, f"delete_{word}", {**door("DELETE"), "uid": Uid}, None),
        methods=["DELETE"],
        status_code=204,
        summary=f"Remove a {noun.name} that nothing refers to",
    )


def found(session: Session, noun: Noun, uid: str) -> Record:
    """The row. :raises RecordNotFound: there is none, or none of the laboratory at work."""
    row = session.scalar(select(noun.model).where(noun.model.uid == uid))
    if row is None:
        raise RecordNotFound(noun.name, uid)
    return row


def apply(session: Session, noun: Noun, row: Record, values: Mapping[str, Any]) -> None:
    """Give the row these values. :raises ReferenceRejected: one names a row that is not there, or may not be seen."""
    with session.no_autoflush:  # one change, and one entry in the audit trail
        for name, value in values.items():
            if name in noun.links:
                setattr(row, noun.links[name], _linked(session, noun, name, value))
                continue
            target = _laboratory_target(noun.model, name)
            if value is not None and target is not None:
                require_row(session, target, value, name)
            setattr(row, name, value)


def require_row(session: Session, model: type[Record], uid: str, field: str) -> None:
    """:raises ReferenceRejected: the model has no such row that may be seen here."""
    if session.scalar(select(model.uid).where(model.uid == uid)) is None:
        raise ReferenceRejected(field)


def row_of(noun: Noun, row: Record) -> dict[str, Any]:
    """The row as its schema has it."""
    told = {column.name: getattr(row, column.name) for column in _columns(noun)}
    for name, relationship in noun.links.items():
        told[name] = [other.uid for other in getattr(row, relationship)]
    if isinstance(row, LabRecord):
        told["laboratory_uid"] = row.laboratory_uid
    return {"uid": row.uid, **told, "created_at": row.created_at, "updated_at": row.updated_at}


def _saved(session: Session, noun: Noun, row: Record) -> dict[str, Any]:
    session.flush()
    session.refresh(row)
    return row_of(noun, row)


def _query(noun: Noun, q: str | None, chosen: Mapping[str, Any]) -> Select[Record]:
    query = select(noun.model)
    for relationship in noun.links.values():
        query = query.options(selectinload(getattr(noun.model, relationship)))
    for name, value in chosen.items():
        if value is not None:
            query = query.where(getattr(noun.model, name) == value)
    for word in (q or "").split():
        held = [getattr(noun.model, name).icontains(word, autoescape=True) for name in noun.search]
        query = query.where(or_(*held))
    return query


def _filters(noun: Noun) -> dict[str, Any]:
    """The query parameters of the list: words, every reference, and ``active``."""
    filters: dict[str, Any] = {"q": (Words, None)} if noun.search else {}
    for column in _columns(noun):
        if column.foreign_keys:
            filters[column.name] = (Annotated[str | None, Query(pattern=UID_PATTERN)], None)
        elif column.name == "active":
            filters[column.name] = (Annotated[bool | None, Query()], None)
    return filters


def _columns(noun: Noun) -> list[Column[Any]]:
    columns: Any = noun.model.__table__.columns
    return [column for column in columns if column.name not in KEPT and column.name not in noun.hidden]


def _kind(column: Column[Any]) -> Any:
    """What a body may hold for the column."""
    if column.foreign_keys:
        return Reference
    if column.name == "email":
        return Email
    match column.type:
        case Text():
            return Lines
        case String(length=int(length)):
            return bounded(length)
        case Boolean():
            return bool
        case Integer():
            return Count
        case Numeric():
            return Number
        case Date():
            return date
        case JSONB():
            return Annotated[list[Name], Field(max_length=100)]
    raise TypeError(f"{column}: a column of this type needs an annotation of its own")


def _told(column: Column[Any]) -> Any:
    """What an answer holds for it."""
    match column.type:
        case Boolean():
            kind: Any = bool
        case Integer():
            kind = int
        case Numeric():
            kind = Decimal
        case Date():
            kind = date
        case JSONB():
            # A column of this type begins as an empty list or as an empty object.
            begins = getattr(column.server_default, "arg", "")
            kind = dict[str, str] if "{}" in str(begins) else list[str]
        case _:
            kind = str
    return kind | None if column.nullable else kind


def _laboratory_target(model: type[Record], name: str) -> type[LabRecord] | None:
    """The model that a column refers to, if it is one of laboratories: its key alone would let another's row in."""
    for key in model.__table__.c[name].foreign_keys:
        for mapper in Base.registry.mappers:
            if mapper.local_table is key.column.table and issubclass(mapper.class_, LabRecord):
                return mapper.class_
    return None


def _linked(session: Session, noun: Noun, name: str, uids: Sequence[str]) -> list[Record]:
    target: type[Record] = getattr(noun.model, noun.links[name]).property.mapper.class_
    wanted = list(dict.fromkeys(uids))
    rows = session.scalars(select(target).where(target.uid.in_(wanted))).all() if wanted else []
    if len(rows) != len(wanted):
        raise ReferenceRejected(name)
    return list(rows)


def typed(function: Callable[..., Any], name: str, parameters: Mapping[str, Any], returns: Any) -> Callable[..., Any]:
    """The function under a name and a signature of its own, which FastAPI reads."""

    def named(**given: Any) -> Any:
        return function(**given)

    listed = []
    for key, annotation in parameters.items():
        annotation, default = annotation if isinstance(annotation, tuple) else (annotation, inspect.Parameter.empty)
        kind = inspect.Parameter.KEYWORD_ONLY
        listed.append(inspect.Parameter(key, kind, default=default, annotation=annotation))
    named.__signature__ = inspect.Signature(listed, return_annotation=returns)  # type: ignore[attr-defined]  # inspect reads it
    named.__name__ = named.__qualname__ = name
    return named
