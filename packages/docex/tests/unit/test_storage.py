"""Contents appear whole or not at all, each once, and never lie outside their directory."""

from __future__ import annotations

import hashlib
import io
import os
import resource
import threading
import time
from pathlib import Path
from typing import BinaryIO, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docex.contents import content_type, is_binary, text_of
from docex.errors import DocumentRejected, FileMissing, KeyRejected, StorageError
from docex.sources import opened
from docex.storage.base import CHUNK
from docex.storage.filesystem import TEMPORARY, FilesystemStorage, probe

CONTENT = b"line\r\n\x00\xff" * 1000
LARGE = os.urandom(1000) * 3000  # more than stays in memory


@pytest.fixture
def storage(tmp_path: Path) -> FilesystemStorage:
    return FilesystemStorage(tmp_path / "base", "acme-corp")


def put(storage: FilesystemStorage, content: bytes, *, readable: str | None = None) -> str:
    with storage.receive(io.BytesIO(content), "a.txt") as staged:
        assert (staged.size, staged.checksum) == (len(content), hashlib.sha256(content).hexdigest())
        key = storage.content_key(staged.checksum, "")
        storage.publish([(staged, key)])
        if readable is not None:
            assert storage.link(key, readable)
    return key


def files(storage: FilesystemStorage) -> list[str]:
    return sorted(str(path.relative_to(storage.root)) for path in storage.root.rglob("*") if path.is_file())


def read(storage: FilesystemStorage, key: str, start: int = 0) -> bytes:
    with storage.open(key, start) as file:
        return file.read()


def test_making_the_object_and_looking_touch_nothing(storage: FilesystemStorage) -> None:
    assert list(storage.contents()) == list(storage.links("invoices_ab12")) == storage.sweep(0) == []
    assert not storage.exists("content/ab/abcd")
    assert not storage.root.exists()


@pytest.mark.parametrize("content", [CONTENT, b"", LARGE, LARGE[:CHUNK]], ids=["small", "empty", "large", "chunk"])
def test_bytes_are_kept_exactly_and_once(storage: FilesystemStorage, content: bytes) -> None:
    key = put(storage, content, readable="invoices_ab12/a_1.txt")
    assert put(storage, content, readable="invoices_ab12/b_2.txt") == key
    assert read(storage, key) == content
    assert read(storage, key, 5) == content[5:]
    assert files(storage) == [key, "invoices_ab12/a_1.txt", "invoices_ab12/b_2.txt"]
    assert (storage.root / key).stat().st_nlink == 3
    assert [(c.key, c.size) for c in storage.contents()] == [(key, len(content))]
    assert sorted(storage.links("invoices_ab12")) == ["invoices_ab12/a_1.txt", "invoices_ab12/b_2.txt"]
    storage.unlink("invoices_ab12/a_1.txt")
    storage.unlink("invoices_ab12/a_1.txt")
    storage.delete(key)
    storage.delete(key)
    assert files(storage) == ["invoices_ab12/b_2.txt"]


def test_the_rest_of_a_broken_write_is_replaced(storage: FilesystemStorage) -> None:
    key = put(storage, CONTENT)
    for rest in (b"", CONTENT[:100], bytes(len(CONTENT))):
        (storage.root / key).write_bytes(rest)
        put(storage, CONTENT)
        assert read(storage, key) == CONTENT
    assert files(storage) == [key]


def test_what_is_not_published_leaves_nothing(storage: FilesystemStorage) -> None:
    for content in (CONTENT, LARGE):
        with storage.receive(io.BytesIO(content), "a.txt"):
            pass
    assert files(storage) == []


BAD_KEYS = ["", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "a/.hidden", ".hidden", "a\\b", "a\nb", "a\0b", "ä"]


@pytest.mark.parametrize("key", BAD_KEYS)
def test_keys_that_leave_the_directory_are_refused(storage: FilesystemStorage, key: str) -> None:
    taken = put(storage, CONTENT)
    with storage.receive(io.BytesIO(b"x"), "x") as staged:
        for attempt in (
            lambda: storage.publish([(staged, key)]),
            lambda: storage.open(key),
            lambda: storage.delete(key),
            lambda: storage.link(taken, key),
            lambda: storage.exists(key),
        ):
            with pytest.raises(KeyRejected):
                attempt()
    assert files(storage) == [taken]


@pytest.mark.parametrize("folder", ["", "..", "../x", "a/../b", "/abs", "a/.hidden"])
def test_folders_that_leave_the_base_are_refused(tmp_path: Path, folder: str) -> None:
    with pytest.raises(KeyRejected):
        FilesystemStorage(tmp_path, folder)


def test_symbolic_links_are_refused(storage: FilesystemStorage, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "secret").write_text("secret")
    key = put(storage, CONTENT)
    (storage.root / key).unlink()
    (storage.root / key).symlink_to(elsewhere / "secret")
    with pytest.raises(KeyRejected, match="symbolic link"):
        storage.open(key)
    assert list(storage.contents()) == []
    (storage.root / "invoices_ab12").symlink_to(elsewhere)
    with pytest.raises(KeyRejected, match="symbolic link"):
        storage.link(key, "invoices_ab12/a")
    linked = FilesystemStorage(tmp_path / "base", "other")
    (tmp_path / "base" / "other").symlink_to(elsewhere)
    with pytest.raises(KeyRejected, match="symbolic link"):
        put(linked, CONTENT)
    assert sorted(path.name for path in elsewhere.iterdir()) == ["secret"]


