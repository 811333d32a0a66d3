"""Every error the engine raises on purpose, in one tree.

The fields of an error are its ``args``, so it survives pickling across a process pool; its sentence is made by
``__str__`` and says what was
found, what was expected, and what to do next. Nothing here imports anything else of the engine.

    TenancyError
    +-- NameRejected            a slug or a physical name is not allowed
    +-- DeclarationError        the application's declaration cannot be used
    +-- NoTenant                work for a tenant was attempted outside any tenant
    +-- WrongTenant             work for one tenant was attempted inside another's scope
    +-- TenantError             about one registered tenant
    |   +-- TenantNotFound
    |   +-- TenantExists
    |   +-- TenantBusy
    |   +-- TenantNotActive
    |   +-- TenantOutOfWindow
    |   +-- TenantNotFailed
    |   +-- StatusRefused
    |   +-- NotReady
    |   +-- StepFailed
    |   +-- RestoreUnfinished
    |   +-- NotConfirmed
    +-- StoreError              about the place where a tenant's data lies
    |   +-- StoreExists
    |   +-- StoreMissing
    |   +-- StoreUnavailable
    |   +-- StoreDamaged
    |   +-- StatementFailed
    |   +-- PermissionMissing
    +-- MigrationError          about revisions
    |   +-- MigrationFailed
    |   +-- UnknownRevision
    |   +-- RevisionsRejected
    +-- ArchiveError            about a saved tenant
    |   +-- ArchiveForeign
    |   +-- ArchiveMissing
    |   +-- ArchiveDamaged
    |   +-- ArchiveUnfit
    +-- RegistryError           about the control plane
    |   +-- RegistryMissing
    |   +-- RegistryOutdated
    +-- FleetError              about work on many tenants
    |   +-- RolloutRefused
    |   +-- RolloutRunning
    |   +-- RolloutNotFound
    |   +-- RolloutEnded
    |   +-- DriftNotFound
    |   +-- DriftNotRepairable
    |   +-- StandbyRefused
    +-- EmbeddedServerError     about the embedded PostgreSQL
    +-- AccountError            about platform users
        +-- UserNotFound
        +-- UserExists
        +-- LastAdministrator
        +-- PasswordRejected
        +-- SessionNotFound
        +-- LoginRefused
        +-- TooManyAttempts
        +-- TokenRefused
        +-- Forbidden
"""

from __future__ import annotations


class TenancyError(Exception):
    """Base of every error the engine raises on purpose."""

    exit_code = 1
    recorded = False  # set by who wrote the failure into the audit trail, so that it is not written twice


class NameRejected(TenancyError, ValueError):
    """A name is not allowed. Fields: kind ("slug", "schema", "file", "template"), value, reason."""

    def __str__(self) -> str:
        kind, value, reason = self.args
        shown = value if len(value) <= 80 else f"{value[:60]}... ({len(value)} characters)"
        return f"{kind.capitalize()} {shown!r} is not allowed: {reason}"


class DeclarationError(TenancyError):
    """The application's declaration cannot be used. Fields: what was given, reason."""

    def __str__(self) -> str:
        given, reason = self.args
        return f"Cannot use {given!r}: {reason}"


class NoTenant(TenancyError):
    """Work for a tenant was attempted outside any tenant; there is no default tenant."""

    def __str__(self) -> str:
        return (
            "No tenant: this work needs one, and there is no default tenant. "
            "Open it with `with tenancy.scope(slug):` or name it with `tenancy.session(slug)`."
        )


class WrongTenant(TenancyError):
    """Work for one tenant was attempted inside another's scope. Fields: wanted slug, current slug."""

    def __str__(self) -> str:
        wanted, current = self.args
        return (
            f"This work belongs to tenant {wanted!r}, but the open scope is {current!r}. "
            "Leave that scope first: a scope is never switched from within."
        )


class TenantError(TenancyError):
    """Base of the errors about one registered tenant; the first field is its slug."""

    @property
    def slug(self) -> str:
        """The slug of the tenant concerned."""
        return str(self.args[0])


class TenantNotFound(TenantError, LookupError):
    """No tenant of that slug is registered. Fields: slug."""

    def __str__(self) -> str:
        return f"Tenant slug '{self.args[0]}' not found. `tenant list --status all` shows those that exist."


