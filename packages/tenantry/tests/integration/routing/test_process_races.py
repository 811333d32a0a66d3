"""Many real processes, or threads, on one control plane at once: each tenant is made exactly once, and nobody fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from canaries import open_tenancy, owner
from house import House

from tenantry.errors import TenantBusy, TenantExists, TenantNotActive, TenantNotFound
from tenantry.tenant import TenantStatus

Race = Callable[..., list[Any]]
APPLICATION = Path(__file__).parent / "application"

SOME = 8  # processes; what takes most of the time is that each of them starts

ENSURE_ONE = """
def work(tenancy, number):
    tenant = tenancy.ensure("acme")
    with tenancy.session("acme") as session:
        return [tenant.uid, tenant.status.value, session.scalar(owner)]
"""
ENSURE_MANY = """
def work(tenancy, number):
    slug = f"t{number}"
    tenancy.ensure(slug)
    with tenancy.session(slug) as session:
        return session.scalar(owner)
"""
PROVISION = """
def work(tenancy, number):
    return tenancy.provision("acme", name=f"number {number}").tenant.name
"""
INITIALIZE = """
def work(tenancy, number):
    return tenancy.initialize()
"""
EVERYTHING = """
def work(tenancy, number):
    # Everybody at once makes, repairs and removes one tenant; the engine's own refusals are the only errors allowed.
    told = {}
    until = time.monotonic() + 2
    while time.monotonic() < until:
        for act in (
            lambda: tenancy.provision("acme"),
            lambda: tenancy.migrate("acme"),
            lambda: tenancy.cleanup("acme"),
            lambda: tenancy.ensure("acme"),
        )[number % 4:]:
            try:
                act()
                name = "done"
            except (TenantError, StoreExists, StoreMissing) as error:
                name = type(error).__name__
            except TenancyError as error:
                raise RuntimeError(repr(error.__cause__)) from error
            told[name] = told.get(name, 0) + 1
            if number == 3:
                with tenancy.store.control_engine().begin() as connection:  # so that there is something to clean up
                    connection.execute(sa.text(FAIL))
                time.sleep(0.05)
    return told
