"""Routes of microbiology: the reference tables, isolates with their susceptibility tests, panels and controls."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import Depends, Query
from pydantic import Field, StringConstraints
from sqlalchemy import select

from beak_lims.api.crud import Noun, add_crud
from beak_lims.api.doors import Work, permit
from beak_lims.api.fields import LINE, ByReference, Code, Incoming, Outgoing, Reference, Uid, Words
from beak_lims.api.paging import LISTED, Paged
from beak_lims.api.routing import LabRouter
from beak_lims.microbiology.breakpoints import GENERAL_SITES, Category, Preference
from beak_lims.microbiology.codes import BreakpointType, Method
from beak_lims.microbiology.isolate import Basis, Finding
from beak_lims.microbiology.reference import check_control
from beak_lims.models import (
    Antibiotic,
    AstPanel,
    AstResult,
    Breakpoint,
    Guideline,
    GuidelineYear,
    Organism,
    OrganismResult,
)
from beak_lims.services import susceptibility
from beak_lims.services.rows import referred, row
from beak_lims.services.susceptibility import Asked, Question

router = LabRouter(tags=["microbiology"], module="clinical")

Reading = Annotated[Work, Depends(permit("READ", "RESULT"))]
Changing = Annotated[Work, Depends(permit("UPDATE", "RESULT"))]
Submitting = Annotated[Work, Depends(permit("SUBMIT", "RESULT"))]

Measured = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=16, pattern=LINE)]
Disk = Annotated[str, StringConstraints(max_length=8, pattern=r"^[0-9_]*$")]
Site = Annotated[str, StringConstraints(strip_whitespace=True, max_length=255, pattern=LINE)]
TestName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,31}$")]
TestResult = Annotated[str, StringConstraints(strip_whitespace=True, max_length=16, pattern=LINE)]
OtherTests = Annotated[
    dict[TestName, TestResult],
    Field(max_length=20, description="Other tests as expert rules name them, such as MECA_PCR", examples=[{}]),
]
MAX_TESTS = 60


class GuidelineYearRow(Outgoing):
    """One year's edition of a guideline."""

    uid: str
    guideline: str
    year: int


class OrganismRow(Outgoing):
    """An organism's name, with the groups that breakpoints are told for."""

    uid: str
    code: str
    name: str
    taxonomic_status: str
    replaced_by: str
    common: bool
    organism_type: str
    anaerobe: bool
    subkingdom_code: str
    family_code: str
    genus_group: str
    genus_code: str
    species_group: str
    serovar_group: str


class AntibioticRow(Outgoing):
    """An antibiotic."""

    uid: str
    code: str
    name: str
    atc_code: str
    drug_class: str
    aware: str = Field(description="WHO: Access, Watch or Reserve")
    human: bool
    veterinary: bool


class BreakpointRow(Outgoing):
    """A breakpoint; `resistant` is inclusive for every guideline."""

    uid: str
    guideline_year_uid: str
    test_method: Method
    potency: str
    organism_code: str
    organism_code_type: str
    breakpoint_type: BreakpointType
    host: str
    site_of_infection: str
    antibiotic_code: str
    test_code: str
    susceptible: Decimal | None
    intermediate: str
    dose_dependent: str
    resistant: Decimal | None
    ecoff: Decimal | None
    retired_at: datetime | None


@router.get("/guideline-years", responses=LISTED, summary="The editions of guidelines that are loaded")
def list_guideline_years(lab: Reading, page: Paged) -> list[GuidelineYearRow]:
    found = page.of(lab, select(GuidelineYear))
    codes = dict(lab.session.execute(select(Guideline.uid, Guideline.code)).all())
    return [GuidelineYearRow(uid=one.uid, guideline=codes[one.guideline_uid], year=one.year) for one in found]


@router.get("/organisms", responses=LISTED, summary="Organisms, those in use; by code or words of their names")
def list_organisms(
    lab: Reading, page: Paged, q: Words = None, code: Annotated[Code | None, Query()] = None
) -> list[OrganismRow]:
    query = select(Organism).where(Organism.retired_at.is_(None), Organism.taxonomic_status == "C")
    if code is not None:
        query = query.where(Organism.code == code)
    if q is not None:
        query = query.where(Organism.name.icontains(q, autoescape=True))
    return [OrganismRow.model_validate(one) for one in page.of(lab, query)]


@router.get("/organisms/{uid}", summary="One organism")
def read_organism(lab: Reading, uid: Uid) -> OrganismRow:
    return OrganismRow.model_validate(row(lab.session, Organism, uid))


@router.get("/antibiotics", responses=LISTED, summary="Antibiotics, by code or words of their names")
def list_antibiotics(
    lab: Reading, page: Paged, q: Words = None, code: Annotated[Code | None, Query()] = None
) -> list[AntibioticRow]:
    query = select(Antibiotic)
    if code is not None:
        query = query.where(Antibiotic.code == code)
    if q is not None:
        query = query.where(Antibiotic.name.icontains(q, autoescape=True))
    return [AntibioticRow.model_validate(one) for one in page.of(lab, query)]


