"""Storages that scripts use by themselves: the same promises on files and in a bucket."""

from __future__ import annotations

import io
from pathlib import Path

import httpx
import pytest

from docex.errors import ConfigurationError, FileMissing, KeyRejected
from docex.services.storage_service import StorageService
from docex.storage.abstract_storage import AbstractStorage
from docex.storage.filesystem_storage import FileSystemStorage
from docex.storage.storage_factory import StorageFactory


def keeps_its_promises(storage: AbstractStorage, source: Path) -> None:
    """What every storage promises; the S3 tests call it with a bucket."""
    storage.save("a/b.txt", io.BytesIO(b"hello"))
    storage.save("a/text file.txt", "straße")
    storage.save("a/c/values.json", {"year": 2024})
    for path, content in (
        ("a/b.txt", b"hello"),
        ("a/text file.txt", "straße".encode()),
        ("a/c/values.json", b'{"year": 2024}'),
    ):
        file = storage.load(path)
        assert file is not None
        with file:
            assert file.read() == content
    assert storage.load("a/none.txt") is None
    assert storage.list_directory("a") == ["a/b.txt", "a/c", "a/text file.txt"]
    assert storage.list_directory("") == ["a"]
    assert storage.list_directory("none") == []
    assert (storage.exists("a/b.txt"), storage.exists("a"), storage.exists("b")) == (True, True, False)

    assert storage.set_metadata("a/b.txt", {"by": "ülice", "pages": 3})
    assert storage.get_metadata("a/b.txt").items() >= {"by": "ülice", "pages": 3, "size": 5}.items()
    assert not storage.set_metadata("a/none.txt", {})
    with pytest.raises(FileMissing):
        storage.get_metadata("a/none.txt")

    assert storage.copy("a/b.txt", "copied.txt")
    assert storage.move("copied.txt", "d/moved.txt")
    assert not storage.copy("a/none.txt", "x.txt")
    assert not storage.move("a/none.txt", "x.txt")
    assert (storage.exists("copied.txt"), storage.exists("x.txt")) == (False, False)
    source.write_bytes(b"\x00\r\n")
    assert storage.store(str(source), "d/stored.bin") == "d/stored.bin"
    file = storage.retrieve("d/stored.bin")
    assert file is not None
    with file:
        assert file.read() == b"\x00\r\n"
    with pytest.raises(FileNotFoundError):
        storage.store(str(source) + ".none", "d/none.bin")
    assert storage.list_directory("d") == ["d/moved.txt", "d/stored.bin"]

    storage.save("a/b.txt", b"other")  # a content that is replaced takes its values with it
    assert "pages" not in storage.get_metadata("a/b.txt")
    assert (storage.delete("a/b.txt"), storage.delete("a/b.txt")) == (True, False)
    assert storage.create_directory("empty/one")
    storage.cleanup("a")
    assert (storage.exists("a"), storage.exists("d/moved.txt")) == (False, True)
    for path in ("", "/etc/passwd", "../x", "a/../../x", "a//b", "."):
        with pytest.raises(KeyRejected):
            storage.save(path, b"x")


def test_files_of_a_script(tmp_path: Path) -> None:
    storage = StorageFactory.create_storage({"type": "filesystem", "path": str(tmp_path / "kept")})
    assert isinstance(storage, FileSystemStorage)
    assert not (tmp_path / "kept").exists()
    keeps_its_promises(storage, tmp_path / "source")
    assert storage.get_url("d/moved.txt") == (tmp_path / "kept/d/moved.txt").as_uri()
    (tmp_path / "outside").mkdir()
    (tmp_path / "kept" / "link").symlink_to(tmp_path / "outside")
    for work in (lambda: storage.save("link/x", b"x"), lambda: storage.load("link/x"), lambda: storage.cleanup("link")):
        with pytest.raises(KeyRejected, match="symbolic link"):
            work()
    assert list((tmp_path / "outside").iterdir()) == []


def test_the_service_of_a_script(tmp_path: Path) -> None:
    service = StorageService({"type": "filesystem", "filesystem": {"path": str(tmp_path / "kept")}})
    (tmp_path / "in.txt").write_text("text")
    assert service.store_document(str(tmp_path / "in.txt"), "x/y.txt") == "x/y.txt"
    with service.retrieve_document("x/y.txt") as file:
        assert file.read() == b"text"
    assert service.get_storage_path() == str(tmp_path / "kept")
    service.delete_document("x/y.txt")
    with pytest.raises(FileNotFoundError):
        service.retrieve_document("x/y.txt")
    service.ensure_storage_exists()
    service.cleanup("x")
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_registered_class_is_made_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(FileSystemStorage):
        pass

    monkeypatch.setattr(StorageFactory, "_registered", {})
    StorageFactory.register_storage("mine", Mine)
    assert type(StorageFactory.create_storage({"type": "mine", "path": "kept"})) is Mine
    assert set(StorageFactory.get_available_storages()) == {"filesystem", "s3", "mine"}
    with pytest.raises(ConfigurationError, match="derive from AbstractStorage"):
        StorageFactory.register_storage("odd", str)
    with pytest.raises(ConfigurationError, match="'nothing' is not known"):
        StorageFactory.create_storage({"type": "nothing"})


def test_objects_of_a_script(s3_url: str, tmp_path: Path) -> None:
    account = {"endpoint_url": s3_url, "access_key": "AKIATEST", "secret_key": "geheim-s3-4711"}
    settings = {"bucket": "docex-scripts", "path_namespace": "app", "prefix": "live", **account}
    storage = StorageFactory.create_storage({"type": "s3", "s3": settings})
    keeps_its_promises(storage, tmp_path / "source")
    assert httpx.get(storage.get_url("d/stored.bin")).content == b"\x00\r\n"
    whole = StorageFactory.create_storage(
        {"type": "s3", "bucket": "docex-scripts", **account}
    )  # as older scripts write
    assert whole.list_directory("app/live/d") == ["app/live/d/moved.txt", "app/live/d/stored.bin"]
    assert "geheim" not in repr(storage)
    with pytest.raises(ConfigurationError, match="bucket"):
        StorageFactory.create_storage({"type": "s3"})
