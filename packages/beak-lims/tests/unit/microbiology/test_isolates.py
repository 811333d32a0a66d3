"""All of an isolate's tests read together: expected resistance overrules a value, and expert rules overrule both."""

from __future__ import annotations

from decimal import Decimal

import pytest

from beak_lims.microbiology.breakpoints import (
    BreakpointRow,
    Category,
    Interpretation,
    OrganismGroups,
    Preference,
    choose,
    interpret,
)
from beak_lims.microbiology.codes import USER_DEFINED, Method
from beak_lims.microbiology.expert import parse_criteria
from beak_lims.microbiology.isolate import Basis, Finding, Reference, Test, interpret_isolate
from beak_lims.microbiology.rows import Rows
from beak_lims.microbiology.values import parse_measured


def read(
    rows: Rows,
    organism: str,
    *tests: str,
    guideline: str = "EUCAST",
    others: dict[str, str] | None = None,
    enabled: tuple[str, ...] | None = None,
) -> dict[str, Finding]:
    """Findings by antibiotic; a test reads ``OXA 4`` for an MIC or ``FOX/30 20`` for a disk."""
    asked = []
    for test in tests:
        agent, _, value = test.partition(" ")
        code, _, disk = agent.partition("/")
        method = Method.DISK if disk else Method.MIC
        asked.append(Test(rows.agents[code], method, value, guideline, 2024, disk))
    known = {test.agent.code for test in asked}
    breakpoints = [row for code in known for row in rows.by_agent.get(code, ())]
    reference = Reference(breakpoints, rows.expected, rows.rules)
    if enabled is not None:
        reference = Reference(breakpoints, rows.expected, rows.rules, enabled)
    found = interpret_isolate(rows.organisms[organism], asked, reference, others=others)
    return {finding.test.agent.code: finding for finding in found}


def told(findings: dict[str, Finding]) -> dict[str, str]:
    return {code: str(finding.interpretation or "-") for code, finding in findings.items()}


@pytest.fixture(params=["published", "starter"])
def rows(request: pytest.FixtureRequest) -> Rows:
    found: Rows = request.getfixturevalue(request.param)
    return found


def test_klebsiella_is_reported_resistant_to_ampicillin_whatever_was_read(rows: Rows) -> None:
    found = read(rows, "kpn", "AMP 4", "CTX 0.5")
    assert told(found) == {"AMP": "R", "CTX": "S"}
    assert found["AMP"].basis is Basis.EXPECTED
    assert str(found["AMP"].measured) == "S"
    assert "expected to resist AMP" in found["AMP"].reason


def test_expected_resistance_holds_before_anything_is_read(rows: Rows) -> None:
    assert told(read(rows, "pmi", "COL ", "MEM ")) == {"COL": "R", "MEM": "-"}


@pytest.mark.parametrize(
    ("organism", "agent"),
    [("sma", "COL"), ("mmo", "NIT"), ("pae", "TCY"), ("pma", "MEM"), ("efa", "CXM"), ("sau", "ATM"), ("aba", "AMP")],
)
def test_expected_resistance_by_species(rows: Rows, organism: str, agent: str) -> None:
    assert told(read(rows, organism, f"{agent} 0.01")) == {agent: "R"}


def test_exceptions_of_an_expected_resistance_are_left_out(published: Rows) -> None:
    # EUCAST: Enterobacterales resist azithromycin, but for Salmonella and Shigella.
    assert told(read(published, "kpn", "AZM 1")) == {"AZM": "R"}
    assert told(read(published, "sal", "AZM 1"))["AZM"] != "R"


def test_class_of_agents_is_expected_to_fail_by_its_atc_code(published: Rows) -> None:
    # All aminoglycosides against anaerobes, by J01G.
    assert told(read(published, "bfr", "GEN 1", "AMK 1")) == {"GEN": "R", "AMK": "R"}


def test_methicillin_resistance_takes_the_beta_lactams_with_it_but_for_ceftaroline(rows: Rows) -> None:
    found = read(rows, "sau", "FOX/30 18", "OXA 0.5", "CTX 1", "MEM 0.5", "CPT 0.5", "GEN 1")
    assert told(found) == {"FOX": "R", "OXA": "R", "CTX": "R", "MEM": "R", "CPT": "S", "GEN": "S"}
    assert found["MEM"].basis is Basis.EXPERT
    assert found["MEM"].reason.startswith("MRS: ")
    susceptible = read(rows, "sau", "FOX/30 26", "OXA 0.5", "GEN 1")
    assert told(susceptible) == {"FOX": "S", "OXA": "S", "GEN": "S"}


def test_methicillin_resistance_by_another_test(rows: Rows) -> None:
    assert told(read(rows, "sau", "OXA 0.5", "CTX 1", others={"MECA_PCR": "+"})) == {"OXA": "R", "CTX": "R"}
    assert told(read(rows, "sau", "OXA 0.5", others={"MECA_PCR": "-"})) == {"OXA": "S"}


def test_ampicillin_resistance_without_beta_lactamase_in_haemophilus(rows: Rows) -> None:
    asked = ("AMP 4", "AMC 1", "CXM 0.5", "CTX 0.06")
    assert told(read(rows, "hin", *asked, others={"BETA_LACT": "-"})) == {
        "AMP": "R",
        "AMC": "R",
        "CXM": "R",
        "CTX": "S",
    }
    with_enzyme = told(read(rows, "hin", *asked, others={"BETA_LACT": "+"}))
    assert (with_enzyme["AMC"], with_enzyme["CTX"]) == ("S", "S")
    assert told(read(rows, "hin", *asked))["AMC"] == "S"  # and the enzyme was not looked for


