"""Which breakpoint applies to an isolate, and what a value means by it.

WHONET's precedence: of the rows for this agent, method, guideline and year, the one told for the smallest group of
organisms that holds the isolate's; among those the first site of infection that is asked for. A row without values
stops the search, it says that there is no breakpoint for those organisms. Pure functions over rows: no database.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from beak_lims.microbiology.codes import (
    SPECIFICITY,
    USER_DEFINED,
    BreakpointType,
    Method,
    OrganismCodeType,
)
from beak_lims.microbiology.values import Measured, dilution, parse_range

ANY_SITE = ""  # of a breakpoint that names none
# Sites that stand for systemic treatment. Others, such as meningitis or the urinary tract, are used when asked for.
GENERAL_SITES = (
    ANY_SITE,
    "Non-meningitis",
    "Parenteral",
    "Intravenous",
    "Non-pneumonia",
    "Extraintestinal",
    "Other infections",
    "Other indications",
    "Screen",  # of resistance, by an agent that stands for others
)
# A published table writes "never susceptible, whatever is measured" as a value that no test reads.
OFF_SCALE_MIC = Decimal("0.001")  # mg/L and below
OFF_SCALE_ZONE = Decimal(50)  # mm and above


class Category(StrEnum):
    """What a value means for treatment, or (the last two) for the microbe alone."""

    S = "S"  # susceptible, standard dosing
    SDD = "SDD"  # susceptible, dose-dependent
    I = "I"  # noqa: E741 - intermediate; for EUCAST: susceptible, increased exposure
    NS = "NS"  # not susceptible; nothing tells I from R
    R = "R"  # resistant
    WT = "WT"  # wild type
    NWT = "NWT"  # not wild type


@dataclass(frozen=True, slots=True)
class OrganismGroups:
    """An organism and the groups it belongs to, by their codes; empty where it is in none."""

    code: str
    serovar_group: str = ""
    species_group: str = ""
    genus_code: str = ""
    genus_group: str = ""
    family_code: str = ""
    subkingdom_code: str = ""
    anaerobe: bool = False

    def within(self, kind: str, code: str) -> bool:
        """Whether an organism code of this kind means this organism."""
        match kind:
            case OrganismCodeType.ALL:
                return True
            case OrganismCodeType.ANAEROBE:
                return self.anaerobe
            case OrganismCodeType.ANAEROBE_SUBKINGDOM_CODE:
                return self.anaerobe and bool(self.subkingdom_code) and code == f"AN{self.subkingdom_code}"
            case OrganismCodeType.WHONET_ORG_CODE:
                return self.code == code
            case OrganismCodeType.SEROVAR_GROUP:
                own = self.serovar_group
            case OrganismCodeType.SPECIES_GROUP:
                own = self.species_group
            case OrganismCodeType.GENUS_CODE:
                own = self.genus_code
            case OrganismCodeType.GENUS_GROUP:
                own = self.genus_group
            case OrganismCodeType.FAMILY_CODE:
                own = self.family_code
            case OrganismCodeType.SUBKINGDOM_CODE:
                own = self.subkingdom_code
            case _:
                return False
        return bool(own) and own == code


@dataclass(frozen=True, slots=True)
class BreakpointRow:
    """A breakpoint as its table tells it; ``resistant`` is inclusive."""

    guideline: str
    year: int
    method: str
    organism_code: str
    organism_code_type: str
    breakpoint_type: str
    host: str
    site_of_infection: str
    antibiotic_code: str
    test_code: str
    susceptible: Decimal | None = None
    intermediate: str = ""
    dose_dependent: str = ""
    resistant: Decimal | None = None
    ecoff: Decimal | None = None
    potency: str = ""
    variant: int = 1
    uid: str = ""

    @property
    def sites(self) -> list[str]:
        """The sites of infection it is for; one that is empty where it names none."""
        return [site.strip().lower() for site in self.site_of_infection.split(",")]

    @property
    def disk(self) -> str:
        """Which disk it is for, as its test code names it: 10 of AMP_ND10; empty for an MIC."""
        return disk_of(self.test_code) if self.method == Method.DISK else ""

    @property
    def empty(self) -> bool:
        """Whether it has no value to compare with."""
        return (self.ecoff if self.breakpoint_type == BreakpointType.ECOFF else self.susceptible) is None


def disk_of(test_code: str) -> str:
    """The disk of a test code: 10 of AMP_ND10, 1_2 of SXT_ED1_2."""
    _, _, rest = test_code.partition("_")
    return rest[2:] if rest[1:2] == "D" else ""


@dataclass(frozen=True, slots=True)
class Preference:
    """What a laboratory wants breakpoints to be chosen by; what comes first is preferred."""

    sites: Sequence[str] = GENERAL_SITES
    breakpoint_types: Sequence[str] = (BreakpointType.HUMAN,)
    host: str = "Human"
    user_defined: bool = False  # whether the laboratory's own breakpoints go before the published ones

    @classmethod
    def for_site(cls, site: str, **rest: object) -> Preference:
        """This site first, and the general ones where nothing is told for it."""
        return cls(sites=(site, *GENERAL_SITES), **rest)  # type: ignore[arg-type]  # fields by name


@dataclass(frozen=True, slots=True)
class Choice:
    """The breakpoint to use, or why there is none; ``rivals`` are as specific, come later and say otherwise."""

    row: BreakpointRow | None
    reason: str = ""
    rivals: tuple[BreakpointRow, ...] = ()


def choose(
    rows: Iterable[BreakpointRow],
    organism: OrganismGroups,
    *,
    antibiotic: str,
    method: str,
    guideline: str,
    year: int,
    disk: str = "",
    preference: Preference | None = None,
) -> Choice:
    """The breakpoint for one agent and organism.

    ``disk``: of which content, as test codes write it (10, 1_2); needed where the table has several.
    """
    preference = preference or Preference()
    ranked = sorted(
        (
            (rank, row)
            for row in rows
            if row.antibiotic_code == antibiotic
            and row.method == method
            and (not disk or row.disk == disk)
            and _of_edition(row, guideline, year, preference)
            and (rank := _rank(row, organism, preference)) is not None
        ),
        key=lambda pair: pair[0],
    )
    if not ranked:
        return Choice(None, f"{guideline} {year} has no breakpoint of {antibiotic} ({method}) for {organism.code}.")
    (best, row), *others = ranked
    rivals = [other for rank, other in others if rank[:4] == best[:4] and not other.empty]
    disks = sorted({rival.disk for rival in (row, *rivals)})
    if len(disks) > 1:
        return Choice(None, f"{antibiotic} has breakpoints for the disks {', '.join(disks)}: say which was used.")
    if row.empty:
        return Choice(None, f"{guideline} {year} tells that {antibiotic} has no breakpoint for {row.organism_code}.")
    return Choice(row, rivals=tuple(rival for rival in rivals if _values(rival) != _values(row)))


def _of_edition(row: BreakpointRow, guideline: str, year: int, preference: Preference) -> bool:
    if row.guideline == USER_DEFINED:
        return preference.user_defined
    return row.guideline == guideline and row.year == year


def _rank(row: BreakpointRow, organism: OrganismGroups, preference: Preference) -> tuple[int, ...] | None:
    """Its place among the rows that apply, the least first; None if it does not apply."""
    kind = row.breakpoint_type
    if kind not in preference.breakpoint_types or not organism.within(row.organism_code_type, row.organism_code):
        return None
    # The wild type is the same in every host.
    if kind != BreakpointType.ECOFF and row.host.lower() != ("human" if kind == "Human" else preference.host.lower()):
        return None
    sites = [site.lower() for site in preference.sites]
    wanted = [sites.index(site) for site in row.sites if site in sites]
    if not wanted:
        return None
    return (
        int(row.guideline != USER_DEFINED),
        list(preference.breakpoint_types).index(kind),
        SPECIFICITY[OrganismCodeType(row.organism_code_type)],
        min(wanted),
        int(row.empty),  # a table that tells the same row twice, once without values, means the values
        row.variant,
    )


def _values(row: BreakpointRow) -> tuple[object, ...]:
    return row.susceptible, row.intermediate, row.dose_dependent, row.resistant, row.ecoff


@dataclass(frozen=True, slots=True)
class Interpretation:
    """What a value means. Not ``certain``: it is off the scale, and what is beyond could mean otherwise (``S?``)."""

    category: Category
    certain: bool = True

    def __str__(self) -> str:
        return self.category if self.certain else f"{self.category}?"


def interpret(measured: Measured, row: BreakpointRow) -> Interpretation:
    """What a value means by a breakpoint that has values.

    Between S and R is SDD where the row gives a range for it, else I. Without R, what is not S is NS, not R. Where S is
    a value that no test reads, nothing is S.

    :raises ValueError: the row is empty.
    """
    if row.empty:
        raise ValueError(f"The breakpoint of {row.test_code} for {row.organism_code} has no values.")
    # An MIC falls and a zone grows with susceptibility.
    low, high = measured.low, measured.high
    susceptible_end, resistant_end = (low, high) if row.method == Method.MIC else (high, low)
    best, worst = _category(susceptible_end, row, best=True), _category(resistant_end, row, best=False)
    if best == worst:
        return Interpretation(best)
    if susceptible_end is None:
        return Interpretation(best, certain=False)
    if best not in (Category.S, Category.WT):
        return Interpretation(Category.NS)
    return Interpretation(worst, certain=False)


def _category(value: Decimal | None, row: BreakpointRow, *, best: bool) -> Category:
    """Of one value; None means beyond every value, towards the susceptible end (``best``) or the resistant one."""
    mic = row.method == Method.MIC
    if value is None:
        value = Decimal(0) if best == mic else Decimal("Infinity")
    if row.breakpoint_type == BreakpointType.ECOFF:
        return Category.WT if _reaches(value, row.ecoff, mic=mic) else Category.NWT
    limit = row.susceptible
    off_scale = limit is not None and (limit <= OFF_SCALE_MIC if mic else limit >= OFF_SCALE_ZONE)
    if not off_scale and _reaches(value, limit, mic=mic):
        return Category.S
    if row.resistant is None:
        return Category.NS
    if value >= dilution(row.resistant) if mic else value <= row.resistant:
        return Category.R
    return Category.SDD if _dose_dependent(value, row, mic=mic) else Category.I


def _reaches(value: Decimal, limit: Decimal | None, *, mic: bool) -> bool:
    """Whether a value is as susceptible as a limit, or more."""
    if limit is None:
        return False
    return value <= dilution(limit) if mic else value >= limit


def _dose_dependent(value: Decimal, row: BreakpointRow, *, mic: bool) -> bool:
    bounds = parse_range(row.dose_dependent)
    if bounds is None:
        return False
    low, high = bounds
    if mic:
        return (low is None or dilution(low) <= value) and value <= dilution(high)
    # A zone beyond the range is more susceptible still, where no S is reachable.
    return (low is None or low <= value) and (value <= high or value.is_infinite())
