"""Every error DocEX raises on purpose, in one tree.

The fields of an error are its ``args``, so it survives pickling; its sentence is made by ``__str__`` and says what
was found and what to do next. Where users were promised a built-in type (``ValueError``, ``RuntimeError``,
``FileNotFoundError``), the class is one of those too.

    DocexError
    +-- NotInitialized              RuntimeError    there is no configuration file
    +-- ClosedError                 RuntimeError    the DocEX object was closed
    +-- ConfigurationError          ValueError      the configuration cannot be used
    |   +-- ConfigurationDamaged
    |   +-- MultiTenancyDisabled
    +-- TenantError                                 about one tenant
    |   +-- TenantRequired          ValueError
    |   +-- TenantSwitchRefused     ValueError
    |   +-- TenantNotProvisioned    ValueError
    |   +-- TenantNotServed
    |   +-- TenantDataMissing
    |   +-- TenantProvisioningError
    |       +-- TenantExistsError
    |       +-- TenantBusyError
    |       +-- InvalidTenantIdError    ValueError
    +-- AccessDenied                PermissionError the user's roles do not allow it
    +-- QuotaExceeded                               the tenant would hold more than it may
    +-- DatabaseError               RuntimeError    the database cannot do what it was asked
    +-- StorageError                RuntimeError    files cannot be kept or read
    |   +-- KeyRejected             ValueError
    |   +-- ContentMissing          FileNotFoundError
    +-- BasketError                 ValueError
    |   +-- BasketExists
    |   +-- BasketNotFound
    |   +-- BasketInactive
    +-- DocumentError               ValueError
    |   +-- DocumentNotFound
    |   +-- DocumentRejected
    |   |   +-- FileMissing         FileNotFoundError
    |   +-- MetadataRejected
    |   +-- QueryRejected
    |   +-- OperationRejected
    +-- ExtraMissing                ImportError     an optional library is not installed
    +-- NotConfirmed                                a command that removes was not told to go on
    +-- CredentialError             RuntimeError    a password or key cannot be sealed or opened
    +-- RouteError                                  a route, or what is to go over it
    |   +-- RouteExists             ValueError
    |   +-- RouteNotFound           ValueError
    |   +-- RouteRejected           ValueError
    |   +-- RoutePathRejected       ValueError
    |   +-- RouteClosed
    |   +-- TransportError          RuntimeError    the other side cannot be reached, or says no
    |       +-- TransportUnavailable
    |       +-- TransportFileMissing FileNotFoundError
    +-- TokenError              ValueError          a token for work over HTTP
    |   +-- TokenRefused
    |   +-- TokenNotFound
    +-- ProcessorError                              a processor, or its work on a document
        +-- ProcessorNotFound       ValueError
        +-- ProcessorRejected       ValueError
        +-- ProcessingFailed
            +-- ProcessingStopped
"""

from __future__ import annotations


class DocexError(Exception):
    """Base of every error DocEX raises on purpose. Fields of the plain kinds: the sentence."""

    exit_code = 1

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else type(self).__name__


class NotInitialized(DocexError, RuntimeError):
    """There is no configuration file. Fields: none."""

    def __str__(self) -> str:
        return "DocEX not initialized. Call 'docex init' to setup first."


class ClosedError(DocexError, RuntimeError):
    """A DocEX object was used after ``close()``. Fields: none."""

    def __str__(self) -> str:
        return "This DocEX object is closed. Make a new one: DocEX(user_context=...)."


class ConfigurationError(DocexError, ValueError):
    """The configuration cannot be used. Fields: where it comes from, reason."""

    def __str__(self) -> str:
        where, reason = self.args
        return f"Configuration {where}: {reason}"


class ConfigurationDamaged(ConfigurationError):
    """The configuration file cannot be read; it is left as it is. Fields: path, reason."""

    def __str__(self) -> str:
        where, reason = self.args
        return f"Configuration file {where} cannot be read: {reason} It was not changed; correct or remove it."


class MultiTenancyDisabled(ConfigurationError):
    """Work for a tenant was asked for, but the configuration has no tenants. Fields: none."""

    def __str__(self) -> str:
        return "Database-level multi-tenancy is not enabled."


class TenantError(DocexError):
    """Base of the errors about one tenant; the first field is its id."""


class TenantRequired(TenantError, ValueError):
    """Multi-tenancy is on and no tenant was named; there is no default tenant. Fields: none."""

    def __str__(self) -> str:
        return (
            "A tenant is required when multi-tenancy is enabled, and there is no default tenant. "
            "Name it: UserContext(tenant_id=...) in Python, --tenant-id on the command line."
        )


class TenantSwitchRefused(TenantError, ValueError):
    """An object that works for one tenant was given another one. Fields: its tenant id, the other."""

    def __str__(self) -> str:
        current, wanted = self.args
        return (
            f"Cannot switch tenant from {current!r} to {wanted!r}. "
            f"Make another object, any number may be open: DocEX(UserContext(..., tenant_id={wanted!r}))."
        )


