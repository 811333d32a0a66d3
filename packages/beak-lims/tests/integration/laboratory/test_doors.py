"""A request passes tenant, session, laboratory and permission, or is refused in words that tell not too much."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from beak_lims.crypto import keyring
from beak_lims.errors import LaboratoryMismatch, LaboratoryRequired
from beak_lims.identity import tokens
from beak_lims.models import AuditLog, LaboratoryInstrument, Profile

from ...conftest import API, Actor, Installation


def test_a_noun_is_made_read_changed_listed_and_removed(installation: Installation) -> None:
    admin = installation.actor()
    made = admin.post("/countries", {"name": "Zimbabwe", "code": "ZW"})
    assert made["name"] == "Zimbabwe"
    assert made["active"] is True
    assert admin.get(f"/countries/{made['uid']}") == made
    changed = admin.ok("PATCH", f"/countries/{made['uid']}", {"active": False})
    assert changed["active"] is False
    assert changed["name"] == "Zimbabwe"
    assert [row["uid"] for row in admin.get("/countries?q=zimb")] == [made["uid"]]
    assert admin.get("/countries?active=true") == []
    assert "country" in admin.refused(409, "POST", "/countries", {"name": "Other", "code": "ZW"})
    province = admin.post("/provinces", {"name": "Harare", "code": "HA", "country_uid": made["uid"]})
    assert [row["uid"] for row in admin.get(f"/provinces?country_uid={made['uid']}")] == [province["uid"]]
    assert "referred to by a province" in admin.refused(409, "DELETE", f"/countries/{made['uid']}")
    assert "country_uid" in admin.refused(
        422, "POST", "/provinces", {"name": "X", "code": "X", "country_uid": "0" * 32}
    )
    admin.ok("DELETE", f"/provinces/{province['uid']}")
    admin.ok("DELETE", f"/countries/{made['uid']}")
    admin.refused(404, "GET", f"/countries/{made['uid']}")


def test_lists_come_in_pages(installation: Installation) -> None:
    admin = installation.actor()
    uids = [admin.post("/units", {"name": f"u{number}/L"})["uid"] for number in range(5)]
    first = admin("GET", "/units?limit=2")
    assert [row["uid"] for row in first.json()] == uids[:2]
    following = admin.client.get(first.headers["link"].split(">")[0][1:], headers=admin.headers)
    assert [row["uid"] for row in following.json()] == uids[2:4]
    last = admin("GET", f"/units?limit=2&cursor={following.headers['x-next-cursor']}")
    assert [row["uid"] for row in last.json()] == uids[4:]
    assert "link" not in last.headers
    admin.refused(400, "GET", "/units?cursor=nonsense")


def test_tenant_is_named_once_or_in_agreement(installation: Installation) -> None:
    admin = installation.actor()
    client = installation.client
    path = f"{API}/countries"
    nothing = client.get(path)
    assert nothing.status_code == 403
    wanted = "Tenant context is required. Provide tenant_slug in JWT or 'X-Org-Slug' header."
    assert nothing.json()["detail"] == wanted
    assert nothing.headers.get_list("x-request-id") == [nothing.json()["request_id"]]
    assert admin("GET", "/countries", headers={"X-Org-Slug": "alpha"}).status_code == 200
    assert admin("GET", "/countries", headers={"X-Org-Slug": "beta"}).status_code == 403
    assert admin("GET", "/countries", headers={"Host": "alpha.localhost.example"}).status_code == 400  # no host of ours
    unknown = client.get(path, headers={"X-Org-Slug": "nobody"})
    assert (unknown.status_code, unknown.json()["detail"]) == (403, "Tenant 'nobody' not active")
    alone = client.get(path, headers={"X-Org-Slug": "alpha"})  # the header opens no door
    assert alone.status_code == 401
    bad = client.get(path, headers={"Authorization": "Bearer nonsense"})
    assert (bad.status_code, bad.json()["detail"]) == (401, "Invalid authentication token")


@pytest.mark.parametrize(
    "forged",
    [
        {"exp": int(time.time()) - 1},
        {"exp": int(time.time() + 3600 * 24 * 365)},
        {"exp": int(time.time() * 1000)},  # milliseconds
        {"aud": "platform"},
        {"aud": ["beak-lims", "platform"]},
        {"iss": "tenantry"},
        {"tid": "0" * 32},
        {"sid": "0" * 32},
        {"sub": "0" * 32},
        {"sub": "' OR 1=1"},
        {"tenant_slug": "beta"},
    ],
)
def test_token_that_is_not_ours_is_refused(installation: Installation, forged: dict[str, Any]) -> None:
    admin = installation.actor()
    payload = tokens.verify(admin.token) | forged
    key = keyring().signing_key(tokens.PURPOSE)
    token = jwt.encode(payload, key, tokens.ALGORITHM)
    answer = installation.client.get(f"{API}/countries", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    other = jwt.encode(tokens.verify(admin.token), b"x" * 32, tokens.ALGORITHM)
    assert installation.client.get(f"{API}/countries", headers={"Authorization": f"Bearer {other}"}).status_code == 401


def test_token_expires_in_seconds(installation: Installation) -> None:
    admin = installation.actor()
    claims = tokens.claims_of(tokens.verify(admin.token))
    at = datetime.now(UTC) - tokens.LIFETIME - timedelta(seconds=1)
    token = tokens.sign(installation.tenancy.get("alpha"), claims.user_uid, claims.session_uid, None, at)
    answer = installation.client.get(f"{API}/countries", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401


def test_permission_of_the_route_is_asked_for_and_told(installation: Installation) -> None:
    guest = installation.actor(groups=["GUEST"])
    assert guest.get("/countries") == []
    told = "Permission CREATE on LABORATORY is missing. An administrator gives it to one of the user's groups."
    assert guest.refused(403, "POST", "/countries", {"name": "X", "code": "X"}) == told
    nobody = installation.actor(groups=[])
    nobody.refused(403, "GET", "/countries")
    superuser = installation.actor(groups=[], superuser=True)
    assert superuser.get("/countries") == []


def test_password_that_must_be_changed_opens_nothing_else(installation: Installation) -> None:
    new = installation.actor(must_change_password=True)
    assert "must be changed" in new.refused(403, "GET", "/countries")
    assert new.get("/auth/me")["uid"] == new.uid


def test_laboratory_is_one_that_the_user_is_assigned_to(installation: Installation) -> None:
    first, second = installation.laboratories["alpha"].values()
    scientist = installation.actor(member_of=["First"])
    told = "User not assigned to the requested laboratory"
    for uid in (second, installation.laboratories["beta"]["First"], "0" * 32):
        assert scientist.refused(403, "GET", "/profiles", headers={"X-Laboratory-ID": uid}) == told
    scientist.refused(422, "GET", "/profiles", headers={"X-Laboratory-ID": "First"})
    superuser = installation.actor(member_of=[], superuser=True)
    assert superuser.get("/profiles", headers={"X-Laboratory-ID": first}) == []
    assert superuser.refused(403, "GET", "/profiles", headers={"X-Laboratory-ID": "0" * 32}) == told


def test_laboratory_of_the_token_and_of_the_header_agree(installation: Installation) -> None:
    first, second = installation.laboratories["alpha"].values()
    admin = installation.actor(laboratory=None)
    claims = tokens.claims_of(tokens.verify(admin.token))
    record = installation.tenancy.get("alpha")
    admin.token = tokens.sign(record, claims.user_uid, claims.session_uid, first, datetime.now(UTC))
    assert admin.get("/auth/me")["laboratory_uid"] == first
    assert admin.get("/auth/me", headers={"X-Laboratory-ID": first})["laboratory_uid"] == first
    admin.refused(403, "GET", "/auth/me", headers={"X-Laboratory-ID": second})


def test_rows_of_a_laboratory_are_kept_apart(installation: Installation) -> None:
    first, second = installation.actor(), installation.actor(laboratory="Second")
    none, beta = installation.actor(laboratory=None), installation.actor("beta")
    made = first.post("/profiles", {"name": "Liver", "keyword": "LFT"})
    same = second.post("/profiles", {"name": "Liver", "keyword": "LFT"})
    assert made["laboratory_uid"] == installation.laboratories["alpha"]["First"]
    assert same["laboratory_uid"] == installation.laboratories["alpha"]["Second"]
    assert [row["uid"] for row in second.get("/profiles")] == [same["uid"]]
    assert none.get("/profiles") == []
    for other in (second, none, beta):
        path = f"/profiles/{made['uid']}"
        other.refused(404, "GET", path)
        other.refused(404, "PATCH", path, {"name": "Taken over"})
        other.refused(404, "DELETE", path)
    wanted = "Laboratory context required to create profile"
    assert none.refused(400, "POST", "/profiles", {"name": "X", "keyword": "X"}) == wanted
    assert first.get(f"/profiles/{made['uid']}") == made


def rows(session: Session, model: Any) -> int:
    return len(session.scalars(sa.select(model)).all())


def test_a_bound_session_keeps_to_its_laboratory(installation: Installation) -> None:
    first = installation.actor()
    made = first.post("/profiles", {"name": "Kidney", "keyword": "RFT"})["uid"]
    tenancy, other = installation.tenancy, installation.laboratories["alpha"]["Second"]
    with tenancy.session("alpha") as session:
        installation.bound(session, "alpha", "Second")
        assert session.get(Profile, made) is None
        assert session.scalar(sa.select(Profile.name).where(Profile.uid == made)) is None
        assert session.execute(sa.update(Profile).where(Profile.uid == made).values(name="X")).rowcount == 0
        assert session.execute(sa.delete(Profile).where(Profile.uid == made)).rowcount == 0
        alias = sa.orm.aliased(Profile)
        assert session.scalar(sa.select(alias.uid).where(alias.uid == made)) is None
    with tenancy.session("alpha") as session:
        installation.bound(session, "alpha", None)
        assert rows(session, Profile) == 0
        session.add(Profile(name="X", keyword="X"))
        with pytest.raises(LaboratoryRequired, match="Laboratory context required to create profile"):
            session.flush()
        session.rollback()
    with tenancy.session("alpha") as session:
        installation.bound(session, "alpha", "First")
        session.add(Profile(name="X", keyword="X", laboratory_uid=other))
        with pytest.raises(LaboratoryMismatch):
            session.flush()
        session.rollback()
        for uid in (other, None):
            with pytest.raises(LaboratoryMismatch):
                session.execute(sa.insert(Profile), [{"name": "X", "keyword": "X", "laboratory_uid": uid}])
        session.get_one(Profile, made).laboratory_uid = other
        with pytest.raises(LaboratoryMismatch):
            session.flush()
        session.rollback()
        assert rows(session, LaboratoryInstrument) == 0


def trail(admin: Actor, uid: str) -> list[dict[str, Any]]:
    return [entry for entry in admin.get("/audit") if entry["target_uid"] == uid]


def test_every_change_stands_in_the_audit_trail(installation: Installation) -> None:
    admin = installation.actor()
    kind = admin.post("/sample-types", {"name": "Urine", "abbr": "UR"})["uid"]
    uid = admin.post("/profiles", {"name": "Lipids", "keyword": "LIP"})["uid"]
    admin.ok("PATCH", f"/profiles/{uid}", {"name": "Lipid panel", "sample_type_uids": [kind]})
    admin.ok("DELETE", f"/profiles/{uid}")
    removed, changed, made = trail(admin, uid)
    assert (removed["action"], changed["action"], made["action"]) == ("delete", "update", "create")
    assert changed["state_before"] == {"name": "Lipids", "sample_types": []}
    assert changed["state_after"] == {"name": "Lipid panel", "sample_types": [kind]}
    assert {made["user_uid"], made["user_name"]} == {admin.uid, admin.user_name}
    assert made["laboratory_uid"] == admin.laboratory_uid
    assert made["address"] == "127.0.0.1"
    assert made["request_id"]
    assert trail(installation.actor(laboratory="Second"), uid) == []
    with installation.tenancy.session("alpha") as session:
        for change in (sa.update(AuditLog).values(action="x"), sa.delete(AuditLog)):
            with pytest.raises(sa.exc.ProgrammingError, match="never changed"):
                session.execute(change)
            session.rollback()


def test_every_route_asks_for_a_permission_or_is_known_not_to(installation: Installation) -> None:
    strangers = {"login", "refresh", "finish_reset", "health", "version"}
    open_to_all = strangers | {"logout", "me", "change_password", "list_sessions", "end_session"}
    open_to_all |= {"read_preferences", "set_preferences"}
    for path, methods in installation.app.openapi()["paths"].items():
        for method, route in methods.items():
            name = route["operationId"].partition("-")[2]
            assert bool(route["x-permissions"]) != (name in open_to_all), f"{method} {path}"
            if name not in strangers:
                assert route["security"] == [{"HTTPBearer": []}], f"{method} {path}"
