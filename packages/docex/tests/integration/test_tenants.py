"""Tenants: made once, apart from each other, and refused whenever something is not right."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from docex import DocEX, UserContext
from docex.errors import (
    AccessDenied,
    ClosedError,
    ConfigurationError,
    DatabaseError,
    InvalidTenantIdError,
    TenantDataMissing,
    TenantExistsError,
    TenantNotProvisioned,
    TenantNotServed,
    TenantRequired,
)
from docex.provisioning import TenantProvisioner
from docex.tenancy import Made, configured


def test_two_tenants_in_one_process_see_only_their_own(anywhere: Any) -> None:
    anywhere.setup()
    first, second = anywhere.docex("acme-corp"), anywhere.docex("globex-corp", "bob")
    one, two = first.create_basket("invoices"), second.create_basket("invoices")
    path = anywhere.file("invoice.pdf", b"same name, same bytes")
    documents = one.add(path), two.add(path)
    assert [b.id for b in first.list_baskets()] == [one.id]
    assert [b.id for b in second.list_baskets()] == [two.id]
    assert first.get_document(documents[1].id) is None
    assert second.get_basket(one.id) is None
    assert Path(one.get_basket_path()).parent.name == "acme-corp"
    assert Path(two.get_basket_path()).parent.name == "globex-corp"
    assert anywhere.query("SELECT id FROM docbasket", "globex-corp") == [(two.id,)]


def test_threads_of_many_tenants_see_only_their_own(anywhere: Any) -> None:
    anywhere.setup()
    names = [f"tenant-{number}" for number in range(4)]
    opened = {name: anywhere.docex(name) for name in names}
    failures: list[str] = []

    def work(name: str) -> None:
        docex = opened[name]
        for turn in range(6):
            basket = docex.create_basket(f"{name}-{turn}")
            basket.add(anywhere.file(f"{name}.txt", name.encode()))
            seen = {b.name for b in docex.list_baskets()}
            if {b.rpartition("-")[0] for b in seen} != {name} or len(seen) != turn + 1:
                failures.append(f"{name} saw {seen}")
            if [d.get_content() for d in basket.list_documents()] != [name.encode()]:
                failures.append(f"{name} read another's document")

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for name in names:
        assert anywhere.query("SELECT count(*) FROM docbasket", name) == [(6,)]


def test_a_tenants_raw_sql_cannot_reach_another(on_postgres: Any) -> None:
    on_postgres.setup()
    first, second = on_postgres.docex("acme-corp"), on_postgres.docex("globex-corp")
    second.create_basket("theirs")
    with pytest.raises(DatabaseError, match="ermission denied"), first.db.session() as session:
        session.execute(sa.text('SELECT * FROM "tenant_globex-corp".docbasket'))
    with pytest.raises(DatabaseError, match="ermission denied"), first.db.session() as session:
        session.execute(sa.text("SELECT * FROM docex_platform.tenant"))


def test_access_after_the_first_writes_nothing_to_the_registry(anywhere: Any) -> None:
    anywhere.setup().docex()
    before = registry_state(anywhere)
    for _ in range(3):
        anywhere.docex().list_baskets()
    DocEX.reset()
    anywhere.docex().list_baskets()
    assert registry_state(anywhere) == before


def registry_state(anywhere: Any) -> list[Any]:
    tables = ("tenant", "operation", "step", "audit")
    if anywhere.kind == "sqlite":
        engine = sa.create_engine("sqlite:///storage/registry.db", poolclass=sa.NullPool)
        names = tables
    else:
        engine = anywhere.engine()
        names = tuple(f"docex_platform.{table}" for table in tables)
    with engine.connect() as connection:
        return [connection.execute(sa.text(f"SELECT * FROM {name} ORDER BY 1")).all() for name in names]


def test_the_audit_trail_names_the_user_whose_access_provisioned(anywhere: Any) -> None:
    anywhere.setup().docex(user_id="alice@example.org")
    (operation,) = configured().operations("acme-corp")
    assert operation.status == "done"
    assert "alice@example.org" in str(registry_state(anywhere))


REFUSED = ["../x", "a/b", "x" * 300, "a\0b", "\u0430cme", "_docex_system_", "pg_x", " "]


@pytest.mark.parametrize("tenant_id", REFUSED)
def test_refused_ids_touch_nothing(anywhere: Any, tenant_id: str) -> None:
    anywhere.setup()
    before = anywhere.files(), sorted(p.name for p in anywhere.directory.rglob("*"))
    with pytest.raises(InvalidTenantIdError, match="not allowed"):
        anywhere.docex(tenant_id)
    with pytest.raises(ValueError, match="not allowed"):
        TenantProvisioner().provision(tenant_id)
    assert (anywhere.files(), sorted(p.name for p in anywhere.directory.rglob("*"))) == before
    if anywhere.kind == "postgres":
        assert anywhere.query("SELECT 1 FROM pg_namespace WHERE nspname = 'docex_platform'") == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(tenant_id=st.text(st.characters(exclude_categories=["L", "N"]) | st.sampled_from("éА٣Ⅷ"), min_size=1))
def test_no_text_but_an_id_makes_a_file(installation: Any, tenant_id: str) -> None:
    if not installation.config_file.exists():
        installation.setup()
    before = sorted(installation.directory.rglob("*"))
    with pytest.raises(InvalidTenantIdError):
        installation.docex(tenant_id)
    assert sorted(installation.directory.rglob("*")) == before


def test_there_is_no_default_tenant(anywhere: Any) -> None:
    anywhere.setup()
    nobody = DocEX()  # may be made, for scripts that assign its database; it does nothing before that
    attempts: list[Callable[[], object]] = [lambda: anywhere.docex(None), lambda: anywhere.docex("")]
    attempts += [lambda: nobody.basket("one"), nobody.list_baskets, lambda: nobody.storage, nobody.fsck]
    attempts += [nobody.list_routes, nobody.get_usage, lambda: setattr(nobody, "user_context", UserContext("alice"))]
    for attempt in attempts:
        with pytest.raises(ValueError, match="no default tenant") as caught:
            attempt()
        assert isinstance(caught.value, TenantRequired)
    assert repr(nobody) == "<DocEX without a tenant>"
    nobody.close()
    assert anywhere.stores() == []


def test_ids_that_differ_only_in_case_are_one_tenant(anywhere: Any) -> None:
    anywhere.setup().docex("ACME_2")
    with pytest.raises(TenantExistsError, match="as 'ACME_2'"):
        anywhere.docex("acme_2")
    with pytest.raises(TenantExistsError, match="already exists"):
        TenantProvisioner().provision("Acme_2")
    assert anywhere.stores() == ["ACME_2"]


def test_a_tenant_that_exists_is_not_changed(anywhere: Any) -> None:
    anywhere.setup().docex().create_basket("kept")
    before = registry_state(anywhere)
    provisioner = TenantProvisioner()
    assert provisioner.tenant_exists("acme-corp")
    with pytest.raises(TenantExistsError, match=r"Tenant already exists: 'acme-corp'.*Nothing was changed"):
        provisioner.provision("acme-corp")
    assert registry_state(anywhere) == before
    assert [b.name for b in anywhere.docex().list_baskets()] == ["kept"]


def test_a_schema_or_file_that_docex_did_not_make_is_never_adopted(anywhere: Any) -> None:
    anywhere.setup()
    if anywhere.kind == "sqlite":
        path = anywhere.directory / "storage" / "tenant_acme-corp" / "docex.db"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"somebody's")
    else:
        anywhere.query('CREATE SCHEMA "tenant_acme-corp"')
        anywhere.query('CREATE TABLE "tenant_acme-corp".theirs (id int)')
    for attempt in (lambda: TenantProvisioner().provision("acme-corp"), anywhere.docex):
        with pytest.raises(TenantExistsError, match="already exists"):
            attempt()
    assert configured().list() == []
    if anywhere.kind == "sqlite":
        assert path.read_bytes() == b"somebody's"
    else:
        assert anywhere.query("SELECT count(*) FROM theirs") == [(0,)]


def test_a_tenant_without_its_store_is_refused_and_made_anew_on_demand(anywhere: Any) -> None:
    docex = anywhere.setup().docex()
    docex.create_basket("lost")
    anywhere.forget_store()
    for attempt in (docex.list_baskets, lambda: anywhere.docex().create_basket("new")):
        with pytest.raises(TenantDataMissing, match="missing"):
            attempt()
    assert anywhere.stores() == []
    assert not TenantProvisioner().tenant_exists("acme-corp")
    assert TenantProvisioner().provision("acme-corp") is Made.REMADE
    assert docex.list_baskets() == []
    docex.create_basket("new")
    assert anywhere.query("SELECT name FROM docbasket") == [("new",)]


def test_a_tenant_that_is_not_served_is_refused(anywhere: Any) -> None:
    anywhere.setup().docex()
    change = "UPDATE {} SET status = 'suspended'"
    if anywhere.kind == "sqlite":
        engine = sa.create_engine("sqlite:///storage/registry.db", poolclass=sa.NullPool)
        with engine.begin() as connection:
            connection.execute(sa.text(change.format("tenant")))
    else:
        anywhere.query(change.format("docex_platform.tenant"))
    with pytest.raises(TenantNotServed, match="suspended"):
        anywhere.docex()
    with pytest.raises(TenantExistsError, match="suspended"):
        TenantProvisioner().provision("acme-corp")


def test_tenants_that_must_be_provisioned_first(anywhere: Any) -> None:
    anywhere.setup(security={}, multi_tenancy={"enabled": True})
    with pytest.raises(ValueError, match="Tenant 'acme-corp' is not provisioned") as caught:
        anywhere.docex()
    assert isinstance(caught.value, TenantNotProvisioned)
    assert anywhere.stores() == []
    assert TenantProvisioner().provision("acme-corp") is Made.NEW
    anywhere.docex().create_basket("one")
    with pytest.raises(TenantNotProvisioned):
        anywhere.docex("other")


def test_looking_does_not_provision(anywhere: Any) -> None:
    anywhere.setup()
    with pytest.raises(TenantNotProvisioned):
        anywhere.docex(provision=False)
    assert not TenantProvisioner().tenant_exists("acme-corp")
    assert anywhere.stores() == []


def test_verifying_leaves_nothing_behind(anywhere: Any) -> None:
    docex = anywhere.setup().docex()
    docex.create_basket("test_basket_acme-corp")
    for _ in range(2):
        verified = TenantProvisioner().verify("acme-corp")
        assert verified.baskets == 1
        assert docex.get_basket(verified.test_basket_id) is None
    assert not (anywhere.directory / "storage" / "docex" / "acme-corp").exists()


def test_roles_by_configuration(on_postgres: Any) -> None:
    database = on_postgres.database()
    database["postgres"]["role_per_tenant"] = False
    on_postgres.setup(database=database).docex("plain").create_basket("one")
    assert configured().get("plain").role is None
    database["postgres"]["role_per_tenant"] = "auto"
    on_postgres.setup(database=database).docex("walled").create_basket("one")
    assert configured().get("walled").role is not None
    # Tenants keep what they were made with.
    assert len(on_postgres.docex("plain").list_baskets()) == 1


def test_a_user_without_superuser_rights(non_superuser_url: str, on_postgres: Any) -> None:
    on_postgres.url = sa.make_url(non_superuser_url)
    basket = on_postgres.setup().docex().create_basket("one")
    basket.add(on_postgres.file("a.txt", b"text"))
    assert configured().get("acme-corp").role is not None
    assert TenantProvisioner().advice() is None
    assert TenantProvisioner().verify("acme-corp").baskets == 1


def test_a_closed_object_refuses_and_others_go_on(anywhere: Any) -> None:
    anywhere.setup()
    first, second = anywhere.docex(), anywhere.docex()
    with first:
        first.create_basket("one")
    with pytest.raises(ClosedError, match="closed"):
        first.list_baskets()
    assert len(second.list_baskets()) == 1
    DocEX.reset()
    assert len(second.list_baskets()) == 1


def test_enforcing_a_user_context(anywhere: Any) -> None:
    anywhere.setup(security={"enforce_user_context": True})
    with pytest.raises(ConfigurationError, match="enforce_user_context"):
        DocEX()
    with pytest.raises(AccessDenied, match="needs the role 'editor'"):
        DocEX(UserContext("alice")).create_basket("one")
    DocEX(UserContext("alice", roles=["editor"])).create_basket("one")


def test_single_mode_uses_the_configured_file_and_keeps_its_data(
    installation: Any, caplog: pytest.LogCaptureFixture
) -> None:
    installation.setup(security={}, database={"type": "sqlite", "sqlite": {"path": "data/one.db"}})
    installation.docex("acme-corp").create_basket("kept")
    assert "tenant_id 'acme-corp' has no effect" in caplog.text
    assert (installation.directory / "data" / "one.db").is_file()
    assert not (installation.directory / "docex.db").exists()
    installation.setup(security={}, database={"sqlite": {"path": "data/one.db"}})
    assert DocEX.is_properly_setup()
    DocEX.reset()
    assert [b.name for b in DocEX().list_baskets()] == ["kept"]


def test_single_mode_does_not_touch_tables_it_did_not_make(anywhere: Any) -> None:
    anywhere.setup(security={})
    engine = sa.create_engine("sqlite:///docex.db" if anywhere.url is None else anywhere.url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE docbasket (id int)"))
        connection.execute(sa.text("CREATE TABLE alembic_version (version_num varchar(32))"))
        connection.execute(sa.text("INSERT INTO alembic_version VALUES ('theirs')"))
    with pytest.raises(DatabaseError, match="did not make"):
        DocEX()
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE docbasket"))
    # Another application's version table is not DocEX's.
    DocEX().create_basket("one")
    with engine.begin() as connection:
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).all() == [("theirs",)]
        connection.execute(sa.text("UPDATE docex_version SET version_num = '9999'"))
    DocEX.reset()
    with pytest.raises(DatabaseError, match="later release"):
        DocEX()


def test_the_log_file_gets_what_its_level_asks_for(installation: Any) -> None:
    import logging

    try:
        installation.setup(logging={"file": "docex.log", "level": "WARNING"}, security={})
        installation.docex("ignored")
        installation.docex(None)
        lines = (installation.directory / "docex.log").read_text().splitlines()
        assert len(lines) == 1
        assert "WARNING docex.application: tenant_id 'ignored' has no effect" in lines[0]
    finally:
        for handler in logging.getLogger("docex").handlers[:]:
            logging.getLogger("docex").removeHandler(handler)
            handler.close()
