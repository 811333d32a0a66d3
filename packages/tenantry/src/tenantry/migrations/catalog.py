"""A place's schema as its single objects, each with the statement that makes it and the one that removes it.

Read from pg_catalog and sqlite_schema with the few rows of one schema looked up by their keys, so that it takes the
same time beside one neighbour and beside ten thousand. What is read can be made anew elsewhere, compared with another
schema object by object, and hashed. Storage details (tablespaces, statistics targets, clustering) are not part of it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

TENANT = "{tenant}"  # stands for the tenant's own role, so that two tenants' rights are the same text
OWNER = "{owner}"  # stands for the user that owns everything


class Kind(StrEnum):
    """What an object is, in the order in which a schema is made."""

    TYPE = "type"
    SEQUENCE = "sequence"
    FUNCTION = "function"
    TABLE = "table"
    COLUMN = "column"
    CONSTRAINT = "constraint"
    INDEX = "index"
    VIEW = "view"
    TRIGGER = "trigger"
    POLICY = "policy"
    COMMENT = "comment"
    RIGHT = "right"
    OWNER = "owner"


@dataclass(frozen=True)
class Item:
    """One object. ``text`` is what it is, the same in every tenant; ``create`` and ``drop`` are statements."""

    kind: Kind
    name: str
    text: str
    create: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    rank: int = 0  # objects of a lower rank are made first
    position: int = 0  # of a column in its table
    holds_rows: bool = False  # dropping it loses what people entered


@dataclass(frozen=True)
class Column:
    """A column that holds values of its own (a generated one does not)."""

    name: str
    type: str  # as the database spells it
    base: str = ""  # what a domain or an enumeration is made of; else the same


@dataclass(frozen=True)
class Table:
    """A table with rows of its own."""

    name: str
    columns: tuple[Column, ...]
    order: tuple[str, ...] = ()  # by these its rows are read, where the database has no order of its own
    shadow: bool = False  # made and kept by a virtual table


@dataclass(frozen=True)
class Sequence_:
    """A sequence and the column that it feeds, if any."""

    name: str
    table: str | None = None
    column: str | None = None


@dataclass(frozen=True)
class Shape:
    """A whole schema."""

    dialect: str
    items: tuple[Item, ...]
    tables: tuple[Table, ...]
    sequences: tuple[Sequence_, ...] = ()
    foreign: tuple[str, ...] = ()  # objects that this module cannot make anew, in words
    by_key: dict[tuple[Kind, str], Item] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        self.by_key.update({(item.kind, item.name): item for item in self.items})

    def digest(self, *, rights: bool = False) -> str:
        """One hash of everything a migration makes; with ``rights`` also of who may use it."""
        told = sorted(
            (item.kind.value, item.name, item.text, item.position)
            for item in self.items
            if rights or item.kind not in (Kind.RIGHT, Kind.OWNER)
        )
        return hashlib.sha256(json.dumps(told, ensure_ascii=False).encode()).hexdigest()

    def outline(self) -> dict[str, str]:
        """Each object that a migration makes by its kind and name, with a short hash of what it is."""
        return {
            f"{item.kind.value} {item.name}": hashlib.sha256(f"{item.position} {item.text}".encode()).hexdigest()[:12]
            for item in self.items
            if item.kind not in (Kind.RIGHT, Kind.OWNER)
        }

    def creating(self, *, rows_loaded: bool) -> Iterator[str]:
        """The statements that make the schema: those before its rows are loaded, or those after."""
        after = RANK_AFTER_ROWS
        for item in sorted(self.items, key=lambda item: item.rank):
            if item.kind not in (Kind.COLUMN, Kind.OWNER) and (item.rank >= after) == rows_loaded:
                yield from item.create


RANK_AFTER_ROWS = 100


def read(connection: sa.Connection, role: str | None = None) -> Shape:
    """The schema or file that the connection's unqualified names mean; ``role`` is the tenant's own."""
    if connection.dialect.name == "sqlite":
        return _read_sqlite(connection)
    return _Reader(connection, role).shape()


def quote(name: str) -> str:
    """A name as an identifier of SQL, in either dialect."""
    return '"' + name.replace('"', '""') + '"'


# -- PostgreSQL

_IN = "(SELECT d.objid FROM pg_depend d WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = :schema"
_RELATIONS = f"""
SELECT c.oid::bigint, c.relname, c.relkind::text, pg_get_userbyid(c.relowner) AS owner, c.relrowsecurity,
    c.relforcerowsecurity, array_to_string(c.reloptions, ', ') AS options, c.relpersistence::text,
    CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END AS partitioned,
    pg_get_expr(c.relpartbound, c.oid) AS bound,
    (SELECT min(p.relname) FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent
     WHERE i.inhrelid = c.oid) AS parent,
    CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid, true) END AS definition,
    CASE WHEN c.relacl IS NOT NULL THEN (
        SELECT json_agg(json_build_array(
            CASE WHEN a.grantee <> 0 THEN pg_get_userbyid(a.grantee) END, a.privilege_type))
        FROM aclexplode(c.relacl) a WHERE a.grantee <> c.relowner) END AS rights
