"""Every token of two organisations with two laboratories each, against every object of the others: nothing gets out.

The routes come from the OpenAPI document and the objects from the tables, so that a new route or a new table is tried
without a line here. Every table has a row of its own for every laboratory.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from beak_lims.models import Group, metadata
from beak_lims.models.encrypted import EncryptedDate
from tenantry.registry.uids import new_uid

from ..conftest import API, Actor, Installation

UID = "^[0-9a-f]{32}$"
# Made with the tenant, or by what logs in.
THERE = {
    "audit_log",
    "group",
    "group_permission",
    "id_sequence",
    "laboratory",
    "laboratory_setting",
    "organization",
    "organization_setting",
    "password_reset",
    "permission",
    "refresh_token",
    "user",
    "user_department",
    "user_group",
    "user_laboratory",
    "user_preference",
    "user_session",
}
NO_ROW = {"sample_relationship"}  # it needs two samples, and is reached by them alone
LEFT_OUT = {"qc_set_uid", "qc_level_uid", "worksheet_uid"}  # a patient's sample is no control, its result on no sheet
CHOSEN = {"test_method": "MIC", "breakpoint_type": "Human"}  # of what the tables do not say themselves
ENDS_SESSIONS = ("/auth/logout",)  # it would only take the intruder's own token


@dataclass
class House:
    """One laboratory: who works there, and one row of every table."""

    tenant: str
    laboratory: str
    actor: Actor
    rows: dict[str, str] = field(default_factory=dict)  # uid by table

    @property
    def own(self) -> dict[str, str]:
        """The rows that are this laboratory's alone."""
        return {table: uid for table, uid in self.rows.items() if of_laboratory(table)}


def of_laboratory(table: str) -> bool:
    return table == "laboratory" or (table != "laboratory_setting" and "laboratory_uid" in metadata.tables[table].c)


@pytest.fixture(scope="module")
def houses(installation: Installation) -> list[House]:
    made = []
    for tenant, laboratory in itertools.product(("alpha", "beta"), ("First", "Second")):
        actor = installation.actor(tenant, laboratory, member_of=[laboratory])
        house = House(tenant, laboratory, actor)
        with installation.tenancy.session(tenant) as session:
            laboratory_uid = installation.laboratories[tenant][laboratory]
            group_uid = session.scalars(sa.select(Group.uid).order_by(Group.uid).limit(1)).one()
            filled = fill(session, laboratory_uid, actor.uid)
            house.rows = {"laboratory": laboratory_uid, "group": group_uid, **filled}
        made.append(house)
    return made


def fill(session: Session, laboratory_uid: str, user_uid: str) -> dict[str, str]:
    """Put one row into every table, each referring to the others of its laboratory."""
    keys: dict[tuple[str, str], Any] = {("laboratory", "uid"): laboratory_uid, ("user", "uid"): user_uid}
    for table in metadata.sorted_tables:
        if table.name in THERE | NO_ROW:
            continue
        values = {column.name: value(column, keys) for column in table.c if wanted(column, keys)}
        session.execute(table.insert().values(values))
        keys |= {(table.name, name): given for name, given in values.items()}
    return {table: given for (table, name), given in keys.items() if name == "uid" and table not in ("user",)}


def wanted(column: sa.Column[Any], keys: dict[tuple[str, str], Any]) -> bool:
    """Whether it must be given, or refers to something that is there."""
    if column.primary_key:
        return True
    if column.foreign_keys and column.name not in LEFT_OUT:
        return all((key.column.table.name, key.column.name) in keys for key in column.foreign_keys)
    return not column.nullable and column.default is None and column.server_default is None


