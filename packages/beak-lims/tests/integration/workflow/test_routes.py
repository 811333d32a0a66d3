"""A day in the laboratory over HTTP, each step by somebody who may do it, and what others are told."""

from __future__ import annotations

import io
from typing import Any

import pytest
from pypdf import PdfReader

from ...conftest import Actor, Installation
from .conftest import Bench, set_up


@pytest.fixture(scope="module")
def hand(installation: Installation) -> Actor:
    return installation.actor(groups=("LABORATORY_HAND",))


@pytest.fixture(scope="module")
def technologist(installation: Installation) -> Actor:
    return installation.actor(groups=("TECHNOLOGIST",))


@pytest.fixture(scope="module")
def scientist(installation: Installation) -> Actor:
    return installation.actor(groups=("SCIENTIST",))


@pytest.fixture(scope="module")
def manager(installation: Installation) -> Actor:
    return installation.actor(groups=("LAB_MANAGER",))


def register(actor: Actor, bench: Bench, *analyses: str, **more: Any) -> dict[str, Any]:
    sample = {"sample_type_uid": bench.uids["blood"], "analysis_uids": [bench.uids[one] for one in analyses], **more}
    made: dict[str, Any] = actor.post("/analysis-requests", {"patient_uid": bench.uids["patient"], "samples": [sample]})
    return made


def submit(actor: Actor, sample: dict[str, Any], *values: str) -> Any:
    entries = [{"uid": one["uid"], "value": value} for one, value in zip(sample["results"], values, strict=True)]
    return actor.post("/results/submit", {"entries": entries})


def uids_of(sample: dict[str, Any]) -> dict[str, list[str]]:
    return {"uids": [one["uid"] for one in sample["results"]]}


def test_from_patient_to_published_pdf_and_its_amendment(
    bench: Bench, hand: Actor, technologist: Actor, scientist: Actor, manager: Actor
) -> None:
    patient = hand.post(
        "/patients",
        {
            "first_name": "Chipo",
            "last_name": "Ncube",
            "gender": "female",
            "date_of_birth": "1991-02-03",
            "client_uid": bench.uids["client"],
        },
    )
    made = hand.post(
        "/analysis-requests",
        {
            "patient_uid": patient["uid"],
            "client_request_id": "WARD-7",
            "clinical_data": {"clinical_indication": "Tired", "symptoms": ["fatigue"]},
            "samples": [
                {"sample_type_uid": bench.uids["blood"], "profile_uids": [bench.uids["profile"]], "priority": 2},
                {"sample_type_uid": bench.uids["urine"], "analysis_uids": [bench.uids["cul"]]},
            ],
        },
    )
    blood, urine = made["samples"]
    assert [one["status"] for one in made["samples"]] == ["received", "received"]
    assert hand.get(f"/samples/{blood['uid']}")["sample_id"] == blood["sample_id"]
    assert hand.refused(403, "POST", "/results/submit", {"entries": [{"uid": "0" * 32, "value": "1"}]})
    entered = submit(technologist, blood, "4.4", "5.9")
    assert {one["flag"] for one in entered} == {"normal", "high"}
    assert technologist.refused(403, "POST", "/results/verify", uids_of(blood)).startswith(
        "Permission APPROVE on RESULT"
    )
    again = scientist.post(f"/results/{entered[1]['uid']}/retest", {"reason": "Haemolysed"})
    assert (again["status"], again["retest"], again["result"]) == ("pending", True, None)
    technologist.post("/results/submit", {"entries": [{"uid": again["uid"], "value": "4.2", "note": "second draw"}]})
    assert technologist.get(f"/samples/{blood['uid']}")["status"] == "awaiting"
    scientist.post("/results/verify", {"uids": [entered[0]["uid"], again["uid"]]})
    history = scientist.get(f"/results/{entered[1]['uid']}")
    assert (history["status"], history["reportable"]) == ("retracted", False)
    assert [one["step"] for one in history["mutations"]] == ["retest"]
    [report] = scientist.post("/samples/publish", {"uids": [blood["uid"]]})
    assert (report["state"], report["issue"]) == ("final", 1)
    pdf = scientist("GET", f"/reports/{report['uid']}/pdf")
    assert (pdf.status_code, pdf.headers["content-type"], pdf.headers["cache-control"]) == (
        200,
        "application/pdf",
        "no-store",
    )
    text = PdfReader(io.BytesIO(pdf.content)).pages[0].extract_text()
    assert "Chipo Ncube" in text
    assert "Final report" in text
    assert manager("POST", f"/reports/{report['uid']}/print").content == pdf.content
    assert manager.get(f"/samples/{blood['uid']}")["printed"] is True

    copy = manager.post(f"/samples/{blood['uid']}/invalidate", {"reason": "Labels swapped"})
    assert copy["sample_id"] == f"{blood['sample_id']}_R01"
    corrected = technologist.get(f"/samples/{copy['uid']}")
    submit(technologist, corrected, *("4.6" for _ in corrected["results"]))
    scientist.post("/results/verify", uids_of(corrected))
    [amended] = scientist.post("/samples/publish", {"uids": [copy["uid"]]})
    assert (amended["state"], amended["supersedes_uid"]) == ("amended", report["uid"])
    assert scientist.get(f"/reports/{report['uid']}")["state"] == "invalidated"
    assert [one["state"] for one in scientist.get("/reports", params={"state": "amended"})] == ["amended"]
    assert len(scientist.get(f"/samples/{copy['uid']}/reports")) == 1
    assert scientist.get(f"/samples/{copy['uid']}/snapshots")[0]["content"]["sample_type"]["uid"] == bench.uids["blood"]
    assert urine["uid"] in {one["uid"] for one in hand.get("/samples", params={"analysis_request_uid": made["uid"]})}
    assert hand.get(f"/analysis-requests/{made['uid']}")["request_id"] == made["request_id"]
    assert [one["uid"] for one in hand.get("/analysis-requests", params={"patient_uid": patient["uid"]})] == [
        made["uid"]
    ]


