"""Expected resistance: agents that are known to fail against a species, whatever a test may read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from beak_lims.microbiology.breakpoints import OrganismGroups
from beak_lims.microbiology.codes import SPECIFICITY, AntibioticCodeType, OrganismCodeType
from beak_lims.microbiology.expert import Agent


@dataclass(frozen=True, slots=True)
class ExpectedResistance:
    """Organisms of a group, but for exceptions, are resistant to an agent or to a class by its ATC code."""

    guideline: str
    organism_code: str
    organism_code_type: str
    antibiotic_code: str
    antibiotic_code_type: str
    exception_organism_codes: Sequence[str] = ()
    exception_organism_code_type: str = ""
    antibiotic_exceptions: Sequence[str] = ()
    reference_table: str = ""
    uid: str = ""

    def concerns(self, organism: OrganismGroups, agent: Agent) -> bool:
        """Whether this organism is expected to resist this agent."""
        if not organism.within(self.organism_code_type, self.organism_code):
            return False
        if any(organism.within(self.exception_organism_code_type, code) for code in self.exception_organism_codes):
            return False
        if agent.code in self.antibiotic_exceptions:
            return False
        if self.antibiotic_code_type == AntibioticCodeType.ATC_CODE:
            return agent.atc_code.startswith(self.antibiotic_code)
        return agent.code == self.antibiotic_code


def expected_resistance(
    rules: Iterable[ExpectedResistance], organism: OrganismGroups, agent: Agent, guideline: str
) -> ExpectedResistance | None:
    """The most specific rule of a guideline by which the organism resists the agent; None if there is none."""
    found = [rule for rule in rules if rule.guideline == guideline and rule.concerns(organism, agent)]
    return min(found, key=_rank, default=None)


def _rank(rule: ExpectedResistance) -> tuple[int, int]:
    kinds = list(AntibioticCodeType)
    return (
        SPECIFICITY[OrganismCodeType(rule.organism_code_type)],
        kinds.index(AntibioticCodeType(rule.antibiotic_code_type)),
    )
