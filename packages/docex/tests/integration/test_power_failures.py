"""What a power failure can take, and what it cannot: the bytes of a text are in its row as well as in its file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docex import DocEX
from docex.docbasket import DocBasket
from docex.document import Document
from docex.errors import ConfigurationError, ContentMissing

TEXT = b"one\r\ntwo\r\n"
BINARY = bytes(range(256))


@pytest.fixture
def anywhere(prepared: Any) -> Any:
    """Most of a test would otherwise go into making its registry."""
    return prepared


@pytest.fixture
def docex(anywhere: Any) -> Iterator[DocEX]:
    with anywhere.setup().docex() as opened:
        yield opened


@pytest.fixture
def basket(docex: DocEX) -> DocBasket:
    return docex.create_basket("invoices")


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the files that were waited for until the disk had them."""
    sizes: list[int] = []
    wait = os.fsync

    def noted(descriptor: int) -> None:
        sizes.append(os.fstat(descriptor).st_size)
        wait(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    return sizes


def blob(basket: DocBasket, document: Document) -> Path:
    return Path(basket.storage.location("content"), document.checksum[:2], document.checksum)


def test_a_text_cut_by_a_power_failure_is_read_from_its_row_and_written_again(docex: DocEX, basket: DocBasket) -> None:
    text, binary = basket.add(TEXT, name="a.txt"), basket.add(BINARY, name="b.bin")
    for document in (text, binary):
        os.truncate(blob(basket, document), 0)
    assert text.get_content() == TEXT
    with text.open(start=5) as file:
        assert file.read() == TEXT[5:]
    with pytest.raises(ContentMissing):
        binary.get_content()
    assert {(f.kind, f.mended) for f in docex.fsck(mend=True, older_than=0).findings} == {
        ("damaged content", True),
        ("damaged content", False),
    }
    readable = Path(basket.get_basket_path(), text.path)
    assert blob(basket, text).read_bytes() == readable.read_bytes() == TEXT
    assert os.path.samefile(blob(basket, text), readable)

    blob(basket, text).unlink()
    readable.unlink()
    with pytest.raises(ContentMissing):  # it may have been removed on purpose: fsck says so first
        text.get_content()
    docex.fsck(mend=True, older_than=0)
    assert text.get_content() == readable.read_bytes() == TEXT


def test_bytes_that_no_row_keeps_are_on_the_disk_first(basket: DocBasket, synced: list[int]) -> None:
    basket.add(TEXT, name="a.txt")
    assert len(TEXT) not in synced
    basket.add(BINARY, name="b.bin")
    assert len(BINARY) in synced
    synced.clear()
    basket.add(TEXT, name="a.pdf")  # whose row keeps no text, though another's does
    assert len(TEXT) in synced


def test_an_earlier_version_does_not_need_the_row(docex: DocEX, basket: DocBasket, synced: list[int]) -> None:
    document = basket.add(TEXT, name="a.txt")
    os.truncate(blob(basket, document), 0)
    after = b"three\n"
    basket.update_document(document.id, after, name="a.txt")
    assert len(after) in synced
    assert document.get_content(version=1) == TEXT
    assert docex.fsck(verify=True, mend=True, older_than=0).clean


@pytest.mark.parametrize("level", ["full", "normal"])
def test_what_a_commit_waits_for_is_configured(installation: Any, level: str) -> None:
    database = {**installation.database(), "sqlite": {"synchronous": level}}
    alone = {"multi_tenancy_model": "row_level", "tenant_database_routing": False}
    for docex in (
        installation.setup(database=database).docex(),
        installation.setup(database=database, security=alone).docex(None),
    ):
        for write in (True, False):
            with docex.db.connection(write=write) as connection:
                found = connection.exec_driver_sql("PRAGMA synchronous").scalar_one()
                assert found == {"full": 2, "normal": 1}[level]
        DocEX.reset()
    with pytest.raises(ConfigurationError, match="synchronous"):
        installation.setup(database={**installation.database(), "sqlite": {"synchronous": "off"}})


def test_what_the_first_release_stored_is_counted_like_all_other_contents(
    docex: DocEX, basket: DocBasket, anywhere: Any
) -> None:
    documents = [
        basket.add(content, name=name) for content, name in ((TEXT, "a.txt"), (BINARY, "b.bin"), (TEXT, "c.txt"))
    ]
    # As revision 0001 left it: bytes under the readable paths alone, and nothing that counts them.
    for document in documents:
        readable = Path(basket.get_basket_path(), document.path)
        content = readable.read_bytes()
        readable.unlink()
        readable.write_bytes(content)
        blob(basket, document).unlink(missing_ok=True)
    anywhere.query("DELETE FROM content")
    anywhere.query("UPDATE document SET place = NULL, dedup_key = NULL")
    anywhere.query("UPDATE file_history SET place = NULL, checksum = NULL, size = NULL, version = NULL")
    assert docex.fsck(older_than=0).findings == []
    assert documents[0].get_content() == TEXT

    report = docex.fsck(mend=True, verify=True, older_than=0)

    assert [finding.kind for finding in report.findings] == ["content of an earlier release"] * 3
    assert docex.fsck(verify=True, older_than=0).findings == []
    assert [document.get_content() for document in documents] == [TEXT, BINARY, TEXT]
    assert len(list(basket.storage.contents())) == 2
    assert basket.add(TEXT, name="a.txt").id == documents[0].id
    assert docex.get_usage().bytes == 2 * len(TEXT) + len(BINARY)
    basket.delete()
    assert list(docex.storage.contents()) == []
