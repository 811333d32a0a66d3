"""The administrator of a tenant, made with a one-time password that is told once.

The password is generated here, kept as an Argon2 hash alone, and must be changed at the first login. No two tenants
ever share one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import literal, select, update
from sqlalchemy.dialects.postgresql import insert

from beak_lims.errors import AdministratorExists
from beak_lims.inputs import parse_email
from beak_lims.models import Group, Laboratory, User, user_group, user_laboratory
from beak_lims.seeds.access import ADMINISTRATOR
from tenantry.iam.passwords import generate_password, hash_password
from tenantry.stores.faults import faults

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from tenantry import Tenancy


def add_administrator(tenancy: Tenancy, slug: str, email: str, *, reset_password: bool = False) -> str:
    """Make an administrator of the tenant, working in its first laboratory; return the one-time password.

    With ``reset_password`` a user of that email who is there gets a new one-time password, is unblocked, and keeps
    everything else.

    :raises InputRejected: the email cannot be used.
    :raises AdministratorExists: a user of that email is there, and no reset was asked for.
    """
    email = parse_email(email)
    location = tenancy.store.describe(tenancy.get(slug).location)
    with faults(location), tenancy.session(slug) as session:
        laboratory_uid = session.scalar(select(Laboratory.uid).order_by(Laboratory.uid).limit(1))
        password = put_administrator(session, email, laboratory_uid)
        if password is None and not reset_password:
            raise AdministratorExists(slug, email)
        if password is None:
            password = _reset_password(session, email)
    return password


def put_administrator(session: Session, email: str, laboratory_uid: str | None) -> str | None:
    """Make the administrator of this email and return the one-time password; None if a user of that email is there."""
    if session.scalar(select(User.uid).where(User.email == email)) is not None:
        return None
    password = generate_password()
    uid = session.scalar(
        insert(User)
        .values(
            first_name="Tenant",
            last_name="Administrator",
            email=email,
            user_name=email,
            hashed_password=hash_password(password),
            must_change_password=True,
            is_superuser=True,
            active_laboratory_uid=laboratory_uid,
        )
        .on_conflict_do_nothing(index_elements=[User.email])
        .returning(User.uid)
    )
    if uid is None:  # another process made the user since the look above
        return None
    groups = select(literal(uid), Group.uid).where(Group.keyword == ADMINISTRATOR)
    session.execute(insert(user_group).from_select(["user_uid", "group_uid"], groups))
    if laboratory_uid is not None:
        session.execute(insert(user_laboratory).values(user_uid=uid, laboratory_uid=laboratory_uid))
    return password


def _reset_password(session: Session, email: str) -> str:
    password = generate_password()
    session.execute(
        update(User)
        .where(User.email == email)
        .values(hashed_password=hash_password(password), must_change_password=True, login_retry=0, is_blocked=False)
    )
    return password
