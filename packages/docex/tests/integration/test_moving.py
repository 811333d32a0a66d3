"""A basket moves between storages whole, or stays where it was."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from docex.errors import BasketInactive, BasketNotFound, StorageError
from docex.storage.filesystem import FilesystemStorage

if TYPE_CHECKING:
    from conftest import Installation

LARGE = b"0123456789abcdef" * 100_000  # 1.6 MB


@pytest.fixture
def anywhere(prepared: Any) -> Any:
    """Most of a test would otherwise go into making its registry."""
    return prepared


def configured(installation: Installation, s3_url: str) -> Any:
    return installation.setup(
        storage={
            "s3": {"bucket": "moving", "endpoint_url": s3_url, "access_key": "a", "secret_key": "b", "max_retries": 0}
        }
    ).docex()


def objects(s3_url: str) -> list[str]:
    s3 = boto3.client(
        "s3", endpoint_url=s3_url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket="moving").get("Contents", ())]


def test_a_basket_moves_to_s3_and_back(anywhere: Installation, s3_url: str) -> None:
    docex = configured(anywhere, s3_url)
    basket, other = docex.basket("b"), docex.basket("other")
    document = basket.add(anywhere.file("a.txt", b"one"), metadata={"year": 2024})
    basket.update_document(document.id, anywhere.file("a.txt", LARGE))
    shared = other.add(anywhere.file("same.txt", b"one"))  # the same bytes, in a basket that stays

    moved = docex.move_basket(basket.id, {"type": "s3"})

    assert (moved.storage_type, moved.status) == ("s3", "active")
    found = docex.get_document(document.id)
    assert found.get_content() == LARGE
    assert found.get_content(version=1) == b"one"
    assert found.get_metadata()["year"] == 2024
    assert shared.get_content() == b"one"
    assert len([key for key in objects(s3_url) if "/content/" in key]) == 2
    assert len([key for key in objects(s3_url) if f"/b_{basket.id[-4:]}/" in key]) == 2
    files = [path for path in Path("storage").rglob("content/*/*") if path.is_file()]
    assert [path.read_bytes() for path in files] == [b"one"]
    assert moved.add(anywhere.file("new.txt", b"new")).get_content() == b"new"
    with pytest.raises(StorageError, match="there already"):
        docex.move_basket(basket.id, {"type": "s3"})

    back = docex.move_basket(basket.id, {"type": "filesystem"})

    assert docex.get_document(document.id).get_content(version=1) == b"one"
    assert sorted(one.name for one in back.list_documents()) == ["a.txt", "new.txt"]
    assert objects(s3_url) == []
    refs = anywhere.query("SELECT refs FROM content ORDER BY refs")
    assert refs == [(1,), (1,), (2,)]
    actions = [row["action"] for row in docex.audit_trail.list(basket_id=basket.id)]
    assert actions.count("basket.move") == 2
    with pytest.raises(BasketNotFound):
        docex.move_basket("bas_none", {"type": "s3"})


def test_a_move_that_fails_leaves_the_basket_where_it_was(
    installation: Installation, s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    docex = configured(installation, s3_url)
    basket = docex.basket("b")
    documents = [basket.add(installation.file(f"{n}.txt", f"text {n}".encode())) for n in range(3)]
    opened = []
    plain = FilesystemStorage.open

    def failing(self: Any, key: str, start: int = 0) -> Any:
        opened.append(key)
        if len(opened) == 3:
            raise StorageError(key, "the disk is gone.")
        return plain(self, key, start)

    with monkeypatch.context() as patched:
        patched.setattr(FilesystemStorage, "open", failing)
        with pytest.raises(StorageError, match="the disk is gone"):
            docex.move_basket(basket.id, {"type": "s3"})
    stayed = docex.get_basket(basket.id)
    assert (stayed.storage_type, stayed.status) == ("filesystem", "active")
    assert [one.get_content() for one in documents] == [b"text 0", b"text 1", b"text 2"]
    assert objects(s3_url) == []

    path = next(path for path in Path("storage").rglob("content/*/*") if path.read_bytes() == b"text 1")
    path.write_bytes(b"text X")
    with pytest.raises(StorageError, match="damaged"):
        docex.move_basket(basket.id, {"type": "s3"})
    path.unlink()
    with pytest.raises(StorageError, match=r"the content is missing\. Whose it is tells: docex fsck"):
        docex.move_basket(basket.id, {"type": "s3"})
    assert docex.get_basket(basket.id).storage_type == "filesystem"


def test_an_object_made_before_a_move_follows_it(anywhere: Installation, tmp_path: Path) -> None:
    docex = anywhere.setup().docex()
    basket = docex.basket("b")
    document = basket.add(b"one", name="a.txt")
    docex.move_basket(basket.id, {"type": "filesystem", "path": str(tmp_path / "elsewhere")})

    assert document.get_content() == b"one"
    docex.move_basket(basket.id, {"type": "filesystem"})
    docex.move_basket(basket.id, {"type": "filesystem", "path": str(tmp_path / "third")})
    added = basket.add(b"two", name="b.txt")
    many = tmp_path / "many"
    many.mkdir()
    for number in range(3):
        (many / f"{number}.txt").write_bytes(b"%d" % number)
    docex.move_basket(basket.id, {"type": "filesystem"})
    report = basket.add_directory(many)
    docex.move_basket(basket.id, {"type": "filesystem", "path": str(tmp_path / "elsewhere")})
    basket.update_document(added.id, b"three", name="b.txt")

    assert basket.get_basket_path().startswith(str(tmp_path / "elsewhere"))
    fresh = docex.get_basket(basket.id)
    assert sorted(each.get_content() for each in fresh.list_documents()) == [b"0", b"1", b"2", b"one", b"three"]
    assert fresh.get_document(added.id).get_content(version=1) == b"two"
    assert len(report.added) == 3
    assert docex.fsck(verify=True, older_than=0).findings == []


def test_a_basket_that_takes_nothing_in_takes_no_other_content_either(anywhere: Installation) -> None:
    docex = anywhere.setup().docex()
    basket = docex.basket("b")
    document = basket.add(b"one", name="a.txt")
    basket.set_status("inactive")
    with pytest.raises(BasketInactive):
        basket.update_document(document.id, b"two", name="a.txt")
    assert document.get_content() == b"one"
    assert [content.size for content in basket.storage.contents()] == [3]
    assert docex.fsck(verify=True, older_than=0).findings == []
