"""Files of clients, patients and requests are imported whole or not at all, and every row is answered for."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from beak_lims.api.importing import MAX_CELL, MAX_ROWS

from ...conftest import API, Actor, Installation

CLIENTS = """code,name,email,country_code,consent_sms
C1,Northern Clinic,north@example.org,ZW,true
C2,"Southern, Clinic",,,
"""
PATIENTS = """first_name,last_name,date_of_birth,gender,client_code,client_patient_id,identification:Passport
Tariro,Shumba,1979-03-01,female,C1,77,ZN 1
Tatenda,Shumba,,,C2,77,
"""
REQUESTS = """client_request_id,client_patient_id,client_code,sample_type,analyses,profiles,priority
R1,77,C1,BL,GLU;HB,,1
R1,77,C1,UR,,KIDNEY,
,77,C2,BL,HB,,
"""


def send(actor: Actor, what: str, text: str | bytes, status: int = 200, **query: str) -> Any:
    content = text.encode() if isinstance(text, str) else text
    headers = {**actor.headers, "Content-Type": "text/csv"}
    url = f"{API}/imports/{what}"
    answer: httpx.Response = actor.client.post(url, content=content, headers=headers, params=query)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_file_beyond_the_limits_is_refused_before_anything_is_read(admin: Actor) -> None:
    rows = "".join(f"C{number},Clinic {number}\n" for number in range(MAX_ROWS + 1))
    told = send(admin, "clients", f"code,name\n{rows}", 400, partial="true")["detail"]
    assert f"more than {MAX_ROWS} rows" in told
    cell = send(admin, "clients", f"code,name\nC1,{'x' * (MAX_CELL + 1)}\n", 400)["detail"]
    assert "The file" in cell
    assert admin.get("/clients", params={"q": "Clinic 1"}) == []


def reasons(report: Any) -> list[tuple[int, str, str]]:
    return [(row["line"], row["outcome"], row["reason"] or "") for row in report["rows"]]


@pytest.fixture(scope="module")
def admin(installation: Installation) -> Actor:
    admin = installation.actor()
    admin.post("/countries", {"name": "Zimbabwe", "code": "ZW"})
    admin.post("/identifications", {"name": "Passport"})
    kinds = [admin.post("/sample-types", {"name": abbr, "abbr": abbr})["uid"] for abbr in ("BL", "UR")]
    for key in ("GLU", "HB", "CREA"):
        admin.post("/analyses", {"name": key, "keyword": key, "sample_type_uids": kinds})
    crea = admin.get("/analyses?q=CREA")[0]["uid"]
    admin.post("/profiles", {"name": "Kidney", "keyword": "KIDNEY", "analysis_uids": [crea]})
    return admin


def test_files_become_clients_patients_and_requests(admin: Actor) -> None:
    clients = send(admin, "clients", "\ufeff" + CLIENTS.replace("\n", "\r\n"))
    assert (clients["imported"], clients["refused"]) == (2, 0)
    assert [row["number"] for row in clients["rows"]] == ["C1", "C2"]
    assert admin.get("/clients?q=southern")[0]["name"] == "Southern, Clinic"
    patients = send(admin, "patients", PATIENTS)
    assert [row["outcome"] for row in patients["rows"]] == ["imported", "imported"]
    first = admin.get(f"/patients/{patients['rows'][0]['uid']}")
    assert (first["date_of_birth"], first["identifications"][0]["value"]) == ("1979-03-01", "ZN 1")
    requests = send(admin, "requests", REQUESTS)
    assert requests["imported"] == 3, requests
    assert [row["line"] for row in requests["rows"]] == [2, 3, 4]
    assert len({row["uid"] for row in requests["rows"]}) == 2  # two lines are one request


def test_bad_row_keeps_all_out_unless_partial_is_asked_for(admin: Actor) -> None:
    text = "code,name,email,country_code\nD1,One,,\nD2,Two,nobody,\nD1,Three,,\nD4,Four,,XX\nD5,,,\n"
    report = send(admin, "clients", text)
    assert report["imported"] == 0
    assert [row["outcome"] for row in report["rows"]] == ["left out", "refused", "refused", "refused", "refused"]
    told = [reason for _, _, reason in reasons(report)]
    assert "email" in told[1]
    assert "code" in told[2]
    assert "XX" in told[3]
    assert "name" in told[4]
    assert admin.get("/clients?q=D1") == []
    report = send(admin, "clients", text, partial="true")
    assert (report["imported"], report["refused"]) == (1, 4)
    assert [row["code"] for row in admin.get("/clients?q=D1")] == ["D1"]


def test_refused_patients_use_up_no_numbers(admin: Actor) -> None:
    text = "first_name,last_name,client_code\nAnna,Alpha,D1\nBerta,Beta,nowhere\n"
    assert reasons(send(admin, "patients", text))[1] == (
        3,
        "refused",
        "client_code 'nowhere' is not allowed: nothing of that name is there.",
    )
    before = max(row["patient_id"] for row in admin.get("/patients"))
    number = send(admin, "patients", "first_name,last_name,client_code\nAnna,Alpha,D1\n")["rows"][0]["number"]
    assert int(number[-5:]) == int(before[-5:]) + 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"code,colour\nX,red\n",
        b"code,code,name\n",
        b'code,name\nX,"open\n',
        b"code,name\nX,a\0b\n",
        b"code,name\nX,y,z\n",
    ],
)
def test_file_that_is_no_such_file(admin: Actor, content: bytes) -> None:
    answer = admin.client.post(
        f"{API}/imports/clients", content=content, headers={**admin.headers, "Content-Type": "text/csv"}
    )
    assert answer.status_code in (200, 400, 422)
    assert admin.get("/clients?q=X") == []


def test_import_needs_the_permission_of_what_it_makes(installation: Installation, admin: Actor) -> None:
    hand = installation.actor(groups=["LABORATORY_HAND"])
    send(hand, "clients", CLIENTS, 403)
    assert send(hand, "patients", "first_name,last_name,client_code\nCara,Gamma,D1\n")["imported"] == 1
