"""A bare FastAPI application that sends the SQL of a recorded day again, with other keys, through psycopg.

What a laboratory's server sent for one unit of work is kept as a recipe: its statements in their transactions, and of
every parameter whether it is the same each time, a key of the laboratory at work, a key that the unit makes, or a value
that an earlier statement answered. The application does what such an application cannot do without - a pool, a thread,
the tenant's search_path and role, the answer as JSON of the same size - and nothing else: no login, no rights, no
checks, no objects.
"""

from __future__ import annotations

import json
import os
import queue
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from fastapi import FastAPI
from psycopg import sql
from psycopg.types.json import Json, Jsonb
from pydantic import BaseModel

from beak_lims.services.sequences import Kind, number
from tenantry.registry.uids import new_uid

RECIPE = "BENCH_RECIPE"  # the file of the recipe, in the environment of the server
DATABASE = "BENCH_DATABASE"
KEY = 32  # hexadecimal digits of a row's key
CONNECTIONS = 8  # as many as the laboratory's server uses
# Keys of rows and hashes, and the numbers that people read.
_MARKS = re.compile(r"\b[0-9a-f]{64}\b|\b[0-9a-f]{32}\b|\b(?:P|S)\d\d[A-Z]{2}-\d{5}\b|\bAR\d\d-\d{5}\b")
_SEQUENCE = "INSERT INTO id_sequence"


@dataclass
class Sent:
    """One statement as it was sent, with the rows that it answered as texts."""

    statement: str
    parameters: Any  # a mapping, or several for executemany
    answered: list[list[str | None]]


@dataclass
class Step:
    """One request of the unit: its statements, and what was answered over HTTP."""

    sent: list[Sent] = field(default_factory=list)
    answer: Any = None


class Recorder:
    """Keeps what an engine sends, request by request."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def __enter__(self) -> Recorder:
        sa.event.listen(sa.Engine, "after_cursor_execute", self._keep)
        return self

    def __exit__(self, *_: object) -> None:
        sa.event.remove(sa.Engine, "after_cursor_execute", self._keep)

    def begin(self) -> None:
        """What is sent from now on is a request of its own."""
        self.steps.append(Step())

    def _keep(self, connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        answered: list[list[str | None]] = []
        result = cursor.pgresult
        if result is not None and not many:
            for row in range(result.ntuples):
                values = (result.get_value(row, column) for column in range(result.nfields))
                answered.append([None if value is None else value.decode() for value in values])
        self.steps[-1].sent.append(Sent(statement, parameters, answered))


def recipe(steps: Sequence[Step], own: Mapping[str, str]) -> dict[str, Any]:
    """The recipe of a recorded unit as JSON. ``own``: names of the laboratory's keys, by the keys as recorded."""
    unit: dict[str, str] = {}  # names of what the unit makes, by the marks as recorded
    told: list[dict[str, Any]] = []
    for step in steps:
        made: dict[str, int] = {}  # name -> length
        statements = []
        for sent in step.sent:
            several = isinstance(sent.parameters, list | tuple)
            leaves = [_leaves(one) for one in (sent.parameters if several else [sent.parameters])]
            for value in (value for values in leaves for value in values.values() if isinstance(value, str)):
                for mark in _MARKS.findall(value):
                    if mark not in own and mark not in unit:
                        made[unit.setdefault(mark, f"u{len(unit)}")] = len(mark)
            parameters = [{name: _parts(value, unit, own) for name, value in one.items()} for one in leaves]
            numbers = None
            if _SEQUENCE in sent.statement:
                [values] = leaves
                numbers = [values["prefix"], values["count"]]
                answers = [(0, 0, mark) for mark in _numbers(*numbers, int(sent.answered[0][0] or 0))]
            else:
                answers = _answers(sent, {*unit, *own})
            told_answers = [(row, column, unit.setdefault(mark, f"u{len(unit)}")) for row, column, mark in answers]
            statements.append(
                {
                    "statement": sent.statement,
                    "many": several,
                    "parameters": parameters,
                    "answers": told_answers,
                    "numbers": numbers,
                }
            )
        told.append({"made": made, "statements": statements, "answer": step.answer})
    needed: set[str] = set()
    for one in reversed(told):
        one["kept"] = sorted(needed)  # of what there is then, what later requests need
        used = {
            what
            for statement in one["statements"]
            for template in statement["parameters"]
            for value in template.values()
            if isinstance(value, dict)
            for kind, what in value["parts"]
            if kind == "unit"
        }
        given = {what for statement in one["statements"] for *_, what in statement["answers"]}
        needed = (needed | used) - given - set(one["made"])
    return {"steps": told}