def value(column: sa.Column[Any], keys: dict[tuple[str, str], Any]) -> Any:
    for key in column.foreign_keys:
        return keys[key.column.table.name, key.column.name]
    if column.name == "uid":
        return new_uid()
    if column.name in CHOSEN:
        return CHOSEN[column.name]
    one_of = re.compile(rf"{column.name} IN \('([^']*)'")
    for check in column.table.constraints:
        if isinstance(check, sa.CheckConstraint) and (found := one_of.match(str(check.sqltext))):
            return found[1]
    kinds: list[tuple[Any, Any]] = [
        (EncryptedDate, date(1990, 1, 1)),
        (JSONB, {}),
        (sa.Boolean, False),
        (sa.Integer, 1),
        (sa.Numeric, 1),
        (sa.DateTime, datetime.now(UTC)),
        (sa.Date, date(2026, 1, 1)),
        (sa.LargeBinary, b"x"),
    ]
    for kind, given in kinds:
        if isinstance(column.type, kind):
            return given
    length = getattr(column.type, "length", None) or 64
    return new_uid()[-length:]


@dataclass(frozen=True)
class Route:
    method: str
    path: str
    parameters: tuple[str, ...]
    body: dict[str, Any] | None  # its schema


def routes(installation: Installation) -> Iterator[Route]:
    document = installation.app.openapi()
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            if told["tags"] == ["server"]:
                continue  # no organisation's
            content = told.get("requestBody", {}).get("content", {})
            schema = content.get("application/json", {}).get("schema")
            body = None if schema is None else resolved(schema, document)
            yield Route(method.upper(), path.removeprefix(API), tuple(re.findall(r"{(\w+)}", path)), body)


