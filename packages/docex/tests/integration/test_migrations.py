"""The migrations make the tables that the models declare, on both databases, for tenants and without."""

from __future__ import annotations

import re
import warnings
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from docex.models.schema import compared, metadata

TABLES = {
    "docbasket",
    "document",
    "document_metadata",
    "file_history",
    "operations",
    "operation_dependencies",
    "doc_events",
    "transport_routes",
    "route_operations",
    "processors",
    "processing_operations",
}
BESIDE = {"content", "usage", "document_text", "audit_trail", "processing_rule", "api_token"}
INDEXES = {
    "docbasket": ["status", "created_at DESC"],
    "document": [
        "basket_id",
        "document_type",
        "status",
        "basket_id,status",
        "basket_id,document_type",
        "basket_id,created_at DESC",
        "basket_id,updated_at DESC",
        "basket_id,name",
        "basket_id,checksum",
        "dedup_key,basket_id",
    ],
    "file_history": ["document_id"],
    "operations": ["document_id", "operation_type", "status"],
    "operation_dependencies": ["operation_id", "depends_on"],
    "doc_events": ["basket_id", "event_type", "document_id", "event_timestamp", "status", "idempotency_key"],
    "document_metadata": [
        "document_id",
        "key",
        "metadata_type",
        "document_id,key",
        "key,substr(value, 1, 256)",
        "key,number",
        "key,word",
    ],
    "document_text": ["document_id"],
    "audit_trail": ["happened_at", "document_id"],
    "processing_operations": ["document_id"],
    "processing_rule": ["processor_id", "basket_id"],
    "api_token": ["digest"],
    "route_operations": ["route_id", "document_id"],
}
# ix_document_listed, which SQLite alone has.
LISTED = (
    "basket_id,created_at, id, name, path || char(31) || coalesce(CAST(content_type AS TEXT), char(31)) || char(31)"
    " || document_type || char(31) || coalesce(CAST(size AS TEXT), char(31)) || char(31) || checksum || char(31)"
    " || status || char(31) || created_at || char(31) || updated_at, status, document_type, size"
)


