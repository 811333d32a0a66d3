"""Laboratories of a tenant's organisation: made once by name, each with its row of settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from beak_lims.errors import OrganizationNotFound
from beak_lims.inputs import parse_name
from beak_lims.models import Laboratory, LaboratorySetting, Organization
from beak_lims.models.organization import DEFAULT_SETUP_NAME
from tenantry.stores.faults import faults

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from tenantry import Tenancy


@dataclass(frozen=True)
class AddedLaboratory:
    """A laboratory that is there now, and whether this call made it."""

    tenant_slug: str
    schema_name: str
    organization_uid: str
    laboratory_uid: str
    laboratory_name: str
    created: bool


def add_laboratory(tenancy: Tenancy, slug: str, name: str, setup_name: str = DEFAULT_SETUP_NAME) -> AddedLaboratory:
    """Give the tenant's organisation a laboratory of this name; one that is there already is left as it is.

    :raises InputRejected: a name cannot be used.
    :raises OrganizationNotFound: the tenant has no organisation of that setup name.
    """
    name, setup_name = parse_name("Laboratory name", name), parse_name("Setup name", setup_name)
    tenant = tenancy.get(slug)
    with faults(tenancy.store.describe(tenant.location)), tenancy.session(slug) as session:
        organization_uid = session.scalar(select(Organization.uid).where(Organization.setup_name == setup_name))
        if organization_uid is None:
            raise OrganizationNotFound(slug, setup_name)
        laboratory_uid, created = put_laboratory(session, organization_uid, name)
    return AddedLaboratory(slug, tenant.location, organization_uid, laboratory_uid, name, created)


def put_laboratory(session: Session, organization_uid: str, name: str) -> tuple[str, bool]:
    """The key of the organisation's laboratory of this name, and whether it was made now.

    Its settings are made if they are missing.
    """
    # The unique key decides, not a look beforehand: two calls at once make one laboratory.
    key = [Laboratory.organization_uid, Laboratory.name]
    made = session.scalar(
        insert(Laboratory)
        .values(organization_uid=organization_uid, name=name)
        .on_conflict_do_nothing(index_elements=key)
        .returning(Laboratory.uid)
    )
    uid = (
        made
        or session.scalars(
            select(Laboratory.uid).where(Laboratory.organization_uid == organization_uid, Laboratory.name == name)
        ).one()
    )
    session.execute(
        insert(LaboratorySetting)
        .values(laboratory_uid=uid)
        .on_conflict_do_nothing(index_elements=[LaboratorySetting.laboratory_uid])
    )
    return uid, made is not None
