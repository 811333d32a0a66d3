"""A schema and a role per tenant on PostgreSQL.

One pool serves every tenant and the control plane. The role is the second wall: it may read and write its own tables
and no other's; DDL belongs to the user of the connection URL, the owner. It guards against mistakes; SQL that says
RESET ROLE is the application's to prevent.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import psycopg
import sqlalchemy as sa
from psycopg import generators, pq, sql
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from tenantry.errors import (
    DeclarationError,
    NameRejected,
    PermissionMissing,
    StatementFailed,
    StoreMissing,
    StoreUnavailable,
)
from tenantry.names import MAX_IDENTIFIER, NameTemplate, SchemaName, Slug, SlugRule
from tenantry.stores import routing
from tenantry.stores.base import Site, Statement, Store, retire
from tenantry.stores.faults import faults
from tenantry.tenant import Tenant

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

CONNECT_TIMEOUT = 10  # seconds until an unreachable server is an error
POOL_TIMEOUT = 10  # seconds until having no free connection is an error
# A server that is gone without a word is noticed after half a minute, not after the two hours of the system's default.
# What the connection URL says wins.
KEEPALIVE = {"keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 30_000}
TENANTS_PER_CONNECTION = 1_000  # whose tables one server process remembers; opening another takes some 3 ms
SEPARATOR = "\n;\n"  # between the statements of a message; the new line ends a comment that a statement may end with
DROP_BATCH = (
    50  # tables per transaction; one DROP of many exhausts max_locks_per_transaction for every session of the server
)
# What a tenant's role may do with its own tables and sequences: use them, not change them.
TENANT_RIGHTS = (
    (sql.SQL("SELECT, INSERT, UPDATE, DELETE"), sql.SQL("TABLES")),
    (sql.SQL("USAGE, SELECT, UPDATE"), sql.SQL("SEQUENCES")),
)
MAX_BOUND_ENGINES = 4096  # tenants whose bound engine is remembered; one is about 2 kB
CROWDED = MAX_BOUND_ENGINES // 2  # from there on it matters which were asked for last


_LITERAL = r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|(?P<tag>\$\w*\$).*?(?P=tag)"
_OPAQUE = re.compile(rf"(?P<literal>{_LITERAL})|--[^\n]*|/\*.*?\*/", re.DOTALL)

Binding = tuple[str, str | None]  # schema and role
Bound = TypeVar("Bound")


@dataclass(frozen=True)
class Login:
    """What the user of the connection URL is and may do, in this database."""

    database: str
    database_oid: int
    user: str
    superuser: bool
    may_create_schemas: bool
    may_create_roles: bool
    version: int  # server_version_num, e.g. 150020


class PostgresSchemas(Store):
    """Tenants as schemas of one PostgreSQL database.

    ``url``: of the owner, or a function that gives it at first use. ``name``: the schema of a slug. ``platform``: the
    schema of the registry. ``role_per_tenant``: without it the schemas are kept apart by the search_path alone, and the
    owner needs no CREATEROLE. ``extensions``: the one schema that tenants may see beside their own.
    ``prepare_threshold``: psycopg's; None behind a pooler that does not know prepared statements.
    ``tenants_per_connection``: after so many different tenants a connection is closed, see :class:`routing.Wear`.
    ``name_in_statements``: see :class:`routing.Route`. Without it tenants share a connection's prepared statements,
    which is faster where an application sends more different ones to a few tenants than psycopg keeps (100).
    """

    kind = "schema"
    dialect_name = "postgresql"
    exclusive = False  # the registry's row is the lock

    def __init__(
        self,
        url: str | URL | Callable[[], str | URL],
        name: str | NameTemplate,
        *,
        platform: str = "platform",
        role_per_tenant: bool | Callable[[], bool] = True,
        extensions: str | None = None,
        slugs: SlugRule | None = None,
        pool_size: int = 5,
        max_overflow: int = 10,
        prepare_threshold: int | None = 5,
        tenants_per_connection: int | None = TENANTS_PER_CONNECTION,
        name_in_statements: bool = True,
    ) -> None:
        super().__init__(name, slugs)
        self._url = url
        self._platform = platform
        self._role_per_tenant = role_per_tenant
        self._extensions = SchemaName(extensions) if extensions else None
        self._pool: dict[str, Any] = {
            "pool_size": pool_size,
            "max_overflow": max_overflow,
            "pool_timeout": POOL_TIMEOUT,
            "pool_use_lifo": True,  # the connection given back last knows the most tenants' catalogs by now
            "pool_reset_on_return": None,  # see close_routes
        }
        self._prepare_threshold = prepare_threshold
        self._name_in_statements = name_in_statements
        self.wear = routing.Wear(tenants_per_connection)
        self._guard = threading.RLock()
        self._engine: routing.RoutedEngine | None = None
        self._async_engine: AsyncEngine | None = None
        self._login: Login | None = None
        self._bound: OrderedDict[Binding, sa.Engine] = OrderedDict()
        self._async_bound: OrderedDict[Binding, AsyncEngine] = OrderedDict()

    def __repr__(self) -> str:
        return f"<PostgresSchemas {self.template.template!r}>"

    # -- names

    def locate(self, slug: Slug) -> str:
        schema = self.template.schema(slug)
        if schema.value.lower() == self._platform.lower():
            raise NameRejected(self.kind, schema.value, "it is the platform's own schema; choose another slug.")
        return schema.value

    def role_for(self, slug: Slug) -> str | None:
        """The role is named for the schema and the database's oid: roles belong to the whole server, and two databases
        may hold the same slug.
        """
        if not self.declared()["role_per_tenant"]:
            return None
        schema, suffix = self.locate(slug), f"@{self.login().database_oid}"
        if len((schema + suffix).encode()) > MAX_IDENTIFIER:
            digest = hashlib.blake2s(schema.encode(), digest_size=6).hexdigest()
            kept = schema.encode()[: MAX_IDENTIFIER - len(suffix) - len(digest) - 1].decode(errors="ignore")
            schema = f"{kept}~{digest}"
        return schema + suffix

    def describe(self, location: str = "") -> str:
        if location:
            return location
        url = self.url()
        return f"PostgreSQL database {url.database!r} on {url.query.get('host') or url.host or 'localhost'}"

    @property
    def control_schema(self) -> str | None:
        return self._platform

    def url(self) -> URL:
        """The owner's URL with its driver. :raises DeclarationError: it is not a PostgreSQL URL."""
        given = self._url() if callable(self._url) else self._url
        expected = (
            "expected postgresql://user:password@host:port/database, with '@', ':', '/' and '%' in the password"
            " percent-encoded."
        )
        if isinstance(given, str) and given.partition("?")[0].count("@") > 1:
            # SQLAlchemy would take the rest of the password for the host, and name it in every message.
            raise DeclarationError("the database URL", expected)
        try:
            url = make_url(given)
        except (ArgumentError, ValueError):
            raise DeclarationError("the database URL", expected) from None  # its text holds a piece of the URL
        if url.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
            raise DeclarationError(url.render_as_string(hide_password=True), expected)
        return url.set(drivername="postgresql+psycopg")

    def login(self) -> Login:
        """What the owner is and may do; asked once, and again while something is missing."""
        known = self._login
        if known is not None and known.may_create_schemas and known.may_create_roles:
            return known
        query = sa.text(
            "SELECT d.datname, d.oid::bigint, r.rolname, r.rolsuper, has_database_privilege(d.oid, 'CREATE'),"
            " r.rolsuper OR r.rolcreaterole, current_setting('server_version_num')::int"
            " FROM pg_roles r, pg_database d WHERE r.rolname = current_user AND d.datname = current_database()"
        )
        with faults(self.describe()), self.control_engine().connect() as connection:
            self._login = Login(*connection.execute(query).one())
        return self._login

    def may_create_roles(self) -> bool:
        """Whether the owner can make a role per tenant."""
        return self.login().may_create_roles

    def declared(self) -> dict[str, Any]:
        """What was declared beside the URL and the names, as another process needs it to build the same store."""
        return {
            "platform": self._platform,
            "role_per_tenant": self._role_per_tenant() if callable(self._role_per_tenant) else self._role_per_tenant,
            "extensions": self._extensions.value if self._extensions else None,
            "prepare_threshold": self._prepare_threshold,
        }

    # -- connections

    def control_engine(self) -> routing.RoutedEngine:
        if self._engine is None:
            with self._guard:
                if self._engine is None:
                    arguments = {**self._connect_args(), "cursor_factory": routing.RoutedCursor}
                    engine = sa.create_engine(self.url(), connect_args=arguments, hide_parameters=True, **self._pool)

                    @sa.event.listens_for(engine, "do_connect")
                    def connect(dialect: Any, record: Any, positional: Any, named: Any) -> routing.RoutedConnection:
                        return routing.RoutedConnection.connect(*positional, **named)

                    routing.close_routes(engine.pool, self.wear)
                    self._engine = routing.RoutedEngine(engine, routing.route([self._platform]))
        return self._engine

    def _connect_args(self) -> dict[str, Any]:
        defaults = {"connect_timeout": CONNECT_TIMEOUT, **KEEPALIVE}
        given = self.url().query
        options = {name: value for name, value in defaults.items() if name not in given}
        return {"prepare_threshold": self._prepare_threshold, **options}

    def _route(self, tenant: Tenant, *, owner: bool = False) -> routing.Route:
        schema = SchemaName(tenant.location)
        comment = tenant.slug if self._name_in_statements else ""
        return routing.route(self._path(schema), None if owner else tenant.role, comment)

    def _path(self, schema: SchemaName) -> list[str]:
        return [schema.value, self._extensions.value] if self._extensions else [schema.value]

    def engine(self, tenant: Tenant, *, write: bool = False) -> sa.Engine:
        def bind() -> sa.Engine:
            return routing.RoutedEngine(self.control_engine().beneath, self._route(tenant))

        return self._remembered(self._bound, tenant, bind)

    async def async_engine(self, tenant: Tenant, *, write: bool = False) -> AsyncEngine:
        def bind() -> AsyncEngine:
            from sqlalchemy.ext.asyncio import AsyncEngine

            return AsyncEngine(routing.RoutedEngine(self._async().sync_engine, self._route(tenant)))

        return self._remembered(self._async_bound, tenant, bind)

    def _remembered(self, bound: OrderedDict[Binding, Bound], tenant: Tenant, bind: Callable[[], Bound]) -> Bound:
        key = (tenant.location, tenant.role)
        if (at_hand := bound.get(key)) is not None and len(bound) < CROWDED:
            return at_hand  # without the lock, which would only tell who was asked for last
        with self._guard:
            found = bound.get(key)
            if found is None:
                found = bound[key] = bind()
                if len(bound) > MAX_BOUND_ENGINES:
                    bound.popitem(last=False)
            else:
                bound.move_to_end(key)
        return found

    def _async(self) -> AsyncEngine:
        with self._guard:
            if self._async_engine is None:
                from sqlalchemy.ext.asyncio import create_async_engine

                connect_args = {
                    **self._connect_args(),
                    "cursor_factory": routing.AsyncRoutedCursor,
                    "async_creator_fn": routing.AsyncRoutedConnection.connect,
                }
                self._async_engine = create_async_engine(
                    self.url(), connect_args=connect_args, hide_parameters=True, **self._pool
                )
                routing.close_routes(self._async_engine.pool, self.wear)
            return self._async_engine

    def close(self) -> None:
        with self._guard:
            engine, self._engine, self._login = self._engine, None, None
            self._bound.clear()
        if engine is not None:
            retire(engine)
            engine.dispose()

    async def aclose(self) -> None:
        with self._guard:
            engine, self._async_engine = self._async_engine, None
            self._async_bound.clear()
        if engine is not None:
            retire(engine.sync_engine)
            await engine.dispose()

    def gauges(self) -> dict[str, int]:
        connections, most = self.wear.counted()
        return {
            "connections": connections,
            "connection_tenants_most": most,
            "connections_retired": self.wear.retired,
        }

    # -- places

    @contextmanager
    def control(self) -> Iterator[sa.Connection]:
        self.login()  # asked before this holds a connection: it takes one of its own
        platform = sql.Identifier(self._platform)
        with faults(self.describe()), self.control_engine().connect() as connection, connection.begin():
            # CREATE SCHEMA IF NOT EXISTS fails when two sessions run it at once: both see no schema, one insert loses.
            connection.execute(
                sa.text("SELECT pg_advisory_xact_lock(hashtext('tenantry'), hashtext(:platform))"),
                {"platform": self._platform},
            )
            missing = connection.execute(
                sa.text("SELECT to_regnamespace(:platform) IS NULL"), {"platform": quoted(self._platform)}
            ).scalar_one()
            if missing:
                self._require(schemas=True, roles=False)
                execute(connection, sql.SQL("CREATE SCHEMA {}").format(platform))
            if self._extensions is not None:
                # For everyone at once: a grant per tenant would make this one schema's list of rights ever longer.
                extensions = sql.Identifier(self._extensions.value)
                share = sql.SQL("CREATE SCHEMA IF NOT EXISTS {}; GRANT USAGE ON SCHEMA {} TO PUBLIC")
                execute(connection, share.format(extensions, extensions))
            yield connection

    @contextmanager
    def lock(self, slug: str, *, wait: bool) -> Iterator[None]:
        """Nothing to do: the registry's row is locked in the transaction that makes the change (see
        ``Registry.lock_row``).
        """
        yield

    def exists(self, location: str) -> bool:
        with faults(self.describe()), self.control_engine().connect() as connection:
            return has_schema(connection, location)

    @contextmanager
    def construct(self, tenant: Tenant, *, at_once: bool = False) -> Iterator[Site]:
        self.login()  # as above
        with faults(self.describe()), self.control_engine().connect() as connection, connection.begin():
            yield SchemaSite(self, tenant, connection)

    @contextmanager
    def change(self, tenant: Tenant) -> Iterator[Site]:
        engine = routing.RoutedEngine(self.control_engine(), self._route(tenant, owner=True))
        with faults(self.describe()), engine.connect() as connection, connection.begin():
            if not has_schema(connection, tenant.location):
                raise StoreMissing(tenant.slug, self.kind, tenant.location)
            yield SchemaSite(self, tenant, connection)

    def remove(self, tenant: Tenant, *, claim: Callable[[sa.Connection], object] | None = None) -> None:
        schema = SchemaName(tenant.location)
        tables = sa.text(
            "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = :schema AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
            " ORDER BY c.relname LIMIT :batch"
        )
        with faults(self.describe()), self.control_engine().connect() as connection:
            while True:
                with connection.begin():
                    if claim is not None:
                        claim(connection)
                    batch = connection.execute(tables, {"schema": schema.value, "batch": DROP_BATCH}).scalars().all()
                    if len(batch) < DROP_BATCH:
                        execute(
                            connection, sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema.value))
                        )
                        if tenant.role is not None:
                            execute(connection, sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(tenant.role)))
                        break
                    names = sql.SQL(", ").join(sql.Identifier(schema.value, table) for table in batch)
                    execute(connection, sql.SQL("DROP TABLE {} CASCADE").format(names))
        with self._guard:
            self._bound.pop((tenant.location, tenant.role), None)
            self._async_bound.pop((tenant.location, tenant.role), None)

    @contextmanager
    def online(self, tenant: Tenant) -> Iterator[sa.Connection]:
        path = self._route(tenant, owner=True).settings[0].replace(b"SET LOCAL", b"SET", 1)
        engine = sa.create_engine(
            self.url(), poolclass=sa.NullPool, connect_args=self._connect_args(), hide_parameters=True
        )

        @sa.event.listens_for(engine, "connect")
        def enter(driver: psycopg.Connection[Any], record: Any) -> None:
            driver.autocommit = True
            driver.execute(path)
            driver.autocommit = False

        with faults(self.describe()), engine.connect() as connection:
            yield connection

    @contextmanager
    def scratch(self) -> Iterator[sa.Connection]:
        self._require(schemas=True, roles=False)
        # A name no revision can guess: a statement that holds it was made from the scratch place and cannot be sent to
        # another.
        schema = SchemaName(f"tenantry_scratch_{secrets.token_hex(8)}")
        engine = routing.RoutedEngine(self.control_engine(), routing.route(self._path(schema)))
        with faults(self.describe()), engine.connect() as connection:
            connection.begin()
            try:
                execute(connection, sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema.value)))
                yield connection
            finally:
                connection.rollback()
                if not connection.invalidated:
                    with connection.begin():  # a revision that commits in SQL of several commands has kept it
                        execute(
                            connection, sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema.value))
                        )

    def send(self, connection: sa.Connection, statements: Sequence[Statement], location: str) -> None:
        if not statements:
            return
        texts = [text for text, _ in statements]
        message = SEPARATOR.join(texts)
        driver = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
        # Below psycopg's cursor, which does not say how many commands were done before the one that failed.
        driver.pgconn.send_query(message.encode())
        results = driver.wait(generators.execute(driver.pgconn))
        if results and results[-1].status == pq.ExecStatus.FATAL_ERROR:
            error = psycopg.errors.error_from_result(results[-1], encoding=driver.info.encoding)
            if driver.closed:
                raise StoreUnavailable(self.describe(), "the connection was lost.") from error
            raise StatementFailed(location, failed_statement(texts, len(results) - 1, error), brief(error)) from error

    def _require(self, *, schemas: bool, roles: bool) -> None:
        login = self.login()
        if schemas and not login.may_create_schemas:
            grant = sql.SQL("GRANT CREATE ON DATABASE {} TO {};").format(
                sql.Identifier(login.database), sql.Identifier(login.user)
            )
            raise PermissionMissing(
                f"create a schema in database {login.database!r} as {login.user!r}", grant.as_string(None)
            )
        if roles and not login.may_create_roles:
            grant = sql.SQL("ALTER ROLE {} CREATEROLE;").format(sql.Identifier(login.user))
            raise PermissionMissing(
                f"create a role as {login.user!r}", f"{grant.as_string(None)} Or declare role_per_tenant=False."
            )