class TenantExists(TenantError):
    """The slug is taken. Fields: slug, the slug that holds it, its status."""

    def __str__(self) -> str:
        slug, holder, status = self.args
        if slug != holder:
            return (
                f"Tenant slug '{slug}' already exists as '{holder}': names that differ only in letter case would share "
                "one file on some systems. Choose another slug."
            )
        hint = {
            "provisioning": f"It was interrupted: `tenant migrate --slug {slug}` finishes it.",
            "failed": f"`tenant migrate --slug {slug}` resumes it, `tenant cleanup --slug {slug}` removes it.",
        }.get(status, "Choose another slug.")
        return f"Tenant slug '{slug}' already exists (status={status}). {hint}"


class TenantBusy(TenantError):
    """Another process works on this tenant right now. Fields: slug."""

    def __str__(self) -> str:
        return (
            f"Tenant '{self.args[0]}' is being worked on by another process. "
            "Wait for it to end, then look at `tenant list --status all`."
        )


class TenantNotActive(TenantError):
    """The tenant exists but is not served. Fields: slug, status."""

    def __str__(self) -> str:
        slug, status = self.args
        hint = f" Run `tenant migrate --slug {slug}`." if status in ("provisioning", "failed") else ""
        return f"Tenant '{slug}' is not active (status={status}).{hint}"


class TenantOutOfWindow(TenantError):
    """The tenant stands at a revision that the running code does not serve: it is being migrated, or was not yet.
    Fields: slug, its revision, the window in words.
    """

    retry_after = 5  # seconds after which to ask again

    def __str__(self) -> str:
        slug, revision, window = self.args
        return (
            f"Tenant '{slug}' is at revision {revision or 'base'}, and this release serves {window}. "
            f"`tenant migrate --slug {slug}` of the release that holds its tables brings it there."
        )


class TenantNotFailed(TenantError):
    """Only failed tenants are cleaned up. Fields: slug, status."""

    def __str__(self) -> str:
        slug, status = self.args
        return f"Tenant '{slug}' is not failed (status={status})"


class StatusRefused(TenantError):
    """A status may not follow the present one. Fields: slug, present status, wanted status."""

    def __str__(self) -> str:
        slug, present, wanted = self.args
        text = f"Tenant '{slug}' cannot become {wanted}: its status is {present}."
        if present == wanted:
            return f"{text[:-1]} already."
        first = {
            "provisioning": "`tenant migrate --slug {}` finishes it.",
            "failed": "`tenant migrate --slug {}` finishes it.",
            "archived": "`tenant unarchive {}` makes it again.",
        }
        if wanted == "deleting":
            first = dict.fromkeys(("active", "suspended"), "`tenant archive {}` puts it aside first.")
        return f"{text} {first[present].format(slug)}" if present in first else text


class NotReady(TenantError):
    """A table that must exist before the tenant may be active is missing. Fields: slug, location, table."""

    def __str__(self) -> str:
        _, location, table = self.args
        return (
            f"Tenant migration completed but {location}.{table} was not created. "
            "Check that the application's migrations make this table in the tenant's own schema."
        )


class StepFailed(TenantError):
    """A provisioning step failed for a reason of its own. Fields: slug, step, text of the cause."""

    def __str__(self) -> str:
        slug, step, cause = self.args
        return f"Tenant '{slug}' failed at step {step}: {cause} `tenant migrate --slug {slug}` resumes it."


class RestoreUnfinished(TenantError):
    """The tenant is being made from a saved one, and that was interrupted: an empty one must not take its place.
    Fields: slug.
    """

    def __str__(self) -> str:
        slug = self.args[0]
        return (
            f"Tenant '{slug}' is half restored: run `tenant restore FILE --as {slug}` again to finish it, "
            f"then look at `tenant show --slug {slug}`."
        )


class NotConfirmed(TenantError):
    """What cannot be undone is done only when the slug is typed twice. Fields: slug, what was typed."""

    def __str__(self) -> str:
        slug, typed = self.args
        return f"Nothing was deleted: {typed!r} does not confirm tenant '{slug}'. Type `--confirm {slug}`."


class StoreError(TenancyError):
    """A store could not do what it was asked. Fields: location, reason."""

    def __str__(self) -> str:
        location, reason = self.args
        return f"Store {location}: {reason}"


class StoreExists(StoreError):
    """A schema or file is there already and was not made by this call; it is never adopted. Fields: kind, location."""

    def __str__(self) -> str:
        kind, location = self.args
        return (
            f"Tenant {kind} '{location}' already exists. "
            "Nothing was changed; remove or rename it, or choose another slug."
        )


