"""Administrators look after users, groups and laboratories, and nobody rises above what they were given."""

from __future__ import annotations

from ...conftest import API, Installation

ADA = {"first_name": "Ada", "last_name": "Byron", "email": "Ada@Example.org", "user_name": "Ada"}


def test_user_is_made_with_a_password_told_once(installation: Installation) -> None:
    admin = installation.actor()
    groups = {row["keyword"]: row["uid"] for row in admin.get("/groups")}
    first = installation.laboratories["alpha"]["First"]
    made = admin.post("/users", {**ADA, "group_uids": [groups["SCIENTIST"]], "laboratory_uids": [first]})
    assert (made["email"], made["user_name"]) == ("ada@example.org", "ada")
    password = made.pop("password_generated")
    assert admin.get(f"/users/{made['uid']}") == made
    assert made["must_change_password"] is True
    told = installation.client.post(
        f"{API}/auth/login", json={"identifier": "ada", "password": password}, headers={"X-Org-Slug": "alpha"}
    ).json()
    assert told["must_change_password"] is True
    assert [lab["uid"] for lab in told["laboratories"]] == [first]
    assert "email" in admin.refused(409, "POST", "/users", {**ADA, "user_name": "ada2"})
    assert "group_uids" in admin.refused(422, "POST", "/users", {**ADA, "email": "b@b", "group_uids": ["0" * 32]})
    assert [row["uid"] for row in admin.get("/users?q=byron")] == [made["uid"]]


def test_blocked_user_is_out_at_once(installation: Installation) -> None:
    admin, user = installation.actor(), installation.actor()
    admin.ok("PATCH", f"/users/{user.uid}", {"is_blocked": True})
    user.refused(401, "GET", "/auth/me")
    admin.ok("PATCH", f"/users/{user.uid}", {"is_blocked": False})
    user.refused(401, "GET", "/auth/me")  # the session stays over
    admin.refused(409, "PATCH", f"/users/{admin.uid}", {"is_active": False})
    other = installation.actor()
    assert admin.ok("DELETE", f"/users/{other.uid}/sessions") == {"ended": 1}
    other.refused(401, "GET", "/auth/me")


def test_everybody_keeps_preferences_of_their_own(installation: Installation) -> None:
    user, other = installation.actor(groups=["GUEST"]), installation.actor(groups=[])
    department = installation.actor().get("/departments")[0]["uid"]
    assert user.get("/auth/preferences") == {"theme": None, "expanded_menu": True, "department_uids": []}
    wanted = {"theme": "dark", "expanded_menu": False, "department_uids": [department]}
    assert user.ok("PUT", "/auth/preferences", wanted) == wanted
    assert user.ok("PUT", "/auth/preferences", {**wanted, "theme": "light"})["theme"] == "light"
    user.refused(422, "PUT", "/auth/preferences", {**wanted, "department_uids": ["0" * 32]})
    assert user.get("/auth/preferences") == {**wanted, "theme": "light"}
    assert other.get("/auth/preferences")["theme"] is None


def test_only_a_superuser_makes_or_changes_one(installation: Installation) -> None:
    admin, superuser = installation.actor("beta"), installation.actor("beta", superuser=True)
    admin.refused(403, "PATCH", f"/users/{admin.uid}", {"is_superuser": True})
    admin.refused(403, "PATCH", f"/users/{superuser.uid}", {"is_active": False})
    admin.refused(403, "POST", f"/users/{superuser.uid}/password-reset")
    admin.refused(403, "POST", "/users", {**ADA, "is_superuser": True})
    superuser.ok("PATCH", f"/users/{admin.uid}", {"is_superuser": True})
    superuser.ok("PATCH", f"/users/{admin.uid}", {"is_superuser": False})
    assert "must stay" in superuser.refused(409, "PATCH", f"/users/{superuser.uid}", {"is_superuser": False})


def test_administrator_of_one_laboratory_lets_nobody_into_another(installation: Installation) -> None:
    first, second = installation.laboratories["alpha"].values()
    admin = installation.actor(member_of=["Second"], laboratory="Second")
    colleague, other = installation.actor(member_of=["Second"]), installation.actor(member_of=["First", "Second"])
    for uid in (admin.uid, colleague.uid):
        body = {"laboratory_uids": [first, second]}
        assert "laboratory_uids" in admin.refused(422, "PATCH", f"/users/{uid}", body)
    admin.refused(422, "PATCH", f"/users/{admin.uid}", {"active_laboratory_uid": first})
    admin.ok("PATCH", f"/users/{colleague.uid}", {"laboratory_uids": [second]})
    for method, path in (("PATCH", ""), ("POST", "/password-reset"), ("DELETE", "/sessions")):
        told = admin.refused(403, method, f"/users/{other.uid}{path}", {} if method == "PATCH" else None)
        assert "user of another laboratory" in told
    superuser = installation.actor(member_of=[], superuser=True)
    superuser.ok("PATCH", f"/users/{admin.uid}", {"laboratory_uids": [first, second]})


def test_permission_given_or_taken_counts_at_once(installation: Installation) -> None:
    admin = installation.actor("beta")
    group = admin.post("/groups", {"name": "Couriers", "keyword": "COURIERS"})
    courier = installation.actor("beta", groups=["COURIERS"])
    courier.refused(403, "GET", "/clients")
    wanted = [one["uid"] for one in admin.get("/permissions") if (one["action"], one["target"]) == ("READ", "CLIENT")]
    path = f"/groups/{group['uid']}/permissions"
    assert len(admin.ok("PUT", path, {"permission_uids": wanted})["permissions"]) == 1
    assert courier.get("/clients") == []
    assert admin.ok("PUT", path, {"permission_uids": []})["permissions"] == []
    courier.refused(403, "GET", "/clients")
    courier.refused(403, "PUT", path, {"permission_uids": wanted})


def test_organisation_and_laboratories(installation: Installation) -> None:
    admin = installation.actor("beta")
    assert admin.get("/organisation")["name"] == "Beta"
    assert admin.ok("PATCH", "/organisation", {"tag_line": "Exact"})["tag_line"] == "Exact"
    assert admin.ok("PATCH", "/organisation/settings", {"inactivity_log_out": 5})["inactivity_log_out"] == 5
    made = admin.post("/laboratories", {"name": "Third", "code": "3RD"})
    assert made["code"] == "3RD"
    assert [lab["name"] for lab in admin.get("/laboratories")] == ["First", "Second", "Third"]
    settings = f"/laboratories/{made['uid']}/settings"
    assert admin.get(settings)["allow_self_verification"] is False
    assert admin.ok("PATCH", settings, {"allow_self_verification": True})["allow_self_verification"] is True
    manager = installation.actor("beta", groups=["LAB_MANAGER"], member_of=["First"])
    for method, path in (("GET", settings), ("PATCH", settings), ("GET", f"/laboratories/{made['uid']}")):
        manager.refused(404, method, path, {} if method == "PATCH" else None)
    assert [lab["name"] for lab in manager.get("/laboratories")] == ["First"]
    first = installation.laboratories["beta"]["First"]
    outsider = installation.actor("beta", member_of=["Second"])
    body = {"lab_manager_uid": outsider.uid}
    assert "lab_manager_uid" in manager.refused(422, "PATCH", f"/laboratories/{first}", body)
