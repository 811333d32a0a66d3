"""What values mean by the published tables, case by case as written down by hand, and every rule of reading them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from beak_lims.microbiology.breakpoints import (
    GENERAL_SITES,
    BreakpointRow,
    Category,
    Preference,
    choose,
    interpret,
)
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


def chosen(rows: Rows, case: Case) -> BreakpointRow | None:
    return choose(
        rows.by_agent.get(case.antibiotic, ()),
        rows.organisms[case.organism],
        antibiotic=case.antibiotic,
        method=case.method,
        guideline=case.guideline,
        year=case.year,
        disk=case.disk,
        preference=preference(case.choice),
    ).row


def reading(rows: Rows, case: Case) -> str:
    row = chosen(rows, case)
    return "-" if row is None else str(interpret(parse_measured(case.value, case.method), row))


def test_there_are_more_than_four_hundred_cases_of_every_kind(published: Rows) -> None:
    every = set(cases())
    assert len(every) > 400
    rows = [row for row in (chosen(published, case) for case in every) if row is not None]
    assert {row.organism_code_type for row in rows} >= {
        "SEROVAR_GROUP",
        "WHONET_ORG_CODE",
        "SPECIES_GROUP",
        "GENUS_CODE",
        "GENUS_GROUP",
        "FAMILY_CODE",
        "ANAEROBE+SUBKINGDOM_CODE",
        "ANAEROBE",
        "ALL",
    }
    assert {case.meaning for case in every} >= {*Category, "S?", "I?", "R?", "-"}
    assert {case.value.rstrip("0123456789.") for case in every} == {"", "<", "<=", ">", ">="}
    assert {row.breakpoint_type for row in rows} == set(BreakpointType)
    assert {row.host for row in rows if row.breakpoint_type == BreakpointType.ANIMAL} == {"Dogs", "Cats", "Horses"}
    for kind in (
        [row for row in rows if row.susceptible is not None and row.resistant is None],
        [row for row in rows if row.resistant is not None and not row.intermediate],
        [row for row in rows if row.dose_dependent],
        [row for row in rows if row.site_of_infection],
        [case for case in every if case.method is Method.DISK],
    ):
        assert len(kind) >= 10


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
