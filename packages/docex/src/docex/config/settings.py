"""What may stand in the configuration, with the packaged defaults.

Every value here is read by DocEX, except the section ``app``, which belongs to the application. A key that is not
declared here is unknown: it is reported and has no effect.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from tenantry.errors import NameRejected
from tenantry.names import NameTemplate, RelativePath

PLACEHOLDER = "tenant_id"  # what stands for the tenant's id in a template
SECTIONS = ("database", "storage", "logging", "security", "multi_tenancy", "processing", "app")


class Section(BaseModel):
    """Base of all sections. The values given are left out of error texts: one of them may be a password."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


def _template(value: str) -> str:
    try:
        NameTemplate(value, placeholder=PLACEHOLDER)
    except NameRejected as error:
        raise ValueError(error.args[2].rstrip(".")) from error
    return value


Template = Annotated[str, AfterValidator(_template)]


class SqliteSettings(Section):
    """Where the SQLite files lie, relative to the working directory."""

    path: str = Field(default="docex.db", min_length=1)  # without multi-tenancy
    path_template: Template = "storage/tenant_{tenant_id}/docex.db"  # one file per tenant
    synchronous: Literal["full", "normal"] = "full"  # what a commit waits for: see docex.sqlite_files

    @field_validator("path_template")
    @classmethod
    def _leads_below(cls, value: str) -> str:
        """What follows the id must not lead back up: tenants would share a file, or leave the directory."""
        parts = PurePosixPath(value).parts
        first = next(index for index, part in enumerate(parts) if "{" in part)
        try:
            RelativePath("/".join(parts[first:]).replace(f"{{{PLACEHOLDER}}}", "x"))
        except NameRejected as error:
            raise ValueError(f"from {{{PLACEHOLDER}}} on, {error.args[2].rstrip('.')}") from error
        return value


class PostgresSettings(Section):
    """How to reach PostgreSQL, and how a tenant's schema is named."""

    host: str = Field(default="localhost", min_length=1)  # a name, an address, or the directory of a Unix socket
    port: int = Field(default=5432, ge=1, le=65535)
    database: str = Field(default="docex", min_length=1)
    user: str = Field(default="postgres", min_length=1)
    password: SecretStr = SecretStr("postgres")
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = "prefer"
    schema_template: Template = "tenant_{tenant_id}"
    role_per_tenant: Literal["auto", True, False] = "auto"  # auto: if the user has CREATEROLE

    @field_validator("password", mode="before")
    @classmethod
    def _password_is_text(cls, value: Any) -> Any:
        # YAML reads `password: 0123` as the number 123: taking it would try a password that nobody wrote.
        if not isinstance(value, str | SecretStr):
            raise ValueError("put the password in quotes")
        return value


class DatabaseSettings(Section):
    """Which database, and its pool of connections (PostgreSQL)."""

    type: Literal["sqlite", "postgres"] = "sqlite"
    sqlite: SqliteSettings = SqliteSettings()
    postgres: PostgresSettings = PostgresSettings()
    pool_size: int = Field(default=5, ge=1)
    max_overflow: int = Field(default=10, ge=0)

    @field_validator("type", mode="before")
    @classmethod
    def _postgresql_is_postgres(cls, value: Any) -> Any:
        return "postgres" if value == "postgresql" else value


class SecuritySettings(Section):
    """Whether every tenant has a database of its own, and whether a user must be named."""

    multi_tenancy_model: Literal["row_level", "database_level"] = "row_level"
    tenant_database_routing: bool = False
    enforce_user_context: bool = False

    @model_validator(mode="after")
    def _routing_needs_the_model(self) -> SecuritySettings:
        # Going on would put the documents of all tenants into one database.
        if self.tenant_database_routing and self.multi_tenancy_model == "row_level":
            raise ValueError("tenant_database_routing is true, so multi_tenancy_model must be database_level")
        return self


