"""Contents appear whole or not at all, are never overwritten, and never lie outside their directory."""

from __future__ import annotations

import hashlib
import os
import resource
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docex.contents import content_type, is_binary, text_of
from docex.errors import DocumentRejected, KeyRejected, StorageError
from docex.storage.filesystem import TEMPORARY, FilesystemStorage, probe

CONTENT = b"line\r\n\x00\xff" * 1000


@pytest.fixture
def storage(tmp_path: Path) -> FilesystemStorage:
    return FilesystemStorage(tmp_path / "base", "acme-corp/invoices_ab12")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "invoice.pdf"
    path.write_bytes(CONTENT)
    return path


def put(storage: FilesystemStorage, source: Path, key: str) -> None:
    with storage.receive(source) as staged:
        storage.publish(staged, key)


def test_making_the_object_touches_nothing(storage: FilesystemStorage, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        storage.load("a.txt")
    assert list(tmp_path.iterdir()) == []


def test_bytes_are_kept_exactly(storage: FilesystemStorage, source: Path) -> None:
    with storage.receive(source) as staged:
        assert (staged.size, staged.checksum) == (len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
        assert staged.sample == CONTENT[:1024]
        storage.publish(staged, "a.pdf")
    assert storage.load("a.pdf") == CONTENT
    assert [path.name for path in storage.root.iterdir()] == ["a.pdf"]


def test_what_is_not_published_leaves_nothing(storage: FilesystemStorage, source: Path) -> None:
    with pytest.raises(RuntimeError), storage.receive(source):
        raise RuntimeError
    assert not storage.root.exists()


def test_a_key_is_never_overwritten(storage: FilesystemStorage, source: Path) -> None:
    put(storage, source, "a.pdf")
    source.write_bytes(b"other")
    with pytest.raises(StorageError, match="exists"):
        put(storage, source, "a.pdf")
    assert storage.load("a.pdf") == CONTENT
    assert [path.name for path in storage.root.iterdir()] == ["a.pdf"]


BAD_KEYS = ["", ".", "..", "../x", "a/b", "/etc/passwd", "a\\b", "a\0", ".hidden", f"{TEMPORARY}x", "a\n", "ä"]


@pytest.mark.parametrize("key", BAD_KEYS)
def test_keys_that_leave_the_directory_are_refused(storage: FilesystemStorage, source: Path, key: str) -> None:
    for attempt in (
        lambda: put(storage, source, key),
        lambda: storage.load(key),
        lambda: storage.delete(key),
    ):
        with pytest.raises(KeyRejected):
            attempt()


@pytest.mark.parametrize("folder", ["", "..", "../x", "a/../b", "/abs", "a/.hidden"])
def test_folders_that_leave_the_base_are_refused(tmp_path: Path, folder: str) -> None:
    with pytest.raises(KeyRejected):
        FilesystemStorage(tmp_path, folder)


def test_two_dots_inside_a_name_are_no_step_up(storage: FilesystemStorage, source: Path) -> None:
    put(storage, source, "a..b.txt")
    assert storage.load("a..b.txt") == CONTENT


def test_symbolic_links_are_refused(storage: FilesystemStorage, source: Path, tmp_path: Path) -> None:
    put(storage, source, "a.pdf")
    secret = tmp_path / "secret"
    secret.write_text("x")
    (storage.root / "link.pdf").symlink_to(secret)
    with pytest.raises(KeyRejected, match="symbolic link"):
        storage.load("link.pdf")
    with pytest.raises(StorageError):
        put(storage, source, "link.pdf")
    assert secret.read_text() == "x"

    elsewhere = tmp_path / "elsewhere"
    storage.root.rename(elsewhere)
    storage.root.symlink_to(elsewhere)
    for attempt in (lambda: storage.load("a.pdf"), lambda: put(storage, source, "b.pdf")):
        with pytest.raises(KeyRejected, match="symbolic link"):
            attempt()


def test_the_base_may_be_a_link_that_an_administrator_chose(tmp_path: Path, source: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "base").symlink_to(tmp_path / "disk")
    storage = FilesystemStorage(tmp_path / "base", "invoices_ab12")
    put(storage, source, "a.pdf")
    assert (tmp_path / "disk" / "invoices_ab12" / "a.pdf").read_bytes() == CONTENT


def test_sources_that_are_no_plain_files_are_refused(storage: FilesystemStorage, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("nothing", "pipe", ".", "a\0b"):
        with pytest.raises(DocumentRejected), storage.receive(tmp_path / name):
            pass
    with pytest.raises(FileNotFoundError), storage.receive(tmp_path / "nothing"):
        pass
    assert not storage.root.exists()


def test_a_full_disk_leaves_nothing(storage: FilesystemStorage, source: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    source.write_bytes(CONTENT * 200)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StorageError, match="File too large"), storage.receive(source):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(storage.root.iterdir()) == []


def test_removing_keeps_what_is_not_docexs(storage: FilesystemStorage, source: Path) -> None:
    put(storage, source, "a.pdf")
    (storage.root / f"{TEMPORARY}left").touch()
    storage.remove()
    assert [path.name for path in storage.root.iterdir()] == ["a.pdf"]
    storage.delete("a.pdf")
    storage.delete("a.pdf")
    storage.remove()
    assert not storage.root.exists()


def test_many_threads_write_and_sweep_one_directory(storage: FilesystemStorage, source: Path) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(20):
                if number % 3 == 0:
                    with storage.receive(source):
                        pass
                else:
                    put(storage, source, f"f{number}_{turn}.pdf")
                    storage.delete(f"f{number}_{turn}.pdf")
        except Exception as error:  # noqa: BLE001 - told to the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


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
        (".txt", "é".encode(), None),
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
