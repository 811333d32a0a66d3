"""Logging in: who gets in, what is refused at one price, what is locked and for how long."""

from __future__ import annotations

import logging
import threading
import time

import argon2
import pytest

from tenantry.errors import LoginRefused, TooManyAttempts
from tenantry.iam import passwords
from tenantry.iam.attempts import LoginLimits, network_of

PASSWORD = "Tall-Giraffe-42"
OFFICE, ELSEWHERE = "10.0.0.7", "203.0.113.9"


def fail(iam, name="ann", address=ELSEWHERE, password="Wrong-Horse-1"):
    with pytest.raises((LoginRefused, TooManyAttempts)) as raised:
        iam.login(name, password, address=address)
    return raised.type


@pytest.mark.parametrize("identifier", ["ann", "ann@example.org", " ANN@Example.org "])
def test_user_logs_in_by_name_or_email(platform, identifier) -> None:
    user = platform.add("ann", "support")
    grant = platform.iam.login(identifier, PASSWORD, address=OFFICE)
    assert (grant.user, grant.expires_in) == (user, 900)
    principal = platform.iam.authenticate(grant.access_token)
    assert principal.user == user
    (session,) = platform.iam.sessions(user.uid)
    assert (session.uid, session.address) == (principal.session_uid, OFFICE)
    entry = platform.registry.audit_entries()[0]
    assert (entry.action, entry.outcome, entry.actor, entry.origin) == ("auth.login", "done", user.email, OFFICE)


@pytest.mark.parametrize("who", ["wrong password", "unknown", "disabled", "disabled and wrong"])
def test_every_refusal_says_the_same_and_costs_one_hash(platform, hashes, who) -> None:
    platform.add("ann", "administrator")
    bob = platform.add("bob")
    platform.iam.disable(bob.uid)
    name, password = {
        "wrong password": ("ann", "Wrong-Horse-1"),
        "unknown": ("nobody", PASSWORD),
        "disabled": ("bob", PASSWORD),
        "disabled and wrong": ("bob", "Wrong-Horse-1"),
    }[who]
    passwords.decoy()  # made once a process
    before = hashes.verified
    with platform.queries() as sent, pytest.raises(LoginRefused, match=r"^Invalid platform credentials$") as raised:
        platform.iam.login(name, password, address=OFFICE)
    assert hashes.since(before) == 1
    assert raised.value.args == ()
    assert raised.value.recorded
    assert platform.rows("platform_session") == []
    # The same work for every one of them, so that none is told by its time.
    words = [statement.split()[0] for statement in sent]
    with platform.queries() as again, pytest.raises(LoginRefused):
        platform.iam.login("somebody-else", PASSWORD, address=OFFICE)
    assert words == [statement.split()[0] for statement in again]


def test_hash_of_nobody_has_the_parameters_of_a_real_one(platform) -> None:
    real = argon2.extract_parameters(passwords.hash_password(PASSWORD))
    assert argon2.extract_parameters(passwords.decoy()) == real


def test_lockout_refuses_the_right_password_too_and_ends(platform, hashes) -> None:
    platform.add("ann")
    assert [fail(platform.iam) for _ in range(5)] == [LoginRefused] * 5
    before, audited = hashes.verified, len(platform.actions())
    platform.clock.move(minutes=14)
    with pytest.raises(TooManyAttempts, match="Try again in 60 seconds") as raised:
        platform.login(address=ELSEWHERE)
    assert raised.value.retry_after == 60
    assert (hashes.since(before), len(platform.actions())) == (0, audited)
    platform.clock.move(minutes=1)
    assert platform.login(address=ELSEWHERE).user.username == "ann"


def test_lockout_is_audited_when_it_begins_and_only_then(platform) -> None:
    platform.add("ann")
    for _ in range(9):
        fail(platform.iam)
    entries = platform.registry.audit_entries(action="auth.login")
    assert [entry.details.get("locked") for entry in entries] == [["account and address"], None, None, None, None]
    assert {entry.actor for entry in entries} == {"anonymous"}
    assert {entry.origin for entry in entries} == {ELSEWHERE}


def test_lockout_of_one_address_leaves_the_user_and_the_others_alone(platform) -> None:
    platform.add("ann")
    platform.add("bob")
    for _ in range(50):
        fail(platform.iam)
    assert platform.login("ann", OFFICE)
    assert platform.login("bob", ELSEWHERE)


def test_lockout_holds_for_every_worker_and_after_a_restart(platform) -> None:
    platform.add("ann")
    workers = [platform.worker() for _ in range(5)]
    for worker in workers:
        assert fail(worker) is LoginRefused
    assert fail(platform.worker(), password=PASSWORD) is TooManyAttempts


