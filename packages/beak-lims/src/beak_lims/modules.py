"""The modules of an organisation: which fields of work it is in, kept with the tenant's record.

Every organisation has ``core`` and the module of its primary industry; neither can be taken away. What a module brings
to a tenant's tables is seeded, and stays when the module is switched off.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from beak_lims.errors import ModuleNotEnabled, ModuleRejected, ModuleRequired

if TYPE_CHECKING:
    from tenantry import Tenancy
    from tenantry.tenant import Tenant

CORE = "core"
DEFAULT_INDUSTRY = "clinical"
INDUSTRIES = (
    "clinical",
    "pharma",
    "environment",
    "industrial",
    "veterinary",
    "food_safety",
    "forensic",
    "research",
    "public_health",
)
MODULES = (CORE, *INDUSTRIES)
INDUSTRY_KEY, ENABLED_KEY = "primary_industry", "enabled_modules"  # of a tenant's attributes


@dataclass(frozen=True)
class Modules:
    """The modules of one organisation."""

    tenant_slug: str
    primary_industry: str
    enabled_modules: Sequence[str]

    def require(self, module: str) -> None:
        """:raises ModuleRejected: there is no such module. :raises ModuleNotEnabled: the organisation lacks it."""
        if parse_module(module) not in self.enabled_modules:
            raise ModuleNotEnabled(self.tenant_slug, module)


def parse_module(module: str) -> str:
    """:raises ModuleRejected: there is no such module."""
    return _known([module])[0]


def attributes_of(industry: str | None, modules: Iterable[str] = (), *, default: str = DEFAULT_INDUSTRY) -> Any:
    """What a new tenant's record says of its modules: ``core``, the industry's, and those named.

    :raises ModuleRejected: an industry or module is none.
    """
    industry = industry or default
    if industry not in INDUSTRIES:
        raise ModuleRejected(industry[:200], INDUSTRIES)
    return {INDUSTRY_KEY: industry, ENABLED_KEY: _ordered({CORE, industry, *_known(modules)})}


def modules_of(tenant: Tenant) -> Modules:
    """The modules of a tenant; one that was provisioned without any has the default ones."""
    return modules_in(tenant.slug, tenant.attributes)


def modules_in(slug: str, attributes: Mapping[str, Any]) -> Modules:
    """The modules that a tenant's attributes tell of; the default ones where they tell of none."""
    industry = attributes.get(INDUSTRY_KEY) or DEFAULT_INDUSTRY
    return Modules(slug, industry, tuple(attributes.get(ENABLED_KEY) or _ordered({CORE, industry})))


def enable_module(tenancy: Tenancy, slug: str, module: str) -> Tenant:
    """Switch a module on; one that is on stays so.

    :raises ModuleRejected: there is no such module. :raises TenantNotFound: there is no such tenant.
    """
    parse_module(module)

    def change(attributes: Mapping[str, Any]) -> dict[str, Any]:
        present = modules_in(slug, attributes)
        if module in present.enabled_modules:
            return dict(attributes)
        enabled = _ordered({*present.enabled_modules, module})
        return {**attributes, INDUSTRY_KEY: present.primary_industry, ENABLED_KEY: enabled}

    return tenancy.change_attributes(slug, change, action="module.enable", details={"module": module})


def disable_module(tenancy: Tenancy, slug: str, module: str) -> Tenant:
    """Switch a module off; one that is off stays so.

    :raises ModuleRequired: it is ``core`` or the organisation's industry. :raises ModuleRejected: there is none such.
    """
    parse_module(module)

    def change(attributes: Mapping[str, Any]) -> dict[str, Any]:
        present = modules_in(slug, attributes)
        if module in (CORE, present.primary_industry):
            raise ModuleRequired(slug, module)
        if module not in present.enabled_modules:
            return dict(attributes)
        enabled = [other for other in present.enabled_modules if other != module]
        return {**attributes, INDUSTRY_KEY: present.primary_industry, ENABLED_KEY: enabled}

    return tenancy.change_attributes(slug, change, action="module.disable", details={"module": module})


def _known(modules: Iterable[str]) -> list[str]:
    wanted = list(modules)
    unknown = [module for module in wanted if module not in MODULES]
    if unknown:
        raise ModuleRejected(", ".join(unknown)[:200], MODULES)
    return wanted


def _ordered(modules: set[str]) -> list[str]:
    return [module for module in MODULES if module in modules]
