"""Everything that is done to a tenant as a whole needs no more than CREATE and CREATEROLE, and works without roles."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tenantry import Migrations, PostgresSchemas, Tenancy


@pytest.mark.parametrize("roles", [True, False])
def test_user_who_is_no_superuser_does_all_of_it(non_superuser_url, simple, tmp_path, roles) -> None:
    store = PostgresSchemas(non_superuser_url, "org_{slug}", role_per_tenant=roles)
    tenancy = Tenancy(store, Migrations(simple.directory), archives=tmp_path / "archives")
    tenancy.initialize()
    try:
        tenancy.provision("acme")
        write(tenancy, "acme", 1)
        saved = tenancy.archive.backup("acme", to=tmp_path / "b")
        tenancy.archive.restore(saved.path, slug="bravo")
        write(tenancy, "bravo", 2)
        tenancy.archive.clone("bravo", "charlie")
        tenancy.archive.rename("charlie", "delta")
        write(tenancy, "delta", 3)
        assert tenancy.get("delta").role == store.role_for(store.parse("delta"))
        tenancy.archive.archive("delta")
        tenancy.archive.unarchive("delta")
        write(tenancy, "delta", 4)
        assert read(tenancy, "delta") == [1, 2, 3, 4]
        assert read(tenancy, "acme") == [1]
        tenancy.migrate("delta")
        tenancy.archive.archive("delta")
        tenancy.archive.delete("delta", confirm="delta")
        assert tenancy.fleet.drifts.report().classes == ()
        assert [finding for finding in tenancy.fleet.doctor() if finding.kind != "setting"] == []
        if roles:
            with tenancy.session("bravo") as session, pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
                session.execute(sa.text("SELECT * FROM org_acme.organization"))
    finally:
        tenancy.close()


def test_tenant_with_a_role_is_restored_where_tenants_have_none_and_back(postgres_url, simple, tmp_path) -> None:
    with_roles = Tenancy(PostgresSchemas(postgres_url, "org_{slug}"), Migrations(simple.directory))
    without = Tenancy(PostgresSchemas(postgres_url, "org_{slug}", role_per_tenant=False), Migrations(simple.directory))
    with_roles.initialize()
    try:
        with_roles.provision("acme")
        write(with_roles, "acme", 1)
        first = with_roles.archive.backup("acme", to=tmp_path / "b")
        assert without.archive.restore(first.path, slug="bravo").role is None
        write(without, "bravo", 2)
        second = without.archive.backup("bravo", to=tmp_path / "b")
        assert with_roles.archive.restore(second.path, slug="charlie").role is not None
        write(with_roles, "charlie", 3)
        assert read(with_roles, "charlie") == [1, 2, 3]
        assert with_roles.fleet.drifts.report().classes == ()
        with with_roles.session("charlie") as session, pytest.raises(sa.exc.ProgrammingError, match="denied"):
            session.execute(sa.text("UPDATE alembic_version SET version_num = 'x'"))
    finally:
        with_roles.close()
        without.close()


def write(tenancy: Tenancy, slug: str, number: int) -> None:
    with tenancy.session(slug) as session:
        session.execute(sa.text("INSERT INTO organization (id) VALUES (:n)"), {"n": number})


def read(tenancy: Tenancy, slug: str) -> list[int]:
    with tenancy.session(slug) as session:
        return list(session.execute(sa.text("SELECT id FROM organization ORDER BY id")).scalars())
