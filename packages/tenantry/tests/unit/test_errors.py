"""Every error survives a process pool, stands in the documented tree, and says what to do next without a secret."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest
import sqlalchemy as sa

import tenantry
from tenantry import errors
from tenantry.stores.postgres import PostgresSchemas

EXAMPLES = {
    errors.TenancyError: ("text",),
    errors.NameRejected: ("slug", "../x", "use a-z."),
    errors.DeclarationError: ("notes:tenancy", "there is none."),
    errors.NoTenant: (),
    errors.WrongTenant: ("acme", "bravo"),
    errors.TenantError: ("acme",),
    errors.TenantNotFound: ("acme",),
    errors.TenantExists: ("acme", "acme", "failed"),
    errors.TenantBusy: ("acme",),
    errors.TenantNotActive: ("acme", "provisioning"),
    errors.TenantNotFailed: ("acme", "active"),
    errors.StatusRefused: ("acme", "archived", "active"),
    errors.NotReady: ("acme", "org_acme", "organization"),
    errors.StepFailed: ("acme", "seed", "baseline raised ValueError: x."),
    errors.RestoreUnfinished: ("acme",),
    errors.NotConfirmed: ("acme", "acne"),
    errors.ArchiveError: ("acme.tenantry", "it is open."),
    errors.ArchiveForeign: ("acme.tenantry",),
    errors.ArchiveMissing: ("acme.tenantry",),
    errors.ArchiveDamaged: ("acme.tenantry", "it was cut"),
    errors.ArchiveUnfit: ("acme.tenantry", ["note.tags (text[])"]),
    errors.StoreError: ("org_acme", "the disk is full."),
    errors.StoreExists: ("schema", "org_acme"),
    errors.StoreMissing: ("acme", "schema", "org_acme"),
    errors.StoreUnavailable: ("PostgreSQL database 'x' on db", "connection refused."),
    errors.StoreDamaged: ("/data/x.db", "file is not a database"),
    errors.StatementFailed: ("org_acme", 3, "duplicate key."),
    errors.PermissionMissing: ("create a role", "ALTER ROLE x CREATEROLE;"),
    errors.MigrationError: ("text",),
    errors.MigrationFailed: ("org_acme", "r2", "boom."),
    errors.UnknownRevision: ("org_acme", "r9", "r3"),
    errors.RevisionsRejected: ("/app/migrations", "there are several heads."),
    errors.RegistryError: ("db", "reason."),
    errors.RegistryMissing: ("db",),
    errors.RegistryOutdated: ("db", "0001", "0002"),
    errors.TenantOutOfWindow: ("acme", "r1", "r2 to r3"),
    errors.FleetError: ("text",),
    errors.RolloutRefused: ("there is no room.",),
    errors.RolloutRunning: ("0192", "ann", "host cli"),
    errors.RolloutNotFound: ("0192",),
    errors.RolloutEnded: ("0192", "done"),
    errors.StandbyRefused: ("revision 0003 runs as Python",),
    errors.DriftNotFound: ("4f1c",),
    errors.DriftNotRepairable: ("4f1c", "it would drop rows", "add --drop if they may go"),
    errors.EmbeddedServerError: ("/home/x", "it did not start."),
    errors.AccountError: ("there is a user of that name.",),
    errors.UserNotFound: ("ann",),
    errors.UserExists: ("email", "ann@example.com"),
    errors.LastAdministrator: ("ann",),
    errors.PasswordRejected: (["12 characters", "a digit"],),
    errors.SessionNotFound: ("0192",),
    errors.LoginRefused: (),
    errors.TooManyAttempts: (30,),
    errors.TokenRefused: ("expired",),
    errors.Forbidden: ("tenant.provision", "ann"),
}
UNTOLD = {errors.TokenRefused, errors.Forbidden}  # their fields are for logs, not for the one who asked
# What a message tells people to type or do next.
NEXT = {
    errors.NoTenant: "tenancy.scope(slug)",
    errors.WrongTenant: "Leave that scope first",
    errors.TenantNotFound: "tenant list --status all",
    errors.TenantExists: "tenant cleanup --slug acme",
    errors.TenantBusy: "tenant list",
    errors.TenantNotActive: "tenant migrate --slug acme",
    errors.NotReady: "Check that the application's migrations make this table",
    errors.StepFailed: "tenant migrate --slug acme",
    errors.RestoreUnfinished: "tenant restore FILE --as acme",
    errors.NotConfirmed: "--confirm acme",
    errors.ArchiveMissing: "tenant backup",
    errors.ArchiveDamaged: "use another backup",
    errors.DriftNotFound: "tenant drift --all",
    errors.DriftNotRepairable: "add --drop",
    errors.StoreExists: "choose another slug",
    errors.StoreMissing: "tenant migrate --slug acme",
    errors.StoreDamaged: "Restore it from a backup",
    errors.PermissionMissing: "ALTER ROLE x CREATEROLE;",
    errors.UnknownRevision: "Deploy the build that holds r9",
    errors.TenantOutOfWindow: "tenant migrate --slug acme",
    errors.RolloutRunning: "rollout show 0192",
    errors.RolloutNotFound: "rollout list",
    errors.RolloutEnded: "tenant migrate --all",
    errors.StandbyRefused: "tenant standby --keep 0",
    errors.RegistryMissing: "Run `db upgrade` first",
    errors.RegistryOutdated: "Run `db upgrade` first",
    errors.LastAdministrator: "Make another user administrator first",
    errors.UserNotFound: "platform user list",
}


def declared() -> list[type[errors.TenancyError]]:
    found = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.TenancyError)]
    return [kind for kind in found if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", declared())
def test_every_error_survives_pickling_with_its_fields_and_its_sentence(kind) -> None:
    error = kind(*EXAMPLES[kind])
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind
    assert back.args == error.args
    assert str(back) == str(error)


@pytest.mark.parametrize("kind", [kind for kind in declared() if kind in NEXT])
def test_message_says_what_to_do_next(kind) -> None:
    assert NEXT[kind] in str(kind(*EXAMPLES[kind]))


@pytest.mark.parametrize("kind", declared())
def test_message_is_one_line_and_names_its_fields(kind) -> None:
    text = str(kind(*EXAMPLES[kind]))
    assert text
    assert "\n" not in text
    shown = [field for field in EXAMPLES[kind] if isinstance(field, str)]
    if kind in UNTOLD:
        assert not any(field in text for field in shown)
    else:
        assert all(field in text or field in {"slug", "acme"} for field in shown)


def test_tree_in_the_docstring_is_the_tree() -> None:
    drawn: dict[str, str | None] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^([ |]*)(?:\+-- )?([A-Z]\w+)(?:\s|$)", line)
        if found is None or not hasattr(errors, found[2]):
            continue
        depth = len(found[1])
        while above and above[-1][0] >= depth:
            above.pop()
        drawn[found[2]] = above[-1][1] if above else None
        above.append((depth if "+--" in line else -1, found[2]))
    parents = {kind.__name__: kind.__mro__[1].__name__ for kind in declared() if kind is not errors.TenancyError}
    assert {name: parent for name, parent in drawn.items() if parent} == parents


def test_public_names_are_there_and_documented() -> None:
    assert sorted(tenantry.__all__) == tenantry.__all__
    assert set(tenantry.__all__) == set(tenantry._HOMES)
    for name in tenantry.__all__:
        assert inspect.getdoc(getattr(tenantry, name)), name
    with pytest.raises(AttributeError):
        tenantry.nothing  # noqa: B018


@pytest.mark.parametrize("kind", declared())
def test_every_error_says_what_its_fields_are(kind) -> None:
    assert inspect.getdoc(kind)


def test_everyday_catches_work() -> None:
    assert issubclass(errors.NameRejected, ValueError)
    assert issubclass(errors.TenantNotFound, LookupError)
    assert all(kind.exit_code == 1 for kind in declared())


def test_long_name_is_cut_in_its_message() -> None:
    text = str(errors.NameRejected("slug", "x" * 300, "too long."))
    assert "(300 characters)" in text
    assert len(text) < 150


SECRET = "p@ss:w/ord%'\""


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://ann:{SECRET}@db:5432/app",  # as people write it, not encoded
        f"postgresql://ann:{SECRET}@db/app",
        f"mysql://ann:{SECRET}@db/app",
        f"nonsense {SECRET}",
        sa.URL.create("postgresql", "ann", SECRET, "db", 5432, "app"),
        sa.URL.create("mysql", "ann", SECRET, "db", 5432, "app"),
        "postgresql://ann:hunter2@db:port/app",
        "",
    ],
)
def test_no_message_about_a_url_holds_any_of_its_password(url) -> None:
    store = PostgresSchemas(url, "org_{slug}")
    texts = [repr(store)]
    try:
        texts += [store.describe(), str(store.url())]
    except errors.TenancyError as error:
        texts += [str(error), repr(error)]
    assert any("postgresql://user:password@host:port/database" in text or " on db" in text for text in texts)
    for text in texts:
        for part in ("ss:w", "w/ord", "ord%", "hunter2", "p@s", "p%40ss"):
            assert part not in text
