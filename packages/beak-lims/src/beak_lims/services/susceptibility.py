"""Isolates of a sample and what they are susceptible to, on the laboratory's ordinary results.

An isolate carries the result of the analysis that asked for it, and each antibiotic a result of its own: they are
submitted here, and verified, retested and reported as any other. All tests of an isolate are read together, each time
a value comes in: an expert rule may change what an earlier value means, as long as it is not approved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from beak_lims.audit import act
from beak_lims.errors import ChangeRefused, InputRejected, ReferenceRejected
from beak_lims.microbiology.breakpoints import GENERAL_SITES, BreakpointRow, OrganismGroups, Preference, choose
from beak_lims.microbiology.codes import Method
from beak_lims.microbiology.expert import Agent
from beak_lims.microbiology.isolate import Basis, Finding, Test, interpret_isolate
from beak_lims.microbiology.reference import Edition, editions, groups_of, reference
from beak_lims.microbiology.values import parse_measured
from beak_lims.models import (
    Analysis,
    AnalysisResult,
    Antibiotic,
    AstPanel,
    AstResult,
    Organism,
    OrganismResult,
    ResultMutation,
    Sample,
    Step,
)
from beak_lims.models.organism import CURRENT
from beak_lims.seeds.setup import AST_ANTIBIOTIC, AST_ORGANISM
from beak_lims.services.following import follow
from beak_lims.services.requests import add_results
from beak_lims.services.results import Entry, submit_results
from beak_lims.services.rows import locked_results, referred, row, rows
from beak_lims.workflow.results import ResultState
from beak_lims.workflow.samples import IN_WORK, SampleState

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from beak_lims.context import LabContext


@dataclass(frozen=True)
class Asked:
    """A test to interpret, by the uids of what it is of."""

    antibiotic_uid: str
    test_method: Method
    value: str
    disk: str = ""


@dataclass(frozen=True)
class Question:
    """What is to be interpreted, and by what."""

    organism_uid: str
    guideline_year_uid: str
    tests: Sequence[Asked]
    other_tests: Mapping[str, str] = field(default_factory=dict)
    preference: Preference = field(default_factory=Preference)


def interpret_values(session: Session, question: Question) -> list[Finding]:
    """What values mean by the tenant's tables; nothing is written.

    :raises ReferenceRejected: an organism, antibiotic or guideline's year is not there.
    :raises MeasurementRejected: a value cannot be read.
    """
    organism = referred(session, Organism, {question.organism_uid}, "organism_uid")[question.organism_uid]
    edition = edition_of(session, question.guideline_year_uid)
    agents = _agents(session, {test.antibiotic_uid for test in question.tests})
    tests = [
        Test(agents[test.antibiotic_uid], test.test_method, test.value, edition.guideline, edition.year, test.disk)
        for test in question.tests
    ]
    tables = reference(session, [edition], {test.agent.code for test in tests}, preference=question.preference)
    return interpret_isolate(groups_of(organism), tests, tables, others=question.other_tests)


def edition_of(session: Session, uid: str) -> Edition:
    """:raises ReferenceRejected: there is no such year of a guideline."""
    found = editions(session, [uid])
    if uid not in found:
        raise ReferenceRejected("guideline_year_uid")
    return found[uid]


# -- isolates


def add_isolate(session: Session, context: LabContext, sample_uid: str) -> OrganismResult:
    """Give a sample one more isolate: on the result that waits for one, else on a new one.

    :raises RecordNotFound: there is no such sample. :raises ChangeRefused: it is not received, or its analysis was
    never seeded.
    """
    sample = row(session, Sample, sample_uid, lock=True)
    if SampleState(sample.status) not in IN_WORK:
        raise ChangeRefused(f"Sample {sample.sample_id} is {sample.status}; isolates are added once it is received.")
    analysis = _analysis(session, AST_ORGANISM)
    taken = select(OrganismResult.analysis_result_uid).where(OrganismResult.sample_uid == sample_uid)
    waiting = session.scalar(
        select(AnalysisResult)
        .where(
            AnalysisResult.sample_uid == sample_uid,
            AnalysisResult.analysis_uid == analysis.uid,
            AnalysisResult.status == ResultState.PENDING,
            AnalysisResult.parent_uid.is_(None),
            AnalysisResult.uid.not_in(taken),
        )
        .order_by(AnalysisResult.uid)
        .limit(1)
    )
    result = waiting or add_results(session, context, sample, [analysis.uid])[0]
    highest = select(func.max(OrganismResult.isolate_number)).where(OrganismResult.sample_uid == sample_uid)
    isolate = OrganismResult(
        laboratory_uid=sample.laboratory_uid,
        sample_uid=sample_uid,
        analysis_result_uid=result.uid,
        isolate_number=(session.scalar(highest) or 0) + 1,
        other_tests={},
    )
    session.add(isolate)
    session.flush()
    follow(session, context, [sample])
    return isolate


def identify_isolate(session: Session, context: LabContext, uid: str, organism_uid: str) -> OrganismResult:
    """Name an isolate's organism, which is the value of its result.

    :raises ReferenceRejected: there is no such organism, or the name is not in use any more.
    :raises ChangeRefused: it was named already; its result is to be done again first.
    """
    isolate = row(session, OrganismResult, uid, lock=True)
    organism = referred(session, Organism, {organism_uid}, "organism_uid")[organism_uid]
    if organism.taxonomic_status != CURRENT or organism.retired_at is not None:
        raise ReferenceRejected("organism_uid")
    pending = _pending(session, isolate.analysis_result_uid)
    if pending is None:
        raise ChangeRefused(f"Isolate {isolate.isolate_number} was named already. Have its result done again first.")
    with act(session, "identify"):
        isolate.analysis_result_uid, isolate.organism_uid = pending.uid, organism.uid
    submit_results(session, context, [Entry(pending.uid, f"Isolate {isolate.isolate_number}: {organism.name}")])
    _read_again(session, isolate, entered=())
    return isolate


def note_other_tests(session: Session, uid: str, tests: Mapping[str, str]) -> OrganismResult:
    """Write down results of other tests of an isolate, as expert rules name them; an empty one takes it back.

    :raises ChangeRefused: a test that they change the meaning of is approved.
    """
    isolate = row(session, OrganismResult, uid, lock=True)
    told = {**isolate.other_tests, **{name: value.strip() for name, value in tests.items()}}
    with act(session, "note tests"):
        isolate.other_tests = {name: value for name, value in told.items() if value}
    session.flush()
    if isolate.organism_uid is not None:
        _read_again(session, isolate, entered=())
    return isolate


def carry_isolates(session: Session, context: LabContext, original: Sample, corrected: Sample) -> None:
    """Give a corrected copy the isolates of the sample that it corrects, each with what it was tested for.

    What they are and what was read is to be entered anew: results wait for it.
    """
    of_sample = select(OrganismResult).where(OrganismResult.sample_uid == original.uid)
    for isolate in session.scalars(of_sample.order_by(OrganismResult.isolate_number)).all():
        [result] = add_results(session, context, corrected, [_analysis(session, AST_ORGANISM).uid])
        copy = OrganismResult(
            laboratory_uid=corrected.laboratory_uid,
            sample_uid=corrected.uid,
            analysis_result_uid=result.uid,
            isolate_number=isolate.isolate_number,
            other_tests={},
        )
        session.add(copy)
        session.flush()
        for test in tests_of(session, isolate.uid):
            [result] = add_results(session, context, corrected, [_analysis(session, AST_ANTIBIOTIC).uid])
            session.add(
                AstResult(
                    laboratory_uid=corrected.laboratory_uid,
                    organism_result_uid=copy.uid,
                    analysis_result_uid=result.uid,
                    antibiotic_uid=test.antibiotic_uid,
                    guideline_year_uid=test.guideline_year_uid,
                    test_method=test.test_method,
                    disk=test.disk,
                    site_of_infection=test.site_of_infection,
                    breakpoint_type=test.breakpoint_type,
                    host=test.host,
                )
            )
    session.flush()


# -- tests


def apply_panel(session: Session, context: LabContext, uid: str, panel_uid: str, *, site: str = "") -> list[AstResult]:
    """Ask for the antibiotics of a panel, those that the isolate is tested for already left out.

    ``site``: of the infection, where breakpoints differ by it.

    :raises ReferenceRejected: there is no such panel. :raises ChangeRefused: the isolate has no name yet, or its
    sample is not in work.
    """
    isolate = row(session, OrganismResult, uid, lock=True)
    panel = referred(session, AstPanel, {panel_uid}, "ast_panel_uid")[panel_uid]
    organism = _named(session, isolate)
    sample = row(session, Sample, isolate.sample_uid, lock=True)
    if SampleState(sample.status) not in IN_WORK:
        raise ChangeRefused(f"Sample {sample.sample_id} is {sample.status}; tests are added once it is received.")
    edition, method = edition_of(session, panel.guideline_year_uid), Method(panel.test_method)
    tables = reference(session, [edition], {agent.code for agent in panel.antibiotics})
    preference = _preference(site, panel.breakpoint_type, panel.host)
    present = {(test.antibiotic_uid, test.test_method, test.disk) for test in tests_of(session, uid)}
    analysis = _analysis(session, AST_ANTIBIOTIC)
    made = []
    for agent in panel.antibiotics:
        disk = ""
        if method is Method.DISK:
            disk = _disk(tables.breakpoints, groups_of(organism), agent.code, edition, preference)
        if (agent.uid, method, disk) in present:
            continue
        [result] = add_results(session, context, sample, [analysis.uid])
        made.append(
            AstResult(
                laboratory_uid=sample.laboratory_uid,
                organism_result_uid=isolate.uid,
                analysis_result_uid=result.uid,
                antibiotic_uid=agent.uid,
                guideline_year_uid=edition.uid,
                test_method=method,
                disk=disk,
                site_of_infection=site,
                breakpoint_type=panel.breakpoint_type,
                host=panel.host,
            )
        )
    session.add_all(made)
    session.flush()
    follow(session, context, [sample])
    return made


def enter_values(session: Session, context: LabContext, uid: str, values: Mapping[str, str]) -> list[AstResult]:
    """Enter what was read of an isolate's tests (values by the uid of the test); all of its tests, as they stand then.

    :raises InputRejected: a test is none of this isolate's. :raises MeasurementRejected: a value cannot be read.
    :raises ChangeRefused: a test has its value, or one that is approved would have to mean something else.
    """
    isolate = row(session, OrganismResult, uid, lock=True)
    _named(session, isolate)
    tests = {test.uid: test for test in tests_of(session, uid)}
    if not values.keys() <= tests.keys():
        raise InputRejected("Tests", str(len(values)), "one of them is not of this isolate.")
    for test_uid, value in values.items():
        test = tests[test_uid]
        parse_measured(value, Method(test.test_method))
        pending = _pending(session, test.analysis_result_uid)
        if pending is None:
            raise ChangeRefused("A test of this isolate has its value already. Have its result done again first.")
        with act(session, "measure"):
            test.analysis_result_uid, test.value = pending.uid, value.strip()
    session.flush()
    texts = _read_again(session, isolate, entered=tuple(values))
    submit_results(
        session, context, [Entry(tests[test_uid].analysis_result_uid, texts[test_uid]) for test_uid in values]
    )
    return list(tests.values())


def tests_of(session: Session, isolate_uid: str) -> Sequence[AstResult]:
    """The tests of an isolate, in the order in which they were asked for."""
    of_isolate = select(AstResult).where(AstResult.organism_result_uid == isolate_uid)
    return session.scalars(of_isolate.order_by(AstResult.uid)).all()


def _read_again(session: Session, isolate: OrganismResult, *, entered: Sequence[str]) -> dict[str, str]:
    """Interpret every test of the isolate that has a value; what is to be reported of each, by its uid.

    :raises ChangeRefused: one that is approved would mean something else.
    """
    tests = [test for test in tests_of(session, isolate.uid) if test.value is not None]
    if not tests:
        return {}
    organism = _named(session, isolate)
    agents = _agents(session, {test.antibiotic_uid for test in tests})
    names = {one.uid: one.name for one in rows(session, Antibiotic, {test.antibiotic_uid for test in tests})}
    years = editions(session, {test.guideline_year_uid for test in tests})
    codes = {agent.code for agent in agents.values()}
    findings: dict[str, Finding] = {}
    for read_by in sorted({_read_by(test) for test in tests}):
        tables = reference(session, list(years.values()), codes, preference=_preference(*read_by))
        asked = [
            Test(
                agents[test.antibiotic_uid],
                Method(test.test_method),
                test.value or "",
                years[test.guideline_year_uid].guideline,
                years[test.guideline_year_uid].year,
                test.disk,
                test.uid,
            )
            for test in tests
        ]
        # All of them each time: a rule may rest on a test of another site. Only those read alike are taken.
        found = interpret_isolate(groups_of(organism), asked, tables, others=isolate.other_tests)
        here = {test.uid for test in tests if _read_by(test) == read_by}
        findings |= {finding.test.key: finding for finding in found if finding.test.key in here}
    texts = {}
    for test in tests:
        finding = findings[test.uid]
        texts[test.uid] = reported(names[test.antibiotic_uid], finding)
        before = (test.category, test.uncertain, test.basis)
        with act(session, "interpret"):
            _write(test, finding)
        if test.uid not in entered and before != (test.category, test.uncertain, test.basis):
            _correct(session, test, texts[test.uid], names[test.antibiotic_uid])
    session.flush()
    return texts


def reported(antibiotic: str, finding: Finding) -> str:
    """A test's result in words: ``Ampicillin: R (16 mg/L)``."""
    unit = "mg/L" if finding.test.method is Method.MIC else "mm"
    read = f"{finding.test.value} {unit}"
    if finding.interpretation is None:
        return f"{antibiotic}: {read}, not interpreted"
    return f"{antibiotic}: {finding.interpretation} ({read})"


