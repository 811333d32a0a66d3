"""Statuses, and which may follow which."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tenantry.errors import StatusRefused
from tenantry.tenant import TRANSITIONS, Tenant, TenantStatus

ALLOWED = {
    ("provisioning", "active"),
    ("provisioning", "failed"),
    ("active", "suspended"),
    ("active", "archived"),
    ("failed", "provisioning"),
    ("failed", "deleting"),
    ("suspended", "active"),
    ("suspended", "archived"),
    ("archived", "deleting"),
}


def tenant(status: TenantStatus) -> Tenant:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return Tenant("u", "acme", "Acme", "org_acme", status, at, at)


@pytest.mark.parametrize("wanted", TenantStatus)
@pytest.mark.parametrize("present", TenantStatus)
def test_only_the_designed_transitions_are_allowed(present, wanted) -> None:
    if (present.value, wanted.value) in ALLOWED:
        tenant(present).require(wanted)
    else:
        with pytest.raises(StatusRefused, match=f"cannot become {wanted}: its status is {present}"):
            tenant(present).require(wanted)


def test_every_status_says_what_follows() -> None:
    assert set(TRANSITIONS) == set(TenantStatus)


def test_active_tenant_is_never_removed_in_one_step() -> None:
    assert TenantStatus.DELETING not in TRANSITIONS[TenantStatus.ACTIVE]
