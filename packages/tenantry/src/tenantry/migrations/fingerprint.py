"""What a store's schema is, as text that two equal schemas share.

Read from pg_catalog and sqlite_schema, never from information_schema, which takes three times as long among thousands
of schemas. The tenant's own name does not appear in it. Column order counts; the order in which tables were made does
not.
"""

from __future__ import annotations

import hashlib
import re

import sqlalchemy as sa

Fingerprint = dict[str, tuple[str, ...]]

# Each query gives rows of any width; their values are joined; only of the schema that unqualified names mean.
_HERE = "n.nspname = current_schema()"
_OF_RELATION = "JOIN pg_class c ON c.oid = {} JOIN pg_namespace n ON n.oid = c.relnamespace WHERE " + _HERE
_POSTGRES = {
    "columns": """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'NOT NULL' END,
            pg_get_expr(d.adbin, d.adrelid), a.attidentity::text, a.attgenerated::text,
            row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum)
        FROM pg_attribute a
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum """
    + _OF_RELATION.format("a.attrelid")
    + " AND c.relkind IN ('r', 'p', 'f') AND a.attnum > 0 AND NOT a.attisdropped",
    # NOT NULL is told by its column: PostgreSQL 18 keeps a constraint for it, earlier ones do not.
    "constraints": "SELECT c.relname, k.conname, pg_get_constraintdef(k.oid) FROM pg_constraint k "
    + _OF_RELATION.format("k.conrelid")
    + " AND k.contype <> 'n'",
    "indexes": "SELECT pg_get_indexdef(i.indexrelid), CASE WHEN NOT i.indisvalid THEN 'INVALID' END FROM pg_index i "
    + _OF_RELATION.format("i.indexrelid"),
    "sequences": """
        SELECT c.relname, format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcycle
        FROM pg_sequence s """
    + _OF_RELATION.format("s.seqrelid"),
    "types": """
        SELECT t.typname, t.typtype::text, format_type(nullif(t.typbasetype, 0), t.typtypmod), t.typdefault,
            (SELECT string_agg(quote_literal(e.enumlabel), ',' ORDER BY e.enumsortorder)
             FROM pg_enum e WHERE e.enumtypid = t.oid)
        FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.typtype IN ('e', 'd', 'r') AND """
    + _HERE,
    "views": """
        SELECT c.relname, c.relkind::text, pg_get_viewdef(c.oid)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('v', 'm') AND """
    + _HERE,
    "functions": """
        SELECT pg_get_functiondef(p.oid)
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.prokind IN ('f', 'p') AND """
    + _HERE,
    "triggers": "SELECT pg_get_triggerdef(t.oid), t.tgenabled::text FROM pg_trigger t "
    + _OF_RELATION.format("t.tgrelid")
    + " AND NOT t.tgisinternal",
    "policies": """
        SELECT c.relname, p.polname, p.polcmd::text, pg_get_expr(p.polqual, p.polrelid),
            pg_get_expr(p.polwithcheck, p.polrelid)
        FROM pg_policy p """
    + _OF_RELATION.format("p.polrelid"),
}
_SPACE = re.compile(r"\s+")


def fingerprint(connection: sa.Connection) -> Fingerprint:
    """Everything a migration can make, by kind, sorted; of the schema or file that the connection's unqualified names
    mean.
    """
    if connection.dialect.name == "sqlite":
        found: dict[str, list[str]] = {}
        rows = connection.exec_driver_sql(
            "SELECT type, name, coalesce(sql, '') FROM sqlite_schema WHERE name NOT LIKE 'sqlite_stat%'"
        )
        for kind, name, text in rows:
            found.setdefault(kind, []).append(f"{name} {_SPACE.sub(' ', text).strip()}")
        return {kind: tuple(sorted(texts)) for kind, texts in sorted(found.items())}
    schema: str = connection.exec_driver_sql("SELECT current_schema()").scalar_one()
    names = [connection.dialect.identifier_preparer.quote(schema), f'"{schema}"', schema]
    result: Fingerprint = {}
    for kind, query in _POSTGRES.items():
        texts = []
        for row in connection.exec_driver_sql(query, execution_options={"no_parameters": True}):
            text = " ".join("-" if value is None else str(value) for value in row)
            for name in names:
                text = text.replace(f"{name}.", "")
            texts.append(text)
        result[kind] = tuple(sorted(texts))
    return result


def digest(found: Fingerprint) -> str:
    """One hash of a fingerprint."""
    return hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest()


def row_counts(connection: sa.Connection) -> dict[str, int]:
    """Rows per table; meant for places with few rows."""
    quote = connection.dialect.identifier_preparer.quote
    tables = sorted(sa.inspect(connection).get_table_names())
    return {table: connection.execute(sa.text(f"SELECT count(*) FROM {quote(table)}")).scalar_one() for table in tables}
