"""Tables that were read, brought into a tenant: what is new is added by COPY, what changed is updated, the rest left.

A file tells all of a guideline's year (or, where there are no years, of a guideline or of the table): rows of that
part that it no longer holds are retired. What a result cites is never altered: its row is retired and the new one
added beside it. The starter set adds what is missing and touches nothing that came from elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from psycopg import sql
from psycopg.types.json import Jsonb
from sqlalchemy.dialects.postgresql import ARRAY, insert

from beak_lims.microbiology.citations import cited
from beak_lims.microbiology.codes import GUIDELINE_NAMES
from beak_lims.microbiology.whonet.rows import Catalog, Row, Table, digest
from beak_lims.models import (
    Antibiotic,
    AntibioticDisk,
    Breakpoint,
    ExpectedResPhenotype,
    ExpertInterpretRule,
    Guideline,
    GuidelineYear,
    Organism,
    QcRange,
    Serotype,
    antibiotic_guideline,
)
from beak_lims.models.catalog import CatalogRow
from beak_lims.models.organism import CURRENT
from tenantry.registry.uids import new_uid

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

STARTER = "starter"  # the source of rows that the project brings along
OLDER = "O"  # taxonomic status of a name that is no longer in use
LOCK = 0x6D696372  # the advisory lock of a catalog, with a hash of its schema's name
MODELS: dict[str, type[CatalogRow]] = {
    "organism": Organism,
    "serotype": Serotype,
    "breakpoint": Breakpoint,
    "expected_res_phenotype": ExpectedResPhenotype,
    "expert_interpret_rule": ExpertInterpretRule,
    "qc_range": QcRange,
}


@dataclass
class Loaded:
    """What became of one file's rows in one tenant."""

    table: str
    file: str
    added: int = 0
    changed: int = 0
    retired: int = 0
    unchanged: int = 0
    rejected: int = 0
    seconds: float = field(default=0.0, compare=False)


def load(session: Session, catalog: Catalog, *, progress: Callable[[Loaded], None] = lambda _: None) -> list[Loaded]:
    """Bring the catalog into the tenant of the session, in its transaction. One load at a time; others wait."""
    session.execute(
        sa.select(sa.func.pg_advisory_xact_lock(sa.cast(LOCK, sa.Integer), sa.func.hashtext(sa.func.current_schema())))
    )
    editions = _editions(session, catalog)
    done = []
    for table in catalog.tables:
        began = perf_counter()
        loaded = Loaded(table.name, table.source.path.name, rejected=len(table.source.rejected))
        if table.name == "antibiotic":
            _antibiotics(session, table, catalog.origin, editions, loaded)
        else:
            _merge(session, table, catalog.origin, editions, loaded)
        if table.name == "organism" and loaded.added + loaded.changed:
            _one_current_name(session, table.rows)
        loaded.seconds = perf_counter() - began
        done.append(loaded)
        progress(loaded)
    return done


Editions = dict[tuple[str, ...], str]  # (guideline,) or (guideline, year): the key of its row


def _editions(session: Session, catalog: Catalog) -> Editions:
    """The guidelines and their years that the tables name, made where they are missing."""
    scopes = {row.scope for table in catalog.tables for row in table.rows if row.scope}
    codes = sorted({scope[0] for scope in scopes} | _named_by_antibiotics(catalog))
    _put(session, Guideline, [{"code": code, "name": GUIDELINE_NAMES.get(code, code)} for code in codes])
    editions: Editions = {(code,): uid for code, uid in session.execute(sa.select(Guideline.code, Guideline.uid))}
    years = sorted(scope for scope in scopes if len(scope) > 1)
    _put(session, GuidelineYear, [{"guideline_uid": editions[scope[:1]], "year": int(scope[1])} for scope in years])
    found = sa.select(Guideline.code, GuidelineYear.year, GuidelineYear.uid).join_from(GuidelineYear, Guideline)
    editions |= {(code, str(year)): uid for code, year, uid in session.execute(found)}
    return editions


def _named_by_antibiotics(catalog: Catalog) -> set[str]:
    rows = [row for table in catalog.tables if table.name == "antibiotic" for row in table.rows]
    return {code for row in rows for code in row.values["guidelines"].split(",") if code}


