"""The reference tables of a tenant, read as far as a piece of work needs them. Rows that are retired are left out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import sqlalchemy as sa

from beak_lims.microbiology.breakpoints import OrganismGroups, Preference, disk_of
from beak_lims.microbiology.codes import USER_DEFINED, Method
from beak_lims.microbiology.isolate import Reference
from beak_lims.microbiology.rows import breakpoint_of, expected_of, organism_of, rule_of
from beak_lims.microbiology.values import dilution, parse_measured
from beak_lims.models import (
    Breakpoint,
    ExpectedResPhenotype,
    ExpertInterpretRule,
    Guideline,
    GuidelineYear,
    Organism,
    QcRange,
)

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@dataclass(frozen=True)
class Edition:
    """One year of a guideline."""

    uid: str
    guideline: str
    year: int


def editions(session: Session, uids: Collection[str]) -> dict[str, Edition]:
    """Editions by uid; those that are not there are left out."""
    found = sa.select(GuidelineYear.uid, Guideline.code, GuidelineYear.year).join_from(GuidelineYear, Guideline)
    return {row.uid: Edition(*row) for row in session.execute(found.where(GuidelineYear.uid.in_(uids)))}


def groups_of(organism: Organism) -> OrganismGroups:
    """The groups that an organism belongs to."""
    return organism_of({name: getattr(organism, name) for name in OrganismGroups.__slots__})


def reference(
    session: Session, chosen: Collection[Edition], antibiotics: Collection[str], *, preference: Preference | None = None
) -> Reference:
    """What the tables say of these antibiotics (by code) in these editions, with all rules on resistance."""
    preference = preference or Preference()
    years = {edition.uid for edition in chosen}
    own = [USER_DEFINED] if preference.user_defined else []
    wanted = sa.or_(GuidelineYear.uid.in_(years), Guideline.code.in_(own))
    rows = session.execute(
        sa.select(Breakpoint.__table__, Guideline.code.label("guideline"), GuidelineYear.year)
        .join_from(Breakpoint, GuidelineYear)
        .join(Guideline)
        .where(wanted, Breakpoint.antibiotic_code.in_(antibiotics), Breakpoint.retired_at.is_(None))
        .order_by(Breakpoint.uid)
    ).mappings()
    guidelines = {edition.guideline for edition in chosen}
    expected = session.execute(
        sa.select(ExpectedResPhenotype.__table__, Guideline.code.label("guideline"))
        .join_from(ExpectedResPhenotype, Guideline)
        .where(Guideline.code.in_(guidelines), ExpectedResPhenotype.retired_at.is_(None))
    ).mappings()
    rules = session.execute(
        sa.select(ExpertInterpretRule.__table__)
        .where(ExpertInterpretRule.retired_at.is_(None))
        .order_by(ExpertInterpretRule.uid)
    ).mappings()
    return Reference(
        [breakpoint_of(dict(row)) for row in rows],
        [expected_of(dict(row)) for row in expected],
        [rule_of(dict(row)) for row in rules],
        preference=preference,
    )


@dataclass(frozen=True)
class ControlCheck:
    """Whether a control strain read as it must; None: the tables have no range for it."""

    passed: bool | None
    ranges: Sequence[tuple[str, Decimal, Decimal | None]]  # medium, lowest, highest


def check_control(
    session: Session,
    edition: Edition,
    *,
    strain: str,
    antibiotic: str,
    method: Method,
    value: str,
    disk: str = "",
    medium: str | None = None,
) -> ControlCheck:
    """Hold a control's value against the published range; it passes if it lies in the range of any medium asked for.

    :raises MeasurementRejected: the value cannot be read.
    """
    measured = parse_measured(value, method)
    query = sa.select(QcRange).where(
        QcRange.guideline_year_uid == edition.uid,
        sa.func.lower(QcRange.strain) == strain.replace(" ", "").lower(),
        QcRange.antibiotic_code == antibiotic,
        QcRange.test_method == method,
        QcRange.retired_at.is_(None),
    )
    if medium is not None:
        query = query.where(sa.func.lower(QcRange.medium) == medium.lower())
    found = [
        row
        for row in session.scalars(query.order_by(QcRange.medium, QcRange.uid))
        if not disk or method is Method.MIC or disk_of(row.test_code) == disk
    ]
    ranges = [(row.medium, row.minimum, row.maximum) for row in found]
    if not ranges:
        return ControlCheck(None, ())
    passed = any(
        (measured.low is not None and measured.low >= dilution(low))
        and (high is None or (measured.high is not None and measured.high <= dilution(high)))
        for _, low, high in ranges
    )
    return ControlCheck(passed, ranges)
