"""Where a request names its tenant, and what of it counts. No tenant, no database, no web framework."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from typing import Any

import pytest

from tenantry.errors import TenantNotActive, TenantNotFound
from tenantry.http.resolution import (
    MAX_TOKEN,
    Call,
    HeaderResolver,
    PathResolver,
    RequestRefused,
    Resolution,
    Resolver,
    SubdomainResolver,
    TokenResolver,
    not_served,
)

NONE_FOUND = "Tenant context is required. Provide tenant_slug in JWT or 'X-Org-Slug' header."
BAD_TOKEN = "Invalid authentication token"


class Given(Call):
    """A request made up for a test."""

    path = ""
    query = ""
    peer = None

    def __init__(
        self, *headers: tuple[str, str], path: str = "/", peer: str | None = None, query: str = "", ws: bool = False
    ) -> None:
        self.path, self.query, self.peer, self.websocket = path, query, peer, ws
        self._headers = headers

    def values(self, name: str) -> list[str]:
        return [value for key, value in self._headers if key == name]


def host(value: str) -> Given:
    return Given(("host", value))


def bearer(token: str) -> Given:
    return Given(("authorization", f"Bearer {token}"))


def claims_of(**claims: Any) -> TokenResolver:
    return TokenResolver(lambda token: claims)


def refusal(resolver: Resolver | Resolution, call: Call) -> RequestRefused:
    with pytest.raises(RequestRefused) as refused:
        resolver.slug(call) if isinstance(resolver, Resolution) else resolver.find(call)
    return refused.value


# -- the host


@pytest.mark.parametrize(
    "value",
    ["acme.lims.example", "acme.lims.example:8443", "acme.lims.example.", "ACME.Lims.Example", "acme.a.b.c.example",
     "acme.localtest.me:5173", "acme.lims.example.:80", "acme.lims.example:"],
)  # fmt: skip
def test_host_that_is_a_sub_domain_names_its_first_label(value: str) -> None:
    assert SubdomainResolver().find(host(value)) == "acme"


@pytest.mark.parametrize(
    "value",
    [
        "localhost", "localhost:8000", "acme.localhost", "acme.lims.localhost", "lims.example", "example", "",
        "10.0.0.7", "10.0.0.7:8000", "acme.10.0.0.7", "127.0.1", "acme.lims.0x7f", "1.2.3", "2130706433",
        "[::1]", "[::1]:8000", "[fe80::1%25eth0]:80", "::1", "fe80::acme.lims.example",
        "www.lims.example", "WWW.lims.example", "api.lims.example", "api.lims.example.",
        "-acme.lims.example", "ac_me.lims.example", "_acme.lims.example", "acme..lims.example", ".acme.lims.example",
        "acme.lims.example..", "acmé.lims.example", "äcme.lims.example",
        "acme.lims.example:80:90", "acme.lims.example:x",
        "evil@acme.lims.example", "acme.lims.example/x", "acme.lims.example\x00", "acme lims.example.com", " ",
        "acme.lims.example, beta.lims.example", "x" * 64 + ".lims.example", "acme." + "x." * 130 + "example",
        "acme.lims.example?", "acme.lims.example#", "acme\\.lims.example", "%61cme.lims.example", "a" * 1_000_000,
    ],
)  # fmt: skip
def test_host_that_is_none_names_nobody(value: str) -> None:
    assert SubdomainResolver().find(host(value)) is None


def test_punycode_is_a_label_like_any_other_and_never_decoded() -> None:
    assert SubdomainResolver().find(host("xn--acm-epa.lims.example")) == "xn--acm-epa"


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ("acme.lims.example", "acme"),
        ("ACME.LIMS.example.:443", "acme"),
        ("acme.evil.example", None),
        ("acme.evil-lims.example", None),
        ("a.b.lims.example", None),
        ("lims.example", None),
        ("lims.hospital.example", None),
        ("www.lims.example", None),
        ("acme.lims.example.evil.example", None),
    ],
)
def test_declared_domain_is_the_only_one_that_counts(value: str, label: str | None) -> None:
    assert SubdomainResolver(["Lims.example."]).find(host(value)) == label


def test_several_hosts_must_agree() -> None:
    resolver = SubdomainResolver()
    assert resolver.find(Given(("host", "a.b.example"), ("host", "a.b.example"))) == "a"
    told = refusal(resolver, Given(("host", "a.b.example"), ("host", "c.b.example")))
    assert told.status == 403


def test_forwarded_host_is_believed_from_a_trusted_proxy_only() -> None:
    resolver = SubdomainResolver(trusted_proxies=["10.0.0.0/8"])
    headers = (("host", "acme.lims.example"), ("x-forwarded-host", "evil.lims.example, beta.lims.example"))
    assert resolver.find(Given(*headers, peer="10.1.2.3")) == "beta"
    assert resolver.find(Given(*headers, peer="::ffff:10.1.2.3")) == "beta"
    for peer in ("192.0.2.1", "fe80::1", "/run/app.sock", "", None):
        assert resolver.find(Given(*headers, peer=peer)) == "acme"
    assert SubdomainResolver().find(Given(*headers, peer="10.1.2.3")) == "acme"
    assert resolver.find(Given(headers[0], peer="10.1.2.3")) == "acme"


# -- the header


def test_header_names_the_tenant() -> None:
    assert HeaderResolver().find(Given(("x-org-slug", "acme"))) == "acme"
    assert HeaderResolver().find(Given(("x-org-slug", " acme "))) == "acme"
    assert HeaderResolver("X-Tenant").find(Given(("x-tenant", "acme"))) == "acme"
    assert HeaderResolver("X-Tenant").find(Given(("x-org-slug", "acme"))) is None
    assert HeaderResolver().find(Given(("x-org-slug", ""))) is None


def test_header_sent_twice_must_agree() -> None:
    assert HeaderResolver().find(Given(("x-org-slug", "acme"), ("x-org-slug", "acme"))) == "acme"
    assert refusal(HeaderResolver(), Given(("x-org-slug", "acme"), ("x-org-slug", "beta"))).status == 403


# -- the token


def test_token_names_the_tenant_and_its_claims_are_kept() -> None:
    call = bearer("good")
    assert claims_of(tenant_slug="acme", sub="7").find(call) == "acme"
    assert call.claims == {"tenant_slug": "acme", "sub": "7"}
    assert TokenResolver(lambda token: {"org": "acme"}, claim="org").find(bearer("x")) == "acme"
    assert claims_of(tenant_slug="acme").find(Given(("authorization", "bearer x"))) == "acme"


def test_no_bearer_token_is_no_token() -> None:
    resolver = claims_of(tenant_slug="acme")
    assert resolver.find(Given()) is None
    assert resolver.find(Given(("authorization", "Basic YTpi"))) is None


@pytest.mark.parametrize(
    "call",
    [
        bearer(""), bearer("   "), bearer("x" * (MAX_TOKEN + 1)), bearer("x" * 1_000_000), bearer("tökén"),
        Given(("authorization", "Bearer")), Given(("authorization", "Bearer a"), ("authorization", "Bearer a")),
    ],
)  # fmt: skip
def test_token_that_cannot_be_one_is_never_verified(call: Given) -> None:
    def verify(token: str) -> Mapping[str, Any]:
        pytest.fail("verified")

    told = refusal(TokenResolver(verify), call)
    assert (told.status, str(told)) == (401, BAD_TOKEN)


@pytest.mark.parametrize(
    "claims",
    [
        {"tenant_slug": "acme", "aud": "platform"}, {"tenant_slug": "acme", "aud": ["x", "platform"]},
        {"tenant_slug": 7}, {"tenant_slug": ""}, {"tenant_slug": ["acme"]}, {"tenant_slug": {"a": 1}},
    ],
)  # fmt: skip
def test_token_with_claims_of_another_kind_is_refused(claims: dict[str, Any]) -> None:
    call = bearer("x")
    told = refusal(claims_of(**claims), call)
    assert (told.status, str(told)) == (401, BAD_TOKEN)
    assert call.claims is None


def test_verifier_says_which_errors_refuse_a_token() -> None:
    class Expired(Exception):
        pass

    def verify(token: str) -> Mapping[str, Any]:
        raise {"expired": Expired(), "cut": ValueError(), "broken": OSError("no key server")}[token]

    strict, told = TokenResolver(verify, refused=Expired), TokenResolver(verify)
    assert refusal(strict, bearer("expired")).status == 401
    assert refusal(told, bearer("cut")).status == 401
    with pytest.raises(OSError, match="no key server"):
        told.find(bearer("broken"))


def test_token_without_a_tenant_lets_no_header_choose_one() -> None:
    resolution = Resolution([HeaderResolver(), claims_of(sub="7")], ["/"], [])
    call = Given(("x-org-slug", "acme"), ("authorization", "Bearer x"))
    told = refusal(resolution, call)
    assert (told.status, str(told)) == (403, "Tenant context is required. Provide tenant_slug in JWT.")

    optional = Resolution([HeaderResolver(), TokenResolver(lambda token: {"sub": "7"}, optional=True)], ["/"], [])
    assert optional.slug(call) == "acme"


def test_token_in_the_query_counts_for_web_sockets_that_declared_it() -> None:
    resolver = TokenResolver(lambda token: {"tenant_slug": token}, query="token")
    assert resolver.find(Given(query="token=acme", ws=True)) == "acme"
    assert resolver.find(Given(query="token=acme")) is None
    assert claims_of(tenant_slug="acme").find(Given(query="token=acme", ws=True)) is None
    assert refusal(resolver, Given(query="token=acme&token=beta", ws=True)).status == 401
    assert refusal(resolver, Given(query="token=", ws=True)).status == 401


# -- the path


@pytest.mark.parametrize(
    ("path", "slug"),
    [("/t/acme/notes", "acme"), ("/t/acme", "acme"), ("/t/", None), ("/t", None), ("/tt/acme", None), ("/", None)],
)
def test_path_names_the_segment_after_its_prefix(path: str, slug: str | None) -> None:
    assert PathResolver("/t/").find(Given(path=path)) == slug


# -- all of them


def everything() -> Resolution:
    token = TokenResolver(lambda token: {"tenant_slug": token})
    return Resolution([HeaderResolver(), token, SubdomainResolver(), PathResolver("/t")], ["/"], [])


NAMES = {
    "header": lambda slug: ("x-org-slug", slug),
    "token": lambda slug: ("authorization", f"Bearer {slug}"),
    "host": lambda slug: ("host", f"{slug}.lims.example"),
}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_sources_that_agree_are_one(count: int) -> None:
    names = list(NAMES.values())
    for first in range(len(names)):
        headers = [names[(first + number) % len(names)]("acme") for number in range(count)]
        assert everything().slug(Given(*headers)) == "acme"
        assert everything().slug(Given(*headers, path="/t/acme/notes")) == "acme"


@pytest.mark.parametrize(
    ("odd", "others"),
    [
        (odd, others)
        for odd in ("header", "token", "host", "path")
        for others in ("header", "token", "host")
        if odd != others
    ],
)
def test_source_that_disagrees_refuses_the_request(odd: str, others: str) -> None:
    headers = [NAMES[others]("acme")]
    path = "/t/beta/x" if odd == "path" else "/x"
    if odd != "path":
        headers.append(NAMES[odd]("beta"))
    told = refusal(everything(), Given(*headers, path=path))
    assert told.status == 403
    assert str(told).startswith("Tenant context is ambiguous: ")
    assert "acme" not in str(told)
    assert "beta" not in str(told)


def test_request_that_names_nobody_is_told_what_to_send() -> None:
    token = TokenResolver(lambda token: {})
    for resolvers in ([HeaderResolver(), token], [HeaderResolver(), token, SubdomainResolver()]):
        told = refusal(Resolution(resolvers, ["/"], []), Given(("host", "localhost:8000")))
        assert (told.status, str(told)) == (403, NONE_FOUND)
    assert str(refusal(Resolution([SubdomainResolver()], ["/"], []), Given())) == "Tenant context is required."


# -- paths


PATHS = {
    "/api/v1": True, "/api/v1/": True, "/api/v1/patients": True, "/beak-gql": True, "/api/v1/platformer": True,
    "/api/v1/platform": False, "/api/v1/platform/": False, "/api/v1/platform/tenants": False,
    "/api/v1/health/live": False, "/": False, "/docs": False, "/api/v10": False, "/beak-gqlx": False, "": False,
    "/api/v1/platform/../patients": True, "/api/v1/platform/./x": True, "/api/v1/platform//patients": True,
    "/api/v1/platform/..": True, "/api/v1/platform\\..\\patients": True, "/api/v1/platform/x\\y": True,
}  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_tenant_is_needed_by_whole_segments(path: str) -> None:
    resolution = Resolution(None, ["/api/v1", "/beak-gql"], ["/api/v1/platform/", "/api/v1/health"])
    assert resolution.concerns(path) is PATHS[path]


def test_everything_needs_a_tenant_unless_told_otherwise() -> None:
    resolution = Resolution(None, ["/"], ["/health"])
    assert all(resolution.concerns(path) for path in ("/", "", "*", "//health", "/healthy", "/notes"))
    assert not resolution.concerns("/health")


# -- what is told


def test_unknown_and_inactive_tenants_are_told_apart_to_their_own_only() -> None:
    unknown = not_served("acme", TenantNotFound("acme"), None)
    inactive = not_served("acme", TenantNotActive("acme", "suspended"), None)
    assert unknown.args == inactive.args
    assert str(unknown) == "Tenant 'acme' not active"
    theirs = not_served("acme", TenantNotActive("acme", "suspended"), {"tenant_slug": "acme"})
    assert str(theirs) == str(unknown)
    assert json.loads(theirs.answer(None)[0])["tenant_status"] == "suspended"


def test_refusal_is_a_problem_document_that_survives_pickling() -> None:
    told = pickle.loads(pickle.dumps(not_served("a\0\n<b>é" + "x" * 1_000_000, TenantNotFound("x"), None)))
    body, headers = told.answer("req-1")
    problem = json.loads(body)
    assert problem["type"] == "urn:tenantry:problem:tenant-not-active"
    assert (problem["title"], problem["status"], problem["request_id"]) == ("Forbidden", 403, "req-1")
    assert len(body) < 500
    assert body.isascii()
    assert dict(headers)["content-type"] == "application/problem+json"
    for unusable in (None, "", "a b", "x" * 65, "a\r\nSet-Cookie: x"):
        assert dict(told.answer(unusable)[1])["x-request-id"] != unusable
