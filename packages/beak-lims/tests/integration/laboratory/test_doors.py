"""A request passes tenant, session, laboratory and permission, or is refused in words that tell not too much."""

from __future__ import annotations

from ...conftest import Installation


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
    province = admin.post("/provinces", {"name": "Harare", "code": "HA", "country_uid": made["uid"]})
    assert "referred to by a province" in admin.refused(409, "DELETE", f"/countries/{made['uid']}")
    admin.ok("DELETE", f"/provinces/{province['uid']}")
    admin.ok("DELETE", f"/countries/{made['uid']}")
    admin.refused(404, "GET", f"/countries/{made['uid']}")
