"""Platform users and their roles: made, changed, disabled; never without an administrator; all of it audited."""

from __future__ import annotations

import pytest

from tenantry.errors import (
    AccountError,
    LastAdministrator,
    PasswordRejected,
    UserExists,
    UserNotFound,
)
from tenantry.iam.passwords import verify_password
from tenantry.registry.actor import acting

PASSWORD = "Tall-Giraffe-42"


def test_user_is_added_with_a_password_told_once(platform) -> None:
    added = platform.iam.add_user("Ann@Example.org", roles=["support", "billing", "support"])
    assert (added.user.email, added.user.username, added.user.roles) == (
        "ann@example.org",
        "ann",
        ("billing", "support"),
    )
    assert added.user.is_active
    (row,) = platform.rows("platform_user")
    assert verify_password(row["hashed_password"], added.password_generated)
    assert added.password_generated not in repr(added)
    assert added.password_generated not in platform.everything()
    assert platform.iam.login("ann", added.password_generated, address="10.0.0.7")


def test_no_two_users_are_given_the_same_password(platform) -> None:
    passwords = {platform.iam.add_user(f"user{number}@example.org").password_generated for number in range(5)}
    assert len(passwords) == 5
    assert None not in passwords


@pytest.mark.parametrize(
    ("email", "username", "kind"),
    [
        ("ann@example.org", "other", "email"),
        ("ANN@example.org", "other", "email"),
        ("b@example.org", "ANN", "user name"),
    ],
)
def test_taken_email_or_name_is_refused(platform, email, username, kind) -> None:
    platform.add("ann")
    before = platform.rows("platform_user")
    with pytest.raises(UserExists, match=f"^The {kind} '.+' belongs to another") as raised:
        platform.iam.add_user(email, username)
    assert platform.rows("platform_user") == before
    assert raised.value.recorded
    assert platform.actions()[-1] == ("user.add", "refused")


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"email": "nobody"}, AccountError),
        ({"username": "a b"}, AccountError),
        ({"roles": ["god"]}, AccountError),
        ({"roles": ["\0"]}, AccountError),
        ({"first_name": "A\x1b[2J"}, AccountError),
        ({"password": "weak"}, PasswordRejected),
        ({"password": "Ann-ann-1"}, PasswordRejected),
    ],
)
def test_bad_input_makes_no_user(platform, given, kind) -> None:
    with pytest.raises(kind) as raised:
        platform.iam.add_user(**{"email": "ann@example.org", "username": "ann", **given})
    assert given.get("password", PASSWORD) not in str(raised.value)
    assert platform.rows("platform_user") == []


def test_twenty_who_add_one_user_at_once_make_one(platform, race) -> None:
    body = """
def work(iam, number):
    return iam.add_user("ann@example.org", "ann", ["support"]).user.uid
"""
    outcomes = race(body)
    assert outcomes.count("UserExists") == 19
    assert len(platform.rows("platform_user")) == 1
    assert sorted(platform.actions()) == [("user.add", "done")] + [("user.add", "refused")] * 19
    assert platform.registry.verify_audit() == []


def test_user_is_found_by_uid_email_and_name(platform) -> None:
    ann = platform.add("ann", "support")
    assert {platform.iam.user(word).uid for word in (ann.uid, "ANN@example.org ", "Ann")} == {ann.uid}
    for word in ("nobody", "", "a\0", "\ud800", "x" * 100_000, "%"):
        with pytest.raises(UserNotFound):
            platform.iam.user(word)


def test_users_are_listed_by_name_narrowed_and_paged(platform) -> None:
    for name, roles in (
        ("carl", ["support"]),
        ("ann", ["administrator", "support"]),
        ("bob", []),
        ("dora", ["support"]),
    ):
        platform.iam.add_user(f"{name}@example.org", name, roles)
    platform.iam.disable(platform.iam.user("dora").uid)
    iam = platform.iam
    assert [user.username for user in iam.users()] == ["ann", "bob", "carl", "dora"]
    assert [user.roles for user in iam.users(limit=2)] == [("administrator", "support"), ()]
    assert [user.username for user in iam.users(after=iam.user("bob").uid)] == ["carl", "dora"]
    assert [user.username for user in iam.users(after="f" * 32)] == []
    assert [user.username for user in iam.users(role="support", is_active=True)] == ["ann", "carl"]
    assert iam.users(role="billing") == []
    with pytest.raises(AccountError, match="no platform role 'god'"):
        iam.users(role="god")


def test_roles_are_replaced_as_a_whole(platform) -> None:
    platform.add("root", "administrator")
    ann = platform.add("ann", "support", "billing")
    assert platform.iam.set_roles(ann.uid, ["provisioner"]).roles == ("provisioner",)
    assert platform.iam.user("ann").roles == ("provisioner",)
    assert platform.iam.set_roles(ann.uid, []).roles == ()
    with pytest.raises(AccountError, match="no platform role"):
        platform.iam.set_roles(ann.uid, ["support", "god"])
    assert platform.iam.user("ann").roles == ()


def test_last_active_administrator_stays(platform) -> None:
    root = platform.add("root", "administrator", "support")
    gone = platform.add("gone", "administrator")
    platform.iam.disable(gone.uid)
    for attempt in (
        lambda: platform.iam.disable(root.uid),
        lambda: platform.iam.set_roles(root.uid, ["support"]),
        lambda: platform.iam.set_roles(root.uid, []),
    ):
        with pytest.raises(LastAdministrator, match="'root' is the last active administrator") as raised:
            attempt()
        assert raised.value.recorded
        assert platform.iam.user("root") == root
    assert platform.iam.set_roles(root.uid, ["administrator"]).roles == ("administrator",)
    platform.iam.enable(gone.uid)
    assert not platform.iam.disable(root.uid).is_active


