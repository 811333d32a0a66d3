"""Every error of the tree has an answer, made in one place; what is the server's own fault is not told."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tenantry import errors
from tenantry.errors import TenancyError
from tenantry.http import errors as edge
from tenantry.http.paging import Pages
from tenantry.http.problems import MEDIA_TYPE, REASONS, problem_of, status_of


def tree(kind: type[TenancyError] = TenancyError) -> Iterator[type[TenancyError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from tree(below)


@pytest.mark.parametrize("kind", sorted(set(tree()), key=lambda kind: kind.__name__), ids=lambda kind: kind.__name__)
def test_every_error_has_a_status_that_the_reference_explains(kind: type[TenancyError]) -> None:
    assert status_of(kind("x", "y", "z")) in REASONS


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (errors.TenantNotFound("acme"), 404, "Tenant slug 'acme' not found"),
        (errors.TenantExists("acme", "acme", "active"), 409, "already exists"),
        (errors.NameRejected("slug", "A", "no."), 400, "is not allowed"),
        (errors.LoginRefused(), 401, "Invalid platform credentials"),
        (errors.TokenRefused("why"), 401, "Invalid platform authentication token"),
        (errors.Forbidden("users", "joe"), 403, "Insufficient platform role"),
        (errors.TooManyAttempts(30), 429, "30 seconds"),
        (edge.BodyTooLarge(10), 413, "10 bytes"),
        (edge.TooBusy(10.0), 503, "Nothing was done"),
    ],
)
def test_a_refusal_says_what_is_wrong(error: TenancyError, status: int, told: str) -> None:
    answer = problem_of(error, "r1")
    assert answer.status_code == status
    assert answer.media_type == MEDIA_TYPE
    assert told in json.loads(bytes(answer.body))["detail"]


@pytest.mark.parametrize(
    "error",
    [
        errors.StoreUnavailable("PostgreSQL on db.inside", "no route to 10.9.8.7"),
        errors.MigrationFailed("org_acme", "r1", "secret column"),
        errors.PermissionMissing("create a role", "GRANT secret TO user;"),
        errors.RegistryMissing("secret"),
        KeyError("secret"),
        ValueError("secret"),
        RuntimeError("secret"),
    ],
)
def test_what_the_server_got_wrong_is_not_told(error: Exception) -> None:
    answer = problem_of(error, "r1")
    assert answer.status_code >= 500
    text = bytes(answer.body).decode()
    assert "secret" not in text
    assert "inside" not in text
    assert "10.9.8.7" not in text
    assert json.loads(text)["request_id"] == "r1"


def test_an_error_of_an_application_is_answered_by_what_it_is() -> None:
    class Missing(TenancyError, LookupError):
        pass

    class Wrong(TenancyError, ValueError):
        pass

    class Broken(TenancyError):
        pass

    assert [status_of(kind()) for kind in (Missing, Wrong, Broken)] == [404, 400, 500]


def test_who_is_sent_away_is_told_when_to_come_back() -> None:
    for error in (edge.TooBusy(10.0), edge.KeyInUse(1.0), errors.TooManyAttempts(30), errors.TenantBusy("acme")):
        assert int(problem_of(error, "r").headers["retry-after"]) >= 1
    assert problem_of(errors.TokenRefused("x"), "r").headers["www-authenticate"] == "Bearer"


def test_a_cursor_leads_on_in_its_own_list_only() -> None:
    pages = Pages("/tenants", status="active", search=None)
    cursor = pages.headers("acme", 10)["X-Next-Cursor"]
    assert pages.read(cursor) == "acme"
    assert Pages("/tenants", status="active").read(cursor) == "acme"
    for other in (Pages("/tenants", status="all"), Pages("/audit", status="active")):
        with pytest.raises(edge.CursorRejected):
            other.read(cursor)
    assert pages.headers(None, 10) == {}
