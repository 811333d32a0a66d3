"""The revisions make what the models say, go back, and leave the platform's own chain usable without any revision."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from beak_lims.models import metadata
from beak_lims.settings import Settings
from beak_lims.tenancy import declare
from tenantry import Tenancy

OPTIONS = {"compare_type": True, "compare_server_default": True}


@pytest.fixture(scope="module")
def url(databases: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    with databases() as url:
        yield url


@pytest.fixture(scope="module")
def tenancy(url: str) -> Iterator[Tenancy]:
    """A tenancy with the tenant `one`; whatever a test does to it, it leaves it at the head."""
    tenancy = declare(Settings(_env_file=None, BEAK_DATABASE_URL=url))
    tenancy.provision("one", name="One")
    yield tenancy
    tenancy.close()


@pytest.fixture
def owner(url: str, tenancy: Tenancy) -> Iterator[sa.Connection]:
    """A connection beside the tenancy's, of the user who owns everything."""
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def tables(owner: sa.Connection, schema: str) -> set[str]:
    return set(sa.inspect(owner).get_table_names(schema))


def test_a_new_tenants_tables_equal_the_models(tenancy: Tenancy, owner: sa.Connection) -> None:
    owner.execute(sa.text("SET search_path TO org_one"))
    difference = compare_metadata(MigrationContext.configure(owner, opts=OPTIONS), metadata)
    assert difference == []
    checks = sa.inspect(owner).get_check_constraints("user")
    assert [check["name"] for check in checks] == ["ck_user_email_lower_case"]


def test_every_foreign_key_of_the_models_is_in_the_database(tenancy: Tenancy, owner: sa.Connection) -> None:
    found = {
        (table, key["name"], key["referred_table"], (key["options"] or {}).get("ondelete"))
        for table in metadata.tables
        for key in sa.inspect(owner).get_foreign_keys(table, schema="org_one")
    }
    declared = {
        (table.name, str(key.name), key.referred_table.name, key.ondelete)
        for table in metadata.tables.values()
        for key in table.foreign_key_constraints
    }
    assert found == declared


def test_downgrade_to_base_leaves_no_table_and_upgrade_makes_them_again(tenancy: Tenancy, owner: sa.Connection) -> None:
    before = tables(owner, "org_one")
    assert before == {*metadata.tables, "alembic_version"}
    tenancy.downgrade("one", "base")
    assert tables(owner, "org_one") == {"alembic_version"}
    assert tenancy.current("one") is None
    tenancy.migrate("one")
    assert tables(owner, "org_one") == before
    assert tenancy.current("one") == tenancy.head()


def test_platform_chain_without_a_revision_is_no_obstacle(tenancy: Tenancy) -> None:
    assert tenancy.current_platform() is None
    assert list(tenancy.history(scope="platform")) == []
    assert tenancy.initialize() is False  # nothing was left to do


def test_tenants_tables_are_never_made_in_the_platforms_schema(tenancy: Tenancy, owner: sa.Connection) -> None:
    assert not tables(owner, "platform") & set(metadata.tables)
    assert tables(owner, "public") == set()