"""


def check_whole(house: House, *slugs: str) -> None:
    """The tenants are active, once, and hold what a tenant holds; nothing half-made lies about."""
    assert [(tenant.slug, tenant.status) for tenant in house.tenancy.list()] == [
        (slug, TenantStatus.ACTIVE) for slug in sorted(slugs)
    ]
    for slug in slugs:
        with house.tenancy.session(slug) as session:
            assert session.scalars(owner).all() == [slug]
    if house.kind == "file":
        found = sorted(
            path.name for path in Path(house.where).glob("tenant_*/*") if not path.name.endswith(("-wal", "-shm"))
        )
        assert found == ["data.db"] * len(slugs)
    else:
        with house.admin() as admin:
            schemas = admin.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'org%' ORDER BY 1").fetchall()
            assert schemas == [(f"org_{slug}",) for slug in sorted(slugs)]


def test_twenty_processes_ensure_one_tenant(house: House, race: Race) -> None:
    told = race(house, ENSURE_ONE)

    uid = house.tenancy.get("acme").uid
    assert told == [[uid, "active", "acme"]] * len(told)
    check_whole(house, "acme")
    assert Counter(operation.status for operation in house.tenancy.operations("acme"))["done"] == 1


def test_processes_at_once_ensure_a_tenant_each(house: House, race: Race) -> None:
    told = race(house, ENSURE_MANY, processes=SOME)

    assert sorted(told) == sorted(f"t{number}" for number in range(len(told)))
    check_whole(house, *told)


def test_processes_at_once_provision_one_slug(house: House, race: Race) -> None:
    told = race(house, PROVISION, processes=SOME)

    made = [name for name in told if name.startswith("number")]
    assert made == [house.tenancy.get("acme").name]
    assert set(told) - set(made) <= {"TenantExists", "TenantBusy"}
    check_whole(house, "acme")


def test_processes_at_once_initialize(request: pytest.FixtureRequest, tmp_path: Path, race: Race) -> None:
    for house in (House("schema", request.getfixturevalue("postgres_url")), House("file", str(tmp_path / "root"))):
        assert Counter(race(house, INITIALIZE, processes=SOME)) == {True: 1, False: SOME - 1}
        house.open().provision("acme")
        check_whole(house, "acme")
        house.close()


def test_processes_without_superuser_make_their_tenants(schemas: House, non_superuser_url: str, race: Race) -> None:
    """Everybody grants roles to one and the same user."""
    house = House("schema", non_superuser_url)
    with schemas.admin() as admin:
        admin.execute("DROP SCHEMA platform CASCADE")
    house.open().initialize()
    try:
        told = race(house, ENSURE_MANY, processes=SOME)
        assert sorted(told) == sorted(f"t{number}" for number in range(len(told)))
    finally:
        house.close()


def test_making_repairing_and_removing_race(house: House, race: Race) -> None:
    table = "platform.tenant" if house.kind == "schema" else "tenant"
    fail = f"UPDATE {table} SET status = 'failed' WHERE status = 'active' AND operation_uid IS NULL"

    told = race(house, f"FAIL = {fail!r}\n" + EVERYTHING, processes=8)

    assert all(isinstance(outcome, dict) for outcome in told), told
    assert sum(outcome.get("done", 0) for outcome in told) > 8
    if house.tenancy.registry.find("acme") is None:
        house.tenancy.provision("acme")
    house.tenancy.migrate("acme")
    check_whole(house, "acme")


def test_killed_provisioning_is_finished_by_one_that_waits(house: House, race: Race) -> None:
    """The first process dies in the middle; the others wait for it in ensure(), and one of them takes over."""
    victim = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time\nfrom canaries import *\n"
            "tenancy = open_tenancy(*sys.argv[1:])\n"
            "def stop(slug, step):\n    if step == 'verify':\n        print('there', flush=True); time.sleep(60)\n"
            "tenancy.observe(stop)\ntenancy.provision('acme')",
            house.kind,
            house.where,
        ],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(APPLICATION)},
        text=True,
    )
    assert victim.stdout is not None
    try:
        assert victim.stdout.readline() == "there\n"
        assert house.tenancy.get("acme").status is TenantStatus.PROVISIONING
        killing = threading.Timer(1.5, victim.send_signal, (signal.SIGKILL,))
        killing.start()
        begun = time.monotonic()
        told = race(house, ENSURE_ONE, processes=6)
        assert time.monotonic() - begun > 0.5
    finally:
        victim.kill()
        victim.wait(10)
        victim.stdout.close()

    assert told == [[house.tenancy.get("acme").uid, "active", "acme"]] * 6
    check_whole(house, "acme")


def test_ensure_serves_no_failed_tenant(house: House) -> None:
    house.open().observe(stop_at("seed"))
    with pytest.raises(RuntimeError, match="stop"):
        house._opened[-1].provision("acme")

    with pytest.raises(TenantNotActive):
        house.tenancy.ensure("acme")

    assert house.tenancy.get("acme").status is TenantStatus.FAILED


# -- threads of one process, on one tenancy and its one pool


def at_once(work: Callable[[int], Any], threads: int = 20) -> list[Any]:
    barrier = threading.Barrier(threads)

    def begin(number: int) -> Any:
        barrier.wait(10)
        return work(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(begin, range(threads)))


def test_twenty_threads_ensure_one_tenant(house: House) -> None:
    tenancy = house.open(pool_size=2, max_overflow=1) if house.kind == "schema" else house.tenancy
    uids = at_once(lambda _: tenancy.ensure("acme").uid)

    assert set(uids) == {tenancy.get("acme").uid}
    check_whole(house, "acme")


def test_twenty_threads_ensure_twenty_tenants_on_a_small_pool(house: House) -> None:
    tenancy = house.open(pool_size=2, max_overflow=1) if house.kind == "schema" else house.tenancy
    at_once(lambda number: tenancy.ensure(f"t{number}"))

    check_whole(house, *(f"t{number}" for number in range(20)))


def test_twenty_threads_provision_one_slug(house: House) -> None:
    def attempt(_: int) -> str:
        try:
            return house.tenancy.provision("acme").tenant.slug
        except (TenantBusy, TenantExists) as error:
            return type(error).__name__

    assert at_once(attempt).count("acme") == 1
    check_whole(house, "acme")


def stop_at(wanted: str) -> Callable[[str, str], None]:
    def observe(slug: str, step: str) -> None:
        if step == wanted:
            raise RuntimeError("stop")

    return observe


def test_tenant_made_meanwhile_is_not_made_again(house: House) -> None:
    """A process that saw a tenant half-made, and was held up, must not build a second one over it."""
    tenancy = house.tenancy
    late = open_tenancy(house.kind, house.where)
    find, looked = late.registry.get, []

    def look_and_be_held_up(slug: str) -> Any:
        found = find(slug)
        if not looked:
            looked.append(found)
            tenancy.migrate(slug)
            with tenancy.session(slug) as session:
                session.execute(sa.text("INSERT INTO item (body) VALUES ('precious')"))
        return found

    stopped = house.open()
    stopped.observe(stop_at("create"))
    with pytest.raises(RuntimeError, match="stop"):
        stopped.provision("acme")
    with tenancy.store.control_engine().begin() as connection:  # as a kill would have left it
        connection.execute(sa.update(tenancy.registry._tables.tenant).values(status="provisioning"))
    assert not tenancy.store.exists(tenancy.get("acme").location)
    late.registry.get = look_and_be_held_up  # type: ignore[method-assign]
    try:
        with pytest.raises(TenantBusy):
            late.migrate("acme")
        assert late.migrate("acme").tenant.status is TenantStatus.ACTIVE
    finally:
        late.close()

    check_whole(house, "acme")
    assert house.bodies("acme") == ["precious"]


def test_lost_place_is_made_again_once(house: House) -> None:
    """Two processes see that an active tenant's place is gone; the slower must not build over what the other made."""
    house.provision("acme")
    tenancy, late = house.tenancy, house.open()
    tenancy.store.remove(tenancy.get("acme"))
    lock = late.store.lock

    def be_overtaken(slug: str, *, wait: bool) -> Any:
        tenancy.migrate(slug)
        with tenancy.session(slug) as session:
            session.execute(sa.text("INSERT INTO item (body) VALUES ('precious')"))
        return lock(slug, wait=wait)

    late.store.lock = be_overtaken  # type: ignore[method-assign]
    late.migrate("acme")

    assert house.bodies("acme") == ["precious"]


