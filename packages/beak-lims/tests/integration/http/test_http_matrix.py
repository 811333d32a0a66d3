"""Who may pass which door: every route of the OpenAPI document, with every role, with none, and with tokens of others.

The table below is the contract's; a route that is not in it fails the test, so that none is opened by oversight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
import pytest

from tenantry.iam.roles import PlatformRole

from .conftest import PASSWORD, PREFIX, SECRET, Doors

ALL = frozenset(role.value for role in PlatformRole)
ADMINISTRATOR = frozenset({"administrator"})
PROVISIONERS = ADMINISTRATOR | {"provisioner"}
SUPPORTERS = PROVISIONERS | {"support"}
OPEN = None  # anybody may

ALLOWED: dict[tuple[str, str], frozenset[str] | None] = {
    ("POST", "/auth/login"): OPEN,
    ("POST", "/auth/refresh"): OPEN,
    ("POST", "/auth/logout"): ALL,
    ("GET", "/auth/me"): ALL,
    ("GET", "/tenants"): ALL,
    ("GET", "/tenants/{slug}"): ALL,
    ("POST", "/tenants"): PROVISIONERS,
    ("POST", "/tenants/{slug}/migrate"): PROVISIONERS,
    ("DELETE", "/tenants/failed"): PROVISIONERS,
    ("POST", "/tenants/{slug}/activate"): SUPPORTERS,
    ("POST", "/tenants/{slug}/laboratories"): SUPPORTERS,
    ("GET", "/tenants/{slug}/modules"): ALL,
    ("POST", "/tenants/{slug}/modules/{module}:enable"): PROVISIONERS,
    ("POST", "/tenants/{slug}/modules/{module}:disable"): PROVISIONERS,
    ("GET", "/users"): ADMINISTRATOR,
    ("POST", "/users"): ADMINISTRATOR,
    ("GET", "/users/{uid}"): ADMINISTRATOR,
    ("PUT", "/users/{uid}/roles"): ADMINISTRATOR,
    ("POST", "/users/{uid}/disable"): ADMINISTRATOR,
    ("POST", "/users/{uid}/enable"): ADMINISTRATOR,
    ("POST", "/users/{uid}/reset-password"): ADMINISTRATOR,
    ("GET", "/users/{uid}/sessions"): ADMINISTRATOR,
    ("DELETE", "/users/{uid}/sessions"): ADMINISTRATOR,
    ("DELETE", "/sessions/{uid}"): ADMINISTRATOR,
    ("GET", "/audit"): ADMINISTRATOR,
    ("GET", "/audit/export"): ADMINISTRATOR,
    ("GET", "/health/live"): OPEN,
    ("GET", "/health/ready"): OPEN,
    ("GET", "/metrics"): ALL,
}
METHODS = ("get", "post", "put", "patch", "delete")


Routes = dict[tuple[str, str], Any]


@pytest.fixture(scope="module")
def client(doors: Doors) -> Iterator[httpx.Client]:
    with httpx.Client(timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def document(doors: Doors, client: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"{doors.base}/openapi.json").json()
    return found


@pytest.fixture(scope="module")
def routes(document: dict[str, Any]) -> Routes:
    """Every route of the OpenAPI document, with what it says of it."""
    return {
        (method.upper(), path.removeprefix(PREFIX)): {**item[method], "smallest body": body_for(document, item[method])}
        for path, item in document["paths"].items()
        for method in METHODS
        if method in item
    }


def body_for(document: dict[str, Any], operation: dict[str, Any]) -> Any:
    """The smallest body that the document allows."""
    if "requestBody" not in operation:
        return None
    schemas = document["components"]["schemas"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    named = schema.get("$ref") or next((part["$ref"] for part in schema.get("anyOf", []) if "$ref" in part), "")
    found = schemas[named.rpartition("/")[2]]
    empty = {"array": [], "string": "nobody", "boolean": False, "integer": 1}
    return {name: empty[found["properties"][name]["type"]] for name in found.get("required", [])}


Ask = Callable[[tuple[str, str], str | None], httpx.Response]


@pytest.fixture(scope="module")
def ask(doors: Doors, client: httpx.Client, routes: Routes) -> Ask:
    """Asks a route for something that is not there."""

    def ask(route: tuple[str, str], token: str | None) -> httpx.Response:
        method, path = route
        filled = path.format(slug="nothing", uid="0" * 32, module="pharma")
        headers = {} if token is None else doors.bearer(token)
        return client.request(method, f"{doors.base}{filled}", json=routes[route]["smallest body"], headers=headers)

    return ask


def test_the_table_is_of_the_routes_that_there_are(routes: Routes) -> None:
    assert set(routes) == set(ALLOWED)


@pytest.mark.parametrize("role", sorted(ALL))
def test_a_role_passes_its_doors_and_no_others(doors: Doors, routes: Routes, ask: Ask, role: str) -> None:
    token = doors.token(role)
    for route, operation in routes.items():
        allowed = ALLOWED[route]
        answer = ask(route, token)
        if route[1] == "/auth/logout":
            token = doors.token(role)
        assert answer.status_code < 500, (route, answer.text)  # of things that are not there
        if allowed is OPEN:
            assert answer.status_code != 403, (route, answer.text)
        elif role in allowed:
            assert answer.status_code not in (401, 403), (route, answer.text)
        else:
            assert answer.status_code == 403, (route, answer.text)
            assert answer.json()["detail"] == "Insufficient platform role"
        assert str(answer.status_code) in operation["responses"], (route, answer.status_code)


def strangers(doors: Doors) -> dict[str, str | None]:
    """Tokens that open nothing here."""
    iam, now = doors.tenancy.iam, datetime.now(UTC)
    iam.add_user("gone@example.org", "gone", ["administrator"], password=PASSWORD)
    disabled = doors.token("gone")
    iam.disable(iam.user("gone").uid)
    good = doors.token("administrator")
    kid = jwt.get_unverified_header(good)["kid"]
    claims = jwt.decode(good, options={"verify_signature": False})
    tenant = {"sub": claims["sub"], "exp": int((now + timedelta(hours=1)).timestamp()), "tenant_slug": "acme"}
    return {
        "none": None,
        "disabled": disabled,
        "of a tenant's user": jwt.encode(tenant, SECRET, "HS256"),
        "of a tenant's user, with our kid": jwt.encode(tenant, SECRET, "HS256", headers={"kid": kid}),
        "of another audience": jwt.encode({**claims, "aud": "tenant"}, SECRET, "HS256", headers={"kid": kid}),
        "of another key": jwt.encode(
            claims, "another-key-that-is-long-enough-for-hs256", "HS256", headers={"kid": kid}
        ),
        "of no algorithm": jwt.encode(claims, None, "none", headers={"kid": kid}),
        "cut": good[:-4],
        "of half": good.rpartition(".")[0],
        "rubbish": "rubbish",
    }


def test_tokens_of_others_pass_no_door(doors: Doors, routes: Routes, ask: Ask) -> None:
    before = doors.tenancy.list()
    for kind, token in strangers(doors).items():
        for route in routes:
            answer = ask(route, token)
            if ALLOWED[route] is OPEN:
                assert answer.status_code in (200, 401, 422, 429), (kind, route, answer.text)
                continue
            assert answer.status_code == 401, (kind, route, answer.text)
            assert answer.json()["detail"] == "Invalid platform authentication token"
    assert doors.tenancy.list() == before
    assert doors.tenancy.registry.verify_audit() == []


def test_a_token_of_a_megabyte_is_refused(doors: Doors) -> None:
    with httpx.Client() as client:
        try:
            answer = client.get(f"{doors.base}/auth/me", headers=doors.bearer("x" * 1024 * 1024))
        except httpx.TransportError:
            return  # the connection was closed while it was sent
        assert answer.status_code in (400, 401)


def test_every_answer_that_may_come_is_declared_with_its_problem(routes: Routes) -> None:
    for route, operation in routes.items():
        answers = operation["responses"]
        needed = {"500", "503"} if ALLOWED[route] is OPEN else {"401", "500", "503"}
        assert needed <= set(answers), route
        assert ALLOWED[route] in (OPEN, ALL) or "403" in answers, route
        for status, answer in answers.items():
            if int(status) >= 400:
                assert list(answer["content"]) == ["application/problem+json"], (route, status)
        assert ("security" in operation) == (ALLOWED[route] is not OPEN), route
