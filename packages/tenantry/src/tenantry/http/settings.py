"""What an installation may set of its HTTP edge: hosts, proxies, limits and times.

Plain values with safe defaults: loopback names only, no trusted proxy, small bodies.
"""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import asdict, dataclass, fields
from typing import Any

from tenantry.errors import DeclarationError

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_HOST = re.compile(r"\*|(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]", re.ASCII)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class HttpSettings:
    """The settings of one platform. Times in seconds, sizes in bytes.

    ``trusted_hosts``: names that a Host header may hold, ``*.example.org`` for every name below it, ``*`` for any.
    ``trusted_proxies``: addresses or networks whose X-Forwarded-For is believed.
    ``readers``, ``workers``: threads for quick questions and for work on tenants; each holds one or two connections of
    the store's pool. ``waiting``: how many of each may wait for a thread before others are told to come back.
    ``metrics_token``: a bearer token that opens /metrics and nothing else.
    """

    trusted_hosts: tuple[str, ...] = LOOPBACK
    trusted_proxies: tuple[str, ...] = ()
    max_body: int = 1024 * 1024
    body_timeout: float = 15.0
    read_timeout: float = 15.0
    work_timeout: float = 300.0
    send_timeout: float = 30.0
    readers: int = 5
    workers: int = 4
    waiting: int = 200
    exports: int = 2
    idempotency_kept: float = 24 * 3600.0
    metrics_token: str | None = None

    def __post_init__(self) -> None:
        for host in self.trusted_hosts:
            if not _HOST.fullmatch(host):
                raise DeclarationError(host, "a trusted host is a lower-case name, *.name, an address, or *.")
        self.networks()

    def __repr__(self) -> str:
        shown = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if f.name != "metrics_token")
        return f"HttpSettings({shown})"

    def networks(self) -> tuple[Network, ...]:
        """The trusted proxies. :raises DeclarationError: one of them is no address and no network."""
        try:
            return tuple(ipaddress.ip_network(text) for text in self.trusted_proxies)
        except ValueError as error:
            reason = f"a trusted proxy is an address or a network, such as 10.0.0.0/8 ({error})."
            raise DeclarationError(", ".join(self.trusted_proxies), reason) from None

    def dumped(self) -> str:
        """The settings as text, for a worker process."""
        return json.dumps(asdict(self))

    @classmethod
    def loaded(cls, text: str) -> HttpSettings:
        """The settings that :meth:`dumped` wrote."""
        values: dict[str, Any] = json.loads(text)
        for name in ("trusted_hosts", "trusted_proxies"):
            values[name] = tuple(values[name])
        return cls(**values)
