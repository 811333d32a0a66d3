"""What a route is configured with, checked before anything is connected to.

A credential is given as text, which is sealed before it is stored, or as ``{"env": "NAME"}``, which stays a reference
and is read from the environment when it is used. Neither stands in a representation or an error.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator

from docex.vault import Vault

MASK = "********"
SEALED = "sealed"  # the key by which a stored credential is told from other values


class TransportType(StrEnum):
    """How files travel. The last three are names that are kept for later."""

    LOCAL = "local"
    SFTP = "sftp"
    HTTP = "http"
    S3 = "s3"
    SMTP = "smtp"
    AZURE = "azure"
    GCS = "gcs"


class RouteMethod(StrEnum):
    """What can be done over a route."""

    UPLOAD = "upload"
    DOWNLOAD = "download"
    LIST = "list"
    DELETE = "delete"


class Part(BaseModel):
    """Base of everything here: unknown keys are refused, and values stay out of error texts."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class FromEnvironment(Part):
    """A credential that an environment variable holds."""

    env: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")


Secret = SecretStr | FromEnvironment


class OtherParty(Part):
    """Whom a route connects to."""

    id: str = Field(max_length=255)
    name: str = Field(max_length=255)
    type: str = Field(max_length=50)  # customer, supplier, partner ...
    metadata: dict[str, Any] = Field(default_factory=dict)


class BaseTransportConfig(Part):
    """What every kind of route has."""

    type: str
    name: str | None = None  # of the transport; of no effect
    enabled: bool = True
    retry_count: int = Field(default=3, ge=0, le=20)  # how often an attempt that found nobody is repeated
    retry_delay: float = Field(default=0.5, ge=0, le=60)  # seconds before the first repetition; doubled each time
    timeout: float = Field(default=30, gt=0, le=3600)  # seconds without an answer
    metadata: dict[str, Any] = Field(default_factory=dict)


class LocalTransportConfig(BaseTransportConfig):
    """A directory of this machine."""

    type: Literal["local"] = "local"
    base_path: str = Field(min_length=1)  # relative to the working directory
    create_dirs: bool = True


class SFTPTransportConfig(BaseTransportConfig):
    """A directory of an SFTP server, whose key must be known.

    The key is looked for in ``host_key`` (``ssh-ed25519 AAAA...`` or a fingerprint ``SHA256:...``), else in the file
    ``known_hosts``, else in the user's own ``~/.ssh/known_hosts``.
    """

    type: Literal["sftp"] = "sftp"
    host: str = Field(min_length=1)
    port: int = Field(default=22, ge=1, le=65535)
    username: str = Field(min_length=1)
    password: Secret | None = None
    key_file: str | None = None
    key_passphrase: Secret | None = None
    remote_path: str = Field(default=".", min_length=1)
    host_key: str | None = None
    known_hosts: str | None = None

    @model_validator(mode="after")
    def _someone_can_log_in(self) -> Self:
        if self.password is None and self.key_file is None:
            raise ValueError("give a password or a key_file")
        return self


class HTTPAuth(Part):
    """Basic authentication."""

    username: str
    password: Secret


class HTTPTransportConfig(BaseTransportConfig):
    """An HTTP server. Paths are taken below ``endpoint``; redirects are not followed."""

    type: Literal["http"] = "http"
    endpoint: str
    method: Annotated[
        Literal["POST", "PUT", "PATCH"], BeforeValidator(lambda v: v.upper() if isinstance(v, str) else v)
    ] = "POST"  # PUT sends the bytes as they are, the others a form with the field `file`
    headers: dict[str, Secret] = Field(default_factory=dict)
    auth: HTTPAuth | None = None
    verify_ssl: bool = True
    ca_file: str | None = None  # of the authority that signed the server's certificate, instead of the system's

    @field_validator("endpoint")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("expected an address such as https://example.com/inbox")
        if parts.username or parts.password:
            raise ValueError("put user and password into 'auth', not into the address")
        if parts.query or parts.fragment:
            raise ValueError("an address without '?' and '#' is expected")
        return value if value.endswith("/") else f"{value}/"

    @field_validator("headers")
    @classmethod
    def _headers_are_of_one_line(cls, value: dict[str, Secret]) -> dict[str, Secret]:
        for name, content in value.items():
            text = content.get_secret_value() if isinstance(content, SecretStr) else ""
            if not name or not name.isascii() or any(c in name + text for c in "\r\n\0"):
                raise ValueError("a header's name is plain ASCII, and neither it nor its value holds line breaks")
        return value