def test_administrators_who_disable_one_another_at_once_leave_one(platform, race) -> None:
    for number in range(8):
        platform.add(f"root{number}", "administrator")
    body = """
def work(iam, number):
    iam.disable(iam.user(f"root{(number + 1) % 8}").uid)
    return "disabled"
"""
    outcomes = race(body, processes=8)
    assert sorted(outcomes) == ["LastAdministrator"] + ["disabled"] * 7
    assert len(platform.iam.users(role="administrator", is_active=True)) == 1
    assert sorted(platform.actions())[-8:] == [("user.disable", "done")] * 7 + [("user.disable", "refused")]


def test_two_administrators_on_one_user_at_once_leave_one_of_their_wishes(platform, race) -> None:
    platform.add("root", "administrator")
    platform.add("ann")
    body = """
WISHES = (["support", "billing"], ["provisioner", "administrator"])

def work(iam, number):
    return list(iam.set_roles(iam.user("ann").uid, WISHES[number % 2]).roles)
"""
    outcomes = race(body, processes=10)
    wishes = [["billing", "support"], ["administrator", "provisioner"]]
    assert all(outcome in wishes for outcome in outcomes), outcomes
    last = platform.registry.audit_entries()[0]
    assert list(platform.iam.user("ann").roles) == sorted(last.details["roles"])
    assert platform.actions().count(("user.roles", "done")) == 10


def test_disabling_and_new_password_at_once_leave_no_session(platform, race) -> None:
    platform.add("root", "administrator")
    ann = platform.add("ann")
    platform.login()
    body = """
def work(iam, number):
    uid = iam.user("ann").uid
    if number % 3 == 0:
        iam.disable(uid)
    elif number % 3 == 1:
        iam.reset_password(uid, "Tall-Giraffe-43")
    else:
        iam.login("ann", "Tall-Giraffe-42", address=f"10.9.0.{number}")
    return "done"
"""
    outcomes = race(body, processes=12)
    assert set(outcomes) <= {"done", "LoginRefused"}
    assert not platform.iam.user("ann").is_active
    platform.clock.move(minutes=1)
    assert platform.iam.sessions(ann.uid) == []


def test_unknown_user_cannot_be_changed(platform) -> None:
    for change in (
        platform.iam.disable,
        platform.iam.enable,
        platform.iam.reset_password,
        platform.iam.revoke_sessions,
    ):
        with pytest.raises(UserNotFound):
            change("f" * 32)
    with pytest.raises(UserNotFound):
        platform.iam.set_roles("f" * 32, ["support"])
    assert {outcome for _, outcome in platform.actions()} == {"refused"}


def test_every_change_is_audited_with_who_and_from_where(platform) -> None:
    platform.add("root", "administrator")
    with acting("root@example.org", origin="10.0.0.7"):
        ann = platform.add("ann")
        platform.iam.set_roles(ann.uid, ["support"])
        platform.iam.disable(ann.uid)
        platform.iam.enable(ann.uid)
        platform.iam.reset_password(ann.uid)
        platform.iam.revoke_sessions(ann.uid)
        platform.iam.rotate_keys()
    entries = list(reversed(platform.registry.audit_entries(limit=7)))
    assert [entry.action for entry in entries] == [
        "user.add",
        "user.roles",
        "user.disable",
        "user.enable",
        "user.password",
        "session.revoke",
        "key.rotate",
    ]
    assert {(entry.actor, entry.origin, entry.outcome) for entry in entries} == {
        ("root@example.org", "10.0.0.7", "done")
    }
    assert {entry.details.get("user", "ann") for entry in entries} == {"ann"}
    assert entries[1].details["roles"] == ["support"]


def test_change_that_fails_in_the_audit_trail_is_not_made(platform, monkeypatch) -> None:
    platform.add("root", "administrator")
    ann = platform.add("ann")

    def lost(*_: object, **__: object) -> None:
        raise RuntimeError("the trail cannot be written")

    monkeypatch.setattr(platform.registry, "audit", lost)
    with pytest.raises(RuntimeError):
        platform.iam.disable(ann.uid)
    assert platform.iam.user("ann").is_active


def test_reset_password_takes_a_chosen_one_that_keeps_the_rule(platform) -> None:
    ann = platform.add("ann")
    before = platform.rows("platform_user")
    with pytest.raises(PasswordRejected):
        platform.iam.reset_password(ann.uid, "short")
    assert platform.rows("platform_user") == before
    assert platform.iam.reset_password(ann.uid, "Small-Zebra-77") == "Small-Zebra-77"
    assert platform.iam.login("ann", "Small-Zebra-77", address="10.0.0.7")


def test_superuser_is_made_reset_and_audited(platform) -> None:
    seeded = platform.iam.ensure_superuser(email="root@example.org", username="root")
    grant = platform.iam.login("root", seeded.password_generated, address="10.0.0.7")
    again = platform.iam.ensure_superuser(email="root@example.org", username="root")
    assert (again.created, again.user.uid) == (False, seeded.user.uid)
    assert platform.iam.sessions() == []
    assert grant.user.roles == ("administrator",)
    assert [action for action in platform.actions() if action[0] == "user.superuser"] == [
        ("user.superuser", "done")
    ] * 2
