"""What each role may do, as data. The administrator passes every check.

The roles are read anew for every request; here is only what they mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType

from tenantry.iam.roles import PlatformRole


class Action(StrEnum):
    """Something that a platform user may ask for."""

    PROVISION = "provision"  # make a tenant
    MIGRATE = "migrate"
    CLEANUP = "cleanup"  # remove failed tenants
    MODULES = "modules"  # switch a tenant's modules on and off
    ACTIVATE = "activate"  # with force too
    ADD_LABORATORY = "add_laboratory"
    LIST_TENANTS = "list_tenants"
    READ_TENANT = "read_tenant"  # one tenant with its journal
    USERS = "users"  # platform users, their roles and sessions, and the signing keys
    AUDIT = "audit"  # read, verify and export the audit trail
    BILLING_READ = "billing_read"
    BILLING_WRITE = "billing_write"


_EVERYONE = frozenset({Action.LIST_TENANTS, Action.READ_TENANT})

MATRIX: Mapping[PlatformRole, frozenset[Action]] = MappingProxyType(
    {
        PlatformRole.ADMINISTRATOR: frozenset(Action),
        PlatformRole.PROVISIONER: _EVERYONE
        | {
            Action.PROVISION,
            Action.MIGRATE,
            Action.CLEANUP,
            Action.MODULES,
            Action.ACTIVATE,
            Action.ADD_LABORATORY,
        },
        PlatformRole.SUPPORT: _EVERYONE | {Action.ACTIVATE, Action.ADD_LABORATORY, Action.BILLING_READ},
        PlatformRole.BILLING: _EVERYONE | {Action.BILLING_READ, Action.BILLING_WRITE},
    }
)


def allowed(roles: Iterable[str], action: Action) -> bool:
    """Whether any of the roles may do it; a role that is not known here may do nothing."""
    return any(action in MATRIX[PlatformRole(role)] for role in roles if role in MATRIX)
