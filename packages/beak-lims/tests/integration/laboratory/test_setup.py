"""What is set up is judged by the tables: links, figures, references, and limits that contradict each other."""

from __future__ import annotations

from ...conftest import Installation


def test_analysis_with_its_rules(installation: Installation) -> None:
    admin = installation.actor()
    unit = admin.post("/units", {"name": "mmol/L", "is_si_unit": True})["uid"]
    blood = admin.post("/sample-types", {"name": "Blood", "abbr": "BL"})["uid"]
    method = admin.post("/methods", {"name": "Enzymatic", "keyword": "ENZ"})["uid"]
    analysis = admin.post(
        "/analyses",
        {"name": "Glucose", "keyword": "GLU", "unit_uid": unit, "sample_type_uids": [blood], "method_uids": [method]},
    )
    assert analysis["sample_type_uids"] == [blood]
    assert (analysis["result_type"], analysis["precision"], analysis["required_verifications"]) == ("numeric", 2, 1)
    of = {"analysis_uid": analysis["uid"]}
    made = admin.post("/specifications", {**of, "gender": "female", "age_min": 1, "min": 3.9, "max": "6.10"})
    assert (made["min"], made["max"], made["age_unit"]) == ("3.90000000", "6.10000000", "years")
    assert "limits" in admin.refused(400, "POST", "/specifications", {**of, "min": 7, "max": 6})
    admin.refused(422, "POST", "/specifications", {**of, "gender": "other"})
    admin.refused(422, "POST", "/specifications", {**of, "min": 1e30})
    admin.refused(422, "PATCH", f"/specifications/{made['uid']}", of)  # it stays with its analysis
    admin.post("/detection-limits", {**of, "lower": 0.1, "upper": 40, "method_uid": method})
    admin.post("/uncertainties", {**of, "min": 0, "max": 40, "value": 0.2})
    admin.post("/correction-factors", {**of, "factor": 1.1})
    admin.post("/interims", {**of, "key": 1, "content": "dilution"})
    option = admin.post("/result-options", {**of, "key": 1, "value": "positive", "sample_type_uids": [blood]})
    assert option["sample_type_uids"] == [blood]
    assert "analysis uid and key" in admin.refused(
        409, "POST", "/result-options", {**of, "key": 1, "value": "x"}
    ).replace("_", " ")
    admin.refused(422, "POST", "/analyses", {"name": "X", "keyword": "X", "required_verifications": 9})
    admin.refused(422, "PATCH", f"/analyses/{analysis['uid']}", {"name": None})
    changed = admin.ok("PATCH", f"/analyses/{analysis['uid']}", {"method_uids": [], "unit_uid": None})
    assert (changed["method_uids"], changed["unit_uid"], changed["sample_type_uids"]) == ([], None, [blood])
    profile = admin.post("/profiles", {"name": "Sugar", "keyword": "SUG", "analysis_uids": [analysis["uid"]]})
    assert profile["analysis_uids"] == [analysis["uid"]]
    assert "referred to by a" in admin.refused(409, "DELETE", f"/methods/{method}")


def test_clients_and_contacts(installation: Installation) -> None:
    admin = installation.actor()
    client = admin.post("/clients", {"name": "Clinic", "code": "CL1", "email": " Info@Clinic.ORG "})
    assert client["email"] == "info@clinic.org"
    contact = admin.post("/client-contacts", {"client_uid": client["uid"], "first_name": "Nurse"})
    assert [row["uid"] for row in admin.get(f"/client-contacts?client_uid={client['uid']}")] == [contact["uid"]]
    admin.refused(422, "POST", "/clients", {"name": "Clinic", "code": "CL2", "email": "nobody"})
    admin.refused(422, "POST", "/clients", {"name": "Cli\x00nic", "code": "CL2"})
    admin.refused(422, "POST", "/clients", {"name": "  ", "code": "CL2"})
    admin.refused(422, "POST", "/clients", {"name": "Clinic", "code": "CL2", "colour": "red"})
    admin.ok("DELETE", f"/clients/{client['uid']}")
    admin.refused(404, "GET", f"/client-contacts/{contact['uid']}")