def test_inducible_resistance_takes_clindamycin(rows: Rows) -> None:
    induced = {"MLS_DTEST": "+"}
    assert told(read(rows, "sau", "ERY 8", "CLI 0.12", "LNZ 1", others=induced)) == {
        "ERY": "R",
        "CLI": "R",
        "LNZ": "S",
    }
    assert told(read(rows, "spn", "CLI 0.12", others=induced)) == {"CLI": "R"}
    assert told(read(rows, "efa", "LNZ 1", others=induced)) == {"LNZ": "S"}


def test_rules_that_are_not_enabled_change_nothing(published: Rows) -> None:
    asked = ("CTX 8", "FEP 0.5")
    assert told(read(published, "eco", *asked)) == {"CTX": "R", "FEP": "S"}
    assert told(read(published, "sau", "OXA 0.5", others={"MECA_PCR": "+"}, enabled=())) == {"OXA": "S"}


def test_what_is_uncertain_proves_nothing(rows: Rows) -> None:
    # Above 1 may be 2, susceptible, or more: no ground to call the isolate methicillin-resistant.
    found = read(rows, "sau", "OXA >0.5", "GEN 1")
    assert told(found) == {"OXA": "R?", "GEN": "S"}


def test_disk_must_be_named_where_a_table_has_several(published: Rows) -> None:
    organism = published.organisms["eco"]
    asked = {"antibiotic": "AMC", "method": Method.DISK, "guideline": "EUCAST", "year": 2024}
    rows = published.by_agent["AMC"]
    assert choose(rows, published.organisms["hin"], disk="2", **asked).row is not None  # type: ignore[arg-type]
    assert choose(rows, organism, disk="20", **asked).row is not None  # type: ignore[arg-type]
    assert choose(rows, organism, disk="2", **asked).row is None  # type: ignore[arg-type]


ECO = OrganismGroups("eco", "ECO", "", "ESC", "", "EBC", "-")


def row(kind: str, code: str, susceptible: str | None, resistant: str | None, **rest: object) -> BreakpointRow:
    values = {name: None if value is None else Decimal(value) for name, value in (("s", susceptible), ("r", resistant))}
    guideline = str(rest.pop("guideline", "EUCAST"))
    return BreakpointRow(
        guideline, 2024, "MIC", code, kind, "Human", "Human", str(rest.pop("site", "")), "AMP", "AMP_EM",
        susceptible=values["s"], resistant=values["r"], **rest,  # type: ignore[arg-type]
    )  # fmt: skip


PRECEDENCE = [
    ("SEROVAR_GROUP", "ECO"),
    ("WHONET_ORG_CODE", "eco"),
    ("SPECIES_GROUP", "ESX"),
    ("GENUS_CODE", "ESC"),
    ("GENUS_GROUP", "GGG"),
    ("FAMILY_CODE", "EBC"),
    ("ANAEROBE+SUBKINGDOM_CODE", "AN-"),
    ("ANAEROBE", "ANA"),
    ("ALL", "ALL"),
]


def test_smaller_group_goes_before_every_wider_one() -> None:
    organism = OrganismGroups("eco", "ECO", "ESX", "ESC", "GGG", "EBC", "-", anaerobe=True)
    rows = [row(kind, code, str(2**n), str(2 ** (n + 1))) for n, (kind, code) in enumerate(PRECEDENCE)]
    asked = {"antibiotic": "AMP", "method": "MIC", "guideline": "EUCAST", "year": 2024}
    for n in range(len(rows)):
        chosen = choose(reversed(rows[n:]), organism, **asked)  # type: ignore[arg-type]
        assert chosen.row == rows[n]


def test_laboratorys_own_breakpoints_go_first_where_it_wants_them() -> None:
    rows = [row("WHONET_ORG_CODE", "eco", "8", "16"), row("ALL", "ALL", "1", "2", guideline=USER_DEFINED)]
    asked = {"antibiotic": "AMP", "method": "MIC", "guideline": "EUCAST", "year": 2024}
    assert choose(rows, ECO, **asked).row == rows[0]  # type: ignore[arg-type]
    assert choose(rows, ECO, preference=Preference(user_defined=True), **asked).row == rows[1]  # type: ignore[arg-type]


def test_row_told_twice_counts_with_its_values_and_the_other_is_named() -> None:
    empty, first = row("FAMILY_CODE", "EBC", None, None), row("FAMILY_CODE", "EBC", "8", "16", variant=2)
    other = row("FAMILY_CODE", "EBC", "4", "8", variant=3)
    chosen = choose([other, empty, first], ECO, antibiotic="AMP", method="MIC", guideline="EUCAST", year=2024)
    assert chosen.row == first
    assert chosen.rivals == (other,)


def test_blank_intermediate_column_is_no_obstacle() -> None:
    breakpoint_row = row("FAMILY_CODE", "EBC", "1", "8")
    assert interpret(parse_measured("4", Method.MIC), breakpoint_row) == Interpretation(Category.I)


def test_breakpoint_without_values_interprets_nothing() -> None:
    with pytest.raises(ValueError, match="no values"):
        interpret(parse_measured("4", Method.MIC), row("FAMILY_CODE", "EBC", None, None))


@pytest.mark.parametrize("text", ["", "OXA", "OXA=NS FOX=NS", "OXA=NS OR FOX=NS AND CTX=R", "OXA=NS XOR FOX=NS", "=R"])
def test_criteria_that_cannot_be_understood_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cannot be understood"):
        parse_criteria(text)