class SchemaSite(Site):
    """One tenant's schema inside the owner's transaction, which also holds the registry's rows."""

    def __init__(self, store: PostgresSchemas, tenant: Tenant, connection: sa.Connection) -> None:
        self.joint = connection
        self._connection = connection
        self._store = store
        self._tenant = tenant
        self._schema = SchemaName(tenant.location)

    @property
    def connection(self) -> sa.Connection:
        return self._connection

    def create(self) -> bool:
        schema, role = sql.Identifier(self._schema.value), self._tenant.role
        store = self._store
        store._require(schemas=True, roles=role is not None)
        there = self._connection.execute(
            sa.text("SELECT to_regnamespace(:schema) IS NOT NULL, EXISTS (SELECT FROM pg_roles WHERE rolname = :role)"),
            {"schema": quoted(self._schema.value), "role": role},
        ).one()
        if there[0] and (there[1] or role is None):
            return False
        parts: list[sql.Composable] = []
        if not there[0]:
            parts.append(sql.SQL("CREATE SCHEMA {}").format(schema))
        if role is not None:
            tenant, login = sql.Identifier(role), store.login()
            if not there[1]:
                parts.append(sql.SQL("CREATE ROLE {} NOLOGIN").format(tenant))
            if not login.superuser:
                # Since 16 CREATEROLE brings the right to grant the role, but not the right to take it.
                options = sql.SQL(" WITH INHERIT FALSE, SET TRUE") if login.version >= 160000 else sql.SQL("")
                parts.append(sql.SQL("GRANT {} TO CURRENT_USER").format(tenant) + options)
            parts.append(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, tenant))
            grant = sql.SQL("GRANT {} ON {} TO {}")
            for rights, kind in TENANT_RIGHTS:
                if there[0]:
                    everything = sql.SQL("ALL {} IN SCHEMA {}").format(kind, schema)
                    parts.append(grant.format(rights, everything, tenant))
                # So every table that a later revision makes, by this engine or by plain Alembic, is the tenant's to use
                # at once.
                default = sql.SQL("ALTER DEFAULT PRIVILEGES IN SCHEMA {} ").format(schema)
                parts.append(default + grant.format(rights, kind, tenant))
        path = sql.SQL(", ").join(sql.Identifier(name) for name in store._path(self._schema))
        parts.append(sql.SQL("SET LOCAL search_path TO {}").format(path))
        execute(self._connection, sql.SQL("; ").join(parts))
        return True

    def lay(self, digest: str, statements: Sequence[Statement]) -> None:
        self.send(statements)

    def send(self, statements: Sequence[Statement]) -> None:
        self._store.send(self._connection, statements, self._store.describe(self._tenant.location))

    def has_table(self, name: str) -> bool:
        table = sql.Identifier(self._schema.value, name).as_string(None)
        return (
            self._connection.execute(sa.text("SELECT to_regclass(:table) IS NOT NULL"), {"table": table}).scalar_one()
            is True
        )

    def protect(self, table: str) -> None:
        if self._tenant.role is not None:
            revoke = sql.SQL("REVOKE INSERT, UPDATE, DELETE ON {} FROM {}")
            execute(
                self._connection,
                revoke.format(sql.Identifier(self._schema.value, table), sql.Identifier(self._tenant.role)),
            )

    def rest(self) -> None:
        # The snapshot of the last statement is held until the next; CREATE INDEX CONCURRENTLY waits for snapshots.
        self.send([("SELECT", ())])

    @contextmanager
    def as_tenant(self) -> Iterator[None]:
        if self._tenant.role is None:
            yield
            return
        execute(self._connection, sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(self._tenant.role)))
        yield  # after an exception the transaction is lost, and the role with it
        execute(self._connection, sql.SQL("SET LOCAL ROLE NONE"))

    def record(self, write: Callable[[sa.Connection], None]) -> None:
        write(self._connection)


