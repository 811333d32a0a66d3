"""Which class does the work of which kind of route, and which configuration it takes.

A kind of an application's own is registered under a name that is not taken, with its configuration's class.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple, cast

from pydantic import ValidationError

from docex.config.settings import problems
from docex.errors import RouteRejected
from docex.transport.base import BaseTransporter
from docex.transport.config import (
    BaseTransportConfig,
    HTTPTransportConfig,
    LocalTransportConfig,
    S3TransportConfig,
    SFTPTransportConfig,
)


class Kind(NamedTuple):
    """A kind of route: the class of its configuration, and where the class that does the work is found."""

    config: type[BaseTransportConfig]
    module: str
    name: str


class TransporterFactory:
    """Makes transporters from configurations."""

    # Found when they are used: each loads a library of its own.
    _kinds: dict[str, Kind] = {
        "local": Kind(LocalTransportConfig, "docex.transport.local", "LocalTransporter"),
        "sftp": Kind(SFTPTransportConfig, "docex.transport.sftp", "SFTPTransporter"),
        "http": Kind(HTTPTransportConfig, "docex.transport.http", "HTTPTransporter"),
        "s3": Kind(S3TransportConfig, "docex.transport.s3", "S3Transporter"),
    }

    @classmethod
    def register(
        cls,
        transport_type: str,
        transporter_class: type[BaseTransporter],
        config_class: type[BaseTransportConfig] = BaseTransportConfig,
    ) -> None:
        """Add a kind of route, or replace one, for this process. The class must be importable by its name."""
        kind = Kind(config_class, transporter_class.__module__, transporter_class.__qualname__)
        cls._kinds[str(transport_type)] = kind

    @classmethod
    def types(cls) -> list[str]:
        """The kinds that can be used."""
        return list(cls._kinds)

    @classmethod
    def check(cls, route: str, transport_type: str, values: Mapping[str, Any]) -> BaseTransportConfig:
        """The configuration of a route, checked.

        :raises RouteRejected: there is no such kind, or a value cannot be used; the text repeats no value.
        """
        kind = cls._kinds.get(transport_type)
        if kind is None:
            raise RouteRejected(route, f"type {transport_type!r} is not one of {', '.join(cls._kinds)}.")
        given = {"type": transport_type, **values}
        if str(given["type"]) != transport_type:
            raise RouteRejected(route, f"its configuration is for type {str(given['type'])!r}, not {transport_type!r}.")
        try:
            return kind.config.model_validate(given)
        except ValidationError as error:
            # Without the cause: pydantic keeps the rejected values in it.
            raise RouteRejected(route, f"{problems(error)}.") from None

    @classmethod
    def create_transporter(cls, config: BaseTransportConfig) -> BaseTransporter:
        """What does the work of this configuration. Connects to nothing. :raises ExtraMissing: its library is not
        installed.
        """
        kind = cls._kinds.get(config.type)
        if kind is None:
            raise RouteRejected(config.name or "", f"type {config.type!r} is not one of {', '.join(cls._kinds)}.")
        made: Any = import_module(kind.module)
        for part in kind.name.split("."):
            made = getattr(made, part)
        return cast(BaseTransporter, made(config))
