"""A laboratory with a million results: the next page of its worklist, and the copies of 100,000 results renewed.

Read through the ORM, as the API does.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session

from beak_lims.context import LabContext, bind
from beak_lims.models import Analysis, Client, Laboratory, Patient, SampleType, Specification
from beak_lims.services.requests import NewRequest, NewSample, register_request
from beak_lims.services.worklists import Place, result_worklist, sample_worklist
from beak_lims.settings import Settings
from beak_lims.snapshots.refreshing import Scope, refresh, revert
from beak_lims.tenancy import declare
from tenantry import Tenancy

SLUG = "bench"
ANALYSES = 80
PER_SAMPLE = 4
MANY = 1_000_000  # results on the worklist
RENEWED = 100_000  # results in one refresh
PAGES = 200  # of 50 rows, one after the other


@dataclass(frozen=True)
class Measured:
    """Seconds."""

    first_page: float
    median_page: float
    slowest_page: float
    of_one_analysis: float
    of_samples: float
    refresh_all: float
    refresh_nothing: float
    hard_refresh: float
    reverted: float


def measure(url: str) -> Measured:
    """Fill a new tenant of this database and time both."""
    with tempfile.TemporaryDirectory() as home:
        tenancy = declare(Settings(_env_file=None, BEAK_DATABASE_URL=url, BEAK_HOME=Path(home), SECRET_KEY="b" * 40))
        try:
            tenancy.initialize()
            tenancy.provision(SLUG, name="Bench")
            laboratory_uid = _set_up(tenancy)
            _fill(tenancy, RENEWED)
            renewed = _refresh(tenancy, laboratory_uid)
            _fill(tenancy, MANY - RENEWED)
            return Measured(*_worklist(tenancy, laboratory_uid), *renewed)
        finally:
            tenancy.close()


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _set_up(tenancy: Tenancy) -> str:
    """A laboratory with one registered request, the pattern of all the others."""
    with tenancy.session(SLUG) as session:
        laboratory_uid = session.scalars(sa.select(Laboratory.uid)).one()
    with tenancy.session(SLUG) as session:
        context = LabContext(SLUG, user_name="bench", laboratory_uid=laboratory_uid)
        bind(session, context)
        blood, client = SampleType(name="Blood", abbr="BLD"), Client(name="Clinic", code="C")
        analyses = [Analysis(name=f"Analysis {at}", keyword=f"a{at}") for at in range(ANALYSES)]
        for analysis in analyses:
            analysis.specifications = [
                Specification(gender=gender, age_min=low, age_max=low + 19, min=1, max=9, min_warn=0, max_warn=20)
                for gender in ("male", "female")
                for low in (0, 20, 40, 60)
            ]
        session.add_all([blood, client, *analyses])
        session.flush()
        patient = Patient(
            patient_id="P", client_patient_id="P", client_uid=client.uid, first_name="A", last_name="B", gender="male"
        )
        session.add(patient)
        session.flush()
        new = NewRequest(patient.uid, [NewSample(blood.uid, [one.uid for one in analyses])])
        register_request(session, context, new)
    return laboratory_uid


_SAMPLES = """
    INSERT INTO sample (uid, sample_id, analysis_request_uid, sample_type_uid, priority, status, due_date,
                        snapshot_hash, laboratory_uid)
    SELECT md5('s' || :mark || n), 'B' || :mark || n, p.analysis_request_uid, p.sample_type_uid, n % 3, 'received',
           now() + n % 1000 * interval '1 minute', p.snapshot_hash, p.laboratory_uid
    FROM generate_series(1, :samples) n, (SELECT * FROM sample ORDER BY uid LIMIT 1) p
"""
_LINKS = """
    INSERT INTO sample_analysis (sample_uid, analysis_uid)
    SELECT md5('s' || :mark || n), a.uid FROM generate_series(1, :samples) n
    JOIN (SELECT uid, row_number() OVER (ORDER BY uid) AS at FROM analysis) a
      ON (a.at - 1) / :each = n % (:kinds / :each)
"""
_RESULTS = """
    INSERT INTO analysis_result (uid, sample_uid, analysis_uid, priority, due_date, snapshot_hash, laboratory_uid)
    SELECT md5('r' || :mark || s.uid || l.analysis_uid), s.uid, l.analysis_uid, s.priority, s.due_date,
           p.snapshot_hash, s.laboratory_uid
    FROM sample s JOIN sample_analysis l ON l.sample_uid = s.uid
    JOIN (SELECT DISTINCT ON (analysis_uid) analysis_uid, snapshot_hash FROM analysis_result) p USING (analysis_uid)
    WHERE s.sample_id LIKE 'B' || :mark || '%'
