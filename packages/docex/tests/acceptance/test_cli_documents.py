"""The commands about documents and baskets as a user types them; data on stdout alone."""

from __future__ import annotations

import json
from typing import Any

import pytest


def ok(commands: Any, *arguments: str) -> str:
    ran = commands.here(*arguments)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def refused(commands: Any, *arguments: str, code: int = 1) -> str:
    ran = commands.here(*arguments)
    assert ran.returncode == code, ran
    assert ran.stdout.strip() == ""
    return ran.stderr


@pytest.fixture
def ready(installation: Any) -> tuple[Any, str]:
    """An installation without tenants, and the id of its basket."""
    installation.setup(security={})
    return installation, installation.docex(None).create_basket("invoices").id


def test_the_life_of_a_document(ready: tuple[Any, str]) -> None:
    installation, basket = ready
    installation.file("a.txt", b"first\r\n")
    installation.file("b.txt", b"second")
    given = ("--file", "a.txt", "--metadata", '{"year": 2024}')
    document, name = ok(installation, "document", "add", "--basket-id", basket, *given).split()
    assert name == "a.txt"
    again = installation.here("document", "add", "--basket-id", basket, *given)
    assert again.stdout == f"{document}\ta.txt\n"
    assert again.stderr.startswith("It was there already, added at 20")
    assert ok(installation, "document", "update", "--document-id", document, "--file", "b.txt").split() == [
        document,
        "b.txt",
    ]
    history = json.loads(ok(installation, "document", "history", "--document-id", document, "--format", "json"))
    assert [(version["version"], version["size"]) for version in history] == [(1, 7), (2, 6)]
    assert ok(installation, "document", "export", "--document-id", document, "--output", "-") == "second"
    ok(installation, "document", "export", "--document-id", document, "--output", "out.txt", "--version", "1")
    assert (installation.directory / "out.txt").read_bytes() == b"first\r\n"
    said = refused(installation, "document", "export", "--document-id", document, "--output", "out.txt")
    assert "there already" in said
    assert (installation.directory / "out.txt").read_bytes() == b"first\r\n"
    ok(installation, "document", "export", "--document-id", document, "--output", "out.txt", "--force")
    assert (installation.directory / "out.txt").read_bytes() == b"second"
    assert json.loads(ok(installation, "stats", "--format", "json")) == [
        {"tenant_id": None, "baskets": 1, "documents": 1, "bytes": 13, "max_documents": None, "max_bytes": None}
    ]
    trail = ok(installation, "audit", "--document-id", document, "--format", "simple").splitlines()
    assert [line.split("\t")[1] for line in trail] == ["document.update", "document.add"]
    asked = refused(installation, "document", "rm", "--document-id", document)
    assert asked.splitlines()[-1].endswith("was not confirmed. Type --yes to remove it without being asked.")
    assert "Removed document 'b.txt'" in installation.here("document", "rm", "--document-id", document, "--yes").stderr
    assert "not found" in refused(installation, "document", "get", "--document-id", document)
    assert ok(installation, "fsck") == ""


def test_searching_three_ways(ready: tuple[Any, str]) -> None:
    installation, basket = ready
    for name, year, text in (("a", 2022, b"late payment"), ("b", 2023, b"early payment"), ("c", 2024, b"offer")):
        given = json.dumps({"year": year, "customer": f"Globex {name}"})
        installation.file(f"{name}.txt", text)
        installation.here("document", "add", "--basket-id", basket, "--file", f"{name}.txt", "--metadata", given)

    def names(*options: str) -> list[str]:
        found = ok(installation, "document", "search", "--basket-id", basket, *options, "--format", "simple")
        return [line.split("\t")[1] for line in found.splitlines()]

    assert names("--metadata", '{"year": 2023}') == ["b.txt"]
    assert names("--where", "year>=2023", "--order-by", "name") == ["b.txt", "c.txt"]
    assert names("--where", "year!=2023", "--where", "customer^=Globex", "--order-by", "name") == ["a.txt", "c.txt"]
    assert names("--where", "customer=Globex a") == ["a.txt"]
    assert names("--text", "payment -early") == ["a.txt"]
    assert names("--text", '"payment late"') == []
    refused(installation, "document", "search", "--basket-id", basket, code=2)
    refused(installation, "document", "search", "--basket-id", basket, "--where", "nothing", code=2)
    refused(installation, "document", "search", "--basket-id", basket, "--metadata", "{wrong", code=2)
    assert "must occur" in refused(installation, "document", "search", "--basket-id", basket, "--text", "-late")


