"""Places made ready before anyone asks: taken by one tenant, refilled, migrated with the fleet, never listed."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from tenantry import Seeding
from tenantry.errors import DeclarationError, StandbyRefused, TenancyError
from tenantry.fleet.standby import PREFIX

KILLED = """
import time
def work(tenancy, case):
    moment, what = case
    def end():
        time.sleep(moment)
        os.kill(os.getpid(), signal.SIGKILL)
    threading.Thread(target=end, daemon=True).start()
    if what == "keep":
        tenancy.fleet.standby.keep(3)
    else:
        tenancy.provision(what)
    tenancy.close()
    return "done"
"""


def locations(tenancy) -> list[str]:
    return [place.location for place in tenancy.fleet.standby.places()]


def test_tenant_from_standby_is_like_one_made_from_nothing(place, simple) -> None:
    tenancy = place.tenancy(simple, readiness=["organization"])
    tenancy.provision("plain")
    kept = tenancy.fleet.standby.keep(2)
    assert (kept.keep, kept.ready, kept.made) == (2, 2, 2)
    before = locations(tenancy)
    assert [tenant.slug for tenant in tenancy.list()] == ["plain"]
    taken = tenancy.provision("taken", name="Taken")
    tenancy.fleet.standby.settle()
    assert place.shape("taken") == place.shape("plain")
    assert place.rows("taken", "alembic_version") == place.rows("plain", "alembic_version")
    assert (taken.tenant.status.value, taken.tenant.revision) == ("active", "r3")
    assert [step.name for step in taken.steps][-1] in ("create", "activate")
    with tenancy.session("taken") as session:
        session.execute(sa.text("INSERT INTO organization (name) VALUES ('x')"))
    assert place.rows("taken", "organization", "name") == [("x",)]
    assert place.rows("plain", "organization", "name") == []
    after = locations(tenancy)
    assert len(after) == 2  # refilled
    assert before[0] not in after
    assert before[1] in after
    assert len({name for name in place.physical() if PREFIX in name}) == (4 if place.on_postgres else 2)
    kept = tenancy.fleet.standby.keep(0)
    assert (kept.ready, kept.removed) == (0, 2)
    assert place.physical() - {name for name in place.physical() if "template" in name} == place.belongings(
        tenancy.list()
    )
    if place.on_postgres:
        with pytest.raises(sa.exc.ProgrammingError), tenancy.session("taken") as session:  # the second wall stands
            session.execute(sa.text('SELECT * FROM "org_plain".organization'))


def test_place_comes_back_when_its_provisioning_fails(place, simple) -> None:
    def refuse(seeding: Seeding) -> None:
        raise ValueError("no")

    tenancy = place.tenancy(simple, seeds=[refuse])
    tenancy.fleet.standby.keep(1)
    with pytest.raises(TenancyError):
        tenancy.provision("acme")
    assert not place.has("acme")
    if place.on_postgres:
        assert len(locations(tenancy)) == 1
    assert tenancy.fleet.standby.keep().ready == 1
    healed = place.tenancy(simple)
    assert healed.migrate("acme").tenant.revision == "r3"
    assert place.has("acme")


def test_place_that_lost_its_file_is_passed_over_and_replaced(place, simple) -> None:
    if place.on_postgres:
        pytest.skip("a place and its record are one there")
    tenancy = place.tenancy(simple)
    tenancy.fleet.standby.keep(2)
    lost, other = locations(tenancy)
    (Path(place.where) / lost).unlink()  # as its taker did, who was killed
    tenancy.provision("acme")
    tenancy.fleet.standby.settle()
    assert not {lost, other} & set(locations(tenancy))
    assert tenancy.fleet.standby.keep().ready == 2
    assert place.has("acme")


class Withdrawing:
    """A pool of which each place is withdrawn after it was taken and before its tenant stands."""

    def __init__(self, pool, tenancy) -> None:
        self.pool, self.tenancy = pool, tenancy

    def promising(self) -> bool:
        return True

    def take(self, *what) -> bool:
        found = self.pool.take(*what)
        with self.tenancy.store.control_engine().begin() as connection:
            connection.execute(sa.text("UPDATE standby SET status = 'making'"))
        return found

    def refill(self) -> None:
        self.pool.refill()


def test_place_that_is_withdrawn_while_it_is_taken_makes_no_tenant(place, simple) -> None:
    if place.on_postgres:
        pytest.skip("the record is locked there")
    tenancy = place.tenancy(simple)
    tenancy.fleet.standby.keep(1)
    tenancy._provisioner.pool = Withdrawing(tenancy.fleet.standby, tenancy)
    made = tenancy.provision("acme")  # the long way
    assert [step.name for step in made.steps] == ["reserve", "create", "migrate", "seed", "verify", "activate"]
    assert place.rows("acme", "organization") == []
    kept = tenancy.fleet.standby.keep()
    assert (kept.ready, kept.removed) == (1, 1)
    assert place.physical() == place.belongings(tenancy.list()) | set(locations(tenancy))


def test_tenant_from_standby_takes_few_statements(place, simple) -> None:
    tenancy = place.tenancy(simple, readiness=["organization"])
    tenancy.fleet.standby.keep(3)
    tenancy.provision("first")
    tenancy.fleet.standby.settle()
    sent: list[str] = []

    def note(connection, cursor, statement, *_) -> None:
        if threading.current_thread() is threading.main_thread():
            sent.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        tenancy.provision("second")
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
    assert len(sent) <= (3 if place.on_postgres else 8), sent
    with tenancy.store.control_engine().begin() as connection:
        connection.execute(sa.text("DELETE FROM audit_head"))
    tenancy.provision("third")  # the end of the trail is found again
    assert tenancy.registry.verify_audit() == []


def test_places_are_migrated_with_the_fleet_and_only_taken_at_the_head(place, simple) -> None:
    tenancy = place.tenancy(simple)
    tenancy.provision("acme")
    tenancy.fleet.standby.keep(2)
    before = locations(tenancy)
    simple.add("r4", 'op.add_column("note", sa.Column("extra", sa.Integer()))')
    newer = place.tenancy(simple)
    newer.provision("bravo")  # the places are behind: made from nothing
    newer.fleet.standby.settle()
    report = newer.fleet.rollout()
    assert report.complete
    assert {where.revision for where in newer.fleet.standby.places()} == {"r4"}
    assert locations(newer) == before
    newer.provision("charlie")
    newer.fleet.standby.settle()
    assert place.shape("charlie") == place.shape("bravo") == place.shape("acme")
    assert before[0] not in locations(newer)


def test_many_who_provision_at_once_each_get_a_place_of_their_own(place, simple) -> None:
    tenancy = place.tenancy(simple)
    tenancy.fleet.standby.keep(3)
    failures: list[TenancyError] = []

    def provision(number: int) -> None:
        try:
            tenancy.provision(f"t{number}")
        except TenancyError as error:
            failures.append(error)

    threads = [threading.Thread(target=provision, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tenancy.fleet.standby.settle()
    assert failures == []
    assert len(tenancy.list()) == 6
    assert len({repr(place.shape(f"t{number}")) for number in range(6)}) == 1
    assert tenancy.fleet.standby.keep().ready == 3


def test_kills_leave_whole_places_and_whole_tenants(place, simple) -> None:
    tenancy = place.tenancy(simple)
    tenancy.initialize()
    moments = [0.002, 0.01, 0.02, 0.03, 0.05, 0.08]
    cases = [(moment, "keep") for moment in moments] + [(moment, f"t{n}") for n, moment in enumerate(moments)]
    place.children(simple, KILLED, cases)
    kept = tenancy.fleet.standby.keep(3)
    assert kept.ready == 3
    for tenant in tenancy.list():
        if tenant.status.value != "active":
            tenancy.migrate(tenant.slug)
    for where in tenancy.fleet.standby.places():
        assert where.status == "ready"
    assert tenancy.fleet.standby.keep(0).ready == 0
    left = {name for name in place.physical() if "template" not in name}
    assert left == place.belongings(tenancy.list())


def test_revisions_that_run_as_python_allow_no_places(place, chain) -> None:
    source = 'op.execute("CREATE TABLE organization (id INTEGER, made_in TEXT)")'
    if not place.on_postgres:
        pytest.skip("no name of a place can be written down there")
    named = """
    here = op.get_bind().execute(sa.text("SELECT current_schema()")).scalar()
    op.execute(f"COMMENT ON TABLE organization IS '{here}'")
    """
    chain.add("r1", source).add("r2", named)
    tenancy = place.tenancy(chain)
    with pytest.raises(StandbyRefused, match="r2"):
        tenancy.fleet.standby.keep(1)
    with pytest.raises(DeclarationError):
        tenancy.fleet.standby.keep(-1)
    tenancy.provision("acme")
    assert locations(tenancy) == []
