"""Statements that are made into SQL once, and asked straight of the driver.

To build a statement with SQLAlchemy takes several times as long as a database takes to answer a small one. Each kind of
question keeps one statement per shape of it: :mod:`docex.services.asking`, :mod:`docex.services.docbasket_service`.
Values are as the driver gives them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, cast

from sqlalchemy import Connection, Dialect, Select

SHAPES = 256  # of each kind of question that are kept; one of another shape is made anew

Made = TypeVar("Made")


class Statement(NamedTuple):
    """A statement as a driver takes it."""

    text: str
    names: Sequence[str] | None  # of the values in their order, where the driver takes them so
    constants: Mapping[str, Any]


def statement(query: Select[*tuple[Any, ...]], dialect: Dialect) -> Statement:
    """The query as such, its parameters without values."""
    compiled = query.compile(dialect=dialect)
    return Statement(str(compiled), compiled.positiontup, compiled.params)


def asked(
    connection: Connection, asking: Statement, values: Mapping[str, Any], make: Callable[[Any], Made]
) -> list[Made]:
    """What the database answers, each row in the form that ``make`` gives to it.

    Of a tenant's on a server this takes one wait, the end of the transaction travelling along: it is the only statement
    of its transaction.
    """
    given = {**asking.constants, **values}
    if asking.names is None:
        with cast(Any, connection.connection.driver_connection).cursor() as cursor:
            getattr(cursor, "execute_alone", cursor.execute)(asking.text, given)
            return list(map(make, cursor.fetchall()))
    result = connection.exec_driver_sql(asking.text, tuple(given[name] for name in asking.names))
    try:
        return list(map(make, cast("Iterable[Any]", result.cursor)))
    finally:
        result.close()
