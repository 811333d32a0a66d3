"""Register requests: a patient's samples, what is to be analysed in them, and the copies of set-up they go by.

A request is registered whole or not at all. Its numbers are taken last: see :mod:`beak_lims.services.sequences`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ARRAY, String, any_, bindparam, insert, select

from beak_lims.errors import ChangeRefused, InputRejected, ReferenceRejected
from beak_lims.models import (
    Analysis,
    AnalysisRequest,
    AnalysisResult,
    Client,
    ClientContact,
    ClinicalData,
    Occasion,
    OrganismResult,
    Patient,
    Priority,
    Profile,
    Sample,
    SampleType,
    Subject,
    analysis_sample_type,
    profile_analysis,
    sample_analysis,
    sample_profile,
)
from beak_lims.seeds.setup import AST_ORGANISM
from beak_lims.services.house_rules import HouseRules, house_rules, now
from beak_lims.services.rows import referred, row
from beak_lims.services.sequences import Kind, next_numbers
from beak_lims.snapshots.taking import (
    AnalysisWanted,
    Copy,
    Version,
    copy_analyses,
    copy_request,
    copy_samples,
    note_versions,
)
from beak_lims.workflow.results import ResultState
from beak_lims.workflow.samples import OPEN, SampleState
from tenantry.registry.uids import new_uid

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from beak_lims.context import LabContext

_KINDS = select(analysis_sample_type).where(
    analysis_sample_type.c.analysis_uid == any_(bindparam("analyses", type_=ARRAY(String)))
)
MAX_SAMPLES = 100  # of one request
LATE_CLOCK = timedelta(minutes=5)  # a collection this far ahead is a clock that is fast, not a plan


@dataclass(frozen=True)
class NewSample:
    """A sample to register. At least one analysis must be asked for, by itself or in a profile.

    A collection in the future makes the sample ``scheduled``.
    """

    sample_type_uid: str
    analyses: Sequence[str] = ()
    profiles: Sequence[str] = ()
    priority: int = Priority.ROUTINE
    date_collected: datetime | None = None
    internal_use: bool = False


@dataclass(frozen=True)
class NewClinicalData:
    """What the clinician tells of the case."""

    clinical_indication: str | None = None
    treatment_notes: str | None = None
    symptoms: Sequence[str] = ()
    pregnancy: bool | None = None
    breast_feeding: bool | None = None
    vitals: Mapping[str, Any] = field(default_factory=dict)
    codings: Sequence[str] = ()


@dataclass(frozen=True)
class NewRequest:
    """A request to register. Without a client it is the patient's."""

    patient_uid: str
    samples: Sequence[NewSample]
    client_uid: str | None = None
    client_contact_uid: str | None = None
    client_request_id: str | None = None
    clinical: NewClinicalData | None = None
    internal_use: bool = False


@dataclass(frozen=True)
class Registered:
    """What was made of a request."""

    request: AnalysisRequest
    samples: list[Sample]
    results: list[AnalysisResult]