class TenantNotProvisioned(TenantError, ValueError):
    """The tenant is unknown here and is not made by looking at it. Fields: tenant id."""

    def __str__(self) -> str:
        return f"Tenant {self.args[0]!r} is not provisioned. Run: docex provision-tenant --tenant-id {self.args[0]}"


class TenantNotServed(TenantError):
    """The tenant exists but is not active. Fields: tenant id, status."""

    def __str__(self) -> str:
        tenant_id, status = self.args
        if status in ("provisioning", "failed"):
            return (
                f"Tenant {tenant_id!r} is not ready (status: {status}). "
                f"Finish it with: docex provision-tenant --tenant-id {tenant_id}"
            )
        return f"Tenant {tenant_id!r} is not active (status: {status})."


class TenantDataMissing(TenantError):
    """The tenant is registered, but its schema or file is gone. Fields: tenant id, what is missing."""

    def __str__(self) -> str:
        tenant_id, missing = self.args
        return (
            f"The {missing} of tenant {tenant_id!r} is missing. Restore it from a backup, "
            f"or make an empty one with: docex provision-tenant --tenant-id {tenant_id}"
        )


class TenantProvisioningError(TenantError):
    """The tenant could not be provisioned. Fields: tenant id, reason."""

    def __str__(self) -> str:
        tenant_id, reason = self.args
        return f"Tenant {tenant_id!r} could not be provisioned: {reason}"


class TenantExistsError(TenantProvisioningError):
    """The tenant, or one whose id differs in letter case only, is there already. Fields: tenant id, what is there."""

    def __str__(self) -> str:
        tenant_id, found = self.args
        return f"Tenant already exists: {tenant_id!r} ({found}). Nothing was changed."


class TenantBusyError(TenantProvisioningError):
    """Another process works on this tenant right now. Fields: tenant id."""

    def __str__(self) -> str:
        return f"Tenant {self.args[0]!r} is being worked on by another process. Try again when that has ended."


class InvalidTenantIdError(TenantProvisioningError, ValueError):
    """The tenant id is not allowed. Fields: tenant id, reason."""

    def __str__(self) -> str:
        tenant_id, reason = self.args
        shown = tenant_id if len(tenant_id) <= 80 else f"{tenant_id[:60]}... ({len(tenant_id)} characters)"
        return f"Tenant id {shown!r} is not allowed: {reason}"


class DatabaseError(DocexError, RuntimeError):
    """The database cannot do what it was asked. Fields: the sentence, without secrets."""


class AccessDenied(DocexError, PermissionError):
    """The user's roles do not allow it. Fields: user id; together, the role that is needed and those the user has."""

    def __str__(self) -> str:
        # Two fields, because an OSError keeps no third one.
        user_id, (needed, *held) = self.args
        has = ", ".join(held) or "none"
        return (
            f"User {user_id!r} may not do this: it needs the role {needed!r} or a higher one. The user's roles: {has}."
        )


class QuotaExceeded(DocexError):
    """The tenant would hold more than it may. Fields: what it holds, the limit."""

    def __str__(self) -> str:
        held, limit = self.args
        return (
            f"Quota exceeded: the tenant holds {held}, and may hold at most {limit}. Nothing was stored. "
            "Remove documents, or raise the limit with: docex quota set"
        )


class StorageError(DocexError, RuntimeError):
    """Files cannot be kept or read. Fields: path, reason."""

    def __str__(self) -> str:
        path, reason = self.args
        return f"Storage {path}: {reason}"


class KeyRejected(StorageError, ValueError):
    """A key would name a file outside the storage, or not a plain file in it. Fields: key, reason."""

    def __str__(self) -> str:
        key, reason = self.args
        return f"Storage key {key!r} is not allowed: {reason}"


class ContentMissing(StorageError, FileNotFoundError):
    """A document's content is gone from the storage. Fields: document id, key."""

    def __str__(self) -> str:
        document_id, key = self.args
        return f"The content of document {document_id} is missing from the storage: {key}"


class BasketError(DocexError, ValueError):
    """Base of the errors about a basket."""


class BasketExists(BasketError):
    """A basket of that name is there already. Fields: name."""

    def __str__(self) -> str:
        return f"Failed to create basket: A basket with name '{self.args[0]}' already exists"


class BasketNotFound(BasketError):
    """There is no such basket. Fields: id or name."""

    def __str__(self) -> str:
        return f"Basket {self.args[0]} not found. `docex basket list` shows those that exist."


class BasketInactive(BasketError):
    """The basket takes no documents in. Fields: id."""

    def __str__(self) -> str:
        return f"Basket {self.args[0]} is inactive and takes no documents in. Activate it: set_status('active')"


class DocumentError(DocexError, ValueError):
    """Base of the errors about a document."""


class DocumentNotFound(DocumentError):
    """There is no such document in this basket. Fields: document id."""

    def __str__(self) -> str:
        return f"Document with ID {self.args[0]} not found. `docex document list` shows those of a basket."