def execute(connection: sa.Connection, statement: sql.Composable) -> None:
    """Run owner's SQL that was put together by psycopg's quoting, as one message."""
    connection.exec_driver_sql(statement.as_string(None), execution_options={"no_parameters": True})


def quoted(name: str) -> str:
    """The name as a quoted identifier, for functions that parse one from text."""
    return sql.Identifier(name).as_string(None)


def has_schema(connection: sa.Connection, name: str) -> bool:
    """Whether a schema is there, by exact name."""
    return (
        connection.execute(sa.text("SELECT to_regnamespace(:name) IS NOT NULL"), {"name": quoted(name)}).scalar_one()
        is True
    )


def failed_statement(texts: Sequence[str], done: int, error: psycopg.Error) -> int:
    """The index of the statement of a message that failed: the one that the error points into, else the one after the
    commands that were done.
    """
    position = int(error.diag.statement_position or 0)
    end = 0
    for index, text in enumerate(texts):
        end += len(text) + len(SEPARATOR)
        done -= commands(text)
        if 0 < position <= end or (position == 0 and done < 0):
            return index
    return len(texts) - 1


def commands(text: str) -> int:
    """How many commands a text holds; meant for messages, so a body of BEGIN ATOMIC may count for several."""
    bare = _OPAQUE.sub(lambda found: "x" if found["literal"] else " ", text)
    return sum(1 for part in bare.split(";") if part.strip())


def brief(error: psycopg.Error) -> str:
    """The server's own sentence, without the text of the statement, in which data may stand."""
    return f"{error.diag.message_primary or str(error).splitlines()[0]} (SQLSTATE {error.sqlstate})."
