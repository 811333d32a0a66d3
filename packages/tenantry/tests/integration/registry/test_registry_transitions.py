"""Which status may follow which, enforced by the database's rows."""

from __future__ import annotations

import itertools

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenantry.errors import StatusRefused
from tenantry.registry.registry import sources
from tenantry.tenant import TRANSITIONS, TenantStatus

PAIRS = list(itertools.product(TenantStatus, TenantStatus))


def put(plane, tenant, status):
    """Bring a record into a status, past the rules."""
    table = plane.tables.tenant
    with plane.store.control_engine().begin() as connection:
        connection.execute(sa.update(table).where(table.c.uid == tenant.uid).values(status=status.value))


@pytest.mark.parametrize("change", ["set_status", "open_operation"])
def test_every_pair_of_statuses_is_allowed_or_refused_as_declared(plane, change) -> None:
    tenant = plane.reserve("acme").tenant

    def attempt(wanted):
        if change == "set_status":
            assert plane.registry.set_status(tenant, wanted) == plane.registry.get("acme")
        else:
            plane.registry.open_operation(tenant, "work", status=wanted)

    for before, wanted in PAIRS:
        put(plane, tenant, before)
        if wanted in TRANSITIONS[before]:
            attempt(wanted)
            assert plane.registry.get("acme").status is wanted
        else:
            with pytest.raises(StatusRefused) as raised:
                attempt(wanted)
            assert raised.value.args == ("acme", before.value, wanted.value)
            assert plane.registry.get("acme").status is before


def test_activation_follows_only_provisioning_suspended_and_active(plane) -> None:
    tenant = plane.reserve("acme").tenant
    for before in TenantStatus:
        operation = plane.registry.open_operation(plane.registry.get("acme"), "activate")
        put(plane, tenant, before)
        if before in (TenantStatus.PROVISIONING, TenantStatus.SUSPENDED, TenantStatus.ACTIVE):
            assert plane.registry.activate(tenant, operation, revision="r").status is TenantStatus.ACTIVE
        else:
            with pytest.raises(StatusRefused):
                plane.registry.activate(tenant, operation, revision="r")
            assert plane.registry.get("acme").status is before


def test_refused_status_is_not_audited(plane) -> None:
    tenant = plane.reserve("acme").tenant
    with pytest.raises(StatusRefused):
        plane.registry.set_status(tenant, TenantStatus.ARCHIVED)
    assert list(plane.registry.audit_entries()) == []


def test_sources_are_the_transitions_read_backwards() -> None:
    for before, wanted in PAIRS:
        assert (before in sources(wanted)) == (wanted in TRANSITIONS[before])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wishes=st.lists(st.sampled_from(TenantStatus), max_size=12))
def test_any_sequence_of_wishes_goes_only_along_allowed_edges(plane, wishes) -> None:
    with plane.store.control_engine().begin() as connection:
        connection.execute(sa.delete(plane.tables.tenant))
    tenant = plane.reserve("acme").tenant
    expected = tenant.status
    for wanted in wishes:
        if wanted in TRANSITIONS[expected]:
            tenant = plane.registry.set_status(tenant, wanted)
            expected = wanted
        else:
            with pytest.raises(StatusRefused):
                plane.registry.set_status(tenant, wanted)
        assert plane.registry.get("acme").status is expected