def _leaves(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as JSON keeps them."""
    leaves = {}
    for name, value in parameters.items():
        if isinstance(value, Json | Jsonb):
            leaves[name] = json.dumps(value.obj)
        elif value is None or isinstance(value, bool | int | str):
            leaves[name] = value
        elif isinstance(value, list):
            leaves[name] = "{" + ",".join(str(one) for one in value) + "}"
        else:
            leaves[name] = str(value)
    return leaves


def _answers(sent: Sent, known: set[str]) -> list[tuple[int, int, str]]:
    """Where in the answer a hash stands for the first time: the database worked it out."""
    found: dict[str, tuple[int, int, str]] = {}
    for row, values in enumerate(sent.answered):
        for column, value in enumerate(values):
            if value is not None and value not in known and re.fullmatch("[0-9a-f]{64}", value):
                found.setdefault(value, (row, column, value))
    return list(found.values())


def _numbers(prefix: str, count: int, last: int) -> list[str]:
    kind = Kind(prefix.rstrip("0123456789"))
    return [number(kind, prefix, at) for at in range(last - count + 1, last + 1)]


def _parts(value: Any, unit: Mapping[str, str], own: Mapping[str, str]) -> Any:
    """A value that is the same each time, or ``{"parts": [...]}`` with texts and the names of what changes."""
    if not isinstance(value, str):
        return value
    parts: list[tuple[str, str]] = []
    at = 0
    for found in _MARKS.finditer(value):
        mark = found.group()
        changing = ("own", own[mark]) if mark in own else ("unit", unit[mark])
        parts += [("text", value[at : found.start()]), changing]
        at = found.end()
    if not parts:
        return value
    return {"parts": [part for part in [*parts, ("text", value[at:])] if part != ("text", "")]}


Values = Mapping[str, str]
Writer = Callable[[Values, Values], dict[str, Any]]


def _writer(template: Mapping[str, Any]) -> Writer:
    """Gives the parameters of one sending, from the laboratory's keys and the unit's."""
    fixed = {name: value for name, value in template.items() if not isinstance(value, dict)}
    changing = [(name, value["parts"]) for name, value in template.items() if isinstance(value, dict)]

    def write(own: Values, unit: Values) -> dict[str, Any]:
        made = dict(fixed)
        for name, parts in changing:
            made[name] = "".join(
                what if kind == "text" else own[what] if kind == "own" else unit[what] for kind, what in parts
            )
        return made

    return write


class Asked(BaseModel):
    """One request of a unit: the laboratory, and what the unit's earlier requests made."""

    laboratory: int
    unit: dict[str, str]


class Answered(BaseModel):
    """What the laboratory's server answered, and what the unit has made so far."""

    unit: dict[str, str]
    answer: Any


def _send(
    connection: psycopg.Connection,
    begin: sql.Composed,
    statements: list[tuple[dict[str, Any], list[Writer]]],
    own: Values,
    unit: dict[str, str],
) -> None:
    """One transaction. What the database worked out goes into ``unit``."""
    connection.execute(begin)
    try:
        with connection.cursor() as cursor:
            for one, writers in statements:
                if one["many"]:
                    cursor.executemany(one["statement"], [write(own, unit) for write in writers])
                    continue
                cursor.execute(one["statement"], writers[0](own, unit))
                rows = cursor.fetchall() if cursor.description is not None else []
                if one["numbers"] is not None:
                    given = _numbers(*one["numbers"], rows[0][0])
                    unit.update(zip([name for *_, name in one["answers"]], given, strict=True))
                    continue
                for row, column, name in one["answers"]:
                    unit[name] = rows[row][column]
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def app() -> FastAPI:
    """The application of a worker process."""
    kept = json.loads(Path(os.environ[RECIPE]).read_text())
    laboratories: list[dict[str, Any]] = kept["laboratories"]
    steps = [
        (
            step["made"],
            step["kept"],
            [(one, [_writer(template) for template in one["parameters"]]) for one in step["statements"]],
            step["answer"],
        )
        for step in kept["steps"]
    ]
    begins = [
        sql.SQL("BEGIN; SET LOCAL search_path TO {}; SET LOCAL ROLE {}").format(
            sql.Identifier(one["schema"]), sql.Identifier(one["role"])
        )
        for one in laboratories
    ]
    free: queue.LifoQueue[psycopg.Connection] = queue.LifoQueue()
    for _ in range(CONNECTIONS):
        free.put(psycopg.connect(os.environ[DATABASE], autocommit=True))
    bare = FastAPI()

    @bare.post("/units/{number}")
    def work(number: int, asked: Asked) -> Answered:
        made, passed, statements, answer = steps[number]
        own, unit = laboratories[asked.laboratory]["own"], dict(asked.unit)
        for name, length in made.items():
            unit[name] = new_uid() if length == KEY else secrets.token_hex(length // 2)
        connection = free.get()
        try:
            _send(connection, begins[asked.laboratory], statements, own, unit)
        finally:
            free.put(connection)
        return Answered(unit={name: unit[name] for name in passed}, answer=answer)

    return bare