def test_address_that_guesses_at_many_accounts_is_locked_for_all(platform) -> None:
    platform.add("ann")
    kinds = [fail(platform.iam, f"user{number}") for number in range(40)]
    assert kinds == [LoginRefused] * 30 + [TooManyAttempts] * 10
    assert fail(platform.iam, "ann", password=PASSWORD) is TooManyAttempts
    assert platform.login("ann", OFFICE)
    platform.clock.move(minutes=15)
    assert platform.login("ann", ELSEWHERE)


def test_account_guessed_at_from_everywhere_is_open_only_from_where_its_user_was(platform) -> None:
    platform.add("ann")
    platform.login("ann", OFFICE)
    kinds = [fail(platform.iam, "ann", f"198.51.100.{number}") for number in range(25)]
    assert kinds == [LoginRefused] * 20 + [TooManyAttempts] * 5
    assert fail(platform.iam, "ann", ELSEWHERE, PASSWORD) is TooManyAttempts
    assert platform.login("ann", OFFICE)
    platform.clock.move(minutes=15)
    assert platform.login("ann", ELSEWHERE)


def test_account_that_is_not_there_is_locked_like_one_that_is(platform) -> None:
    platform.add("ann")
    for name in ("ann", "nobody"):
        kinds = [fail(platform.iam, name, f"198.51.100.{number}") for number in range(25)]
        assert kinds == [LoginRefused] * 20 + [TooManyAttempts] * 5


def test_success_forgets_what_failed_from_there_before(platform) -> None:
    platform.add("ann")
    for _ in range(4):
        fail(platform.iam, address=OFFICE)
    platform.login()
    assert [fail(platform.iam, address=OFFICE) for _ in range(6)] == [LoginRefused] * 5 + [TooManyAttempts]


def test_logins_that_succeed_lock_nothing(platform) -> None:
    platform.add("ann")
    for _ in range(40):
        platform.login()
    assert {row["hits"] for row in platform.rows("platform_attempt")} == {0}


@pytest.mark.parametrize("mend", ["reset_password", "enable"])
def test_administrator_ends_a_lockout(platform, mend) -> None:
    ann = platform.add("ann")
    for number in range(25):
        fail(platform.iam, "ann", f"198.51.100.{number}")
        fail(platform.iam, "ann@example.org", ELSEWHERE)
    password = platform.iam.reset_password(ann.uid) if mend == "reset_password" else PASSWORD
    platform.iam.enable(ann.uid)
    assert platform.iam.login("ann", password, address=ELSEWHERE)
    assert platform.iam.login("ann@example.org", password, address=ELSEWHERE)


