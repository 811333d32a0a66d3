"""The laboratory's work from end to end over HTTP: two organisations of two laboratories each, and the walls between.

Each laboratory walks the same way: a patient, a request, a worksheet with its control, a retest, a published PDF, its
amendment, and an antibiogram. Then every token is held against what the others made, through every route there is.
"""

from __future__ import annotations

import difflib
import io
import itertools
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlalchemy as sa
from pypdf import PdfReader

from beak_lims.models import metadata
from beak_lims.seeds import running
from beak_lims.seeds.microbiology import seed as load
from beak_lims.seeds.microbiology import tables
from beak_lims.seeds.scopes import SCOPES, seed
from beak_lims.seeds.setup import AST_ORGANISM

from ..conftest import Actor, Installation, published_tables
from .test_isolation import ENDS_SESSIONS, example, of_laboratory, references, routes

# Of what the paths do not say themselves.
OBJECTS = {"results": "analysis_result", "isolates": "organism_result", "reports": "report_impress"}
SEEN = 1  # objects of each table of each laboratory that every route which reads one is tried with; lists hold them all
WALKED = {
    "analysis_request",
    "analysis_result",
    "ast_panel",
    "ast_result",
    "organism_result",
    "patient",
    "profile",
    "qc_level",
    "qc_reference",
    "qc_set",
    "report_impress",
    "sample",
    "worksheet",
    "worksheet_template",
}


@dataclass
class Walk:
    """One laboratory, who works there, and what became of its day."""

    tenant: str
    laboratory: str
    people: dict[str, Actor]
    told: dict[str, str] = field(default_factory=dict)  # the texts of its reports, and states, by what they are of
    made: dict[str, list[str]] = field(default_factory=dict)  # keys of its rows, by table


