"""What a report says: gathered from what is frozen with the sample, never from the set-up of today.

The patient is as the request's copy has them, ranges and units are those by which the results were judged. The
letterhead, the client's contact and the names of the people who verified are as they are when the report is issued; an
issued report keeps them. Nothing here prints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from beak_lims.crypto import keyring
from beak_lims.judging import Age
from beak_lims.models import (
    AnalysisRequest,
    AnalysisResult,
    ClientContact,
    Laboratory,
    Organization,
    Patient,
    ReportState,
    ResultVerification,
    Sample,
    Snapshot,
    SnapshotContent,
    User,
)
from beak_lims.reports.antibiograms import antibiograms, tests_of, titles_of
from beak_lims.services.house_rules import HouseRules
from beak_lims.workflow.results import ResultState

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

TITLES = {
    ReportState.PRELIMINARY: "Preliminary report",
    ReportState.FINAL: "Final report",
    ReportState.AMENDED: "Amended report",
}
PENDING = "pending"  # printed where a result is not approved yet


def contents(
    session: Session, rules: HouseRules, sample: Sample, state: ReportState, *, issue: int, issued_at: datetime
) -> dict[str, Any]:
    """What a report of this state says of the sample, as JSON.

    An unapproved value is in no report: a preliminary one says ``pending`` in its place. Tests of isolates stand with
    their isolate, and not among the other results.
    """
    copies = _copies(session, sample)
    results = _shown(session, sample, copies, preliminary=state is ReportState.PRELIMINARY)
    told = _told(session, rules, results, copies)
    tests = tests_of(session, sample.uid, results)
    return {
        "title": TITLES[state],
        "state": state.value,
        "issue": issue,
        "issued_at": _moment(rules, issued_at),
        "laboratory": _letterhead(session, rules.laboratory_uid),
        **_case(session, rules, sample),
        "sample": {
            "sample_id": sample.sample_id,
            "sample_type": copies[sample.snapshot_hash]["sample_type"]["name"],
            "collected": _moment(rules, sample.date_collected),
            "received": _moment(rules, sample.date_received),
            "approved": _moment(rules, sample.date_verified),
        },
        "results": sorted((one for uid, one in told.items() if uid not in tests), key=_place),
        "isolates": antibiograms(titles_of(session, sample.uid), tests, told),
    }


def logo_of(session: Session, laboratory_uid: str) -> str | None:
    """The logo of the letterhead. It is not repeated in what a report says: the PDF holds it."""
    of_laboratory = select(Laboratory.organization_uid).where(Laboratory.uid == laboratory_uid).scalar_subquery()
    return session.scalar(select(Organization.logo).where(Organization.uid == of_laboratory))


def range_of(judgement: Mapping[str, Any] | None) -> str:
    """The range by which a result was judged, as it is printed."""
    specification = (judgement or {}).get("specification")
    if specification is None:
        return ""
    low, high = specification["min"], specification["max"]
    if low is not None and high is not None:
        return f"{low} - {high}"
    if low is not None:
        return f">= {low}"
    if high is not None:
        return f"<= {high}"
    return specification["normal_value"] or ""


def _copies(session: Session, sample: Sample) -> dict[str, dict[str, Any]]:
    hashes = select(AnalysisResult.snapshot_hash).where(AnalysisResult.sample_uid == sample.uid)
    wanted = {sample.snapshot_hash, *session.scalars(hashes)}
    found = session.execute(
        select(SnapshotContent.hash, SnapshotContent.content).where(SnapshotContent.hash.in_(wanted))
    )
    return {row.hash: row.content for row in found}


def _letterhead(session: Session, laboratory_uid: str) -> dict[str, Any]:
    laboratory, organization = session.execute(
        select(Laboratory, Organization)
        .join(Organization, Organization.uid == Laboratory.organization_uid)
        .where(Laboratory.uid == laboratory_uid)
    ).one()
    return {
        "name": laboratory.name,
        "organization": organization.name,
        "tag_line": organization.tag_line,
        "address": laboratory.address or organization.address,
        "phone": laboratory.business_phone or laboratory.mobile_phone or organization.business_phone,
        "email": laboratory.email or organization.email,
        "quality_statement": organization.quality_statement,
    }


def _case(session: Session, rules: HouseRules, sample: Sample) -> dict[str, Any]:
    """The patient, the client and the request."""
    row = session.execute(
        select(AnalysisRequest, SnapshotContent.content, Snapshot.identity, Patient.client_patient_id)
        .join(SnapshotContent, SnapshotContent.hash == AnalysisRequest.snapshot_hash)
        .join(Patient, Patient.uid == AnalysisRequest.patient_uid)
        .join(
            Snapshot,
            (Snapshot.subject_uid == AnalysisRequest.uid) & (Snapshot.version == AnalysisRequest.snapshot_version),
        )
        .where(AnalysisRequest.uid == sample.analysis_request_uid)
    ).one()
    request, content, identity = row.AnalysisRequest, row.content, row.identity or {}
    told = {name: None if value is None else keyring().decrypt(value) for name, value in identity.items()}
    names = [told.get(part) for part in ("first_name", "middle_name", "last_name")]
    contact = None
    if request.client_contact_uid is not None:
        contact = session.scalar(select(ClientContact).where(ClientContact.uid == request.client_contact_uid))
    on = rules.local(sample.date_collected or sample.date_received or sample.created_at).date()
    return {
        "patient": {
            "name": " ".join(filter(None, names)),
            "patient_id": content["patient"]["patient_id"],
            "client_patient_id": row.client_patient_id,
            "gender": content["patient"]["gender"],
            "date_of_birth": told.get("date_of_birth"),
            "age": _age(told.get("date_of_birth"), content["patient"]["age"], on),
        },
        "client": content["client"],
        "contact": None if contact is None else " ".join(filter(None, (contact.first_name, contact.last_name))),
        "request": {"request_id": request.request_id, "client_request_id": request.client_request_id},
    }


def _age(born: str | None, years: int | None, on: date) -> str | None:
    """An age as it is printed: days in the first two months, months in the first two years, then years."""
    if born is None:
        return None if years is None else f"{years} years"
    age = Age.between(date.fromisoformat(born), on)
    if age is None:
        return None
    if age.months < 2:
        return f"{age.days} days"
    return f"{age.months} months" if age.years < 2 else f"{age.years} years"


def _shown(
    session: Session, sample: Sample, copies: Mapping[str, dict[str, Any]], *, preliminary: bool
) -> list[AnalysisResult]:
    shown = {ResultState.APPROVED.value}
    if preliminary:
        shown |= {ResultState.PENDING.value, ResultState.RESULTED.value, ResultState.REFERRED.value}
    found = session.scalars(
        select(AnalysisResult)
        .where(
            AnalysisResult.sample_uid == sample.uid,
            AnalysisResult.reportable,
            AnalysisResult.status.in_(shown),
        )
        .order_by(AnalysisResult.uid)
    )
    return [one for one in found if not copies[one.snapshot_hash]["hidden"]]


def _told(
    session: Session, rules: HouseRules, results: Sequence[AnalysisResult], copies: Mapping[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """What is said of each result, by its uid."""
    verifiers = _verifiers(session, [one.uid for one in results])
    told: dict[str, dict[str, Any]] = {}
    for one in results:
        copy = copies[one.snapshot_hash]
        approved = one.status == ResultState.APPROVED
        used = (copy.get("used") or {}).get("method")
        told[one.uid] = {
            "department": copy["department"],
            "category": copy["category"],
            "sort_key": copy["sort_key"],
            "analysis": copy["name"],
            "result": (one.result or "").replace("\n", ", ") if approved else PENDING,
            "unit": copy["unit"],
            "range": range_of(one.judgement) if approved else "",
            "flag": one.flag if approved else None,
            "method": None if used is None or not approved else used["name"],
            "note": one.note if approved else None,
            "verified_by": verifiers.get(one.uid, []) if approved else [],
            "verified_at": _moment(rules, one.date_verified) if approved else None,
        }
    return told


def _place(one: Mapping[str, Any]) -> tuple[str, str, int, str]:
    """Where a result stands among the others."""
    return one["department"] or "", one["category"] or "", one["sort_key"], one["analysis"]


def _verifiers(session: Session, uids: Sequence[str]) -> dict[str, list[str]]:
    """Of each result, the names of those who verified it, in order."""
    found: dict[str, list[str]] = {}
    rows = session.execute(
        select(ResultVerification.analysis_result_uid, User.first_name, User.last_name)
        .join(User, User.uid == ResultVerification.user_uid)
        .where(ResultVerification.analysis_result_uid.in_(uids))
        .order_by(ResultVerification.ordinal)
    )
    for row in rows:
        found.setdefault(row.analysis_result_uid, []).append(f"{row.first_name} {row.last_name}")
    return found


def _moment(rules: HouseRules, moment: datetime | None) -> str | None:
    return None if moment is None else f"{rules.local(moment):%Y-%m-%d %H:%M %Z}"
