"""Sessions and their refresh tokens: rotated, never used twice, ended at once."""

from __future__ import annotations

import hashlib

import pytest

from tenantry.errors import SessionNotFound, TokenRefused

OFFICE, ELSEWHERE = "10.0.0.7", "203.0.113.9"


def refused(iam, token, address=ELSEWHERE):
    with pytest.raises(TokenRefused, match=r"^Invalid platform authentication token$") as raised:
        iam.refresh(token, address=address)
    return raised.value


def dead(iam, access_token) -> bool:
    try:
        iam.authenticate(access_token)
    except TokenRefused:
        return True
    return False


def test_refresh_gives_new_tokens_of_the_same_session(platform) -> None:
    user = platform.add("ann")
    first = platform.login()
    platform.clock.move(minutes=10)
    second = platform.iam.refresh(first.refresh_token, address=ELSEWHERE)
    assert second.user == user
    assert second.refresh_token != first.refresh_token
    one, two = (platform.iam.authenticate(grant.access_token) for grant in (first, second))
    assert (one.session_uid, one.token_id != two.token_id) == (two.session_uid, True)
    (session,) = platform.iam.sessions()
    assert (session.address, session.last_address) == (OFFICE, ELSEWHERE)
    assert session.refreshed_at > session.created_at


def test_used_token_ends_the_whole_family(platform) -> None:
    platform.add("ann")
    other = platform.login()
    stolen = platform.login()
    thief = platform.iam.refresh(stolen.refresh_token, address=ELSEWHERE)
    further = platform.iam.refresh(thief.refresh_token, address=ELSEWHERE)
    assert refused(platform.iam, stolen.refresh_token).recorded
    for grant in (stolen, thief, further):
        assert dead(platform.iam, grant.access_token)
        refused(platform.iam, grant.refresh_token)
    assert platform.iam.authenticate(other.access_token)
    ended = [session for session in platform.iam.sessions(over=True) if session.ended_at]
    assert [session.ended_by for session in ended] == ["reuse"]
    entries = platform.registry.audit_entries(action="auth.refresh")
    assert [(entry.outcome, entry.details["session"]) for entry in entries] == [("refused", ended[0].uid)]


def test_twenty_refreshes_of_one_token_at_once_leave_one_grant_and_a_dead_family(platform, race) -> None:
    platform.add("ann")
    grant = platform.login()
    body = f"""
def work(iam, number):
    return iam.refresh({grant.refresh_token!r}, address="10.1.0.1").access_token
"""
    outcomes = race(body)
    granted = [outcome for outcome in outcomes if outcome != "TokenRefused"]
    assert len(granted) == 1
    assert granted[0].count(".") == 2
    assert dead(platform.iam, granted[0])
    assert dead(platform.iam, grant.access_token)
    (session,) = platform.iam.sessions(over=True)
    assert session.ended_by == "reuse"
    assert platform.actions().count(("auth.refresh", "refused")) == 1
    assert len(platform.rows("platform_refresh_token")) == 2
    assert platform.registry.verify_audit() == []


@pytest.mark.parametrize("token", ["", "x", "x" * 43, "x" * 1_000_000, "\0", "é" * 43, "a.b.c", "'; DROP TABLE x; --"])
def test_made_up_refresh_tokens_change_nothing(platform, token) -> None:
    platform.add("ann")
    platform.login()
    before = platform.everything()
    assert not refused(platform.iam, token).recorded
    assert platform.everything() == before


def test_access_token_is_no_refresh_token_and_the_reverse(platform) -> None:
    platform.add("ann")
    grant = platform.login()
    refused(platform.iam, grant.access_token)
    assert dead(platform.iam, grant.refresh_token)
    assert platform.iam.refresh(grant.refresh_token, address=OFFICE)


def test_only_the_hash_of_a_refresh_token_is_kept(platform) -> None:
    platform.add("ann")
    grant = platform.login()
    (row,) = platform.rows("platform_refresh_token")
    assert row["digest"] == hashlib.sha256(grant.refresh_token.encode()).hexdigest()


def test_session_that_is_not_refreshed_is_over_after_twelve_hours(platform) -> None:
    platform.add("ann")
    grant = platform.login()
    platform.clock.move(hours=12)
    refused(platform.iam, grant.refresh_token)
    assert platform.iam.sessions() == []
    assert len(platform.iam.sessions(over=True)) == 1