@router.get("/antibiotics/{uid}", summary="One antibiotic")
def read_antibiotic(lab: Reading, uid: Uid) -> AntibioticRow:
    return AntibioticRow.model_validate(row(lab.session, Antibiotic, uid))


@router.get("/breakpoints", responses=LISTED, summary="Breakpoints that count, of an edition or an antibiotic")
def list_breakpoints(
    lab: Reading,
    page: Paged,
    guideline_year_uid: ByReference = None,
    antibiotic_code: Annotated[Code | None, Query()] = None,
    organism_code: Annotated[Code | None, Query()] = None,
) -> list[BreakpointRow]:
    query = select(Breakpoint).where(Breakpoint.retired_at.is_(None))
    if guideline_year_uid is not None:
        query = query.where(Breakpoint.guideline_year_uid == guideline_year_uid)
    if antibiotic_code is not None:
        query = query.where(Breakpoint.antibiotic_code == antibiotic_code)
    if organism_code is not None:
        query = query.where(Breakpoint.organism_code == organism_code)
    return [BreakpointRow.model_validate(one) for one in page.of(lab, query)]


@router.get("/breakpoints/{uid}", summary="One breakpoint, retired ones too")
def read_breakpoint(lab: Reading, uid: Uid) -> BreakpointRow:
    return BreakpointRow.model_validate(row(lab.session, Breakpoint, uid))


# -- what values mean


class AskedBody(Incoming):
    """One measured value."""

    antibiotic_uid: Reference
    test_method: Method = Method.MIC
    disk: Disk = Field("", description="Of a zone: which disk, as test codes write it (10, 1_2)")
    value: Measured = Field(examples=["0.5"])


class QuestionBody(Incoming):
    """Values of one isolate, and by what they are to be read."""

    organism_uid: Reference
    guideline_year_uid: Reference
    tests: Annotated[list[AskedBody], Field(min_length=1, max_length=MAX_TESTS)]
    other_tests: OtherTests = Field(default_factory=dict)
    site_of_infection: Site = ""
    breakpoint_type: BreakpointType = BreakpointType.HUMAN
    host: Site = "Human"


class FindingRow(Outgoing):
    """What a value means, and why. Without a category nothing can be said, and the reason tells why."""

    antibiotic_code: str
    value: str
    category: Category | None
    uncertain: bool
    basis: Basis | None
    reason: str
    breakpoint_uid: str | None

    @classmethod
    def of(cls, finding: Finding) -> FindingRow:
        """As the API shows it."""
        meant, chosen = finding.interpretation, finding.choice.row
        return cls(
            antibiotic_code=finding.test.agent.code,
            value=finding.test.value,
            category=None if meant is None else meant.category,
            uncertain=meant is not None and not meant.certain,
            basis=finding.basis,
            reason=finding.reason,
            breakpoint_uid=None if chosen is None else chosen.uid,
        )


@router.post("/interpretations", summary="What measured values mean; nothing is written")
def interpret_values(lab: Reading, body: QuestionBody) -> list[FindingRow]:
    sites = (body.site_of_infection, *GENERAL_SITES) if body.site_of_infection else GENERAL_SITES
    question = Question(
        body.organism_uid,
        body.guideline_year_uid,
        [Asked(one.antibiotic_uid, one.test_method, one.value, one.disk) for one in body.tests],
        body.other_tests,
        Preference(sites, (body.breakpoint_type,), body.host),
    )
    return [FindingRow.of(finding) for finding in susceptibility.interpret_values(lab.session, question)]


class ControlBody(Incoming):
    """What was read of a control strain."""

    guideline_year_uid: Reference
    strain: Code = Field(examples=["ATCC 25922"])
    antibiotic_uid: Reference
    test_method: Method = Method.MIC
    disk: Disk = ""
    medium: Site | None = None
    value: Measured


class ControlRange(Outgoing):
    """A range in which the strain must read."""

    medium: str
    minimum: Decimal
    maximum: Decimal | None


class ControlRow(Outgoing):
    """Whether a control read as it must; null: there is no range for it."""

    passed: bool | None
    ranges: list[ControlRange]


@router.post("/qc-ranges/check", summary="Hold a control strain's value against its published range")
def check_control_strain(lab: Reading, body: ControlBody) -> ControlRow:
    edition = susceptibility.edition_of(lab.session, body.guideline_year_uid)
    agent = referred(lab.session, Antibiotic, {body.antibiotic_uid}, "antibiotic_uid")[body.antibiotic_uid]
    checked = check_control(
        lab.session,
        edition,
        strain=body.strain,
        antibiotic=agent.code,
        method=body.test_method,
        value=body.value,
        disk=body.disk,
        medium=body.medium,
    )
    ranges = [ControlRange(medium=medium, minimum=low, maximum=high) for medium, low, high in checked.ranges]
    return ControlRow(passed=checked.passed, ranges=ranges)


