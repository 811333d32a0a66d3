"""DocEX's declaration for the engine: one schema or file per tenant, made from the configuration.

One :class:`~tenantry.Tenancy` serves all DocEX objects of a process that share a configuration, so a hundred tenants
do not need a hundred pools. This is also the one place where errors of the engine become DocEX's own, in the words of
DocEX's commands.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar, cast

from sqlalchemy.engine import URL

from docex.config.docex_config import DocEXConfig
from docex.config.settings import PLACEHOLDER, DatabaseSettings, PostgresSettings, S3Settings, Settings, SqliteSettings
from docex.errors import (
    DatabaseError,
    DocexError,
    InvalidTenantIdError,
    MultiTenancyDisabled,
    TenantBusyError,
    TenantDataMissing,
    TenantExistsError,
    TenantNotProvisioned,
    TenantNotServed,
    TenantProvisioningError,
)
from docex.sqlite_files import DocumentFiles
from docex.storage import storage_base
from docex.storage.saved import BucketContents, DocumentContents, OwnPlaces
from tenantry import Migrations, NameTemplate, SlugRule, Tenancy
from tenantry.archive import TenantFiles
from tenantry.errors import (
    MigrationFailed,
    NameRejected,
    NotReady,
    RegistryMissing,
    RegistryOutdated,
    StepFailed,
    StoreExists,
    StoreMissing,
    TenancyError,
    TenantBusy,
    TenantExists,
    TenantNotActive,
    TenantNotFound,
)
from tenantry.stores.sqlite import CONTROL_FILE
from tenantry.tenant import Tenant, TenantStatus

if TYPE_CHECKING:
    from tenantry import PostgresSchemas

logger = logging.getLogger(__name__)

PLATFORM_SCHEMA = "docex_platform"  # of the registry, beside the tenants' schemas
WORTH_HEARING = 8  # objects for tenants on PostgreSQL, from which on a process hears of changes by itself
LONGEST_ID = 100  # characters; on PostgreSQL the schema's name sets a closer limit
MIGRATIONS = Migrations("docex:migrations", metadata="docex.models.schema:metadata")

Result = TypeVar("Result")

_tenancies: dict[tuple[int, DatabaseSettings, str, S3Settings, str], Tenancy] = {}
_asked: dict[tuple[int, DatabaseSettings, str, S3Settings, str], int] = {}  # how often each was wanted
_guard = threading.Lock()


class Made(StrEnum):
    """What provisioning found to do."""

    NEW = "new"
    FINISHED = "finished"  # an earlier provisioning had been interrupted or had failed
    REMADE = "remade"  # registered, but its schema or file was gone; now there is an empty one


def configured() -> Tenancy:
    """The tenants of the configuration file: what plain ``alembic`` is told in ``tenancy = docex.tenancy:configured``.

    :raises MultiTenancyDisabled: the configuration has no tenants.
    """
    settings = DocEXConfig().validate()
    if not settings.by_tenant:
        raise MultiTenancyDisabled()
    return tenancy_for(settings)


def tenancy_for(settings: Settings) -> Tenancy:
    """The tenants of this configuration, the same object for all threads of a process. Connects to nothing."""
    # A child made by fork must not share its parent's connections, and relative paths follow the working directory.
    key = (os.getpid(), settings.database, settings.storage.filesystem.path, settings.storage.s3, os.getcwd())
    with _guard:
        if key not in _tenancies:
            _tenancies[key] = _declare(settings)
        tenancy = _tenancies[key]
        asked = _asked[key] = _asked.get(key, 0) + 1
        # SQLite: a look at the registry's file from time to time, instead of its tables every time. PostgreSQL: the
        # server tells of changes, on a connection of its own, which a process that opens tenants again and again is
        # worth, and a command is not.
        if (settings.database.type == "sqlite" or asked >= WORTH_HEARING) and not tenancy.directory.watching:
            tenancy.watch()
        return tenancy


def close_all() -> None:
    """Close every connection of this process. Objects made before may be used again: they connect anew."""
    with _guard:
        # They stay known, so that what an object opens after this can be closed too. A parent's are the parent's to
        # close.
        for (process, *_), tenancy in _tenancies.items():
            if process == os.getpid():
                tenancy.close()


def _declare(settings: Settings) -> Tenancy:
    database, bucket = settings.database, settings.storage.s3
    store = _schemas(database) if database.type == "postgres" else _files(database.sqlite)
    files: list[TenantFiles] = [DocumentContents(storage_base(settings))]
    if bucket.bucket or bucket.bucket_application:
        files.append(BucketContents(bucket))
    files.append(OwnPlaces(settings))
    return Tenancy(store, MIGRATIONS, readiness=("docbasket", "document"), files=files)


def _schemas(database: DatabaseSettings) -> PostgresSchemas:
    from tenantry import PostgresSchemas  # loads the driver, which SQLite does without

    wanted = database.postgres.role_per_tenant
    store = PostgresSchemas(
        postgres_url(database.postgres),
        NameTemplate(database.postgres.schema_template, placeholder=PLACEHOLDER),
        platform=PLATFORM_SCHEMA,
        role_per_tenant=(lambda: store.may_create_roles()) if wanted == "auto" else wanted,
        slugs=slug_rule(),
        pool_size=database.pool_size,
        max_overflow=database.max_overflow,
    )
    return store


def _files(sqlite: SqliteSettings) -> DocumentFiles:
    """The template cut into the root, up to the first part that holds the tenant's id, and the rest."""
    parts = PurePosixPath(os.path.expanduser(sqlite.path_template)).parts
    first = next((index for index, part in enumerate(parts) if "{" in part), len(parts))
    root, below = Path(*parts[:first]), "/".join(parts[first:])
    return DocumentFiles(
        os.path.abspath(root),
        NameTemplate(below, placeholder=PLACEHOLDER),
        slugs=slug_rule(_registry_file_ids(below)),
        synchronous=sqlite.synchronous,
    )


