"""What scripts read off the objects they get, one test for each name: attributes, columns, orders, and keys.

Companion of ``test_contract_names.py``, which has the methods; here it is what they give.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docex import DocEX, UserContext
from docex.processors.csv_to_json import CSVToJSONProcessor

PARTY = {"id": "p-1", "name": "Partner", "type": "customer"}
CHANGED = "changed\n"


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """One of each kind, and the DocEX that made them."""
    directory = tmp_path_factory.mktemp("values")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DOCEX_HOME", "HOME"):
            patch.setenv(name, str(directory / name.lower()))
        patch.delenv("DOCEX_CONFIG_FILE", raising=False)
        patch.chdir(directory)
        DocEX.setup(security={"multi_tenancy_model": "database_level", "tenant_database_routing": True})
        docex = DocEX(UserContext("alice", "alice@example.com", "acme-corp", ["editor"], {"team": "sales"}))
        docex.create_basket("empty", "nothing yet").set_status("inactive")
        basket = docex.create_basket("invoices", "what came in")
        Path("people.csv").write_text("name;age\nÅsa;30\n", "utf-8")
        document = basket.add("people.csv", "list", {"year": 2024})
        processed = CSVToJSONProcessor({"delimiter": ";"}).process(document)
        route = docex.create_route("partner", "local", {"base_path": "sent"}, other_party=PARTY)
        sent = asyncio.run(route.upload_document(document))
        Path("people.csv").write_text(CHANGED)
        updated = basket.update_document(basket.add(b"before", name="later.txt").id, "people.csv")
        yield {
            "DocEX": docex,
            "UserContext": docex.user_context,
            "DocBasket": basket,
            "BasketRecord": docex.list_baskets_with_metadata(
                ["id", "name", "description", "status", "created_at", "updated_at", "document_count"],
                filters={"name": "invoices"},
            )[0],
            "Document": basket.get_document(document.id),
            "DocumentRecord": document.get_details(),
            "updated": updated,
            "Route": docex.get_route("partner"),
            "TransportResult": sent,
            "ProcessingResult": processed,
        }
        docex.close()
        DocEX.reset()


ATTRIBUTES = {
    "DocEX": "db user_context",
    "UserContext": "user_id user_email tenant_id roles attributes",
    "DocBasket": "id name description storage_config created_at updated_at storage_type",
    "BasketRecord": "id name description status created_at updated_at document_count",
    "Document": "id name path content_type document_type size checksum status created_at updated_at",
    "DocumentRecord": "id name path content_type document_type size checksum status created_at updated_at",
    "Route": "name route_id purpose protocol can_upload can_download can_list can_delete other_party route_metadata"
    " tags priority enabled",
    "TransportResult": "success message error details",
    "ProcessingResult": "success content metadata error timestamp",
}
EMPTY = {"TransportResult.error", "ProcessingResult.error"}  # after a success


@pytest.mark.parametrize(
    "attribute", [f"{kind}.{name}" for kind, names in ATTRIBUTES.items() for name in names.split()]
)
def test_the_attribute(objects: dict[str, Any], attribute: str) -> None:
    kind, name = attribute.split(".")
    value = getattr(objects[kind], name)
    assert (value is None) == (attribute in EMPTY)


@pytest.mark.parametrize("record", ["BasketRecord", "DocumentRecord"])
def test_the_record_is_frozen(objects: dict[str, Any], record: str) -> None:
    with pytest.raises(ValueError, match="frozen"):
        objects[record].name = "other"


DOCUMENT_COLUMNS = ATTRIBUTES["Document"].split()


@pytest.mark.parametrize("column", DOCUMENT_COLUMNS)
def test_the_column_of_a_document(objects: dict[str, Any], column: str) -> None:
    basket, document = objects["DocBasket"], objects["Document"]
    value = getattr(document, column)
    given: dict[str, Any] = {"columns": ["id", column], "filters": {column: value}}
    shown = value.isoformat() if column.endswith("_at") else value
    assert {"id": document.id, column: shown} in basket.list_documents_with_metadata(**given)
    found = basket.find_documents_by_metadata_with_metadata({"year": 2024}, columns=[column])
    assert found == [{column: shown}]


def test_the_columns_of_a_document_by_default(objects: dict[str, Any]) -> None:
    default = ["id", "name", "document_type", "status", "size", "created_at"]
    for row in objects["DocBasket"].list_documents_with_metadata():
        assert list(row) == default


BASKET_COLUMNS = ATTRIBUTES["BasketRecord"].split()


@pytest.mark.parametrize("column", BASKET_COLUMNS)
def test_the_column_of_a_basket(objects: dict[str, Any], column: str) -> None:
    for record in objects["DocEX"].list_baskets_with_metadata([column]):
        assert [name for name in BASKET_COLUMNS if getattr(record, name) is not None] == [column]


def test_the_columns_of_a_basket_by_default(objects: dict[str, Any]) -> None:
    for record in objects["DocEX"].list_baskets_with_metadata():
        given = [name for name in BASKET_COLUMNS if getattr(record, name) is not None]
        assert given == ["id", "name", "status", "created_at", "updated_at"]


@pytest.mark.parametrize("order", ["created_at", "name", "updated_at"])
@pytest.mark.parametrize("desc", [False, True], ids=["up", "down"])
def test_the_order_of_baskets(objects: dict[str, Any], order: str, desc: bool) -> None:
    names = [basket.name for basket in objects["DocEX"].list_baskets(order_by=order, order_desc=desc)]
    assert names == (["invoices", "empty"] if desc else ["empty", "invoices"])


@pytest.mark.parametrize("status", ["active", "inactive"])
def test_the_status_of_baskets(objects: dict[str, Any], status: str) -> None:
    names = {basket.name for basket in objects["DocEX"].list_baskets(status=status)}
    assert names == {"active": {"invoices"}, "inactive": {"empty"}}[status]


@pytest.mark.parametrize("order", ["created_at", "updated_at", "name", "size", "status"])
def test_the_order_of_documents(objects: dict[str, Any], order: str) -> None:
    basket = objects["DocBasket"]
    up, down = (basket.list_documents(order_by=order, order_desc=desc) for desc in (False, True))
    assert [document.id for document in up] == [document.id for document in reversed(down)]
    values = [getattr(document, order) for document in up]
    assert values == sorted(values)


@pytest.mark.parametrize(
    "key",
    [
        "original_path",
        "file_type",
        "file_size",
        "file_extension",
        "original_file_timestamp",
        "content_checksum",
        "content_length",
        "content_type",
    ],
)
def test_the_metadata_key_of_an_updated_document(objects: dict[str, Any], key: str) -> None:
    updated = objects["updated"]
    exact = {
        "file_size": len(CHANGED),
        "content_length": len(CHANGED),
        "content_checksum": updated.checksum,
        "file_extension": ".csv",
    }
    value = updated.get_metadata()[key]
    assert value == exact.get(key, value)
    assert value is not None


@pytest.mark.parametrize("key", ["type", "status", "created_at", "completed_at", "error", "details"])
@pytest.mark.parametrize("method", ["get_operations", "get_route_operations"])
def test_the_key_of_an_operation(objects: dict[str, Any], method: str, key: str) -> None:
    told = getattr(objects["Document"], method)()
    assert told
    assert all(key in operation for operation in told)


@pytest.mark.parametrize("key", ["input_format", "output_format", "record_count", "columns"])
def test_the_key_of_a_processed_csv(objects: dict[str, Any], key: str) -> None:
    expected = {"input_format": "csv", "output_format": "records", "record_count": 1, "columns": ["name", "age"]}
    assert objects["ProcessingResult"].metadata[key] == expected[key]


@pytest.mark.parametrize(
    "key",
    [
        "database.echo",
        "database.pool_timeout",
        "database.pool_recycle",
        "database.postgres.system_schema",
        "security.context_match_fields",
        "multi_tenancy.isolation_strategy",
        "multi_tenancy.bootstrap_tenant",
        "storage.s3.retry_delay",
    ],
)
def test_the_configuration_key_without_effect(
    objects: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, key: str
) -> None:
    """It may stand in a file that the public package wrote, and is told."""
    monkeypatch.setenv("DOCEX_CONFIG_FILE", str(tmp_path / "config.yaml"))
    *above, last = key.split(".")
    section: dict[str, Any] = {last: 1}
    for name in reversed(above):
        section = {name: section}
    DocEX.setup(**section)
    assert key in caplog.text