@pytest.fixture(scope="module")
def walks(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> list[Walk]:
    """The day of all four laboratories; alpha's by the starter set, beta's by WHONET's tables if they are at hand."""
    for tenant in ("alpha", "beta"):
        running.one(installation.tenancy, tenant, lambda session, _: seed(session, SCOPES))
    whonet = published_tables()
    if whonet is not None:
        latest = of_2024(whonet, tmp_path_factory.mktemp("whonet"))
        running.one(installation.tenancy, "beta", lambda session, _: load(session, tables(latest)))
    made = [
        walk(installation, tenant, name) for tenant, name in itertools.product(("alpha", "beta"), ("First", "Second"))
    ]
    for one in made:
        laboratory_uid = installation.laboratories[one.tenant][one.laboratory]
        with installation.tenancy.session(one.tenant) as session:
            for name, table in metadata.tables.items():
                if of_laboratory(name) and "uid" in table.c and name not in ("laboratory", "audit_log", "snapshot"):
                    uids = sa.select(table.c.uid).where(table.c.laboratory_uid == laboratory_uid).order_by(table.c.uid)
                    one.made[name] = list(session.scalars(uids))
    return made


def of_2024(whonet: Path, directory: Path) -> Path:
    """WHONET's tables with the breakpoints of one year alone."""
    for name in ("Antibiotics", "Organisms", "ExpectedResistancePhenotypes", "ExpertInterpretationRules"):
        shutil.copy(whonet / f"{name}.txt", directory)
    lines = (whonet / "Breakpoints.2024.txt").read_text(encoding="utf-8-sig").split("\n")
    kept = [line for at, line in enumerate(lines) if at == 0 or line.split("\t")[1:2] == ["2024"]]
    (directory / "Breakpoints.txt").write_text("\n".join(kept), encoding="utf-8")
    return directory


def walk(installation: Installation, tenant: str, laboratory: str) -> Walk:
    """One laboratory's day, each step by somebody who may do it."""
    groups = {"hand": "LABORATORY_HAND", "technologist": "TECHNOLOGIST", "scientist": "SCIENTIST"}
    groups |= {"manager": "LAB_MANAGER", "administrator": "ADMINISTRATOR"}
    people = {
        name: installation.actor(tenant, laboratory, groups=(group,), member_of=[laboratory])
        for name, group in groups.items()
    }
    made = Walk(tenant, laboratory, people)
    chemistry(made)
    microbiology(made)
    return made


def chemistry(made: Walk) -> None:
    """From the patient to the amended report."""
    hand, technologist, scientist, manager = (
        made.people[name] for name in ("hand", "technologist", "scientist", "manager")
    )
    client = next(one["uid"] for one in manager.get("/clients") if one["code"] == "OPD")
    serum = next(one["uid"] for one in manager.get("/sample-types") if one["abbr"] == "SER")
    analyses = {one["keyword"]: one["uid"] for one in manager.get("/analyses", params={"limit": 200})}
    low = next(one["uid"] for one in manager.get("/qc-levels") if one["name"] == "Low")
    patient = hand.post(
        "/patients",
        {
            "first_name": "Chipo",
            "last_name": f"{made.tenant.title()} {made.laboratory}",
            "gender": "female",
            "date_of_birth": "1991-02-03",
            "client_uid": client,
        },
    )
    wanted = [analyses["potassium"], analyses["creatinine"]]
    asked = {"patient_uid": patient["uid"], "samples": [{"sample_type_uid": serum, "analysis_uids": wanted}]}
    [sample] = hand.post("/analysis-requests", asked)["samples"]
    results = {one["analysis_uid"]: one["uid"] for one in sample["results"]}
    potassium, creatinine = results[analyses["potassium"]], results[analyses["creatinine"]]

    manager.post(
        "/qc-references",
        {"qc_level_uid": low, "analysis_uid": analyses["potassium"], "lot": "L7", "min": 2.8, "max": 3.2},
    )
    template = {
        "name": f"Potassium, {made.laboratory}",
        "analysis_uid": analyses["potassium"],
        "sample_type_uid": serum,
        "rows": 1,
        "cols": 3,
        "reserved": {"1": low},
    }
    body = {"worksheet_template_uid": manager.post("/worksheet-templates", template)["uid"]}
    sheet = technologist.post("/worksheets", body)
    control, placed = sheet["results"]
    assert (placed["uid"], placed["worksheet_position"]) == (potassium, 2)
    values = {control["uid"]: "3.0", potassium: "6.9", creatinine: "80"}
    entered = technologist.post("/results/submit", {"entries": [{"uid": uid, "value": values[uid]} for uid in values]})
    assert {one["uid"]: one["flag"] for one in entered} == {
        control["uid"]: "normal",
        potassium: "high",
        creatinine: "normal",
    }
    technologist.refused(403, "POST", "/results/verify", {"uids": [creatinine]})
    again = scientist.post(f"/results/{potassium}/retest", {"reason": "Haemolysed"})["uid"]
    technologist.post("/results/submit", {"entries": [{"uid": again, "value": "4.4"}]})
    scientist.post("/results/verify", {"uids": [control["uid"], creatinine, again]})
    assert technologist.get(f"/worksheets/{sheet['uid']}")["state"] == "approved"
    [report] = scientist.post("/samples/publish", {"uids": [sample["uid"]]})
    made.told["final"] = pdf_of(scientist, report["uid"])

    copy = manager.post(f"/samples/{sample['uid']}/invalidate", {"reason": "Labels swapped"})
    corrected = technologist.get(f"/samples/{copy['uid']}")["results"]
    technologist.post("/results/submit", {"entries": [{"uid": one["uid"], "value": "5"} for one in corrected]})
    scientist.post("/results/verify", {"uids": [one["uid"] for one in corrected]})
    [amended] = scientist.post("/samples/publish", {"uids": [copy["uid"]]})
    assert amended["supersedes_uid"] == report["uid"]
    made.told["amended"] = pdf_of(scientist, amended["uid"])
    made.told["final's state"] = scientist.get(f"/reports/{report['uid']}")["state"]
    made.told["sample"], made.told["copy"] = sample["sample_id"], copy["sample_id"]


def microbiology(made: Walk) -> None:
    """From the culture to the antibiogram's report."""
    hand, technologist, scientist, manager = (
        made.people[name] for name in ("hand", "technologist", "scientist", "administrator")
    )
    [patient] = hand.post("/patients/search", {"words": "Chipo"})
    urine = next(one["uid"] for one in manager.get("/sample-types") if one["abbr"] == "UR")
    found = manager.get("/analyses", params={"q": "Isolate"})
    isolate = next(one["uid"] for one in found if one["keyword"] == AST_ORGANISM)
    asked = {"patient_uid": patient["uid"], "samples": [{"sample_type_uid": urine, "analysis_uids": [isolate]}]}
    sample = hand.post("/analysis-requests", asked)["samples"][0]["uid"]
    years = [one for one in technologist.get("/guideline-years", params={"limit": 200}) if one["year"] == 2024]
    edition = next(one["uid"] for one in years if one["guideline"] == "EUCAST")
    codes = {}
    for code in ("AMP", "CTX", "CIP", "MEM"):
        [agent] = technologist.get("/antibiotics", params={"code": code})
        codes[agent["uid"]] = code
    body = {
        "name": f"Gram-negative, {made.laboratory}",
        "guideline_year_uid": edition,
        "test_method": "MIC",
        "antibiotic_uids": [*codes],
    }
    panel = manager.post("/ast-panels", body)["uid"]
    [first] = technologist.get("/isolates", params={"sample_uid": sample})
    [klebsiella] = technologist.get("/organisms", params={"code": "kpn"})
    technologist.post(f"/isolates/{first['uid']}/organism", {"organism_uid": klebsiella["uid"]})
    shown = scientist.post(f"/isolates/{first['uid']}/panel", {"ast_panel_uid": panel})
    values = {"AMP": "4", "CTX": "2", "CIP": "<=0.06", "MEM": ">8"}
    read = [{"ast_result_uid": one["uid"], "value": values[codes[one["antibiotic_uid"]]]} for one in shown["tests"]]
    shown = technologist.post(f"/isolates/{first['uid']}/values", {"values": read})
    assert {codes[one["antibiotic_uid"]]: (one["category"], one["basis"]) for one in shown["tests"]} == {
        "AMP": ("R", "expected resistance"),
        "CTX": ("I", "breakpoint"),
        "CIP": ("S", "breakpoint"),
        "MEM": ("R", "breakpoint"),
    }
    whole = technologist.get(f"/samples/{sample}")["results"]
    scientist.post("/results/verify", {"uids": [one["uid"] for one in whole]})
    [report] = scientist.post("/samples/publish", {"uids": [sample]})
    made.told["antibiogram"] = pdf_of(scientist, report["uid"])


def pdf_of(actor: Actor, report_uid: str) -> str:
    """The words of a report's pages, however they are broken into lines."""
    answer = actor("GET", f"/reports/{report_uid}/pdf")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/pdf")
    pages = PdfReader(io.BytesIO(answer.content)).pages
    return " ".join(" ".join(page.extract_text() for page in pages).split())


def test_each_laboratory_walks_from_patient_to_published_pdf_and_its_amendment(walks: list[Walk]) -> None:
    for one in walks:
        told = one.told
        for text in ("Final report", one.tenant.title(), one.laboratory, "4.4", "3.5 - 5.1", "Page 1 of 1"):
            assert text in told["final"], text
        assert "6.9" not in told["final"]  # what was done again is not reported
        assert "Labels swapped" in told["amended"]
        assert f"takes the place of report no. 1 of sample {told['sample']}" in told["amended"]
        assert (told["final's state"], told["copy"]) == ("invalidated", f"{told['sample']}_R01")
        for text in ("Klebsiella pneumoniae", "Ampicillin R 4 mg/L MIC", "Ciprofloxacin S <=0.06 mg/L MIC"):
            assert text in told["antibiogram"], text
        assert [name for name in WALKED if not one.made[name]] == []


def test_an_antibiogram_by_the_published_tables(walks: list[Walk], whonet: Path) -> None:
    scientist, manager = walks[3].people["scientist"], walks[3].people["manager"]
    years = manager.get("/guideline-years", params={"limit": 200})
    clsi = next(one["uid"] for one in years if (one["guideline"], one["year"]) == ("CLSI", 2024))
    [organism] = manager.get("/organisms", params={"code": "sau"})
    values = {"DAP": "2", "VAN": "4", "CPT": "2", "OXA": "4"}
    agents = {code: manager.get("/antibiotics", params={"code": code})[0]["uid"] for code in values}
    body = {"organism_uid": organism["uid"], "guideline_year_uid": clsi}
    body["tests"] = [{"antibiotic_uid": agents[code], "value": value} for code, value in values.items()]
    found = scientist.post("/interpretations", body)
    assert {one["antibiotic_code"]: (one["category"], one["basis"]) for one in found} == {
        "DAP": ("NS", "breakpoint"),  # the table gives S alone
        "VAN": ("I", "breakpoint"),
        "CPT": ("SDD", "breakpoint"),  # what methicillin resistance leaves
        "OXA": ("R", "expert rule"),
    }


def table_behind(path: str, made: Mapping[str, list[str]]) -> str | None:
    """Of which table the objects of a path are."""
    noun = path.split("/")[1]
    likely = difflib.get_close_matches(noun.replace("-", "_"), made, n=1, cutoff=0.6)
    return OBJECTS.get(noun) or next(iter(likely), None)


def test_every_token_is_held_against_what_the_others_made(installation: Installation, walks: list[Walk]) -> None:
    every = list(routes(installation))
    behind = {route.path: table_behind(route.path, walks[0].made) for route in every if route.parameters}
    for at, mine in enumerate(walks):
        actor = mine.people["administrator"]
        others = [one for one in walks if one is not mine]
        secrets = {uid for one in others for uids in one.made.values() for uid in uids}
        reached: set[str] = set()
        for number, route in enumerate(every):
            if route.path in ENDS_SESSIONS or (route.path.startswith("/auth/") and route.method != "GET"):
                continue
            victim = others[(number + at) % len(others)]
            first = {table: uids[0] for table, uids in victim.made.items() if uids}
            body = None if route.body is None else example(route.body, {**first, "uids": first["sample"]})
            if not route.parameters:
                answer = actor(route.method, route.path, body)
                named = body is not None and any(references(body, table) for table in (*first, "uids"))
                known = set(re.findall(r"[0-9a-f]{32}", str(body)))
                told = f"{route.method} {route.path} {body}: {answer.status_code} {answer.text[:300]}"
                assert answer.status_code < 500, told
                assert not (secrets - known) & set(re.findall(r"[0-9a-f]{32}", answer.text)), told
                assert not (named and answer.is_success and answer.json()), told
                continue
            table = behind[route.path]
            if table is None:
                continue  # set up for the whole organisation
            if route.method == "GET" and route.path.count("/") == 2 and mine.made[table]:
                answer = actor("GET", re.sub(r"{\w+}", mine.made[table][0], route.path))
                reached |= {table} if answer.is_success else set()
            objects = [uid for one in others for uid in one.made[table][:SEEN]]
            for uid in objects if route.method == "GET" else first.get(table, "").split():
                answer = actor(route.method, re.sub(r"{\w+}", uid, route.path), body)
                told = f"{mine.tenant} {mine.laboratory}: {route.method} {route.path} {body}: {answer.status_code}"
                assert answer.status_code in ((404,) if body in (None, {}) else (400, 404, 409, 422)), told
                known = {uid, *re.findall(r"[0-9a-f]{32}", str(body))}  # the intruder says them; that is no answer
                assert not (secrets - known) & set(re.findall(r"[0-9a-f]{32}", answer.text)), told
        assert WALKED - reached <= {"qc_set"}  # each by its own; else all this would prove nothing
