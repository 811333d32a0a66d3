"""Routes of the organisation's audit trail, which is read and never written."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, Query
from sqlalchemy import or_, select

from beak_lims.api.doors import Work, permit
from beak_lims.api.fields import LINE, ByReference, Outgoing
from beak_lims.api.paging import LISTED, Paged
from beak_lims.api.routing import LabRouter
from beak_lims.audit import shown
from beak_lims.models import AuditLog
from beak_lims.models.base import CODE_LENGTH

router = LabRouter(tags=["audit"])

Reading = Annotated[Work, Depends(permit("READ", "ORGANISATION"))]
Word = Annotated[str | None, Query(max_length=CODE_LENGTH, pattern=LINE)]


class AuditRow(Outgoing):
    """One change of one row, or one act. What is kept encrypted is not shown, only that it changed."""

    uid: str
    at: datetime
    user_uid: str | None
    user_name: str | None
    laboratory_uid: str | None
    action: str
    target_type: str
    target_uid: str | None
    state_before: dict[str, Any] | None
    state_after: dict[str, Any] | None
    address: str | None
    request_id: str | None


@router.get("/audit", responses=LISTED, summary="What was done, newest first, page by page")
def list_audit(
    lab: Reading,
    page: Paged,
    target_type: Word = None,
    target_uid: ByReference = None,
    user_uid: ByReference = None,
    action: Word = None,
) -> list[AuditRow]:
    query = select(AuditLog)
    if not lab.context.is_superuser:
        # What was done in another laboratory is that laboratory's business.
        own = AuditLog.laboratory_uid == lab.context.laboratory_uid
        query = query.where(or_(AuditLog.laboratory_uid.is_(None), own))
    asked = {"target_type": target_type, "target_uid": target_uid, "user_uid": user_uid, "action": action}
    for name, value in asked.items():
        if value is not None:
            query = query.where(getattr(AuditLog, name) == value)
    rows = page.of(lab, query, newest_first=True)
    return [
        AuditRow.model_validate(row).model_copy(
            update={
                "state_before": shown(row.target_type, row.state_before),
                "state_after": shown(row.target_type, row.state_after),
            }
        )
        for row in rows
    ]