FROM pg_class c
WHERE c.oid IN {_IN} AND d.classid = 'pg_class'::regclass) ORDER BY c.oid
"""
_COLUMNS = """
SELECT a.attrelid::bigint AS relation, a.attname, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull,
    pg_get_expr(d.adbin, d.adrelid, true) AS default, a.attidentity::text, a.attgenerated::text, a.attnum,
    CASE t.typtype WHEN 'e' THEN 'text' WHEN 'd' THEN format_type(t.typbasetype, t.typtypmod)
        ELSE format_type(a.atttypid, a.atttypmod) END AS base,
    CASE WHEN a.attcollation <> t.typcollation THEN (
        SELECT quote_ident(n.nspname) || '.' || quote_ident(c.collname)
        FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace
        WHERE c.oid = a.attcollation) END AS collation
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = ANY(:relations) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum
"""
_SEQUENCES = """
SELECT s.seqrelid::bigint AS relation, format_type(s.seqtypid, NULL) AS type, s.seqstart, s.seqincrement, s.seqmin,
    s.seqmax, s.seqcache, s.seqcycle, d.deptype::text, d.refobjid::bigint AS owner, d.refobjsubid AS attnum
FROM pg_sequence s LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = s.seqrelid
    AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
WHERE s.seqrelid = ANY(:relations)
"""
# NOT NULL is told by its column: PostgreSQL 18 keeps a constraint for it, earlier ones do not.
_CONSTRAINTS = """
SELECT k.conrelid::bigint AS relation, k.conname, k.contype::text, pg_get_constraintdef(k.oid, true) AS definition
FROM pg_constraint k
WHERE k.conrelid = ANY(:relations) AND k.contype NOT IN ('n', 't') AND k.conparentid = 0 AND k.conislocal
"""
_INDEXES = """
SELECT i.indrelid::bigint AS relation, c.relname, pg_get_indexdef(i.indexrelid, 0, true) AS definition, i.indisvalid
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = ANY(:relations) AND NOT c.relispartition AND NOT EXISTS (
    SELECT FROM pg_constraint k
    WHERE k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x'))
"""
_TRIGGERS = """
SELECT t.tgrelid::bigint AS relation, t.tgname, pg_get_triggerdef(t.oid, true) AS definition, t.tgenabled::text
FROM pg_trigger t WHERE t.tgrelid = ANY(:relations) AND NOT t.tgisinternal AND t.tgparentid = 0
"""
_POLICIES = """
SELECT p.polrelid::bigint AS relation, p.polname, p.polcmd::text, p.polpermissive,
    pg_get_expr(p.polqual, p.polrelid, true) AS qualifier, pg_get_expr(p.polwithcheck, p.polrelid, true) AS checked,
    p.polroles = '{0}' AS everyone
FROM pg_policy p WHERE p.polrelid = ANY(:relations)
"""
_COMMENTS = """
SELECT d.objoid::bigint AS relation, d.objsubid, d.description FROM pg_description d
WHERE d.objoid = ANY(:relations) AND d.classoid = 'pg_class'::regclass
"""
_TYPES = f"""
SELECT t.typname, t.typtype::text, format_type(nullif(t.typbasetype, 0), t.typtypmod) AS base, t.typdefault,
    t.typnotnull,
    (SELECT json_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid) AS labels,
    (SELECT json_agg(json_build_array(k.conname, pg_get_constraintdef(k.oid, true)) ORDER BY k.conname)
     FROM pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c') AS checks
FROM pg_type t
WHERE t.typtype IN ('e', 'd', 'r', 'm', 'c') AND t.oid IN {_IN} AND d.classid = 'pg_type'::regclass) ORDER BY t.oid
"""
_FUNCTIONS = f"""
SELECT quote_ident(p.proname) || '(' || pg_get_function_identity_arguments(p.oid) || ')' AS name, p.prokind::text,
    CASE WHEN p.prokind IN ('f', 'p') THEN pg_get_functiondef(p.oid) END AS definition,
    EXISTS (SELECT FROM pg_depend u LEFT JOIN pg_type t ON u.refclassid = 'pg_type'::regclass AND t.oid = u.refobjid
        LEFT JOIN pg_class r
            ON r.oid = CASE WHEN u.refclassid = 'pg_class'::regclass THEN u.refobjid ELSE t.typrelid END
        WHERE u.classid = 'pg_proc'::regclass AND u.objid = p.oid AND r.relnamespace = :schema) AS late
FROM pg_proc p WHERE p.oid IN {_IN} AND d.classid = 'pg_proc'::regclass) ORDER BY p.oid
"""
_LOST = """
SELECT format('rule %s on %s', w.rulename, c.relname) FROM pg_rewrite w JOIN pg_class c ON c.oid = w.ev_class
WHERE w.ev_class = ANY(:relations) AND w.rulename <> '_RETURN'
UNION ALL
SELECT format('rights on column %s.%s', c.relname, a.attname) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE a.attrelid = ANY(:relations) AND a.attacl IS NOT NULL
"""
_OTHERS = """
SELECT d.classid::regclass::text, count(*) FROM pg_depend d
WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = :schema AND d.deptype = 'n'
    AND d.classid::regclass::text NOT IN ('pg_class', 'pg_type', 'pg_proc', 'pg_default_acl', 'pg_statistic_ext')