def resolved(schema: Any, document: dict[str, Any]) -> Any:
    """The schema with what it refers to in its place."""
    if isinstance(schema, list):
        return [resolved(part, document) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return resolved(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
    return {name: resolved(part, document) for name, part in schema.items()}


def example(schema: Any, rows: dict[str, str], name: str = "") -> Any:
    """A value of the schema that names rows of these wherever it may name any."""
    options = [part for part in schema.get("anyOf", [schema]) if part.get("type") != "null"]
    schema = options[0]
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    match schema.get("type"):
        case "object":
            required, properties = schema.get("required", ()), schema.get("properties", {})
            return {
                key: example(part, rows, key)
                for key, part in properties.items()
                if key in required or table_of(key) in rows
            }
        case "array":
            asked = table_of(name) in rows or schema.get("minItems")
            return [example(schema["items"], rows, name)] if asked else []
        case "integer" | "number":
            return max(1, schema.get("minimum", 1))
        case "boolean":
            return False
        case "string" if schema.get("pattern") == UID:
            return rows.get(table_of(name), rows["patient"])
        case "string" if schema.get("format") == "date":
            return "2020-01-01"
        case "string" if schema.get("format") == "date-time":
            return "2020-01-01T00:00:00Z"
        case "string" if name == "email":
            return "a@b"
    return "x" * max(8, schema.get("minLength", 1))


def table_of(name: str) -> str:
    """The table that a field's name says it refers to."""
    noun = name.removesuffix("_uids").removesuffix("_uid")
    known = {"analyse": "analysis", "active_laboratory": "laboratory", "result": "analysis_result"}
    return known.get(noun, noun)


def references(body: Any, table: str) -> bool:
    """Whether the body names a row of that table."""
    if isinstance(body, dict):
        return any(
            (table_of(key) == table and part not in (None, [])) or references(part, table) for key, part in body.items()
        )
    return isinstance(body, list) and any(references(part, table) for part in body)


def prints(installation: Installation, house: House) -> dict[str, Any]:
    """What the laboratory's rows are, and those that its organisation shares."""
    found: dict[str, Any] = {}
    with installation.tenancy.session(house.tenant) as session:
        for table in metadata.sorted_tables:
            if table.name in ("audit_log", "user_session", "refresh_token", "snapshot_content"):
                continue
            of = f" WHERE laboratory_uid = '{house.actor.laboratory_uid}'" if of_laboratory(table.name) else ""
            if table.name == "laboratory":
                of = f" WHERE uid = '{house.actor.laboratory_uid}'"
            query = sa.text(f"""SELECT md5(string_agg(t::text, '' ORDER BY t::text)) FROM "{table.name}" t{of}""")
            found[table.name] = session.scalar(query)
    return found


@pytest.fixture(scope="module")
def by_prefix(installation: Installation, houses: list[House]) -> dict[str, str | None]:
    """Of which table the objects of a path are, found out by one who may see them."""
    house = houses[0]
    rows = {**house.rows, "user": house.actor.uid}
    found: dict[str, str | None] = {}
    for route in routes(installation):
        if route.method != "GET" or len(route.parameters) != 1 or not route.path.endswith("}"):
            continue
        prefix = route.path.partition("{")[0]
        likely = difflib.get_close_matches(prefix.strip("/").replace("-", "_"), rows, n=len(rows), cutoff=0.0)
        answers = ((table, house.actor("GET", f"{prefix}{rows[table]}").status_code) for table in likely)
        found[prefix] = next((table for table, status in answers if status != 404), None)
    return found


def test_every_object_can_be_reached_by_those_it_belongs_to(by_prefix: dict[str, str | None]) -> None:
    """Else the matrix below would prove nothing."""
    assert len(by_prefix) > 30
    assert [prefix for prefix, table in by_prefix.items() if table is None] == []


@pytest.mark.parametrize("intruder", ["the other laboratory", "no laboratory", "the other organisation"])
def test_no_object_of_others_is_read_changed_or_named(
    installation: Installation, houses: list[House], by_prefix: dict[str, str | None], intruder: str
) -> None:
    victim, neighbour, stranger = houses[0], houses[1], houses[2]
    actor, foreign = neighbour.actor, victim.own
    if intruder == "no laboratory":
        actor = installation.actor("alpha", None, member_of=["Second"])
    if intruder == "the other organisation":
        actor, foreign = stranger.actor, {**victim.rows, "user": victim.actor.uid}
    before = prints(installation, victim)
    secrets = set(foreign.values()) - ({victim.rows["laboratory"]} if intruder != "the other organisation" else set())
    tried = 0
    for route in routes(installation):
        if route.path in ENDS_SESSIONS or (route.path.startswith("/auth/") and route.method != "GET"):
            continue
        about = difflib.get_close_matches(route.path.split("/")[1].replace("-", "_"), foreign, n=1, cutoff=0.0)[0]
        body = None if route.body is None else example(route.body, {**foreign, "uids": foreign[about]})
        asked: list[str] = []
        if route.parameters:
            # A path whose objects nobody reads is tried with one of every table.
            table = by_prefix.get(route.path.partition("{")[0])
            asked = [foreign[one] for one in ([table] if table else foreign) if one in foreign]
        for uid in asked or [""]:
            if route.parameters and not uid:
                continue  # what all laboratories of the organisation share
            path = re.sub(r"{\w+}", uid, route.path)
            answer = actor(route.method, path, body)
            tried += 1
            told = f"{route.method} {path} {body}: {answer.status_code} {answer.text[:500]}"
            assert answer.status_code < 500, told
            if route.parameters:
                assert answer.status_code in ((404,) if body in (None, {}) else (400, 404, 409, 422)), told
            elif body is not None and any(references(body, table) for table in (*foreign, "uids")):
                assert not answer.is_success or answer.json() == [], told
            known = {uid, *re.findall(r"[0-9a-f]{32}", str(body))}  # the intruder says them; that is no answer
            assert not [secret for secret in secrets - known if secret in answer.text], told
    assert tried > 80
    after = prints(installation, victim)
    for table in before:
        if of_laboratory(table) or intruder == "the other organisation":
            assert after[table] == before[table], table


def test_token_of_one_organisation_opens_nothing_under_the_name_of_another(
    installation: Installation, houses: list[House]
) -> None:
    alpha, beta = houses[0], houses[2]
    for route in routes(installation):
        path = re.sub(r"{\w+}", beta.rows["patient"], route.path)
        mixed = alpha.actor(route.method, path, headers={"X-Org-Slug": "beta"})
        assert mixed.status_code == 403, f"{route.method} {path}: {mixed.status_code}"
    elsewhere = alpha.actor("GET", "/auth/me", headers={"X-Laboratory-ID": beta.rows["laboratory"]})
    assert elsewhere.status_code == 403
