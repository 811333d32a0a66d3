"""What Beak LIMS refuses on purpose, as branches of the engine's tree; the fields of an error are its ``args``.

TenancyError (tenantry)
+-- SettingRejected         a setting of the environment or of .env cannot be used
+-- InputRejected           a value given by a person is not allowed
+-- AdministratorExists     a tenant's user has that email already
+-- DecryptionFailed        a value cannot be read with the keys of this installation
+-- LaboratoryRequired      a row of a laboratory is to be made, and none is at work
+-- LaboratoryRefused       the user is not assigned to the laboratory that was asked for
+-- LaboratoryMismatch      a row is to be written for another laboratory than the one at work
+-- RecordNotFound          there is no such row, or none that may be seen
+-- RecordExists            another row has that name, code or keyword
+-- RecordInUse             a row cannot go, others refer to it
+-- ReferenceRejected       what a row refers to is not there
+-- ChangeRefused           what was asked for does not fit the present state
|   +-- WrongState          an event has no place in the state a thing is in
+-- NotPermitted            the user's groups do not give that permission
+-- PasswordExpired         the password must be changed first
+-- ResetRefused            a reset token is unknown, used or too old
+-- AccountError (tenantry)
    +-- LoginRefused (tenantry)
        +-- CredentialsRefused  a tenant's user is unknown or inactive, or the password wrong
+-- TableRejected           a table of reference data cannot be read at all
+-- MeasurementRejected     a value is no MIC and no zone
+-- ScopeRejected           a seed scope is none
+-- ModuleRejected          a module is none
+-- TenantError (tenantry)
    +-- OrganizationNotFound
    +-- ModuleNotEnabled    something of a module was asked for that the organisation lacks
    +-- ModuleRequired      a module that it cannot do without was to be switched off
"""

from __future__ import annotations

from tenantry.errors import LoginRefused, TenancyError, TenantError


class SettingRejected(TenancyError):
    """A setting cannot be used.

    Its value is not repeated, it may be a secret. Fields: name of the setting or of the file, reason.
    """

    def __str__(self) -> str:
        name, reason = self.args
        return f"Setting {name}: {reason}"


class InputRejected(TenancyError, ValueError):
    """A value given by a person is not allowed. Fields: what it is, the value, reason."""

    def __str__(self) -> str:
        what, value, reason = self.args
        shown = value if len(value) <= 80 else f"{value[:60]}... ({len(value)} characters)"
        return f"{what} {shown!r} is not allowed: {reason}"


class OrganizationNotFound(TenantError, LookupError):
    """The tenant holds no organisation of that setup name. Fields: slug, setup name."""

    def __str__(self) -> str:
        slug, setup_name = self.args
        return f"Organization with setup_name='{setup_name}' not found in tenant '{slug}'"


class AdministratorExists(TenantError):
    """The tenant has a user of that email already. Fields: slug, email."""

    def __str__(self) -> str:
        slug, email = self.args
        return f"User '{email}' exists already in tenant '{slug}'. Give --reset-password for a new one-time password."


class DecryptionFailed(TenancyError):
    """A value cannot be decrypted. Fields: reason. The value itself is not repeated."""

    def __str__(self) -> str:
        return f"An encrypted value cannot be read: {self.args[0]}."


class LaboratoryRequired(TenancyError, ValueError):
    """A row of a laboratory is to be made, and no laboratory is at work. Fields: what is to be made."""

    def __str__(self) -> str:
        return f"Laboratory context required to create {self.args[0]}"


class LaboratoryRefused(TenancyError):
    """The user may not work in the laboratory asked for, or there is none of that uid: it is not told which."""

    def __str__(self) -> str:
        return "User not assigned to the requested laboratory"


class LaboratoryMismatch(TenancyError, ValueError):
    """A row is to be written for another laboratory than the one at work. Fields: what it is."""

    def __str__(self) -> str:
        return f"A {self.args[0]} of another laboratory cannot be written in this one."


class RecordNotFound(TenancyError, LookupError):
    """There is no such row, or none that may be seen here. Fields: what, its uid."""

    def __str__(self) -> str:
        what, uid = self.args
        return f"No {what} with uid {uid!r} was found."


class RecordExists(TenancyError):
    """Another row has that value already. Fields: what, the columns."""

    def __str__(self) -> str:
        what, columns = self.args
        return f"Another {what} has this {' and '.join(columns)} already."


class RecordInUse(TenancyError):
    """A row cannot be removed. Fields: what, what refers to it."""

    def __str__(self) -> str:
        what, by = self.args
        return f"This {what} is still referred to by a {by}. Make it inactive instead of removing it."


class ReferenceRejected(TenancyError, ValueError):
    """What a row is to refer to is not there. Fields: the field."""

    def __str__(self) -> str:
        return f"{self.args[0]} names nothing that can be found."


class ChangeRefused(TenancyError):
    """What was asked for does not fit the present state. Fields: what is the matter, in a sentence."""

    def __str__(self) -> str:
        return str(self.args[0])


class WrongState(ChangeRefused):
    """An event has no place in the state a thing is in.

    Fields: the kind of thing, which one, its state, the event, the states that allow it.
    """

    def __str__(self) -> str:
        noun, of, state, event, sources = self.args
        allowed = " or ".join(sources) if sources else "no state"
        return f"{noun} {of} is {state}: {event} is possible in {allowed}."


class NotPermitted(TenancyError):
    """The user's groups do not give that permission. Fields: action, target."""

    def __str__(self) -> str:
        action, target = self.args
        return f"Permission {action} on {target} is missing. An administrator gives it to one of the user's groups."


class PasswordExpired(TenancyError):
    """The user must choose a new password before anything else."""

    def __str__(self) -> str:
        return "The password must be changed first: POST /api/v1/auth/password."


class ResetRefused(TenancyError, ValueError):
    """A reset token is unknown, was used, or is too old: it is not told which."""

    def __str__(self) -> str:
        return "This reset token cannot be used. Ask an administrator for a new one."


class CredentialsRefused(LoginRefused):
    """The tenant's user is unknown or inactive, or the password is wrong: which of them is not told."""

    def __str__(self) -> str:
        return "Invalid credentials"


class TableRejected(TenancyError):
    """A file or directory of reference data cannot be read at all. Fields: its path, reason."""

    def __str__(self) -> str:
        path, reason = self.args
        return f"{path}: {reason}"


class MeasurementRejected(TenancyError, ValueError):
    """A value is no MIC and no zone. Fields: the value, what to write."""

    def __str__(self) -> str:
        value, reason = self.args
        return f"{value[:60]!r} cannot be read: {reason}"


class ScopeRejected(TenancyError, ValueError):
    """A seed scope is none. Fields: what was given, the scopes there are."""

    def __str__(self) -> str:
        given, allowed = self.args
        return f"Invalid seed scope(s): {given}. Allowed scopes: {', '.join(allowed)}."


class ModuleRejected(TenancyError, ValueError):
    """A module is none. Fields: what was given, the modules there are."""

    def __str__(self) -> str:
        given, allowed = self.args
        return f"Unknown module(s): {given}. Modules: {', '.join(allowed)}."


class ModuleNotEnabled(TenantError):
    """Something of a module was asked for that the organisation does not have. Fields: slug, module."""

    def __str__(self) -> str:
        slug, module = self.args
        return f"Module '{module}' is not enabled for tenant '{slug}'"


class ModuleRequired(TenantError, ValueError):
    """A module that an organisation cannot do without was to be switched off. Fields: slug, module."""

    def __str__(self) -> str:
        slug, module = self.args
        return f"Module '{module}' cannot be disabled for tenant '{slug}'"
