"""Records of tenants: taking a name, changing a record, losing it to another operation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from tenantry.errors import NameRejected, StatusRefused, StoreExists, TenantBusy, TenantExists, TenantNotFound
from tenantry.registry.journal import SUPERSEDED, StepRecord
from tenantry.tenant import TenantStatus

STEPS = (StepRecord("create", 0.25), StepRecord("migrate", 1.5))


def activated(plane, slug="acme"):
    """An active tenant."""
    held = plane.reserve(slug)
    return plane.registry.activate(held.tenant, held.operation_uid, revision="r1")


# -- taking a name


def test_reservation_is_a_provisioning_record_with_a_running_operation(plane) -> None:
    held = plane.reserve(
        "acme",
        name="Ácme & Sons",
        role="org_acme",
        admin_email="a@example.org",
        attributes={"plan": "gold", "labs": [1, 2]},
        options={"seed": True},
    )
    assert plane.registry.get("acme") == held.tenant
    assert held.tenant.status is TenantStatus.PROVISIONING
    assert held.tenant.name == "Ácme & Sons"
    assert held.tenant.attributes == {"plan": "gold", "labs": [1, 2]}
    (operation,) = plane.registry.operations("acme")
    assert (operation.uid, operation.kind, operation.status) == (held.operation_uid, "provision", "running")
    assert operation.options == {"seed": True}
    assert operation.steps == ()
    assert plane.registry.holds(held.operation_uid, held.tenant)
    assert plane.rows("audit") == []


def test_times_are_aware_utc(plane) -> None:
    tenant = activated(plane)
    read = plane.registry.get("acme")
    for moment in (read.created_at, read.updated_at, read.provisioned_at):
        assert moment.utcoffset() == timedelta(0)
        assert abs(datetime.now(UTC) - moment) < timedelta(minutes=1)
    assert read == tenant


def test_time_without_a_zone_is_refused(plane) -> None:
    plan = plane.tables.plan
    row = {"digest": "d", "kind": "k", "target": "t", "body": {}, "created_at": datetime(2026, 1, 1)}  # noqa: DTZ001
    with plane.store.control_engine().connect() as connection, pytest.raises(sa.exc.StatementError, match="no zone"):
        connection.execute(sa.insert(plan), row)


def test_taken_slug_is_refused_with_its_status_and_changes_nothing(plane) -> None:
    plane.reserve("acme")
    before = plane.rows("tenant"), plane.rows("operation")
    with pytest.raises(TenantExists) as raised:
        plane.reserve("acme", location="elsewhere")
    assert raised.value.args == ("acme", "acme", "provisioning")
    assert (plane.rows("tenant"), plane.rows("operation")) == before


def test_slug_that_differs_in_letter_case_only_is_taken(plane) -> None:
    activated(plane, "acme")
    with pytest.raises(TenantExists) as raised:
        plane.reserve("ACME", location="elsewhere")
    assert raised.value.args == ("ACME", "acme", "active")
    assert plane.registry.find("ACME") is None


def test_taken_location_is_refused(plane) -> None:
    plane.reserve("acme", location="shared")
    with pytest.raises(StoreExists) as raised:
        plane.reserve("other", location="shared")
    assert raised.value.args == (plane.store.kind, "shared")
    assert plane.registry.find("other") is None
    assert len(plane.rows("operation")) == 1


def test_reservation_in_the_callers_transaction_is_lost_with_it(plane) -> None:
    with plane.store.control_engine().connect() as connection, connection.begin() as transaction:
        plane.registry.reserve(plane.store.slugs.parse("acme"), name="Acme", location="org_acme", connection=connection)
        transaction.rollback()
    assert plane.registry.list() == []
    assert list(plane.registry.operations()) == []


def test_refused_reservation_leaves_the_callers_transaction_usable(plane) -> None:
    plane.reserve("acme")
    with plane.store.control_engine().begin() as connection:
        with pytest.raises(TenantExists):
            plane.registry.reserve(plane.store.slugs.parse("acme"), name="A", location="x", connection=connection)
        plane.registry.audit("tried", "acme", outcome="refused", connection=connection)
    assert [entry.action for entry in plane.registry.audit_entries()] == ["tried"]


@pytest.mark.parametrize("name", ["nul\0l", "half \ud83d"])
def test_text_that_a_database_cannot_keep_is_refused(plane, name) -> None:
    with pytest.raises(NameRejected):
        plane.reserve("acme", name=name)
    with pytest.raises(NameRejected):
        plane.reserve("acme", admin_email=name)
    assert plane.registry.list() == []


def test_slug_is_free_again_after_its_tenant_is_gone(plane) -> None:
    held = plane.reserve("acme")
    plane.registry.fail(held.tenant, held.operation_uid, step="create", error="no")
    operation = plane.registry.open_operation(held.tenant, "cleanup", status=TenantStatus.DELETING)
    plane.registry.delete(held.tenant, operation)
    again = plane.reserve("acme")
    assert again.tenant.uid != held.tenant.uid


# -- reading


def test_unknown_slug_is_not_found(plane) -> None:
    assert plane.registry.find("nobody") is None
    with pytest.raises(TenantNotFound):
        plane.registry.get("nobody")


def test_list_is_by_slug_and_can_be_of_one_status(plane) -> None:
    for slug in ("zeta", "Mid", "alpha"):
        plane.reserve(slug)
    activated(plane, "beta")
    assert [tenant.slug for tenant in plane.registry.list()] == ["alpha", "beta", "Mid", "zeta"]
    assert [tenant.slug for tenant in plane.registry.list(TenantStatus.ACTIVE)] == ["beta"]
    assert plane.registry.list(TenantStatus.FAILED) == []


# -- ending well


def test_activation_writes_record_steps_operation_and_audit(plane) -> None:
    held = plane.reserve("acme")
    tenant = plane.registry.activate(
        held.tenant, held.operation_uid, revision="9f2c", steps=STEPS, actor="ann", origin="10.0.0.7", details={"n": 1}
    )
    assert tenant == plane.registry.get("acme")
    assert (tenant.status, tenant.revision) == (TenantStatus.ACTIVE, "9f2c")
    assert tenant.provisioned_at is not None
    (operation,) = plane.registry.operations("acme")
    assert (operation.status, operation.error, operation.steps) == ("done", None, STEPS)
    assert operation.finished_at >= operation.started_at
    (entry,) = plane.registry.audit_entries("acme")
    assert (entry.actor, entry.origin, entry.action, entry.outcome, entry.details) == (
        "ann",
        "10.0.0.7",
        "tenant.provision",
        "done",
        {"n": 1},
    )
    assert not plane.registry.holds(held.operation_uid, tenant)


def test_activation_clears_what_failed_before(plane) -> None:
    held = plane.reserve("acme")
    plane.registry.fail(held.tenant, held.operation_uid, step="seed", error="boom")
    operation = plane.registry.open_operation(held.tenant, "migrate", status=TenantStatus.PROVISIONING)
    resumed = plane.registry.get("acme")
    assert (resumed.status, resumed.failed_step) == (TenantStatus.PROVISIONING, "seed")
    tenant = plane.registry.activate(resumed, operation, revision="r1")
    assert tenant == plane.registry.get("acme")
    assert (tenant.failed_step, tenant.error) == (None, None)


def test_activation_joins_the_callers_transaction(plane) -> None:
    held = plane.reserve("acme")
    with plane.store.control_engine().connect() as connection, connection.begin() as transaction:
        plane.registry.activate(held.tenant, held.operation_uid, revision="r", steps=STEPS, connection=connection)
        transaction.rollback()
    assert plane.registry.get("acme") == held.tenant
    assert plane.rows("step") == []
    assert plane.rows("audit") == []
    assert plane.registry.holds(held.operation_uid, held.tenant)


def test_active_tenant_may_be_activated_again(plane) -> None:
    tenant = activated(plane)
    operation = plane.registry.open_operation(tenant, "activate")
    again = plane.registry.activate(tenant, operation, revision="r2", action="tenant.activate")
    assert again.provisioned_at > tenant.provisioned_at
    assert plane.registry.get("acme") == again


def test_activation_takes_few_statements(plane) -> None:
    held = plane.reserve("acme")
    sent = []
    with plane.store.control_engine().begin() as connection:
        sa.event.listen(connection, "before_cursor_execute", lambda *args: sent.append(args[2]))
        plane.registry.activate(held.tenant, held.operation_uid, revision="r", steps=STEPS, connection=connection)
    assert len(sent) <= 6, sent  # the record, the operation, its steps, and the audit trail's row and head


def test_finished_operation_keeps_the_status_and_moves_the_ledger(plane) -> None:
    tenant = activated(plane)
    operation = plane.registry.open_operation(tenant, "migrate", options={"to": "head"})
    plane.registry.finish(tenant, operation, steps=STEPS, revision="r2", action="tenant.migrate")
    now = plane.registry.get("acme")
    assert (now.status, now.revision) == (TenantStatus.ACTIVE, "r2")
    assert plane.registry.operations("acme")[0].status == "done"
    assert plane.registry.audit_entries("acme")[0].action == "tenant.migrate"
    assert not plane.registry.holds(operation, tenant)


# -- ending badly


def test_failure_keeps_step_and_error_on_the_record(plane) -> None:
    held = plane.reserve("acme")
    steps = (StepRecord("create", 0.1), StepRecord("migrate", 0.2, "failed", "boom"))
    assert plane.registry.fail(held.tenant, held.operation_uid, step="migrate", error="boom", steps=steps) is True
    tenant = plane.registry.get("acme")
    assert (tenant.status, tenant.failed_step, tenant.error) == (TenantStatus.FAILED, "migrate", "boom")
    (operation,) = plane.registry.operations("acme")
    assert (operation.status, operation.error, operation.steps) == ("failed", "boom", steps)
    (entry,) = plane.registry.audit_entries()
    assert (entry.outcome, entry.details) == ("failed", {"step": "migrate", "error": "boom"})


def test_failure_of_an_active_tenants_operation_leaves_it_active(plane) -> None:
    tenant = activated(plane)
    operation = plane.registry.open_operation(tenant, "migrate")
    plane.registry.fail(tenant, operation, step="migrate", error="boom", action="tenant.migrate")
    now = plane.registry.get("acme")
    assert (now.status, now.failed_step, now.error) == (TenantStatus.ACTIVE, None, None)
    assert plane.registry.operations("acme")[0].error == "boom"


def test_failed_finish_keeps_the_ledger_and_records_the_error(plane) -> None:
    tenant = activated(plane)
    operation = plane.registry.open_operation(tenant, "downgrade")
    plane.registry.finish(tenant, operation, error="boom", action="tenant.downgrade")
    assert plane.registry.get("acme").revision == "r1"
    assert plane.registry.operations("acme")[0].status == "failed"
    assert plane.registry.audit_entries("acme")[0].outcome == "failed"


def test_stored_errors_hold_no_password_and_are_cut(plane) -> None:
    held = plane.reserve("acme")
    error = "connect to postgresql://bob:s3cr3t@db/x failed\0 \ud800 " + "x" * 5_000
    steps = (StepRecord("migrate", 0.1, "failed", error),)
    plane.registry.fail(held.tenant, held.operation_uid, step="migrate", error=error, steps=steps)
    tenant = plane.registry.get("acme")
    assert len(tenant.error) == 2_000
    assert "postgresql://bob:***@db/x" in tenant.error
    everything = repr([plane.rows(table) for table in ("tenant", "operation", "step", "audit")])
    assert "s3cr3t" not in everything


# -- the fencing token


def test_new_operation_takes_the_tenant_from_the_old_one(plane) -> None:
    held = plane.reserve("acme")
    newer = plane.registry.open_operation(held.tenant, "migrate")
    assert plane.registry.holds(newer, held.tenant)
    before = plane.rows("tenant"), plane.rows("step"), plane.rows("audit")
    with pytest.raises(TenantBusy):
        plane.registry.activate(held.tenant, held.operation_uid, revision="stale", steps=STEPS)
    with pytest.raises(TenantBusy):
        plane.registry.finish(held.tenant, held.operation_uid, revision="stale", action="tenant.migrate")
    assert (plane.rows("tenant"), plane.rows("step"), plane.rows("audit")) == before
    latest, first = plane.registry.operations("acme")
    assert (first.uid, first.status, first.error) == (held.operation_uid, "failed", SUPERSEDED)
    assert (latest.uid, latest.status) == (newer, "running")


def test_failure_of_an_operation_that_lost_its_tenant_leaves_the_record_alone(plane) -> None:
    held = plane.reserve("acme")
    newer = plane.registry.open_operation(held.tenant, "migrate")
    before = plane.rows("tenant")
    assert plane.registry.fail(held.tenant, held.operation_uid, step="migrate", error="late") is False
    assert plane.rows("tenant") == before
    assert plane.registry.holds(newer, held.tenant)
    assert plane.registry.operations("acme")[1].error == SUPERSEDED


def test_locked_row_is_refused_to_an_operation_that_lost_it(plane) -> None:
    held = plane.reserve("acme")
    newer = plane.registry.open_operation(held.tenant, "migrate")
    with plane.store.control_engine().begin() as connection:
        assert plane.registry.lock_row(held.tenant, newer, connection=connection).slug == "acme"
        with pytest.raises(TenantBusy):
            plane.registry.lock_row(held.tenant, held.operation_uid, connection=connection)


def test_locking_the_row_of_a_tenant_that_is_gone_finds_nothing(plane) -> None:
    held = plane.reserve("acme")
    with plane.store.control_engine().begin() as connection:
        connection.execute(sa.delete(plane.tables.tenant))
        for wait in (True, False):
            with pytest.raises(TenantNotFound):
                plane.registry.lock_row(held.tenant, wait=wait, connection=connection)
    assert not plane.registry.holds(held.operation_uid, held.tenant)


@pytest.mark.parametrize("bare", ["schema"], indirect=True)
def test_row_that_another_transaction_holds_is_busy_for_who_does_not_wait(plane) -> None:
    held = plane.reserve("acme")
    engine = plane.store.control_engine()
    with engine.begin() as holder:
        plane.registry.lock_row(held.tenant, connection=holder)
        with engine.begin() as other:
            with pytest.raises(TenantBusy):
                plane.registry.lock_row(held.tenant, wait=False, connection=other)
            assert plane.registry.get("acme", connection=other) == held.tenant  # its transaction goes on
        with pytest.raises(TenantBusy):
            plane.registry.open_operation(held.tenant, "migrate", wait=False)
    assert plane.registry.holds(held.operation_uid, held.tenant)


# -- status, ledger, removal


def test_only_a_deleting_tenant_is_removed_and_its_journal_stays(plane) -> None:
    held = plane.reserve("acme")
    plane.registry.fail(held.tenant, held.operation_uid, step="create", error="no")
    with pytest.raises(StatusRefused) as raised:
        plane.registry.delete(held.tenant)
    assert raised.value.args == ("acme", "failed", "gone")
    operation = plane.registry.open_operation(held.tenant, "cleanup", status=TenantStatus.DELETING)
    with pytest.raises(TenantBusy):
        plane.registry.delete(held.tenant, held.operation_uid)
    plane.registry.delete(held.tenant, operation, steps=STEPS, action="tenant.cleanup")
    assert plane.registry.find("acme") is None
    cleanup, provision = plane.registry.operations("acme")
    assert (cleanup.kind, cleanup.status, cleanup.steps) == ("cleanup", "done", STEPS)
    assert provision.kind == "provision"
    entry = plane.registry.audit_entries("acme")[0]
    assert (entry.action, entry.details) == ("tenant.cleanup", {"location": "org_acme"})
    with pytest.raises(TenantNotFound):
        plane.registry.delete(held.tenant, operation)


def test_removal_without_an_operation_is_audited_too(plane) -> None:
    held = plane.reserve("acme")
    plane.registry.fail(held.tenant, held.operation_uid, step="create", error="no")
    plane.registry.set_status(held.tenant, TenantStatus.DELETING)
    plane.registry.delete(held.tenant)
    assert [entry.action for entry in plane.registry.audit_entries()] == [
        "tenant.delete",
        "tenant.status",
        "tenant.provision",
    ]


def test_ledger_is_written_for_one_tenant_only(plane) -> None:
    activated(plane, "acme")
    activated(plane, "other")
    plane.registry.set_revision("acme", "r9")
    assert [tenant.revision for tenant in plane.registry.list()] == ["r9", "r1"]
    with pytest.raises(TenantNotFound):
        plane.registry.set_revision("nobody", "r9")


def test_refused_operation_opens_nothing(plane) -> None:
    tenant = activated(plane)
    before = plane.rows("tenant"), plane.rows("operation")
    with pytest.raises(StatusRefused) as raised:
        plane.registry.open_operation(tenant, "cleanup", status=TenantStatus.DELETING)
    assert raised.value.args == ("acme", "active", "deleting")
    assert (plane.rows("tenant"), plane.rows("operation")) == before


# -- journal and plans


def test_options_are_those_of_this_tenant_and_kind(plane) -> None:
    held = plane.reserve("acme", options={"initial_lab": "Main"})
    plane.registry.open_operation(held.tenant, "migrate", options={"to": "head"})
    assert plane.registry.options(held.tenant) == {"initial_lab": "Main"}
    assert plane.registry.options(held.tenant, kind="migrate") == {"to": "head"}
    assert plane.registry.options(held.tenant, kind="cleanup") == {}


def test_operations_are_newest_first_and_limited(plane) -> None:
    tenant = activated(plane)
    uids = [plane.registry.open_operation(tenant, "migrate") for _ in range(5)]
    assert [operation.uid for operation in plane.registry.operations("acme", limit=3)] == uids[:1:-1]
    plane.reserve("other")
    assert {operation.slug for operation in plane.registry.operations()} == {"acme", "other"}


def test_plan_is_kept_once(plane) -> None:
    assert plane.registry.load_plan("d1") is None
    plane.registry.save_plan("d1", kind="postgresql", base=None, target="9f2c", body={"statements": ["é", 1, None]})
    plane.registry.save_plan("d1", kind="postgresql", base=None, target="9f2c", body={"statements": []})
    assert plane.registry.load_plan("d1") == {"statements": ["é", 1, None]}
    assert plane.registry.load_plan("d2") is None


def test_registry_shows_no_secret(plane) -> None:
    assert "password" not in repr(plane.registry)
    assert plane.registry.location in repr(plane.registry)