def _write(test: AstResult, finding: Finding) -> None:
    interpretation, chosen = finding.interpretation, finding.choice.row
    test.category = None if interpretation is None else interpretation.category
    test.uncertain = interpretation is not None and not interpretation.certain
    test.basis, test.reason = finding.basis, finding.reason
    test.breakpoint_uid = None if chosen is None else chosen.uid
    test.expected_res_phenotype_uid = finding.rule_uid if finding.basis is Basis.EXPECTED else None
    test.expert_interpret_rule_uid = finding.rule_uid if finding.basis is Basis.EXPERT else None
    test.judgement = None if chosen is None else _told(chosen, finding)


def _told(chosen: BreakpointRow, finding: Finding) -> dict[str, Any]:
    told = {name: str(value) for name, value in asdict(chosen).items() if value not in (None, "") and name != "uid"}
    return {**told, "measured": str(finding.measured) if finding.measured else None}


def _correct(session: Session, test: AstResult, text: str, antibiotic: str) -> None:
    """Have an earlier result say what its value means now."""
    [result], _ = locked_results(session, [test.analysis_result_uid])
    if result.status != ResultState.RESULTED:
        raise ChangeRefused(
            f"{antibiotic} of this isolate is {result.status}, and would have to mean something else: {test.reason}"
        )
    steps = select(func.max(ResultMutation.ordinal)).where(ResultMutation.analysis_result_uid == result.uid)
    session.add(
        ResultMutation(
            laboratory_uid=result.laboratory_uid,
            analysis_result_uid=result.uid,
            ordinal=(session.scalar(steps) or 0) + 1,
            step=Step.REJUDGEMENT,
            before=result.result,
            after=text,
            why=test.reason or "",
        )
    )
    with act(session, "interpret"):
        result.entered = result.result = text