def test_worklist_is_turned_page_by_page(bench: Bench, hand: Actor, technologist: Actor) -> None:
    made = [register(hand, bench, "crp", priority=priority) for priority in (0, 2, 1, 0, 2)]
    expected = [made[at]["samples"][0]["results"][0]["uid"] for at in (1, 4, 2, 0, 3)]
    query = {"analysis_uid": bench.uids["crp"], "limit": 2}
    seen, cursor = [], None
    while True:
        page = technologist(
            "GET", "/results/worklist", params={**query, **({} if cursor is None else {"cursor": cursor})}
        )
        assert page.status_code == 200
        seen += page.json()
        cursor = page.headers.get("X-Next-Cursor")
        if cursor is None:
            break
    assert [one["uid"] for one in seen] == expected
    assert [one["priority"] for one in seen] == [2, 2, 1, 0, 0]
    samples = technologist.get("/samples/worklist", params={"limit": 3})
    assert samples[0]["priority"] == 2
    assert technologist.get("/results/worklist", params={"status": "pending", "unassigned": True})


def test_what_cannot_be_done_is_told(bench: Bench, hand: Actor, technologist: Actor, scientist: Actor) -> None:
    made = register(hand, bench, "glu", "hiv")
    [sample] = made["samples"]
    wrong = {"entries": [{"uid": sample["results"][0]["uid"], "value": "five"}]}
    assert "write a number" in technologist.refused(400, "POST", "/results/submit", wrong)
    submit(scientist, sample, "4.4", "Negative")
    assert "you entered it" in scientist.refused(409, "POST", "/results/verify", uids_of(sample))
    assert "is awaiting: publish" in scientist.refused(409, "POST", "/samples/publish", {"uids": [sample["uid"]]})
    assert "cancel is possible" in scientist.refused(409, "POST", "/samples/cancel", {"uids": [sample["uid"]]})
    scientist.refused(422, "POST", "/samples/reject", {"uids": [sample["uid"]], "rejection_reason_uids": []})
    unknown = {"patient_uid": "0" * 32, "samples": [{"sample_type_uid": bench.uids["blood"]}]}
    assert "patient_uid" in hand.refused(422, "POST", "/analysis-requests", unknown)
    scientist.refused(404, "GET", f"/samples/{'0' * 32}")


