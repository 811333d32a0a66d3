"""What the database itself refuses a tenant's session, whatever SQL the application sends."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa
from canaries import MIGRATIONS, item, owner
from house import House

LATER = '''"""later"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table("later", sa.Column("id", sa.Integer, primary_key=True), sa.Column("body", sa.Text))
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE SEQUENCE ticket")
        op.execute("CREATE VIEW seen AS SELECT body FROM later")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP VIEW seen")
        op.execute("DROP SEQUENCE ticket")
    op.drop_table("later")
'''


@pytest.fixture
def acme(schemas: House) -> House:
    schemas.provision("acme", "beta")
    return schemas


def refused(house: House, statement: str, slug: str = "acme") -> str:
    with pytest.raises(sa.exc.DBAPIError) as told, house.tenancy.session(slug) as session:
        session.execute(sa.text(statement))
    return str(told.value.orig)


ELSEWHERE = [
    "SELECT * FROM org_beta.canary",
    "SELECT * FROM org_beta.item",
    "INSERT INTO org_beta.item (body) VALUES ('x')",
    "UPDATE org_beta.item SET body = 'x'",
    "DELETE FROM org_beta.canary",
    "TRUNCATE org_beta.item",
    "SELECT nextval('org_beta.item_id_seq')",
    "SELECT * FROM org_beta.alembic_version",
    "SELECT * FROM platform.tenant",
    "UPDATE platform.tenant SET status = 'failed'",
    "SELECT * FROM platform.audit",
    "SELECT * FROM platform.platform_user",
    "COPY org_beta.canary TO STDOUT",
    "CREATE TABLE org_beta.mine (id int)",
    "COMMENT ON TABLE org_beta.canary IS 'x'",
]
STRUCTURE = [
    "CREATE TABLE mine (id int)",
    "CREATE VIEW mine AS SELECT 1",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "ALTER TABLE item ADD COLUMN extra int",
    "DROP TABLE item",
    "CREATE INDEX mine ON item (body)",
    "TRUNCATE item",
    "DROP SCHEMA org_acme CASCADE",
    "CREATE SCHEMA mine",
    "CREATE ROLE mine",
    "CREATE TABLE public.mine (id int)",
]


def test_raw_sql_reaches_no_other_schema(acme: House) -> None:
    for statement in ELSEWHERE:
        told = refused(acme, statement)
        assert "permission denied" in told or "must be owner" in told, statement
    assert acme.bodies("beta") == []
    with acme.tenancy.session("beta") as session:
        assert session.scalars(owner).all() == ["beta"]


def test_tenants_role_changes_no_structure(acme: House) -> None:
    for statement in STRUCTURE:
        told = refused(acme, statement)
        assert "permission denied" in told or "must be owner" in told, statement


def test_tenants_role_hands_nothing_on(acme: House) -> None:
    with acme.tenancy.session("acme") as session:
        session.execute(sa.text("GRANT ALL ON item TO PUBLIC"))  # PostgreSQL only warns
    assert "permission denied" in refused(acme, "SELECT * FROM org_acme.item", "beta")


def test_tenants_role_takes_no_other_role(acme: House) -> None:
    role = acme.tenancy.get("beta").role
    with acme.admin() as admin:  # a superuser may become anyone: the role is what keeps a tenant from it
        assert admin.execute(
            "SELECT count(*) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member WHERE r.rolname LIKE 'org%'"
        ).fetchone() == (0,)
        found = admin.execute(
            "SELECT rolsuper, rolcreaterole, rolcreatedb, rolcanlogin, rolbypassrls FROM pg_roles WHERE rolname = %s",
            [role],
        ).fetchone()
    assert found == (False,) * 5


def test_version_table_is_readable_and_not_writable(acme: House) -> None:
    with acme.tenancy.session("acme") as session:
        assert session.scalar(sa.text("SELECT version_num FROM alembic_version")) == "0001"
    for statement in (
        "UPDATE alembic_version SET version_num = 'x'",
        "DELETE FROM alembic_version",
        "INSERT INTO alembic_version VALUES ('x')",
    ):
        assert "permission denied" in refused(acme, statement)
    assert acme.tenancy.current("acme") == "0001"


def test_version_table_stays_protected_when_it_is_made_anew(acme: House) -> None:
    acme.tenancy.downgrade("acme", "base")
    acme.tenancy.migrate("acme")
    with acme.tenancy.session("acme") as session:
        assert session.scalar(sa.text("SELECT version_num FROM alembic_version")) == "0001"
    assert "permission denied" in refused(acme, "DELETE FROM alembic_version")


def test_tables_of_later_migrations_are_usable_at_once(house: House, tmp_path: Path) -> None:
    house.provision("acme", "beta")
    later = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, later)
    (later / "versions" / "0002_later.py").write_text(LATER)
    tenancy = house.open(migrations=later)
    for slug in ("acme", "beta"):
        assert tenancy.migrate(slug).tenant.revision == "0002"
    tenancy.provision("new")

    for slug in ("acme", "beta", "new"):
        with tenancy.session(slug) as session:
            session.execute(sa.text("INSERT INTO later (body) VALUES (:body)"), {"body": slug})
            assert session.scalars(sa.text("SELECT body FROM later")).all() == [slug]
            if house.kind == "schema":
                assert session.scalar(sa.text("SELECT nextval('ticket')")) == 1
                assert session.scalars(sa.text("SELECT body FROM seen")).all() == [slug]
    if house.kind == "schema":
        assert "permission denied" in refused(house, "SELECT * FROM org_beta.later")
        assert "permission denied" in refused(house, "SELECT nextval('org_beta.ticket')")


def test_owner_who_is_no_superuser_has_the_same_walls(schemas: House, non_superuser_url: str) -> None:
    with schemas.admin() as admin:
        admin.execute("DROP SCHEMA platform CASCADE")
    house = House("schema", non_superuser_url)
    house.open(pool_size=1, max_overflow=0).initialize()
    try:
        house.provision("acme", "beta")
        for slug in ("acme", "beta") * 4:
            with house.tenancy.session(slug) as session:
                assert session.scalars(owner).all() == [slug]
                session.execute(sa.insert(item).values(body=slug))
        assert "permission denied" in refused(house, "SELECT * FROM org_beta.canary")
        assert "permission denied" in refused(house, "SELECT * FROM platform.tenant")
        assert house.bodies("acme") == ["acme"] * 4
    finally:
        house.close()


def test_without_roles_the_search_path_still_routes(schemas: House) -> None:
    tenancy = schemas.open(role_per_tenant=False, pool_size=1, max_overflow=0)
    for slug in ("acme", "beta"):
        assert tenancy.provision(slug).tenant.role is None
    for slug in ("acme", "beta") * 4:
        with tenancy.session(slug) as session:
            assert session.scalars(owner).all() == [slug]
            session.execute(sa.insert(item).values(body=slug))
            assert session.scalar(sa.text("SELECT current_user = session_user"))
    assert schemas.bodies("acme") == ["acme"] * 4


def test_tenants_with_and_without_roles_share_a_pool(schemas: House) -> None:
    """A role that one transaction took does not stay for the next, which has none."""
    schemas.open(role_per_tenant=False).provision("without")
    tenancy = schemas.open(pool_size=1, max_overflow=0)
    tenancy.provision("with")
    for _ in range(3):
        for slug, user in (("with", tenancy.get("with").role), ("without", None)):
            with tenancy.session(slug) as session:
                found = session.execute(sa.text("SELECT owner, nullif(current_user, session_user) FROM canary")).all()
                assert found == [(slug, user)]


# -- SQLite


@pytest.mark.parametrize("write", [False, True])
def test_file_of_another_tenant_is_not_attached(files: House, write: bool) -> None:
    files.provision("acme", "beta")
    beta = Path(files.where) / files.tenancy.get("beta").location
    for _ in range(3):
        with (
            pytest.raises(sa.exc.OperationalError, match="attached"),
            files.tenancy.session("acme", write=write) as session,
        ):
            session.execute(sa.text("ATTACH DATABASE :file AS other"), {"file": str(beta)})
    with pytest.raises(sa.exc.OperationalError), files.tenancy.session("acme") as session:
        session.execute(sa.text("VACUUM INTO :file"), {"file": f"{beta}.copy"})
    assert not Path(f"{beta}.copy").exists()


async def test_file_of_another_tenant_is_not_attached_by_a_task(files: House) -> None:
    files.provision("acme", "beta")
    beta = Path(files.where) / files.tenancy.get("beta").location
    with pytest.raises(sa.exc.OperationalError, match="attached"):
        async with files.tenancy.async_session("acme") as session:
            await session.execute(sa.text("ATTACH DATABASE :file AS other"), {"file": str(beta)})
    await files.aclose()
