"""What the laboratory at work has decided: its settings, and the organisation's time zone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import bindparam, select

from beak_lims.errors import RecordNotFound
from beak_lims.models import Laboratory, LaboratorySetting, Organization

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from beak_lims.context import LabContext


@dataclass(frozen=True)
class HouseRules:
    """The settings of one laboratory that its work depends on."""

    laboratory_uid: str
    timezone: str
    allow_self_verification: bool
    allow_patient_registration: bool
    allow_sample_registration: bool
    allow_worksheet_creation: bool
    auto_receive_samples: bool

    @property
    def zone(self) -> ZoneInfo:
        """The time zone; UTC if this machine does not know it."""
        try:
            return ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError):
            return ZoneInfo("UTC")

    def today(self) -> date:
        """The date in the laboratory."""
        return now().astimezone(self.zone).date()

    def local(self, moment: datetime) -> datetime:
        """A moment as the laboratory's clocks show it."""
        return moment.astimezone(self.zone)


_RULES = (
    select(
        Organization.timezone,
        LaboratorySetting.allow_self_verification,
        LaboratorySetting.allow_patient_registration,
        LaboratorySetting.allow_sample_registration,
        LaboratorySetting.allow_worksheet_creation,
        LaboratorySetting.auto_receive_samples,
    )
    .select_from(Laboratory)
    .join(Organization, Organization.uid == Laboratory.organization_uid)
    .join(LaboratorySetting, LaboratorySetting.laboratory_uid == Laboratory.uid)
    .where(Laboratory.uid == bindparam("laboratory"))
)


def now() -> datetime:
    """This moment."""
    return datetime.now(UTC)


def house_rules(session: Session, context: LabContext, what: str) -> HouseRules:
    """The rules of the laboratory at work. ``what``: the thing that is to be made.

    :raises LaboratoryRequired: no laboratory is at work.
    """
    uid = context.laboratory(what)
    found = session.execute(_RULES, {"laboratory": uid}).one_or_none()
    if found is None:
        raise RecordNotFound("laboratory", uid)
    return HouseRules(uid, *found)