"""
_VERSIONS = """
    INSERT INTO snapshot (uid, subject_type, subject_uid, version, content_hash, occasion, taken_by, laboratory_uid)
    SELECT md5(r.uid), 'analysis_result', r.uid, 1, r.snapshot_hash, 'registration', 'bench', r.laboratory_uid
    FROM analysis_result r WHERE NOT EXISTS (SELECT FROM snapshot s WHERE s.subject_uid = r.uid)
    UNION ALL
    SELECT md5(r.uid), 'sample', r.uid, 1, r.snapshot_hash, 'registration', 'bench', r.laboratory_uid
    FROM sample r WHERE NOT EXISTS (SELECT FROM snapshot s WHERE s.subject_uid = r.uid)
"""


def _fill(tenancy: Tenancy, results: int) -> None:
    """Add pending results of received samples, four to a sample."""
    given = {"mark": f"{results}x", "samples": results // PER_SAMPLE, "each": PER_SAMPLE, "kinds": ANALYSES}
    with tenancy.session(SLUG) as session:
        for statement in (_SAMPLES, _LINKS, _RESULTS, _VERSIONS):
            session.execute(sa.text(statement), given)
    with tenancy.session(SLUG) as session:
        for table in ("sample", "analysis_result", "sample_analysis", "snapshot"):
            session.execute(sa.text(f"ANALYZE {table}"))


def _refresh(tenancy: Tenancy, laboratory_uid: str) -> tuple[float, float, float, float]:
    context = LabContext(SLUG, user_name="bench")
    runs: list[str] = []

    def change(limit: int) -> None:
        with tenancy.session(SLUG) as session:
            session.execute(sa.update(Specification).values(max=limit))

    def run(scope: Scope, reason: str | None = None) -> None:
        with tenancy.session(SLUG) as session:
            done = refresh(session, context, scope, [laboratory_uid], reason)
            runs.append(done.run_uid)

    def back() -> None:
        with tenancy.session(SLUG) as session:
            revert(session, context, runs[-1], "bench")

    change(8)
    soft = _timed(lambda: run(Scope.ALL))
    nothing = _timed(lambda: run(Scope.ALL))
    change(7)
    hard = _timed(lambda: run(Scope.HARD, "bench"))
    return soft, nothing, hard, _timed(back)


def _worklist(tenancy: Tenancy, laboratory_uid: str) -> tuple[float, float, float, float, float]:
    context = LabContext(SLUG, laboratory_uid=laboratory_uid)
    with tenancy.session(SLUG) as session:
        bind(session, context)
        analysis_uid = session.scalars(sa.select(Analysis.uid).limit(1)).one()
        _results(session, context)  # the statement compiled, the catalog read
        first = statistics.median(_timed(lambda: _results(session, context)) for _ in range(20))
        one = statistics.median(_timed(lambda: _results(session, context, analysis_uid)) for _ in range(20))
        samples = statistics.median(_timed(lambda: _samples(session, context)) for _ in range(20))
        pages, after = [], None
        for _ in range(PAGES):
            start = time.perf_counter()
            found = result_worklist(session, context, after=after)
            pages.append(time.perf_counter() - start)
            last = found[-1]
            after = Place(last.priority, last.due_date, last.uid)
            session.expunge_all()
    return first, statistics.median(pages), max(pages), one, samples


def _results(session: Session, context: LabContext, analysis_uid: str | None = None) -> None:
    assert len(result_worklist(session, context, analysis_uid=analysis_uid)) == 50
    session.expunge_all()


def _samples(session: Session, context: LabContext) -> None:
    from beak_lims.workflow.samples import SampleState

    assert len(sample_worklist(session, context, status=SampleState.RECEIVED)) == 50
    session.expunge_all()


def told(figures: Measured) -> str:
    """The figures as a part of RESULTS.md."""
    lines = [
        f"| 50 of {MANY:,} pending results, the first page | {figures.first_page * 1e3:.1f} ms |",
        f"| the same, page after page for {PAGES} pages: median | {figures.median_page * 1e3:.1f} ms |",
        f"| the slowest of these | {figures.slowest_page * 1e3:.1f} ms |",
        f"| 50 of one analysis | {figures.of_one_analysis * 1e3:.1f} ms |",
        f"| 50 of {MANY // PER_SAMPLE:,} received samples | {figures.of_samples * 1e3:.1f} ms |",
        f"| `snapshot refresh-all`, {RENEWED:,} results renewed | {figures.refresh_all:.1f} s |",
        f"| the same, nothing differs | {figures.refresh_nothing:.1f} s |",
        f"| `snapshot hard-refresh`, all renewed | {figures.hard_refresh:.1f} s |",
        f"| `snapshot revert` of it | {figures.reverted:.1f} s |",
    ]
    return (
        "## A laboratory with a million results\n\nRows as objects, through the ORM. "
        "To hold: a worklist of 50 < 20 ms, "
        f"{RENEWED:,}\nresults renewed < 30 s.\n\n| | |\n| --- | ---: |\n" + "\n".join(lines) + "\n"
    )
