"""The HTTP interface: a token opens one tenant, contents are streamed, nothing that is sent in breaks the server."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import requests
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from docex.errors import TokenError, TokenNotFound
from docex.http.app import docex_app
from docex.http.streams import asked_range
from docex.services.token_service import TokenService

if TYPE_CHECKING:
    from conftest import Installation

CONTENT = bytes(range(256)) * 20_000  # 5.1 MB


CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture
def anywhere(prepared: Any) -> Any:
    """Most of a test would otherwise go into making its registry."""
    return prepared


@pytest.fixture
def origin() -> Iterator[str]:
    """The application behind a real socket, in this process."""
    server = uvicorn.Server(uvicorn.Config(docex_app(), port=0, log_config=None, lifespan="on", ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 20
    while not server.started and time.monotonic() < end:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(20)


def token_of(installation: Installation, tenant_id: str = "acme-corp", *roles: str) -> str:
    return TokenService(installation.docex(tenant_id).db).create("test", "carol", roles or ("admin",)).token


@pytest.fixture
def client_of(origin: str) -> Iterator[Callable[..., httpx.Client]]:
    clients: list[httpx.Client] = []

    def make(installation: Installation, tenant_id: str = "acme-corp", *roles: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token_of(installation, tenant_id, *roles)}"}
        clients.append(httpx.Client(base_url=f"{origin}/api/v1", headers=headers, timeout=30))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(installation: Installation, client_of: Callable[..., httpx.Client]) -> httpx.Client:
    return client_of(installation.setup())


def added(
    client: httpx.Client, basket: str, name: str = "a.txt", content: bytes = b"hello", **query: Any
) -> dict[str, Any]:
    answer = client.post(f"/baskets/{basket}/documents", params={"name": name, **query}, content=content)
    assert answer.status_code == 201, answer.text
    return answer.json()


def new_basket(client: httpx.Client, name: str = "b") -> str:
    answer = client.post("/baskets", json={"name": name})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def test_the_whole_way_of_a_document(anywhere: Installation, client_of: Callable[..., httpx.Client]) -> None:
    client = client_of(anywhere.setup())
    basket = new_basket(client, "My Invoices!")
    assert client.get("/baskets").json()[0]["name"] == "My_Invoices"
    assert client.post("/baskets", json={"name": "My Invoices!"}).status_code == 409

    document = added(
        client, basket, "Invoice 7.txt", b"to globex\r\n", metadata='{"year": 2024}', document_type="invoice"
    )
    assert document["name"] == "Invoice_7.txt"
    assert document["checksum"] == hashlib.sha256(b"to globex\r\n").hexdigest()
    assert added(client, basket, "Invoice 7.txt", b"to globex\r\n")["id"] == document["id"]
    of = f"/documents/{document['id']}"
    assert client.get(of).json() == client.get(f"/baskets/{basket}/documents").json()["items"][0]
    found = client.post(f"/baskets/{basket}/find", json={"metadata": {"year": 2024}}).json()["items"]
    assert [one["id"] for one in found] == [document["id"]]
    assert client.post(f"/baskets/{basket}/find", json={"metadata": {"year": "2024"}}).json()["items"] == []
    hits = client.get(f"/baskets/{basket}/search", params={"q": "globex"}).json()
    assert [hit["document"]["id"] for hit in hits] == [document["id"]]
    assert client.patch(f"{of}/metadata", json={"metadata": {"state": "paid"}}).json()["state"] == "paid"
    assert client.get(f"{of}/metadata").json()["year"] == 2024

    changed = client.put(f"{of}/content", content=b"to initech\r\n")
    assert changed.status_code == 200, changed.text
    assert client.get(f"{of}/content").content == b"to initech\r\n"
    assert client.get(f"{of}/content", params={"version": 1}).content == b"to globex\r\n"
    assert client.get(f"{of}/content", params={"version": 9}).status_code == 400
    assert [version["version"] for version in client.get(f"{of}/versions").json()] == [1, 2]
    assert [operation["type"] for operation in client.get(f"{of}/operations").json()] == ["ADD", "UPDATE"]
    assert client.get("/usage").json()["documents"] == 1
    assert anywhere.query("SELECT DISTINCT created_by, updated_by FROM document") == [("carol", "carol")]

    assert client.delete(of).status_code == 204
    assert client.get(of).status_code == 404
    assert client.delete(f"/baskets/{basket}").status_code == 204
    assert client.get(f"/baskets/{basket}").status_code == 404


def test_a_download_may_ask_for_a_part(client: httpx.Client) -> None:
    document = added(client, new_basket(client), "large.bin", CONTENT)
    url = f"/documents/{document['id']}/content"
    whole = client.get(url)
    assert (whole.status_code, whole.content) == (200, CONTENT)
    assert whole.headers["etag"] == f'"{document["checksum"]}"'
    assert whole.headers["content-disposition"] == "attachment; filename*=UTF-8''large.bin"
    assert whole.headers["x-content-type-options"] == "nosniff"
    for asked, start, end in (
        ("0-0", 0, 1),
        ("100-", 100, len(CONTENT)),
        ("-7", len(CONTENT) - 7, len(CONTENT)),
        ("4000000-99999999", 4_000_000, len(CONTENT)),
    ):
        part = client.get(url, headers={"Range": f"bytes={asked}"})
        assert (part.status_code, part.content) == (206, CONTENT[start:end]), asked
        assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{len(CONTENT)}"
    beyond = client.get(url, headers={"Range": f"bytes={len(CONTENT)}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(CONTENT)}")
    assert client.get(url, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304
    assert client.get(url, headers={"Range": "bytes=0-0", "If-Range": '"other"'}).status_code == 200
    head = client.head(url)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(CONTENT)))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-3", (0, 4)),
        ("bytes=3-", (3, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-99", (0, 10)),
        ("bytes=-0", ()),
        ("bytes=10-", ()),
        ("bytes=5-2", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
        ("bytes=-", None),
        ("bytes=٣-٤", None),
        ("bytes=" + "9" * 19 + "-", None),
    ],
)
def test_ranges(header: str | None, expected: Any) -> None:
    assert asked_range(header, 10) == expected


def test_a_token_opens_its_own_tenant_with_its_own_roles(
    installation: Installation, client_of: Callable[..., httpx.Client]
) -> None:
    installation.setup()
    acme, globex = client_of(installation, "acme-corp"), client_of(installation, "globex")
    basket = new_basket(acme)
    document = added(acme, basket)
    for path in (f"/baskets/{basket}", f"/documents/{document['id']}", f"/documents/{document['id']}/content"):
        assert globex.get(path).status_code == 404
    assert globex.get("/baskets").json() == []
    reader, editor = client_of(installation, "acme-corp", "reader"), client_of(installation, "acme-corp", "editor")
    assert reader.get(f"/documents/{document['id']}/content").content == b"hello"
    assert reader.post("/baskets", json={"name": "x"}).status_code == 403
    assert reader.put(f"/documents/{document['id']}/content", content=b"x").status_code == 403
    assert added(editor, basket, "c.txt")["name"] == "c.txt"
    assert editor.delete(f"/baskets/{basket}").status_code == 403


def test_no_other_token_opens_anything(installation: Installation, origin: str) -> None:
    installation.setup()
    tokens = TokenService(installation.docex().db)
    good = tokens.create("a", "alice", ["reader"]).token
    revoked, expired = tokens.create("b", "alice", ["reader"]), tokens.create("c", "alice", ["reader"], days=1)
    tokens.revoke(revoked.id)
    installation.query("UPDATE api_token SET expires_at = '2020-01-01 00:00:00' WHERE id = :id", id=expired.id)
    installation.docex("globex")
    secret = good.rpartition(".")[2]
    refused = [
        "x", revoked.token, expired.token, good[:-1], good + "x", f"docex.globex.{secret}", f"docex..{secret}",
        f"docex.no-such-tenant.{secret}", f"docex.../x.{secret}", "docex.acme-corp." + "x" * 9000,
    ]  # fmt: skip
    said = set()
    for token in refused:
        answer = httpx.get(f"{origin}/api/v1/baskets", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401, token
        assert answer.headers["www-authenticate"] == "Bearer"
        said.add(re.sub(r'"request_id":"[^"]*"', "", answer.text))
    assert len(said) == 1  # nothing tells which tenants there are
    for scheme, status in (("Basic", 401), ("Bearer", 200)):
        answer = httpx.get(f"{origin}/api/v1/baskets", headers={"Authorization": f"{scheme} {good}"})
        assert answer.status_code == status
    assert httpx.get(f"{origin}/api/v1/baskets").status_code == 401
    assert installation.stores() == ["acme-corp", "globex"]
    listed = repr(tokens.list())
    assert secret not in listed
    assert secret.encode() not in (installation.directory / "storage/tenant_acme-corp/docex.db").read_bytes()
    for name, user, roles, days in (
        ("", "u", ["reader"], None),
        ("n", "u", [], None),
        ("n", "u", ["root"], None),
        ("n", "u", ["reader"], 0),
    ):
        with pytest.raises(TokenError):
            tokens.create(name, user, roles, days)
    with pytest.raises(TokenNotFound):
        tokens.revoke("tok_none")


def test_documents_are_sent_and_processed(client: httpx.Client, installation: Installation) -> None:
    docex = installation.docex()
    docex.create_route("out", "local", {"base_path": "out"})
    docex.create_route("away", "http", {"endpoint": "http://127.0.0.1:9/", "retry_count": 0})
    document = added(client, new_basket(client), "a.csv", b"a\n1\n")
    of = f"/documents/{document['id']}"
    assert client.get("/routes").json()[0] == {
        "name": "away",
        "protocol": "http",
        "purpose": "distribution",
        "enabled": True,
        "can_upload": True,
    }
    assert client.post(f"{of}/send", json={"route": "out"}).json()["success"] is True
    assert Path("out/a.csv").read_bytes() == b"a\n1\n"
    away = client.post(f"{of}/send", json={"route": "away"})
    assert (away.status_code, away.json()["success"]) == (200, False)
    assert client.post(f"{of}/send", json={"route": "none"}).status_code == 404
    assert client.post(f"{of}/process", json={}).json()["metadata"]["record_count"] == 1
    assert client.post(f"{of}/process", json={"processor": "None"}).status_code == 404


def test_what_cannot_be_used_is_told_as_a_problem(client: httpx.Client) -> None:
    basket = new_basket(client)
    document = added(client, basket)
    nowhere = "doc_" + "0" * 32
    cases = [
        ("GET", f"/documents/{nowhere}", {}, 404),
        ("GET", "/documents/../../etc/passwd", {}, 404),
        ("GET", "/documents/doc_x", {}, 422),
        ("POST", f"/baskets/{basket}/documents", {"content": b"x"}, 422),
        ("POST", f"/baskets/{basket}/documents", {"params": {"name": "a", "metadata": "[1]"}, "content": b"x"}, 400),
        ("POST", f"/baskets/{basket}/documents", {"params": {"name": "a", "metadata": "{"}, "content": b"x"}, 400),
        ("POST", f"/baskets/{basket}/documents", {"params": {"name": "a\0b"}, "content": b"x"}, 422),
        ("POST", "/baskets", {"json": {"name": "a\0b"}}, 422),
        ("POST", "/baskets", {"json": {"name": "x", "typo": 1}}, 422),
        ("GET", f"/baskets/{basket}/documents", {"params": {"after": "nonsense"}}, 400),
        ("GET", "/baskets", {"headers": {"Host": "evil.example"}}, 400),
    ]
    for method, path, options, status in cases:
        answer = client.request(method, path, **options)
        assert answer.status_code == status, (method, path, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert {"type", "title", "status", "detail", "request_id"} <= set(answer.json())
    connection = http.client.HTTPConnection("127.0.0.1", client.base_url.port, timeout=10)
    connection.putrequest("PUT", f"/api/v1/documents/{document['id']}/content")
    connection.putheader("Authorization", client.headers["Authorization"])
    connection.putheader("Content-Length", "99999999999999")
    connection.endheaders()
    assert connection.getresponse().status == 413  # before a byte of it is read
    connection.close()


def test_a_quota_is_told_and_nothing_is_kept(client: httpx.Client, installation: Installation) -> None:
    installation.docex().set_quota(max_bytes=1000)
    basket = new_basket(client)
    answer = client.post(f"/baskets/{basket}/documents", params={"name": "a"}, content=b"x" * 2000)
    assert (answer.status_code, "Quota exceeded" in answer.json()["detail"]) == (409, True)
    assert client.get(f"/baskets/{basket}/documents").json() == {"items": [], "next": None}


# -- a real server -----------------------------------------------------------------------------------------------------


@pytest.fixture
def server(installation: Installation) -> Iterator[tuple[str, int]]:
    """`docex serve` as a process: its address and process id."""
    installation.setup()
    program = str(Path(sys.executable).with_name("docex"))
    process = subprocess.Popen(
        [program, "serve", "--port", "18731"], cwd=installation.directory, stderr=subprocess.PIPE, text=True
    )
    url = "http://127.0.0.1:18731"
    try:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                httpx.get(f"{url}/health")
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield url, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode in (0, -signal.SIGTERM)


def test_a_large_upload_takes_little_memory_and_a_broken_one_leaves_nothing(
    installation: Installation, server: tuple[str, int]
) -> None:
    url, pid = server
    created = installation.here(
        "token", "create", "--tenant-id", "acme-corp", "--name", "t", "--user", "u", "--role", "editor"
    )
    assert created.returncode != 0  # a command makes no tenant by mentioning it
    assert installation.here("provision-tenant", "--tenant-id", "acme-corp").returncode == 0
    created = installation.here(
        "token", "create", "--tenant-id", "acme-corp", "--name", "t", "--user", "u", "--role", "editor"
    )
    token = created.stdout.strip().split("\t")[1]
    size = 200 * 1024 * 1024
    block = os.urandom(1024 * 1024)

    def memory() -> int:
        status = Path(f"/proc/{pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]

    with httpx.Client(base_url=f"{url}/api/v1", headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:
        basket = client.post("/baskets", json={"name": "b"}).json()["id"]
        client.post(f"/baskets/{basket}/documents", params={"name": "small"}, content=b"x")
        before = memory()
        answer = client.post(
            f"/baskets/{basket}/documents",
            params={"name": "large.bin"},
            content=(block for _ in range(size // len(block))),
        )
        assert answer.status_code == 201, answer.text
        assert answer.json()["size"] == size
        digest = hashlib.sha256()
        with client.stream("GET", f"/documents/{answer.json()['id']}/content") as download:
            for chunk in download.iter_bytes():
                digest.update(chunk)
        assert digest.hexdigest() == answer.json()["checksum"]
        assert memory() - before < 60 * 1024 * 1024

        def broken() -> Iterator[bytes]:
            yield block * 3
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            client.post(f"/baskets/{basket}/documents", params={"name": "cut.bin"}, content=broken())
        client.close()
    docex = installation.docex()
    end = time.monotonic() + 10
    while time.monotonic() < end and list(Path("storage").rglob(".incoming-*")):
        time.sleep(0.1)
    assert not list(Path("storage").rglob(".incoming-*"))
    assert docex.get_basket(basket).count_documents() == 2


# -- anything at all ---------------------------------------------------------------------------------------------------


def attacked(installation: Installation, origin: str, examples: int) -> None:
    """Send whatever the description allows, and what it does not: every answer is one that it declares."""
    headers = {"Authorization": f"Bearer {token_of(installation)}"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries underneath
        schema = schemathesis.openapi.from_dict(httpx.get(f"{origin}/api/v1/openapi.json").json())
    session = requests.Session()
    for found in schema.get_all_operations():
        operation = found.ok()
        for mode in GenerationMode:

            @settings(
                max_examples=examples,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def attempt(case: schemathesis.Case) -> None:
                answer = case.call(base_url=origin, session=session, headers=headers, timeout=30)
                case.validate_response(answer, checks=CHECKS)

            try:
                attempt()
            except Unsatisfiable:  # a route that takes nothing has nothing that could be wrong
                assert mode is GenerationMode.NEGATIVE
    session.close()


def test_nothing_that_is_sent_in_breaks_the_server(on_postgres: Installation, origin: str) -> None:
    attacked(on_postgres.setup(), origin, examples=5)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_nothing_that_is_sent_in_breaks_the_server_for_long(anywhere: Installation, origin: str) -> None:
    attacked(anywhere.setup(), origin, examples=200)
