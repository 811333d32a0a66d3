"""Documents leave over a route whole, once, with a record; routes that may not be used are not."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import asyncssh
import boto3
import pytest

from docex import DocEX, UserContext
from docex.errors import (
    AccessDenied,
    CredentialError,
    DocumentNotFound,
    RouteExists,
    RouteNotFound,
    RoutePathRejected,
    RouteRejected,
    TransportError,
    TransportFileMissing,
    TransportUnavailable,
)
from docex.transport.base import temporary
from docex.transport.config import LocalTransportConfig, TransportType
from docex.vault import Vault

if TYPE_CHECKING:
    from conftest import Installation

CONTENT = b"line\r\n\x00\xff" * 700_000  # 4.9 MB: more than one block of SFTP and several of the others
QUICK = {"retry_delay": 0.01, "timeout": 10}
KEYS = {"access_key": "AKIATEST", "secret_key": "geheim-s3-4711"}
ALL = {"can_delete": True}


@pytest.fixture
def docex(installation: Installation) -> DocEX:
    return installation.setup(security={}).docex(None)


def sftp(server: Any, **more: Any) -> dict[str, Any]:
    return {
        "host": "127.0.0.1",
        "port": server.port,
        "username": "partner",
        "password": "geheim-9f3",
        "host_key": server.host_key,
        **QUICK,
        **more,
    }


@pytest.fixture(params=["local", "sftp", "http", "http-put", "s3"])
def other_side(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    match request.param:
        case "local":
            return "local", {"base_path": "partner", **QUICK}
        case "sftp":
            return "sftp", sftp(request.getfixturevalue("sftp_server"), remote_path="in/box")
        case "s3":
            url = request.getfixturevalue("s3_url")
            boto3.client(
                "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
            ).create_bucket(Bucket="partner")
            return "s3", {"bucket": "partner", "prefix": "in", "endpoint_url": url, "region": "us-east-1", **KEYS}
        case _:
            server = request.getfixturevalue("http_server")
            method = "PUT" if request.param == "http-put" else "POST"
            return "http", {"endpoint": server.url, "method": method, "auth": {"username": "u", "password": "p"}}


def test_a_document_goes_there_and_comes_back(
    docex: DocEX, installation: Installation, other_side: tuple[str, dict[str, Any]]
) -> None:
    kind, config = other_side
    document = docex.basket("out").add(installation.file("plan.bin", CONTENT), metadata={"year": 2024})
    Path("plan.bin").write_bytes(b"changed after it was added")
    route = docex.create_route("partner", kind, config, **ALL)
    assert asyncio.run(route.validate()).success

    sent = docex.send_document(document.id, "partner")
    assert sent.success, sent.message
    assert document.get_details().status == "SENT"

    listed = asyncio.run(route.list_files())
    assert listed.success, listed.message
    assert [file["name"] for file in listed.details["files"]] == ["plan.bin"]  # and no temporary name

    back = asyncio.run(route.download("plan.bin", Path("back.bin")))
    assert back.success, back.message
    assert hashlib.sha256(Path("back.bin").read_bytes()).hexdigest() == document.checksum

    # A second sending replaces the first.
    assert docex.send_document(document.id, "partner").success
    assert asyncio.run(route.delete("plan.bin")).success
    gone = asyncio.run(route.delete("plan.bin"))
    assert isinstance(gone.error, TransportFileMissing)
    missing = asyncio.run(route.download("plan.bin", "never.bin"))
    assert isinstance(missing.error, TransportFileMissing)
    assert not Path("never.bin").exists()
    assert not list(Path().glob(".*.part"))

    uses = docex.list_route_operations("partner")
    assert [(use["type"], use["status"]) for use in reversed(uses)] == [
        ("upload", "success"),
        ("list", "success"),
        ("download", "success"),
        ("upload", "success"),
        ("delete", "success"),
        ("delete", "failed"),
        ("download", "failed"),
    ]
    assert all(use["completed_at"] for use in uses)


def test_sending_is_recorded_on_both_databases(anywhere: Installation) -> None:
    docex = anywhere.setup().docex()
    docex.create_route("backup", TransportType.LOCAL, LocalTransportConfig(base_path="copies").model_dump())
    document = docex.basket("out").add(anywhere.file("a.txt", b"a"))

    result = docex.send_document(document.id, "backup", "2024/a copy.txt")

    assert result.success
    assert (anywhere.directory / "copies" / "2024" / "a copy.txt").read_bytes() == b"a"
    [use] = docex.list_route_operations(document_id=document.id)
    assert (use["status"], use["user_id"], use["error"]) == ("success", "alice", None)
    assert use["details"]["destination"] == "2024/a copy.txt"
    [_, operation] = document.get_operations()
    assert (operation["type"], operation["status"]) == ("UPLOAD", "success")
    assert operation["details"] == {
        "route_name": "backup",
        "destination": "2024/a copy.txt",
        "route_operation_id": use["id"],
    }
    with pytest.raises(RouteExists):
        docex.create_route("backup", "local", {"base_path": "other"})
    assert docex.delete_route("backup") is True
    assert docex.delete_route("backup") is False
    assert docex.get_route("backup") is None
    assert docex.list_route_operations() == []
    assert len(document.get_operations()) == 2  # the document's own record stays


def test_a_tenants_routes_are_its_own(installation: Installation) -> None:
    installation.setup()
    acme, globex = installation.docex("acme"), installation.docex("globex")
    acme.create_route("out", "local", {"base_path": "acme"})
    document = globex.basket("b").add(installation.file("a.txt", b"a"))
    assert globex.list_routes() == []
    with pytest.raises(RouteNotFound):
        globex.send_document(document.id, "out")
    with pytest.raises(DocumentNotFound):
        acme.send_document(document.id, "out")


def test_permissions_and_disabled_state_are_obeyed_as_they_are_now(docex: DocEX, installation: Installation) -> None:
    document = docex.basket("b").add(installation.file("a.txt", b"a"))
    route = docex.create_route("x", "local", {"base_path": "x"}, can_upload=False, can_download=False, can_list=False)
    closed = [
        (docex.send_document(document.id, "x"), "Route 'x' does not allow uploads"),
        (asyncio.run(route.download("a", "b")), "Route 'x' does not allow downloads"),
        (asyncio.run(route.list_files()), "Route 'x' does not allow listing"),
        (asyncio.run(route.delete("a")), "Route 'x' does not allow deletion"),
    ]
    assert [(result.success, result.message) for result, _ in closed] == [(False, text) for _, text in closed]
    open_route = docex.create_route("y", "local", {"base_path": "y"})
    docex.enable_route("y", enabled=False)
    result = asyncio.run(open_route.upload("a.txt", "a.txt"))  # the object still says enabled
    assert (open_route.enabled, result.success, result.message) == (True, False, "Route 'y' is disabled")
    docex.delete_route("y")
    assert isinstance(asyncio.run(open_route.list_files()).error, RouteNotFound)
    assert not Path("x").exists()
    assert not Path("y").exists()
    assert docex.list_route_operations() == []
    assert document.get_details().status == "RECEIVED"


BAD_PATHS = ["", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a\\b", "a\0b", "a\nb", "x" * 300, "http://h/x"]


@pytest.mark.parametrize("path", BAD_PATHS)
def test_paths_that_lead_out_of_a_route_are_refused(docex: DocEX, installation: Installation, path: str) -> None:
    document = docex.basket("b").add(installation.file("a.txt", b"a"))
    route = docex.create_route("x", "local", {"base_path": "x"}, **ALL)
    for result in (
        docex.send_document(document.id, "x", path),
        asyncio.run(route.upload("a.txt", path)),
        asyncio.run(route.download(path, "b.txt")),
        asyncio.run(route.delete(path)),
    ):
        assert isinstance(result.error, RoutePathRejected)
    assert not Path("x").exists()


def test_a_symbolic_link_leads_out_of_no_local_route(docex: DocEX, installation: Installation) -> None:
    outside = Path("outside")
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    base = Path("x")
    base.mkdir()
    (base / "dir").symlink_to(outside.absolute())
    (base / "file").symlink_to((outside / "secret.txt").absolute())
    installation.file("a.txt", b"a")
    route = docex.create_route("x", "local", {"base_path": "x"}, **ALL)
    for result in (
        asyncio.run(route.upload("a.txt", "dir/new.txt")),
        asyncio.run(route.upload("a.txt", "file")),
        asyncio.run(route.download("dir/secret.txt", "b.txt")),
        asyncio.run(route.download("file", "b.txt")),
        asyncio.run(route.delete("file")),
    ):
        assert isinstance(result.error, RoutePathRejected)
    assert sorted(path.name for path in outside.iterdir()) == ["secret.txt"]
    assert (outside / "secret.txt").read_text() == "secret"


# -- credentials -------------------------------------------------------------------------------------------------------


def test_credentials_are_sealed_and_shown_nowhere(
    docex: DocEX, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = {
        "a": ("sftp", {"host": "h", "username": "u", "password": "geheim-1", "key_passphrase": "geheim-2"}),
        "b": ("http", {"endpoint": "http://h/x", "headers": {"Authorization": "Bearer geheim-3"}}),
        "c": ("http", {"endpoint": "http://h/x", "auth": {"username": "u", "password": "geheim-4"}}),
        "d": ("s3", {"bucket": "bucket", "access_key": "k", "secret_key": "geheim-5", "session_token": "geheim-6"}),
        "e": ("sftp", {"host": "h", "username": "u", "password": {"env": "PARTNER_PASSWORD"}}),
    }
    for name, (kind, config) in configs.items():
        docex.create_route(name, kind, config)
    routes = docex.list_routes()
    shown = repr(routes) + repr([route.to_dict() for route in routes])
    assert "geheim" not in shown
    assert docex.get_route("e").config["password"] == {"env": "PARTNER_PASSWORD"}
    database = Path("docex.db").read_bytes() + b"".join(path.read_bytes() for path in Path().glob("docex.db-wal"))
    assert b"geheim" not in database
    key = installation.config_file.with_name("secret.key")
    assert key.stat().st_mode & 0o777 == 0o600

    # A reference is looked up when it is used.
    assert isinstance(asyncio.run(docex.get_route("e").list_files()).error, CredentialError)
    # Without its key a credential is of no use to whoever has the database.
    key.unlink()
    result = asyncio.run(docex.get_route("a").list_files())
    assert isinstance(result.error, CredentialError)
    assert "secret.key" in result.message
    monkeypatch.setenv("DOCEX_SECRET_KEY", "A" * 43 + "=")
    assert "another key" in asyncio.run(docex.get_route("a").list_files()).message


def test_what_was_sealed_is_of_use_in_its_own_place_only(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "key", {})
    sealed = vault.seal("geheim", "rt_1.password")
    assert vault.open(sealed, "rt_1.password") == "geheim"
    assert vault.seal("geheim", "rt_1.password") != sealed
    for other, text in (("rt_2.password", sealed), ("rt_1.password", "x" + sealed[1:]), ("rt_1.password", "")):
        with pytest.raises(CredentialError):
            vault.open(text, other)
    with pytest.raises(CredentialError, match="32 bytes"):
        Vault(environ={"DOCEX_SECRET_KEY": "short"}).seal("a", "b")


BAD_CONFIGS = [
    ("fax", {}, "not one of local"),
    ("local", {}, "base_path: Field required"),
    ("local", {"base_path": "x", "typo": 1}, "typo"),
    ("local", {"type": "sftp", "base_path": "x"}, "is for type 'sftp'"),
    ("sftp", {"host": "h", "username": "u"}, "password or a key_file"),
    ("sftp", {"host": "h", "username": "u", "password": {"env": "a b"}}, "password"),
    ("http", {"endpoint": "ftp://h/"}, "https://example.com"),
    ("http", {"endpoint": "http://u:geheim@h/"}, "put user and password into 'auth'"),
    ("http", {"endpoint": "http://h/", "headers": {"A": "geheim\r\nB: c"}}, "line breaks"),
    ("http", {"endpoint": "http://h/", "method": "GET"}, "method"),
    ("s3", {"bucket": "bucket", "access_key": "k"}, "neither"),
]


@pytest.mark.parametrize(("kind", "config", "words"), BAD_CONFIGS)
def test_a_configuration_that_cannot_work_is_refused(
    docex: DocEX, kind: str, config: dict[str, Any], words: str
) -> None:
    with pytest.raises(RouteRejected) as caught:
        docex.create_route("x", kind, config)
    assert words in str(caught.value)
    assert "geheim" not in str(caught.value)
    assert docex.list_routes() == []


@pytest.mark.parametrize("name", ["", " x", "a\nb", "x" * 256])
def test_names_that_no_one_could_type_are_refused(docex: DocEX, name: str) -> None:
    with pytest.raises(RouteRejected):
        docex.create_route(name, "local", {"base_path": "x"})


def test_roles_are_checked_where_they_are_enforced(installation: Installation) -> None:
    installation.setup(security={"multi_tenancy_model": "database_level", "enforce_user_context": True})

    def acting(*roles: str) -> DocEX:
        return DocEX(UserContext("u", tenant_id="acme", roles=list(roles)))

    document = acting("admin").basket("b").add(installation.file("a.txt", b"a"))
    for roles in ((), ("reader",), ("editor",)):
        with pytest.raises(AccessDenied):
            acting(*roles).create_route("x", "local", {"base_path": "x"})
    acting("admin").create_route("x", "local", {"base_path": "x"})
    with pytest.raises(AccessDenied):
        acting("reader").send_document(document.id, "x")
    with pytest.raises(AccessDenied):
        acting("editor").delete_route("x")
    assert [route.name for route in acting("reader").list_routes()] == ["x"]
    assert acting("editor").send_document(document.id, "x").success


# -- SFTP --------------------------------------------------------------------------------------------------------------


def test_a_server_with_another_host_key_gets_nothing(
    docex: DocEX, installation: Installation, sftp_server: Any, tmp_path: Path
) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519")
    empty, right = tmp_path / "empty", tmp_path / "right"
    empty.write_text("")
    right.write_text(f"[127.0.0.1]:{sftp_server.port} {sftp_server.host_key}\n")
    attempts = {
        "other key": {"host_key": other.export_public_key().decode()},
        "other fingerprint": {"host_key": other.get_fingerprint()},
        "no key in the file": {"host_key": None, "known_hosts": str(empty)},
        "no file": {"host_key": None, "known_hosts": str(tmp_path / "absent")},
        "the user's own file, which is absent": {"host_key": None},
        "nonsense": {"host_key": "ssh-ed25519 nonsense"},
    }
    before = sftp_server.logins
    for name, change in attempts.items():
        route = docex.create_route(name, "sftp", sftp(sftp_server, **change))
        result = asyncio.run(route.list_files())
        assert isinstance(result.error, TransportError), name
        assert "key" in result.message
        assert result.details["attempts"] == 1  # trying again would not help
    assert sftp_server.logins == before  # no password was shown to it
    for name, change in {
        "fingerprint": {"host_key": sftp_server.fingerprint},
        "file": {"host_key": None, "known_hosts": str(right)},
        "key instead of password": {"password": None, "key_file": str(sftp_server.key_file)},
    }.items():
        result = asyncio.run(docex.create_route(name, "sftp", sftp(sftp_server, **change)).list_files())
        assert result.success, result.message


def test_a_wrong_password_is_told_without_repeating(docex: DocEX, sftp_server: Any) -> None:
    result = asyncio.run(docex.create_route("x", "sftp", sftp(sftp_server, password="geheim-0")).list_files())
    assert "is not let in" in result.message
    assert result.details["attempts"] == 1
    assert "geheim" not in repr(result)


def test_a_connection_that_breaks_leaves_no_half_file(
    docex: DocEX, installation: Installation, sftp_server: Any
) -> None:
    document = docex.basket("b").add(installation.file("big.bin", CONTENT))
    docex.create_route("x", "sftp", sftp(sftp_server, remote_path="cut", retry_count=1))
    (sftp_server.root / "cut").mkdir()
    (sftp_server.root / "cut" / "big.bin").write_bytes(b"the old one")
    sftp_server.cut_after = 1_000_000
    try:
        result = docex.send_document(document.id, "x")
    finally:
        sftp_server.cut_after = None
    assert isinstance(result.error, TransportUnavailable), result
    assert result.details["attempts"] == 2
    assert (sftp_server.root / "cut" / "big.bin").read_bytes() == b"the old one"
    [use] = docex.list_route_operations("x")
    assert (use["status"], use["error"]) == ("failed", result.message)
    assert document.get_details().status == "RECEIVED"
    assert [(op["type"], op["status"]) for op in document.get_operations()] == [
        ("ADD", "success"),
        ("UPLOAD", "failed"),
    ]
    listed = asyncio.run(docex.get_route("x").list_files())
    assert [file["name"] for file in listed.details["files"]] == ["big.bin"]

    # Sent again it arrives, once; what a process that was killed had left under its temporary name is in nobody's way.
    left = sftp_server.root / "cut" / temporary(PurePosixPath("big.bin")).name
    left.write_bytes(CONTENT[:1000])
    assert docex.send_document(document.id, "x").success
    assert (sftp_server.root / "cut" / "big.bin").read_bytes() == CONTENT
    listed = asyncio.run(docex.get_route("x").list_files())
    assert [file["name"] for file in listed.details["files"]] == ["big.bin"]
    assert document.get_details().status == "SENT"


def test_a_server_that_cannot_rename_over_a_file_is_served_too(
    docex: DocEX, installation: Installation, sftp_server: Any
) -> None:
    document = docex.basket("b").add(installation.file("a.txt", b"new"))
    docex.create_route("x", "sftp", sftp(sftp_server, remote_path="plain"))
    sftp_server.plain_rename_only = True
    try:
        assert docex.send_document(document.id, "x").success
        assert docex.send_document(document.id, "x").success
    finally:
        sftp_server.plain_rename_only = False
    assert (sftp_server.root / "plain" / "a.txt").read_bytes() == b"new"


# -- HTTP --------------------------------------------------------------------------------------------------------------


def test_what_may_pass_is_repeated_with_one_key_and_what_does_not_is_told(
    docex: DocEX, installation: Installation, http_server: Any
) -> None:
    document = docex.basket("b").add(installation.file("a.txt", b"a"))
    config = {"endpoint": http_server.url, "auth": {"username": "u", "password": "p"}, "headers": {"X-Tag": "7"}}
    docex.create_route("x", "http", {**config, **QUICK})
    http_server.answers = [503, 429]
    result = docex.send_document(document.id, "x", "in/a b.txt")
    assert result.success
    assert result.details["attempts"] == 3
    assert http_server.files == {"in/a%20b.txt": b"a"}
    assert len({headers["Idempotency-Key"] for _, _, headers in http_server.requests}) == 1
    assert {headers["Authorization"] for _, _, headers in http_server.requests} == {"Basic dTpw"}
    assert {headers["X-Tag"] for _, _, headers in http_server.requests} == {"7"}

    for status in (400, 401, 403, 302):
        http_server.answers, seen = [status], len(http_server.requests)
        result = docex.send_document(document.id, "x")
        assert (result.success, result.details["attempts"]) == (False, 1)
        assert str(status) in result.message
        assert len(http_server.requests) == seen + 1
    http_server.answers = [500] * 10
    assert docex.send_document(document.id, "x").details["attempts"] == 4


def test_a_certificate_is_verified_unless_told_otherwise(
    docex: DocEX, installation: Installation, https_server: Any
) -> None:
    document = docex.basket("b").add(installation.file("a.txt", b"a"))
    docex.create_route("strict", "http", {"endpoint": https_server.url, **QUICK})
    docex.create_route("ours", "http", {"endpoint": https_server.url, "ca_file": str(https_server.ca_file)})
    docex.create_route("any", "http", {"endpoint": https_server.url, "verify_ssl": False})
    result = docex.send_document(document.id, "strict")
    assert not result.success
    assert "certificate is not trusted" in result.message
    assert result.message.endswith("Name its authority's certificate in ca_file.")
    assert https_server.requests == []
    assert docex.send_document(document.id, "ours").success
    assert docex.send_document(document.id, "any").success


def test_nobody_there_is_told_after_the_repetitions(docex: DocEX, installation: Installation) -> None:
    document = docex.basket("b").add(installation.file("a.txt", b"a"))
    docex.create_route("x", "http", {"endpoint": "http://127.0.0.1:9/", "retry_count": 2, **QUICK})
    docex.create_route(
        "y", "sftp", {"host": "127.0.0.1", "port": 9, "username": "u", "password": "p", **QUICK, "host_key": "SHA256:x"}
    )
    for name, attempts in (("x", 3), ("y", 4)):
        result = docex.send_document(document.id, name)
        assert isinstance(result.error, TransportUnavailable), result.message
        assert result.details["attempts"] == attempts


# -- odd days ----------------------------------------------------------------------------------------------------------


def test_sending_works_inside_an_event_loop_and_can_be_broken_off(docex: DocEX, installation: Installation) -> None:
    document = docex.basket("b").add(installation.file("a.txt", b"a"))
    docex.create_route("x", "local", {"base_path": "x"})
    docex.create_route("y", "http", {"endpoint": "http://127.0.0.1:9/", "retry_delay": 30})

    async def within() -> None:
        assert docex.send_document(document.id, "x").success
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(docex.get_route("y").upload_document(document), 0.3)

    asyncio.run(within())
    [use] = docex.list_route_operations("y")
    assert (use["status"], use["error"]) == ("failed", "it was cancelled")


def test_a_content_that_is_gone_fails_one_sending(docex: DocEX, installation: Installation) -> None:
    document = docex.basket("b").add(installation.file("a.txt", b"a"))
    docex.create_route("x", "local", {"base_path": "x"})
    for path in Path("storage").rglob("*"):
        if path.is_file():
            path.unlink()
    result = docex.send_document(document.id, "x")
    assert not result.success
    assert "missing" in result.message
    assert list(Path("x").iterdir()) == []


def test_a_directory_that_cannot_be_written_is_told(docex: DocEX, installation: Installation) -> None:
    document = docex.basket("b").add(installation.file("a.txt", b"a"))
    installation.file("x", b"a file, not a directory")
    docex.create_route("x", "local", {"base_path": "x"})
    docex.create_route("y", "local", {"base_path": "y", "create_dirs": False})
    for name in "xy":
        result = docex.send_document(document.id, name)
        assert isinstance(result.error, TransportError)
        assert os.path.abspath(name) in result.message
