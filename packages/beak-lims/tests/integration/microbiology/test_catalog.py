"""Reference tables in a tenant: brought in at once, told of line by line where refused, and kept where results cite."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from beak_lims.microbiology import catalog as catalogs
from beak_lims.microbiology.catalog import Loaded, load
from beak_lims.microbiology.codes import Method
from beak_lims.microbiology.reference import Edition, check_control
from beak_lims.microbiology.whonet.rows import read
from beak_lims.models import Antibiotic, AntibioticDisk, Breakpoint, Guideline, GuidelineYear, Organism, QcRange
from beak_lims.seeds.microbiology import STARTER_SET, tables
from tenantry import Tenancy

TABLES = ("antibiotic_disk", "organism", "serotype", "breakpoint", "expected_res_phenotype", "expert_interpret_rule")
HEAD = (
    "GUIDELINES\tYEAR\tTEST_METHOD\tORGANISM_CODE\tORGANISM_CODE_TYPE\tBREAKPOINT_TYPE\tHOST\tSITE_OF_INFECTION"
    "\tWHONET_ABX_CODE\tWHONET_TEST\tR\tS"
)


@pytest.fixture(autouse=True)
def empty(tenancy: Tenancy) -> None:
    """Each test begins with no tables loaded."""
    with tenancy.session("one") as session:
        for name in (*TABLES, "qc_range", "antibiotic_guideline", "antibiotic", "guideline_year", "guideline"):
            session.execute(sa.delete(sa.table(name)))


def brought(tenancy: Tenancy, directory: Path | None) -> dict[str, Loaded]:
    with tenancy.session("one") as session:
        return {done.file: done for done in load(session, tables(directory))}


def row(code: str = "eco", *, susceptible: str = "8", resistant: str = "16", year: str = "2024") -> str:
    return f"EUCAST\t{year}\tMIC\t{code}\tWHONET_ORG_CODE\tHuman\tHuman\t\tAMP\tAMP_EM\t{resistant}\t{susceptible}"


def write(directory: Path, *rows: str) -> Path:
    (directory / "Breakpoints.txt").write_text("\r\n".join((HEAD, *rows)) + "\r\n")
    return directory


def breakpoints(tenancy: Tenancy) -> list[Any]:
    with tenancy.session("one") as session:
        columns = (Breakpoint.uid, Breakpoint.organism_code, Breakpoint.susceptible, Breakpoint.retired_at)
        return list(session.execute(sa.select(*columns).order_by(Breakpoint.organism_code, Breakpoint.uid)))


def test_published_tables_come_in_whole_and_a_second_time_nothing_changes(tenancy: Tenancy, whonet: Path) -> None:
    began = time.perf_counter()
    first = brought(tenancy, whonet)
    assert time.perf_counter() - began < 20  # seconds
    published = {name: len((whonet / name).read_bytes().splitlines()) - 1 for name in first}
    assert {name: done.added + done.rejected for name, done in first.items()} == published
    assert published["Breakpoints.2024.txt"] == 38_190
    assert first["Breakpoints.2024.txt"].rejected == 59
    with tenancy.session("one") as session:
        stamps = "SELECT count(*), max(updated_at), max(uid) FROM "
        before = {name: session.execute(sa.text(stamps + name)).one() for name in (*TABLES, "qc_range", "antibiotic")}
    assert controls_that_read_wrongly(tenancy) == []
    second = brought(tenancy, whonet)
    assert all((done.added, done.changed, done.retired) == (0, 0, 0) for done in second.values())
    with tenancy.session("one") as session:
        after = {name: session.execute(sa.text(stamps + name)).one() for name in before}
        codes = session.scalars(sa.select(Organism.code).where(Organism.taxonomic_status == "C")).all()
    assert after == before
    assert len(codes) == len(set(codes)) == 2_350


# As the guidelines publish them: guideline, strain, antibiotic, method or disk, lowest and highest.
CONTROLS = """
CLSI 25922 CIP MIC 0.004 0.016
CLSI 25922 AMP MIC 2 8
CLSI 25922 GEN MIC 0.25 1
CLSI 25922 MEM 10 28 35
CLSI 29213 VAN MIC 0.5 2
CLSI 29213 OXA MIC 0.12 0.5
CLSI 29213 PEN MIC 0.25 2
CLSI 27853 TOB MIC 0.25 1
CLSI 27853 CAZ 30 22 29
CLSI 29212 VAN MIC 1 4
CLSI 29212 LNZ MIC 1 4
CLSI 49619 PEN MIC 0.25 1
EUCAST 25922 CTX 5 25 31
EUCAST 25922 GEN 10 19 26
EUCAST 25922 CIP MIC 0.004 0.016
EUCAST 27853 CIP 5 25 33
"""


def controls_that_read_wrongly(tenancy: Tenancy) -> list[str]:
    """Those whose lowest or highest value does not pass, or the value beyond it does."""
    wrong = []
    with tenancy.session("one") as session:
        of_2024 = sa.select(Guideline.code, GuidelineYear.uid).join_from(GuidelineYear, Guideline)
        years = dict(session.execute(of_2024.where(GuidelineYear.year == 2024)).all())
        for line in CONTROLS.split("\n")[1:-1]:
            guideline, strain, antibiotic, test, low, high = line.split()
            method, disk = (Method.MIC, "") if test == "MIC" else (Method.DISK, test)
            below, above = float(low) / 2, float(high) * 2
            if method is Method.DISK:
                below, above = int(low) - 1, int(high) + 1
            values = {low: True, high: True, str(below): False, str(above): False}
            edition = Edition(years[guideline], guideline, 2024)
            asked = {"strain": f"ATCC {strain}", "antibiotic": antibiotic, "method": method, "disk": disk}
            found = {value: check_control(session, edition, value=value, **asked).passed for value in values}
            wrong += [] if found == values else [f"{line}: {found}"]
    return wrong


def test_starter_set_is_loaded_and_gives_way_to_published_tables(tenancy: Tenancy, whonet: Path) -> None:
    assert all(done.rejected == 0 for done in brought(tenancy, None).values())
    with tenancy.session("one") as session:
        began = {
            "antibiotics": session.scalar(sa.select(sa.func.count()).select_from(Antibiotic)),
            "coli": session.scalar(sa.select(Organism.uid).where(Organism.code == "eco")),
        }
    assert began["antibiotics"] == 62
    brought(tenancy, whonet)
    with tenancy.session("one") as session:
        left = session.scalars(
            sa.select(Breakpoint.uid).where(Breakpoint.source == "starter", Breakpoint.retired_at.is_(None))
        ).all()
        current = session.scalars(
            sa.select(Organism.name).where(Organism.code == "kpn", Organism.taxonomic_status == "C")
        ).all()
    assert left == []
    assert current == ["Klebsiella pneumoniae ss. pneumoniae"]
    again = brought(tenancy, None)  # and never comes back over them
    assert all(
        (done.added, done.changed, done.retired) == (0, 0, 0) for name, done in again.items() if "Exp" not in name
    )


def test_rows_that_make_no_sense_are_told_with_their_line_and_the_rest_comes_in(tmp_path: Path) -> None:
    good = row()
    directory = write(
        tmp_path,
        good,
        good,
        row(susceptible="16", resistant="8"),
        row(year="soon"),
        good.replace("WHONET_ORG_CODE", ""),
        good.replace("AMP_EM", "CTX_EM"),
        good.replace("\tMIC\t", "\tGUESS\t"),
        row(susceptible="low"),
        "EUCAST\t2024",
        row(susceptible=""),
        row("kpn"),
    )
    table = read(directory).tables[0]
    assert len(table.rows) == 2
    assert [str(rejected) for rejected in table.source.rejected] == [
        "Breakpoints.txt:3: it repeats line 2.",
        "Breakpoints.txt:4: R 8 is not above S 16, as it must be for an MIC.",
        "Breakpoints.txt:5: YEAR 'soon' is no year.",
        "Breakpoints.txt:6: ORGANISM_CODE_TYPE is empty, so it is not told which organisms eco means.",
        "Breakpoints.txt:7: WHONET_TEST CTX_EM is not of antibiotic AMP.",
        "Breakpoints.txt:8: TEST_METHOD 'GUESS' is none of MIC, DISK.",
        "Breakpoints.txt:9: S 'low' is no number.",
        "Breakpoints.txt:10: it has 2 fields, and the header 12.",
        "Breakpoints.txt:11: R has a value and S has none.",
    ]


def test_newer_table_changes_adds_and_retires_within_the_years_it_tells_of(tenancy: Tenancy, tmp_path: Path) -> None:
    brought(tenancy, write(tmp_path, row("eco"), row("kpn"), row("pmi"), row("eco", year="2023")))
    before = {found.organism_code: found.uid for found in breakpoints(tenancy) if found.organism_code != "eco"}
    done = brought(tenancy, write(tmp_path, row("eco"), row("kpn", susceptible="4"), row("cfr")))["Breakpoints.txt"]
    assert (done.added, done.changed, done.retired, done.unchanged) == (1, 1, 1, 1)
    after = breakpoints(tenancy)
    assert [(found.organism_code, found.susceptible, found.retired_at is None) for found in after] == [
        ("cfr", 8, True),
        ("eco", 8, True),
        ("eco", 8, True),  # of 2023, which the newer table does not tell of
        ("kpn", 4, True),
        ("pmi", 8, False),
    ]
    assert next(found.uid for found in after if found.organism_code == "kpn") == before["kpn"]


def test_what_a_result_cites_is_kept_as_it_was(
    tenancy: Tenancy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brought(tenancy, write(tmp_path, row("eco"), row("kpn")))
    cited = next(found.uid for found in breakpoints(tenancy) if found.organism_code == "eco")
    among: Callable[..., set[str]] = lambda session, model, uids: {cited} & set(uids)  # noqa: E731
    monkeypatch.setattr(catalogs, "cited", among)
    brought(tenancy, write(tmp_path, row("eco", susceptible="2"), row("kpn", susceptible="2")))
    rows = [found for found in breakpoints(tenancy) if found.organism_code == "eco"]
    assert {(found.uid == cited, found.susceptible, found.retired_at is None) for found in rows} == {
        (True, 8, False),
        (False, 2, True),
    }


def test_failed_load_leaves_everything_as_it_was(tenancy: Tenancy, tmp_path: Path) -> None:
    brought(tenancy, write(tmp_path, row("eco")))
    before = breakpoints(tenancy)

    def stop(done: Loaded) -> None:
        raise RuntimeError("the machine stops")

    catalog = tables(write(tmp_path, row("eco", susceptible="1"), row("kpn")))
    with pytest.raises(RuntimeError), tenancy.session("one") as session:
        load(session, catalog, progress=stop)
    assert breakpoints(tenancy) == before


def test_antibiotics_of_one_code_are_one_agent_with_its_disks(tenancy: Tenancy, tmp_path: Path) -> None:
    shutil.copy(STARTER_SET / "Antibiotics.txt", tmp_path)
    brought(tenancy, tmp_path)
    with tenancy.session("one") as session:
        found = session.execute(
            sa.select(AntibioticDisk.potency)
            .join(Antibiotic, Antibiotic.uid == AntibioticDisk.antibiotic_uid)
            .where(Antibiotic.code == "AMP")
            .order_by(AntibioticDisk.potency)
        ).all()
        assert [potency for (potency,) in found] == ["10µg", "2µg"]
        assert session.scalars(sa.select(Guideline.code)).all() == ["EUCAST"]
        assert session.scalars(sa.select(GuidelineYear.uid)).all() == []
        assert session.scalars(sa.select(QcRange.uid)).all() == []
