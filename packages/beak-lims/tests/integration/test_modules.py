"""An organisation's modules: given when it is made, switched afterwards, and what cannot be switched off."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from beak_lims.errors import ModuleNotEnabled, ModuleRejected, ModuleRequired
from beak_lims.modules import MODULES, attributes_of, disable_module, enable_module, modules_of
from tenantry import Tenancy
from tenantry.errors import TenantNotFound


def test_core_and_the_industry_are_there_from_the_beginning_and_stay(tenancy: Tenancy) -> None:
    tenancy.provision("plain", name="Plain")
    assert modules_of(tenancy.get("plain")).enabled_modules == ("core", "clinical")
    tenancy.provision("pharm", name="Pharm", attributes=attributes_of("pharma", ["research"]))
    present = modules_of(tenancy.get("pharm"))
    assert (present.primary_industry, present.enabled_modules) == ("pharma", ("core", "pharma", "research"))
    for module in ("core", "pharma"):
        with pytest.raises(ModuleRequired, match=f"Module '{module}' cannot be disabled for tenant 'pharm'"):
            disable_module(tenancy, "pharm", module)
    with pytest.raises(ModuleNotEnabled, match="Module 'forensic' is not enabled for tenant 'pharm'"):
        present.require("forensic")
    assert modules_of(tenancy.get("pharm")) == present


def test_modules_switched_at_once_are_all_switched(tenancy: Tenancy) -> None:
    tenancy.provision("one", name="One")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda module: enable_module(tenancy, "one", module), MODULES))
    assert modules_of(tenancy.get("one")).enabled_modules == MODULES
    enable_module(tenancy, "one", "pharma")  # on already
    disable_module(tenancy, "one", "pharma")
    disable_module(tenancy, "one", "pharma")  # off already
    assert "pharma" not in modules_of(tenancy.get("one")).enabled_modules
    told = [entry.action for entry in tenancy.registry.audit_entries("one") if entry.action.startswith("module.")]
    assert sorted(told) == ["module.disable", *["module.enable"] * 8]


def test_unknown_modules_and_tenants_are_refused(tenancy: Tenancy) -> None:
    with pytest.raises(ModuleRejected, match=r"Unknown module\(s\): zoo, circus. Modules: core, clinical"):
        attributes_of("clinical", ["zoo", "pharma", "circus"])
    with pytest.raises(ModuleRejected):
        attributes_of("core")
    with pytest.raises(ModuleRejected):
        enable_module(tenancy, "gone", "zoo")
    with pytest.raises(TenantNotFound):
        enable_module(tenancy, "gone", "pharma")
