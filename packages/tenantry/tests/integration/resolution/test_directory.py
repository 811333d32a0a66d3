"""Which tenants there are: from memory, never out of date for long, and not for sale to whoever asks most."""

from __future__ import annotations

import asyncio
import gc
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import psycopg
import pytest
from canaries import owner
from house import House
from neighbours import APPLICATION, Queries, listening, within

from tenantry import Tenancy, TenantStatus, directory
from tenantry.embedded import EmbeddedPostgres
from tenantry.errors import TenantNotActive, TenantNotFound
from tenantry.registry import listening as listening_module
from tenantry.registry.listening import APPLICATION_NAME


def served(tenancy: Tenancy, slug: str) -> bool:
    try:
        tenancy.directory.tenant(slug)
    except (TenantNotFound, TenantNotActive):
        return False
    return True


def listeners(house: House) -> list[int]:
    with house.admin() as admin:
        found = admin.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s",
            [APPLICATION_NAME],
        )
        return [pid for (pid,) in found]


def elsewhere(house: House, source: str, *arguments: str) -> None:
    """Run that in a process of its own, with ``tenancy`` open there."""
    begin = "import sys\nfrom canaries import open_tenancy\ntenancy = open_tenancy(*sys.argv[1:3])\n"
    done = subprocess.run(
        [sys.executable, "-c", begin + source, house.kind, house.where, *arguments],
        env={"PYTHONPATH": str(APPLICATION), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


SUSPEND = """
from tenantry import TenantStatus
tenancy.registry.set_status(tenancy.get("acme"), TenantStatus.SUSPENDED)
"""


# -- what changes is heard


def test_status_that_another_process_changes_is_seen_within_a_second(own: House) -> None:
    tenancy = listening(own.tenancy)
    assert served(tenancy, "acme")
    assert served(tenancy, "beta")
    seen: list[float] = []

    def watch() -> None:
        within(60, lambda: not served(tenancy, "acme"))
        seen.append(time.time())

    watcher = threading.Thread(target=watch)
    watcher.start()
    elsewhere(own, SUSPEND + "tenancy.close()\n")
    done = time.time()
    watcher.join(60)
    assert seen[0] - done < 1
    with pytest.raises(TenantNotActive), tenancy.session("acme"):
        pytest.fail("entered")

    own.open().activate("acme")

    assert within(1, lambda: served(tenancy, "acme")) < 1
    assert served(tenancy, "beta")


def test_tenant_that_another_process_makes_is_served_within_a_second(own: House) -> None:
    tenancy, other = listening(own.tenancy), own.open()
    for _ in range(3):
        assert not served(tenancy, "newcomer")

    other.provision("newcomer")

    assert within(1, lambda: served(tenancy, "newcomer")) < 1
    with tenancy.session("newcomer") as session:
        assert session.scalar(owner) == "newcomer"


def test_tenant_made_or_removed_here_is_seen_at_once(own: House) -> None:
    tenancy = listening(own.tenancy)
    for slug in ("one", "two"):
        assert not served(tenancy, slug)
    tenancy.provision("one")
    tenancy.ensure("two")
    assert served(tenancy, "one")
    assert served(tenancy, "two")


def test_change_typed_into_the_database_is_heard(own_schemas: House) -> None:
    """The trigger tells of it, whoever writes; what no reader needs to know is not told."""
    tenancy = listening(own_schemas.tenancy)
    assert tenancy.directory.tenant("acme").name == "acme"
    with own_schemas.admin() as admin:
        admin.execute("UPDATE platform.tenant SET name = 'Acme Ltd' WHERE slug = 'acme'")
    within(1, lambda: tenancy.directory.tenant("acme").name == "Acme Ltd")

    queries = Queries(tenancy)
    with own_schemas.admin() as admin:
        admin.execute("UPDATE platform.tenant SET operation_uid = 'x', updated_at = now() WHERE slug = 'acme'")
        admin.execute("DELETE FROM platform.tenant WHERE slug = 'beta'")
    within(1, lambda: not served(tenancy, "beta"))
    asked = len(queries)
    assert served(tenancy, "acme")
    assert len(queries) == asked


def test_change_that_is_rolled_back_is_not_told(own_schemas: House) -> None:
    tenancy = listening(own_schemas.tenancy)
    assert served(tenancy, "acme")
    queries = Queries(tenancy)
    with own_schemas.admin() as admin:
        admin.execute("BEGIN; UPDATE platform.tenant SET status = 'suspended' WHERE slug = 'acme'; ROLLBACK")
    time.sleep(0.2)
    assert served(tenancy, "acme")
    assert queries == []


def test_registry_of_another_schema_is_not_listened_to(own_schemas: House) -> None:
    other = own_schemas.open(platform="control2")
    other.initialize()
    tenancy = listening(own_schemas.tenancy)
    assert served(tenancy, "acme")
    queries = Queries(tenancy)
    with own_schemas.admin() as admin:
        admin.execute("SELECT pg_notify('tenantry', 'control2:acme'), pg_notify('tenantry', 'nonsense')")
    time.sleep(0.2)
    assert served(tenancy, "acme")
    assert queries == []


# -- memory answers


def test_known_tenants_cost_no_query(street: House) -> None:
    tenancy = listening(street.tenancy)
    queries = Queries(tenancy)
    for _ in range(200):
        for slug in ("acme", "beta"):
            tenancy.directory.tenant(slug)
        assert not served(tenancy, "gone")
        assert not served(tenancy, "nobody")
    assert len(queries) <= 4  # the roll, and a record for each of three


def test_flood_of_unknown_slugs_costs_no_queries(street: House) -> None:
    tenancy = listening(street.tenancy)
    assert not served(tenancy, "nobody")
    queries = Queries(tenancy)
    for number in range(100_000):
        with pytest.raises(TenantNotFound):
            tenancy.directory.tenant(f"nobody-{number}")
    assert queries == []
    assert len(tenancy.directory._absent) <= 1
    assert served(tenancy, "acme")


def test_what_can_be_no_slug_is_refused_without_asking(street: House) -> None:
    queries = Queries(street.tenancy)
    for slug in ("", "a b", "acme\0", "acmé", "../acme", "a" * 129, "x" * 1_000_000, "acme'--", "acme\n"):
        with pytest.raises(TenantNotFound):
            street.tenancy.directory.tenant(slug)
    assert queries == []


def test_more_tenants_than_the_roll_takes_are_asked_for_one_by_one(
    street: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "MAX_ROLL", 5)
    monkeypatch.setattr(directory, "MAX_ABSENT", 10)
    monkeypatch.setattr(directory, "MAX_KNOWN", 3)
    tenancy = listening(street.tenancy)
    queries = Queries(tenancy)
    for _ in range(50):
        assert not served(tenancy, "nobody")
    assert len(queries) == 2  # one for the roll that is too long
    for number in range(50):
        assert not served(tenancy, f"nobody-{number}")
        assert served(tenancy, f"t{number % 10}")
    assert len(tenancy.directory._absent) == 10
    assert len(tenancy.directory._known) == 3


def test_without_watching_refusals_are_not_remembered(own: House) -> None:
    tenancy, other = own.tenancy, own.open()
    assert not served(tenancy, "newcomer")
    other.provision("newcomer")
    assert served(tenancy, "newcomer")
    assert not tenancy.directory.heard


def test_without_watching_a_tenant_is_trusted_for_the_remembered_time(own: House) -> None:
    tenancy, other = own.open(remembered=1.5), own.open()
    assert served(tenancy, "acme")
    other.registry.set_status(other.get("acme"), TenantStatus.SUSPENDED)
    assert served(tenancy, "acme")
    assert within(5, lambda: not served(tenancy, "acme")) > 0.1


async def test_event_loop_does_not_wait_for_the_registry(street: House, monkeypatch: pytest.MonkeyPatch) -> None:
    tenancy = street.tenancy
    read = tenancy.registry.get

    def slowly(slug: str) -> Any:
        time.sleep(1)
        return read(slug)

    monkeypatch.setattr(tenancy.registry, "get", slowly)
    asked = asyncio.create_task(tenancy.directory.async_tenant("acme"))
    longest, before = 0.0, time.monotonic()
    while not asked.done():
        await asyncio.sleep(0.005)
        now = time.monotonic()
        longest, before = max(longest, now - before), now
    assert (await asked).slug == "acme"
    assert longest < 0.8


def test_crowd_asks_once_for_a_tenant_it_does_not_know(street: House) -> None:
    tenancy = listening(street.tenancy)
    served(tenancy, "nobody")
    queries = Queries(tenancy)

    async def crowd() -> set[str]:
        return {
            tenant.slug
            for tenant in await asyncio.gather(*(tenancy.directory.async_tenant("acme") for _ in range(300)))
        }

    assert asyncio.run(crowd()) == {"acme"}
    assert len(queries) < 60  # the threads of asyncio's pool, not the three hundred


# -- the listener's bad days


def test_one_connection_of_a_process_listens(own_schemas: House) -> None:
    tenancy = own_schemas.tenancy
    threads = [threading.Thread(target=tenancy.watch) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    listening(tenancy)
    assert len(listeners(own_schemas)) == 1

    tenancy.close()

    within(5, lambda: not listeners(own_schemas))
    assert not [thread for thread in threading.enumerate() if thread.name == "tenantry-changes"]
    listening(tenancy)  # it may be used again
    assert served(tenancy, "acme")


def test_listener_that_is_killed_listens_again_and_missed_nothing(
    own_schemas: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening_module, "PAUSES", (0.5, 0.5))
    tenancy = listening(own_schemas.tenancy)
    assert served(tenancy, "acme")
    assert served(tenancy, "beta")
    (pid,) = listeners(own_schemas)

    with own_schemas.admin() as admin:
        admin.execute("SELECT pg_terminate_backend(%s)", [pid])
        within(2, lambda: not tenancy.directory.heard)
        # Nobody hears this; the time to live does the work.
        admin.execute("UPDATE platform.tenant SET status = 'suspended' WHERE slug = 'acme'")
    within(2, lambda: not served(tenancy, "acme"))  # a second, and what a busy machine adds

    within(5, lambda: tenancy.directory.heard)
    assert len(listeners(own_schemas)) == 1
    assert not served(tenancy, "acme")
    with own_schemas.admin() as admin:
        admin.execute("UPDATE platform.tenant SET status = 'active' WHERE slug = 'acme'")
    assert within(1, lambda: served(tenancy, "acme")) < 1


def test_change_made_while_nobody_listened_is_known_afterwards(
    own_schemas: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by a process whose time to live is long."""
    monkeypatch.setattr(listening_module, "PAUSES", (0.5, 0.5))
    tenancy = listening(own_schemas.open(remembered=3600))
    assert served(tenancy, "acme")
    (pid,) = listeners(own_schemas)
    with own_schemas.admin() as admin:
        admin.execute("SELECT pg_terminate_backend(%s)", [pid])
        within(2, lambda: not tenancy.directory.heard)
        admin.execute("UPDATE platform.tenant SET status = 'suspended' WHERE slug = 'acme'")
    within(5, lambda: tenancy.directory.heard)
    assert not served(tenancy, "acme")


def test_restarted_server_is_listened_to_again() -> None:
    server = EmbeddedPostgres(Path(tempfile.mkdtemp(prefix="restart-")))
    try:
        house = House("schema", server.start())
        tenancy = house.open(remembered=1.0)
        tenancy.initialize()
        house.provision("acme")
        listening(tenancy)
        assert served(tenancy, "acme")

        server.stop()
        within(5, lambda: not tenancy.directory.heard)
        server.start()

        within(20, lambda: tenancy.directory.heard)
        other = house.open()
        other.registry.set_status(other.get("acme"), TenantStatus.SUSPENDED)
        assert within(1, lambda: not served(tenancy, "acme")) < 1
        house.close()
    finally:
        server.stop()
        shutil.rmtree(server.directory)


def test_pooler_in_between_is_told_from_a_server(own_schemas: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pooler says which backend it stands for only when it is asked in SQL."""
    monkeypatch.setattr(psycopg.ConnectionInfo, "backend_pid", property(lambda info: 1))
    tenancy = own_schemas.tenancy
    tenancy.watch()
    time.sleep(0.5)
    assert not tenancy.directory.heard
    assert served(tenancy, "acme")
    other = own_schemas.open()
    other.registry.set_status(other.get("acme"), TenantStatus.SUSPENDED)
    within(2, lambda: not served(tenancy, "acme"))  # a second, and what a busy machine adds


def test_registry_that_tells_nothing_is_not_believed(own_schemas: House, caplog: pytest.LogCaptureFixture) -> None:
    with own_schemas.admin() as admin:
        admin.execute("ALTER TABLE platform.tenant DISABLE TRIGGER tell_of_changed_tenant")
    tenancy = own_schemas.tenancy
    tenancy.watch()
    within(5, lambda: "does not tell of its changes" in caplog.text)
    assert not tenancy.directory.heard
    with own_schemas.admin() as admin:
        admin.execute("ALTER TABLE platform.tenant ENABLE TRIGGER tell_of_changed_tenant")
    within(10, lambda: tenancy.directory.heard)
    assert caplog.text.count("does not tell") == 1


def test_tenancy_that_is_thrown_away_stops_listening(own_schemas: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening_module, "HEARTBEAT", 0.2)
    tenancy = listening(own_schemas.open())
    own_schemas._opened.remove(tenancy)
    tenancy.store.close()
    gone = weakref.ref(tenancy.directory)
    del tenancy
    gc.collect()
    assert gone() is None
    within(5, lambda: not listeners(own_schemas))


FORKED = """
import os, threading, time
tenancy.watch()
def wait():
    while not tenancy.directory.heard:
        time.sleep(0.01)
wait()
tenancy.directory.tenant("acme")
held = threading.Thread(target=lambda: (tenancy.directory._guard.acquire(), time.sleep(2)), daemon=True)
held.start()
time.sleep(0.1)
child = os.fork()
if child == 0:
    assert not tenancy.directory.heard
    tenancy.store.__dict__.update(_engine=None, _control=None)  # the pool is the parent's, and not this test's matter
    assert tenancy.directory.tenant("acme").slug == "acme"
    tenancy.watch()
    wait()
    assert tenancy.directory.tenant("acme").slug == "acme"
    os._exit(0)
ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
tenancy.directory._guard.release()
assert ended == 0, ended
assert tenancy.directory.heard
time.sleep(0.3)
assert tenancy.directory.heard
"""


def test_forked_process_listens_for_itself_and_leaves_its_parent_alone(own: House) -> None:
    elsewhere(own, FORKED)


def test_registry_file_put_in_the_place_of_another_is_read_anew(tmp_path: Path) -> None:
    houses: list[House] = []
    for name, slug in (("one", "acme"), ("two", "beta")):
        house = House("file", str(tmp_path / name))
        house.open().initialize()
        house.provision(slug)
        houses.append(house)
    houses[1].close()
    tenancy = listening(houses[0].tenancy)
    assert served(tenancy, "acme")
    houses[0].tenancy.store.close()
    for suffix in ("-wal", "-shm"):
        (tmp_path / "one" / f"registry.db{suffix}").unlink(missing_ok=True)
    shutil.copyfile(tmp_path / "two" / "registry.db", tmp_path / "new.db")
    (tmp_path / "new.db").replace(tmp_path / "one" / "registry.db")
    within(1, lambda: not served(tenancy, "acme") and served(tenancy, "beta"))
    houses[0].close()
