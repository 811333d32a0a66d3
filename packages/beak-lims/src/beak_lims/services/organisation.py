"""The organisation that a tenant is, its laboratories, and how each of them works.

A laboratory is seen by those who are assigned to it, and by superusers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from beak_lims.context import LabContext
from beak_lims.errors import RecordNotFound, ReferenceRejected
from beak_lims.inputs import parse_name
from beak_lims.laboratories import put_laboratory
from beak_lims.models import (
    Laboratory,
    LaboratorySetting,
    Organization,
    OrganizationSetting,
    User,
    user_laboratory,
)
from beak_lims.models.organization import DEFAULT_SETUP_NAME
from beak_lims.reports.logo import picture_of as check_logo


def organisation(session: Session) -> Organization:
    """The organisation. :raises RecordNotFound: the tenant was never finished."""
    found = session.scalar(select(Organization).where(Organization.setup_name == DEFAULT_SETUP_NAME))
    if found is None:
        raise RecordNotFound("organisation", DEFAULT_SETUP_NAME)
    return found


def organisation_setting(session: Session) -> OrganizationSetting:
    """What holds for every laboratory that does not set it otherwise."""
    own = organisation(session)
    return session.scalars(select(OrganizationSetting).where(OrganizationSetting.organization_uid == own.uid)).one()


def query(context: LabContext) -> Select[Laboratory]:
    """The laboratories that the work's user may see."""
    wanted = select(Laboratory)
    if context.is_superuser or context.user_uid is None:
        return wanted
    mine = select(user_laboratory.c.laboratory_uid).where(user_laboratory.c.user_uid == context.user_uid)
    return wanted.where(Laboratory.uid.in_(mine))


def get_laboratory(session: Session, context: LabContext, uid: str) -> Laboratory:
    """The laboratory. :raises RecordNotFound: there is none that the work's user may see."""
    found = session.scalar(query(context).where(Laboratory.uid == uid))
    if found is None:
        raise RecordNotFound("laboratory", uid)
    return found


def laboratory_setting(session: Session, context: LabContext, uid: str) -> LaboratorySetting:
    """How a laboratory works. :raises RecordNotFound: as above."""
    get_laboratory(session, context, uid)
    return session.scalars(select(LaboratorySetting).where(LaboratorySetting.laboratory_uid == uid)).one()


def add_laboratory(session: Session, context: LabContext, values: Mapping[str, Any]) -> Laboratory:
    """Make a laboratory, with its settings; who makes it is assigned to it. One of that name that is there is left.

    :raises InputRejected: the name cannot be used.
    """
    name = parse_name("Laboratory name", str(values["name"]))
    uid, created = put_laboratory(session, organisation(session).uid, name)
    made = session.get_one(Laboratory, uid)
    if created:
        if context.user_uid is not None:
            user = session.get_one(User, context.user_uid)
            user.laboratories = [*user.laboratories, made]
        change(session, made, {key: value for key, value in values.items() if key != "name"})
    return made


def change(session: Session, row: Any, values: Mapping[str, Any]) -> None:
    """Give a row these values.

    :raises ReferenceRejected: the manager is no user of the laboratory. :raises InputRejected: the logo is no picture.
    """
    if values.get("logo") is not None:
        check_logo(values["logo"])
    manager = values.get("lab_manager_uid")
    if manager is not None:
        assigned = select(user_laboratory).where(
            user_laboratory.c.user_uid == manager, user_laboratory.c.laboratory_uid == row.uid
        )
        if session.execute(assigned).first() is None:
            raise ReferenceRejected("lab_manager_uid")
    for name, value in values.items():
        setattr(row, name, value)
    session.flush()
