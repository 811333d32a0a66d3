"""What an installation may set: by environment variable, or in a file ``.env`` of the working directory.

The environment wins. Reading the settings connects to nothing and writes nothing. A value that cannot be used is
refused with its name and the reason, never repeated: it may be a secret. Secrets are kept as ``SecretStr`` and do not
appear in a repr.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from beak_lims.errors import SettingRejected

URL_FORM = "postgresql://user:password@host:port/database"
ENV_FILE = ".env"
ENV_ENCODING = "utf-8-sig"  # some editors put a byte order mark in front; it is not part of the first name
NAME = r"[a-z][a-z0-9_]*"
MAX_PREFIX = 62  # bytes; PostgreSQL cuts a name after 63, and at least one letter of the slug must fit
TAKEN_HEADERS = frozenset({"authorization", "host", "cookie", "content-type", "x-laboratory-id", "x-request-id"})
MAX_SCHEMA = 63  # bytes
LOCAL_ORIGINS = r"https?://([a-z0-9-]+\.)*localtest\.me(:\d+)?"  # of development


def _database_url(value: SecretStr) -> SecretStr:
    """The URL with the one driver there is. Its text never enters the message: it holds a password."""
    scheme, separator, rest = value.get_secret_value().strip().partition("://")
    if not separator or scheme not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise ValueError(f"it must read {URL_FORM}; no other database or driver is supported.")
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    url = f"postgresql+psycopg://{rest}"
    try:
        made = make_url(url)
    except (ArgumentError, ValueError):
        raise ValueError(f"it is not a URL; write {URL_FORM}, with %40 for a '@' in a password.") from None
    if not url.isprintable():
        raise ValueError("it holds characters that cannot be printed; write them as %XX.")
    if not made.database:
        raise ValueError(f"it names no database; write {URL_FORM}.")
    return SecretStr(url)


def _home(value: Path) -> Path:
    """An absolute directory; one that is not there yet is made by the embedded server."""
    directory = value.expanduser().absolute()
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"{directory} is not a directory.")
    return directory


def _prefix(value: str) -> str:
    if not re.fullmatch(NAME, value) or value.startswith("pg_") or len(value) > MAX_PREFIX:
        raise ValueError(
            f"use a-z, 0-9 and '_', starting with a letter, at most {MAX_PREFIX} long and not beginning with pg_."
        )
    return value


def _schema(value: str) -> str:
    if not re.fullmatch(NAME, value) or value.startswith("pg_") or len(value) > MAX_SCHEMA:
        raise ValueError(
            f"use a-z, 0-9 and '_', starting with a letter, at most {MAX_SCHEMA} long and not beginning with pg_."
        )
    if value in ("public", "information_schema"):
        raise ValueError(f"{value} belongs to PostgreSQL; choose another schema.")
    return value


def _header(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,63}", value) or value.lower() in TAKEN_HEADERS:
        raise ValueError("name a header of its own with letters, digits and '-', such as X-Org-Slug.")
    return value


def _origins(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"it is no regular expression ({error}).") from None
    return value


def _default_home() -> Path:
    from platformdirs import user_data_path

    return user_data_path("beak-lims", appauthor=False)


class Settings(BaseSettings):
    """The settings of one installation. Made by :func:`load_settings`."""

    model_config = SettingsConfigDict(
        env_file=ENV_FILE, env_file_encoding=ENV_ENCODING, env_ignore_empty=True, extra="ignore"
    )

    database_url: Annotated[SecretStr, AfterValidator(_database_url)] | None = Field(
        default=None, validation_alias="BEAK_DATABASE_URL"
    )
    home: Annotated[Path, AfterValidator(_home)] = Field(default_factory=_default_home, validation_alias="BEAK_HOME")
    tenant_schema_prefix: Annotated[str, AfterValidator(_prefix)] = Field(
        default="org_", validation_alias="TENANT_SCHEMA_PREFIX"
    )
    platform_schema: Annotated[str, AfterValidator(_schema)] = Field(
        default="platform", validation_alias="PLATFORM_SCHEMA"
    )
    tenant_header_name: Annotated[str, AfterValidator(_header)] = Field(
        default="X-Org-Slug", validation_alias="TENANT_HEADER_NAME"
    )
    # Pages of these origins may call the HTTP server from a browser. A whole origin must fit.
    cors_origin_regex: Annotated[str, AfterValidator(_origins)] = Field(
        default=LOCAL_ORIGINS, validation_alias="CORS_ORIGIN_REGEX"
    )
    # Off: schemas are kept apart by the search_path alone, for a database user who may not make roles.
    tenant_roles: bool = Field(default=True, validation_alias="BEAK_TENANT_ROLES")
    # The one tenant of a single-organisation installation; commands that name none work on it.
    default_tenant_slug: str | None = Field(default=None, validation_alias="DEFAULT_TENANT_SLUG")
    default_primary_industry: str = Field(default="clinical", validation_alias="DEFAULT_PRIMARY_INDUSTRY")
    secret_key: SecretStr | None = Field(default=None, validation_alias="SECRET_KEY")
    # Several, separated by commas: the first encrypts, all decrypt. Without them a key is made and kept in the home.
    encryption_key: SecretStr | None = Field(default=None, validation_alias="HIPAA_ENCRYPTION_KEY")
    search_key: SecretStr | None = Field(default=None, validation_alias="SEARCH_ENCRYPTION_KEY")
    platform_superuser_email: str | None = Field(default=None, validation_alias="PLATFORM_SUPERUSER_EMAIL")
    platform_superuser_username: str | None = Field(default=None, validation_alias="PLATFORM_SUPERUSER_USERNAME")
    platform_superuser_password: SecretStr | None = Field(default=None, validation_alias="PLATFORM_SUPERUSER_PASSWORD")


def load_settings() -> Settings:
    """Read the environment and ``.env``.

    :raises SettingRejected: a value cannot be used, or ``.env`` is damaged: a line of it that is skipped could be the
    one that names the database.
    """
    _check_env_file(Path(ENV_FILE))
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        reason = first["msg"].removeprefix("Value error, ")
        raise SettingRejected(str(first["loc"][0]), reason) from None


def _check_env_file(path: Path) -> None:
    from dotenv.parser import parse_stream

    try:
        with path.open(encoding=ENV_ENCODING) as stream:
            damaged = next(
                (
                    binding.original.line
                    for binding in parse_stream(stream)
                    if binding.error or "\0" in binding.original.string
                ),
                None,
            )
    except FileNotFoundError:
        return
    except UnicodeDecodeError:
        raise SettingRejected(
            str(path.absolute()), "it is not UTF-8 text; write it anew, one NAME=value a line."
        ) from None
    except OSError as error:
        raise SettingRejected(str(path.absolute()), f"it cannot be read ({error.strerror}).") from None
    if damaged is not None:
        raise SettingRejected(
            str(path.absolute()),
            f"line {damaged} cannot be understood; write NAME=value, in quotes if the value holds spaces or '#'.",
        )
