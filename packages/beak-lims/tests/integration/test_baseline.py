"""What a new organisation begins with, and that seeding it again adds nothing and brings nothing back."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
import sqlalchemy as sa
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from beak_lims.administrators import add_administrator
from beak_lims.errors import AdministratorExists
from beak_lims.models import (
    Department,
    Group,
    Laboratory,
    LaboratorySetting,
    Organization,
    OrganizationSetting,
    Permission,
    User,
    metadata,
)
from beak_lims.seeds.access import ACTIONS_ON, GROUPS
from beak_lims.seeds.baseline import seed
from beak_lims.settings import Settings
from beak_lims.tenancy import declare
from tenantry import Seeding, Tenancy
from tenantry.iam.passwords import verify_password

EMAIL = "admin@one.example"


def counts(session: Session) -> dict[str, int]:
    return {
        name: session.scalar(select(func.count()).select_from(table)) or 0 for name, table in metadata.tables.items()
    }


@pytest.fixture(scope="module")
def url(databases: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    with databases() as url:
        yield url


@pytest.fixture(scope="module")
def shared(url: str) -> Iterator[Tenancy]:
    """A tenancy with the tenant `one`, which has an administrator, for tests that undo what they do to it."""
    tenancy = declare(Settings(_env_file=None, BEAK_DATABASE_URL=url))
    tenancy.provision("one", name="One", admin_email=EMAIL, options={"initial_lab_name": "First"})
    yield tenancy
    tenancy.close()


def seed_again(tenancy: Tenancy, session: Session, **options: str) -> dict[str, str]:
    seeding = Seeding(session, tenancy.get("one"), options)
    seed(seeding)
    return seeding.receipts


def test_a_new_tenant_is_an_organisation_with_one_laboratory(tenancy: Tenancy) -> None:
    tenancy.provision("one", name="Lab One")
    with tenancy.session("one") as session:
        organization = session.scalars(select(Organization)).one()
        assert (organization.setup_name, organization.name) == ("beak", "Lab One")
        laboratory = session.scalars(select(Laboratory)).one()
        assert (laboratory.name, laboratory.organization_uid) == ("Lab One Main Lab", organization.uid)
        assert session.scalars(select(OrganizationSetting.organization_uid)).all() == [organization.uid]
        setting = session.scalars(select(LaboratorySetting)).one()
        assert setting.laboratory_uid == laboratory.uid
        assert (setting.sticker_copies, setting.default_tat_minutes) == (2, 1440)
        assert setting.allow_self_verification is False
        assert session.scalar(select(func.count()).select_from(Department)) == 11


def test_groups_have_the_permissions_they_are_given(shared: Tenancy) -> None:
    with shared.session("one") as session:
        assert session.scalar(select(func.count()).select_from(Permission)) == sum(map(len, ACTIONS_ON.values()))
        found = {
            group.keyword: {(permission.target, permission.action) for permission in group.permissions}
            for group in session.scalars(select(Group))
        }
    assert found == {group.keyword: {(t, a) for t, given in group.given.items() for a in given} for group in GROUPS}


def test_administrator_gets_a_one_time_password_that_is_kept_nowhere(
    tenancy: Tenancy, owner: sa.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        provisioned = tenancy.provision("one", name="One", admin_email=EMAIL)
    password = provisioned.receipts["One-time password"]
    with tenancy.session("one") as session:
        user = session.scalars(select(User)).one()
        assert (user.email, user.user_name, user.must_change_password, user.is_active) == (EMAIL, EMAIL, True, True)
        assert user.hashed_password.startswith("$argon2id$")
        assert verify_password(user.hashed_password, password)
        assert [group.keyword for group in user.groups] == ["ADMINISTRATOR"]
        assert [laboratory.uid for laboratory in user.laboratories] == [user.active_laboratory_uid]
    assert password not in caplog.text
    assert password not in repr(provisioned)
    assert password not in everything(owner)


def everything(owner: sa.Connection) -> str:
    """Every row of every table of the database as text."""
    inspector = sa.inspect(owner)
    return json.dumps(
        [
            [row[0] for row in owner.execute(sa.text(f'SELECT t::text FROM "{schema}"."{table}" t'))]
            for schema in ("platform", "org_one")
            for table in inspector.get_table_names(schema)
        ]
    )


def test_two_tenants_never_share_a_password(tenancy: Tenancy) -> None:
    made = [
        tenancy.provision(slug, name=slug, admin_email=EMAIL).receipts["One-time password"] for slug in ("one", "two")
    ]
    assert made[0] != made[1]


def test_without_an_email_no_one_can_log_in_until_an_administrator_is_added(tenancy: Tenancy) -> None:
    provisioned = tenancy.provision("one", name="One")
    assert provisioned.receipts == {}
    with tenancy.session("one") as session:
        assert session.scalars(select(User)).all() == []
    password = add_administrator(tenancy, "one", EMAIL)
    with tenancy.session("one") as session:
        user = session.scalars(select(User)).one()
        assert verify_password(user.hashed_password, password)
        assert user.active_laboratory_uid is not None


def test_reset_gives_a_new_password_and_lifts_the_block(shared: Tenancy) -> None:
    first = add_administrator(shared, "one", EMAIL, reset_password=True)
    with shared.session("one") as session:
        user = session.scalars(select(User)).one()
        user.is_blocked, user.login_retry, user.must_change_password = True, 5, False
    with pytest.raises(AdministratorExists):
        add_administrator(shared, "one", EMAIL)
    second = add_administrator(shared, "one", EMAIL.upper(), reset_password=True)
    assert second != first
    with shared.session("one") as session:
        user = session.scalars(select(User)).one()
        assert (user.is_blocked, user.login_retry, user.must_change_password) == (False, 0, True)
        assert verify_password(user.hashed_password, second)
        assert not verify_password(user.hashed_password, first)


def test_seeding_again_adds_nothing(shared: Tenancy) -> None:
    with shared.session("one") as session:
        before = counts(session)
        assert seed_again(shared, session, initial_lab_name="First") == {}
        assert counts(session) == before


def test_seeding_again_does_not_bring_back_what_an_organisation_took_away_or_renamed(shared: Tenancy) -> None:
    with shared.session("one") as session:
        guest = session.scalars(select(Group).where(Group.keyword == "GUEST")).one()
        guest.permissions.clear()
        guest.name = "VISITOR"
        session.scalars(select(Department).where(Department.code == "CHEM")).one().name = "Biochemistry"
        session.scalars(select(Organization)).one().name = "One Ltd"
        session.flush()
        before = counts(session)
        seed_again(shared, session, initial_lab_name="First")
        session.expire_all()
        assert counts(session) == before
        assert guest.permissions == []
        assert session.scalars(select(Organization.name)).all() == ["One Ltd"]
        session.rollback()


def test_seeding_again_brings_what_a_later_release_adds(shared: Tenancy) -> None:
    with shared.session("one") as session:
        before = counts(session)
        session.execute(sa.delete(Permission).where(Permission.target == "ANALYTICS"))  # as if it were new
        session.flush()
        seed_again(shared, session, initial_lab_name="First")
        assert counts(session) == before
        session.rollback()


def test_seeding_takes_one_statement_a_table_whatever_the_number_of_rows(tenancy: Tenancy) -> None:
    sent: list[str] = []

    def note(*arguments: object) -> None:
        sent.append(str(arguments[2]))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        tenancy.provision("one", name="One", admin_email=EMAIL)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
    inserts = [text for text in sent if text.startswith("INSERT INTO") and "platform." not in text]
    tables = [text.split()[2] for text in inserts]
    assert len(tables) == len(set(tables)), tables
