"""Two people at one result or sample: one of them does it, the other is told."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from beak_lims.context import LabContext
from beak_lims.errors import ChangeRefused
from beak_lims.models import AnalysisResult, ReportImpress, ResultVerification, Sample
from beak_lims.services.reports import publish_samples
from beak_lims.services.requests import NewRequest, NewSample, register_request
from beak_lims.services.results import Entry, retest_result, submit_results, verify_results
from beak_lims.services.samples import invalidate_sample

from .conftest import Bench

PEOPLE = 6


def at_once(bench: Bench, work: Callable[[Session, LabContext], object], users: tuple[str, ...] = ("bob",)) -> int:
    """Have several people do the same at the same time; how many did it. The others were refused."""
    start = Barrier(PEOPLE)

    def attempt(number: int) -> bool:
        start.wait()
        try:
            with bench.at_work(users[number % len(users)]) as (session, context):
                work(session, context)
        except ChangeRefused:
            return False
        return True

    with ThreadPoolExecutor(PEOPLE) as pool:
        return sum(pool.map(attempt, range(PEOPLE)))


def test_a_result_is_entered_verified_and_published_once(bench: Bench) -> None:
    made = bench.register(("glu", "hiv"))
    glu, hiv = (one.uid for one in made.results)
    sample = made.samples[0].uid
    entries = [Entry(glu, "4.4"), Entry(hiv, "Negative")]
    assert at_once(bench, lambda s, c: submit_results(s, c, entries), ("ann",)) == 1
    # Two verifiers are asked for: each of the two counts once, however often they press the button.
    assert at_once(bench, lambda s, c: verify_results(s, c, [hiv]), ("bob", "cat")) == 2
    assert at_once(bench, lambda s, c: verify_results(s, c, [glu])) == 1
    assert at_once(bench, lambda s, c: publish_samples(s, c, [sample])) == 1
    with bench.at_work() as (session, _):
        verified = select(func.count()).select_from(ResultVerification)
        assert session.scalar(verified.where(ResultVerification.analysis_result_uid.in_([glu, hiv]))) == 3
        issued = select(func.count()).select_from(ReportImpress).where(ReportImpress.sample_uid == sample)
        assert session.scalar(issued) == 1
    assert at_once(bench, lambda s, c: invalidate_sample(s, c, sample, "Mixed up")) == 1
    with bench.at_work() as (session, _):
        copies = select(func.count()).select_from(Sample).where(Sample.parent_uid == sample)
        assert session.scalar(copies) == 1


def test_a_retest_is_made_once(bench: Bench) -> None:
    made = bench.register(("pot",))
    bench.submit(made, pot="9.9")
    uid = made.results[0].uid
    assert at_once(bench, lambda s, c: retest_result(s, c, uid, "Implausible", keep=False)) == 1
    with bench.at_work() as (session, _):
        children = select(func.count()).select_from(AnalysisResult).where(AnalysisResult.parent_uid == uid)
        assert session.scalar(children) == 1


def test_requests_registered_at_once_have_numbers_without_a_gap(bench: Bench) -> None:
    with bench.at_work() as (session, _):
        before = set(session.scalars(select(Sample.sample_id)))
    new = NewRequest(bench.uids["patient"], [NewSample(bench.uids["blood"], [bench.uids["glu"]])] * 2)
    turns = 4
    with ThreadPoolExecutor(turns) as pool:
        assert sum(pool.map(lambda _: at_once(bench, lambda s, c: register_request(s, c, new)), range(turns))) == 24
    with bench.at_work() as (session, _):
        after = sorted(set(session.scalars(select(Sample.sample_id).where(~Sample.sample_id.contains("_R")))) - before)
    numbers = [int(one[-5:]) for one in after]
    assert len(numbers) == 48
    assert numbers == list(range(numbers[0], numbers[0] + 48))