def _registry_file_ids(template: str) -> frozenset[str]:
    """The id whose file would be the registry itself, if the template has one: ``{tenant_id}.db`` has."""
    before, _, after = template.partition(f"{{{PLACEHOLDER}}}")
    fits = CONTROL_FILE.startswith(before) and CONTROL_FILE.endswith(after) and len(CONTROL_FILE) > len(before + after)
    return frozenset({CONTROL_FILE[len(before) : len(CONTROL_FILE) - len(after)]}) if fits else frozenset()


def slug_rule(reserved: frozenset[str] = frozenset()) -> SlugRule:
    """Which tenant ids are allowed."""
    return SlugRule(
        pattern=rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{LONGEST_ID - 1}}}",
        says=f"use A-Z, a-z, 0-9, '_' and '-', 1 to {LONGEST_ID} long, starting with a letter or digit (acme-corp).",
        reserved=reserved,
    )


def postgres_url(postgres: PostgresSettings) -> URL:
    """The URL of the configured database, password included: print it nowhere."""
    # A directory is where a server's Unix socket lies; it is no part of a URL's network address.
    socket = {"host": postgres.host} if postgres.host.startswith("/") else {}
    return URL.create(
        "postgresql+psycopg",
        username=postgres.user,
        password=postgres.password.get_secret_value(),
        host=None if socket else postgres.host,
        port=postgres.port,
        database=postgres.database,
        query={"sslmode": postgres.sslmode, **socket},
    )


def check_tenant_id(tenancy: Tenancy, tenant_id: str) -> None:
    """:raises InvalidTenantIdError: this configuration allows no such id. Touches nothing."""
    with tenant_errors(tenant_id):
        tenancy.store.parse(tenant_id)


def missing_rights(tenancy: Tenancy, database: DatabaseSettings) -> str | None:
    """What keeps tenants from having a role each, where that was left to the user's rights; None if nothing does."""
    if database.type != "postgres" or database.postgres.role_per_tenant != "auto":
        return None
    with tenant_errors(""):
        if cast("PostgresSchemas", tenancy.store).may_create_roles():
            return None
    user = database.postgres.user
    return (
        f"Tenants are kept apart by their schemas alone: the database user {user} may not create roles. "
        f'For a role per tenant: ALTER ROLE "{user}" CREATEROLE;'
    )