def test_slow_cleanup_does_not_remove_the_next_tenant_of_that_name(schemas: House) -> None:
    """Between its claim and its DROP another process finished the cleanup, and a third made the tenant anew."""
    schemas.provision("acme")
    tenancy, late = schemas.tenancy, schemas.open()
    with schemas.admin() as admin:
        admin.execute("UPDATE platform.tenant SET status = 'deleting'")
    remove = late.store.remove

    def be_overtaken(*given: Any, **details: Any) -> None:
        tenancy.cleanup("acme")
        tenancy.provision("acme")
        remove(*given, **details)

    late.store.remove = be_overtaken  # type: ignore[method-assign]
    with pytest.raises(TenantNotFound):
        late.cleanup("acme")

    check_whole(schemas, "acme")


def test_cleanup_of_all_passes_over_what_another_process_holds(house: House) -> None:
    house.provision("acme", "beta")
    tenancy, other = house.tenancy, house.open()
    with tenancy.store.control_engine().begin() as connection:
        connection.execute(sa.update(tenancy.registry._tables.tenant).values(status="failed"))
    listed = tenancy.registry.list

    def list_and_be_overtaken(status: TenantStatus | None = None) -> Any:
        found = listed(status)
        if status is TenantStatus.DELETING:
            other.cleanup("acme")
        return found

    tenancy.registry.list = list_and_be_overtaken  # type: ignore[method-assign]

    assert [tenant.slug for tenant in tenancy.cleanup()] == ["beta"]
    assert listed() == []
