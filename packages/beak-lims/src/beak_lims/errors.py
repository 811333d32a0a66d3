"""What Beak LIMS refuses on purpose, as branches of the engine's tree; the fields of an error are its ``args``.

TenancyError (tenantry)
+-- SettingRejected         a setting of the environment or of .env cannot be used
+-- InputRejected           a value given by a person is not allowed
+-- AdministratorExists     a tenant's user has that email already
+-- DecryptionFailed        a value cannot be read with the keys of this installation
+-- WrongState              an event has no place in the state a thing is in
+-- TenantError (tenantry)
    +-- OrganizationNotFound
"""

from __future__ import annotations

from tenantry.errors import TenancyError, TenantError


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


class WrongState(TenancyError):
    """An event has no place in the state a thing is in.

    Fields: the kind of thing, which one, its state, the event, the states that allow it.
    """

    def __str__(self) -> str:
        noun, of, state, event, sources = self.args
        allowed = " or ".join(sources) if sources else "no state"
        return f"{noun} {of} is {state}: {event} is possible in {allowed}."
