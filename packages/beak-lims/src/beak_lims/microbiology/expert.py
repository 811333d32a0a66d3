"""Expert rules: results of an isolate that show other agents to be useless against it, whatever was measured of them.

A rule's criteria read ``OXA=NS OR FOX=NS``: antibiotics by their code with a category, other tests by their name with a
result, all joined by AND or all by OR.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from beak_lims.microbiology.breakpoints import Category, Interpretation, OrganismGroups

ENABLED = ("MRS", "BLNAR-HFLU", "ICR")  # by default; those on ESBL are left to the laboratory
ANTIBIOTIC = re.compile(r"[A-Z]{3}")
THIRD_GENERATION = "CEPH3"  # any third-generation cephalosporin
CRITERION = re.compile(r"([A-Z0-9_]+)=(\S+)")
NOT_SUSCEPTIBLE = frozenset({Category.I, Category.SDD, Category.NS, Category.R})


@dataclass(frozen=True, slots=True)
class Agent:
    """An antibiotic as rules name it: by its code, its class or the beginning of its ATC code."""

    code: str
    drug_class: str = ""
    prof_class: str = ""
    atc_code: str = ""


@dataclass(frozen=True, slots=True)
class ExpertRule:
    """When the criteria hold for an organism of this group, what is affected is resistant."""

    code: str
    description: str
    organism_code: str
    organism_code_type: str
    criteria: str
    affected: Sequence[str]
    exceptions: Sequence[str] = ()
    uid: str = ""

    def affects(self, agent: Agent) -> bool:
        """Whether the rule changes what is reported of this agent."""
        if agent.code in self.exceptions:
            return False
        named = {name.lower() for name in self.affected}
        return agent.code.lower() in named or (bool(agent.drug_class) and agent.drug_class.lower() in named)


def parse_criteria(text: str) -> tuple[bool, list[tuple[str, str]]]:
    """Whether all criteria must hold, and the criteria as names with results.

    :raises ValueError: it is written otherwise.
    """
    parts = text.split()
    words, tests = parts[1::2], parts[::2]
    found = [CRITERION.fullmatch(test) for test in tests]
    if len(parts) % 2 == 0 or len(set(words)) > 1 or not set(words) <= {"AND", "OR"} or None in found:
        raise ValueError(f"{text!r} cannot be understood: write OXA=NS OR FOX=NS.")
    return words[:1] != ["OR"], [(match[1], match[2]) for match in found if match]


def applicable(
    rules: Iterable[ExpertRule],
    organism: OrganismGroups,
    *,
    measured: Mapping[str, Collection[Interpretation]],
    third_generation: Collection[str] = (),
    tests: Mapping[str, str] | None = None,
    enabled: Collection[str] = ENABLED,
) -> list[ExpertRule]:
    """The rules whose criteria hold for an isolate.

    ``measured``: by antibiotic code, what its own values mean (a code may have been tested by several methods).
    ``third_generation``: codes of the third-generation cephalosporins among them. ``tests``: results of other tests by
    name, such as ``MECA_PCR``: ``+``. What is uncertain fulfils no criterion.
    """
    return [
        rule
        for rule in rules
        if rule.code in enabled
        and organism.within(rule.organism_code_type, rule.organism_code)
        and _holds(rule, measured, third_generation, tests or {})
    ]


def _holds(
    rule: ExpertRule,
    measured: Mapping[str, Collection[Interpretation]],
    third_generation: Collection[str],
    tests: Mapping[str, str],
) -> bool:
    every, criteria = parse_criteria(rule.criteria)
    held = []
    for name, wanted in criteria:
        if name == THIRD_GENERATION:
            readings = [reading for code in third_generation for reading in measured.get(code, ())]
        elif ANTIBIOTIC.fullmatch(name):
            readings = list(measured.get(name, ()))
        else:
            held.append(tests.get(name, "").strip().lower() == wanted.lower())
            continue
        accepted = NOT_SUSCEPTIBLE if wanted == Category.NS else frozenset({wanted})
        held.append(any(reading.certain and reading.category in accepted for reading in readings))
    return all(held) if every else any(held)