class MultiTenancySettings(Section):
    """``enabled``: every tenant has a database of its own and must be provisioned before its first access."""

    enabled: bool = False


class LoggingSettings(Section):
    """A file for DocEX's log records, and the level from which they are written to it."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    file: str | None = None

    @field_validator("level", mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value


class FilesystemSettings(Section):
    """The directory of the documents' contents, relative to the working directory."""

    path: str = Field(default="storage/docex", min_length=1)


class S3Settings(Section):
    """The bucket of the documents' contents. Without keys boto3 looks for them itself: AWS_* variables, AWS_PROFILE."""

    bucket: str | None = None
    bucket_application: str | None = None  # without a bucket: {bucket_application}-documents-bucket
    region: str = "us-east-1"
    endpoint_url: str | None = None  # of a server that is not Amazon's
    path_namespace: str = ""  # keys begin with {tenant_id}/{path_namespace}/{prefix}/
    prefix: str = ""
    access_key: str | None = None
    secret_key: SecretStr | None = None
    session_token: SecretStr | None = None
    max_retries: int = Field(default=3, ge=0, le=20)
    connect_timeout: float = Field(default=60, gt=0)  # seconds
    read_timeout: float = Field(default=60, gt=0)  # seconds
    server_side_encryption: Literal["AES256", "aws:kms"] | None = None
    kms_key_id: str | None = None
    readable_copies: bool = True  # keep a copy under {basket}/{name}, as S3 has no links


class StorageSettings(Section):
    """Where the contents of new baskets are kept, unless they say otherwise."""

    type: Literal["filesystem", "s3"] = "filesystem"
    filesystem: FilesystemSettings = FilesystemSettings()
    s3: S3Settings = S3Settings()


class ProcessingSettings(Section):
    """Processors of the application's own, as ``module:Class``, and what one run may take before it is stopped."""

    processors: list[str] = Field(default_factory=list)
    timeout: float = Field(default=60, gt=0, le=3600)  # seconds
    memory: int = Field(default=1024, ge=128)  # MiB
    output: int = Field(default=256, ge=1)  # MiB of one file that it writes


class Settings(Section):
    """The whole configuration, checked."""

    database: DatabaseSettings = DatabaseSettings()
    storage: StorageSettings = StorageSettings()
    logging: LoggingSettings = LoggingSettings()
    security: SecuritySettings = SecuritySettings()
    multi_tenancy: MultiTenancySettings = MultiTenancySettings()
    processing: ProcessingSettings = ProcessingSettings()
    app: dict[str, Any] = Field(default_factory=dict)

    @property
    def by_tenant(self) -> bool:
        """Whether every tenant has a database of its own."""
        return self.multi_tenancy.enabled or self.security.multi_tenancy_model == "database_level"

    @property
    def provisions_on_access(self) -> bool:
        """Whether a tenant's first access makes it."""
        return self.by_tenant and not self.multi_tenancy.enabled


def defaults() -> dict[str, Any]:
    """The packaged defaults as plain values."""
    values = Settings().model_dump(mode="json")
    values["database"]["postgres"]["password"] = Settings().database.postgres.password.get_secret_value()
    return values


def problems(error: ValidationError) -> str:
    """The faults found, with their keys, without the values."""
    return "; ".join(
        f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg'].removeprefix('Value error, ')}"
        for fault in error.errors(include_url=False, include_input=False, include_context=False)
    )


def unknown_keys(values: dict[str, Any], section: type[BaseModel] = Settings, prefix: str = "") -> list[str]:
    """The dotted keys that stand in ``values`` and are not declared."""
    found = []
    for key, value in values.items():
        declared = section.model_fields.get(key)
        if declared is None:
            found.append(f"{prefix}{key}")
        elif (
            isinstance(declared.annotation, type)
            and issubclass(declared.annotation, Section)
            and isinstance(value, dict)
        ):
            found += unknown_keys(value, declared.annotation, f"{prefix}{key}.")
    return found