class S3TransportConfig(BaseTransportConfig):
    """A bucket of S3, or of a server that speaks its protocol."""

    type: Literal["s3"] = "s3"
    bucket: str = Field(min_length=3, max_length=63)
    prefix: str = ""
    region: str | None = None
    endpoint_url: str | None = None
    access_key: str | None = None  # without it: boto3's own chain (AWS_* variables, profile, instance role)
    secret_key: Secret | None = None
    session_token: Secret | None = None
    server_side_encryption: Literal["AES256", "aws:kms"] | None = None
    kms_key_id: str | None = None

    @model_validator(mode="after")
    def _keys_come_in_pairs(self) -> Self:
        if (self.access_key is None) != (self.secret_key is None):
            raise ValueError("give access_key and secret_key, or neither")
        return self


class RouteConfig(Part):
    """A route, whole: for those who keep routes in a file of their own."""

    name: str
    purpose: str = "distribution"
    protocol: TransportType
    config: LocalTransportConfig | SFTPTransportConfig | HTTPTransportConfig | S3TransportConfig
    can_upload: bool = False
    can_download: bool = False
    can_list: bool = False
    can_delete: bool = False
    other_party: OtherParty | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    tags: list[str] = Field(default_factory=list)
    priority: int = Field(default=0, ge=0)
    enabled: bool = True


def stored(config: BaseTransportConfig, vault: Vault, context: str) -> dict[str, Any]:
    """The configuration as it is written into the database: plain JSON, credentials sealed."""

    def kept(value: Any, where: str) -> Any:
        if isinstance(value, SecretStr):
            return {SEALED: vault.seal(value.get_secret_value(), where)}
        return value

    return _mapped(config.model_dump(mode="python", exclude_none=True), kept, context)


def opened(values: Mapping[str, Any], vault: Vault, context: str) -> dict[str, Any]:
    """What was stored, unsealed, to be checked again and used at once.

    :raises CredentialError: a credential cannot be opened.
    """

    def unsealed(value: Any, where: str) -> Any:
        match value:
            case {"sealed": str(text), **rest} if not rest:
                return SecretStr(vault.open(text, where))
        return value

    return _mapped(values, unsealed, context)


def clear(secret: Secret) -> str:
    """A credential to be used now: keep it in no object. :raises CredentialError: its variable is not set."""
    if isinstance(secret, SecretStr):
        return secret.get_secret_value()
    return Vault().from_environment(secret.env, secret.env)


def masked(values: Mapping[str, Any]) -> dict[str, Any]:
    """What was stored, to be shown: credentials as asterisks, references as they are."""

    def hidden(value: Any, where: str) -> Any:
        match value:
            case {"sealed": str(), **rest} if not rest:
                return MASK
        return value

    return _mapped(values, hidden, "")


def directory_of(config: LocalTransportConfig) -> str:
    """The absolute path of a local route's directory."""
    return os.path.abspath(os.path.expanduser(config.base_path))


def _mapped(values: Mapping[str, Any], change: Callable[[Any, str], Any], where: str) -> dict[str, Any]:
    """A copy with ``change`` made to every value; the user's own ``metadata`` is left alone."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        here = f"{where}.{key}" if where else key
        changed = value if key == "metadata" else change(value, here)
        if changed is value and isinstance(value, Mapping) and key != "metadata":
            changed = _mapped(value, change, here)
        result[key] = changed
    return result