def test_session_that_is_refreshed_is_over_after_a_week(platform) -> None:
    platform.add("ann")
    grant = platform.login()
    for _ in range(27):
        platform.clock.move(hours=6)
        grant = platform.iam.refresh(grant.refresh_token, address=OFFICE)
    platform.clock.move(hours=6)
    refused(platform.iam, grant.refresh_token)
    assert platform.iam.sessions() == []


def test_sessions_over_for_a_month_are_removed_with_their_tokens(platform) -> None:
    platform.add("ann")
    platform.login()
    platform.clock.move(days=31)
    platform.login()
    assert len(platform.rows("platform_session")) == len(platform.rows("platform_refresh_token")) == 1


def test_disabled_user_cannot_refresh_and_begins_anew_when_enabled(platform) -> None:
    platform.add("root", "administrator")
    ann = platform.add("ann")
    grant = platform.login()
    platform.iam.disable(ann.uid)
    refused(platform.iam, grant.refresh_token)
    platform.iam.enable(ann.uid)
    refused(platform.iam, grant.refresh_token)
    assert dead(platform.iam, grant.access_token)
    assert platform.login()


def test_new_password_ends_every_session(platform) -> None:
    ann = platform.add("ann")
    grants = [platform.login() for _ in range(2)]
    password = platform.iam.reset_password(ann.uid)
    for grant in grants:
        assert dead(platform.iam, grant.access_token)
        refused(platform.iam, grant.refresh_token)
    assert {session.ended_by for session in platform.iam.sessions(over=True)} == {"password"}
    assert platform.iam.login("ann", password, address=OFFICE)


def test_logout_ends_the_session_of_the_access_token(platform) -> None:
    platform.add("ann")
    here, there = platform.login(), platform.login()
    platform.iam.logout(None, platform.iam.authenticate(here.access_token))
    assert dead(platform.iam, here.access_token)
    refused(platform.iam, here.refresh_token)
    assert platform.iam.authenticate(there.access_token)
    assert platform.actions()[-1] == ("auth.logout", "done")


def test_logout_with_somebody_elses_refresh_token_leaves_their_session_alone(platform) -> None:
    platform.add("ann")
    platform.add("bob")
    ann, bob = platform.login("ann"), platform.login("bob")
    platform.iam.logout(bob.refresh_token, platform.iam.authenticate(ann.access_token))
    assert dead(platform.iam, ann.access_token)
    assert platform.iam.authenticate(bob.access_token)


def test_sessions_are_listed_newest_first_by_user_and_page(platform) -> None:
    ann, bob = platform.add("ann"), platform.add("bob")
    for name in ("ann", "bob", "ann"):
        platform.login(name)
        platform.clock.move(minutes=1)
    assert [session.user_uid for session in platform.iam.sessions()] == [ann.uid, bob.uid, ann.uid]
    assert len(platform.iam.sessions(ann.uid)) == 2
    (first,) = platform.iam.sessions(limit=1)
    assert [session.user_uid for session in platform.iam.sessions(after=first.uid)] == [bob.uid, ann.uid]


def test_revoked_session_is_dead_at_once_and_the_others_live(platform) -> None:
    platform.add("ann")
    one, two = platform.login(), platform.login()
    uid = platform.iam.authenticate(one.access_token).session_uid
    platform.iam.revoke_session(uid)
    assert dead(platform.iam, one.access_token)
    refused(platform.iam, one.refresh_token)
    assert platform.iam.authenticate(two.access_token)
    platform.iam.revoke_session(uid)  # once more changes nothing
    assert [session.ended_by for session in platform.iam.sessions(over=True)].count("revoked") == 1


def test_revoking_all_sessions_of_a_user_leaves_those_of_others(platform) -> None:
    ann = platform.add("ann")
    platform.add("bob")
    grants = [platform.login("ann"), platform.login("ann"), platform.login("bob")]
    assert platform.iam.revoke_sessions(ann.uid) == 2
    assert [dead(platform.iam, grant.access_token) for grant in grants] == [True, True, False]
    assert platform.registry.audit_entries()[0].details == {"user": "ann", "sessions": 2}


def test_unknown_session_cannot_be_revoked(platform) -> None:
    with pytest.raises(SessionNotFound) as raised:
        platform.iam.revoke_session("f" * 32)
    assert raised.value.recorded
    assert platform.actions() == [("session.revoke", "refused")]