def _pending(session: Session, result_uid: str) -> AnalysisResult | None:
    """The result if it waits for a value, else the one that was asked for in its place."""
    result = row(session, AnalysisResult, result_uid)
    while result.status != ResultState.PENDING:
        again = session.scalar(select(AnalysisResult).where(AnalysisResult.parent_uid == result.uid))
        if again is None:
            return None
        result = again
    return result


def _named(session: Session, isolate: OrganismResult) -> Organism:
    if isolate.organism_uid is None:
        raise ChangeRefused(f"Isolate {isolate.isolate_number} has no name yet. Identify it first.")
    return row(session, Organism, isolate.organism_uid)


def _analysis(session: Session, keyword: str) -> Analysis:
    found = session.scalar(select(Analysis).where(Analysis.keyword == keyword))
    if found is None:
        raise ChangeRefused(f"The analysis {keyword} is not set up. `beak-lims seed all --seed clinical` makes it.")
    return found


def _agents(session: Session, uids: set[str]) -> dict[str, Agent]:
    found = referred(session, Antibiotic, uids, "antibiotic_uid")
    return {uid: Agent(one.code, one.drug_class, one.prof_class, one.atc_code) for uid, one in found.items()}


def _read_by(test: AstResult) -> tuple[str, str, str]:
    return test.site_of_infection, test.breakpoint_type, test.host


def _preference(site: str, breakpoint_type: str, host: str) -> Preference:
    sites = (site, *GENERAL_SITES) if site else GENERAL_SITES
    return Preference(sites, (breakpoint_type,), host)


def _disk(
    breakpoints: Sequence[BreakpointRow],
    organism: OrganismGroups,
    antibiotic: str,
    edition: Edition,
    preference: Preference,
) -> str:
    """The one disk that the edition has for this organism; empty where it has none or several."""
    disks = sorted({row.disk for row in breakpoints if row.antibiotic_code == antibiotic and row.disk})
    fitting = [
        disk
        for disk in disks
        if choose(
            breakpoints,
            organism,
            antibiotic=antibiotic,
            method=Method.DISK,
            guideline=edition.guideline,
            year=edition.year,
            disk=disk,
            preference=preference,
        ).row
    ]
    return fitting[0] if len(fitting) == 1 else ""