GROUP BY 1
"""
_COMMANDS = {"r": "SELECT", "a": "INSERT", "w": "UPDATE", "d": "DELETE", "*": "ALL"}
_FIRING = {"D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}


# The server writes the casts of `word IN ('a', 'b')` in one way when it was typed and in another when it was read from
# the server's own text; so they are no part of what an object is.
_CASTS = re.compile(r"::(?:text|character varying(?:\(\d+\))?)(?:\[\])?")
_EXPRESSIONS = (Kind.TYPE, Kind.COLUMN, Kind.CONSTRAINT, Kind.INDEX, Kind.VIEW, Kind.TRIGGER, Kind.POLICY)


class _Reader:
    """Reads one schema of PostgreSQL."""

    def __init__(self, connection: sa.Connection, role: str | None) -> None:
        self._connection = connection
        self._role = role
        found = connection.exec_driver_sql(
            "SELECT n.oid::bigint, n.nspname, current_user FROM pg_namespace n WHERE n.nspname = current_schema()"
        ).one()
        self._schema: int = found[0]
        self._name: str = found[1]
        self._user: str = found[2]
        self._items: list[Item] = []
        self._foreign: list[str] = []

    def _rows(self, query: str, **values: Any) -> Sequence[sa.Row[Any]]:
        return self._connection.execute(sa.text(query), values).all()

    def shape(self) -> Shape:
        relations = {row.oid: row for row in self._rows(_RELATIONS, schema=self._schema)}
        named = {oid: row.relname for oid, row in relations.items()}
        oids = list(relations)
        columns: dict[int, list[sa.Row[Any]]] = {}
        for row in self._rows(_COLUMNS, relations=oids):
            columns.setdefault(row.relation, []).append(row)
        sequences = {row.relation: row for row in self._rows(_SEQUENCES, relations=oids)}
        identities = {(row.owner, row.attnum): row for row in sequences.values() if row.deptype == "i"}
        self._types()
        self._functions()
        fed = list(self._sequences(relations, columns, sequences))
        tables = []
        for oid, row in relations.items():
            if row.relkind in ("r", "p"):
                self._table(row, columns.get(oid, []), identities)
                if row.relkind == "r":
                    own = [c for c in columns.get(oid, []) if not c.attgenerated]
                    held = tuple(Column(c.attname, c.type, c.base) for c in own)
                    tables.append(Table(row.relname, held))
            elif row.relkind in ("v", "m"):
                self._view(row)
            elif row.relkind not in ("S", "I", "i"):
                self._foreign.append(f"relation {row.relname!r} of kind {row.relkind!r}")
            if row.relkind in ("r", "p", "v", "m", "S") and (oid not in sequences or sequences[oid].deptype != "i"):
                self._rights(row)
        self._parts(oids, named, relations)
        self._comments(oids, relations, columns)
        self._foreign += [str(row[0]) for row in self._rows(_LOST, relations=oids)]
        for where, count in map(tuple, self._rows(_OTHERS, schema=self._schema)):
            self._foreign.append(f"{count} in {where}")
        return Shape("postgresql", tuple(self._items), tuple(tables), tuple(fed), tuple(self._foreign))

    def _add(self, kind: Kind, name: str, text: str, create: Iterable[str], drop: Iterable[str], **more: Any) -> None:
        if kind in _EXPRESSIONS:
            text = _CASTS.sub("", text)
        self._items.append(Item(kind, name, text, tuple(create), tuple(drop), **more))

    def _types(self) -> None:
        for number, row in enumerate(self._rows(_TYPES, schema=self._schema)):
            name = quote(row.typname)
            if row.typtype == "e":
                labels = ", ".join(_literal(label) for label in row.labels or ())
                text, word = f"ENUM ({labels})", "TYPE"
                create = f"CREATE TYPE {name} AS {text}"
            elif row.typtype == "d":
                text, word = row.base, "DOMAIN"
                text += f" DEFAULT {row.typdefault}" if row.typdefault is not None else ""
                text += " NOT NULL" if row.typnotnull else ""
                text += "".join(f" CONSTRAINT {quote(check)} {body}" for check, body in row.checks or ())
                create = f"CREATE DOMAIN {name} AS {text}"
            else:
                self._foreign.append(f"{'composite' if row.typtype == 'c' else 'range'} type {row.typname!r}")
                continue
            self._add(Kind.TYPE, row.typname, text, [create], [f"DROP {word} {name}"], rank=number % 9)

    def _functions(self) -> None:
        for row in self._rows(_FUNCTIONS, schema=self._schema):
            if row.definition is None:
                self._foreign.append(f"aggregate or window function {row.name}")
                continue
            # The server writes the schema in front of the function's own name, whatever the search_path.
            text = row.definition
            for schema in (self._name, quote(self._name)):
                text = re.sub(rf"^(CREATE OR REPLACE \w+ ){re.escape(schema)}\.", r"\1", text, count=1)
            text = text.strip()
            word = "PROCEDURE" if row.prokind == "p" else "FUNCTION"
            rank = RANK_AFTER_ROWS + 50 if row.late else 20
            create = ["SET LOCAL check_function_bodies = off", text]
            self._add(Kind.FUNCTION, row.name, text, create, [f"DROP {word} {row.name}"], rank=rank)

    def _sequences(
        self,
        relations: dict[int, sa.Row[Any]],
        columns: dict[int, list[sa.Row[Any]]],
        sequences: dict[int, sa.Row[Any]],
    ) -> Iterator[Sequence_]:
        for oid, row in sequences.items():
            name = relations[oid].relname
            owner = relations.get(row.owner)
            column = next((c.attname for c in columns.get(row.owner, ()) if c.attnum == row.attnum), None)
            yield Sequence_(name, None if owner is None else owner.relname, column)
            if row.deptype == "i":
                continue  # made together with its identity column
            text = f"AS {row.type} {_options(row)}"
            create = [f"CREATE SEQUENCE {quote(name)} {text}"]
            if owner is not None and column is not None:
                owned = f"OWNED BY {quote(owner.relname)}.{quote(column)}"
                text += f" {owned}"
                self._add(
                    Kind.SEQUENCE,
                    f"{name} owned",
                    owned,
                    [f"ALTER SEQUENCE {quote(name)} {owned}"],
                    [f"ALTER SEQUENCE {quote(name)} OWNED BY NONE"],
                    rank=50,
                )
            self._add(Kind.SEQUENCE, name, text, create, [f"DROP SEQUENCE {quote(name)}"], rank=10)

    def _table(
        self, row: sa.Row[Any], columns: list[sa.Row[Any]], identities: dict[tuple[int, int], sa.Row[Any]]
    ) -> None:
        name, parts = quote(row.relname), []
        for position, column in enumerate(columns, start=1):
            text = _column(column, identities.get((row.oid, column.attnum)))
            parts.append(f"{quote(column.attname)} {text}")
            self._add(
                Kind.COLUMN,
                f"{row.relname}.{column.attname}",
                text,
                [f"ALTER TABLE {name} ADD COLUMN {quote(column.attname)} {text}"],
                [f"ALTER TABLE {name} DROP COLUMN {quote(column.attname)}"],
                position=position,
                holds_rows=True,
            )
        text = "UNLOGGED" if row.relpersistence == "u" else "TABLE"
        head = f"CREATE {'UNLOGGED ' if row.relpersistence == 'u' else ''}TABLE {name} "
        if row.bound is not None:
            text += f" OF {quote(row.parent)} {row.bound}"
            head += f"PARTITION OF {quote(row.parent)} {row.bound}"
        else:
            head += f"({', '.join(parts)})"
            if row.parent is not None:
                self._foreign.append(f"table {row.relname!r}, which inherits from {row.parent!r}")
        if row.partitioned:
            text += f" PARTITION BY {row.partitioned}"
            head += f" PARTITION BY {row.partitioned}"
        if row.options:
            text += f" WITH ({row.options})"
            head += f" WITH ({row.options})"
        rank = 30 if row.bound is None else 31 if row.partitioned else 32
        self._add(Kind.TABLE, row.relname, text, [head], [f"DROP TABLE {name}"], rank=rank, holds_rows=True)
        if row.relrowsecurity:
            force = [f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY"] if row.relforcerowsecurity else []
            self._add(
                Kind.POLICY,
                f"{row.relname} row security",
                "FORCED" if force else "ENABLED",
                [f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY", *force],
                [f"ALTER TABLE {name} DISABLE ROW LEVEL SECURITY"],
                rank=RANK_AFTER_ROWS + 80,
            )

    def _view(self, row: sa.Row[Any]) -> None:
        word = "VIEW" if row.relkind == "v" else "MATERIALIZED VIEW"
        body = row.definition.strip().rstrip(";")
        options = f" WITH ({row.options})" if row.options else ""
        create = f"CREATE {word} {quote(row.relname)}{options} AS {body}"
        # By oid a view comes after those it reads.
        rank = RANK_AFTER_ROWS + 40
        drop = f"DROP {word} {quote(row.relname)}"
        self._add(Kind.VIEW, row.relname, f"{word}{options} AS {body}", [create], [drop], rank=rank)

    def _rights(self, row: sa.Row[Any]) -> None:
        what = "SEQUENCE" if row.relkind == "S" else "TABLE"
        owner = OWNER if row.owner == self._user else row.owner
        again = f"ALTER {what} {quote(row.relname)} OWNER TO CURRENT_USER"
        self._add(Kind.OWNER, row.relname, owner, [again] if owner == OWNER else [], [], rank=RANK_AFTER_ROWS + 98)
        held: dict[str, set[str]] = {}
        for grantee, right in row.rights or ():
            who = "PUBLIC" if grantee is None else TENANT if grantee == self._role else grantee
            held.setdefault(who, set()).add(right)
        create = [f"REVOKE ALL ON {what} {quote(row.relname)} FROM PUBLIC"]
        if self._role is not None:
            create.append(f"REVOKE ALL ON {what} {quote(row.relname)} FROM {TENANT}")
        for who, rights in sorted(held.items()):
            if who in ("PUBLIC", TENANT):  # another role's name may mean nobody where this is made anew
                create.append(f"GRANT {', '.join(sorted(rights))} ON {what} {quote(row.relname)} TO {who}")
        text = "; ".join(f"{who}: {', '.join(sorted(rights))}" for who, rights in sorted(held.items())) or "none"
        self._add(Kind.RIGHT, row.relname, text, create, [], rank=RANK_AFTER_ROWS + 99)

    def _parts(self, oids: list[int], named: dict[int, str], relations: dict[int, sa.Row[Any]]) -> None:
        for row in self._rows(_CONSTRAINTS, relations=oids):
            table, name = named[row.relation], quote(row.conname)
            add = f"ALTER TABLE {quote(table)} ADD CONSTRAINT {name} {row.definition}"
            drop = f"ALTER TABLE {quote(table)} DROP CONSTRAINT {name}"
            # A partition's own keys would hinder its parent's from being made on all of them.
            later = 1 if relations[row.relation].bound is not None else 0
            rank = RANK_AFTER_ROWS + {"p": 0, "u": 0, "x": 2, "c": 4, "f": 30}.get(row.contype, 6) + later
            self._add(Kind.CONSTRAINT, f"{table}.{row.conname}", row.definition, [add], [drop], rank=rank)
        for row in self._rows(_INDEXES, relations=oids):
            name = f"{named[row.relation]}.{row.relname}"
            # On a partitioned table the server says ONLY, which would leave out its partitions.
            create = row.definition.replace(" ON ONLY ", " ON ", 1)
            text = create if row.indisvalid else f"INVALID {create}"
            rank = RANK_AFTER_ROWS + 10 + (relations[row.relation].relkind == "m") * 35
            self._add(Kind.INDEX, name, text, [create], [f"DROP INDEX {quote(row.relname)}"], rank=rank)
        for row in self._rows(_TRIGGERS, relations=oids):
            table, create, text = quote(named[row.relation]), [row.definition], row.definition
            if row.tgenabled in _FIRING:
                create.append(f"ALTER TABLE {table} {_FIRING[row.tgenabled]} TRIGGER {quote(row.tgname)}")
                text += f" {_FIRING[row.tgenabled]}"
            drop = f"DROP TRIGGER {quote(row.tgname)} ON {table}"
            name = f"{named[row.relation]}.{row.tgname}"
            self._add(Kind.TRIGGER, name, text, create, [drop], rank=RANK_AFTER_ROWS + 60)
        for row in self._rows(_POLICIES, relations=oids):
            table, name = quote(named[row.relation]), quote(row.polname)
            text = f"AS {'PERMISSIVE' if row.polpermissive else 'RESTRICTIVE'} FOR {_COMMANDS[row.polcmd]}"
            text += f" USING ({row.qualifier})" if row.qualifier is not None else ""
            text += f" WITH CHECK ({row.checked})" if row.checked is not None else ""
            if not row.everyone:
                self._foreign.append(f"policy {row.polname!r}, which names roles")
            self._add(
                Kind.POLICY,
                f"{named[row.relation]}.{row.polname}",
                text,
                [f"CREATE POLICY {name} ON {table} {text}"],
                [f"DROP POLICY {name} ON {table}"],
                rank=RANK_AFTER_ROWS + 70,
            )

    def _comments(
        self, oids: list[int], relations: dict[int, sa.Row[Any]], columns: dict[int, list[sa.Row[Any]]]
    ) -> None:
        words = {"r": "TABLE", "p": "TABLE", "v": "VIEW", "m": "MATERIALIZED VIEW", "S": "SEQUENCE"}
        for row in self._rows(_COMMENTS, relations=oids):
            relation = relations[row.relation]
            if relation.relkind not in words:
                continue
            name, word = quote(relation.relname), words[relation.relkind]
            told = relation.relname
            if row.objsubid:
                column = next(c.attname for c in columns[row.relation] if c.attnum == row.objsubid)
                name, word, told = f"{name}.{quote(column)}", "COLUMN", f"{told}.{column}"
            says = f"COMMENT ON {word} {name} IS"
            create, drop = f"{says} {_literal(row.description)}", f"{says} NULL"
            self._add(Kind.COMMENT, told, row.description, [create], [drop], rank=RANK_AFTER_ROWS + 90)


def _column(column: sa.Row[Any], identity: sa.Row[Any] | None) -> str:
    text = str(column.type)
    if column.collation:
        text += f" COLLATE {column.collation}"
    if column.attgenerated:
        text += f" GENERATED ALWAYS AS ({column.default}) {'STORED' if column.attgenerated == 's' else 'VIRTUAL'}"
    elif column.attidentity:
        options = "" if identity is None else f" ({_options(identity)})"
        text += f" GENERATED {'ALWAYS' if column.attidentity == 'a' else 'BY DEFAULT'} AS IDENTITY{options}"
    elif column.default is not None:
        text += f" DEFAULT {column.default}"
    return text + (" NOT NULL" if column.attnotnull else "")


def _options(row: sa.Row[Any]) -> str:
    cycle = "CYCLE" if row.seqcycle else "NO CYCLE"
    return (
        f"START WITH {row.seqstart} INCREMENT BY {row.seqincrement} MINVALUE {row.seqmin} MAXVALUE {row.seqmax}"
        f" CACHE {row.seqcache} {cycle}"
    )


def _literal(text: str) -> str:
    escaped = text.replace("'", "''")
    return "E'" + escaped.replace("\\", "\\\\") + "'" if "\\" in text else f"'{escaped}'"


def for_role(statement: str, role: str | None) -> str | None:
    """A statement about rights with the tenant's role in it; None when it is about that role and there is none."""
    if f" {TENANT}" not in statement:
        return statement
    return None if role is None else statement.replace(f" {TENANT}", f" {quote(role)}")


