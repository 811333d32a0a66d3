"""The same isolation through PgBouncer in transaction mode, where every transaction may run on another connection."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from canaries import owner
from house import House
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from interleaving import ANSWERS, WHOLE, Interleaving, Visit, plans

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
SLUGS = [f"tenant{number}" for number in range(5)]
SERVER_CONNECTIONS = 3

pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="the program pgbouncer is not installed")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def owner_of(server: sa.URL) -> str | None:
    """The user who may open the server's socket; PgBouncer refuses to run as root."""
    if os.geteuid() != 0:
        return None
    host = str(server.query.get("host", ""))
    uid = Path(host).stat().st_uid if host.startswith("/") else 0
    return pwd.getpwuid(uid).pw_name if uid else "nobody"


@pytest.fixture
def pooled(schemas: House, tmp_path: Path) -> Iterator[House]:
    """The application behind PgBouncer; it was set up past it."""
    schemas.provision(*SLUGS)
    server = sa.make_url(schemas.where)
    target = {
        "host": server.query.get("host") or server.host or "localhost",
        "port": server.query.get("port") or server.port or 5432,
        "dbname": server.database,
        "user": server.username,
        **({"password": server.password} if server.password else {}),
    }
    port, user = free_port(), owner_of(server)
    text = f"""
[databases]
pooled = {" ".join(f"{name}='{value}'" for name, value in target.items())}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {SERVER_CONNECTIONS}
max_client_conn = 200
server_reset_query =
"""
    file = Path("/tmp") / f"tenantry-pgbouncer-{port}.ini"  # the user it runs as reads no directory of the tests
    file.write_text(text)
    if user is not None:
        os.chmod(file, 0o600)
        shutil.chown(file, user)
    command = [str(PGBOUNCER), "-q", *(["-u", user] if user else []), str(file)]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    house = House("schema", f"postgresql://any@127.0.0.1:{port}/pooled")
    try:
        await_start(running, house)
        yield house
    finally:
        house.close()
        running.terminate()
        running.wait(10)
        if running.stderr is not None:
            running.stderr.close()
        file.unlink()


def await_start(running: subprocess.Popen[bytes], house: House) -> None:
    for _ in range(100):
        try:
            house.admin().close()
            return
        except psycopg.OperationalError:
            assert running.poll() is None, running.stderr and running.stderr.read()
            time.sleep(0.05)
    raise AssertionError("PgBouncer does not answer")


def open_through(house: House, **more: Any) -> Interleaving:
    tenancy = house.open(prepare_threshold=None, pool_size=6, max_overflow=0, **more)
    tenancy.store._pool["pool_timeout"] = 1  # type: ignore[attr-defined]
    return Interleaving(house, tenancy, SLUGS)


@pytest.fixture
def run(pooled: House) -> Interleaving:
    return open_through(pooled)


SETTINGS: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    "database": None,
}


@settings(max_examples=10, **SETTINGS)
@given(threads=plans, tasks=plans, kills=st.integers(0, 1))
def test_statements_see_their_own_tenant(
    run: Interleaving, threads: list[list[Visit]], tasks: list[list[Visit]], kills: int
) -> None:
    run.run(threads, tasks, kills)
    run.check()


def test_more_sessions_than_connections_are_served(pooled: House) -> None:
    run = Interleaving(pooled, pooled.open(prepare_threshold=None, pool_size=6, max_overflow=6), SLUGS)
    plan: list[Visit] = [(number, WHOLE) for number in range(5)] * 4
    run.run([plan] * 6, [plan] * 6, 0)
    run.check()
    assert run.refused == []
    assert len(run.seen) == 12 * len(plan) * ANSWERS


def test_server_connection_keeps_no_tenant(pooled: House, run: Interleaving) -> None:
    for slug in SLUGS * 2:
        with run.tenancy.session(slug) as session:
            assert session.scalars(owner).all() == [slug]
        with pooled.admin() as admin:
            found = admin.execute("SELECT current_user = session_user, current_setting('search_path')").fetchone()
            assert found == (True, '"$user", public')


def test_doctor_sees_the_pooler_and_what_leaks_through_it(pooled: House) -> None:
    findings = [finding for finding in pooled.open().fleet.doctor() if finding.kind == "pooler"]
    assert len(findings) == 1
    assert "prepared statements" in findings[0].text
    assert "prepare_threshold=None" in findings[0].mend

    assert not [f for f in pooled.open(prepare_threshold=None).fleet.doctor() if f.kind == "pooler"]