def test_samples_are_collected_received_stored_rejected_and_brought_back(
    bench: Bench, hand: Actor, scientist: Actor
) -> None:
    first = register(hand, bench, "glu", date_collected="2077-01-01T08:00:00Z")["samples"][0]
    assert first["status"] == "scheduled"
    for path, status in (("collect", "expected"), ("receive", "received")):
        assert [one["status"] for one in hand.post(f"/samples/{path}", {"uids": [first["uid"]]})] == [status]
    stored = hand.post("/samples/store", {"uids": [first["uid"]], "storage_location": "Rack 3"})
    assert (stored[0]["status"], stored[0]["storage_location"]) == ("stored", "Rack 3")
    hand.post("/samples/recover", {"uids": [first["uid"]]})
    assert scientist.post("/samples/cancel", {"uids": [first["uid"]]})[0]["status"] == "cancelled"
    assert scientist.post("/samples/reinstate", {"uids": [first["uid"]]})[0]["status"] == "received"
    more = scientist.post(f"/samples/{first['uid']}/analyses", {"analysis_uids": [bench.uids["pot"]]})
    scientist.post("/results/cancel", {"uids": [more[0]["uid"]]})
    scientist.post("/results/reinstate", {"uids": [more[0]["uid"]]})
    reasons = {"uids": [first["uid"]], "rejection_reason_uids": [bench.uids["clotted"]]}
    assert hand.post("/samples/reject", reasons)[0]["status"] == "rejected"


def test_worksheet_with_controls(
    bench: Bench, hand: Actor, technologist: Actor, scientist: Actor, manager: Actor
) -> None:
    template = manager.post(
        "/worksheet-templates",
        {
            "name": "Dip run",
            "analysis_uid": bench.uids["dip"],
            "sample_type_uid": bench.uids["blood"],
            "rows": 1,
            "cols": 3,
            "reserved": {"1": bench.uids["low"]},
        },
    )
    manager.post(
        "/qc-references",
        {"qc_level_uid": bench.uids["low"], "analysis_uid": bench.uids["dip"], "lot": "D1", "expected": "trace"},
    )
    result = register(hand, bench, "dip")["samples"][0]["results"][0]
    sheet = technologist.post("/worksheets", {"worksheet_template_uid": template["uid"]})
    assert [one["worksheet_position"] for one in sheet["results"]] == [1, 2]
    assert sheet["results"][1]["uid"] == result["uid"]
    late = register(hand, bench, "dip")["samples"][0]["results"][0]
    sheet = technologist.post(f"/worksheets/{sheet['uid']}/assign", {"uids": [late["uid"]]})
    assert sheet["assigned_count"] == 3
    sheet = technologist.post(f"/worksheets/{sheet['uid']}/unassign", {"uids": [late["uid"]]})
    done = submit(technologist, sheet, "trace", "clear")
    assert done[0]["flag"] == "normal"
    scientist.post("/results/verify", uids_of(sheet))
    assert technologist.get(f"/worksheets/{sheet['uid']}")["state"] == "approved"
    assert technologist.get("/worksheets", params={"state": "approved"})
    [run] = technologist.get("/qc-sets")
    [control] = technologist.get(f"/qc-sets/{run['uid']}/samples")
    assert (control["status"], control["qc_level_uid"]) == ("published", bench.uids["low"])


