"""Through which indexes documents are found: what keeps finding as quick among many as among few."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg._queries import MAX_CACHED_STATEMENT_LENGTH

from docex.services import document_service, written
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
        for shape in (Shape(order_desc=True), Shape(order_by="created_at", limit=True)):
            prepared = _prepared(shape, connection.dialect)
            given = tuple(
                {**prepared.constants, "basket": basket.id, "limit": 10}[name] for name in prepared.names or ()
            )
            told = [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {prepared.text}", given)]
            wanted = "SEARCH document USING COVERING INDEX ix_document_listed (basket_id=?)"
            assert told == [wanted], told


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
