"""What values mean by the published tables, case by case as written down by hand, and every rule of reading them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from beak_lims.microbiology.breakpoints import GENERAL_SITES, Preference, choose, interpret
from beak_lims.microbiology.codes import BreakpointType, Method
from beak_lims.microbiology.rows import Rows
from beak_lims.microbiology.values import parse_measured

CASES = Path(__file__).with_name("data") / "interpretations.txt"


class Case(NamedTuple):
    guideline: str
    year: int
    organism: str
    antibiotic: str
    method: Method
    disk: str
    choice: str
    value: str
    meaning: str

    def __str__(self) -> str:
        return "-".join(str(part) for part in self if part)


def cases() -> Iterator[Case]:
    for line in CASES.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        edition, organism, test, choice, readings = (part.strip() for part in line.split("|"))
        guideline, year = edition.split()
        antibiotic, method, *disk = test.split()
        words = readings.split()
        for value, meaning in zip(words[::2], words[1::2], strict=True):
            yield Case(
                guideline, int(year), organism, antibiotic, Method(method), "".join(disk), choice, value, meaning
            )


def preference(choice: str) -> Preference:
    kind, *host = choice.split() or [""]
    if kind == BreakpointType.ECOFF:
        return Preference(breakpoint_types=(BreakpointType.ECOFF,))
    if kind == BreakpointType.ANIMAL:
        return Preference((*host[1:], *GENERAL_SITES), (BreakpointType.ANIMAL,), host[0])
    return Preference(sites=(choice, *GENERAL_SITES)) if choice else Preference()


def reading(rows: Rows, case: Case) -> str:
    chosen = choose(
        rows.by_agent.get(case.antibiotic, ()),
        rows.organisms[case.organism],
        antibiotic=case.antibiotic,
        method=case.method,
        guideline=case.guideline,
        year=case.year,
        disk=case.disk,
        preference=preference(case.choice),
    )
    if chosen.row is None:
        return "-"
    return str(interpret(parse_measured(case.value, case.method), chosen.row))


def test_there_are_more_than_three_hundred_cases() -> None:
    assert len(set(cases())) > 300


def test_every_case_reads_as_published(published: Rows) -> None:
    wrong = [f"{case}: {found}" for case in cases() if (found := reading(published, case)) != case.meaning]
    assert wrong == []


@pytest.mark.parametrize("edition", ["EUCAST 2024"])
def test_starter_set_reads_alike_wherever_it_has_a_breakpoint(starter: Rows, edition: str) -> None:
    guideline, year = edition.split()
    own = [
        case
        for case in cases()
        if (case.guideline, str(case.year)) == (guideline, year) and case.organism in starter.organisms
    ]
    found = {case: reading(starter, case) for case in own}
    told = {case: meaning for case, meaning in found.items() if meaning != "-"}
    assert len(told) > 150
    assert {case: meaning for case, meaning in told.items() if meaning != case.meaning} == {}
