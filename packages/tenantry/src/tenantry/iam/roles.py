"""The roles of platform users. What each may do is decided where it is done."""

from __future__ import annotations

from enum import StrEnum


class PlatformRole(StrEnum):
    """A role of the platform; a test compares them with the rows of ``platform_role``."""

    ADMINISTRATOR = "administrator"  # passes every check
    PROVISIONER = "provisioner"  # makes, migrates and cleans up tenants
    SUPPORT = "support"  # activates tenants and adds laboratories
    BILLING = "billing"  # sees tenants and what they owe
