"""What the owner of the tenants must be allowed, what is said when it is not, and that no superuser is needed."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa

from tenantry import Migrations, PostgresSchemas, Tenancy
from tenantry.errors import PermissionMissing


@pytest.fixture
def user(postgres_url):
    """Make database users with just these rights; they go with the test."""
    made = []
    url = sa.make_url(postgres_url)

    def make(attributes: str = "", *grants: str) -> sa.URL:
        name, password = f"app_{uuid4().hex[:10]}", "p@ss:w/ord%'\""
        with admin(postgres_url) as connection:
            literal = password.replace("'", "''")
            connection.execute(f"CREATE ROLE {name} LOGIN {attributes} PASSWORD '{literal}'")
            for right in grants:
                connection.execute(f'GRANT {right} ON DATABASE "{url.database}" TO {name}')
        made.append(name)
        return url.set(username=name, password=password, drivername="postgresql+psycopg")

    yield make
    with admin(postgres_url) as connection:
        for name in made:
            roles = connection.execute(
                "SELECT DISTINCT m.roleid::regrole::text FROM pg_auth_members m WHERE m.member = %s::regrole", [name]
            ).fetchall()
            connection.execute(f"DROP OWNED BY {name} CASCADE")
            for (role,) in roles:
                connection.execute(f"DROP OWNED BY {role} CASCADE")
                connection.execute(f"DROP ROLE IF EXISTS {role}")
            connection.execute(f"DROP ROLE {name}")


def admin(url: str):
    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True)


def schemas(url: str) -> set[str]:
    with admin(url) as connection:
        query = "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
        return {row[0] for row in connection.execute(query)} - {"public"}


def welcome(seeding) -> None:
    seeding.session.execute(sa.text("INSERT INTO organization (id, name) VALUES (1, 'x')"))


def tenancy_of(url, chain, **options) -> Tenancy:
    store = PostgresSchemas(url, "org_{slug}", **options)
    return Tenancy(store, Migrations(chain.directory), readiness=("organization",), seeds=[welcome])


def test_user_without_the_right_to_create_schemas_is_told_the_grant(user, postgres_url, simple) -> None:
    url = user("CREATEROLE")
    tenancy = tenancy_of(url, simple)
    with pytest.raises(PermissionMissing) as raised:
        tenancy.initialize()
    assert f'GRANT CREATE ON DATABASE "{url.database}" TO "{url.username}";' in str(raised.value)
    assert "p@ss" not in str(raised.value)
    assert schemas(postgres_url) == set()
    with admin(postgres_url) as connection:  # what the message says is enough
        connection.execute(f'GRANT CREATE ON DATABASE "{url.database}" TO "{url.username}";')
    tenancy.initialize()
    assert tenancy.provision("acme").tenant.status == "active"
    tenancy.close()


def test_right_taken_away_later_fails_cleanly_and_can_be_resumed(user, postgres_url, simple) -> None:
    url = user("CREATEROLE", "CREATE")
    tenancy = tenancy_of(url, simple)
    tenancy.initialize()
    tenancy.close()
    with admin(postgres_url) as connection:
        connection.execute(f'REVOKE CREATE ON DATABASE "{url.database}" FROM {url.username}')
    later = tenancy_of(url, simple)
    with pytest.raises(PermissionMissing, match="GRANT CREATE ON DATABASE"):
        later.provision("acme")
    assert later.get("acme").status == "failed"
    assert schemas(postgres_url) == {"platform"}
    with admin(postgres_url) as connection:
        connection.execute(f'GRANT CREATE ON DATABASE "{url.database}" TO {url.username}')
    assert later.migrate("acme").tenant.status == "active"
    later.close()


def test_user_without_the_right_to_create_roles_is_told_both_ways_out(user, postgres_url, simple) -> None:
    url = user("", "CREATE")
    tenancy = tenancy_of(url, simple)
    tenancy.initialize()
    with pytest.raises(PermissionMissing) as raised:
        tenancy.provision("acme")
    text = str(raised.value)
    assert f'ALTER ROLE "{url.username}" CREATEROLE;' in text
    assert "role_per_tenant=False" in text
    assert schemas(postgres_url) == {"platform"}
    assert tenancy.get("acme").status == "failed"
    with admin(postgres_url) as connection:
        connection.execute(f'ALTER ROLE "{url.username}" CREATEROLE;')
    assert tenancy.migrate("acme").tenant.status == "active"
    tenancy.close()


def whole_life(tenancy, postgres_url, simple) -> None:
    """Everything that is done with tenants."""
    tenancy.initialize()
    tenant = tenancy.provision("acme").tenant
    with tenancy.session("acme") as session:
        session.execute(sa.text("INSERT INTO note (id, organization_id, body) VALUES (1, 1, 'x')"))
        assert session.execute(sa.text("SELECT current_user")).scalar() == (tenant.role or tenancy.store.login().user)
    tenancy.downgrade("acme", "r2")
    tenancy.migrate("acme")
    assert tenancy.current("acme") == "r3"
    tenancy.store.remove(tenant)
    assert tenancy.migrate("acme").tenant.status == "active"

    def broken(seeding) -> None:
        raise RuntimeError("no luck")

    tenancy._provisioner.seeds = (broken,)
    with pytest.raises(Exception, match="no luck"):
        tenancy.provision("gone")
    tenancy.cleanup("gone")
    simple.add(
        "r4",
        """
        with op.get_context().autocommit_block():
            op.create_index("ix_body", "note", ["body"], postgresql_concurrently=True)
        op.execute("DO $$ BEGIN PERFORM count(*) FROM note; END $$")
        """,
    )
    tenancy.close()
    tenancy.migrations.reload()
    assert Tenancy(tenancy.store, Migrations(simple.directory)).migrate("acme").tenant.revision == "r4"
    assert schemas(postgres_url) == {"platform", "org_acme"}
    tenancy.close()


def test_user_who_is_no_superuser_can_do_everything(user, postgres_url, simple) -> None:
    url = user("CREATEROLE", "CREATE")
    tenancy = tenancy_of(url, simple)
    whole_life(tenancy, postgres_url, simple)
    tenant = tenancy.get("acme")
    with admin(postgres_url) as connection:
        inherits, own = connection.execute(
            "SELECT pg_has_role(%s, %s, 'USAGE'), has_table_privilege(%s, 'org_acme.note', 'TRIGGER')",
            [url.username, tenant.role, tenant.role],
        ).fetchone()
    version = tenancy.store.login().version
    assert (inherits, own) == (version < 160000, False)
    tenancy.close()


def test_ready_made_fixture_is_such_a_user(non_superuser_url, postgres_url, simple) -> None:
    whole_life(tenancy_of(non_superuser_url, simple), postgres_url, simple)


def test_without_roles_per_tenant_create_is_enough(user, postgres_url, simple) -> None:
    url = user("", "CREATE")
    tenancy = tenancy_of(url, simple, role_per_tenant=False)
    whole_life(tenancy, postgres_url, simple)
    assert tenancy.get("acme").role is None
    tenancy.close()


def test_role_may_be_decided_by_what_the_owner_may(user, simple) -> None:
    url = user("", "CREATE")
    store = PostgresSchemas(url, "org_{slug}", role_per_tenant=lambda: store.may_create_roles())
    tenancy = Tenancy(store, Migrations(simple.directory))
    tenancy.initialize()
    assert tenancy.provision("acme").tenant.role is None
    tenancy.close()


def test_role_that_vanished_is_made_again_by_migrate(user, postgres_url, simple) -> None:
    url = user("CREATEROLE", "CREATE")
    tenancy = tenancy_of(url, simple)
    tenancy.initialize()
    role = tenancy.provision("acme").tenant.role
    with admin(postgres_url) as connection:
        connection.execute(f'DROP OWNED BY "{role}" CASCADE')
        connection.execute(f'DROP ROLE "{role}"')
    tenancy.migrate("acme")
    with tenancy.session("acme") as session:
        session.execute(sa.text("UPDATE organization SET name = 'mine'"))
        with pytest.raises(sa.exc.ProgrammingError, match="permission denied"), session.begin_nested():
            session.execute(sa.text("DELETE FROM alembic_version"))
    tenancy.close()


def test_schema_of_somebody_else_is_neither_adopted_nor_removed(user, postgres_url, simple) -> None:
    url = user("CREATEROLE", "CREATE")
    tenancy = tenancy_of(url, simple)
    tenancy.initialize()
    with admin(postgres_url) as connection:
        connection.execute("CREATE SCHEMA org_acme")
        connection.execute("CREATE TABLE org_acme.precious (id int)")
    with pytest.raises(Exception, match="already exists"):
        tenancy.provision("acme")
    assert tenancy.list() == []
    assert "org_acme" in schemas(postgres_url)
    tenancy.close()