class DocumentRejected(DocumentError):
    """A file cannot become a document. Fields: path, reason."""

    def __str__(self) -> str:
        path, reason = self.args
        return f"Cannot add {path}: {reason}"


class FileMissing(DocumentRejected, FileNotFoundError):
    """The file to add is not there. Fields: path, reason."""


class MetadataRejected(DocumentError):
    """A metadata key or value cannot be kept. Fields: key, reason."""

    def __str__(self) -> str:
        key, reason = self.args
        return f"Metadata key {key!r} cannot be kept: {reason}"


class QueryRejected(DocumentError):
    """A search cannot be made. Fields: the query, reason."""

    def __str__(self) -> str:
        query, reason = self.args
        return f"Cannot search for {query!r}: {reason}"


class OperationRejected(DocumentError):
    """Operations cannot depend on each other so. Fields: operation id, reason."""

    def __str__(self) -> str:
        operation_id, reason = self.args
        return f"Operation {operation_id}: {reason}"


class ExtraMissing(DocexError, ImportError):
    """An optional library is not installed. Fields: what needs it, the extra that brings it."""

    def __str__(self) -> str:
        what, extra = self.args
        return f"{what} needs a library that is not installed. Run: pip install 'tenantry-docex[{extra}]'"


class NotConfirmed(DocexError):
    """A command that removes something was not told to go on. Fields: what would have been removed."""

    def __str__(self) -> str:
        return f"Nothing was removed: {self.args[0]} was not confirmed. Type --yes to remove it without being asked."


class CredentialError(DocexError, RuntimeError):
    """A credential cannot be sealed, opened or found. Fields: which one, reason."""

    def __str__(self) -> str:
        which, reason = self.args
        return f"Credential {which}: {reason}"


class RouteError(DocexError):
    """Base of the errors about a route; the first field is its name, or the path on it."""


class RouteExists(RouteError, ValueError):
    """A route of that name is there already. Fields: name."""

    def __str__(self) -> str:
        return f"Route {self.args[0]!r} exists already. Nothing was changed; delete it first, or choose another name."


class RouteNotFound(RouteError, ValueError):
    """There is no such route. Fields: name."""

    def __str__(self) -> str:
        return f"Route {self.args[0]!r} not found. `docex route list` shows those that exist."


class RouteRejected(RouteError, ValueError):
    """A route cannot be made so. Fields: name, reason."""

    def __str__(self) -> str:
        name, reason = self.args
        return f"Route {name!r} cannot be used: {reason}"


class RoutePathRejected(RouteError, ValueError):
    """A path would lead out of the route, or is no plain path. Fields: path, reason."""

    def __str__(self) -> str:
        path, reason = self.args
        return f"Path {path!r} is not allowed on a route: {reason}"


class RouteClosed(RouteError):
    """The route is disabled, or does not allow this. Fields: name, what it is or does not do."""

    def __str__(self) -> str:
        name, reason = self.args
        return f"Route {name!r} {reason}"


class TransportError(RouteError, RuntimeError):
    """The other side said no; trying again would not help. Fields: where, reason."""

    def __str__(self) -> str:
        where, reason = self.args
        return f"{where}: {reason}"


class TransportUnavailable(TransportError):
    """The other side could not be reached or did not answer; trying again may help. Fields: where, reason."""


class TransportFileMissing(TransportError, FileNotFoundError):
    """The other side has no such file. Fields: where, reason."""


class TokenError(DocexError, ValueError):
    """Base of the errors about tokens; no field is ever a token."""


class TokenRefused(TokenError):
    """A token is unknown, expired or revoked, or its tenant is not served; which is not told. Fields: none."""

    def __str__(self) -> str:
        return "The token is not valid. `docex token create` makes one; send it as `Authorization: Bearer ...`."


class TokenNotFound(TokenError):
    """There is no such token. Fields: id."""

    def __str__(self) -> str:
        return f"Token {self.args[0]!r} not found. `docex token list` shows those that exist."


class ProcessorError(DocexError):
    """Base of the errors about processors; the first field is the processor's name."""


class ProcessorNotFound(ProcessorError, ValueError):
    """There is no such processor, or it is not enabled for this tenant. Fields: name, what to do."""

    def __str__(self) -> str:
        name, advice = self.args
        return f"Processor {name!r} not found: {advice}"


class ProcessorRejected(ProcessorError, ValueError):
    """A processor, its configuration or a rule for it cannot be used. Fields: name, reason."""

    def __str__(self) -> str:
        name, reason = self.args
        return f"Processor {name!r} cannot be used: {reason}"


class ProcessingFailed(ProcessorError):
    """A processor could not do its work. Fields: name, reason."""

    def __str__(self) -> str:
        name, reason = self.args
        return f"Processor {name!r} failed: {reason}"


class ProcessingStopped(ProcessingFailed):
    """A processor was stopped: it took too much time or memory, or its process died. Fields: name, reason."""

    def __str__(self) -> str:
        name, reason = self.args
        return f"Processor {name!r} was stopped: {reason}"
