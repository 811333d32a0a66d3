"""A rollout killed at random moments: every tenant is whole all the time, and the next run finishes the rest."""

from __future__ import annotations

import random

import pytest

from tenantry.fleet.outcomes import OutcomeStatus, RolloutStatus

TENANTS = 10
PLAIN = 'op.add_column("note", sa.Column("extra", sa.Integer()))\nop.create_index("ix_extra", "note", ["extra"])'
PLAIN_BACK = (
    'op.drop_index("ix_extra", table_name="note")\nwith op.batch_alter_table("note") as table:\n'
    '    table.drop_column("extra")'
)
WORK = """
import time
from tenantry.fleet.outcomes import OutcomeStatus, RolloutStatus

def whole(tenancy):
    # What the version table says is what the tables are, and every row is there.
    stands = {}
    for tenant in tenancy.list():
        with tenancy.store.engine(tenant).connect() as connection:
            inspector = sa.inspect(connection)
            extra = "extra" in {column["name"] for column in inspector.get_columns("note")}
            indexed = "ix_extra" in {index["name"] for index in inspector.get_indexes("note")}
            version = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one()
            rows = connection.execute(sa.text("SELECT count(*) FROM note")).scalar_one()
        assert (extra, indexed, rows) == (version == "r4", version == "r4", 3), (tenant.slug, extra, indexed, version)
        if tenancy.store.kind == "schema":
            assert tenant.revision == version, (tenant.slug, tenant.revision, version)
        stands[tenant.slug] = version
    for rollout in tenancy.fleet.rollouts(1):
        for outcome in tenancy.fleet.outcomes(rollout.uid, [OutcomeStatus.DONE]):
            assert stands[outcome.slug] == rollout.target, (outcome.slug, stands[outcome.slug], rollout.target)

def work(tenancy, case):
    target, moment = case
    whole(tenancy)
    def end():
        time.sleep(moment)
        os.kill(os.getpid(), signal.SIGKILL)
    if moment:
        threading.Thread(target=end, daemon=True).start()
    unfinished = [r for r in tenancy.fleet.rollouts(1) if r.status is RolloutStatus.RUNNING and r.target == target]
    # The one before may still be carried out by the server, to its end: it holds the lock until then.
    for attempt in range(100):
        try:
            report = tenancy.fleet.resume() if unfinished else tenancy.fleet.rollout(target, jobs=3)
            return report.rollout.status if report.rollout else "nothing"
        except RolloutRunning:
            time.sleep(0.02)
    return "busy"
"""


@pytest.mark.parametrize("kills", [12, pytest.param(50, marks=pytest.mark.slow)])
def test_kills_leave_whole_tenants_and_resume_finishes(place, simple, kills) -> None:
    tenancy = place.tenancy(simple)
    for number in range(TENANTS):
        tenancy.provision(f"t{number:02}")
        place.write(f"t{number:02}", "INSERT INTO note (id, body) VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    simple.add("r4", PLAIN, PLAIN_BACK)
    tenancy = place.tenancy(simple)
    assert tenancy.fleet.rollout().complete  # both ways are compiled, so that a kill meets the work itself
    assert tenancy.fleet.rollout("r3").complete
    tenancy.close()
    rng = random.Random(place.kind)
    cases: list[tuple[str, float]] = []
    for _ in range(kills):
        target = cases[-1][0] if cases and rng.random() < 0.5 else rng.choice(["r3", "r4"])
        cases.append((target, rng.uniform(0.02, 0.12)))
    outcomes = place.children(simple, WORK, [*cases, ("r4", 0.0), ("r4", 0.0)])
    killed = [outcome for outcome in outcomes if place.killed(outcome)]
    told = [outcome[1] for outcome in outcomes if not place.killed(outcome)]
    assert killed
    assert set(told) <= {"done", "nothing"}, told
    assert told[-1] in ("nothing", "done")
    final = place.tenancy(simple)
    assert {tenant.revision for tenant in final.list()} == {"r4"}
    assert final.fleet.verify() == []
    assert len({repr(place.shape(f"t{number:02}")) for number in range(TENANTS)}) == 1
    latest = final.fleet.get()
    assert latest.status is RolloutStatus.DONE
    assert set(latest.counts) == {OutcomeStatus.DONE}
