"""Routes that renew the copies of set-up frozen with the work of the laboratory at work, and take that back."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Depends
from pydantic import Field

from beak_lims.api.doors import Work, permit
from beak_lims.api.fields import Incoming, Name, Outgoing, Uid
from beak_lims.api.routing import LabRouter, long_running
from beak_lims.api.rows import Reasoned
from beak_lims.snapshots import refreshing
from beak_lims.snapshots.refreshing import Refreshed, Scope

router = LabRouter(tags=["snapshots"])

Reading = Annotated[Work, Depends(permit("READ", "LABORATORY"))]
Renewing = Annotated[Work, Depends(permit("UPDATE", "LABORATORY"))]
Rewriting = Annotated[Work, Depends(permit("UPDATE", "LABORATORY", ("INVALIDATE", "SAMPLE")))]


class RefreshBody(Incoming):
    """What to renew."""

    scope: Literal["patients", "analysis-requests", "samples", "analyses", "refresh-all"] = "refresh-all"
    reason: Name | None = Field(None, description="Kept with every new version")


class RefreshedRow(Outgoing):
    """What a run did, by kind of row: how many it looked at, and how many got a new version."""

    run_uid: str
    seen: dict[str, int]
    renewed: dict[str, int]


class RunRow(Outgoing):
    """A run that renewed something."""

    run_uid: str
    at: datetime
    occasion: str
    rows: int
    taken_by: str
    reason: str | None


class RevertedRow(Outgoing):
    """What taking back a run did."""

    run_uid: str
    reverted: int
    left: int = Field(description="Rows that got another version since, and keep it")


@router.post("/snapshots/refresh", summary="Take corrections of the set-up into work that is not submitted yet")
@long_running
def refresh_snapshots(lab: Renewing, body: RefreshBody) -> RefreshedRow:
    return _told(_refreshed(lab, Scope(body.scope), body.reason))


@router.post("/snapshots/hard-refresh", summary="Take the set-up of today into all work, published too; kept as a run")
@long_running
def hard_refresh_snapshots(lab: Rewriting, body: Reasoned) -> RefreshedRow:
    return _told(_refreshed(lab, Scope.HARD, body.reason))


@router.get("/snapshots/runs", summary="What renewed something in the laboratory, newest first")
def list_snapshot_runs(lab: Reading) -> list[RunRow]:
    laboratory_uid = lab.context.laboratory_uid
    if laboratory_uid is None:
        return []
    return [RunRow.model_validate(one) for one in refreshing.runs_of(lab.session, [laboratory_uid])]


@router.post("/snapshots/runs/{uid}/revert", summary="Give the laboratory's rows of a run the version they had before")
@long_running
def revert_snapshots(lab: Rewriting, uid: Uid, body: Reasoned) -> RevertedRow:
    laboratories = [lab.context.laboratory("snapshot")]
    return RevertedRow.model_validate(refreshing.revert(lab.session, lab.context, uid, body.reason, laboratories))


def _refreshed(lab: Work, scope: Scope, reason: str | None) -> Refreshed:
    return refreshing.refresh(lab.session, lab.context, scope, [lab.context.laboratory("snapshot")], reason)


def _told(done: Refreshed) -> RefreshedRow:
    seen, renewed = ({str(kind): count for kind, count in of.items()} for of in (done.seen, done.renewed))
    return RefreshedRow(run_uid=done.run_uid, seen=seen, renewed=renewed)