def test_directories_baskets_and_quotas(ready: tuple[Any, str]) -> None:
    installation, basket = ready
    (installation.directory / "in" / "deep").mkdir(parents=True)
    installation.file("in/a.txt", b"a")
    installation.file("in/deep/b.txt", b"b")
    assert len(ok(installation, "document", "add", "--basket-id", basket, "--file", "in").splitlines()) == 2
    (installation.directory / "in" / "link").symlink_to("a.txt")
    ran = installation.here("document", "add", "--basket-id", basket, "--file", "in")
    assert ran.returncode == 1
    assert "in/link: it is a symbolic link" in ran.stderr
    assert "0 added, 2 there already, 1 refused." in ran.stderr

    ok(installation, "quota", "set", "--max-documents", "2")
    installation.file("c.txt", b"c")
    said = refused(installation, "document", "add", "--basket-id", basket, "--file", "c.txt")
    assert "Quota exceeded: the tenant holds 2 documents, and may hold at most 2." in said
    assert "quota set" in said
    ok(installation, "quota", "set")
    ok(installation, "basket", "set", "--basket-id", basket, "--status", "inactive")
    assert "inactive" in refused(installation, "document", "add", "--basket-id", basket, "--file", "c.txt")
    stats = json.loads(ok(installation, "basket", "stats", "--basket-id", basket, "--format", "json"))[0]
    assert (stats["status"], stats["documents"], stats["bytes"]) == ("inactive", 2, 2)
    assert "Type --yes to remove it" in refused(installation, "basket", "rm", "--basket-id", basket)
    ran = installation.here("basket", "rm", "--basket-id", basket, "--yes")
    assert "Removed basket 'invoices' with 2 documents (2 bytes)" in ran.stderr
    assert ok(installation, "basket", "list") == ""


def test_fsck_tells_and_mends(ready: tuple[Any, str]) -> None:
    installation, basket_id = ready
    basket = installation.docex(None).get_basket(basket_id)
    document = basket.add(installation.file("a.txt", b"text"))
    stray = installation.directory / "storage/docex/content/ab" / ("ab" * 32)
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_bytes(b"left over")
    ran = installation.here("fsck", "--older-than", "0", "--format", "simple")
    assert (ran.returncode, ran.stdout) == (1, f"stray content\tcontent/ab/{'ab' * 32}\n")
    assert stray.exists()
    ran = installation.here("fsck", "--older-than", "0", "--mend", "--format", "simple")
    assert ran.returncode == 0
    assert "1 findings, 1 mended." in ran.stderr
    assert not stray.exists()
    assert document.get_content() == b"text"
    assert ok(installation, "fsck", "--verify", "--older-than", "0") == ""
    lost = basket.add(installation.file("b.bin", b"\0lost"))
    for path in (installation.directory / "storage/docex").rglob("*"):
        if path.is_file() and path.read_bytes() == b"\0lost":
            path.unlink()
    [told] = json.loads(installation.here("fsck", "--format", "json").stdout)
    said = f"of {basket.folder}/{lost.path}; restore it from a backup, or add the file again"
    assert (told["kind"], told["mended"], told["detail"]) == ("missing content", False, said)
    assert basket.add("b.bin").id == lost.id
    assert ok(installation, "fsck", "--mend", "--format", "simple") == f"missing path\t{basket.folder}/{lost.path}\n"
    assert lost.get_content() == b"\0lost"