def _put(session: Session, model: type[Any], rows: Sequence[dict[str, Any]]) -> None:
    """Add the rows of which no unique key is there."""
    if rows:
        session.execute(insert(model.__table__).on_conflict_do_nothing(), rows)


# -- rows known by their natural key


def _merge(session: Session, table: Table, origin: str, editions: Editions, loaded: Loaded) -> None:
    model = MODELS[table.name]
    scope_column = _scope_column(model)
    counted = model.__table__
    columns = [counted.c.uid, counted.c.natural_key, counted.c.digest, counted.c.source]
    columns += [scope_column] if scope_column is not None else []
    present = session.execute(sa.select(*columns).where(counted.c.retired_at.is_(None))).all()
    there = {row.natural_key: row for row in present}
    scopes = {_scope_uid(row, editions) for row in table.rows}
    foreign: Collection[str | None] = set()
    if origin == STARTER and scope_column is not None:
        # Another table tells of this year already: the starter set has nothing to add to it.
        foreign = {row[4] for row in present if row.source != STARTER}
    new: list[Row] = []
    changed: list[tuple[str, Row]] = []
    for row in table.rows:
        old = there.get(row.key)
        if _scope_uid(row, editions) in foreign or (origin == STARTER and old is not None and old.source != STARTER):
            loaded.unchanged += 1
        elif old is None:
            new.append(row)
        elif old.digest != row.digest:
            changed.append((old.uid, row))
        else:
            loaded.unchanged += 1
    if origin == STARTER and model is Organism:
        # A code that is known keeps the name that it has.
        codes = set(session.scalars(sa.select(Organism.code).where(Organism.source != STARTER)))
        new = [row for row in new if row.values["code"] not in codes]
    kept = {row.key for row in table.rows}
    gone = [
        row.uid
        for row in present
        if row.natural_key not in kept
        and (scope_column is None or row[4] in scopes)
        and (origin != STARTER or row.source == STARTER)
        and (origin == STARTER or model not in (Organism, Serotype))  # a name is never unlearnt
    ]
    cites = cited(session, model, [uid for uid, _ in changed])
    _retire(session, model, [*gone, *(uid for uid, _ in changed if uid in cites)])
    _update(session, model, [pair for pair in changed if pair[0] not in cites], origin, editions)
    copy(session, model, _records([*new, *(row for uid, row in changed if uid in cites)], origin, editions))
    loaded.added, loaded.changed, loaded.retired = len(new), len(changed), len(gone)


def _scope_column(model: type[CatalogRow]) -> sa.Column[str] | None:
    columns: Any = model.__table__.c
    found: sa.Column[str] | None = columns.get("guideline_year_uid", columns.get("guideline_uid"))
    return found


def _scope_uid(row: Row, editions: Editions) -> str | None:
    return editions[row.scope] if row.scope else None


def _record(row: Row, origin: str, editions: Editions) -> dict[str, Any]:
    values = dict(row.values)
    if values.pop("guideline", None) is not None:
        year = values.pop("year", None)
        values["guideline_uid" if year is None else "guideline_year_uid"] = editions[row.scope]
    return {**values, "natural_key": row.key, "digest": row.digest, "source": origin}


def _records(rows: Iterable[Row], origin: str, editions: Editions) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield {"uid": new_uid(), **_record(row, origin, editions)}


def _retire(session: Session, model: type[CatalogRow], uids: Sequence[str]) -> None:
    if uids:
        table: Any = model.__table__
        # An array, as there may be more rows than a statement has parameters.
        among = sa.any_(sa.literal(list(uids), ARRAY(sa.String)))
        session.execute(sa.update(table).where(table.c.uid == among).values(retired_at=sa.func.now()))


def _update(
    session: Session, model: type[CatalogRow], pairs: Sequence[tuple[str, Row]], origin: str, editions: Editions
) -> None:
    if not pairs:
        return
    table: Any = model.__table__
    statement = sa.update(table).where(table.c.uid == sa.bindparam("of_uid"))
    rows = [{"of_uid": uid, **_record(row, origin, editions)} for uid, row in pairs]
    session.connection().execute(statement.values(updated_at=sa.func.now()), rows)