def register_request(session: Session, context: LabContext, new: NewRequest) -> Registered:
    """Register a request with its samples and pending results.

    Samples are received at once where the laboratory receives automatically.

    :raises LaboratoryRequired: no laboratory is at work.
    :raises ChangeRefused: the laboratory registers no samples, or the client has used that number already.
    :raises ReferenceRejected: something that the request names is not there or not active.
    :raises InputRejected: a sample asks for nothing, or for what is not done in its type.
    """
    rules = house_rules(session, context, "analysis_request")
    if not rules.allow_sample_registration:
        raise ChangeRefused("This laboratory does not register samples; its setting allow_sample_registration is off.")
    if not 1 <= len(new.samples) <= MAX_SAMPLES:
        raise InputRejected("Samples", str(len(new.samples)), f"a request has 1 to {MAX_SAMPLES} of them.")
    patient = referred(session, Patient, [new.patient_uid], "patient_uid")[new.patient_uid]
    client_uid = new.client_uid or patient.client_uid
    referred(session, Client, [client_uid], "client_uid")
    _check_contact(session, new.client_contact_uid, client_uid)
    _check_client_number(session, rules.laboratory_uid, new.client_request_id)
    asked = asked_for(session, new.samples)
    copies = copy_analyses(session, rules.laboratory_uid, {AnalysisWanted(uid) for one in asked for uid in one})
    request_copy = copy_request(session, patient.uid, client_uid, new.client_contact_uid)
    sample_copies = copy_samples(
        session, [(one.sample_type_uid, one.profiles, uids) for one, uids in zip(new.samples, asked, strict=True)]
    )

    number = next_numbers(session, Kind.REQUEST, 1, rules.today())[0]
    sample_numbers = next_numbers(session, Kind.SAMPLE, len(new.samples), rules.today())
    request = AnalysisRequest(
        uid=new_uid(),
        laboratory_uid=rules.laboratory_uid,
        request_id=number,
        client_request_id=new.client_request_id,
        patient_uid=patient.uid,
        client_uid=client_uid,
        client_contact_uid=new.client_contact_uid,
        internal_use=new.internal_use,
        snapshot_hash=request_copy.hash,
        snapshot_version=1,
    )
    session.add(request)
    session.flush()
    if new.clinical is not None:
        session.add(_clinical_data(new.clinical, request.uid, rules.laboratory_uid))
    samples = [
        _sample(context, rules, one, at, request.uid, copy)
        for one, at, copy in zip(new.samples, sample_numbers, sample_copies, strict=True)
    ]
    results: list[AnalysisResult] = []
    for sample, uids in zip(samples, asked, strict=True):
        results += pending_results(sample, {uid: copies[AnalysisWanted(uid)] for uid in uids})
        sample.due_date = max(one.due_date for one in results if one.sample_uid == sample.uid)
    session.add_all(samples)
    session.flush()
    _link(session, zip(samples, new.samples, asked, strict=True))
    session.add_all(results)
    session.flush()
    versions = [Version(Subject.ANALYSIS_REQUEST, request.uid, request_copy)]
    versions += [Version(Subject.SAMPLE, sample.uid, copy) for sample, copy in zip(samples, sample_copies, strict=True)]
    versions += [Version(Subject.ANALYSIS_RESULT, one.uid, copies[AnalysisWanted(one.analysis_uid)]) for one in results]
    note_versions(session, context, versions, Occasion.REGISTRATION)
    _begin_isolates(session, [one for one in results if copies[AnalysisWanted(one.analysis_uid)].is_of_isolate])
    return Registered(request, samples, results)


def add_analyses(
    session: Session,
    context: LabContext,
    sample_uid: str,
    *,
    analyses: Sequence[str] = (),
    profiles: Sequence[str] = (),
) -> list[AnalysisResult]:
    """Ask for more in a sample that is not submitted yet; what was asked for already is left as it is.

    Returns the new pending results.

    :raises RecordNotFound: there is no such sample.
    :raises ChangeRefused: the sample is submitted already.
    :raises ReferenceRejected: an analysis or profile is not there or not active.
    :raises InputRejected: an analysis is not done in this sample type.
    """
    rules = house_rules(session, context, "analysis_result")
    sample = row(session, Sample, sample_uid, lock=True)
    if SampleState(sample.status) not in OPEN:
        raise ChangeRefused(f"Sample {sample.sample_id} is {sample.status}: nothing more can be asked for.")
    has_analyses = set(session.scalars(select(sample_analysis.c.analysis_uid).filter_by(sample_uid=sample_uid)))
    has_profiles = set(session.scalars(select(sample_profile.c.profile_uid).filter_by(sample_uid=sample_uid)))
    more = NewSample(sample.sample_type_uid, analyses, profiles)
    uids = [uid for uid in asked_for(session, [more])[0] if uid not in has_analyses]
    fresh_profiles = [uid for uid in dict.fromkeys(profiles) if uid not in has_profiles]
    _link(session, [(sample, NewSample(sample.sample_type_uid, (), fresh_profiles), uids)])
    wanted = (sample.sample_type_uid, sorted(has_profiles | set(profiles)), sorted(has_analyses | set(uids)))
    [copy] = copy_samples(session, [wanted])
    if copy.hash != sample.snapshot_hash:
        sample.snapshot_hash, sample.snapshot_version = copy.hash, sample.snapshot_version + 1
        version = Version(Subject.SAMPLE, sample.uid, copy, sample.snapshot_version)
        note_versions(session, context, [version], Occasion.CHANGE)
    made = add_results(session, context, sample, uids, rules=rules)
    isolates = select(Analysis.uid).where(Analysis.uid.in_(uids), Analysis.keyword == AST_ORGANISM)
    of_isolates = set(session.scalars(isolates))
    _begin_isolates(session, [one for one in made if one.analysis_uid in of_isolates])
    return made