class StoreMissing(StoreError):
    """A registered tenant's schema or file is gone. Fields: slug, kind, location."""

    def __str__(self) -> str:
        slug, kind, location = self.args
        return (
            f"The {kind} {location} of tenant '{slug}' is missing. "
            f"Restore it from a backup, or make an empty one with `tenant migrate --slug {slug}`."
        )


class StoreUnavailable(StoreError):
    """The database cannot be reached or refuses the login. Fields: location without secrets, reason."""

    def __str__(self) -> str:
        location, reason = self.args
        return f"Cannot connect to {location}: {reason}"


class StoreDamaged(StoreError):
    """A file is not the database it should be. Fields: location, reason."""

    def __str__(self) -> str:
        location, reason = self.args
        return f"{location} is not a usable database: {reason}. Restore it from a backup."


class StatementFailed(StoreError):
    """One statement of a message failed, and with it the whole transaction. Fields: location, its place in the message,
    text of the cause.
    """

    def __str__(self) -> str:
        location, _, cause = self.args
        return f"Store {location} refused a statement: {cause}"


class PermissionMissing(StoreError):
    """The database user may not do this. Fields: what was attempted, the statement that allows it."""

    def __str__(self) -> str:
        attempted, grant = self.args
        return f"Permission denied to {attempted}. Ask the database's administrator for: {grant}"


class MigrationError(TenancyError):
    """Base of the errors about revisions."""


class MigrationFailed(MigrationError):
    """A revision raised. Fields: location, revision, text of the cause; "partly" if it runs outside a transaction."""

    def __str__(self) -> str:
        location, revision, cause, *partly = self.args
        kept = (
            "It leaves the transaction (autocommit_block), so what it did before may have been kept: look there first."
            if partly
            else "Nothing of it was kept."
        )
        return f"Revision {revision} failed on {location}: {cause} {kept}"


class UnknownRevision(MigrationError):
    """A store is at a revision that this build does not know. Fields: location, revision found, head of this build."""

    def __str__(self) -> str:
        location, found, head = self.args
        return (
            f"{location} is at revision {found}, which this build does not know (its head is {head}). "
            f"Deploy the build that holds {found}."
        )


class RevisionsRejected(MigrationError):
    """A migration directory or a requested revision cannot be used. Fields: directory, reason."""

    def __str__(self) -> str:
        directory, reason = self.args
        return f"Migrations in {directory}: {reason}"


class ArchiveError(TenancyError):
    """Base of the errors about saved tenants. Fields: file, reason."""

    def __str__(self) -> str:
        path, reason = self.args
        return f"Saved tenant {path}: {reason}"


class ArchiveForeign(ArchiveError):
    """A file is no saved tenant, or one of a newer release. Fields: file."""

    def __str__(self) -> str:
        return f"{self.args[0]} is not a tenant saved by `tenant backup` of this release or an older one."


class ArchiveMissing(ArchiveError):
    """There is no file of this name. Fields: file."""

    def __str__(self) -> str:
        return f"There is no file {self.args[0]}; `tenant backup` prints where it writes one."


class ArchiveDamaged(ArchiveError):
    """A saved tenant is not as it was written. Fields: file, reason."""

    def __str__(self) -> str:
        path, reason = self.args
        return f"{path} is damaged: {reason}. Nothing was made of it; use another backup."


class ArchiveUnfit(ArchiveError):
    """What was saved cannot be kept in this database. Fields: file or table, what does not fit."""

    def __str__(self) -> str:
        where, unfit = self.args
        return f"{where} does not fit into this database: {'; '.join(unfit)}. Nothing was changed."


class RegistryError(TenancyError):
    """Base of the errors about the control plane. Fields: location, reason."""

    def __str__(self) -> str:
        location, reason = self.args
        return f"Registry {location}: {reason}"


class RegistryMissing(RegistryError):
    """The control plane's tables do not exist yet. Fields: location."""

    def __str__(self) -> str:
        return f"Platform tenant registry is not initialized in {self.args[0]}. Run `db upgrade` first."


class RegistryOutdated(RegistryError):
    """The control plane's tables are of another release. Fields: location, revision found, revision expected."""

    def __str__(self) -> str:
        location, found, expected = self.args
        return (
            f"Platform tenant registry in {location} is at revision {found}, this build needs {expected}. "
            "Run `db upgrade` first."
        )


class FleetError(TenancyError):
    """Base of the errors about work on many tenants."""


class RolloutRefused(FleetError):
    """A rollout was not begun, and nothing was changed. Fields: reason."""

    def __str__(self) -> str:
        return f"The rollout was not begun: {self.args[0]}"


