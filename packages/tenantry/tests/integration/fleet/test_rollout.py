"""A revision rolled out to many tenants, on both stores: what is done, what is refused, and what is left behind."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence

import pytest
import sqlalchemy as sa

from tenantry import Tenancy
from tenantry.errors import RolloutEnded, RolloutNotFound, RolloutRunning, TenancyError, TenantNotFound
from tenantry.fleet import locks
from tenantry.fleet import rollout as carrying
from tenantry.fleet.alone import alone
from tenantry.fleet.crew import Result, Verdict
from tenantry.fleet.fleet import WORK
from tenantry.fleet.outcomes import OutcomeStatus, Report, RolloutStatus
from tenantry.fleet.rollout import Watcher
from tenantry.tenant import TenantStatus

# Fails on rows that are twice there, on a column that somebody added by hand, and on an index that is gone.
R4 = """
op.create_index("uq_note_body", "note", ["body"], unique=True)
op.add_column("note", sa.Column("extra", sa.Integer()))
op.drop_index("ix_note_organization", table_name="note")
"""
R4_BACK = """
op.create_index("ix_note_organization", "note", ["organization_id"])
with op.batch_alter_table("note") as table:
    table.drop_column("extra")
op.drop_index("uq_note_body", table_name="note")
"""
PLAIN = 'op.add_column("note", sa.Column("extra", sa.Integer()))'
PLAIN_BACK = 'with op.batch_alter_table("note") as table:\n    table.drop_column("extra")'


class Seen(Watcher):
    """Remembers what it is told, and can do something in the middle."""

    def __init__(self) -> None:
        self.ends: list[Result] = []
        self.waves: list[tuple[int, int]] = []

    def wave(self, number: int, size: int) -> None:
        self.waves.append((number, size))

    def ended(self, result: Result) -> None:
        self.ends.append(result)


def provisioned(place, simple, count: int) -> list[str]:
    tenancy = place.tenancy(simple)
    slugs = [f"t{number:02}" for number in range(count)]
    for slug in slugs:
        tenancy.provision(slug)
    return slugs


def revisions(place, slugs: Sequence[str]) -> dict[str, str | None]:
    """Where the stores stand, by their own version tables."""
    return {slug: place.rows(slug, "alembic_version")[0][0] for slug in slugs}


def ledger(tenancy: Tenancy) -> dict[str, str | None]:
    return {tenant.slug: tenant.revision for tenant in tenancy.list()}


def outcomes(tenancy: Tenancy, report: Report) -> dict[str, OutcomeStatus]:
    assert report.rollout is not None
    return {outcome.slug: outcome.status for outcome in tenancy.fleet.outcomes(report.rollout.uid)}


def test_poisoned_tenants_are_grouped_by_cause_and_the_others_reach_the_head(place, simple) -> None:
    slugs = provisioned(place, simple, 24)
    twice, by_hand, gone = slugs[3:6], slugs[10:12], slugs[20:21]
    for slug in twice:
        place.write(slug, "INSERT INTO note (id, body) VALUES (1, 'same'), (2, 'same')")
    for slug in by_hand:
        place.write(slug, "ALTER TABLE note ADD COLUMN extra INTEGER")
    for slug in gone:
        place.write(slug, "DROP INDEX ix_note_organization")
    shapes = {slug: place.shape(slug) for slug in (*twice, *by_hand, *gone)}
    simple.add("r4", R4, R4_BACK)
    tenancy = place.tenancy(simple)
    report = tenancy.fleet.rollout()
    assert report.rollout is not None
    assert report.rollout.status is RolloutStatus.FAILED
    assert not report.complete
    codes = ["23505", "42701", "42704"] if place.on_postgres else ["SQLITE_CONSTRAINT_UNIQUE", *["SQLITE_ERROR"] * 2]
    objects = ["uq_note_body" if place.on_postgres else "note.body", "extra", "ix_note_organization"]
    assert [(group.sqlstate, group.object, list(group.slugs)) for group in report.failures] == [
        (code, subject, members) for code, subject, members in zip(codes, objects, (twice, by_hand, gone), strict=True)
    ]
    assert str(report.failures[0]).startswith(f"3 tenants: {codes[0]} on {objects[0]} (")
    poisoned = {*twice, *by_hand, *gone}
    stands = {slug: "r3" if slug in poisoned else "r4" for slug in slugs}
    assert revisions(place, slugs) == stands
    assert ledger(tenancy) == stands
    assert {slug: place.shape(slug) for slug in poisoned} == shapes  # nothing of what failed was kept
    for outcome in tenancy.fleet.outcomes(report.rollout.uid, [OutcomeStatus.DONE]):
        assert outcome.seconds is not None
        assert outcome.seconds > 0
        assert outcome.lock_wait is not None
        assert (outcome.base, outcome.revision) == ("r3", "r4")
    for slug in slugs:  # every one of them is served
        with tenancy.session(slug) as session:
            session.execute(sa.text("SELECT count(*) FROM note"))
    for slug in twice:
        place.write(slug, "DELETE FROM note WHERE id = 2")
    for slug in by_hand:
        place.write(slug, "ALTER TABLE note DROP COLUMN extra")
    for slug in gone:
        place.write(slug, "CREATE INDEX ix_note_organization ON note (organization_id)")
    again = tenancy.fleet.rollout(only_failed=True)
    assert again.complete
    assert set(outcomes(tenancy, again)) == poisoned
    assert set(ledger(tenancy).values()) == set(revisions(place, slugs).values()) == {"r4"}


def test_nothing_to_do_is_one_query_and_writes_nothing(place, simple) -> None:
    provisioned(place, simple, 3)
    tenancy = place.tenancy(simple)
    tenancy.registry.check()
    tenancy.head()
    asked: list[str] = []
    sa.event.listen(tenancy.store.control_engine(), "before_cursor_execute", lambda *given: asked.append(given[2]))
    report = tenancy.fleet.rollout()
    assert (report.rollout, report.complete, report.tenants) == (None, True, 3)
    assert len([statement for statement in asked if statement != "BEGIN"]) == 1
    assert tenancy.fleet.rollouts() == []


def test_fleet_goes_down_and_up_again(place, simple) -> None:
    slugs = provisioned(place, simple, 3)
    simple.add("r4", R4, R4_BACK)
    tenancy = place.tenancy(simple)
    before = place.shape("t01")
    assert tenancy.fleet.rollout().complete
    after = place.shape("t01")
    assert after != before
    assert tenancy.fleet.rollout("r3").complete
    assert set(ledger(tenancy).values()) == set(revisions(place, slugs).values()) == {"r3"}
    assert tenancy.fleet.rollout("base").complete
    assert set(ledger(tenancy).values()) == {None}
    assert tenancy.fleet.rollout().complete
    assert {tuple(sorted(place.shape(slug))) for slug in slugs} == {tuple(sorted(after))}
    assert set(revisions(place, slugs).values()) == {"r4"}


def test_canaries_go_first_and_one_that_fails_stops_the_rest(place, simple) -> None:
    slugs = provisioned(place, simple, 8)
    place.write("t04", "ALTER TABLE note ADD COLUMN extra INTEGER")
    simple.add("r4", PLAIN, PLAIN_BACK)
    tenancy = place.tenancy(simple)
    seen = Seen()
    report = tenancy.fleet.rollout(canary=["t04", "t06"], wave_size=3, watcher=seen)
    assert report.rollout is not None
    assert report.rollout.status is RolloutStatus.STOPPED
    assert report.rollout.error is not None
    assert "canary" in report.rollout.error
    assert seen.waves == [(0, 2)]
    expected = dict.fromkeys(slugs, OutcomeStatus.PENDING) | {
        "t04": OutcomeStatus.FAILED,
        "t06": OutcomeStatus.DONE,
    }
    assert outcomes(tenancy, report) == expected
    assert set(revisions(place, slugs).values()) == {"r3", "r4"}
    seen = Seen()
    resumed = tenancy.fleet.resume(watcher=seen)
    assert resumed.rollout is not None
    assert resumed.rollout.uid == report.rollout.uid
    assert resumed.rollout.status is RolloutStatus.FAILED  # the canary is as it was
    assert seen.waves == [(1, 3), (2, 3)]
    assert resumed.rollout.counts == {OutcomeStatus.DONE: 7, OutcomeStatus.FAILED: 1}
    with pytest.raises(TenantNotFound):
        tenancy.fleet.rollout(canary=["t04", "nobody"])


@pytest.mark.parametrize(("budget", "status"), [(1, "stopped"), ("12%", "stopped"), ("50%", "failed"), (2, "failed")])
def test_error_budget_stops_a_rollout_once_it_is_spent(place, simple, budget, status) -> None:
    if not place.on_postgres and budget != 1:
        pytest.skip("the same code on either store")
    slugs = provisioned(place, simple, 9)
    for slug in slugs[:2]:
        place.write(slug, "ALTER TABLE note ADD COLUMN extra INTEGER")
    simple.add("r4", PLAIN, PLAIN_BACK)
    report = place.tenancy(simple).fleet.rollout(jobs=1, max_failures=budget)
    assert report.rollout is not None
    assert report.rollout.status == status
    assert report.rollout.counts[OutcomeStatus.FAILED] == 2
    assert report.rollout.counts.get(OutcomeStatus.PENDING, 0) == (7 if status == "stopped" else 0)


def test_pausing_finishes_what_is_in_hand_and_resume_goes_on(place, simple) -> None:
    slugs = provisioned(place, simple, 9)
    simple.add("r4", PLAIN, PLAIN_BACK)
    tenancy = place.tenancy(simple)
    seen = Seen()
    report = tenancy.fleet.rollout(jobs=2, watcher=seen, stop=lambda: len(seen.ends) >= 3)
    assert report.rollout is not None
    assert report.rollout.status is RolloutStatus.PAUSED
    done = report.rollout.counts[OutcomeStatus.DONE]
    assert 3 <= done <= 5
    assert list(revisions(place, slugs).values()).count("r4") == done
    assert tenancy.fleet.resume(report.rollout.uid[:12]).complete
    assert set(revisions(place, slugs).values()) == {"r4"}
    with pytest.raises(RolloutEnded, match="is done"):
        tenancy.fleet.resume()
    with pytest.raises(RolloutEnded):
        tenancy.fleet.abort()
    with pytest.raises(RolloutNotFound):
        tenancy.fleet.get("ffff")


def test_abort_from_elsewhere_ends_a_rollout_between_two_tenants(place, simple) -> None:
    provisioned(place, simple, 9)
    simple.add("r4", PLAIN, PLAIN_BACK)
    tenancy, other = place.tenancy(simple), place.tenancy(simple)

    class Aborting(Seen):
        def ended(self, result: Result) -> None:
            super().ended(result)
            if len(self.ends) == 3:
                other.fleet.abort()

    report = tenancy.fleet.rollout(jobs=1, watcher=Aborting())
    assert report.rollout is not None
    assert report.rollout.status is RolloutStatus.ABORTED
    assert 3 <= report.rollout.counts[OutcomeStatus.DONE] <= 4
    with pytest.raises(RolloutEnded, match="is aborted"):
        tenancy.fleet.resume()
    assert tenancy.fleet.rollout().complete  # a new one takes the rest


def test_second_rollout_is_refused_while_one_runs(place, simple) -> None:
    provisioned(place, simple, 2)
    simple.add("r4", PLAIN, PLAIN_BACK)
    tenancy, other = place.tenancy(simple), place.tenancy(simple)
    refused: list[str] = []

    class Another(Seen):
        def began(self, uid: str, total: int, notes: Sequence[str]) -> None:
            with pytest.raises(RolloutRunning, match=f"rollout abort {uid}"):
                other.fleet.rollout()
            with pytest.raises(RolloutRunning):
                other.fleet.resume()
            assert not other.fleet.interrupted(other.fleet.get())
            refused.append(uid)

    assert tenancy.fleet.rollout(watcher=Another()).complete
    assert len(refused) == 1


def test_locks_are_found_on_the_first_tenant_and_nothing_of_it_is_kept(place, simple) -> None:
    if not place.on_postgres:
        pytest.skip("there are no locks to be counted")
    provisioned(place, simple, 1)
    simple.add("r4", R4, R4_BACK)
    tenancy = place.tenancy(simple)
    tenant, plan, shape = tenancy.get("t00"), tenancy.planner.plan("r3", "r4"), place.shape("t00")
    profiles = tenancy.fleet._profiles
    seen, found = profiles._glimpse(plan, tenant), profiles._find(plan)
    assert seen is not None
    assert seen.tables == found.tables == (("note", "ACCESS EXCLUSIVE"),)
    assert found.total <= seen.total <= found.total + locks.OWN_LOCKS
    with place.raw("t00") as held:  # one that is in use is not waited for, and one that stands elsewhere not asked
        held.execute(sa.text("SELECT * FROM note"))
        assert profiles._glimpse(plan, tenant) is None
    assert profiles._glimpse(tenancy.planner.plan("r2", "r4"), tenant) is None
    assert place.shape("t00") == shape
    assert (place.rows("t00", "alembic_version"), tenancy.get("t00")) == ([("r3",)], tenant)


def test_rollout_without_a_process_is_seen_and_taken_over(place, simple) -> None:
    provisioned(place, simple, 3)
    simple.add("r4", PLAIN, PLAIN_BACK)
    tenancy = place.tenancy(simple)
    with alone(tenancy.store, WORK):
        dead = tenancy.fleet._book.open("r4", {"jobs": 1, "patience": 0.5}, [(t, 1) for t in tenancy.list()])
    assert tenancy.fleet.interrupted(tenancy.fleet.get())
    assert tenancy.fleet.rollout().complete
    former = tenancy.fleet.get(dead)
    assert former.status is RolloutStatus.STOPPED
    assert former.error is not None
    assert former.error.startswith("Interrupted")


def test_revision_that_this_build_does_not_know_is_reported_and_never_touched(place, simple) -> None:
    provisioned(place, simple, 3)
    simple.add("r4", PLAIN, PLAIN_BACK)
    place.tenancy(simple).migrate("t01")
    simple.remove("r4")
    simple.add("r4b", 'op.add_column("note", sa.Column("other", sa.Integer()))')
    shape = place.shape("t01")
    tenancy = place.tenancy(simple)
    report = tenancy.fleet.rollout()
    assert outcomes(tenancy, report)["t01"] is OutcomeStatus.UNKNOWN
    assert [group.slugs for group in report.failures] == [("t01",)]
    assert "this build does not know" in report.failures[0].error
    assert place.shape("t01") == shape
    assert revisions(place, ["t00", "t01", "t02"]) == {"t00": "r4b", "t01": "r4", "t02": "r4b"}


def test_verify_mends_a_ledger_that_is_wrong(place, simple) -> None:
    slugs = provisioned(place, simple, 4)
    simple.add("r4", PLAIN, PLAIN_BACK)
    tenancy = place.tenancy(simple)
    tenancy.registry.set_revision("t01", "r4")  # says more than is true
    tenancy.registry.set_revision("t02", "r2")  # says less
    report = tenancy.fleet.rollout(verify=True)
    assert report.complete
    assert [note.split(":")[0] for note in report.notes] == ["t01", "t02"]
    assert set(ledger(tenancy).values()) == set(revisions(place, slugs).values()) == {"r4"}
    tenancy.registry.set_revision("t03", "r3")
    assert tenancy.fleet.verify() == ["t03: the ledger said r3, its store is at r4; the ledger was mended."]


def test_ledger_is_not_trusted_to_change_a_store(place, simple) -> None:
    slugs = provisioned(place, simple, 4)
    simple.add("r4", PLAIN, PLAIN_BACK)
    ahead = place.tenancy(simple)
    ahead.migrate("t01")
    ahead.registry.set_revision("t01", "r3")  # as plain Alembic, or a kill, leaves it
    ahead.registry.set_revision("t02", "r2")
    report = place.tenancy(simple).fleet.rollout()
    assert report.complete
    assert set(ledger(ahead).values()) == set(revisions(place, slugs).values()) == {"r4"}


def test_revision_that_reads_rows_runs_as_python_in_processes(place, simple) -> None:
    slugs = provisioned(place, simple, 4)
    for slug in slugs:
        place.write(slug, f"INSERT INTO organization (id, name) VALUES (1, '{slug}')")
    place.write("t02", "INSERT INTO organization (id, name) VALUES (2, 'poison')")
    source = """
    import os
    print("said by a revision")
    for (name,) in op.get_bind().execute(sa.text("SELECT name FROM organization ORDER BY id")).all():
        if name == "poison":
            raise ValueError("no")
        op.execute(f"INSERT INTO note (id, body) VALUES ({os.getpid()}, '{name.upper()}')")
    """
    simple.add("r4", source)
    simple.add("r5", PLAIN, PLAIN_BACK)
    tenancy = place.tenancy(simple)
    report = tenancy.fleet.rollout(jobs=2)
    assert [group.slugs for group in report.failures] == [("t02",)]
    assert "Revision r4 failed" in report.failures[0].error
    assert "ValueError: no." in report.failures[0].error
    assert revisions(place, slugs) == {"t00": "r5", "t01": "r5", "t02": "r3", "t03": "r5"}
    assert place.rows("t00", "note", "body") == [("T00",)]
    assert place.rows("t02", "note") == []
    assert place.rows("t00", "note", "id") != [(os.getpid(),)]


def test_busy_tenant_is_put_off_and_done_at_the_end(place, simple) -> None:
    slugs = provisioned(place, simple, 6)
    simple.add("r4", PLAIN, PLAIN_BACK)
    tenancy = place.tenancy(simple)
    release = threading.Event()
    held = threading.Event()

    def hold() -> None:
        with place.raw("t00") as connection:
            if place.on_postgres:
                connection.exec_driver_sql("LOCK TABLE note")
            else:
                connection.exec_driver_sql("INSERT INTO note (id) VALUES (77)")
            held.set()
            release.wait(20)

    class Releasing(Seen):
        def waiting(self, count: int, seconds: float) -> None:
            assert count == 1
            release.set()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(20)
    seen = Releasing()
    try:
        report = tenancy.fleet.rollout(jobs=2, patience=0.2, watcher=seen)
    finally:
        release.set()
        holder.join()
    assert report.complete
    assert [end.task.tenant.slug for end in seen.ends if end.verdict is Verdict.BUSY] == ["t00"]
    assert seen.ends[-1].task.tenant.slug == "t00"
    assert set(revisions(place, slugs).values()) == {"r4"}
    (first,) = [outcome for outcome in tenancy.fleet.outcomes(report.rollout.uid) if outcome.slug == "t00"]
    assert first.attempts == 2
    assert first.error is None


def test_tenant_that_stays_busy_fails_with_the_reason(place, simple, monkeypatch) -> None:
    provisioned(place, simple, 3)
    simple.add("r4", PLAIN, PLAIN_BACK)
    tenancy = place.tenancy(simple)
    monkeypatch.setattr(carrying, "PAUSES", (0.01, 0.01))
    token = tenancy.registry.open_operation(tenancy.get("t01"), "migrate")
    report = tenancy.fleet.rollout()
    assert outcomes(tenancy, report)["t01"] is OutcomeStatus.FAILED
    assert "another operation has the tenant" in report.failures[0].error.lower()
    assert tenancy.registry.holds(token, tenancy.get("t01"))  # its own to finish
    tenancy.migrate("t01")  # takes it over
    assert ledger(tenancy)["t01"] == "r4"


def test_only_tenants_that_are_served_or_suspended_are_concerned(place, simple) -> None:
    provisioned(place, simple, 5)
    simple.add("r4", PLAIN, PLAIN_BACK)
    tenancy = place.tenancy(simple)
    tenancy.registry.set_status(tenancy.get("t01"), TenantStatus.SUSPENDED)
    tenancy.registry.set_status(tenancy.get("t02"), TenantStatus.ARCHIVED)

    class Meanwhile(Seen):
        def began(self, uid: str, total: int, notes: Sequence[str]) -> None:
            tenancy.registry.set_status(tenancy.get("t03"), TenantStatus.ARCHIVED)
            old = place.tenancy(simple)
            old.provision("t99")
            old.downgrade("t99", "r3")  # as a process of the former release makes one

    report = tenancy.fleet.rollout(watcher=Meanwhile())
    assert outcomes(tenancy, report) == {
        "t00": OutcomeStatus.DONE,
        "t01": OutcomeStatus.DONE,
        "t03": OutcomeStatus.GONE,
        "t04": OutcomeStatus.DONE,
        "t99": OutcomeStatus.DONE,
    }
    assert report.complete
    assert revisions(place, ["t02", "t03"]) == {"t02": "r3", "t03": "r3"}


def test_sessions_are_served_while_a_rollout_runs(place, simple) -> None:
    slugs = provisioned(place, simple, 12)
    simple.add("r4", PLAIN, PLAIN_BACK)
    tenancy = place.tenancy(simple)
    errors: list[Exception] = []
    served = 0
    over = threading.Event()

    def serve() -> None:
        nonlocal served
        while not over.is_set():
            for slug in slugs:
                try:
                    with tenancy.session(slug, write=True) as session:
                        session.execute(sa.text("INSERT INTO organization (name) VALUES ('x')"))
                    served += 1
                except (TenancyError, sa.exc.SQLAlchemyError) as error:
                    errors.append(error)
                    return

    thread = threading.Thread(target=serve)
    thread.start()
    time.sleep(0.05)
    try:
        report = tenancy.fleet.rollout(jobs=2)
    finally:
        over.set()
        thread.join()
    assert errors == []
    assert report.complete
    assert served == sum(len(place.rows(slug, "organization")) for slug in slugs)
