"""What users of the public package rely on, one test for each thing promised, named after it.

The tables below are the promise: commands and their options, tables with columns and indexes, and the sentences and
words that scripts look for. How each works is tested elsewhere; here it is that each is there and does what its name
says. One installation with one tenant serves them all. What is there by name alone is in ``test_contract_names.py``,
what objects give in ``test_contract_values.py``.
"""

from __future__ import annotations

import asyncio
import io
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from docex import DocEX, DocEXConfig, UserContext
from docex.cli import main
from docex.docbasket import DocBasket

TENANT = "acme-corp"
BASKET, DOCUMENT = "BASKET", "DOCUMENT"  # placeholders of ids
MULTI = {"multi_tenancy_model": "database_level", "tenant_database_routing": True}


@dataclass
class Place:
    """An installation with a tenant, its basket and three documents."""

    directory: Path
    docex: DocEX
    basket: DocBasket
    documents: list[str]

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Run ``docex`` in this process: exit code, stdout, stderr. The placeholders are filled in."""
        values = {BASKET: self.basket.id, DOCUMENT: self.documents[0]}
        filled = [values.get(argument, argument) for argument in arguments]
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as left:
            main(filled)
        return int(left.value.code or 0), out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("contract")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DOCEX_HOME", "HOME"):
            patch.setenv(name, str(directory / name.lower()))
        patch.setenv("COLUMNS", "200")  # of the tables
        patch.delenv("DOCEX_CONFIG_FILE", raising=False)
        patch.chdir(directory)
        patch.setattr("sys.stdin", io.StringIO())
        DocEX.setup(security=MULTI)
        docex = DocEX(UserContext("alice", tenant_id=TENANT))
        basket = docex.create_basket("invoices", "what came in")
        documents = []
        for number, (name, kind) in enumerate((("b.txt", "invoice"), ("a.txt", "file"), ("c.txt", "file"))):
            (directory / name).write_text("x" * (number + 1))
            documents.append(basket.add(name, kind, {"year": 2024 + number, "of": "all"}).id)
        basket.get_document(documents[2]).set_status("PROCESSED")  # type: ignore[union-attr]
        yield Place(directory, docex, basket, documents)
        DocEX.reset()


# -- commands and options ----------------------------------------------------------------------------------------------

OF = ("--tenant-id", TENANT)
IN = (*OF, "--basket-id", BASKET)
SIMPLE = ("--format", "simple")
FOUND = ("document", "search", *IN, "--metadata", '{"of": "all"}')
COMMANDS: dict[str, tuple[tuple[str, ...], Callable[[str], bool]]] = {
    "init --config": (("init", "--config", "given.yaml", "--force"), lambda out: "config.yaml" in out),
    "provision-tenant --tenant-id": (
        ("provision-tenant", "--tenant-id", "globex-corp"),
        lambda out: (
            "✅ Tenant 'globex-corp' provisioned successfully!" in out
            and "✅ Tenant 'globex-corp' is ready to use!" in out
        ),
    ),
    "provision-tenant --verify": (
        ("provision-tenant", *OF, "--verify"),
        lambda out: "bas_" in out and "✅ Tenant 'acme-corp' is ready to use!" in out,
    ),
    "provision-tenant --enable-multi-tenancy": (
        ("provision-tenant", "--tenant-id", "initech-corp", "--enable-multi-tenancy"),
        lambda out: "✅ Tenant 'initech-corp' is ready to use!" in out,
    ),
    "tenant create --tenant-id --display-name": (
        ("tenant", "create", "--tenant-id", "umbrella", "--display-name", "Umbrella Corp."),
        lambda out: "umbrella" in out,
    ),
    "tenant create --created-by": (
        ("tenant", "create", "--tenant-id", "hooli", "--display-name", "Hooli", "--created-by", "bob"),
        lambda out: "hooli" in out,
    ),
    "tenant create --isolation-strategy": (
        ("tenant", "create", "--tenant-id", "wayne", "--display-name", "W", "--isolation-strategy", "database"),
        lambda out: "wayne" in out,
    ),
    "tenant list": (("tenant", "list"), lambda out: TENANT in out),
    "basket list --tenant-id": (("basket", "list", *OF), lambda out: "invoices" in out),
    "basket create --name": (
        ("basket", "create", *OF, "--name", "My Orders!"),
        lambda out: out.endswith("\tMy_Orders\n"),
    ),
    "basket create --description": (
        ("basket", "create", *OF, "--name", "other", "--description", "more"),
        lambda out: out.endswith("\tother\n"),
    ),
    "document list --basket-id": (("document", "list", *IN, *SIMPLE), lambda out: names(out) == ["c", "a", "b"]),
    "document list --limit": (
        ("document", "list", *IN, *SIMPLE, "--limit", "2"),
        lambda out: names(out) == ["c", "a"],
    ),
    "document list --offset": (
        ("document", "list", *IN, *SIMPLE, "--limit", "2", "--offset", "2"),
        lambda out: names(out) == ["b"],
    ),
    "document list --order-desc": (
        ("document", "list", *IN, *SIMPLE, "--order-by", "name", "--order-desc"),
        lambda out: names(out) == ["c", "b", "a"],
    ),
    "document list --status": (
        ("document", "list", *IN, *SIMPLE, "--status", "PROCESSED"),
        lambda out: names(out) == ["c"],
    ),
    "document list --document-type": (
        ("document", "list", *IN, *SIMPLE, "--document-type", "invoice"),
        lambda out: names(out) == ["b"],
    ),
    "document count --basket-id": (("document", "count", *IN), lambda out: out == "3\n"),
    "document count --status": (("document", "count", *IN, "--status", "RECEIVED"), lambda out: out == "2\n"),
    "document count --document-type": (
        ("document", "count", *IN, "--document-type", "invoice"),
        lambda out: out == "1\n",
    ),
    "document search --metadata": (
        ("document", "search", *IN, *SIMPLE, "--metadata", '{"year": 2024}'),
        lambda out: names(out) == ["b"],
    ),
    "document search --limit --offset --order-by --order-desc": (
        (*FOUND, *SIMPLE, "--order-by", "size", "--order-desc", "--limit", "1", "--offset", "1"),
        lambda out: names(out) == ["a"],
    ),
    "document add --basket-id --file --metadata --document-type": (
        ("document", "add", *IN, "--file", "b.txt", "--metadata", '{"year": 2030}', "--document-type", "order"),
        lambda out: names(out) == ["b"],
    ),
    "document get --document-id": (
        ("document", "get", *OF, "--document-id", DOCUMENT, "--format", "json"),
        lambda out: json.loads(out)[0]["name"] == "b.txt",
    ),
    "document get --basket-id": (
        ("document", "get", *IN, "--document-id", DOCUMENT, *SIMPLE),
        lambda out: names(out) == ["b"],
    ),
}


def names(simple: str) -> list[str]:
    """The first letters of the names in what ``--format simple`` prints."""
    return [line.split("\t")[1][0] for line in simple.splitlines()]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_command(place: Place, name: str) -> None:
    (place.directory / "given.yaml").write_text(json.dumps({"security": MULTI}))
    arguments, holds = COMMANDS[name]
    code, out, err = place.run(*arguments)
    assert code == 0, err
    assert holds(out), out


def test_the_sentence_page_x_of_y(place: Place) -> None:
    for offset, page in ((0, 1), (2, 2)):
        code, out, err = place.run("document", "list", *IN, *SIMPLE, "--limit", "2", "--offset", str(offset))
        assert (code, len(out.splitlines())) == (0, 3 - page)
        assert f"Page {page} of 2 (Total: 3 documents)" in err


@pytest.mark.parametrize("order", ["name", "created_at", "updated_at", "size", "status"])
@pytest.mark.parametrize("command", ["list", "search"])
def test_the_option_order_by(place: Place, command: str, order: str) -> None:
    asked = FOUND if command == "search" else ("document", "list", *IN)
    expected = {"name": "abc", "created_at": "bac", "updated_at": "bac", "size": "bac"}
    code, out, err = place.run(*asked, *SIMPLE, "--order-by", order)
    assert code == 0, err
    assert "".join(names(out)) == expected[order] if order in expected else sorted(names(out)) == ["a", "b", "c"]


LISTINGS: dict[str, tuple[str, ...]] = {
    "tenant list": ("tenant", "list"),
    "basket list": ("basket", "list", *OF),
    "document list": ("document", "list", *IN),
    "document search": FOUND,
    "document get": ("document", "get", *OF, "--document-id", DOCUMENT),
    "document history": ("document", "history", *OF, "--document-id", DOCUMENT),
    "route list": ("route", "list", *OF),
    "route operations": ("route", "operations", *OF),
    "process list": ("process", "list", *OF),
    "process operations": ("process", "operations", *OF),
    "audit": ("audit", *OF),
    "stats": ("stats", *OF),
    "fsck": ("fsck", *OF),
}


@pytest.mark.parametrize("format", ["table", "json", "simple"])
@pytest.mark.parametrize("command", LISTINGS)
def test_the_option_format(place: Place, command: str, format: str) -> None:
    code, out, err = place.run(*LISTINGS[command], "--format", format)
    assert code == 0, err
    if format == "json":
        json.loads(out)
    elif format == "simple":
        assert all("\x1b" not in line and "│" not in line for line in out.splitlines())


@pytest.mark.parametrize(
    ("option", "key", "value"),
    [
        ("--db-type", "database.type", "postgresql"),
        ("--db-path", "database.sqlite.path", "other.db"),
        ("--db-host", "database.postgres.host", "db.example"),
        ("--db-port", "database.postgres.port", "5433"),
        ("--db-name", "database.postgres.database", "docs"),
        ("--db-user", "database.postgres.user", "docex"),
        ("--db-password", "database.postgres.password", "not shown"),
        ("--storage-path", "storage.filesystem.path", "kept"),
        ("--log-level", "logging.level", "WARNING"),
    ],
)
def test_the_option_of_init(place: Place, monkeypatch: pytest.MonkeyPatch, option: str, key: str, value: str) -> None:
    file = place.directory / f"init{option}.yaml"
    monkeypatch.setenv("DOCEX_CONFIG_FILE", str(file))
    given = value.lower() if option == "--log-level" else value
    code, out, err = place.run("init", option, given)
    assert code == 0, err
    assert str(DocEXConfig(file).get(key)) == value
    assert "not shown" not in out + err
    assert place.run("init", option, given)[0] == 1  # without --force
    assert place.run("init", option, given, "--force")[0] == 0


# -- sentences ---------------------------------------------------------------------------------------------------------


def _setless(place: Place) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCEX_CONFIG_FILE", "nowhere.yaml")
        return DocEX(UserContext("alice", tenant_id=TENANT))


def _must_exist(place: Place) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCEX_CONFIG_FILE", str(place.directory / "v3.yaml"))
        DocEX.setup(multi_tenancy={"enabled": True})
        return DocEX(UserContext("alice", tenant_id="x"))


def _system(place: Place) -> object:
    return DocEX(UserContext("alice", tenant_id="_docex_system_"))


def _switched(place: Place) -> None:
    place.docex.user_context = UserContext("alice", tenant_id="globex-corp")


def _gone(place: Place) -> object:
    document = place.basket.add(b"\x00gone", name="gone.bin")
    key = place.basket.storage.content_key(document.checksum, document.path)
    try:
        place.basket.storage.delete(key)
        return document.get_content()
    finally:
        place.basket.delete_document(document.id)


SENTENCES: dict[str, tuple[type[Exception], Callable[[Place], object]]] = {
    "DocEX not initialized. Call 'docex init' to setup first.": (RuntimeError, _setless),
    "Failed to create basket: A basket with name 'invoices' already exists": (
        ValueError,
        lambda place: place.docex.create_basket("invoices"),
    ),
    "Tenant 'x' is not provisioned": (ValueError, _must_exist),
    "Cannot switch tenant from 'acme-corp' to 'globex-corp'": (ValueError, _switched),
    "Tenant id '_docex_system_'": (ValueError, _system),
    "Document with ID doc_nothing not found": (ValueError, lambda place: place.basket.delete_document("doc_nothing")),
    "get_basket(": (ValueError, lambda place: place.docex.get_basket()),
    "mode": (ValueError, lambda place: place.basket.get_document(place.documents[0]).get_content("xml")),  # type: ignore[union-attr]
    "column": (ValueError, lambda place: place.basket.list_documents_with_metadata(columns=["nothing"])),
    "content": (FileNotFoundError, _gone),
}


@pytest.mark.parametrize("sentence", SENTENCES)
def test_the_error(place: Place, sentence: str) -> None:
    kind, work = SENTENCES[sentence]
    with pytest.raises(kind) as caught:
        work(place)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("sentence", "options"),
    [
        ("Route 'r' is disabled", {"enabled": False}),
        ("does not allow uploads", {"can_upload": False}),
        ("does not allow downloads", {"can_download": False}),
        ("does not allow listing", {"can_list": False}),
        ("does not allow deletion", {"can_delete": False}),
    ],
)
def test_the_answer_of_a_route(place: Place, sentence: str, options: dict[str, Any]) -> None:
    allowed: dict[str, Any] = dict.fromkeys(("can_upload", "can_download", "can_list", "can_delete"), True)
    route = place.docex.create_route("r", "local", {"base_path": str(place.directory)}, **{**allowed, **options})
    try:
        said = [
            asyncio.run(work)
            for work in (
                route.upload("a.txt", "sent.txt"),
                route.download("a.txt", str(place.directory / "got.txt")),
                route.list_files(),
                route.delete("sent.txt"),
            )
        ]
    finally:
        place.docex.delete_route("r")
    refused = [result for result in said if sentence in str(result.message) + str(result.error)]
    assert refused
    assert not any(result.success for result in refused)


@pytest.mark.parametrize(
    ("sentence", "arguments", "code"),
    [
        ("Tenant already exists", ("provision-tenant", *OF), 1),
        ("not enabled", ("provision-tenant", *OF), 1),
        ("❌", ("document", "get", *OF, "--document-id", "doc_nothing"), 1),
        ("❌", ("basket", "list", "--tenant-id", "../x"), 1),
        ("❌", ("document", "add", *IN, "--file", "nothing.txt"), 1),
        ("--metadata: expected a JSON object", ("document", "add", *IN, "--file", "a.txt", "--metadata", "[1]"), 2),
        ("JSON", ("document", "search", *IN, "--metadata", "{nothing"), 2),
        ("basket-id", ("document", "list", *OF), 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_the_error_of_a_command(
    place: Place, monkeypatch: pytest.MonkeyPatch, sentence: str, arguments: tuple[str, ...], code: int
) -> None:
    if sentence == "not enabled":
        monkeypatch.setenv("DOCEX_CONFIG_FILE", str(place.directory / "single.yaml"))
        DocEX.setup(database={"type": "sqlite"})
    left, out, err = place.run(*arguments)
    assert (left, out) == (code, "")
    assert sentence in err
    assert code == 2 or len(err.splitlines()) <= 2


# -- words that scripts compare with -----------------------------------------------------------------------------------


def _events(basket: DocBasket, document: str) -> set[tuple[str, str, str]]:
    rows = basket.db.fetch_all(  # type: ignore[attr-defined]
        "SELECT event_type, status, source FROM doc_events WHERE document_id = :id", {"id": document}
    )
    return {(row["event_type"], row["status"], row["source"]) for row in rows}


def _twice(place: Place, basket: DocBasket) -> object:
    first, again = basket.add("a.txt"), basket.add("a.txt")
    return first.id == again.id, ("DUPLICATE", "PENDING", "docex") in _events(basket, first.id)


def _marked(place: Place, basket: DocBasket) -> object:
    original, other = basket.add("b.txt"), basket.add("c.txt")
    basket.documents.mark_as_duplicate(other.id, original.id)
    return other.get_details().status, ("DUPLICATE_DETECTED", "PENDING", "docex") in _events(basket, other.id)


def _recorded(place: Place, basket: DocBasket) -> object:
    [operation] = basket.add("a.txt", "invoice").get_operations()
    return operation["type"], operation["status"], sorted(operation), sorted(operation["details"])


def _sent(place: Place, basket: DocBasket) -> object:
    document = basket.add(b"to send", name="send.txt")
    place.docex.create_route("partner", "local", {"base_path": str(place.directory / "sent")})
    result = place.docex.send_document(document.id, "partner", "send.txt")
    [used] = document.get_route_operations()
    told = document.get_operations()[-1]
    place.docex.delete_route("partner")
    return (
        (result.success, document.get_details().status, used["type"], used["status"], told["type"]),
        set(told["details"]) >= {"route_name", "destination", "route_operation_id"},
    )


WORDS: dict[str, tuple[Callable[[Place, DocBasket], object], object]] = {
    "docbasket.status active": (lambda place, basket: basket.status, "active"),
    "document.status RECEIVED": (lambda place, basket: basket.add("a.txt").status, "RECEIVED"),
    "document.status SENT, route_operations upload success, operations UPLOAD": (
        _sent,
        ((True, "SENT", "upload", "success", "UPLOAD"), True),
    ),
    "document.status DUPLICATE, doc_events DUPLICATE_DETECTED": (_marked, ("DUPLICATE", True)),
    "doc_events DUPLICATE PENDING": (_twice, (True, True)),
    "operations ADD success": (
        _recorded,
        (
            "ADD",
            "success",
            ["completed_at", "created_at", "details", "error", "status", "type"],
            ["checksum", "document_type", "size", "source", "stored_path"],
        ),
    ),
    "document_metadata.metadata_type custom": (
        lambda place, basket: place.docex.db.fetch_one("SELECT DISTINCT metadata_type AS kind FROM document_metadata"),  # type: ignore[attr-defined]
        {"kind": "custom"},
    ),
    "transport types": (
        lambda place, basket: {"local", "sftp", "http"} <= set(place.docex.get_available_transport_types()),
        True,
    ),
    "ids": (lambda place, basket: (basket.id[:4], len(basket.id), basket.add("a.txt").id[:4]), ("bas_", 36, "doc_")),
    "stats": (
        lambda place, basket: sorted(basket.get_stats()),
        ["created_at", "description", "document_counts", "id", "name", "status", "type_counts", "updated_at"],
    ),
}


@pytest.mark.parametrize("word", WORDS)
def test_the_word(place: Place, word: str) -> None:
    ask, expected = WORDS[word]
    basket = place.docex.create_basket(f"words {word}")
    try:
        assert ask(place, basket) == expected
    finally:
        basket.delete()


# -- tables ------------------------------------------------------------------------------------------------------------

# `!` stands behind columns that are never NULL.
TABLES = {
    "docbasket": "id! name! description storage_config! status! created_at! updated_at!",
    "document": "id! basket_id! name! source! path! content_type document_type! content raw_content size checksum!"
    " status! processing_attempts! created_at! updated_at!",
    "document_metadata": "id! document_id! key! value! metadata_type! coordination_id created_at! updated_at!",
    "file_history": "id! document_id! original_path internal_path created_at!",
    "operations": "id! document_id! operation_type! status! details error created_at! completed_at",
    "operation_dependencies": "id! operation_id! depends_on! created_at!",
    "doc_events": "id! basket_id! document_id event_type! event_timestamp! data source! status! error_message"
    " created_at! updated_at!",
    "processors": "id! name! type! description config! enabled! created_at! updated_at!",
    "processing_operations": "id! document_id! processor_id! status! input_metadata output_metadata error created_at!"
    " completed_at",
    "transport_routes": "id! name! purpose! protocol! config! can_upload! can_download! can_list! can_delete!"
    " other_party_id other_party_name other_party_type route_metadata! tags! priority! enabled! created_at!"
    " updated_at!",
    "route_operations": "id! route_id! operation_type! status! document_id details error created_at! completed_at",
}


@pytest.mark.parametrize("table", TABLES)
def test_the_table(place: Place, table: str) -> None:
    with sqlite3.connect(place.directory / "storage" / f"tenant_{TENANT}" / "docex.db") as connection:
        found = {row[1]: bool(row[3]) for row in connection.execute(f"PRAGMA table_info({table})")}
    connection.close()
    for column in TABLES[table].split():
        name = column.rstrip("!")
        assert name in found
        if column.endswith("!") and name != "id":
            assert found[name], f"{table}.{name} may be NULL"


# Columns by table, each an index that listings and lookups of the public package rest on.
INDEXES = {
    "docbasket": "status; created_at DESC",
    "document": "basket_id; document_type; status; basket_id status; basket_id document_type;"
    " basket_id created_at DESC; basket_id updated_at DESC; basket_id name; basket_id checksum",
    "file_history": "document_id",
    "operations": "document_id; operation_type; status",
    "operation_dependencies": "operation_id; depends_on",
    "doc_events": "basket_id; event_type; document_id; event_timestamp; status",
    "document_metadata": "document_id; key; metadata_type; document_id key",
    "processing_operations": "document_id",
    "route_operations": "route_id; document_id",
}


@pytest.mark.parametrize("table", INDEXES)
def test_the_indexes_of(place: Place, table: str) -> None:
    found = []
    connection = sqlite3.connect(place.directory / "storage" / f"tenant_{TENANT}" / "docex.db")
    for _, name, *_ in connection.execute(f"PRAGMA index_list({table})").fetchall():
        columns = [row for row in connection.execute(f"PRAGMA index_xinfo({name})") if row[5]]  # without the rowid
        found.append([f"{row[2]}{' DESC' if row[3] else ''}" for row in columns])
    connection.close()
    for wanted in INDEXES[table].split(";"):
        columns = wanted.replace(" DESC", "+DESC").split()
        assert any(index[: len(columns)] == [column.replace("+", " ") for column in columns] for index in found), (
            f"{table}({wanted}) is not among {found}"
        )