def explicit_indexes(anywhere: Any) -> dict[str, list[str]]:
    """The columns of every index that no constraint made, by table, read from the database's own catalog."""
    if anywhere.kind == "sqlite":
        rows = anywhere.query("SELECT tbl_name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
    else:
        rows = anywhere.query(
            "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'tenant_acme-corp'"
            " AND indexname LIKE 'ix\\_%' AND indexname <> 'ix_document_text_search'"
        )
    found: dict[str, list[str]] = {}
    for table, sql in rows:
        columns = re.search(r"\((.*)\)$", sql.split(" WHERE ")[0])[1]  # type: ignore[index]
        columns = columns.replace('"', "").replace("key, ", "key,").replace("_id, ", "_id,")
        # Of the full-text index itself; and what SQLite alone has.
        if table.startswith("document_fts") or columns == LISTED:
            continue
        found.setdefault(table, []).append(columns)
    return {table: sorted(columns) for table, columns in found.items()}


def test_a_tenant_has_the_eleven_tables_and_every_index(anywhere: Any) -> None:
    anywhere.setup().docex()
    with anywhere.engine().connect() as connection:
        tables = {name for name in sa.inspect(connection).get_table_names() if not name.startswith("document_fts")}
        assert tables == {*TABLES, *BESIDE, "alembic_version"}
    found = explicit_indexes(anywhere)
    assert {table: sorted(columns) for table, columns in found.items()} == {
        table: sorted(columns) for table, columns in INDEXES.items()
    }
    # Every index stands once: the contract's list names document_metadata(key) twice.
    assert sum(map(len, found.values())) == 25 + 5 + 4 + 3 + 3


@pytest.mark.parametrize("multi", [True, False], ids=["tenant", "single"])
def test_migrations_equal_the_models(anywhere: Any, multi: bool) -> None:
    if multi:
        anywhere.setup().docex()
    else:
        anywhere.setup(security={}).docex(None)
    engine = anywhere.engine()
    if not multi:
        engine = (
            sa.create_engine("sqlite:///docex.db", poolclass=sa.NullPool)
            if anywhere.url is None
            else sa.create_engine(anywhere.url, poolclass=sa.NullPool)
        )
    with engine.connect() as connection, warnings.catch_warnings():
        # Alembic cannot compare indexes on expressions on SQLite; the test above does.
        warnings.filterwarnings("ignore", message="autogenerate skipping")
        warnings.filterwarnings("ignore", message="Skipped unsupported reflection")
        options = {
            "compare_type": True,
            "compare_server_default": True,
            "version_table": "docex_version",
            "include_name": compared,
        }
        if multi:
            del options["version_table"]
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []


def test_types_are_those_promised(anywhere: Any) -> None:
    anywhere.setup().docex()
    with anywhere.engine().connect() as connection:
        columns = {
            (table, column["name"]): (str(column["type"]), column["nullable"])
            for table in TABLES
            for column in sa.inspect(connection).get_columns(table)
        }
    time = "TIMESTAMP" if anywhere.kind == "postgres" else "DATETIME"
    assert columns["document", "id"] == ("VARCHAR(36)", False)
    assert columns["document", "source"] == ("TEXT", False)
    assert columns["document", "content"] == ("JSON", True)
    # A file of 2 GiB has one byte more than PostgreSQL's INTEGER holds.
    assert columns["document", "size"] == ("BIGINT" if anywhere.kind == "postgres" else "INTEGER", True)
    assert columns["document", "created_at"] == (time, False)
    assert columns["operations", "completed_at"] == (time, True)
    assert columns["docbasket", "storage_config"] == ("JSON", False)
    assert columns["route_operations", "document_id"] == ("VARCHAR(255)", True)
    assert columns["document_metadata", "coordination_id"] == (
        "UUID" if anywhere.kind == "postgres" else "CHAR(32)",
        True,
    )


def test_downgrade_and_upgrade_come_back_to_the_same_tables(anywhere: Any) -> None:
    from docex.tenancy import configured

    anywhere.setup().docex()
    before = explicit_indexes(anywhere)
    configured().downgrade("acme-corp", "base")
    with anywhere.engine().connect() as connection:
        assert set(sa.inspect(connection).get_table_names()) == {"alembic_version"}
    configured().migrate("acme-corp")
    assert explicit_indexes(anywhere) == before


def test_a_long_metadata_value_can_be_stored(anywhere: Any) -> None:
    """PostgreSQL refuses index entries over 2,704 bytes; the index holds the start of a value only."""
    basket = anywhere.setup().docex().create_basket("long")
    value = "".join(chr(0x4E00 + n * 7919 % 20000) for n in range(20_000))
    document = basket.add(anywhere.file("a.txt", b"text"), metadata={"note": value})
    assert document.get_metadata()["note"] == value
    assert [found.id for found in basket.find_documents_by_metadata({"note": value})] == [document.id]
    assert basket.find_documents_by_metadata({"note": value + "x"}) == []


def test_plain_alembic_works_on_one_tenant(anywhere: Any) -> None:
    anywhere.setup().docex()
    import docex

    (anywhere.directory / "alembic.ini").write_text(
        f"[alembic]\nscript_location = {docex.__path__[0]}/migrations\ntenancy = docex.tenancy:configured\n"
    )
    command = ["alembic", "-x", "tenant=acme-corp"]
    ran = anywhere.command([*command, "downgrade", "base"])
    assert ran.returncode == 0, ran.stderr
    assert not anywhere.query("SELECT 1 FROM alembic_version")
    ran = anywhere.command([*command, "upgrade", "head"])
    assert ran.returncode == 0, ran.stderr
    assert anywhere.query("SELECT version_num FROM alembic_version") == [("0004",)]
    ran = anywhere.command([*command, "check"])
    assert ran.returncode == 0, ran.stderr
