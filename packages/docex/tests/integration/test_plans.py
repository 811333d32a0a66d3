"""Through which indexes documents are found: what keeps finding as quick among many as among few."""

from __future__ import annotations

from typing import Any

from docex.services.metadata_service import having, meeting


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
            asked = basket.documents._query(condition, few=True).compile(connection.engine)
            values = tuple(asked.params[name] for name in asked.positiontup or ())
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked}", values).all()
        told = [row[-1] for row in plan]
        assert any(wanted in line for line in told), told
        assert not any(line.startswith("SCAN document") for line in told), told
