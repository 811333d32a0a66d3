"""What finding its tenant adds to a request, and what a registry's notice adds to a change.

The floor is a FastAPI route that does nothing: served by uvicorn to one client that asks again and again, and called in
place, where no network and no parsing of HTTP hide a microsecond. The tenants are known already, as they are in all but
the first request; changes are heard by the real listener.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import fastapi
import sqlalchemy as sa
import uvicorn

from benchmarks.sessions import declare, tenants
from benchmarks.timing import Figure, paired
from tenantry import PostgresSchemas, SqliteFiles, Tenancy
from tenantry.http.middleware import TenantMiddleware

BATCH = 200  # requests in one timed round
TENANTS = 50
ROOT = Path(__file__).parents[1]
# As a browser behind a proxy sends them.
HEADERS = (
    (b"accept", b"application/json, text/plain, */*"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"accept-language", b"en-GB,en;q=0.9"),
    (b"connection", b"keep-alive"),
    (b"cookie", b"session=0123456789abcdef0123456789abcdef"),
    (b"referer", b"https://lims.example/patients"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    (b"x-forwarded-for", b"192.0.2.7"),
)

Send = Callable[[Any], Awaitable[None]]


def open_store(where: str) -> PostgresSchemas | SqliteFiles:
    """The store at a URL, or below a directory."""
    if "://" in where:
        return PostgresSchemas(where, "org_{slug}", pool_size=2)
    return SqliteFiles(where, "{slug}/data.db")


def measure(where: str, *, rounds: int) -> tuple[list[Figure], list[Figure]]:
    """The figures of served requests and of those called in place; the first of each is the floor."""
    with tempfile.TemporaryDirectory() as directory:
        tenancy = tenants(open_store(where), Path(directory), TENANTS)
        tenancy.watch()
        while not tenancy.directory.heard:
            time.sleep(0.01)
        try:
            return _served(where, directory, rounds), _in_place(tenancy, rounds)
        finally:
            tenancy.close()


def _naming() -> dict[str, list[list[tuple[bytes, bytes]]]]:
    slugs = [f"t{number}" for number in range(TENANTS)]
    return {
        "by header": [[(b"host", b"lims.internal"), (b"x-org-slug", slug.encode())] for slug in slugs],
        "by sub-domain": [[(b"host", f"{slug}.lims.example".encode())] for slug in slugs],
    }


def _in_place(tenancy: Tenancy, rounds: int) -> list[Figure]:
    bare, led = _application(None), _application(tenancy)

    def batch(app: Any, naming: list[list[tuple[bytes, bytes]]]) -> Callable[[int], object]:
        def run(_: int) -> None:
            for number in range(BATCH):
                _drive(_call(app, naming[number % TENANTS]))

        return run

    async def meet() -> None:
        for naming in _naming().values():
            for headers in naming:  # the first request of each asks the registry
                await _call(led, headers)

    asyncio.run(meet())
    variants = {"bare FastAPI (floor)": batch(bare, _naming()["by header"])}
    variants |= {name: batch(led, naming) for name, naming in _naming().items()}
    return [_each(figure) for figure in paired(variants, rounds=rounds, warmup=3)]


def _served(where: str, directory: str, rounds: int) -> list[Figure]:
    with ExitStack() as stack:
        bare, led = stack.enter_context(_servers(where, directory))

        def batch(port: int, naming: list[list[tuple[bytes, bytes]]]) -> Callable[[int], object]:
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            requests = [
                b"GET /api/v1/ping HTTP/1.1\r\n"
                + b"".join(b"%s: %s\r\n" % header for header in (*headers, *HEADERS))
                + b"\r\n"
                for headers in naming
            ]

            def run(_: int) -> None:
                for number in range(BATCH):
                    client.sendall(requests[number % TENANTS])
                    answer = b""
                    while not answer.endswith(b'{"up":true}'):
                        received = client.recv(65_536)
                        assert received, answer
                        answer += received

            return run

        variants = {"bare FastAPI (floor)": batch(bare, _naming()["by header"])}
        variants |= {name: batch(led, naming) for name, naming in _naming().items()}
        return [_each(figure) for figure in paired(variants, rounds=rounds, warmup=3)]


@contextmanager
def _servers(where: str, directory: str) -> Iterator[tuple[int, int]]:
    """The ports of the bare application and of the led one. One process serves both: two differ by their layout in
    memory as much as the applications do.
    """
    command = [sys.executable, "-m", "benchmarks.resolution", where, directory]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            bare, led = process.stdout.readline().split()
            yield int(bare), int(led)
        finally:
            process.kill()


async def serve(where: str, directory: str) -> None:
    """Serve both applications from this process, and print their ports first."""
    with ExitStack() as stack:
        ports, servers = [], []
        for tenancy in (None, declare(open_store(where), Path(directory))):
            bound = stack.enter_context(socket.socket())
            bound.bind(("127.0.0.1", 0))
            bound.listen()
            ports.append(bound.getsockname()[1])
            config = uvicorn.Config(_application(tenancy), log_level="error", access_log=False, lifespan="off")
            servers.append(uvicorn.Server(config).serve(sockets=[bound]))
        print(*ports, flush=True)
        await asyncio.gather(*servers)


def _each(figure: Figure) -> Figure:
    return Figure(figure.name, figure.median / BATCH, figure.ratio, figure.rounds)


def _application(tenancy: Tenancy | None) -> fastapi.FastAPI:
    app = fastapi.FastAPI()
    if tenancy is not None:
        app.add_middleware(TenantMiddleware, tenancy=tenancy, required=["/api/v1"], public=["/api/v1/health"])

    @app.get("/api/v1/ping")
    async def ping() -> dict[str, bool]:
        return {"up": True}

    return app


def _drive(coroutine: Any) -> None:
    """Run a coroutine that waits for nothing."""
    try:
        while True:
            coroutine.send(None)
    except StopIteration:
        return


async def _call(app: Any, naming: list[tuple[bytes, bytes]]) -> None:
    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        assert message.get("status", 200) == 200

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/v1/ping",
        "root_path": "",
        "scheme": "http",
        "query_string": b"",
        "headers": [*naming, *HEADERS],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8_000),
    }
    await app(scope, receive, send)


def telling(url: str, *, rounds: int) -> tuple[list[Figure], float]:
    """A change of status with the trigger that tells of it and without; and how long until a listener knew."""
    with tempfile.TemporaryDirectory() as directory:
        tenancy = tenants(PostgresSchemas(url, "org_{slug}", pool_size=2), Path(directory), 1)
        engine = tenancy.store.control_engine()
        change = sa.text("UPDATE tenant SET name = :name WHERE slug = 't0'")

        def write(number: int) -> None:
            for _ in range(20):
                with engine.begin() as connection:
                    connection.execute(change, {"name": f"{number} {time.perf_counter_ns()}"})

        def switched(state: str) -> Callable[[int], object]:
            statement = sa.text(f"ALTER TABLE tenant {state} TRIGGER tell_of_changed_tenant")

            def run(number: int) -> None:
                with engine.begin() as connection:
                    connection.execute(statement)
                write(number)

            return run

        try:
            figures = paired({"silent (floor)": switched("DISABLE"), "told": switched("ENABLE")}, rounds=rounds)
            return [Figure(f.name, f.median / 20, f.ratio, f.rounds) for f in figures], _delay(tenancy)
        finally:
            tenancy.close()


def _delay(tenancy: Tenancy) -> float:
    """Seconds from a commit to its being known, as a median of fifty."""
    tenancy.watch()
    directory = tenancy.directory
    while not directory.heard:
        time.sleep(0.01)
    delays = []
    for number in range(50):
        before = directory.tenant("t0").name
        with tenancy.store.control_engine().begin() as connection:
            connection.execute(sa.text("UPDATE tenant SET name = :name WHERE slug = 't0'"), {"name": f"n{number}"})
        started = time.perf_counter()
        while directory.tenant("t0").name == before:
            time.sleep(0)
        delays.append(time.perf_counter() - started)
    return sorted(delays)[len(delays) // 2]


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvicorn.Config("").get_loop_factory()) as runner:
        runner.run(serve(*sys.argv[1:]))
