"""`tenantry serve` as it is run: it starts or says why not, stops gently, and is killed without harm."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tenantry.http import serving

COMMAND = str(Path(sys.executable).with_name("tenantry"))
NOTES = Path(__file__).parents[4] / "examples" / "notes" / "migrations"
PASSWORD = "Correct-Horse-7"
APPLICATION = f"""
import os, time
from pathlib import Path
from tenantry import Migrations, PostgresSchemas, Tenancy

def slowly(seeding):
    if seeding.tenant.name == "Slow":
        Path("begun").touch()
        while not Path("go").exists():
            time.sleep(0.02)

tenancy = Tenancy(PostgresSchemas(os.environ["DATABASE"], "org_{{slug}}"), Migrations(Path({str(NOTES)!r})),
                  readiness=["note"], seeds=[slowly], home=Path("home"))
"""

COLLECTOR = """
import gc
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

async def collector(request):
    return JSONResponse([gc.get_freeze_count(), gc.get_threshold()])

def made():
    return Starlette(routes=[Route("/", collector)])
"""


class Server:
    """`tenantry serve` in a directory of its own."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory
        self.url = url
        self.port = free_port()
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("TENANTRY_", "PROMETHEUS_"))}
        self.environment = kept | {"DATABASE": url, "TENANTRY_APP": "application:tenancy"}
        (directory / "application.py").write_text(APPLICATION)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [Path(os.environ.get("COMMANDS", Path(COMMAND).parent), "tenantry"), *arguments],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
        )

    @contextlib.contextmanager
    def running(self, *options: str) -> Iterator[subprocess.Popen[bytes]]:
        with (self.directory / "log").open("ab") as log:
            process = subprocess.Popen(
                [COMMAND, "serve", "--app", "application:tenancy", "--port", str(self.port), *options],
                cwd=self.directory,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        try:
            self.wait(process)
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(60)

    def wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.base}/health/live", timeout=5).status_code == 200:
                    return
            assert process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.1)

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v1/platform"

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    def client(self) -> httpx.Client:
        login = {"identifier": "administrator", "password": PASSWORD}
        granted = httpx.post(f"{self.base}/auth/login", json=login, timeout=60).json()
        return httpx.Client(
            base_url=self.base, headers={"Authorization": f"Bearer {granted['access_token']}"}, timeout=60
        )

    def provision_slowly(self, slug: str) -> list[Any]:
        """Ask for a tenant in a thread; returns where its answer or error will be once it has begun."""
        client, answers = self.client(), []

        def ask() -> None:
            try:
                answers.append(client.post("/tenants", json={"name": "Slow", "slug": slug}))
            except httpx.TransportError as error:
                answers.append(error)
            client.close()

        threading.Thread(target=ask).start()
        deadline = time.monotonic() + 60
        while not (self.directory / "begun").exists():
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)
        return answers


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def bare(tmp_path: Path, postgres_url: str) -> Server:
    return Server(tmp_path, postgres_url)


@pytest.fixture
def server(bare: Server) -> Server:
    assert bare.command("db", "upgrade").returncode == 0
    script = (
        "from application import tenancy;"
        f"tenancy.iam.add_user('a@example.org', 'administrator', ['administrator'], password={PASSWORD!r})"
    )
    subprocess.run([sys.executable, "-c", script], cwd=bare.directory, env=bare.environment, check=True, timeout=90)
    return bare


def test_a_server_without_its_registry_says_what_to_do(bare: Server) -> None:
    ended = bare.command("serve", "--port", str(bare.port))
    assert ended.returncode == 1
    assert "Run `db upgrade` first." in ended.stderr.splitlines()[-1]
    assert ended.stdout == ""


def test_an_address_that_is_taken_or_wrong_is_told_in_one_line(server: Server) -> None:
    with socket.create_server(("127.0.0.1", server.port)):
        ended = server.command("serve", "--port", str(server.port))
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("error: Cannot use '127.0.0.1:")
    for options in (["--trusted-host", "No Host"], ["--trusted-proxy", "proxy"]):
        ended = server.command("serve", *options)
        assert ended.returncode == 1
        assert ended.stderr.startswith("error: ")


