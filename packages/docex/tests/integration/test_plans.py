"""Through which indexes documents are found: what keeps finding as quick among many as among few."""

from __future__ import annotations

import re
from typing import Any

import pytest
import sqlalchemy as sa
from psycopg._queries import MAX_CACHED_STATEMENT_LENGTH

from docex import DocEX
from docex.errors import DocumentNotFound
from docex.services import asking, document_service, written
from docex.services.asking import Shape, _prepared
from docex.services.metadata_service import having, meeting


@pytest.fixture
def anywhere(prepared: Any) -> Any:
    """Most of a test would otherwise go into making its registry."""
    return prepared


def test_documents_are_found_through_the_indexes_of_their_metadata(installation: Any) -> None:
    docex = installation.setup().docex()
    basket = docex.create_basket("invoices")
    basket.add(b"text", name="a.txt", metadata={"year": 2024, "customer": "Globex"})
    for condition, wanted in (
        (having({"year": 2024}), "ix_document_metadata_key_value (key=? AND <expr>=?)"),
        (having({"customer": "Globex"}), "ix_document_metadata_key_value (key=? AND <expr>=?)"),
        (
            meeting([("year", ">=", 2000), ("year", "<", 2030)]),
            "ix_document_metadata_key_number (key=? AND number>? AND number<?)",
        ),
        (meeting([("customer", "prefix", "Glo")]), "ix_document_metadata_key_word (key=? AND word>? AND word<?)"),
    ):
        with basket.db.connection() as connection:
            asked = basket.documents._query(condition.met, few=True).compile(connection.engine)
            values = tuple(asked.params[name] for name in asked.positiontup or ())
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked}", values).all()
        told = [row[-1] for row in plan]
        assert any(wanted in line for line in told), told
        assert not any(line.startswith("SCAN document") for line in told), told


