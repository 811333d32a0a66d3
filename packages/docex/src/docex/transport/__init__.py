"""Routes: ways on which documents leave and files arrive, over the file system, SFTP, HTTP or S3.

What older scripts import from here is found when it is asked for: each kind of route loads a library of its own.
"""

from importlib import import_module
from typing import Any

_PLACES = {
    "BaseTransportConfig": "config",
    "BaseTransporter": "base",
    "HTTPTransport": "http",
    "HTTPTransportConfig": "config",
    "LocalTransport": "local",
    "LocalTransportConfig": "config",
    "OtherParty": "config",
    "Route": "route",
    "RouteConfig": "config",
    "SFTPTransport": "sftp",
    "SFTPTransportConfig": "config",
    "TransportResult": "transport_result",
    "TransportType": "config",
    "TransporterFactory": "transporter_factory",
}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(f"docex.transport.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES])