def add_results(
    session: Session,
    context: LabContext,
    sample: Sample,
    analyses: Collection[str],
    *,
    parent: AnalysisResult | None = None,
    rules: HouseRules | None = None,
) -> list[AnalysisResult]:
    """Add pending results to a sample, with copies of the analyses as they are set up now.

    ``parent`` is the result they come of. What may be asked for is the caller's to decide.
    """
    rules = rules or house_rules(session, context, "analysis_result")
    level = sample.qc_level_uid
    copies = copy_analyses(session, rules.laboratory_uid, [AnalysisWanted(uid, qc_level_uid=level) for uid in analyses])
    made = pending_results(sample, {uid: copies[AnalysisWanted(uid, qc_level_uid=level)] for uid in analyses})
    for one in made:
        one.parent_uid = None if parent is None else parent.uid
    session.add_all(made)
    sample.due_date = max([sample.due_date, *(one.due_date for one in made)])
    session.flush()
    note_versions(
        session,
        context,
        [
            Version(Subject.ANALYSIS_RESULT, one.uid, copies[AnalysisWanted(one.analysis_uid, qc_level_uid=level)])
            for one in made
        ],
        Occasion.REGISTRATION,
    )
    return made


def _begin_isolates(session: Session, results: Collection[AnalysisResult]) -> None:
    """Each of these results is of its sample's first isolate, which nobody has named yet."""
    session.add_all(
        OrganismResult(
            laboratory_uid=one.laboratory_uid,
            sample_uid=one.sample_uid,
            analysis_result_uid=one.uid,
            isolate_number=1,
            other_tests={},
        )
        for one in results
    )
    session.flush()


def asked_for(session: Session, samples: Sequence[NewSample]) -> list[list[str]]:
    """The uids of the analyses of each sample, those of its profiles included, each once.

    :raises ReferenceRejected: a sample type, profile or analysis is not there or not active.
    :raises InputRejected: a sample asks for nothing, or for what is not done in its type.
    """
    referred(session, SampleType, {one.sample_type_uid for one in samples}, "sample_type_uid")
    referred(session, Profile, {uid for one in samples for uid in one.profiles}, "profiles")
    of_profile: dict[str, list[str]] = {}
    wanted_profiles = {uid for one in samples for uid in one.profiles}
    if wanted_profiles:
        links = select(profile_analysis).where(profile_analysis.c.profile_uid.in_(wanted_profiles))
        for link in session.execute(links.order_by(profile_analysis.c.analysis_uid)):
            of_profile.setdefault(link.profile_uid, []).append(link.analysis_uid)
    asked = [
        list(dict.fromkeys([*one.analyses, *(uid for name in one.profiles for uid in of_profile.get(name, ()))]))
        for one in samples
    ]
    every = {uid for uids in asked for uid in uids}
    known = referred(session, Analysis, every, "analyses")
    fits: dict[str, set[str]] = {}
    if every:
        for link in session.execute(_KINDS, {"analyses": list(every)}):
            fits.setdefault(link.analysis_uid, set()).add(link.sample_type_uid)
    for at, (one, uids) in enumerate(zip(samples, asked, strict=True), start=1):
        if not uids:
            raise InputRejected("Sample", str(at), "it asks for no analysis; name analyses or profiles.")
        for uid in uids:
            if one.sample_type_uid not in fits.get(uid, {one.sample_type_uid}):
                raise InputRejected("Analysis", known[uid].name, f"it is not done in the type of sample {at}.")
    return asked