class RolloutRunning(FleetError):
    """Another process rolls out right now. Fields: uid of the rollout, who began it, where; empty when not known."""

    def __str__(self) -> str:
        uid, actor, origin = self.args
        which = f" ({uid}, begun by {actor} on {origin})" if uid else ""
        named = f" `rollout show {uid}` tells how far it is, `rollout abort {uid}` ends it." if uid else ""
        return f"Another rollout is running{which}. Wait for its end.{named}"


class RolloutNotFound(FleetError, LookupError):
    """There is no such rollout, or there are several. Fields: what its uid begins with; None for the latest."""

    def __str__(self) -> str:
        if self.args[0] is None:
            return "There is no rollout yet. `tenant migrate --all` begins one when there is something to do."
        return f"There is not exactly one rollout {self.args[0]}. `rollout list` shows those that exist."


class RolloutEnded(FleetError):
    """A rollout cannot be resumed or aborted any more. Fields: uid, its status."""

    def __str__(self) -> str:
        uid, status = self.args
        hint = (
            "`tenant migrate --all` begins a new one."
            if status != "failed"
            else ("`tenant migrate --all --only-failed` tries the failed tenants again.")
        )
        return f"Rollout {uid} is {status}. {hint}"


class StandbyRefused(FleetError):
    """A place cannot be kept on standby. Fields: reason, without the full stop."""

    def __str__(self) -> str:
        return f"No places can be kept ready: {self.args[0]}. `tenant standby --keep 0` ends it."


class DriftNotFound(FleetError):
    """No tenant differs from its baseline in this way now. Fields: the class."""

    def __str__(self) -> str:
        return f"No tenant has the drift {self.args[0]} now. `tenant drift --all` shows those that there are."


class DriftNotRepairable(FleetError):
    """A drift is not repaired by itself. Fields: the class, why, what to do."""

    def __str__(self) -> str:
        key, reason, advice = self.args
        return f"Drift {key} was not repaired: {reason}. Instead: {advice}."


class EmbeddedServerError(TenancyError):
    """The embedded PostgreSQL could not be started or stopped. Fields: directory, reason."""

    def __str__(self) -> str:
        directory, reason = self.args
        return f"Embedded PostgreSQL in {directory}: {reason}"


class AccountError(TenancyError):
    """A platform user cannot be made or changed. Fields: reason."""

    def __str__(self) -> str:
        return str(self.args[0])


class UserNotFound(AccountError, LookupError):
    """There is no such platform user. Fields: what was looked for."""

    def __str__(self) -> str:
        return f"There is no platform user {self.args[0]}. `platform user list` shows those that exist."


class UserExists(AccountError):
    """The email or the user name belongs to another platform user. Fields: "email" or "user name", value."""

    def __str__(self) -> str:
        kind, value = self.args
        return f"The {kind} '{value}' belongs to another platform user. Choose another."


class LastAdministrator(AccountError):
    """The platform would be left without an active administrator. Fields: user name."""

    def __str__(self) -> str:
        return (
            f"'{self.args[0]}' is the last active administrator of the platform. "
            "Make another user administrator first: `platform user role USER administrator`."
        )


class PasswordRejected(AccountError, ValueError):
    """A password that a person chose breaks the rule. Fields: what it lacks, in words; never the password."""

    def __str__(self) -> str:
        return f"The password is not allowed: it needs {', '.join(self.args[0])}."


class SessionNotFound(AccountError, LookupError):
    """There is no such session. Fields: uid."""

    def __str__(self) -> str:
        return f"There is no platform session {self.args[0]}. `platform session list` shows those that exist."


class LoginRefused(AccountError):
    """The user is unknown or disabled, or the password is wrong: which of them is not told."""

    def __str__(self) -> str:
        return "Invalid platform credentials"


class TooManyAttempts(AccountError):
    """Too many logins failed from this address or for this account. Fields: seconds until the next may be tried."""

    @property
    def retry_after(self) -> int:
        """Seconds to wait."""
        return int(self.args[0])

    def __str__(self) -> str:
        return f"Too many login attempts. Try again in {self.args[0]} seconds."


class TokenRefused(AccountError):
    """A token is not, or no longer, good. Fields: the reason, for logs; it is not told."""

    def __str__(self) -> str:
        return "Invalid platform authentication token"


class Forbidden(AccountError):
    """None of the user's roles may do this. Fields: action, user name; neither is told."""

    def __str__(self) -> str:
        return "Insufficient platform role"