# -- SQLite

_HEAD = re.compile(
    r"\A\s*CREATE\s+(?:(?:VIRTUAL\s+)?TABLE|(?:UNIQUE\s+)?INDEX|VIEW|TRIGGER)\s+(?:IF\s+NOT\s+EXISTS\s+)?"
    r"(?:\"(?:[^\"]|\"\")*\"|'(?:[^']|'')*'|`[^`]*`|\[[^\]]*\]|[\w$]+)\s*",
    re.IGNORECASE,
)
_UNIQUE = re.compile(r"\s*CREATE\s+UNIQUE\b", re.IGNORECASE)
_AUTOINCREMENT = re.compile(r"\bAUTOINCREMENT\b", re.IGNORECASE)
_SPACE = re.compile(r"\s+")
_SQLITE_RANKS = {
    "table": 30,
    "index": RANK_AFTER_ROWS + 10,
    "view": RANK_AFTER_ROWS + 40,
    "trigger": RANK_AFTER_ROWS + 60,
}


def _read_sqlite(connection: sa.Connection) -> Shape:
    rows = connection.exec_driver_sql(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema"
        " WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND sql IS NOT NULL ORDER BY rowid"
    ).all()
    # schema, name, type, columns, WITHOUT ROWID, STRICT
    listed = {row[1]: row for row in connection.exec_driver_sql("PRAGMA table_list") if row[0] == "main"}
    items, tables, sequences = [], [], []
    for kind, name, owner, text in rows:
        sort = listed[name][2] if name in listed else kind
        if sort != "shadow":
            # ALTER TABLE ... RENAME quotes the name in the stored text; the rest is what the object is.
            unique = "UNIQUE " if kind == "index" and _UNIQUE.match(text) else "VIRTUAL " if sort == "virtual" else ""
            told = unique + _SPACE.sub(" ", _HEAD.sub("", text, count=1)).strip()
            key = f"{owner}.{name}" if kind in ("index", "trigger") else name
            drop = (f"DROP {kind.upper()} {quote(name)}",)
            rank = _SQLITE_RANKS[kind] + (sort == "virtual")
            items.append(Item(Kind(kind), key, told, (text,), drop, rank, holds_rows=kind == "table"))
        if kind != "table" or sort == "virtual":
            continue
        columns = connection.exec_driver_sql(f"PRAGMA table_xinfo({quote(name)})").all()
        held = tuple(Column(row[1], row[2], row[2]) for row in columns if row[6] == 0)  # 2 and 3 are generated
        keys = tuple(row[1] for row in sorted(columns, key=lambda row: int(row[5])) if row[5])
        tables.append(Table(name, held, keys if listed[name][4] else ("rowid",), sort == "shadow"))
        if _AUTOINCREMENT.search(text):
            sequences.append(Sequence_(name, name, keys[0] if keys else None))
    return Shape("sqlite", tuple(items), tuple(tables), tuple(sequences))


def body(statement: str) -> str:
    """A statement of SQLite that makes an object, without its first words and the object's name."""
    return _HEAD.sub("", statement, count=1)


def as_tenants(shape: Shape, role: str | None, version_table: str) -> Shape:
    """The shape of a place without a tenant, as it is to be once it is a tenant's: with the rights of its role."""
    items = []
    for item in shape.items:
        if item.kind is Kind.RIGHT and role is not None:
            sequence = item.create[0].startswith("REVOKE ALL ON SEQUENCE")
            rights = "SELECT, UPDATE, USAGE" if sequence else "DELETE, INSERT, SELECT, UPDATE"
            if item.name == version_table:
                rights = "SELECT"
            what = f"{'SEQUENCE' if sequence else 'TABLE'} {quote(item.name)}"
            granted = (f"REVOKE ALL ON {what} FROM {TENANT}", f"GRANT {rights} ON {what} TO {TENANT}")
            others = "" if item.text == "none" else f"{item.text}; "
            item = replace(item, text=f"{others}{TENANT}: {rights}", create=(*item.create, *granted))
        items.append(item)
    return replace(shape, items=tuple(items), by_key={})