def pending_results(sample: Sample, copies: Mapping[str, Copy]) -> list[AnalysisResult]:
    """Pending results of a sample, not added yet: one for each analysis, with its copy."""
    start = sample.date_received or now()
    return [
        AnalysisResult(
            uid=new_uid(),
            laboratory_uid=sample.laboratory_uid,
            sample_uid=sample.uid,
            analysis_uid=uid,
            status=ResultState.PENDING,
            priority=sample.priority,
            due_date=start + timedelta(minutes=copy.content["tat_length_minutes"]),
            retest=False,
            reportable=True,
            snapshot_hash=copy.hash,
            snapshot_version=1,
        )
        for uid, copy in copies.items()
    ]


def _sample(
    context: LabContext, rules: HouseRules, new: NewSample, number: str, request_uid: str, copy: Copy
) -> Sample:
    moment = now()
    collected = new.date_collected
    if collected is not None and collected.tzinfo is None:
        raise InputRejected("date_collected", collected.isoformat(), "tell its time zone, such as +02:00 or Z.")
    if new.priority not in tuple(Priority):
        raise InputRejected("Priority", str(new.priority), "write 0 (routine), 1 (urgent) or 2 (stat).")
    scheduled = collected is not None and collected > moment + LATE_CLOCK
    received = rules.auto_receive_samples and not scheduled
    status = SampleState.EXPECTED
    if scheduled:
        status = SampleState.SCHEDULED
    elif received:
        status = SampleState.RECEIVED
    return Sample(
        uid=new_uid(),
        laboratory_uid=rules.laboratory_uid,
        sample_id=number,
        analysis_request_uid=request_uid,
        sample_type_uid=new.sample_type_uid,
        priority=int(new.priority),
        status=status,
        date_collected=collected,
        date_received=moment if received else None,
        received_by_uid=context.user_uid if received else None,
        due_date=moment,
        internal_use=new.internal_use,
        printed=False,
        snapshot_hash=copy.hash,
        snapshot_version=1,
    )


def _link(session: Session, linked: Any) -> None:
    analyses, profiles = [], []
    for sample, new, uids in linked:
        analyses += [{"sample_uid": sample.uid, "analysis_uid": uid} for uid in uids]
        profiles += [{"sample_uid": sample.uid, "profile_uid": uid} for uid in dict.fromkeys(new.profiles)]
    if analyses:
        session.execute(insert(sample_analysis), analyses)
    if profiles:
        session.execute(insert(sample_profile), profiles)


def _check_contact(session: Session, contact_uid: str | None, client_uid: str) -> None:
    if contact_uid is None:
        return
    contact = referred(session, ClientContact, [contact_uid], "client_contact_uid")[contact_uid]
    if contact.client_uid != client_uid:
        raise ReferenceRejected("client_contact_uid")


def _check_client_number(session: Session, laboratory_uid: str, number: str | None) -> None:
    if number is None:
        return
    taken = session.scalar(
        select(AnalysisRequest.request_id).where(
            AnalysisRequest.laboratory_uid == laboratory_uid, AnalysisRequest.client_request_id == number
        )
    )
    if taken is not None:
        raise ChangeRefused(f"The client's request {number!r} is registered already, as {taken}.")


def _clinical_data(new: NewClinicalData, request_uid: str, laboratory_uid: str) -> ClinicalData:
    return ClinicalData(
        laboratory_uid=laboratory_uid,
        analysis_request_uid=request_uid,
        clinical_indication=new.clinical_indication,
        treatment_notes=new.treatment_notes,
        symptoms=list(new.symptoms),
        pregnancy=new.pregnancy,
        breast_feeding=new.breast_feeding,
        vitals=dict(new.vitals),
        codings=list(new.codings),
    )
