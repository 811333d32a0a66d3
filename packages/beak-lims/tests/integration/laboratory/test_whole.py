"""The platform and the laboratories behind one address: each its own doors, and neither the other's tokens."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import httpx
import pytest

from beak_lims.api.app import lims_app
from beak_lims.http import whole
from beak_lims.modules import enable_module
from tenantry.http.settings import LOOPBACK, HttpSettings

from ...conftest import API, PASSWORD, Installation, serving

PLATFORM = f"{API}/platform"


@pytest.fixture(scope="module")
def client(installation: Installation) -> Iterator[httpx.Client]:
    app = whole(installation.tenancy, HttpSettings(trusted_hosts=(*LOOPBACK, "*.localtest.me")))
    with serving(app) as origin, httpx.Client(base_url=origin, timeout=30) as client:
        yield client


def test_each_has_its_own_paths_and_document(client: httpx.Client) -> None:
    assert client.get(f"{PLATFORM}/health/ready").json() == {"status": "ok"}
    assert client.get(f"{PLATFORM}/openapi.json").json()["info"]["title"] == "Beak LIMS platform"
    paths = client.get(f"{API}/openapi.json").json()["paths"]
    assert f"{API}/patients" in paths
    assert not [path for path in paths if path.startswith(PLATFORM)]
    assert client.get("/elsewhere").status_code == 404
    assert client.get(f"{API}/platforms").status_code == 403  # no path of the platform, so it needs a tenant


def test_neither_takes_tokens_of_the_other(installation: Installation, client: httpx.Client) -> None:
    iam = installation.tenancy.iam
    iam.add_user("root@example.org", "root", ["administrator"], password=PASSWORD)
    token = iam.login("root", PASSWORD, address="192.0.2.1").access_token
    actor = installation.actor(superuser=True)
    for headers in ({}, {"X-Org-Slug": "alpha"}):
        answer = client.get(f"{API}/countries", headers={**headers, "Authorization": f"Bearer {token}"})
        assert answer.status_code == 401
    assert client.get(f"{PLATFORM}/tenants", headers=actor.headers).status_code == 401
    assert client.get(f"{API}/countries", headers=actor.headers).status_code == 200
    # What a tenant's superuser would have to do to make a tenant.
    body = {"name": "Taken", "slug": "taken"}
    assert client.post(f"{PLATFORM}/tenants", json=body, headers=actor.headers).status_code == 401
    assert [one.slug for one in installation.tenancy.list()] == ["alpha", "beta"]


def test_no_page_to_try_requests_on_is_served(installation: Installation, client: httpx.Client) -> None:
    headers = installation.actor(superuser=True).headers
    for prefix, page in itertools.product(("", API, PLATFORM), ("docs", "redoc", "graphql", "graphiql", "beak-gql")):
        assert client.get(f"{prefix}/{page}", headers=headers).status_code == 404, f"{prefix}/{page}"


def test_sub_domain_names_the_tenant_and_agrees_with_token_and_header(
    installation: Installation, client: httpx.Client
) -> None:
    actor = installation.actor()
    body = {"identifier": actor.user_name, "password": PASSWORD}
    host = {"Host": "alpha.localtest.me"}
    told = client.post(f"{API}/auth/login", json=body, headers=host)
    assert told.status_code == 200
    assert client.post(f"{API}/auth/login", json=body, headers={"Host": "beta.localtest.me"}).status_code == 401
    assert client.get(f"{API}/auth/me", headers={**actor.headers, **host}).status_code == 200
    for other in ({"Host": "beta.localtest.me"}, {**host, "X-Org-Slug": "beta"}):
        answer = client.get(f"{API}/auth/me", headers={**actor.headers, **other})
        assert answer.status_code == 403
        assert "name different tenants" in answer.json()["detail"]
    assert client.get(f"{API}/auth/me", headers={"Host": "nobody.localtest.me"}).status_code == 403


def test_both_are_counted_together(installation: Installation, client: httpx.Client) -> None:
    iam = installation.tenancy.iam
    iam.add_user("support@example.org", "support", ["support"], password=PASSWORD)
    token = iam.login("support", PASSWORD, address="192.0.2.1").access_token
    client.get(f"{API}/countries", headers=installation.actor().headers)
    told = client.get(f"{PLATFORM}/metrics", headers={"Authorization": f"Bearer {token}"}).text
    assert 'route="/countries"' in told, [line for line in told.splitlines() if "countr" in line]


def test_health_and_version_are_told_to_anybody(client: httpx.Client) -> None:
    assert client.get(f"{API}/health/status").json() == {"status": "ok"}
    told = client.get(f"{API}/version").json()
    assert (told["name"], bool(told["version"])) == ("Beak LIMS", True)
    assert client.get(f"{API}/health/other").status_code == 404


def test_organisation_may_be_named_by_another_header(installation: Installation) -> None:
    app = lims_app(installation.tenancy, header="X-Organisation")
    body = {"identifier": installation.actor().user_name, "password": PASSWORD}
    with serving(app) as origin, httpx.Client(base_url=origin, timeout=30) as client:
        assert client.post(f"{API}/auth/login", json=body, headers={"X-Organisation": "alpha"}).status_code == 200
        answer = client.post(f"{API}/auth/login", json=body, headers={"X-Org-Slug": "alpha"})
        assert (answer.status_code, "'X-Organisation' header" in answer.json()["detail"]) == (403, True)


def test_list_of_organisations_tells_their_industry_and_modules(
    installation: Installation, client: httpx.Client
) -> None:
    iam = installation.tenancy.iam
    iam.add_user("billing@example.org", "billing", ["billing"], password=PASSWORD)
    token = iam.login("billing", PASSWORD, address="192.0.2.1").access_token
    enable_module(installation.tenancy, "beta", "veterinary")
    listed = client.get(f"{PLATFORM}/tenants", headers={"Authorization": f"Bearer {token}"}).json()
    assert [(one["slug"], one["primary_industry"], one["enabled_modules"]) for one in listed] == [
        ("alpha", "clinical", ["core", "clinical"]),
        ("beta", "clinical", ["core", "clinical", "veterinary"]),
    ]
    assert "attributes" not in listed[0]


@pytest.mark.parametrize(
    ("origin", "let"),
    [
        ("http://alpha.localtest.me:5173", True),
        ("https://localtest.me", True),
        ("https://localtest.me.example.org", False),
        ("https://example.org", False),
    ],
)
def test_pages_of_the_origins_that_are_set_may_call(client: httpx.Client, origin: str, let: bool) -> None:
    asks = {"Origin": origin, "Access-Control-Request-Method": "PATCH"}
    asks["Access-Control-Request-Headers"] = "authorization,x-org-slug,x-laboratory-id,content-type"
    asked = client.options(f"{API}/patients", headers=asks)  # without a tenant, as browsers ask
    assert (asked.status_code == 200) is let
    answer = client.get(f"{API}/health/status", headers={"Origin": origin})
    assert (answer.headers.get("access-control-allow-origin") == origin) is let
    assert "access-control-allow-credentials" not in answer.headers
