"""Antibiograms of a report: of each isolate what it was tested for, and what the values mean by which guideline.

A test is found by the result that it hangs on, or by the one that was done again in its place. Nothing is interpreted
here: a category is the one that was verified with its value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from beak_lims.microbiology.codes import BreakpointType, Method
from beak_lims.microbiology.isolate import Basis
from beak_lims.microbiology.reference import editions
from beak_lims.models import AnalysisResult, Antibiotic, AstResult, OrganismResult
from beak_lims.workflow.results import ResultState

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

UNITS = {Method.MIC: "mg/L", Method.DISK: "mm"}


@dataclass(frozen=True)
class Tested:
    """Of which isolate a result is, and what the report says of it while it is approved."""

    isolate_number: int
    antibiotic: str
    test: str  # how it was measured
    category: str
    value: str
    read_by: str


def tests_of(session: Session, sample_uid: str, results: Sequence[AnalysisResult]) -> dict[str, Tested]:
    """The tests among a sample's results, by the result's uid."""
    rows = session.execute(
        select(AstResult, OrganismResult.isolate_number, Antibiotic.name)
        .join(OrganismResult, OrganismResult.uid == AstResult.organism_result_uid)
        .join(Antibiotic, Antibiotic.uid == AstResult.antibiotic_uid)
        .where(OrganismResult.sample_uid == sample_uid)
    ).all()
    if not rows:
        return {}
    years = editions(session, {row.AstResult.guideline_year_uid for row in rows})
    by_result = {row.AstResult.analysis_result_uid: row for row in rows}
    lineage = select(AnalysisResult.uid, AnalysisResult.parent_uid).where(AnalysisResult.sample_uid == sample_uid)
    parents = {row.uid: row.parent_uid for row in session.execute(lineage)}
    found: dict[str, Tested] = {}
    for one in results:
        at: str | None = one.uid
        while at is not None and at not in by_result:
            at = parents.get(at)
        if at is None:
            continue
        test, number, antibiotic = by_result[at]
        edition = years[test.guideline_year_uid]
        found[one.uid] = Tested(
            number,
            antibiotic,
            test.test_method if test.test_method == Method.MIC else f"Disk {test.disk}".rstrip(),
            "not interpreted" if test.category is None else f"{test.category}{'?' if test.uncertain else ''}",
            f"{test.value} {UNITS[Method(test.test_method)]}",
            _read_by(test, f"{edition.guideline} {edition.year}"),
        )
    return found


def titles_of(session: Session, sample_uid: str) -> dict[int, str]:
    """The isolates of a sample as they are headed, by number. One whose name is not approved has none yet."""
    rows = session.execute(
        select(OrganismResult.isolate_number, AnalysisResult.result, AnalysisResult.status)
        .join(AnalysisResult, AnalysisResult.uid == OrganismResult.analysis_result_uid)
        .where(OrganismResult.sample_uid == sample_uid)
    )
    return {
        row.isolate_number: row.result if row.status == ResultState.APPROVED else f"Isolate {row.isolate_number}"
        for row in rows
    }


def antibiograms(
    titles: Mapping[int, str], tests: Mapping[str, Tested], told: Mapping[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """What the report says of each isolate that was tested. ``told``: what it says of each result, by uid."""
    made = []
    for number in sorted({test.isolate_number for test in tests.values()}):
        of_isolate = [(test, told[uid]) for uid, test in tests.items() if test.isolate_number == number]
        shown = sorted(of_isolate, key=lambda pair: (pair[0].antibiotic, pair[0].test))
        made.append({"title": titles[number], "tests": [_said(test, result) for test, result in shown]})
    return made


def _said(test: Tested, result: Mapping[str, Any]) -> dict[str, Any]:
    approved = result["verified_at"] is not None
    # As it was called when it was verified: reference tables change.
    name = result["result"].rpartition(": ")[0] if approved else test.antibiotic
    return {
        "analysis": name,
        "category": test.category if approved else result["result"],
        "value": test.value if approved else None,
        "test": test.test,
        "read_by": test.read_by if approved else None,
        "note": result["note"],
        "verified_by": result["verified_by"],
        "verified_at": result["verified_at"],
    }


def _read_by(test: AstResult, edition: str) -> str:
    if test.basis is not None and test.basis != Basis.BREAKPOINT:
        return f"{edition}, {test.basis}"
    of_host = {BreakpointType.HUMAN: "", BreakpointType.ECOFF: "wild type"}.get(
        BreakpointType(test.breakpoint_type), test.host
    )
    return ", ".join(filter(None, (edition, of_host, test.site_of_infection)))
