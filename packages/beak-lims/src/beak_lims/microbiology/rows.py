"""Tables as they were read, turned into the rows that values are interpreted by. No database."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from beak_lims.microbiology.breakpoints import BreakpointRow, OrganismGroups
from beak_lims.microbiology.expected import ExpectedResistance
from beak_lims.microbiology.expert import Agent, ExpertRule
from beak_lims.microbiology.whonet.rows import Catalog
from beak_lims.models.organism import CURRENT


@dataclass(frozen=True)
class Rows:
    """What interpretation needs of a catalog."""

    organisms: Mapping[str, OrganismGroups]
    agents: Mapping[str, Agent]
    breakpoints: Sequence[BreakpointRow]
    expected: Sequence[ExpectedResistance]
    rules: Sequence[ExpertRule]
    by_agent: Mapping[str, Sequence[BreakpointRow]] = field(repr=False)


def rows_of(catalog: Catalog) -> Rows:
    """The rows of a catalog that was read."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for table in catalog.tables:
        found[table.name] += [row.values for row in table.rows]
    breakpoints = [breakpoint_of(values) for values in found["breakpoint"]]
    by_agent: dict[str, list[BreakpointRow]] = defaultdict(list)
    for row in breakpoints:
        by_agent[row.antibiotic_code].append(row)
    return Rows(
        {row["code"]: organism_of(row) for row in found["organism"] if row["taxonomic_status"] == CURRENT},
        {row["code"]: agent_of(row) for row in reversed(found["antibiotic"])},
        breakpoints,
        [expected_of(values) for values in found["expected_res_phenotype"]],
        [rule_of(values) for values in found["expert_interpret_rule"]],
        by_agent,
    )


def organism_of(row: Mapping[str, Any]) -> OrganismGroups:
    """An organism's groups."""
    return OrganismGroups(**{name: row[name] for name in OrganismGroups.__slots__})


def agent_of(row: Mapping[str, Any]) -> Agent:
    """An antibiotic as rules name it."""
    return Agent(**{name: row[name] for name in Agent.__slots__})


def breakpoint_of(row: Mapping[str, Any]) -> BreakpointRow:
    """A breakpoint to interpret by; ``guideline`` and ``year`` are in the row."""
    return BreakpointRow(
        guideline=row["guideline"],
        year=row["year"],
        method=row["test_method"],
        **{name: row[name] for name in BreakpointRow.__slots__ if name in row and name not in ("guideline", "year")},
    )


def expected_of(row: Mapping[str, Any]) -> ExpectedResistance:
    """An expected resistance; ``guideline`` is in the row."""
    return ExpectedResistance(**{name: row[name] for name in ExpectedResistance.__slots__ if name in row})


def rule_of(row: Mapping[str, Any]) -> ExpertRule:
    """An expert rule."""
    return ExpertRule(**{name: row[name] for name in ExpertRule.__slots__ if name in row})
