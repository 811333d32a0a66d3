"""Killed at fifty random moments, a restore, an archive and a rename each end whole, and no row is lost."""

from __future__ import annotations

import random

import pytest

from tenantry.errors import StatusRefused, TenantExists, TenantNotFound
from tenantry.tenant import TenantStatus

MOMENTS = 50
ROWS = 3_000
WORK = """
import random, time
def work(tenancy, case):
    operation, slug, delay = case
    tenancy._archives = ARCHIVES
    tenancy.head()  # what a process loads at its first work is loaded before the clock starts
    def die():
        time.sleep(delay)
        os.kill(os.getpid(), 9)
    threading.Thread(target=die).start()
    if operation == "restore":
        tenancy.archive.restore(PATH, slug=slug)
    elif operation == "rename":
        tenancy.archive.rename(slug, slug + "-new")
    else:
        tenancy.archive.archive(slug)
    time.sleep(1)
"""


@pytest.mark.slow
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("operation", ["restore", "archive", "rename"])
def test_killed_at_random_moments_and_finished(place, simple, tmp_path, operation) -> None:
    tenancy = place.tenancy(simple, archives=tmp_path / "archives")
    tenancy.provision("acme")
    place.write(
        "acme",
        *(f"INSERT INTO organization (id, name) VALUES ({n}, '{'x' * 70}')" for n in range(ROWS)),
        *(f"INSERT INTO note (id, organization_id, body) VALUES ({n}, {n}, 'note')" for n in range(0, ROWS, 3)),
    )
    expected = place.everything("acme")
    saved = tenancy.archive.backup("acme", to=tmp_path / "b")
    chance = random.Random(operation)
    cases = []
    for number in range(MOMENTS):
        slug = f"t{number}"
        if operation != "restore":
            tenancy.archive.restore(saved.path, slug=slug)
        cases.append([operation, slug, chance.uniform(0.0, 0.25)])
    source = WORK.replace("PATH", repr(str(saved.path))).replace("ARCHIVES", repr(str(tmp_path / "archives")))
    outcomes = []
    for start in range(0, MOMENTS, 10):  # a runner of children has a limit of time
        outcomes += place.children(simple, source, cases[start : start + 10])
    assert all(place.killed(outcome) for outcome in outcomes)
    for _, slug, _ in cases:
        now = slug
        try:
            if operation == "restore":
                tenancy.archive.restore(saved.path, slug=slug)
            elif operation == "rename":
                now = f"{slug}-new"
                tenancy.archive.rename(slug, now)
            else:
                tenancy.archive.archive(slug)
        except (TenantExists, TenantNotFound, StatusRefused):
            assert tenancy.registry.find(now) is not None  # all of it was done before the kill
        if operation == "archive":
            assert not tenancy.exists(slug)
            tenancy.archive.unarchive(slug)
        assert tenancy.get(now).status is TenantStatus.ACTIVE
        assert place.everything(now) == expected
    assert place.physical() == place.belongings(tenancy.list())
    assert {finding.kind for finding in tenancy.fleet.doctor()} <= {"setting"}
    assert [one for one in tenancy.registry.operations(limit=1_000) if one.status == "running"] == []
