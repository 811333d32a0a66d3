"""What is to be done next in the laboratory at work: the most urgent samples and results first, then those due soonest.

A page begins where the last one ended, by an index that is sorted as the list is: it costs the same however many rows
there are and however far on the page lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVarTuple

from sqlalchemy import Select, select, tuple_

from beak_lims.errors import ChangeRefused
from beak_lims.models import Analysis, AnalysisResult, Sample
from beak_lims.workflow.results import ResultState
from beak_lims.workflow.samples import SampleState

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from beak_lims.context import LabContext

Ts = TypeVarTuple("Ts")
BETWEEN = "/"  # between the parts of a place, none of which holds it


@dataclass(frozen=True)
class Place:
    """Where a page ended: what its last row is sorted by."""

    priority: int
    due_date: datetime
    uid: str

    def __str__(self) -> str:
        return BETWEEN.join((str(self.priority), self.due_date.isoformat(), self.uid))

    @classmethod
    def parse(cls, text: str) -> Place:
        """:raises ChangeRefused: it is no place."""
        try:
            priority, due_date, uid = text.split(BETWEEN)
            return cls(int(priority), datetime.fromisoformat(due_date), uid)
        except ValueError as error:
            raise ChangeRefused("This page's cursor is damaged; begin with the first page.") from error


def result_worklist(
    session: Session,
    context: LabContext,
    *,
    status: ResultState = ResultState.PENDING,
    analysis_uid: str | None = None,
    department_uid: str | None = None,
    unassigned: bool = False,
    after: Place | None = None,
    limit: int = 50,
) -> Sequence[Any]:
    """Results of one status: some columns of each, the number and status of its sample and the name of its analysis.

    ``unassigned``: only those on no worksheet. Without a laboratory at work there are none.
    """
    # Told outright besides the session's own filter: the index begins with it.
    query = (
        select(
            AnalysisResult.uid,
            AnalysisResult.sample_uid,
            Sample.sample_id,
            Sample.status.label("sample_status"),
            AnalysisResult.analysis_uid,
            Analysis.name.label("analysis"),
            AnalysisResult.status,
            AnalysisResult.flag,
            AnalysisResult.priority,
            AnalysisResult.due_date,
            AnalysisResult.retest,
            AnalysisResult.worksheet_uid,
        )
        .join(Sample, Sample.uid == AnalysisResult.sample_uid)
        .join(Analysis, Analysis.uid == AnalysisResult.analysis_uid)
        .where(AnalysisResult.laboratory_uid == context.laboratory_uid, AnalysisResult.status == status)
    )
    if analysis_uid is not None:
        query = query.where(AnalysisResult.analysis_uid == analysis_uid)
    if department_uid is not None:
        query = query.where(Analysis.department_uid == department_uid)
    if unassigned:
        query = query.where(AnalysisResult.worksheet_uid.is_(None))
    return session.execute(_page(query, AnalysisResult, after, limit)).all()


def sample_worklist(
    session: Session,
    context: LabContext,
    *,
    status: SampleState,
    after: Place | None = None,
    limit: int = 50,
) -> Sequence[Sample]:
    """Samples of one status. Without a laboratory at work there are none."""
    query = select(Sample).where(Sample.laboratory_uid == context.laboratory_uid, Sample.status == status)
    return session.scalars(_page(query, Sample, after, limit)).all()


def _page(
    query: Select[*Ts], model: type[AnalysisResult] | type[Sample], after: Place | None, limit: int
) -> Select[*Ts]:
    if after is not None:
        place = tuple_(-after.priority, after.due_date, after.uid)
        query = query.where(tuple_(-model.priority, model.due_date, model.uid) > place)
    return query.order_by(-model.priority, model.due_date, model.uid).limit(limit)
