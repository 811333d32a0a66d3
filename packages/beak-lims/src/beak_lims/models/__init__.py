"""The tables of one tenant as SQLAlchemy models, their names unqualified: the search_path says whose they are."""

from __future__ import annotations

from beak_lims.models.base import Base, LabRecord, Record
from beak_lims.models.department import Department
from beak_lims.models.laboratory import Laboratory, LaboratorySetting
from beak_lims.models.organization import Organization, OrganizationSetting
from beak_lims.models.user import Group, Permission, User, group_permission, user_group, user_laboratory

metadata = Base.metadata

__all__ = [
    "Base",
    "Department",
    "Group",
    "LabRecord",
    "Laboratory",
    "LaboratorySetting",
    "Organization",
    "OrganizationSetting",
    "Permission",
    "Record",
    "User",
    "group_permission",
    "metadata",
    "user_group",
    "user_laboratory",
]
