"""A Host is served, and an address believed, only as far as the settings say."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.errors import DeclarationError
from tenantry.http.addresses import address_of, host_allowed
from tenantry.http.settings import HttpSettings

TRUSTED = ("lims.example.org", "*.example.net", "127.0.0.1", "[::1]")
PROXIES = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))


@pytest.mark.parametrize(
    "host",
    [
        "lims.example.org",
        "LIMS.example.org:8443",
        "lims.example.org.",
        "a.example.net",
        "a.b.example.net",
        "127.0.0.1:1",
        "[::1]:8000",
    ],
)
def test_a_trusted_host_is_served(host: str) -> None:
    assert host_allowed([(b"host", host.encode())], TRUSTED)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.org",
        "example.net",
        "lims.example.org.evil.org",
        "evil-lims.example.org",
        "lims.example.org@evil.org",
        "lims.example.org/evil",
        "lims.example.org:evil",
        "lims.example.org evil.org",
        "lims.example.org\r\nX: y",
        "lims.example.org:80:80",
        "127.0.0.1.evil.org",
        "xn--lims.example.org",
        "a" * 300 + ".example.net",
        "\xe4.example.net",
    ],
)
def test_any_other_host_is_not(host: str) -> None:
    assert not host_allowed([(b"host", host.encode("latin-1"))], TRUSTED)


def test_a_request_with_no_host_or_two_is_not_served() -> None:
    assert not host_allowed([], TRUSTED)
    assert not host_allowed([(b"host", b"lims.example.org"), (b"host", b"lims.example.org")], TRUSTED)
    assert not host_allowed([(b"host", b"evil.org"), (b"x-forwarded-host", b"lims.example.org")], TRUSTED)


@pytest.mark.parametrize(
    ("peer", "forwarded", "believed"),
    [
        ("203.0.113.5", "1.1.1.1", "203.0.113.5"),  # no proxy: what it says of others is its own
        ("10.0.0.1", "1.1.1.1", "1.1.1.1"),
        ("10.0.0.1", "6.6.6.6, 1.1.1.1", "1.1.1.1"),  # the client wrote the first
        ("10.0.0.1", "1.1.1.1, 10.0.0.2", "1.1.1.1"),  # two proxies in a row
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "rubbish", "10.0.0.1"),
        ("10.0.0.1", "1.1.1.1, <script>", "10.0.0.1"),
        ("10.0.0.1", "1.1.1.1:5000", "1.1.1.1"),
        ("10.0.0.1", "[2001:db8::1]:443", "2001:db8::1"),
        ("fd00::1", "2001:db8::7", "2001:db8::7"),
        ("::ffff:10.0.0.1", "1.1.1.1", "1.1.1.1"),
        ("10.0.0.1", "10.0.0.9", "10.0.0.9"),
        (None, "1.1.1.1", "unknown"),
        ("not an address", "1.1.1.1", "unknown"),
    ],
)
def test_the_address_is_the_last_one_that_no_trusted_proxy_has(peer: str | None, forwarded: str, believed: str) -> None:
    headers = [(b"x-forwarded-for", forwarded.encode())] if forwarded else []
    assert address_of(peer, headers, PROXIES) == believed


def test_without_trusted_proxies_the_header_is_never_read() -> None:
    assert address_of("10.0.0.1", [(b"x-forwarded-for", b"1.1.1.1")], ()) == "10.0.0.1"


@given(st.binary(max_size=200), st.sampled_from(["10.0.0.1", "203.0.113.5", "fd00::1"]))
def test_whatever_is_forwarded_the_outcome_is_an_address(forwarded: bytes, peer: str) -> None:
    ipaddress.ip_address(address_of(peer, [(b"x-forwarded-for", forwarded)], PROXIES))


@pytest.mark.parametrize("host", ["UPPER.org", "a/b", "", "*.", "*x.org", "http://x.org"])
def test_a_trusted_host_that_could_match_nothing_is_refused(host: str) -> None:
    with pytest.raises(DeclarationError, match="trusted host"):
        HttpSettings(trusted_hosts=(host,))


def test_a_trusted_proxy_that_is_no_address_is_refused() -> None:
    with pytest.raises(DeclarationError, match="trusted proxy"):
        HttpSettings(trusted_proxies=("proxy.example.org",))


def test_settings_reach_a_worker_as_they_are_and_keep_their_secret() -> None:
    settings = HttpSettings(trusted_hosts=("a.org",), trusted_proxies=("10.0.0.0/8",), metrics_token="geheim-7")
    assert HttpSettings.loaded(settings.dumped()) == settings
    assert "geheim" not in repr(settings)
