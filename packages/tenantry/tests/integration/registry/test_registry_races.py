"""Many processes at once: one wins, the others are told, and the records say what happened."""

from __future__ import annotations

from collections import Counter


def test_twenty_processes_that_reserve_one_slug_make_one_record(plane, race) -> None:
    body = """
def work(registry, store, number):
    slug = store.slugs.parse("acme")
    return registry.reserve(slug, name=str(number), location="org_acme").operation_uid
"""
    outcomes = Counter(race(body))
    assert outcomes.pop("TenantExists") == 19
    (winner,) = outcomes
    (tenant,) = plane.registry.list()
    assert plane.registry.holds(winner, tenant)
    assert [operation.uid for operation in plane.registry.operations()] == [winner]


def test_twenty_processes_that_reserve_twenty_slugs_make_them_all(plane, race) -> None:
    body = """
def work(registry, store, number):
    slug = store.slugs.parse(f"tenant{number}")
    return registry.reserve(slug, name="T", location=slug.value).tenant.slug
"""
    assert sorted(race(body)) == sorted(f"tenant{number}" for number in range(20))
    assert len(plane.registry.list()) == 20
    assert len(plane.rows("operation")) == 20


def test_of_twenty_operations_opened_at_once_only_the_last_holds_the_tenant(plane, race) -> None:
    plane.reserve("acme")
    body = """
def work(registry, store, number):
    return registry.open_operation(registry.get("acme"), "migrate")
"""
    tokens = race(body)
    assert len(set(tokens)) == 20
    tenant = plane.registry.get("acme")
    assert sum(plane.registry.holds(token, tenant) for token in tokens) == 1
    running = [operation.uid for operation in plane.registry.operations(limit=50) if operation.status == "running"]
    assert len(running) == 1
    assert plane.registry.holds(running[0], tenant)


def test_of_twenty_activations_with_one_token_exactly_one_counts(plane, race) -> None:
    held = plane.reserve("acme")
    body = f"""
def work(registry, store, number):
    return registry.activate(registry.get("acme"), "{held.operation_uid}", revision=str(number)).revision
"""
    outcomes = Counter(race(body))
    assert outcomes.pop("TenantBusy") == 19
    (winner,) = outcomes
    assert plane.registry.get("acme").revision == winner
    assert len(plane.rows("audit")) == 1


def test_twenty_processes_save_one_plan_and_audit_twenty_times(plane, race) -> None:
    body = """
def work(registry, store, number):
    registry.save_plan("digest", kind="k", base=None, target="t", body={"by": number})
    registry.audit("raced", details={"number": number})
    return registry.load_plan("digest")["by"]
"""
    outcomes = race(body)
    assert len(set(outcomes)) == 1
    entries = plane.registry.audit_entries()
    assert sorted(entry.details["number"] for entry in entries) == list(range(20))
    assert len({entry.sequence for entry in entries}) == 20
