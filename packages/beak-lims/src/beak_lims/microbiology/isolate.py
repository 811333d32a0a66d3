"""All that was measured of one isolate, read together: breakpoints, then expected resistance, then expert rules.

A later reading overrules an earlier one, and each finding keeps what it was overruled from. Only what was measured is
reported: a rule adds no antibiotic.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from beak_lims.microbiology import expert
from beak_lims.microbiology.breakpoints import (
    BreakpointRow,
    Category,
    Choice,
    Interpretation,
    OrganismGroups,
    Preference,
    choose,
    interpret,
)
from beak_lims.microbiology.codes import Method
from beak_lims.microbiology.expected import ExpectedResistance, expected_resistance
from beak_lims.microbiology.expert import Agent, ExpertRule
from beak_lims.microbiology.values import parse_measured


class Basis(StrEnum):
    """What a category rests on."""

    BREAKPOINT = "breakpoint"
    EXPECTED = "expected resistance"
    EXPERT = "expert rule"


@dataclass(frozen=True, slots=True)
class Test:
    """One agent measured by one method. ``value`` as typed; empty while nothing was read."""

    __test__ = False  # no test of pytest's

    agent: Agent
    method: Method
    value: str
    guideline: str
    year: int
    disk: str = ""  # as test codes write it
    key: str = ""  # the caller's


@dataclass(frozen=True, slots=True)
class Finding:
    """What is to be reported of a test. ``interpretation`` None: nothing can be said, and ``reason`` tells why."""

    test: Test
    interpretation: Interpretation | None
    basis: Basis | None
    reason: str
    choice: Choice
    measured: Interpretation | None  # by the breakpoint alone
    rule_uid: str = ""


@dataclass(frozen=True, slots=True)
class Reference:
    """The tables to read by."""

    breakpoints: Sequence[BreakpointRow]
    expected: Sequence[ExpectedResistance] = ()
    rules: Sequence[ExpertRule] = ()
    enabled: Collection[str] = expert.ENABLED
    preference: Preference = field(default_factory=Preference)
    round_half_dilutions: bool = True


def interpret_isolate(
    organism: OrganismGroups, tests: Sequence[Test], reference: Reference, *, others: Mapping[str, str] | None = None
) -> list[Finding]:
    """A finding for each test, in order. ``others``: results of further tests by name, such as ``MECA_PCR``: ``+``.

    :raises MeasurementRejected: a value cannot be read.
    """
    findings = [_alone(organism, test, reference) for test in tests]
    measured: dict[str, list[Interpretation]] = defaultdict(list)
    for finding in findings:
        if finding.measured is not None:
            measured[finding.test.agent.code].append(finding.measured)
    holding = expert.applicable(
        reference.rules,
        organism,
        measured=measured,
        third_generation={test.agent.code for test in tests if test.agent.prof_class == expert.THIRD_GENERATION},
        tests=others,
        enabled=reference.enabled,
    )
    return [_overruled(finding, holding) for finding in findings]


def _alone(organism: OrganismGroups, test: Test, reference: Reference) -> Finding:
    choice = choose(
        reference.breakpoints,
        organism,
        antibiotic=test.agent.code,
        method=test.method,
        guideline=test.guideline,
        year=test.year,
        disk=test.disk,
        preference=reference.preference,
    )
    measured = None
    if test.value.strip():
        value = parse_measured(test.value, test.method, round_half_dilutions=reference.round_half_dilutions)
        if choice.row is not None:
            measured = interpret(value, choice.row)
    known = expected_resistance(reference.expected, organism, test.agent, test.guideline)
    if known is not None:
        reason = f"{known.guideline}: {known.organism_code} is expected to resist {known.antibiotic_code}."
        resistant = Interpretation(Category.R)
        return Finding(test, resistant, Basis.EXPECTED, reason, choice, measured, known.uid)
    if measured is None or choice.row is None:
        reason = choice.reason or f"No value of {test.agent.code} was read yet."
        return Finding(test, None, None, reason, choice, None)
    return Finding(test, measured, Basis.BREAKPOINT, _told(choice.row), choice, measured)


def _overruled(finding: Finding, holding: Sequence[ExpertRule]) -> Finding:
    rule = next((rule for rule in holding if rule.affects(finding.test.agent)), None)
    if rule is None or not finding.test.value.strip():
        return finding
    reason = f"{rule.code}: {rule.description or rule.criteria}"
    resistant = Interpretation(Category.R)
    return Finding(finding.test, resistant, Basis.EXPERT, reason, finding.choice, finding.measured, rule.uid)


def _told(row: BreakpointRow) -> str:
    unit = "mg/L" if row.method == Method.MIC else "mm"
    values = [("S", row.susceptible), ("SDD", row.dose_dependent), ("R", row.resistant), ("ECOFF", row.ecoff)]
    site = f", {row.site_of_infection}" if row.site_of_infection else ""
    told = ", ".join(f"{name} {value}" for name, value in values if value not in (None, ""))
    return f"{row.guideline} {row.year} for {row.organism_code}{site}: {told} {unit}."