def test_twenty_guesses_at_once_get_no_more_tries_than_one_after_the_other(platform, hashes) -> None:
    platform.add("ann")
    start, kinds = threading.Barrier(20), []

    def guess() -> None:
        start.wait()
        kinds.append(fail(platform.iam))

    threads = [threading.Thread(target=guess) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(kind.__name__ for kind in kinds) == ["LoginRefused"] * 5 + ["TooManyAttempts"] * 15
    assert hashes.verified == 5


def test_ten_thousand_wrong_logins_a_minute_stay_cheap_and_lock_only_what_they_must(platform, hashes) -> None:
    platform.add("ann")
    platform.add("bob")
    attackers = [f"198.51.100.{number}" for number in range(10)]
    began = time.monotonic()
    for number in range(10_000):
        fail(platform.iam, ("ann", "root", "admin")[number % 3], attackers[number % 10])
        platform.clock.move(seconds=0.006)
    took = time.monotonic() - began
    assert took < 60
    assert hashes.verified <= 3 * 20  # of three accounts, twenty each
    assert len(platform.actions()) <= 3 * 20 + 2
    assert len(platform.rows("platform_attempt")) <= 10 + 3 + 30
    assert platform.login("bob", OFFICE)
    assert platform.login("bob", attackers[0])


def test_attempt_past_a_limit_writes_nothing(platform) -> None:
    platform.add("ann")
    for _ in range(5):
        fail(platform.iam)
    before = platform.everything()
    with platform.queries() as sent:
        assert fail(platform.iam) is TooManyAttempts
    assert {statement.split()[0] for statement in sent} == {"SELECT"}
    assert len(sent) == 1
    with platform.queries() as sent:
        assert fail(platform.iam) is TooManyAttempts
    assert sent == []  # for a moment it is known
    platform.clock.move(seconds=1)
    with platform.queries() as sent:
        assert fail(platform.iam) is TooManyAttempts
    assert len(sent) == 1
    assert platform.everything() == before


def test_counters_whose_window_is_over_are_removed(platform) -> None:
    for number in range(60):
        fail(platform.iam, f"user{number}", f"10.1.{number}.1")
    assert len(platform.rows("platform_attempt")) == 180
    platform.clock.move(hours=1)
    for number in range(40):
        fail(platform.iam, f"other{number}", f"10.2.{number}.1")
    assert len(platform.rows("platform_attempt")) == 120


def test_limits_are_the_applications_to_choose(platform) -> None:
    platform.add("ann")
    worker = platform.worker(limits=LoginLimits(per_account_and_address="2 per 1 hour"))
    assert [fail(worker) for _ in range(3)] == [LoginRefused, LoginRefused, TooManyAttempts]


@pytest.mark.parametrize(
    "identifier", ["", "a\0b", "\ud800", "x" * 1_000_000, "' OR 1=1 --", "😀", "ann\n", "../ann", "%", "ann@"]
)
def test_odd_identifiers_are_refused_like_any_other(platform, identifier) -> None:
    platform.add("bob")
    for _ in range(2):
        assert fail(platform.iam, identifier) is LoginRefused
    assert platform.rows("platform_session") == []


@pytest.mark.parametrize("password", ["", "x" * 1_000_000, "\0", "\ud800"])
def test_odd_passwords_are_refused(platform, password) -> None:
    platform.add("ann")
    assert fail(platform.iam, "ann", OFFICE, password) is LoginRefused


@pytest.mark.parametrize("address", ["", "unknown", "a\0b\n", "x" * 10_000, "::1", "fe80::1%eth0"])
def test_odd_addresses_are_kept_short_and_printable(platform, address) -> None:
    platform.add("ann")
    fail(platform.iam, "ann", address)
    platform.login("ann", address)
    origins = [entry.origin for entry in platform.registry.audit_entries(action="auth.login")]
    assert all(origin.isprintable() and 0 < len(origin) <= 64 for origin in origins)


def test_one_network_of_ipv6_is_one_address(platform) -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1") != network_of("2001:db8:0:1::1")
    assert network_of("::ffff:10.0.0.7") == network_of("10.0.0.7")
    platform.add("ann")
    kinds = [fail(platform.iam, "ann", f"2001:db8::{number:x}") for number in range(1, 8)]
    assert kinds == [LoginRefused] * 5 + [TooManyAttempts] * 2


def test_user_disabled_while_the_hash_is_verified_does_not_get_in(platform, monkeypatch) -> None:
    platform.add("root", "administrator")
    ann = platform.add("ann")
    verify = passwords.verify_password

    def slow(hashed: str, password: str) -> bool:
        platform.iam.disable(ann.uid)
        return verify(hashed, password)

    monkeypatch.setattr(passwords, "verify_password", slow)
    assert fail(platform.iam, "ann", OFFICE, PASSWORD) is LoginRefused
    assert platform.rows("platform_session") == []


def test_password_changed_while_the_old_one_is_verified_keeps_the_old_one_out(platform, monkeypatch) -> None:
    ann = platform.add("ann")
    verify = passwords.verify_password

    def slow(hashed: str, password: str) -> bool:
        platform.iam.reset_password(ann.uid)
        return verify(hashed, password)

    monkeypatch.setattr(passwords, "verify_password", slow)
    assert fail(platform.iam, "ann", OFFICE, PASSWORD) is LoginRefused
    assert platform.rows("platform_session") == []


def test_hash_of_older_parameters_is_renewed_by_a_login(platform, monkeypatch) -> None:
    platform.add("ann")
    stronger = argon2.PasswordHasher(time_cost=2, memory_cost=16, parallelism=1)
    monkeypatch.setattr(passwords, "_hasher", stronger)
    platform.login()
    (row,) = platform.rows("platform_user")
    assert argon2.extract_parameters(row["hashed_password"]).time_cost == 2
    assert platform.login()
    assert platform.rows("platform_user") == [row]


def test_secrets_are_in_no_table_no_log_and_no_repr(platform, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    typed = "My-Password-In-The-Wrong-Field-7"
    platform.add("ann", "administrator")
    grant = platform.login()
    fail(platform.iam, typed, OFFICE)
    fail(platform.iam, "ann", OFFICE, typed)
    again = platform.iam.refresh(grant.refresh_token, address=OFFICE)
    key = (platform.home / "secret.key").read_text().strip()
    secrets = [
        PASSWORD,
        typed,
        key,
        *(getattr(g, f"{kind}_token") for g in (grant, again) for kind in ("access", "refresh")),
    ]
    shown = [
        platform.everything(),
        caplog.text,
        repr(grant),
        repr(again),
        repr(platform.iam),
        "".join(platform.registry.export_audit()),
    ]
    shown += [repr(platform.iam.sessions()), repr(platform.iam.keys()), repr(platform.iam.users())]
    assert not [secret for secret in secrets if any(secret in text for text in shown)]


def test_more_logins_than_hashes_at_once_wait_their_turn(platform, monkeypatch) -> None:
    platform.add("ann")
    for _ in range(100):
        platform.iam._hashing.acquire(blocking=False)
    monkeypatch.setattr("tenantry.iam.iam.HASH_PATIENCE", 0.05)
    with pytest.raises(TooManyAttempts) as raised:
        platform.login()
    assert raised.value.retry_after == 1
    assert {row["hits"] for row in platform.rows("platform_attempt")} == {0}
    platform.iam._hashing.release()
    assert platform.login()
