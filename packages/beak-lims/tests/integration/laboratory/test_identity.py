"""Users log in and out, and whoever guesses, steals or keeps a token too long does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from beak_lims.identity import tokens
from beak_lims.models import (
    AuditLog,
    LaboratorySetting,
    PasswordReset,
    RefreshToken,
    User,
    UserSession,
    user_laboratory,
)

from ...conftest import API, PASSWORD, Actor, Installation

HEADER = {"X-Org-Slug": "alpha"}
NEW = "Another-Horse-8"


def post(installation: Installation, path: str, body: dict[str, object], status: int = 200) -> dict[str, object]:
    answer = installation.client.post(f"{API}/auth{path}", json=body, headers=HEADER)
    assert answer.status_code == status, answer.text
    told: dict[str, object] = answer.json() if answer.content else {}
    return told


def login(installation: Installation, actor: Actor, password: str = PASSWORD, status: int = 200) -> dict[str, object]:
    return post(installation, "/login", {"identifier": actor.user_name, "password": password}, status)


def with_token(actor: Actor, told: dict[str, object]) -> Actor:
    actor.token = str(told["access_token"])
    return actor


def test_login_by_name_or_email_opens_a_session(installation: Installation) -> None:
    user = installation.actor()
    told = login(installation, user)
    assert told["expires_in"] == 900
    assert told["must_change_password"] is False
    assert [lab["name"] for lab in told["laboratories"]] == ["First", "Second"]  # type: ignore[index, union-attr]
    by_email = {"identifier": f"{user.user_name}@EXAMPLE.org", "password": PASSWORD}
    assert post(installation, "/login", by_email)["user"]["uid"] == user.uid  # type: ignore[index]
    me = with_token(user, told).get("/auth/me")
    assert "CREATE:PATIENT" in me["permissions"]
    assert "hashed" not in str(me)
    assert len(user.get("/auth/sessions")) == 3
    beta = installation.client.post(
        f"{API}/auth/login",
        json={"identifier": user.user_name, "password": PASSWORD},
        headers={"X-Org-Slug": "beta"},
    )
    assert (beta.status_code, beta.json()["detail"]) == (401, "Invalid credentials")


def test_login_may_choose_the_laboratory(installation: Installation) -> None:
    user = installation.actor(laboratory=None, member_of=["First"])
    first, second = installation.laboratories["alpha"].values()
    body = {"identifier": user.user_name, "password": PASSWORD}
    told = post(installation, "/login", {**body, "laboratory_uid": first})
    assert with_token(user, told).get("/auth/me")["laboratory_uid"] == first
    post(installation, "/login", {**body, "laboratory_uid": second}, 403)
    post(installation, "/login", {**body, "laboratory_uid": "0" * 32}, 403)


def test_refreshed_token_keeps_the_organisation_and_the_laboratory(installation: Installation) -> None:
    user = installation.actor(laboratory=None)
    first, second = installation.laboratories["alpha"].values()
    login_body = {"identifier": user.user_name, "password": PASSWORD, "laboratory_uid": first}
    told = post(installation, "/login", login_body)
    for chosen, expected in ((None, first), (second, second), (None, second)):
        wanted = {} if chosen is None else {"laboratory_uid": chosen}
        told = post(installation, "/refresh", {"refresh_token": told["refresh_token"], **wanted})
        claims = tokens.verify(str(told["access_token"]))
        assert (claims["tenant_slug"], claims["laboratory_uid"]) == ("alpha", expected)
        assert with_token(user, told).get("/auth/me")["laboratory_uid"] == expected
    with installation.tenancy.session("alpha") as session:
        lasting = sa.select(LaboratorySetting).where(LaboratorySetting.laboratory_uid == second)
        session.scalars(lasting).one().inactivity_log_out = 5
        of_user = (user_laboratory.c.user_uid == user.uid, user_laboratory.c.laboratory_uid == first)
        session.execute(sa.delete(user_laboratory).where(*of_user))
    try:
        told = post(installation, "/refresh", {"refresh_token": told["refresh_token"]})
        with installation.tenancy.session("alpha") as session:
            uid = tokens.verify(str(told["access_token"]))["sid"]
            opened = session.get_one(UserSession, uid)
            assert opened.expires_at - opened.refreshed_at == timedelta(minutes=20)  # as the laboratory at work has it
        elsewhere = {"refresh_token": told["refresh_token"], "laboratory_uid": first}
        post(installation, "/refresh", elsewhere, 403)  # which uses up no token
        post(installation, "/refresh", {"refresh_token": told["refresh_token"]})
    finally:
        with installation.tenancy.session("alpha") as session:
            session.scalars(lasting).one().inactivity_log_out = None


def test_refusals_tell_the_same(installation: Installation) -> None:
    user, blocked, inactive = (installation.actor() for _ in range(3))
    with installation.tenancy.session("alpha") as session:
        session.get_one(User, blocked.uid).is_blocked = True
        session.get_one(User, inactive.uid).is_active = False
    told = {
        login(installation, user, "wrong", 401)["detail"],
        login(installation, blocked, PASSWORD, 401)["detail"],
        login(installation, inactive, PASSWORD, 401)["detail"],
        post(installation, "/login", {"identifier": "nobody", "password": PASSWORD}, 401)["detail"],
        post(installation, "/login", {"identifier": "no\x00body", "password": "\x00"}, 401)["detail"],
    }
    assert told == {"Invalid credentials"}
    for gone in (blocked, inactive):
        gone.refused(401, "GET", "/auth/me")  # their sessions are over too
    with installation.tenancy.session("alpha") as session:
        assert session.get_one(User, user.uid).login_retry == 1
        refused = session.scalars(sa.select(AuditLog.state_after).where(AuditLog.action == "login refused")).all()
    assert len(refused) == 5
    assert PASSWORD not in str(refused)


def test_account_is_locked_after_five_wrong_passwords(installation: Installation) -> None:
    user, other = installation.actor(), installation.actor()
    for _ in range(5):
        login(installation, user, "wrong", 401)
    answer = installation.client.post(
        f"{API}/auth/login", json={"identifier": user.user_name, "password": PASSWORD}, headers=HEADER
    )
    assert answer.status_code == 429  # the right one too
    assert 0 < int(answer.headers["retry-after"]) <= 900
    login(installation, other)


def test_refresh_token_is_good_once_and_a_copy_ends_the_session(installation: Installation) -> None:
    user = installation.actor()
    first = login(installation, user)
    second = post(installation, "/refresh", {"refresh_token": first["refresh_token"]})
    assert second["refresh_token"] != first["refresh_token"]
    assert with_token(user, second).get("/auth/me")["uid"] == user.uid
    told = post(installation, "/refresh", {"refresh_token": first["refresh_token"]}, 401)  # a copy
    assert "token" in str(told["detail"]).lower()
    user.refused(401, "GET", "/auth/me")
    post(installation, "/refresh", {"refresh_token": second["refresh_token"]}, 401)
    post(installation, "/refresh", {"refresh_token": "x" * 43}, 401)
    with installation.tenancy.session("alpha") as session:
        ended = session.scalars(sa.select(UserSession).where(UserSession.ended_by == "reuse")).one()
        assert ended.user_uid == user.uid
        stored = set(session.scalars(sa.select(RefreshToken.digest)))
    assert not stored & {first["refresh_token"], second["refresh_token"]}


def test_idle_session_is_over(installation: Installation) -> None:
    user = installation.actor()
    told = login(installation, user)
    with installation.tenancy.session("alpha") as session:
        for opened in session.scalars(sa.select(UserSession).where(UserSession.user_uid == user.uid)):
            idle = opened.expires_at - opened.refreshed_at
            assert idle == timedelta(minutes=45)  # the access token's life and the organisation's half hour
            opened.expires_at = datetime.now(UTC) - timedelta(seconds=1)
    with_token(user, told).refused(401, "GET", "/auth/me")
    post(installation, "/refresh", {"refresh_token": told["refresh_token"]}, 401)


def test_a_laboratory_sets_idleness_and_password_age_for_those_who_work_in_it(installation: Installation) -> None:
    user = installation.actor()
    first = installation.laboratories["alpha"]["First"]
    with installation.tenancy.session("alpha") as session:
        setting = session.scalars(sa.select(LaboratorySetting).where(LaboratorySetting.laboratory_uid == first)).one()
        setting.inactivity_log_out, setting.password_lifetime = 5, 1
        session.get_one(User, user.uid).password_changed_at = datetime.now(UTC) - timedelta(days=2)
    try:
        told = login(installation, user)
        assert told["must_change_password"] is False  # the organisation's 90 days
        body = {"identifier": user.user_name, "password": PASSWORD, "laboratory_uid": first}
        told = post(installation, "/login", body, 200)
        assert told["must_change_password"] is True
        with installation.tenancy.session("alpha") as session:
            opened = sa.select(UserSession).where(UserSession.user_uid == user.uid).order_by(UserSession.uid.desc())
            newest = session.scalars(opened.limit(1)).one()
            assert newest.expires_at - newest.refreshed_at == timedelta(minutes=20)
    finally:
        with installation.tenancy.session("alpha") as session:
            of_first = LaboratorySetting.laboratory_uid == first
            session.execute(
                sa.update(LaboratorySetting).where(of_first).values(inactivity_log_out=None, password_lifetime=None)
            )


def test_sessions_are_listed_and_revoked_by_their_owner_alone(installation: Installation) -> None:
    user, other = installation.actor(), installation.actor()
    login(installation, user)
    here, there = (row["uid"] for row in user.get("/auth/sessions"))
    other.refused(404, "DELETE", f"/auth/sessions/{here}")
    user.ok("DELETE", f"/auth/sessions/{here}")
    assert [row["uid"] for row in user.get("/auth/sessions")] == [there]
    user.ok("POST", "/auth/logout")
    user.refused(401, "GET", "/auth/me")
    other.get("/auth/me")


def test_password_is_changed_by_who_knows_it_and_ends_every_session(installation: Installation) -> None:
    user = installation.actor(must_change_password=True)
    body = {"old_password": PASSWORD, "new_password": NEW}
    user.refused(401, "POST", "/auth/password", {**body, "old_password": "wrong"})
    assert "a digit" in user.refused(400, "POST", "/auth/password", {**body, "new_password": "short"})
    similar = f"{user.user_name.title()}-9"
    assert "unlike" in user.refused(400, "POST", "/auth/password", {**body, "new_password": similar})
    user.ok("POST", "/auth/password", body)
    user.refused(401, "GET", "/auth/me")
    login(installation, user, PASSWORD, 401)
    told = login(installation, user, NEW)
    assert told["must_change_password"] is False
    with_token(user, told).get("/countries")


def test_password_that_is_too_old_must_be_changed(installation: Installation) -> None:
    user = installation.actor()
    with installation.tenancy.session("alpha") as session:
        session.get_one(User, user.uid).password_changed_at = datetime.now(UTC) - timedelta(days=91)
    told = login(installation, user)
    assert told["must_change_password"] is True
    with_token(user, told).refused(403, "GET", "/countries")


def test_reset_needs_an_administrators_token_which_is_good_once(installation: Installation) -> None:
    admin, user = installation.actor(superuser=True), installation.actor(groups=["GUEST"])
    user.refused(403, "POST", f"/users/{admin.uid}/password-reset")
    first = admin.post(f"/users/{user.uid}/password-reset")["reset_token"]
    second = admin.post(f"/users/{user.uid}/password-reset")["reset_token"]
    body = {"token": second, "new_password": NEW}
    post(installation, "/password-reset", {**body, "token": first}, 400)  # replaced
    post(installation, "/password-reset", {**body, "new_password": "weak"}, 400)
    with installation.tenancy.session("alpha") as session:
        assert second not in set(session.scalars(sa.select(PasswordReset.digest)))
    post(installation, "/password-reset", body, 204)
    post(installation, "/password-reset", body, 400)
    user.refused(401, "GET", "/auth/me")
    login(installation, user, NEW)


def test_old_reset_token_is_refused(installation: Installation) -> None:
    admin, user = installation.actor(), installation.actor()
    token = admin.post(f"/users/{user.uid}/password-reset")["reset_token"]
    with installation.tenancy.session("alpha") as session:
        for reset in session.scalars(sa.select(PasswordReset).where(PasswordReset.user_uid == user.uid)):
            reset.expires_at = datetime.now(UTC)
    post(installation, "/password-reset", {"token": token, "new_password": NEW}, 400)
