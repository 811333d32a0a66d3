"""Who a request comes from and which host it names, believed only as far as the settings allow.

X-Forwarded-For is read from the right, and only past proxies that are trusted: what a client writes there itself is
never believed. X-Forwarded-Host is never read.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence

from tenantry.http.settings import Network

UNKNOWN = "unknown"  # a peer without an address, such as a Unix socket's
MAX_HOPS = 32  # entries of X-Forwarded-For that are looked at
_HOST = re.compile(r"(?P<name>[a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?", re.ASCII | re.IGNORECASE)

Headers = Iterable[tuple[bytes, bytes]]


def host_allowed(headers: Headers, trusted: Sequence[str]) -> bool:
    """Whether there is exactly one Host header, it is well formed, and names a trusted host."""
    given = [value for name, value in headers if name == b"host"]
    if len(given) != 1:
        return False
    found = _HOST.fullmatch(given[0].decode("latin-1"))
    if found is None:
        return False
    name = found["name"].lower().removesuffix(".")
    return any(
        pattern in ("*", name) or (pattern.startswith("*.") and name.endswith(pattern[1:])) for pattern in trusted
    )


def address_of(peer: str | None, headers: Headers, proxies: Sequence[Network]) -> str:
    """The address of the client: the peer's, or the last one that a trusted proxy reports and that is no proxy."""
    if peer is None:
        return UNKNOWN
    present = _address(peer)
    if present is None:
        return UNKNOWN
    if not proxies:
        return str(present)
    listed = b",".join(value for name, value in headers if name == b"x-forwarded-for").decode("latin-1")
    for entry in reversed(listed.split(",")[-MAX_HOPS:] if listed else []):
        if not any(present in network for network in proxies):
            break
        before = _address(entry)
        if before is None:
            break
        present = before
    return str(present)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address with or without a port; one of IPv4 in the dress of IPv6 is taken out of it."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