# -- isolates


class AstRow(Outgoing):
    """One antibiotic tested against an isolate."""

    uid: str
    organism_result_uid: str
    analysis_result_uid: str
    antibiotic_uid: str
    guideline_year_uid: str
    test_method: Method
    disk: str
    site_of_infection: str
    breakpoint_type: BreakpointType
    host: str
    value: str | None
    category: Category | None
    uncertain: bool
    basis: Basis | None
    reason: str | None
    breakpoint_uid: str | None
    judgement: dict[str, Any] | None


class IsolateRow(Outgoing):
    """An isolate of a sample."""

    uid: str
    sample_uid: str
    analysis_result_uid: str
    organism_uid: str | None
    isolate_number: int
    other_tests: dict[str, str]
    tests: list[AstRow]


def shown(lab: Work, isolate: OrganismResult) -> IsolateRow:
    """An isolate with its tests."""
    tests = [AstRow.model_validate(test) for test in susceptibility.tests_of(lab.session, isolate.uid)]
    columns = {name: getattr(isolate, name) for name in IsolateRow.model_fields if name != "tests"}
    return IsolateRow(**columns, tests=tests)


class OrganismBody(Incoming):
    """Which organism an isolate is."""

    organism_uid: Reference


class PanelBody(Incoming):
    """Which panel to test an isolate with."""

    ast_panel_uid: Reference
    site_of_infection: Site = Field("", description="Where breakpoints differ by it, such as Meningitis")


class ValueBody(Incoming):
    """What was read of one test."""

    ast_result_uid: Reference
    value: Measured


class ValuesBody(Incoming):
    """What was read of an isolate's tests."""

    values: Annotated[list[ValueBody], Field(min_length=1, max_length=MAX_TESTS)]


class OtherTestsBody(Incoming):
    """Results of other tests; an empty one takes it back."""

    tests: OtherTests


@router.get("/isolates", responses=LISTED, summary="The laboratory's isolates, newest first")
def list_isolates(
    lab: Reading, page: Paged, sample_uid: ByReference = None, organism_uid: ByReference = None
) -> list[IsolateRow]:
    query = select(OrganismResult)
    if sample_uid is not None:
        query = query.where(OrganismResult.sample_uid == sample_uid)
    if organism_uid is not None:
        query = query.where(OrganismResult.organism_uid == organism_uid)
    return [shown(lab, one) for one in page.of(lab, query, newest_first=True)]


@router.post("/samples/{uid}/isolates", status_code=201, summary="Give a sample one more isolate")
def add_isolate(lab: Changing, uid: Uid) -> IsolateRow:
    return shown(lab, susceptibility.add_isolate(lab.session, lab.context, uid))


@router.get("/isolates/{uid}", summary="One isolate with its tests")
def read_isolate(lab: Reading, uid: Uid) -> IsolateRow:
    return shown(lab, row(lab.session, OrganismResult, uid))


@router.post("/isolates/{uid}/organism", summary="Name an isolate's organism, which submits its result")
def identify_isolate(lab: Submitting, uid: Uid, body: OrganismBody) -> IsolateRow:
    return shown(lab, susceptibility.identify_isolate(lab.session, lab.context, uid, body.organism_uid))


@router.post("/isolates/{uid}/panel", summary="Ask for the antibiotics of a panel")
def apply_panel(lab: Changing, uid: Uid, body: PanelBody) -> IsolateRow:
    susceptibility.apply_panel(lab.session, lab.context, uid, body.ast_panel_uid, site=body.site_of_infection)
    return shown(lab, row(lab.session, OrganismResult, uid))


@router.post("/isolates/{uid}/values", summary="Enter what was read; all of the isolate's tests are read again")
def enter_values(lab: Submitting, uid: Uid, body: ValuesBody) -> IsolateRow:
    values = {one.ast_result_uid: one.value for one in body.values}
    susceptibility.enter_values(lab.session, lab.context, uid, values)
    return shown(lab, row(lab.session, OrganismResult, uid))


@router.post("/isolates/{uid}/other-tests", summary="Write down other tests that expert rules go by")
def note_other_tests(lab: Submitting, uid: Uid, body: OtherTestsBody) -> IsolateRow:
    return shown(lab, susceptibility.note_other_tests(lab.session, uid, body.tests))


@router.get("/ast-results/{uid}", summary="One susceptibility test")
def read_ast_result(lab: Reading, uid: Uid) -> AstRow:
    return AstRow.model_validate(row(lab.session, AstResult, uid))


add_crud(
    router,
    Noun(
        AstPanel,
        "/ast-panels",
        "LABORATORY",
        fields={"test_method": Method, "breakpoint_type": BreakpointType},
        links={"organism_uids": "organisms", "antibiotic_uids": "antibiotics"},
    ),
)
