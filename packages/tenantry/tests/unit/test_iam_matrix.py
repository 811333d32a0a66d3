"""What each role may do, against the published table."""

from __future__ import annotations

import pytest

from tenantry.iam.matrix import MATRIX, Action, allowed
from tenantry.iam.roles import PlatformRole

# Columns: administrator, provisioner, support, billing.
TABLE = {
    Action.PROVISION: "yy--",
    Action.MIGRATE: "yy--",
    Action.CLEANUP: "yy--",
    Action.MODULES: "yy--",
    Action.ACTIVATE: "yyy-",
    Action.ADD_LABORATORY: "yyy-",
    Action.LIST_TENANTS: "yyyy",
    Action.READ_TENANT: "yyyy",
    Action.USERS: "y---",
    Action.AUDIT: "y---",
    Action.BILLING_READ: "y-yy",
    Action.BILLING_WRITE: "y--y",
}
ROLES = (PlatformRole.ADMINISTRATOR, PlatformRole.PROVISIONER, PlatformRole.SUPPORT, PlatformRole.BILLING)


@pytest.mark.parametrize("action", Action)
def test_each_role_may_do_what_the_table_says(action) -> None:
    assert "".join("y" if allowed([role.value], action) else "-" for role in ROLES) == TABLE[action]


def test_every_action_and_every_role_is_in_the_table() -> None:
    assert set(TABLE) == set(Action)
    assert set(MATRIX) == set(PlatformRole) == set(ROLES)


@pytest.mark.parametrize("roles", [[], ["god"], ["", "ADMINISTRATOR"], ["admin"]])
def test_no_role_and_unknown_ones_may_do_nothing(roles) -> None:
    assert not any(allowed(roles, action) for action in Action)


def test_roles_add_up() -> None:
    assert allowed(["billing", "support"], Action.ACTIVATE)
    assert allowed(["billing", "support"], Action.BILLING_WRITE)
    assert not allowed(["billing", "support"], Action.PROVISION)


def test_the_table_cannot_be_changed_while_it_is_used() -> None:
    with pytest.raises(TypeError):
        MATRIX[PlatformRole.BILLING] = frozenset(Action)  # type: ignore[index]