def test_another_laboratory_sees_and_changes_nothing(installation: Installation, bench: Bench, hand: Actor) -> None:
    [sample] = register(hand, bench, "glu")["samples"]
    uid, result = sample["uid"], sample["results"][0]["uid"]
    for other in (installation.actor(laboratory="Second"), installation.actor("beta")):
        for path in (
            f"/samples/{uid}",
            f"/results/{result}",
            f"/samples/{uid}/reports",
            f"/results/{result}/snapshots",
        ):
            other.refused(404, "GET", path)
        other.refused(404, "POST", "/samples/cancel", {"uids": [uid]})
        other.refused(404, "POST", "/results/submit", {"entries": [{"uid": result, "value": "1"}]})
        other.refused(404, "POST", f"/samples/{uid}/invalidate", {"reason": "x"})
        assert other.get("/samples") == []
        assert other.get("/results/worklist") == []
    elsewhere = set_up(installation, "alpha", "Second")
    theirs = {
        "patient_uid": bench.uids["patient"],
        "samples": [{"sample_type_uid": bench.uids["blood"], "analysis_uids": [bench.uids["glu"]]}],
    }
    installation.actor(laboratory="Second").refused(422, "POST", "/analysis-requests", theirs)
    level = {
        "name": "Theirs",
        "analysis_uid": bench.uids["dip"],
        "rows": 1,
        "cols": 2,
        "reserved": {"1": bench.uids["low"]},
        "sample_type_uid": bench.uids["blood"],
    }
    manager = installation.actor(laboratory="Second", groups=("LAB_MANAGER",))
    template = manager.post("/worksheet-templates", level)
    manager.refused(422, "POST", "/worksheets", {"worksheet_template_uid": template["uid"]})
    assert elsewhere.laboratory_uid != bench.laboratory_uid
    assert hand.get(f"/samples/{uid}")["status"] == "received"


def test_set_up_is_renewed_in_one_laboratory_and_taken_back(
    installation: Installation, bench: Bench, hand: Actor, scientist: Actor, manager: Actor
) -> None:
    [sample] = register(hand, bench, "pot")["samples"]
    version = manager.get(f"/samples/{sample['uid']}")["results"][0]["snapshot_version"]
    admin, neighbour = installation.actor(), installation.actor(laboratory="Second")
    renamed = {"name": f"Renamed {sample['sample_id']}"}
    before = {"name": admin.get(f"/analyses/{bench.uids['pot']}")["name"]}
    admin.ok("PATCH", f"/analyses/{bench.uids['pot']}", renamed)
    try:
        hand.refused(403, "POST", "/snapshots/refresh", {})
        elsewhere = neighbour.post("/snapshots/refresh", {})
        assert sum(elsewhere["seen"].values()) == 0
        done = admin.post("/snapshots/refresh", {"reason": "A better name"})
        assert done["renewed"]["analysis_result"] >= 1

        def versions() -> list[dict[str, Any]]:
            return list(manager.get(f"/results/{sample['results'][0]['uid']}/snapshots"))

        assert sorted(one["version"] for one in versions())[-1] == version + 1
        assert admin.get("/snapshots/runs")[0] | {"at": None} == {
            "run_uid": done["run_uid"],
            "at": None,
            "occasion": "refresh",
            "rows": sum(done["renewed"].values()),
            "taken_by": admin.user_name,
            "reason": "A better name",
        }
        path, why = f"/snapshots/runs/{done['run_uid']}/revert", {"reason": "Too early"}
        assert neighbour.get("/snapshots/runs") == []
        neighbour.refused(409, "POST", path, why)
        scientist.refused(403, "POST", path, why)
        assert admin.post(path, why)["reverted"] == sum(done["renewed"].values())
        admin.refused(422, "POST", "/snapshots/hard-refresh", {})
        assert admin.post("/snapshots/hard-refresh", {"reason": "All of it"})["seen"]["sample"] > 1
    finally:
        admin.ok("PATCH", f"/analyses/{bench.uids['pot']}", before)