def provision(tenancy: Tenancy, tenant_id: str, name: str | None = None) -> Made:
    """Make a tenant; finish one that was left unfinished; make an empty place for one that has lost its own.

    :raises TenantExistsError: the tenant is there and whole. :raises InvalidTenantIdError: its id is not allowed.
    """
    check_tenant_id(tenancy, tenant_id)
    with tenant_errors(tenant_id):
        try:
            _with_registry(tenancy, lambda: tenancy.provision(tenant_id, name=name))
            return Made.NEW
        except TenantExists as error:
            slug, holder, status = error.args
            if slug != holder:
                raise
            unfinished = status in (TenantStatus.PROVISIONING, TenantStatus.FAILED)
            if not unfinished and (status != TenantStatus.ACTIVE or tenancy.exists(tenant_id)):
                raise
        tenancy.migrate(tenant_id)
        return Made.FINISHED if unfinished else Made.REMADE


def ensure(tenancy: Tenancy, tenant_id: str, user_id: str) -> Tenant:
    """The tenant, made if no one has yet. Writes nothing for one that is there.

    :raises TenantNotServed: it is not active.
    """
    check_tenant_id(tenancy, tenant_id)
    directory = tenancy.directory
    try:
        if not directory.heard:
            directory.changed(tenant_id)  # what is remembered may be a second old: ask anew, once for all that follows
        return directory.tenant(tenant_id)
    except TenancyError:
        logger.debug("tenant %s is not served yet", tenant_id)
    with tenant_errors(tenant_id), tenancy.acting(user_id):
        tenant = _with_registry(tenancy, lambda: tenancy.ensure(tenant_id))
        return _served(tenant)


def existing(tenancy: Tenancy, tenant_id: str) -> Tenant:
    """The tenant. :raises TenantNotProvisioned: there is none. :raises TenantNotServed: it is not active."""
    check_tenant_id(tenancy, tenant_id)
    with tenant_errors(tenant_id):
        try:
            return _served(tenancy.get(tenant_id))
        except RegistryMissing as error:
            raise TenantNotProvisioned(tenant_id) from error


def exists(tenancy: Tenancy, tenant_id: str) -> bool:
    """Whether the tenant is registered and its schema or file is there. Makes nothing."""
    with tenant_errors(tenant_id):
        try:
            return tenancy.exists(tenant_id)
        except RegistryMissing:
            return False


def tenants(tenancy: Tenancy) -> list[Tenant]:
    """All tenants of every status, by id. Makes nothing: without a registry there are none."""
    with tenant_errors(""):
        try:
            return tenancy.list()
        except RegistryMissing:
            return []


def _with_registry(tenancy: Tenancy, work: Callable[[], Result]) -> Result:
    """Do the work; if it finds no registry, or one of an earlier release, make or upgrade that first."""
    try:
        return work()
    except (RegistryMissing, RegistryOutdated):
        tenancy.initialize()
    return work()


def _served(tenant: Tenant) -> Tenant:
    if tenant.status is not TenantStatus.ACTIVE:
        raise TenantNotServed(tenant.slug, tenant.status.value)
    return tenant


@contextmanager
def tenant_errors(tenant_id: str) -> Iterator[None]:
    """Turn errors of the engine into DocEX's own: see :func:`translated`."""
    try:
        yield
    except TenancyError as error:
        raise translated(error, tenant_id) from error


def translated(error: TenancyError, tenant_id: str) -> DocexError:
    """DocEX's error for one of the engine, the most specific first, naming DocEX's own commands."""
    match error:
        case NameRejected():
            return InvalidTenantIdError(str(tenant_id), error.args[2])
        case TenantExists():
            slug, holder, status = error.args
            if slug != holder:
                return TenantExistsError(slug, f"as {holder!r}; ids that differ only in letter case are one tenant")
            return TenantExistsError(slug, f"status: {status}")
        case StoreExists():
            kind, location = error.args
            return TenantExistsError(tenant_id, f"its {kind} {location} is there, but this DocEX did not make it")
        case TenantNotFound():
            return TenantNotProvisioned(error.slug)
        case TenantNotActive():
            return TenantNotServed(*error.args)
        case TenantBusy():
            return TenantBusyError(error.slug)
        case StoreMissing():
            slug, kind, location = error.args
            return TenantDataMissing(slug, f"{kind} {location}")
        case StepFailed() | NotReady() | MigrationFailed():
            return TenantProvisioningError(tenant_id, f"{error} Run the command again to finish it.")
        case _:
            return DatabaseError(str(error))