def test_it_serves_on_loopback_without_a_banner_and_says_when_it_does_not(server: Server) -> None:
    with server.running():
        answer = httpx.get(f"{server.base}/health/ready")
        assert answer.status_code == 200
        assert "server" not in answer.headers
        assert httpx.get(f"{server.base}/health/live", headers={"Host": "evil.org"}).status_code == 400
        with pytest.raises(OSError, match=r"refused|unreachable|timed out"):
            socket.create_connection((address_of_this_machine(), server.port), timeout=5)
    assert "without TLS" not in server.log
    with server.running("--host", "0.0.0.0", "--trusted-host", "lims.example.org"):
        assert httpx.get(f"{server.base}/health/live", headers={"Host": "lims.example.org"}).status_code == 200
        assert httpx.get(f"{server.base}/health/live", headers={"Host": "other.org"}).status_code == 400
    assert "without TLS" in server.log


def address_of_this_machine() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("203.0.113.1", 9))
        if not probe.getsockname()[0].startswith("127."):
            return str(probe.getsockname()[0])
    return "192.0.2.1"


def test_a_stop_lets_the_work_that_has_begun_end(server: Server) -> None:
    with server.running() as process:
        answers = server.provision_slowly("acme")
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{server.base}/health/live", timeout=5)
        (server.directory / "go").touch()
        process.wait(60)
    assert answers[0].status_code == 201
    assert process.returncode in (0, -signal.SIGTERM)
    assert "Traceback" not in server.log


def test_a_server_killed_inside_provisioning_leaves_what_the_next_one_finishes(server: Server) -> None:
    with server.running() as process:
        answers = server.provision_slowly("acme")
        process.kill()
        process.wait(30)
    assert isinstance(answers[0] if answers else httpx.ReadError(""), httpx.TransportError)
    with psycopg.connect(server.url.replace("+psycopg", "")) as connection:
        assert connection.execute("SELECT status FROM platform.tenant").fetchall() == [("provisioning",)]
        assert connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'org_acme'").fetchall() == []

    (server.directory / "go").touch()
    with server.running(), server.client() as api:
        assert api.get("/tenants/acme").json()["status"] == "provisioning"
        again = api.post("/tenants", json={"name": "Slow", "slug": "acme"})
        assert (again.status_code, "interrupted" in again.json()["detail"]) == (409, True)
        resumed = api.post("/tenants/acme/migrate")
        assert (resumed.status_code, resumed.json()["status"]) == (200, "active")
        shown = api.get("/tenants/acme").json()
    assert [operation["status"] for operation in shown["operations"]] == ["done", "failed"]
    assert "Interrupted" in shown["operations"][1]["error"]
    assert server.command("audit", "verify").returncode == 0


def test_two_workers_take_each_others_tokens_and_count_together(server: Server) -> None:
    with server.running("--workers", "2"), server.client() as api:
        for _ in range(40):
            with httpx.Client(base_url=server.base, headers=api.headers, timeout=30) as fresh:
                assert fresh.get("/auth/me").status_code == 200
        counted = api.get("/metrics").text
    line = next(line for line in counted.splitlines() if 'route="/auth/me",status="200"' in line and "_total" in line)
    assert float(line.split()[-1]) == 40


@pytest.mark.parametrize("workers", [1, 2])
def test_a_process_that_serves_does_not_look_for_garbage_in_what_it_has_loaded(tmp_path: Path, workers: int) -> None:
    """Collections of everything took up to 100 ms each, in the middle of some request."""
    (tmp_path / "application.py").write_text(COLLECTOR)
    port = free_port()
    options = f"host='127.0.0.1', port={port}, workers={workers}"
    start = f"from tenantry.http.serving import serve; serve('application:made', {options})"
    process = subprocess.Popen([sys.executable, "-c", start], cwd=tmp_path)
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(httpx.TransportError):
                frozen, threshold = httpx.get(f"http://127.0.0.1:{port}/").json()
                break
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        process.terminate()
        process.wait(60)
    assert frozen > 10_000  # objects
    assert threshold == list(serving.COLLECT)
