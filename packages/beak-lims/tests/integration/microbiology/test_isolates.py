"""From a culture to a verified antibiogram over HTTP: isolates, panels, values, rules and controls."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import pytest
import sqlalchemy as sa
from pypdf import PdfReader

from beak_lims.seeds import running
from beak_lims.seeds.microbiology import seed as load
from beak_lims.seeds.microbiology import tables
from beak_lims.seeds.scopes import SCOPES, seed
from beak_lims.seeds.setup import AST_ORGANISM

from ...conftest import Actor, Installation


@pytest.fixture(scope="module")
def seeded(installation: Installation) -> Installation:
    for slug in ("alpha", "beta"):
        running.one(installation.tenancy, slug, lambda session, _: seed(session, SCOPES))
    return installation


@pytest.fixture(scope="module")
def scientist(seeded: Installation) -> Actor:
    return seeded.actor()


def one(actor: Actor, path: str, **query: str) -> Any:
    [found] = actor.get(path, params=query)
    return found


def organism(actor: Actor, code: str) -> str:
    return str(one(actor, "/organisms", code=code)["uid"])


def antibiotics(actor: Actor, *codes: str) -> dict[str, str]:
    return {code: one(actor, "/antibiotics", code=code)["uid"] for code in codes}


def edition(actor: Actor) -> str:
    return str(one(actor, "/guideline-years")["uid"])


def culture(actor: Actor) -> str:
    """A received sample that an isolate was asked for in; its uid."""
    client = actor.get("/clients")[0]["uid"]
    body = {"first_name": "Tariro", "last_name": "Moyo", "client_uid": client, "although_known": True}
    patient = actor.post("/patients", body)["uid"]
    urine = next(kind["uid"] for kind in actor.get("/sample-types") if kind["abbr"] == "UR")
    analysis = next(
        row["uid"] for row in actor.get("/analyses", params={"q": "Isolate"}) if row["keyword"] == AST_ORGANISM
    )
    asked = {"patient_uid": patient, "samples": [{"sample_type_uid": urine, "analysis_uids": [analysis]}]}
    return str(actor.post("/analysis-requests", asked)["samples"][0]["uid"])


def panel(actor: Actor, name: str, *codes: str, method: str = "MIC", **read_by: str) -> str:
    body = {
        **read_by,
        "name": name,
        "guideline_year_uid": edition(actor),
        "test_method": method,
        "antibiotic_uids": list(antibiotics(actor, *codes).values()),
    }
    return str(actor.post("/ast-panels", body)["uid"])


def first(actor: Actor, sample: str) -> str:
    """The isolate that the request for it made."""
    [made] = actor.get("/isolates", params={"sample_uid": sample})
    assert (made["isolate_number"], made["organism_uid"]) == (1, None)
    return str(made["uid"])


def isolate(actor: Actor, sample: str, code: str, panel_uid: str, **more: str) -> Any:
    uid = first(actor, sample)
    actor.post(f"/isolates/{uid}/organism", {"organism_uid": organism(actor, code)})
    return actor.post(f"/isolates/{uid}/panel", {"ast_panel_uid": panel_uid, **more})


def entered(actor: Actor, shown: Any, **values: str) -> Any:
    """The isolate after values were entered by antibiotic code."""
    uids = antibiotics(actor, *values)
    tests = {test["antibiotic_uid"]: test["uid"] for test in shown["tests"]}
    body = [{"ast_result_uid": tests[uids[code]], "value": value} for code, value in values.items()]
    return actor.post(f"/isolates/{shown['uid']}/values", {"values": body})


def meant(actor: Actor, shown: Any, *codes: str) -> dict[str, tuple[str | None, str | None]]:
    names = {uid: code for code, uid in antibiotics(actor, *codes).items()}
    return {
        names[test["antibiotic_uid"]]: (test["category"], test["basis"])
        for test in shown["tests"]
        if test["antibiotic_uid"] in names
    }


def test_a_culture_becomes_a_verified_antibiogram(seeded: Installation, scientist: Actor) -> None:
    sample = culture(scientist)
    shown = isolate(scientist, sample, "kpn", panel(scientist, "Gram-negative", "AMP", "CTX", "CIP", "MEM"))
    assert len(shown["tests"]) == 4
    assert scientist.get(f"/samples/{sample}")["status"] == "received"
    shown = entered(scientist, shown, AMP="4", CTX="2", CIP="<=0.06", MEM=">8")
    assert meant(scientist, shown, "AMP", "CTX", "CIP", "MEM") == {
        "AMP": ("R", "expected resistance"),
        "CTX": ("I", "breakpoint"),
        "CIP": ("S", "breakpoint"),
        "MEM": ("R", "breakpoint"),
    }
    whole = scientist.get(f"/samples/{sample}")
    assert whole["status"] == "awaiting"
    values = sorted(result["result"] for result in whole["results"])
    assert values == [
        "Ampicillin: R (4 mg/L)",
        "Cefotaxime: I (2 mg/L)",
        "Ciprofloxacin: S (<=0.06 mg/L)",
        "Isolate 1: Klebsiella pneumoniae",
        "Meropenem: R (>8 mg/L)",
    ]
    verifier = seeded.actor()
    verifier.post("/results/verify", {"uids": [result["uid"] for result in whole["results"]]})
    assert scientist.get(f"/samples/{sample}")["status"] == "approved"


def test_later_value_may_change_what_an_earlier_one_means(scientist: Actor) -> None:
    sample = culture(scientist)
    mics = panel(scientist, "Staphylococcus", "OXA", "CTX", "GEN", "CLI")
    shown = isolate(scientist, sample, "sau", mics)
    shown = entered(scientist, shown, GEN="1", CLI="0.12")
    assert meant(scientist, shown, "GEN", "CLI") == {"GEN": ("S", "breakpoint"), "CLI": ("S", "breakpoint")}
    shown = scientist.post(f"/isolates/{shown['uid']}/other-tests", {"tests": {"MLS_DTEST": "+"}})
    assert meant(scientist, shown, "CLI") == {"CLI": ("R", "expert rule")}
    test = next(row for row in shown["tests"] if row["basis"] == "expert rule")
    result = scientist.get(f"/results/{test['analysis_result_uid']}")
    assert result["result"] == "Clindamycin: R (0.12 mg/L)"
    assert "inducible" in test["reason"]


def test_report_tells_the_tests_of_two_isolates_apart(seeded: Installation, scientist: Actor) -> None:
    verifier = seeded.actor()
    sample, both = culture(scientist), panel(scientist, "Two isolates", "AMP", "CIP")
    entered(scientist, isolate(scientist, sample, "eco", both), AMP="4", CIP="0.06")
    other = scientist.post(f"/samples/{sample}/isolates")["uid"]
    scientist.post(f"/isolates/{other}/organism", {"organism_uid": organism(scientist, "kpn")})
    shown = scientist.post(f"/isolates/{other}/panel", {"ast_panel_uid": both})
    entered(scientist, shown, AMP="4", CIP=">0.25")

    def printed(report: Any) -> str:
        pdf = scientist("GET", f"/reports/{report['uid']}/pdf").content
        return " ".join(" ".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages).split())

    early = printed(scientist.post(f"/samples/{sample}/reports/preliminary"))
    assert "Isolate 2 Antibiotic Category Value Test Read by Ampicillin pending MIC Ciprofloxacin pending MIC" in early
    assert "Klebsiella" not in early
    assert "mg/L" not in early
    verifier.post("/results/verify", {"uids": [one["uid"] for one in scientist.get(f"/samples/{sample}")["results"]]})
    [report] = verifier.post("/samples/publish", {"uids": [sample]})
    _, _, told = printed(report).partition("Isolate Isolate 1")
    head = "Antibiotic Category Value Test Read by Ampicillin"
    for expected in (
        f"Isolate 1: Escherichia coli {head} S 4 mg/L MIC EUCAST 2024 Ciprofloxacin S 0.06 mg/L",
        f"Isolate 2: Klebsiella pneumoniae {head} R 4 mg/L MIC EUCAST 2024, expected resistance Ciprofloxacin NS",
        "S susceptible; NS not susceptible; R resistant.",
    ):
        assert expected in told, told


def test_zone_is_read_by_the_one_disk_of_the_guideline(scientist: Actor) -> None:
    shown = isolate(scientist, culture(scientist), "eco", panel(scientist, "Disks", "CTX", "AMC", method="DISK"))
    assert {test["disk"] for test in shown["tests"]} == {"5", "20"}
    shown = entered(scientist, shown, CTX="18", AMC="19")
    assert meant(scientist, shown, "CTX", "AMC") == {"CTX": ("I", "breakpoint"), "AMC": ("S", "breakpoint")}


def test_site_of_infection_decides_between_breakpoints(scientist: Actor) -> None:
    uid = panel(scientist, "Pneumococcus", "PEN", "CTX")
    general = entered(scientist, isolate(scientist, culture(scientist), "spn", uid), PEN="0.5", CTX="1")
    assert meant(scientist, general, "PEN", "CTX") == {"PEN": ("I", "breakpoint"), "CTX": ("I", "breakpoint")}
    shown = isolate(scientist, culture(scientist), "spn", uid, site_of_infection="Meningitis")
    shown = entered(scientist, shown, PEN="0.5", CTX="1")
    assert meant(scientist, shown, "PEN", "CTX") == {"PEN": ("R", "breakpoint"), "CTX": ("R", "breakpoint")}


def test_refusals_leave_everything_as_it_was(scientist: Actor) -> None:
    sample = culture(scientist)
    uid = first(scientist, sample)
    some = panel(scientist, "Refused", "CIP")
    assert "no name yet" in scientist.refused(409, "POST", f"/isolates/{uid}/panel", {"ast_panel_uid": some})
    scientist.post(f"/isolates/{uid}/organism", {"organism_uid": organism(scientist, "eco")})
    again = {"organism_uid": organism(scientist, "kpn")}
    assert "named already" in scientist.refused(409, "POST", f"/isolates/{uid}/organism", again)
    shown = scientist.post(f"/isolates/{uid}/panel", {"ast_panel_uid": some})
    assert scientist.post(f"/isolates/{uid}/panel", {"ast_panel_uid": some})["tests"] == shown["tests"]
    [test] = shown["tests"]
    body = {"values": [{"ast_result_uid": test["uid"], "value": "much"}]}
    assert "cannot be read" in scientist.refused(400, "POST", f"/isolates/{uid}/values", body)
    assert scientist.get(f"/isolates/{uid}")["tests"] == [test]
    entered(scientist, shown, CIP="0.5")
    body["values"][0]["value"] = "1"
    assert "has its value already" in scientist.refused(409, "POST", f"/isolates/{uid}/values", body)
    result = test["analysis_result_uid"]
    scientist.post(f"/results/{result}/retest", {"reason": "Mixed growth", "keep": False})
    assert meant(scientist, scientist.post(f"/isolates/{uid}/values", body), "CIP") == {"CIP": ("R", "breakpoint")}


def test_isolates_of_another_laboratory_or_organisation_are_not_found(seeded: Installation, scientist: Actor) -> None:
    shown = isolate(scientist, culture(scientist), "eco", panel(scientist, "Walls", "CIP"))
    for other in (seeded.actor(laboratory="Second"), seeded.actor("beta"), seeded.actor(laboratory=None)):
        other.refused(404, "GET", f"/isolates/{shown['uid']}")
        other.refused(404, "GET", f"/ast-results/{shown['tests'][0]['uid']}")
        assert shown["uid"] not in [row["uid"] for row in other.get("/isolates")]
    guest = seeded.actor(groups=("GUEST",))
    guest.refused(403, "GET", f"/isolates/{shown['uid']}")


def test_values_are_interpreted_without_writing_anything(seeded: Installation, scientist: Actor) -> None:
    uids = antibiotics(scientist, "MEM", "CXM")
    body = {
        "organism_uid": organism(scientist, "eco"),
        "guideline_year_uid": edition(scientist),
        "tests": [{"antibiotic_uid": uids["MEM"], "value": "4"}, {"antibiotic_uid": uids["CXM"], "value": "0.25"}],
    }
    found = scientist.post("/interpretations", body)
    assert [(row["antibiotic_code"], row["category"], row["uncertain"]) for row in found] == [
        ("MEM", "I", False),
        ("CXM", "I", False),  # never susceptible at standard dosing
    ]
    with seeded.tenancy.session("alpha") as session:
        before = session.scalar(sa.text("SELECT count(*) FROM ast_result"))
        scientist.post("/interpretations", body | {"site_of_infection": "Meningitis"})
        assert session.scalar(sa.text("SELECT count(*) FROM ast_result")) == before


@pytest.mark.parametrize(
    ("value", "method", "disk", "passed"),
    [("0.008", "MIC", "", True), ("0.03", "MIC", "", False), ("33", "DISK", "5", True), ("25", "DISK", "5", False)],
)
def test_control_strains_are_held_against_their_ranges(
    scientist: Actor, value: str, method: str, disk: str, passed: bool
) -> None:
    body = {
        "guideline_year_uid": edition(scientist),
        "strain": "ATCC 25922",
        "antibiotic_uid": antibiotics(scientist, "CIP")["CIP"],
        "test_method": method,
        "disk": disk,
        "value": value,
    }
    checked = scientist.post("/qc-ranges/check", body)
    assert checked["passed"] is passed
    assert len(checked["ranges"]) == 1
    assert scientist.post("/qc-ranges/check", body | {"strain": "ATCC 1"}) == {"passed": None, "ranges": []}


def test_newer_table_leaves_what_a_test_rests_on(seeded: Installation, scientist: Actor, tmp_path: Any) -> None:
    shown = isolate(scientist, culture(scientist), "eco", panel(scientist, "Newer", "GEN"))
    [test] = entered(scientist, shown, GEN="2")["tests"]
    row = "EUCAST\t2024\tMIC\tEBC\tFAMILY_CODE\tHuman\tHuman\t\tGEN\tGEN_EM\t2\t1"
    head = "GUIDELINES\tYEAR\tTEST_METHOD\tORGANISM_CODE\tORGANISM_CODE_TYPE\tBREAKPOINT_TYPE\tHOST"
    (tmp_path / "Breakpoints.txt").write_text(f"{head}\tSITE_OF_INFECTION\tWHONET_ABX_CODE\tWHONET_TEST\tR\tS\n{row}\n")
    running.one(seeded.tenancy, "alpha", lambda session, _: load(session, tables(tmp_path)))
    kept = scientist.get(f"/breakpoints/{test['breakpoint_uid']}")
    assert (float(kept["susceptible"]), kept["retired_at"] is None) == (2.0, False)
    assert scientist.get(f"/ast-results/{test['uid']}") == test
    [now] = scientist.get("/breakpoints", params={"antibiotic_code": "GEN", "organism_code": "EBC"})
    assert float(now["susceptible"]) == 1.0


def test_a_further_isolate_has_a_result_of_its_own(scientist: Actor) -> None:
    sample = culture(scientist)
    uid = first(scientist, sample)
    further = scientist.post(f"/samples/{sample}/isolates")
    assert further["isolate_number"] == 2
    assert further["analysis_result_uid"] != scientist.get(f"/isolates/{uid}")["analysis_result_uid"]


def test_a_corrected_copy_is_tested_for_what_its_original_was(seeded: Installation, scientist: Actor) -> None:
    verifier = seeded.actor()
    sample = culture(scientist)
    shown = isolate(scientist, sample, "eco", panel(scientist, "Corrected", "CIP", "GEN"))
    shown = entered(scientist, shown, CIP="0.25", GEN="1")
    results = [shown["analysis_result_uid"], *(test["analysis_result_uid"] for test in shown["tests"])]
    verifier.post("/results/verify", {"uids": results})
    corrected = verifier.post(f"/samples/{sample}/invalidate", {"reason": "Labels were swapped"})
    [copy] = scientist.get("/isolates", params={"sample_uid": corrected["uid"]})
    assert (copy["isolate_number"], copy["organism_uid"]) == (1, None)
    copy = scientist.get(f"/isolates/{copy['uid']}")
    kept = {(test["antibiotic_uid"], test["test_method"], test["disk"], None) for test in shown["tests"]}
    assert {
        (test["antibiotic_uid"], test["test_method"], test["disk"], test["value"]) for test in copy["tests"]
    } == kept
    scientist.post(f"/isolates/{copy['uid']}/organism", {"organism_uid": organism(scientist, "eco")})
    again = entered(scientist, copy, CIP="0.25", GEN="8")
    assert meant(scientist, again, "GEN") == {"GEN": ("R", "breakpoint")}
    assert scientist.get(f"/samples/{corrected['uid']}")["status"] == "awaiting"


def test_a_panel_is_read_by_the_wild_type_or_by_an_animals_breakpoints(
    seeded: Installation, scientist: Actor, tmp_path: Any
) -> None:
    head = "GUIDELINES\tYEAR\tTEST_METHOD\tORGANISM_CODE\tORGANISM_CODE_TYPE\tBREAKPOINT_TYPE\tHOST\tSITE_OF_INFECTION"
    rows = (
        f"{head}\tWHONET_ABX_CODE\tWHONET_TEST\tR\tS\tECV_ECOFF",
        "EUCAST\t2024\tMIC\teco\tWHONET_ORG_CODE\tECOFF\t\t\tCIP\tCIP_EM\t\t\t0.06",
        "EUCAST\t2024\tMIC\teco\tWHONET_ORG_CODE\tHuman\tHuman\t\tAMP\tAMP_EM\t16\t8\t",
        "EUCAST\t2024\tMIC\teco\tWHONET_ORG_CODE\tAnimal\tDogs\t\tAMP\tAMP_EM\t1\t0.25\t",
        "EUCAST\t2024\tMIC\teco\tWHONET_ORG_CODE\tHuman\tHuman\t\tCIP\tCIP_EM\t1\t0.25\t",
    )
    (tmp_path / "Breakpoints.txt").write_text("\n".join(rows) + "\n")
    running.one(seeded.tenancy, "alpha", lambda session, _: load(session, tables(tmp_path)))
    wild = panel(scientist, "Wild type", "CIP", breakpoint_type="ECOFF")
    dogs = panel(scientist, "Dogs", "AMP", breakpoint_type="Animal", host="Dogs")
    people = panel(scientist, "People", "AMP", "CIP")
    assert scientist.get(f"/ast-panels/{people}")["breakpoint_type"] == "Human"
    scientist.refused(422, "PATCH", f"/ast-panels/{people}", {"breakpoint_type": "Plant"})

    shown = isolate(scientist, culture(scientist), "eco", wild)
    shown = scientist.post(f"/isolates/{shown['uid']}/panel", {"ast_panel_uid": dogs})
    shown = entered(scientist, shown, CIP="0.12", AMP="4")
    assert meant(scientist, shown, "CIP", "AMP") == {"CIP": ("NWT", "breakpoint"), "AMP": ("R", "breakpoint")}
    assert {(test["breakpoint_type"], test["host"]) for test in shown["tests"]} == {
        ("ECOFF", "Human"),
        ("Animal", "Dogs"),
    }
    other = entered(scientist, isolate(scientist, culture(scientist), "eco", people), CIP="0.12", AMP="4")
    assert meant(scientist, other, "CIP", "AMP") == {"CIP": ("S", "breakpoint"), "AMP": ("S", "breakpoint")}


def test_microbiology_is_closed_where_its_module_is_off(seeded: Installation, scientist: Actor) -> None:
    def without(attributes: Mapping[str, Any]) -> dict[str, Any]:
        return {**attributes, "primary_industry": "pharma", "enabled_modules": ["core", "pharma"]}

    before = dict(seeded.tenancy.get("alpha").attributes)
    seeded.tenancy.change_attributes("alpha", without, action="module.disable", details={})
    try:
        told = scientist.refused(403, "GET", "/isolates")
        assert told == "Module 'clinical' is not enabled for tenant 'alpha'"
        scientist.get("/patients")
    finally:
        seeded.tenancy.change_attributes("alpha", lambda _: before, action="module.enable", details={})
    scientist.get("/isolates")
