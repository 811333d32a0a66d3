"""Laboratories are made once by name, and two tenants never meet, whatever their names.

Two tenants are made once for all tests here; a laboratory that a test adds stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import pytest
import sqlalchemy as sa
from sqlalchemy import func, select
from sqlalchemy.exc import ProgrammingError

from beak_lims.errors import InputRejected, OrganizationNotFound
from beak_lims.laboratories import add_laboratory
from beak_lims.models import Laboratory, LaboratorySetting, Organization, User
from beak_lims.settings import Settings
from beak_lims.tenancy import declare
from tenantry import Tenancy


@pytest.fixture(scope="module")
def url(databases: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    with databases() as url:
        yield url


@pytest.fixture(scope="module")
def tenants(url: str) -> Iterator[Tenancy]:
    """Two tenants alike in everything but their slugs."""
    tenancy = declare(Settings(_env_file=None, BEAK_DATABASE_URL=url))
    for slug in ("one", "two"):
        tenancy.provision(
            slug, name="Same Labs", admin_email="same@lab.example", options={"initial_lab_name": "Main Lab"}
        )
    yield tenancy
    tenancy.close()


def names(tenancy: Tenancy, slug: str) -> list[str]:
    with tenancy.session(slug) as session:
        return list(session.scalars(select(Laboratory.name).order_by(Laboratory.name)))


def test_a_laboratory_is_added_once_with_its_settings(tenants: Tenancy) -> None:
    first = add_laboratory(tenants, "one", " Second Lab ")
    again = add_laboratory(tenants, "one", "Second Lab", "beak")
    assert (first.created, again.created) == (True, False)
    assert first.laboratory_uid == again.laboratory_uid
    assert (first.tenant_slug, first.schema_name, first.laboratory_name) == ("one", "org_one", "Second Lab")
    with tenants.session("one") as session:
        assert session.scalar(select(Organization.uid)) == first.organization_uid
        settings = select(func.count()).where(LaboratorySetting.laboratory_uid == first.laboratory_uid)
        assert session.scalar(settings) == 1


def test_settings_that_are_missing_are_made_for_a_laboratory_that_is_there(tenants: Tenancy) -> None:
    with tenants.session("one") as session:
        session.execute(sa.delete(LaboratorySetting))
    there = add_laboratory(tenants, "one", "Main Lab")
    assert there.created is False
    with tenants.session("one") as session:
        assert session.scalars(select(LaboratorySetting.laboratory_uid)).all() == [there.laboratory_uid]


def test_racing_calls_make_one_laboratory(tenants: Tenancy) -> None:
    with ThreadPoolExecutor(8) as threads:
        added = list(threads.map(lambda _: add_laboratory(tenants, "one", "Raced"), range(8)))
    assert sum(laboratory.created for laboratory in added) == 1
    assert len({laboratory.laboratory_uid for laboratory in added}) == 1
    assert names(tenants, "one").count("Raced") == 1


def test_unknown_organisation_and_bad_name_are_refused_and_nothing_is_added(tenants: Tenancy) -> None:
    before = names(tenants, "one")
    with pytest.raises(OrganizationNotFound, match="Organization with setup_name='other' not found in tenant 'one'"):
        add_laboratory(tenants, "one", "Lab", "other")
    with pytest.raises(InputRejected):
        add_laboratory(tenants, "one", "\0")
    assert names(tenants, "one") == before


def test_two_tenants_with_the_same_names_do_not_meet(tenants: Tenancy) -> None:
    add_laboratory(tenants, "one", "Dato Laboratory 2")
    with tenants.session("one") as session:
        session.scalars(select(User)).one().first_name = "Changed"
    assert "Dato Laboratory 2" in names(tenants, "one")
    assert names(tenants, "two") == ["Main Lab"]
    with tenants.session("one") as one, tenants.session("two") as two:
        mine, other = one.scalars(select(User)).one(), two.scalars(select(User)).one()
        assert (mine.email, mine.user_name) == (other.email, other.user_name)
        assert mine.uid != other.uid
        assert mine.hashed_password != other.hashed_password
        assert (mine.first_name, other.first_name) == ("Changed", "Tenant")


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM org_two.laboratory",
        'UPDATE org_two."user" SET is_superuser = true',
        "SELECT * FROM platform.tenant",
        "SELECT * FROM platform.platform_user",
        "CREATE TABLE anything (x int)",
    ],
)
def test_raw_sql_that_leaves_the_tenant_is_refused_by_the_database(tenants: Tenancy, statement: str) -> None:
    with pytest.raises(ProgrammingError, match="permission denied"), tenants.session("one") as session:
        session.execute(sa.text(statement))
    assert names(tenants, "two") == ["Main Lab"]


def test_organisations_share_the_connections_to_the_database(tenants: Tenancy) -> None:
    backends = set()
    for slug in ("one", "two") * 3:
        with tenants.session(slug) as session:
            backends.add(session.scalar(select(func.pg_backend_pid())))
            assert session.scalar(select(func.current_schema())) == f"org_{slug}"
    assert len(backends) == 1  # one after the other, so one connection is enough


def test_a_table_that_a_tenant_lacks_is_never_read_from_elsewhere(tenants: Tenancy, url: str) -> None:
    tenants.provision("lacking", name="Lacking")
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as owner:
        owner.execute(sa.text("CREATE TABLE public.laboratory AS SELECT * FROM org_two.laboratory"))
        owner.execute(sa.text("GRANT ALL ON public.laboratory TO PUBLIC"))
        owner.execute(sa.text("DROP TABLE org_lacking.laboratory CASCADE"))
    engine.dispose()
    with pytest.raises(ProgrammingError, match="does not exist"):
        names(tenants, "lacking")
    with pytest.raises(ProgrammingError, match="does not exist"), tenants.session("lacking") as session:
        session.execute(sa.insert(Laboratory).values(name="Astray"))
