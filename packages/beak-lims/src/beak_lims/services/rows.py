"""Find the rows that a piece of work is about, and lock them in one order.

What belongs to another laboratory is not found: the session's context sees to that.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import ARRAY, Select, String, any_, bindparam, select

from beak_lims.errors import RecordNotFound, ReferenceRejected
from beak_lims.models import AnalysisResult, Sample
from beak_lims.models.base import Record

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

R = TypeVar("R", bound=Record)


def row(session: Session, model: type[R], uid: str, *, lock: bool = False) -> R:
    """The row of this uid. :raises RecordNotFound: there is none, or none that may be seen."""
    return rows(session, model, [uid], lock=lock)[0]


def rows(session: Session, model: type[R], uids: Collection[str], *, lock: bool = False) -> list[R]:
    """The rows of these uids, in the order of the uids; ``lock`` holds them until the transaction ends.

    :raises RecordNotFound: one of them is not there, or may not be seen.
    """
    wanted = list(dict.fromkeys(uids))
    if not wanted:
        return []
    found = {one.uid: one for one in session.scalars(_by_uid(model, lock), {"uids": wanted})}
    for uid in wanted:
        if uid not in found:
            raise RecordNotFound(model.__tablename__, uid)
    return [found[uid] for uid in wanted]


def referred(session: Session, model: type[R], uids: Collection[str], field: str) -> dict[str, R]:
    """The rows that a field of new work refers to, by uid.

    :raises ReferenceRejected: one of them is not there, may not be seen, or is not active any more.
    """
    wanted = set(uids)
    if not wanted:
        return {}
    found = {one.uid: one for one in session.scalars(_by_uid(model, False), {"uids": list(wanted)})}
    if wanted - found.keys() or not all(getattr(one, "active", True) for one in found.values()):
        raise ReferenceRejected(field)
    return found


@cache
def _by_uid(model: type[R], lock: bool) -> Select[R]:
    """The statement is made once, and is one text however many keys there are, so that it is prepared once."""
    # Everybody locks in the order of the keys, so that two batches never wait for each other.
    statement = select(model).where(model.uid == any_(bindparam("uids", type_=ARRAY(String)))).order_by(model.uid)
    if lock:
        statement = statement.with_for_update(of=model).execution_options(populate_existing=True)
    return statement


_SAMPLES_OF = select(AnalysisResult.sample_uid).where(
    AnalysisResult.uid == any_(bindparam("uids", type_=ARRAY(String)))
)


def locked_results(session: Session, uids: Collection[str]) -> tuple[list[AnalysisResult], dict[str, Sample]]:
    """Results with their samples by uid, all locked: the samples first, as everyone does.

    :raises RecordNotFound: one of them is not there, or may not be seen.
    """
    of_samples = set(session.scalars(_SAMPLES_OF, {"uids": list(uids)}))
    samples = {one.uid: one for one in rows(session, Sample, sorted(of_samples), lock=True)}
    return rows(session, AnalysisResult, uids, lock=True), samples


def results_of(session: Session, sample_uids: Collection[str]) -> Sequence[AnalysisResult]:
    """The results of samples, in the order in which they were asked for."""
    statement = select(AnalysisResult).where(AnalysisResult.sample_uid.in_(set(sample_uids)))
    return session.scalars(statement.order_by(AnalysisResult.uid)).all()