def test_the_base_may_be_a_link_that_an_administrator_chose(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "base").symlink_to(tmp_path / "disk")
    storage = FilesystemStorage(tmp_path / "base", None)
    assert read(storage, put(storage, CONTENT)) == CONTENT


def test_sources_that_cannot_be_taken(storage: FilesystemStorage, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for refused, said in (
        (tmp_path / "pipe", "not a plain file"),
        (tmp_path, "add_directory"),
        (tmp_path / "missing", "no such file"),
        ("a\0b", "null"),
        (io.StringIO("text"), "binary mode"),
    ):
        with (
            pytest.raises(DocumentRejected, match=said),
            opened(cast("BinaryIO", refused), None) as source,
            storage.receive(source.reader, "x"),
        ):
            pass
    with pytest.raises(FileMissing), opened(tmp_path / "missing", None):
        pass
    assert files(storage) == []


def test_a_file_that_grows_shrinks_or_changes_is_refused(storage: FilesystemStorage, tmp_path: Path) -> None:
    path = tmp_path / "log"

    def grow() -> None:
        with path.open("ab") as file:
            file.write(b"more")

    def touch() -> None:
        os.utime(path, (1, 1))

    for change in (grow, touch, lambda: os.truncate(path, 10)):
        path.write_bytes(CONTENT)
        with opened(path, None) as source:
            change()
            with (
                pytest.raises(DocumentRejected, match="changed while it was read"),
                storage.receive(source.reader, "log"),
            ):
                pass
    assert files(storage) == []


def test_a_file_that_vanishes_is_read_to_its_end(storage: FilesystemStorage, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(CONTENT)
    with opened(path, None) as source:
        path.unlink()
        with storage.receive(source.reader, "a") as staged:
            assert staged.data == CONTENT


def test_a_full_disk_leaves_nothing(storage: FilesystemStorage) -> None:
    """Files may not grow over 100 kB."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for content in (LARGE, LARGE[: 200 * 1024]):
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        try:
            with pytest.raises(StorageError, match="too large"):
                put(storage, content)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert files(storage) == []


def test_removing_a_folder_keeps_what_is_not_docexs(storage: FilesystemStorage) -> None:
    put(storage, CONTENT, readable="a_1/x.txt")
    (storage.root / "a_1" / "mine.txt").write_text("mine")
    storage.unlink("a_1/x.txt")
    storage.remove_folder("a_1")
    assert (storage.root / "a_1" / "mine.txt").read_text() == "mine"
    (storage.root / "a_1" / "mine.txt").unlink()
    storage.remove_folder("a_1")
    storage.remove_folder("a_1")
    assert not (storage.root / "a_1").exists()


def test_leftovers_are_swept_when_they_are_old(storage: FilesystemStorage) -> None:
    key = put(storage, CONTENT)
    left = [storage.root / "content" / f"{TEMPORARY}1", (storage.root / key).with_name(f"{TEMPORARY}2")]
    for path in left:
        path.write_bytes(b"half")
    assert storage.sweep(60) == []
    for path in left:
        os.utime(path, (time.time() - 100,) * 2)
    assert sorted(storage.sweep(60)) == sorted(str(path) for path in left)
    assert files(storage) == [key]


def test_many_threads_keep_one_content(storage: FilesystemStorage) -> None:
    contents = [b"content %d" % n for n in range(40)]
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for index, content in enumerate(contents):
                put(storage, content, readable=f"t{number}_x/{index}")
        except (OSError, StorageError) as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert {(storage.root / c.key).stat().st_nlink for c in storage.contents()} == {7}
    assert len(list(storage.contents())) == len(contents)


def test_a_probe_leaves_nothing_it_made(tmp_path: Path) -> None:
    probe(tmp_path / "a" / "b", keep=False)
    assert list(tmp_path.iterdir()) == []
    probe(tmp_path / "a" / "b", keep=True)
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written"):
        probe(tmp_path / "file" / "b", keep=False)


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=2000))
def test_text_is_only_what_reads_back_as_the_same_bytes(content: bytes) -> None:
    text = text_of(".txt", content[:1024], content)
    if text is not None:
        assert text.encode() == content
        assert not is_binary(".txt", content[:1024])


@pytest.mark.parametrize(
    ("suffix", "content", "text"),
    [
        (".txt", b"a\r\nb\n", "a\r\nb\n"),
        (".txt", b"", ""),
        (".txt", "é".encode(), "é"),
        (".txt", b"a" * 1024 + "é".encode(), "a" * 1024 + "é"),
        (".txt", b"a" * 1024 + b"\0", None),
        (".txt", b"a" * 1024 + b"\xff", None),
        (".pdf", b"%PDF-1.7", None),
        (".PDF", b"%PDF-1.7", None),
    ],
)
def test_text_and_binary(suffix: str, content: bytes, text: str | None) -> None:
    assert text_of(suffix, content[:1024], content) == text


def test_content_types_follow_the_suffix() -> None:
    assert content_type(".PDF") == "application/pdf"
    assert content_type(".json") == "application/json"
    assert content_type("") == content_type(".nothing-known") == "application/octet-stream"
