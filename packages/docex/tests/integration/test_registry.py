"""The registry under its older names: tenants made with a display name, and the bootstrap tenant."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from docex import DocEX, UserContext
from docex.errors import ConfigurationError, InvalidTenantIdError, TenantExistsError, TenantNotProvisioned
from docex.provisioning import BootstrapTenantManager, TenantProvisioner

if TYPE_CHECKING:
    from conftest import Installation


def test_a_tenant_is_made_and_registered_with_its_name(anywhere: Installation) -> None:
    anywhere.setup(security={}, multi_tenancy={"enabled": True})
    with pytest.raises(TenantNotProvisioned):
        anywhere.docex("acme-corp")
    provisioner = TenantProvisioner()
    made = provisioner.create("acme-corp", "Acme Corporation", "root")
    on_postgres = anywhere.kind == "postgres"
    assert (made.tenant_id, made.display_name, made.is_system) == ("acme-corp", "Acme Corporation", False)
    assert made.isolation_strategy == ("schema" if on_postgres else "database")
    assert made.schema_name == ("tenant_acme-corp" if on_postgres else None)
    assert (made.database_path is None) is on_postgres
    assert (made.created_by, made.last_updated_by) == ("root", "root")
    assert json.loads(json.dumps(made.to_dict()))["created_at"] == made.created_at.isoformat()
    assert anywhere.docex("acme-corp").basket("b").name == "b"
    with pytest.raises(TenantExistsError):
        provisioner.create("acme-corp", "Another", "root")
    with pytest.raises(ConfigurationError, match="not by"):
        provisioner.create("other", "Other", "root", "database" if on_postgres else "schema")
    assert not provisioner.tenant_exists("other")


def test_the_bootstrap_tenant_is_the_registry_and_takes_no_documents(anywhere: Installation) -> None:
    anywhere.setup()
    manager = BootstrapTenantManager()
    assert manager.is_initialized() is False
    assert manager.get_bootstrap_tenant() is None
    for _ in range(2):
        made = manager.initialize(created_by="root")
    assert (made.tenant_id, made.display_name, made.is_system) == ("_docex_system_", "DocEX System", True)
    assert manager.is_initialized() is True
    assert manager.get_bootstrap_tenant().tenant_id == "_docex_system_"
    assert TenantProvisioner.is_system_tenant("_docex_system_")
    assert not TenantProvisioner.is_system_tenant("acme-corp")
    for attempt in (
        lambda: DocEX(UserContext("u", tenant_id="_docex_system_")),
        lambda: TenantProvisioner().create("_docex_system_", "x", "root"),
        lambda: TenantProvisioner().validate_tenant_id("_docex_system_"),
    ):
        with pytest.raises(InvalidTenantIdError):
            attempt()
    assert anywhere.stores() == []


def test_tenant_create_and_tenant_list(anywhere: Installation) -> None:
    anywhere.setup()
    command = ["tenant", "create", "--tenant-id", "acme-corp", "--display-name", "Acme Corporation"]
    made = anywhere.here(*command)
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["created_by"] == "cli_user"
    again = anywhere.here(*command)
    assert (again.returncode, again.stdout) == (1, "")
    assert "Tenant already exists" in again.stderr
    [listed] = json.loads(anywhere.here("tenant", "list", "--format", "json").stdout)
    assert (listed["tenant_id"], listed["name"]) == ("acme-corp", "Acme Corporation")
