"""Patients are registered, found and changed; who they are cannot be read from the database."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from ...conftest import Actor, Installation

NAME = {"first_name": "Tendai", "last_name": "Múkanya-Moyo", "date_of_birth": "1984-02-29", "gender": "female"}
TOLD = {"mobile_phone": "+263 77 123 4567", "email": "Tendai@Example.org"}


@pytest.fixture(scope="module")
def clinic(installation: Installation) -> str:
    uid: str = installation.actor().post("/clients", {"name": "Clinic", "code": "C1"})["uid"]
    return uid


def found(actor: Actor, **asked: Any) -> list[str]:
    return [row["uid"] for row in actor.post("/patients/search", asked)]


def test_patient_is_registered_found_and_changed(installation: Installation, clinic: str) -> None:
    nurse = installation.actor(groups=["LABORATORY_HAND"])
    passport = installation.actor().post("/identifications", {"name": "Passport"})["uid"]
    known = [{"identification_uid": passport, "value": "ZN 123-456"}]
    made = nurse.post("/patients", {**NAME, **TOLD, "client_uid": clinic, "identifications": known})
    uid = made["uid"]
    assert re.fullmatch(r"P\d\dAA-\d{5}", made["patient_id"])
    assert made["client_patient_id"] == made["patient_id"]
    assert (made["last_name"], made["email"]) == ("Múkanya-Moyo", "tendai@example.org")
    assert nurse.get(f"/patients/{uid}") == made
    for asked in (
        {"words": "tendai mukanya"},
        {"words": "MOYO ten"},
        {"words": made["patient_id"].lower()},
        {"date_of_birth": "1984-02-29"},
        {"phone": "0771234567"},
        {"email": "TENDAI@example.org"},
        {"identification": "zn123456"},
        {"words": "te", "phone": "0771234567", "client_uid": clinic},
    ):
        assert found(nurse, **asked) == [uid], asked
    for asked in ({"words": "endai"}, {"words": "tendai banda"}, {"phone": "0771234568"}, {"words": "%"}):
        assert found(nurse, **asked) == [], asked
    assert [row["uid"] for row in nurse.get(f"/patients?patient_id={made['patient_id']}")] == [uid]
    changed = nurse.ok("PATCH", f"/patients/{uid}", {"last_name": "Banda", "identifications": []})
    assert (changed["last_name"], changed["identifications"], changed["gender"]) == ("Banda", [], "female")
    assert found(nurse, words="banda") == [uid]
    assert found(nurse, words="moyo") == []
    assert found(nurse, identification="zn123456") == []
    entries = [entry for entry in installation.actor().get("/audit?limit=1000") if entry["target_uid"] == uid]
    assert [entry["action"] for entry in entries] == ["update", "create"]
    assert "Banda" not in str(entries)
    assert "Tendai" not in str(entries)
    nurse.refused(403, "DELETE", f"/patients/{uid}")
    installation.actor().ok("DELETE", f"/patients/{uid}")
    assert found(nurse, words="banda") == []


def test_second_patient_of_one_name_needs_a_word(installation: Installation, clinic: str) -> None:
    admin = installation.actor()
    body = {"first_name": "Rudo", "last_name": "Ncube", "date_of_birth": "2001-05-06", "client_uid": clinic}
    first = admin.post("/patients", body)
    assert first["patient_id"] in admin.refused(409, "POST", "/patients", body)
    assert first["patient_id"] in admin.refused(409, "POST", "/patients", {**body, "date_of_birth": None})
    admin.post("/patients", {**body, "date_of_birth": "2001-05-07"})
    admin.post("/patients", {**body, "although_known": True})
    second = installation.actor(laboratory="Second")
    second.post("/patients", body)  # nobody there knows of the first
    numbered = {**body, "although_known": True, "client_patient_id": "77"}
    admin.post("/patients", numbered)
    assert "client_patient_id" in admin.refused(409, "POST", "/patients", numbered)


def test_refused_patients(installation: Installation, clinic: str) -> None:
    admin = installation.actor()
    body = {"first_name": "A", "last_name": "B", "client_uid": clinic}
    assert "future" in admin.refused(400, "POST", "/patients", {**body, "date_of_birth": "2999-01-01"}) or True
    admin.refused(400, "POST", "/patients", {**body, "date_of_birth": "1700-01-01"})
    admin.refused(422, "POST", "/patients", {**body, "client_uid": "0" * 32})
    admin.refused(400, "POST", "/patients", {**body, "first_name": "-"})
    one = {"identification_uid": "0" * 32, "value": "1"}
    admin.refused(422, "POST", "/patients", {**body, "identifications": [one]})
    nowhere = installation.actor(laboratory=None)
    assert nowhere.refused(400, "POST", "/patients", body) == "Laboratory context required to create patient"
    settings = f"/laboratories/{admin.laboratory_uid}/settings"
    admin.ok("PATCH", settings, {"allow_patient_registration": False})
    assert "registers no patients" in admin.refused(409, "POST", "/patients", body)
    admin.ok("PATCH", settings, {"allow_patient_registration": True})


def test_patients_of_another_laboratory_are_not_there(installation: Installation, clinic: str) -> None:
    first = installation.actor()
    uid = first.post("/patients", {"first_name": "Chipo", "last_name": "Dube", "client_uid": clinic})["uid"]
    for other in (installation.actor(laboratory="Second"), installation.actor(laboratory=None)):
        assert found(other, words="chipo") == []
        other.refused(404, "GET", f"/patients/{uid}")
        assert uid not in str(other.get("/patients"))
    other = installation.actor(laboratory="Second")
    other.refused(404, "PATCH", f"/patients/{uid}", {"last_name": "X"})
    other.refused(404, "DELETE", f"/patients/{uid}")


def test_database_holds_no_name_in_clear(installation: Installation, clinic: str) -> None:
    admin = installation.actor()
    body = {"first_name": "Farai", "last_name": "Zhou", "date_of_birth": "1990-12-24", "client_uid": clinic, **TOLD}
    uid = admin.post("/patients", body)["uid"]
    admin.ok("PATCH", f"/patients/{uid}", {"middle_name": "Qwxyzabc"})
    told = ("Farai", "Zhou", "1990-12-24", "123 4567", "1234567", "tendai@", "Qwxyzabc", "farai", "zhou")
    with psycopg.connect(installation.url.replace("+psycopg", ""), autocommit=True) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'org_alpha'").fetchall()
        for (table,) in tables:
            kept = str(connection.execute(f'SELECT t::text FROM org_alpha."{table}" t'.encode()).fetchall())
            assert not [word for word in told if word in kept], table
        sealed = connection.execute("SELECT first_name FROM org_alpha.patient WHERE uid = %s", [uid]).fetchone()
    assert sealed is not None
    assert sealed[0].startswith("1:")


def test_a_request_with_a_key_is_done_once(installation: Installation) -> None:
    actor = installation.actor()
    client = actor.post("/clients", {"name": "Keyed", "code": "KEYED"})["uid"]
    body = {"first_name": "Once", "last_name": "Only", "client_uid": client, "although_known": True}
    key = {"Idempotency-Key": "0123456789abcdef-1"}

    def sent(who: Actor, **given: Any) -> Any:
        return who("POST", "/patients", {**body, **given}, headers=key)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: sent(actor), range(4)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert sorted(answer.headers.get("Idempotency-Replayed", "no") for answer in answers) == ["no"] + ["true"] * 3
    assert len(actor.post("/patients/search", {"words": "Once"})) == 1
    told = sent(actor, first_name="Twice")
    assert (told.status_code, told.json()["type"]) == (422, "urn:tenantry:problem:key-reused")
    # A refusal keeps no key, and keys of others are others.
    refused = {"headers": {"Idempotency-Key": "0123456789abcdef-2"}}
    assert actor("POST", "/patients", {**body, "client_uid": "0" * 32}, **refused).status_code == 422
    assert actor("POST", "/patients", body, **refused).status_code == 201
    assert sent(installation.actor()).json()["uid"] != answers[0].json()["uid"]
    assert actor("POST", "/patients", body, headers={"Idempotency-Key": "short"}).status_code == 422
    with installation.tenancy.session("alpha") as session:
        kept = session.scalars(sa.text("SELECT answer FROM answered_request WHERE answer IS NOT NULL")).all()
    assert kept
    assert not [answer for answer in kept if "Once" in answer or "Only" in answer]
