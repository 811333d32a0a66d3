"""Baskets and documents: the same behaviour for tenants and without, on both databases."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from docex import BasketRecord, DocEX, DocumentRecord
from docex.docbasket import DocBasket
from docex.document import Document
from docex.errors import (
    BasketNotFound,
    ConfigurationError,
    ContentMissing,
    DatabaseError,
    DocumentError,
    DocumentNotFound,
    MetadataRejected,
    StorageError,
)
from docex.models.tables import EventRow, FileHistoryRow
from docex.services.usage_service import Usage


@pytest.fixture
def anywhere(prepared: Any) -> Any:
    """Most of a test would otherwise go into making its registry."""
    return prepared


@pytest.fixture(params=["tenant", "single"])
def docex(request: pytest.FixtureRequest, anywhere: Any) -> Iterator[DocEX]:
    if request.param == "tenant":
        yield anywhere.setup().docex()
    else:
        yield anywhere.setup(security={}).docex(None)


@pytest.fixture
def basket(docex: DocEX) -> DocBasket:
    return docex.create_basket("invoices", "what came in")


def rows(docex: DocEX, table: Any) -> list[Any]:
    with docex.db.session() as session:
        found = session.scalars(sa.select(table)).all()
        session.expunge_all()
        return list(found)


def contents(basket: DocBasket) -> list[str]:
    root = Path(basket.get_basket_path())
    return sorted(path.name for path in root.iterdir()) if root.exists() else []


def blob(basket: DocBasket, document: Document) -> Path:
    """Where the bytes of a document lie."""
    root = Path(basket.get_basket_path()).parent
    return root / "content" / document.checksum[:2] / document.checksum


def blobs(basket: DocBasket) -> list[str]:
    return sorted(content.key.rpartition("/")[2] for content in basket.storage.contents())


def events(docex: DocEX, kind: str) -> list[Any]:
    return [event for event in rows(docex, EventRow) if event.event_type == kind]


def test_a_basket_as_it_was_made(docex: DocEX, basket: DocBasket) -> None:
    assert basket.id.startswith("bas_")
    assert len(basket.id) == 36
    assert (basket.name, basket.description, basket.status) == ("invoices", "what came in", "active")
    assert basket.storage_type == "filesystem"
    parts = [docex.db.tenant_id] if docex.db.tenant_id else []
    assert Path(basket.get_basket_path()) == Path("storage/docex", *parts, f"invoices_{basket.id[-4:]}").absolute()
    assert not Path(basket.get_basket_path()).exists()


def test_names_are_sanitised_for_storing_and_looking_up(docex: DocEX) -> None:
    made = docex.basket("My Invoices!")
    assert made.name == "My_Invoices"
    for name in ("My Invoices!", "My_Invoices", "My  Invoices"):
        assert docex.basket(name).id == made.id
        found = docex.get_basket(basket_name=name)
        assert found is not None
        assert found.id == made.id
        with pytest.raises(ValueError, match="A basket with name 'My_Invoices' already exists"):
            docex.create_basket(name)
    assert len(docex.list_baskets()) == 1


def test_baskets_are_found_and_listed(docex: DocEX) -> None:
    names = ["b", "c", "a"]
    made = {name: docex.create_basket(name) for name in names}
    assert [b.name for b in docex.list_baskets()] == ["a", "c", "b"]
    assert [b.name for b in docex.list_baskets(order_by="name", order_desc=False)] == ["a", "b", "c"]
    assert [b.name for b in docex.list_baskets(order_by="name", order_desc=False, limit=1, offset=1)] == ["b"]
    assert [b.name for b in docex.list_baskets(order_by="nonsense", offset=1)] == ["c", "b"]
    assert docex.list_baskets(status="inactive") == []
    assert docex.get_basket(made["a"].id).name == "a"  # type: ignore[union-attr]
    assert docex.get_basket("bas_none") is None
    with pytest.raises(ValueError, match="name the basket"):
        docex.get_basket()
    with pytest.raises(ValueError, match="limit must not be negative"):
        docex.list_baskets(limit=-1)


def test_baskets_as_records(docex: DocEX, anywhere: Any) -> None:
    docex.create_basket("a", "first").add(anywhere.file("x.txt", b"x"))
    docex.create_basket("b")
    records = docex.list_baskets_with_metadata(["name", "document_count"], order_by="name")
    assert records == [BasketRecord(name="a", document_count=1), BasketRecord(name="b", document_count=0)]
    assert [r.name for r in docex.list_baskets_with_metadata(filters={"description": "first"})] == ["a"]
    assert [r.name for r in docex.list_baskets_with_metadata(filters={"document_count": 0})] == ["b"]
    assert docex.list_baskets_with_metadata(["name", "nonsense"], limit=1)[0].name == "b"
    with pytest.raises(ValueError, match="none of the columns is known"):
        docex.list_baskets_with_metadata(["nonsense"])


def test_adding_records_everything(docex: DocEX, basket: DocBasket, anywhere: Any) -> None:
    content = b"first line\r\nsecond\r\n"
    document = basket.add(anywhere.file("Q1 report.csv", content), metadata={"year": 2024})
    checksum = hashlib.sha256(content).hexdigest()
    assert document.id.startswith("doc_")
    assert (document.name, document.content_type, document.status) == ("Q1_report.csv", "text/csv", "RECEIVED")
    assert (document.size, document.checksum) == (len(content), checksum)
    assert document.path == f"Q1_report_{document.id[-6:]}.csv"
    assert document.get_content() == content
    assert document.get_content("text") == content.decode()
    details = document.get_details()
    assert isinstance(details, DocumentRecord)
    assert (details.checksum, details.size) == (checksum, len(content))
    assert document.get_metadata() == {"original_filename": "Q1 report.csv", "year": 2024}
    assert document.get_metadata_dict() == document.get_metadata()
    (operation,) = document.get_operations()
    assert (operation["type"], operation["status"]) == ("ADD", "success")
    assert operation["details"] == {
        "source": "Q1 report.csv",
        "stored_path": document.path,
        "document_type": "file",
        "size": len(content),
        "checksum": checksum,
    }
    (history,) = rows(docex, FileHistoryRow)
    assert (history.original_path, history.internal_path) == ("Q1 report.csv", document.path)
    with docex.db.session() as session:
        stored = session.execute(sa.text("SELECT raw_content, content FROM document")).one()
    assert stored[0] == content.decode()
    assert contents(basket) == [document.path]


def test_json_content_and_modes(basket: DocBasket, anywhere: Any) -> None:
    document = basket.add(anywhere.file("a.json", b'{"a": [1]}'))
    assert document.get_content("json") == {"a": [1]}
    with pytest.raises(ValueError, match="mode must be"):
        document.get_content("xml")
    Path(basket.get_basket_path(), document.path).unlink()
    assert document.get_content() == b'{"a": [1]}'  # the readable path is for people
    blob(basket, document).unlink()
    with pytest.raises(FileNotFoundError, match=document.id) as caught:
        document.get_content()
    assert isinstance(caught.value, ContentMissing)


def test_a_binary_keeps_no_text(docex: DocEX, basket: DocBasket, anywhere: Any) -> None:
    document = basket.add(anywhere.file("scan.bin", bytes(range(256)) * 50))
    assert document.get_content() == bytes(range(256)) * 50
    with docex.db.session() as session:
        assert session.execute(sa.text("SELECT raw_content, content FROM document")).one() == (None, None)


def test_the_same_file_again_is_the_same_document(docex: DocEX, basket: DocBasket, anywhere: Any) -> None:
    path = anywhere.file("a.txt", b"text")
    first = basket.add(path)
    assert basket.add(path).id == first.id
    (event,) = events(docex, "DUPLICATE")
    assert (event.event_type, event.status, event.data) == ("DUPLICATE", "PENDING", {"source": "a.txt"})
    assert event.document_id == first.id
    # Another path, another content, another basket: each is a document of its own.
    others = {
        basket.add(anywhere.file("b.txt", b"text")).id,
        basket.add(anywhere.file("a.txt", b"changed")).id,
        docex.create_basket("other").add(path).id,
    }
    assert len({first.id, *others}) == 4
    assert len(contents(basket)) == basket.count_documents() == 3


def test_one_file_added_by_many_threads_is_one_document(docex: DocEX, basket: DocBasket, anywhere: Any) -> None:
    path = anywhere.file("a.txt", b"text")
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(basket.add(path).id)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1
    assert len(contents(basket)) == basket.count_documents() == 1
    assert len(events(docex, "DUPLICATE")) == 5


def test_a_given_original_filename_names_the_document(basket: DocBasket, anywhere: Any) -> None:
    document = basket.add(anywhere.file("tmp123.pdf", b"x"), metadata={"original_filename": "Offer Müller.pdf"})
    assert document.name == "Offer_M_ller.pdf"
    assert document.get_metadata() == {"original_filename": "Offer Müller.pdf"}


def test_hostile_file_names_stay_inside(basket: DocBasket, anywhere: Any) -> None:
    document = basket.add(
        anywhere.file("a.txt", b"x"), metadata={"original_filename": "../../../etc/passwd\x00; DROP TABLE"}
    )
    assert contents(basket) == [document.path]
    assert "/" not in document.name
    odd = anywhere.directory / "caf\udce9 \n.t x"
    odd.write_bytes(b"y")
    document = basket.add(odd)
    assert document.get_content() == b"y"
    assert set(contents(basket)) >= {document.path}


def test_files_that_cannot_be_added_leave_nothing(docex: DocEX, basket: DocBasket, anywhere: Any) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.pdf"):
        basket.add("missing.pdf")
    with pytest.raises(DocumentError, match="not a plain file"):
        basket.add(anywhere.directory)
    with pytest.raises(DocumentError, match="document_type"):
        basket.add(anywhere.file("a.txt", b"x"), document_type="x" * 51)
    for metadata in ({"a": object()}, {"": 1}, {"k" * 256: 1}, {"nan": float("nan")}, {3: 4}):
        with pytest.raises(MetadataRejected):
            basket.add(anywhere.file("a.txt", b"x"), metadata=metadata)  # type: ignore[arg-type]
    assert basket.count_documents() == 0
    assert contents(basket) == blobs(basket) == []
    assert rows(docex, EventRow) == []


def test_a_failure_of_the_database_leaves_no_content(
    docex: DocEX, basket: DocBasket, anywhere: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise DatabaseError("the disk is full.")

    monkeypatch.setattr(basket._intake, "add", broken)
    with pytest.raises(DatabaseError):
        basket.add(anywhere.file("a.txt", b"x"))
    assert contents(basket) == blobs(basket) == []
    # When nobody can tell whether the rows were committed, the content stays.
    monkeypatch.setattr(basket.documents, "versions", broken)
    with pytest.raises(DatabaseError):
        basket.add(anywhere.file("a.txt", b"x"))
    assert len(blobs(basket)) == 1


def test_metadata_is_typed(basket: DocBasket, anywhere: Any) -> None:
    number = basket.add(anywhere.file("a.txt", b"1"), metadata={"n": 777, "who": "ann"})
    text = basket.add(anywhere.file("b.txt", b"2"), metadata={"n": "777", "who": "ann", "deep": {"b": 1, "a": [None]}})

    def found(metadata: Any, **options: Any) -> list[str]:
        return [document.id for document in basket.find_documents_by_metadata(metadata, **options)]

    assert found({"n": 777}) == [number.id]
    assert found({"n": "777"}) == [text.id]
    assert found({"who": "ann", "n": "777"}) == [text.id]
    assert found({"deep": {"a": [None], "b": 1}}) == [text.id]
    assert found({"who": "ann"}, order_by="name") == [number.id, text.id]
    assert found({"who": "ann"}, order_by="name", limit=1, offset=1) == [text.id]
    assert found("ann", order_by="name") == [number.id, text.id]
    assert found("a.txt") == [number.id]
    assert found({}) == found("") == []
    assert basket.count_documents_by_metadata({"who": "ann"}) == 2
    assert basket.count_documents_by_metadata({}) == 0

    number.update_metadata({"n": None, "new": "é'\"\\\0\ud800"})
    assert number.get_metadata() == {
        "original_filename": "a.txt",
        "n": None,
        "who": "ann",
        "new": "é'\"\\\0\ud800",
    }
    assert found({"n": 777}) == []


def test_one_key_set_by_many_threads_has_one_value(basket: DocBasket, anywhere: Any) -> None:
    document = basket.add(anywhere.file("a.txt", b"1"))
    threads = [threading.Thread(target=document.update_metadata, args=({"k": n, "a": n, "z": n},)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    metadata = document.get_metadata()
    assert metadata["k"] == metadata["a"] == metadata["z"]
    assert set(metadata) == {"original_filename", "k", "a", "z"}


def test_listing_documents(basket: DocBasket, anywhere: Any) -> None:
    for name, size in (("b", 3), ("a", 1), ("c", 2)):
        basket.add(anywhere.file(f"{name}.txt", b"x" * size), document_type="odd" if size % 2 else "even")

    def names(*arguments: Any, **options: Any) -> str:
        return "".join(document.name[0] for document in basket.list_documents(*arguments, **options))

    assert names() == "cab"
    assert names(order_by="name") == "abc"
    assert names(order_by="size", order_desc=True) == "bca"
    assert names(1, 1, "name") == "b"
    assert names(order_by="name", document_type="odd") == "ab"
    assert names(status="SENT") == ""
    assert (basket.count_documents(), basket.count_documents(document_type="odd")) == (3, 2)
    stats = basket.get_stats()
    assert stats["document_counts"] == {"RECEIVED": 3}
    assert stats["type_counts"] == {"odd": 2, "even": 1}
    assert (stats["id"], stats["name"], stats["status"]) == (basket.id, "invoices", "active")


def test_a_document_of_another_basket_does_not_exist_here(docex: DocEX, basket: DocBasket, anywhere: Any) -> None:
    other = docex.create_basket("other")
    document = other.add(anywhere.file("a.txt", b"1"))
    assert basket.get_document(document.id) is None
    with pytest.raises(DocumentNotFound):
        basket.update_document(document.id, "a.txt")
    with pytest.raises(ValueError, match=f"Document with ID {document.id} not found"):
        basket.delete_document(document.id)
    assert docex.get_document(document.id).id == document.id  # type: ignore[union-attr]
    assert docex.get_document(document.id, basket_id=basket.id) is None
    assert docex.get_document(document.id, basket_name="other") is not None
    assert docex.get_document("doc_none") is None
    assert document.get_content() == b"1"


def test_updating_keeps_the_earlier_versions(basket: DocBasket, anywhere: Any) -> None:
    document = basket.add(anywhere.file("a.txt", b"one"), metadata={"keep": 1})
    updated = basket.update_document(document.id, anywhere.file("b.json", b"[2]"))
    assert (updated.id, updated.name, updated.size) == (document.id, "b.json", 3)
    assert updated.content_type == "application/json"
    assert updated.created_at == document.created_at
    assert updated.updated_at > document.updated_at
    assert document.get_content() == b"[2]"  # the present state, through an object read before
    assert document.get_content(version=1) == b"one"
    assert document.get_content("json", version=2) == [2]
    with pytest.raises(ValueError, match="versions 1 to 2, not 3"):
        document.get_content(version=3)
    assert [version["original_path"] for version in document.get_versions()] == ["a.txt", "b.json"]
    assert [operation["type"] for operation in document.get_operations()] == ["ADD", "UPDATE"]
    metadata = document.get_metadata()
    assert metadata["keep"] == 1
    assert metadata["original_filename"] == metadata["original_path"] == "b.json"
    assert (metadata["file_size"], metadata["file_extension"], metadata["content_length"]) == (3, ".json", 3)
    assert len(contents(basket)) == 2

    basket.delete_document(document.id)
    assert contents(basket) == []
    assert basket.count_documents() == 0
    with pytest.raises(DocumentNotFound):
        document.get_details()
    with pytest.raises(DocumentNotFound):
        document.update_metadata({"a": 1})


def test_deleting_a_document_keeps_what_happened(docex: DocEX, basket: DocBasket, anywhere: Any) -> None:
    path = anywhere.file("a.txt", b"one")
    basket.add(path)
    document = basket.add(path)
    basket.delete_document(document.id)
    (event,) = events(docex, "DUPLICATE")
    assert (event.event_type, event.document_id) == ("DUPLICATE", None)
    assert basket.add(path).id != document.id


def test_deleting_a_basket_takes_everything_of_it_and_nothing_else(
    docex: DocEX, basket: DocBasket, anywhere: Any
) -> None:
    other = docex.create_basket("other")
    kept = other.add(anywhere.file("a.txt", b"one"))
    path = anywhere.file("b.txt", b"two")
    basket.add(path)
    updated = basket.add(path)
    basket.update_document(updated.id, "a.txt")
    basket.delete()
    assert not Path(basket.get_basket_path()).exists()
    assert [b.name for b in docex.list_baskets()] == ["other"]
    assert kept.get_content() == b"one"
    assert len(rows(docex, FileHistoryRow)) == 1
    assert blobs(other) == [kept.checksum]
    assert {event.basket_id for event in rows(docex, EventRow)} == {other.id}
    assert docex.get_usage() == Usage(1, 3, None, None)
    with pytest.raises(BasketNotFound):
        basket.delete()
    with pytest.raises(BasketNotFound):
        basket.add(path)
    assert not Path(basket.get_basket_path()).exists()
    assert docex.create_basket("invoices").id != basket.id


def test_a_basket_may_have_a_storage_path_of_its_own(docex: DocEX, anywhere: Any) -> None:
    basket = docex.create_basket("far", storage_config={"type": "filesystem", "path": "elsewhere"})
    basket.add(anywhere.file("a.txt", b"one"))
    assert Path(basket.get_basket_path()).is_relative_to(anywhere.directory / "elsewhere")
    assert basket.storage_config["path"] == str(anywhere.directory / "elsewhere")  # from wherever it is used later
    found = docex.get_basket(basket.id)
    assert found is not None
    assert found.list_documents()[0].get_content() == b"one"
    # That of all baskets is none of its own: under two names, one basket would remove what the other counts.
    same = docex.create_basket("same", storage_config={"type": "filesystem", "path": "storage/docex"})
    assert "path" not in same.storage_config
    other = docex.create_basket("other").add(b"two", name="b.txt")
    assert same.add(b"two", name="b.txt").get_content() == other.get_content()
    same.delete()
    assert docex.fsck(older_than=0, mend=True).findings == []
    assert other.get_content() == b"two"
    among = [{"path": "storage/docex/globex"}] if docex.db.tenant_id else []
    for wrong in ({"type": "s3"}, {"bucket": "x"}, {"path": 3}, *among):
        with pytest.raises(ConfigurationError):
            docex.create_basket("wrong", storage_config=wrong)
    assert docex.get_basket(basket_name="wrong") is None


def test_listing_touches_no_storage(docex: DocEX, anywhere: Any) -> None:
    docex.create_basket("a").add(anywhere.file("a.txt", b"one"))
    Path("storage/docex").rename("storage/unplugged")
    (basket,) = docex.list_baskets()
    assert [document.name for document in basket.list_documents()] == ["a.txt"]
    assert not Path("storage/docex").exists()


def test_a_storage_that_cannot_be_written_is_one_error(docex: DocEX, basket: DocBasket, anywhere: Any) -> None:
    root = Path(basket.get_basket_path())
    root.parent.mkdir(parents=True, exist_ok=True)
    root.write_text("a file where the directory should be")
    with pytest.raises(StorageError, match="Not a directory"):
        basket.add(anywhere.file("a.txt", b"one"))
    assert basket.count_documents() == 0
