"""Which slugs are tenants of Beak LIMS; the others are refused before the database is touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import httpx
import pytest

from beak_lims.api.app import lims_app
from beak_lims.settings import Settings
from beak_lims.tenancy import declare
from tenantry import Tenancy
from tenantry.errors import NameRejected, TenancyError
from tenantry.http.settings import LOOPBACK, HttpSettings

from ..conftest import API, serving

RULE = "Slug must match ^[a-z][a-z0-9_]{0,62}$"


@pytest.fixture(scope="module")
def tenancy(databases: Callable[[], AbstractContextManager[str]]) -> Iterator[Tenancy]:
    with databases() as url:
        tenancy = declare(Settings(_env_file=None, BEAK_DATABASE_URL=url))
        yield tenancy
        tenancy.close()


@pytest.mark.parametrize(
    ("slug", "reason"),
    [
        ("", RULE),
        ("Acme", RULE),
        ("acme-corp", RULE),
        ("1st", RULE),
        ("_x", RULE),
        ("../etc", RULE),
        ("a/b", RULE),
        ("a\0b", RULE),
        ("acme\n", RULE),
        ("\N{CYRILLIC SMALL LETTER A}cme", RULE),
        ("x" * 64, RULE),
        ("x" * 300, RULE),
        ("pg_acme", "Slug cannot start with reserved prefix 'pg_'"),
        ("platform", "reserved"),
        ("public", "reserved"),
        ("x" * 60, "PostgreSQL cuts names after 63"),
    ],
)
def test_refused(tenancy: Tenancy, slug: str, reason: str) -> None:
    with pytest.raises(NameRejected) as caught:
        tenancy.provision(slug, name="X")
    assert reason in str(caught.value)
    assert slug not in [tenant.slug for tenant in tenancy.list()]


@pytest.mark.parametrize("slug", ["a", "x" * 59, "lab_1", "organization", "user"])
def test_accepted(tenancy: Tenancy, slug: str) -> None:
    tenant = tenancy.provision(slug, name="X").tenant
    assert (tenant.location, tenant.status) == (f"org_{slug}", "active")


def test_slug_that_is_no_host_name_is_named_by_token_or_header(tenancy: Tenancy) -> None:
    tenancy.provision("lab_2", name="Lab")
    app = lims_app(tenancy, HttpSettings(trusted_hosts=(*LOOPBACK, "*.localtest.me")))
    body = {"identifier": "nobody", "password": "wrong"}
    with serving(app) as origin, httpx.Client(base_url=origin, timeout=30) as client:

        def log_in(**headers: str) -> int:
            return client.post(f"{API}/auth/login", json=body, headers=headers).status_code

        assert log_in(**{"X-Org-Slug": "lab_2"}) == 401  # it is served; nobody of that name is there
        assert log_in(**{"X-Org-Slug": "lab-2"}) == 403
        assert log_in(Host="lab-2.localtest.me") == 403
        assert log_in(Host="lab_2.localtest.me") == 400  # no name that a host may have


def test_the_schema_of_the_platform_is_no_tenants(postgres_url: str) -> None:
    settings = Settings(_env_file=None, BEAK_DATABASE_URL=postgres_url, PLATFORM_SCHEMA="org_control")
    tenancy = declare(settings)
    tenancy.initialize()
    with pytest.raises(TenancyError, match="control"):
        tenancy.provision("control", name="X")
    assert tenancy.list() == []
    tenancy.close()
