"""The rows every new organisation has: itself, a laboratory, departments, groups and permissions, an administrator.

Runs inside provisioning's transaction. What is there already is found by its natural key and left as it is; one
statement a table, whatever the number of its rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import String, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY, insert

from beak_lims.administrators import put_administrator
from beak_lims.inputs import parse_email, parse_laboratory_name
from beak_lims.laboratories import put_laboratory
from beak_lims.models import Department, Group, Organization, OrganizationSetting, Permission, Record, group_permission
from beak_lims.models.organization import DEFAULT_SETUP_NAME
from beak_lims.seeds.access import ACTIONS_ON, DEPARTMENTS, GROUPS

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.orm import Session

    from tenantry import Seeding

LINK = ("group_uid", "permission_uid")


def seed(seeding: Seeding) -> None:
    """Make the baseline of one tenant. ``options["initial_lab_name"]`` names its first laboratory.

    The administrator's one-time password goes into the receipts and nowhere else. Without an email no administrator is
    made: a password known to several tenants would open them all.
    """
    session, tenant = seeding.session, seeding.tenant
    laboratory = parse_laboratory_name(seeding.options.get("initial_lab_name"), organization=tenant.name)
    organization_uid = _organization(session, tenant.name)
    laboratory_uid, _ = put_laboratory(session, organization_uid, laboratory)
    complete(session)
    if tenant.admin_email is None:
        return
    email = parse_email(tenant.admin_email)
    password = put_administrator(session, email, laboratory_uid)
    if password is not None:
        seeding.receipts["Administrator"] = email
        seeding.receipts["One-time password"] = password


def complete(session: Session) -> None:
    """Add the departments, groups and permissions that are missing."""
    _departments(session)
    _access(session)


def _organization(session: Session, name: str) -> str:
    # Only a taken setup name is passed over. A second organisation of the same name would be an error to hear about.
    made = insert(Organization).values(setup_name=DEFAULT_SETUP_NAME, name=name)
    session.execute(made.on_conflict_do_nothing(index_elements=[Organization.setup_name]))
    uid = session.scalars(select(Organization.uid).where(Organization.setup_name == DEFAULT_SETUP_NAME)).one()
    _add(session, OrganizationSetting, [{"organization_uid": uid}])
    return uid


def _departments(session: Session) -> None:
    _add(session, Department, [{"name": name, "code": code} for name, code in DEPARTMENTS])


def _access(session: Session) -> None:
    """Groups, permissions and their links.

    A link is made only for what is new here, so a permission taken away stays away.
    """
    pairs = [{"action": action, "target": target} for target, actions in ACTIONS_ON.items() for action in actions]
    groups = [{"name": group.name, "keyword": group.keyword, "pages": list(group.pages)} for group in GROUPS]
    new = {*_add(session, Permission, pairs), *_add(session, Group, groups)}
    if not new:
        return
    permissions = {
        (row.action, row.target): row.uid
        for row in session.execute(select(Permission.action, Permission.target, Permission.uid))
    }
    uids = {row.keyword: row.uid for row in session.execute(select(Group.keyword, Group.uid))}
    links = [
        (uids[group.keyword], permissions[action, target])
        for group in GROUPS
        if group.keyword in uids
        for target, actions in group.given.items()
        for action in actions
        if not new.isdisjoint((uids[group.keyword], permissions[action, target]))
    ]
    if not links:
        return
    # Two arrays instead of a row of parameters each: some 300 links go as one statement in a quarter of the time.
    pairs_of = [func.unnest(literal(list(side), ARRAY(String))) for side in zip(*links, strict=True)]
    session.execute(insert(group_permission).from_select(LINK, select(*pairs_of)).on_conflict_do_nothing())


def _add(session: Session, model: type[Record], rows: Sequence[Mapping[str, Any]]) -> Sequence[str]:
    """Insert the rows of which no unique key is there yet; the uids of those that were made now."""
    # The table, not the model: of a table, rows given beside the statement go out as one statement that is compiled
    # once.
    table = cast("Table", model.__table__)
    return session.scalars(insert(table).on_conflict_do_nothing().returning(table.c.uid), rows).all()
