"""Issue reports: preliminary ones, the final one that publishes a sample, and amended ones that take another's place.

An issued report is kept as it was printed; what is sent or printed again is that PDF, byte for byte.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import select

from beak_lims.errors import ChangeRefused, DecryptionFailed
from beak_lims.inputs import parse_name
from beak_lims.models import ReportImpress, ReportState, Sample
from beak_lims.reports.contents import contents, logo_of
from beak_lims.reports.logo import picture_of
from beak_lims.services.following import move
from beak_lims.services.house_rules import house_rules, now
from beak_lims.services.results import rejudge
from beak_lims.services.rows import results_of, row, rows
from beak_lims.workflow.samples import IN_WORK, SampleEvent, SampleState

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from beak_lims.context import LabContext


def issue_preliminary(session: Session, context: LabContext, sample_uid: str) -> ReportImpress:
    """Issue a preliminary report of a sample in work; its state does not change.

    :raises ChangeRefused: the sample is not in work.
    """
    [sample] = rows(session, Sample, [sample_uid], lock=True)
    if SampleState(sample.status) not in IN_WORK:
        raise ChangeRefused(
            f"Sample {sample.sample_id} is {sample.status}; preliminary reports are of samples in work."
        )
    _check_reported(sample)
    return _issue(session, context, sample, ReportState.PRELIMINARY)


def publish_samples(session: Session, context: LabContext, uids: Sequence[str]) -> list[ReportImpress]:
    """Publish approved samples, each with its report: final, or amended for a corrected copy.

    :raises WrongState: a sample is not approved.
    """
    made = []
    for sample in rows(session, Sample, uids, lock=True):
        _check_reported(sample)
        move(session, context, [sample], SampleEvent.PUBLISH)
        before = _last_of_parent(session, sample)
        if before is None:
            made.append(_issue(session, context, sample, ReportState.FINAL))
        else:
            parent = row(session, Sample, before.sample_uid)
            reason = parent.invalidation_reason or "corrected"
            made.append(_issue(session, context, sample, ReportState.AMENDED, supersedes=before, reason=reason))
    return made


def publish_due(session: Session, context: LabContext, limit: int) -> list[ReportImpress]:
    """Publish at most so many of the laboratory's approved samples, those approved first; controls have no report."""
    due = (
        select(Sample.uid)
        .where(
            Sample.laboratory_uid == context.laboratory("report"),
            Sample.status == SampleState.APPROVED,
            Sample.analysis_request_uid.is_not(None),
        )
        .order_by(Sample.date_verified, Sample.uid)
        .limit(limit)
        .with_for_update(skip_locked=True)  # what somebody works on is published the next time
    )
    return publish_samples(session, context, session.scalars(due).all())


def amend_report(session: Session, context: LabContext, sample_uid: str, reason: str) -> ReportImpress:
    """Issue an amended report of a published sample, its results judged again by the copies in force now.

    That is what follows a hard refresh of the copies, or its revert: a published report never changes by itself.

    :raises WrongState: the sample is not published.
    """
    reason = parse_name("Reason", reason)
    [sample] = rows(session, Sample, [sample_uid], lock=True)
    _check_reported(sample)
    move(session, context, [sample], SampleEvent.AMEND)
    rejudge(session, context, results_of(session, [sample.uid]), reason)
    before = _last(session, sample.uid)
    return _issue(session, context, sample, ReportState.AMENDED, supersedes=before, reason=reason)


def print_report(session: Session, context: LabContext, uid: str) -> bytes:
    """The PDF of a report as it was issued; noted as printed, and the sample too if the report is its last.

    :raises RecordNotFound: there is no such report.
    """
    # The sample first, as everyone does.
    [sample] = rows(session, Sample, [row(session, ReportImpress, uid).sample_uid], lock=True)
    report = row(session, ReportImpress, uid, lock=True)
    report.printed = True
    last = _last(session, sample.uid)
    if sample.status == SampleState.PUBLISHED and last is not None and last.uid == report.uid:
        move(session, context, [sample], SampleEvent.PRINT)
    session.flush()
    return pdf_of(report)


def pdf_of(report: ReportImpress) -> bytes:
    """The PDF of a report, as it was issued. :raises DecryptionFailed: what is kept is not what was issued."""
    made = base64.b64decode(report.pdf)
    if hashlib.sha256(made).hexdigest() != report.pdf_sha256:
        raise DecryptionFailed("the PDF of a report is not the one that was issued")
    return made


def _issue(
    session: Session,
    context: LabContext,
    sample: Sample,
    state: ReportState,
    *,
    supersedes: ReportImpress | None = None,
    reason: str | None = None,
) -> ReportImpress:
    from beak_lims.reports.printing import printed  # the PDF library takes its time

    rules = house_rules(session, context, "report_impress")
    last = _last(session, sample.uid)
    number, at = 1 if last is None else last.issue + 1, now()
    told = contents(session, rules, sample, state, issue=number, issued_at=at)
    if supersedes is not None:
        earlier = row(session, Sample, supersedes.sample_uid)
        told["supersedes"] = f"report no. {supersedes.issue} of sample {earlier.sample_id}"
        told["reason"] = reason
    logo = logo_of(session, rules.laboratory_uid)
    pdf, pages = printed(told, at, None if logo is None else picture_of(logo))
    report = ReportImpress(
        laboratory_uid=sample.laboratory_uid,
        sample_uid=sample.uid,
        issue=number,
        state=state,
        supersedes_uid=None if supersedes is None else supersedes.uid,
        reason=reason,
        content=json.dumps(told, ensure_ascii=False),
        pdf=base64.b64encode(pdf).decode(),
        pdf_sha256=hashlib.sha256(pdf).hexdigest(),
        pages=pages,
        generated_by_uid=context.user_uid,
        date_generated=at,
        printed=False,
    )
    session.add(report)
    session.flush()
    return report


def _check_reported(sample: Sample) -> None:
    if sample.analysis_request_uid is None:
        raise ChangeRefused(f"Sample {sample.sample_id} is a control; no report is made of it.")


def _last(session: Session, sample_uid: str) -> ReportImpress | None:
    of_sample = select(ReportImpress).where(ReportImpress.sample_uid == sample_uid)
    return session.scalars(of_sample.order_by(ReportImpress.issue.desc()).limit(1)).first()


def _last_of_parent(session: Session, sample: Sample) -> ReportImpress | None:
    """The last report of the invalidated sample whose corrected copy this is, or of the one before that."""
    seen = sample
    while seen.parent_uid is not None:
        seen = row(session, Sample, seen.parent_uid)
        if seen.status != SampleState.INVALIDATED:
            return None
        report = _last(session, seen.uid)
        if report is not None:
            return report
    return None