def copy(session: Session, model: type[Any], records: Iterable[dict[str, Any]]) -> int:
    """Add records of one shape by COPY, in the session's transaction; how many there were."""
    records = iter(records)
    first = next(records, None)
    if first is None:
        return 0
    names = list(first)
    connection = session.connection().connection.driver_connection
    if connection is None:  # only of a connection that was closed
        raise RuntimeError("The session's connection is closed.")
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(model.__tablename__), sql.SQL(", ").join(map(sql.Identifier, names))
    )
    count = 0
    with connection.cursor() as cursor, cursor.copy(statement) as copying:
        for record in (first, *records):
            copying.write_row([Jsonb(value) if isinstance(value, list) else value for value in record.values()])
            count += 1
    return count


def _one_current_name(session: Session, rows: Sequence[Row]) -> None:
    """Names of the same codes that came from elsewhere give way to those of this table."""
    current = [row for row in rows if row.values["taxonomic_status"] == CURRENT]
    keys, codes = [row.key for row in current], [row.values["code"] for row in current]
    session.execute(
        sa.update(Organism)
        .where(
            Organism.code.in_(codes),
            Organism.natural_key.not_in(keys),
            Organism.taxonomic_status == CURRENT,
            Organism.retired_at.is_(None),
        )
        .values(taxonomic_status=OLDER),
        execution_options={"synchronize_session": False},
    )


# -- antibiotics: known by their code, each with its disks


_OF_AGENT = (
    *("name", "atc_code", "drug_class", "drug_subclass", "prof_class", "aware"),
    *("loinc_mic", "loinc_disk", "loinc_etest"),
)


def _antibiotics(session: Session, table: Table, origin: str, editions: Editions, loaded: Loaded) -> None:
    """Some published rows of one agent differ in detail: of each detail the first that tells anything counts."""
    agents: dict[str, dict[str, Any]] = {}
    for row in table.rows:
        agent = agents.setdefault(row.values["code"], {"code": row.values["code"], "human": False, "veterinary": False})
        for name in _OF_AGENT:
            agent[name] = agent.get(name) or row.values[name]
        for name in ("human", "veterinary"):
            agent[name] |= row.values[name]
    for agent in agents.values():
        agent["digest"] = digest(str(agent[name]) for name in sorted(agent))
    _upsert(session, Antibiotic, ("code",), agents.values(), origin, None)
    uids = dict(session.execute(sa.select(Antibiotic.code, Antibiotic.uid)).all())
    disks = [
        {
            "antibiotic_uid": uids[row.values["code"]],
            **{name: row.values[name] for name in ("potency", "number", "guidelines")},
            "digest": row.digest,
        }
        for row in table.rows
    ]
    _upsert(session, AntibioticDisk, ("antibiotic_uid", "potency"), disks, origin, loaded)
    pairs = {
        (uids[row.values["code"]], editions[(guideline,)])
        for row in table.rows
        for guideline in row.values["guidelines"].split(",")
        if guideline
    }
    links = [{"antibiotic_uid": antibiotic, "guideline_uid": guideline} for antibiotic, guideline in sorted(pairs)]
    if links:
        session.execute(insert(antibiotic_guideline).on_conflict_do_nothing(), links)


def _upsert(
    session: Session,
    model: type[Antibiotic] | type[AntibioticDisk],
    key: Sequence[str],
    rows: Iterable[dict[str, Any]],
    origin: str,
    loaded: Loaded | None,
) -> None:
    table: Any = model.__table__
    found = session.execute(sa.select(*(table.c[name] for name in (*key, "uid", "digest", "source")))).all()
    there = {tuple(row[: len(key)]): row for row in found}
    new, changed, unchanged = [], [], 0
    for row in rows:
        old = there.get(tuple(row[name] for name in key))
        if old is None:
            new.append({"uid": new_uid(), **row, "source": origin})
        elif old.digest == row["digest"] or (origin == STARTER and old.source != STARTER):
            unchanged += 1
        else:
            changed.append({"of_uid": old.uid, **row, "source": origin})
    copy(session, model, new)
    if changed:
        statement = sa.update(table).where(table.c.uid == sa.bindparam("of_uid"))
        session.connection().execute(statement.values(updated_at=sa.func.now()), changed)
    if loaded is not None:
        loaded.added, loaded.changed, loaded.unchanged = len(new), len(changed), unchanged