def test_a_basket_is_listed_from_an_index_alone(installation: Any) -> None:
    """A row carries its document's text: of many, reading the rows would take longer than all else."""
    basket = installation.setup().docex().create_basket("invoices")
    with basket.db.connection() as connection:
        table = connection.exec_driver_sql("SELECT rootpage FROM sqlite_master WHERE name = 'document'").scalar_one()
        for shape in (
            Shape(order_desc=True),
            Shape(order_by="created_at", limit=True),
            Shape(equal=("status", "document_type"), order_desc=True),
        ):
            prepared = _prepared(shape, connection.dialect)
            values = {"basket": basket.id, "limit": 10, "status": "RECEIVED", "document_type": "file"}
            given = tuple({**prepared.constants, **values}[name] for name in prepared.names or ())
            told = [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {prepared.text}", given)]
            assert told == ["SEARCH document USING INDEX ix_document_listed (basket_id=?)"]
            # Columns that it does not know to be covered it may look up by row; no step reads any there.
            steps = connection.exec_driver_sql(f"EXPLAIN {prepared.text}", given).all()
            rows = {step.p1 for step in steps if step.opcode == "OpenRead" and step.p2 == table}
            assert len(rows) == 1
            assert not [step for step in steps if step.opcode == "Column" and step.p1 in rows]


def test_the_statement_that_adds_a_document_is_short_enough_to_be_remembered() -> None:
    """With a tenant's id in front, which on PostgreSQL is shorter than a name of 63 characters."""
    assert len(f"/*{'x' * 63}*/ {written._statement(alone=True)}") <= MAX_CACHED_STATEMENT_LENGTH


def test_a_page_of_what_many_share_is_the_same_however_it_is_found(
    anywhere: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    basket = anywhere.setup().docex().create_basket("invoices")
    for number in range(24):
        topic = "shared" if number % 2 else f"shared-{number}"
        basket.add(f"{number}".encode(), name=f"{number % 7}.txt", metadata={"topic": topic, "first": number < 2})

    def pages() -> list[list[str]]:
        return [
            [document.id for document in basket.find_documents_where(conditions, 3, offset, order, desc)]
            for conditions in (
                [("topic", "prefix", "shared")],
                [("topic", "=", "shared")],
                [("topic", "prefix", "shared"), ("first", "=", True)],
            )
            for offset in (0, 1, 2, 22)
            for order, desc in ((None, False), ("created_at", False), ("name", True), ("size", True))
        ]

    expected = pages()
    assert expected[0] == [document.id for document in basket.list_documents(limit=3)]
    walked: list[bool] = []
    plain = document_service.DocumentService._walked

    def noted(self: Any, *arguments: Any) -> Any:
        found = plain(self, *arguments)
        walked.append(found is not None)
        return found

    monkeypatch.setattr(document_service.DocumentService, "_walked", noted)
    monkeypatch.setattr(document_service, "MANY", 2)
    for reach in (4, 9, 1000):
        monkeypatch.setattr(document_service, "WALKED", reach)
        assert pages() == expected
    assert {True, False} == set(walked)  # sometimes a page is found on the way, sometimes not


def test_documents_with_odd_or_missing_values_are_listed_as_they_are(anywhere: Any) -> None:
    """A list is read as texts, of which these cannot be taken apart."""
    basket = anywhere.setup().docex().create_basket("invoices")
    given = {
        "a.txt": {"status": "on\x1fhold", "document_type": "\x1f", "content_type": ""},
        "b.txt": {"content_type": None, "size": None},
        "c.txt": {"content_type": None, "document_type": "a\x1fb", "status": ""},
        "d.txt": {"name": "d\x1f.txt", "path": "\x1f/\x1f"},
        "e.txt": {},
    }
    expected = {}
    table = document_service._document
    for name, odd in given.items():
        document = basket.add(name.encode(), name=name)
        expected[document.id] = {column: getattr(document, column) for column in asking.COLUMNS} | odd
        with basket.db.connection(write=True) as connection:
            values = {"updated_at": document.updated_at, **odd}
            connection.execute(sa.update(table).where(table.c.id == document.id).values(values))

    def told(documents: Any) -> dict[str, dict[str, Any]]:
        return {one.id: {column: getattr(one, column) for column in asking.COLUMNS} for one in documents}

    assert told(basket.list_documents()) == expected
    assert told(basket.page_documents().documents) == expected
    assert told(basket.list_documents(status="on\x1fhold")).popitem()[1]["document_type"] == "\x1f"
    shown = basket.list_documents_with_metadata(["size", "id", "updated_at"])
    assert {row["id"]: row["size"] for row in shown} == {id_: row["size"] for id_, row in expected.items()}
    assert {row["updated_at"] for row in shown} == {row["updated_at"].isoformat() for row in expected.values()}
    assert [list(row) for row in basket.list_documents_with_metadata(["name"], limit=1)] == [["name"]]

    listed = {document.name: document for document in basket.list_documents()}
    for document in listed.values():
        basket.delete_document(document.id)
    assert listed["e.txt"].status == "RECEIVED"
    with pytest.raises(DocumentNotFound):
        _ = listed["b.txt"].status


def test_a_whole_list_is_in_the_order_that_its_pages_have(anywhere: Any) -> None:
    """It is asked for the other way round."""
    basket = anywhere.setup().docex().create_basket("invoices")
    for number in range(12):
        basket.add(f"{number}".encode(), name=f"{number % 5}.txt", metadata={"topic": "shared"})
    for order in (None, *asking.ORDERS):
        for desc in (False, True):
            pages = [basket.list_documents(4, start, order, desc) for start in range(0, 12, 4)]
            expected = [document.id for page in pages for document in page]
            assert [one.id for one in basket.list_documents(order_by=order, order_desc=desc)] == expected
    newest = [document.id for document in basket.list_documents(limit=12)]
    assert [one.id for one in basket.find_documents_by_metadata({"topic": "shared"})] == newest


def test_times_are_read_however_a_server_writes_them(on_postgres: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGDATESTYLE", "German")
    on_postgres.setup(security={})
    basket = DocEX().create_basket("invoices")
    added = basket.add(b"text", name="a.txt")
    assert [(one.created_at, one.size) for one in basket.list_documents()] == [(added.created_at, 4)]


def test_one_document_is_found_by_its_own_index_however_few_there_were_when_it_was_planned(on_postgres: Any) -> None:
    """A server keeps a plan: one that walks through the basket would make every addition slower than the one before."""
    basket = on_postgres.setup().docex().create_basket("invoices")
    # Of about so many, and without statistics, an index on baskets is thought to be as good.
    (on_postgres.directory / "files").mkdir()
    for number in range(431):
        (on_postgres.directory / "files" / f"{number}.txt").write_text(f"document {number} of a test " * 40)
    assert len(basket.add_directory("files").added) == 431
    row = basket.documents._query(document_service._document.c.id == "doc_1", few=True)
    with basket.db.connection() as connection:
        compiled = row.compile(dialect=connection.dialect)
        driver: Any = connection.connection.driver_connection
        for text, index in (
            (written._statement(alone=True), "ix_document_dedup_key_basket_id"),
            (written._KNOWN, "ix_document_dedup_key_basket_id"),
            (str(compiled), "pk_document"),
        ):
            query = text
            for number, name in enumerate(dict.fromkeys(re.findall(r"%\(\w+\)s", text)), start=1):
                query = query.replace(name, f"${number}")
            driver.execute("SELECT")  # begins the tenant's transaction
            answer = driver.pgconn.exec_(f"EXPLAIN (GENERIC_PLAN) {query}".encode())
            plan = "\n".join(answer.get_value(line, 0).decode() for line in range(answer.ntuples))
            assert re.findall(r"Scan (?:using (\w+) )?on document ", plan) == [index]


def test_a_file_that_comes_again_is_known_by_its_own_index_on_sqlite(installation: Any) -> None:
    basket = installation.setup().docex().create_basket("invoices")
    with basket.db.connection() as connection:
        compiled = written._MANY.compile(dialect=connection.dialect)
        many = compiled.construct_expanded_state({"basket": basket.id, "keys": ["key"]})
        for text, values in (
            (written._ONE_SQLITE, ("key", basket.id)),
            (many.statement, tuple(many.parameters[name] for name in many.positiontup or ())),
        ):
            told = [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)]
            wanted = "USING INDEX ix_document_dedup_key_basket_id (dedup_key=? AND basket_id=?)"
            assert any(wanted in line for line in told), told
