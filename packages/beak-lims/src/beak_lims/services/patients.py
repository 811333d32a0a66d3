"""The patients of the laboratory at work: registered, changed, and found without their names being readable.

What is looked for becomes a keyed hash before it is compared, so only what is written alike is found: whole words of
names and their beginnings, the last digits of a phone number, a birth date, an identification.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, or_, select
from sqlalchemy.orm import selectinload

from beak_lims.crypto import keyring
from beak_lims.errors import ChangeRefused, InputRejected, RecordNotFound, ReferenceRejected
from beak_lims.models import (
    Client,
    Identification,
    Patient,
    PatientIdentification,
    PatientSearch,
    SearchKind,
)
from beak_lims.services.house_rules import house_rules
from beak_lims.services.rows import referred
from beak_lims.services.sequences import Kind, next_number
from beak_lims.snapshots.taking import take_patients

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.orm import Session

    from beak_lims.context import LabContext

PHONE_DIGITS = 9  # the last ones: +263 77 123 4567 and 077 123 4567 are one number
MIN_WORD = 2  # letters
MAX_START = 12  # letters of a word's beginning that are looked for
OLDEST = 150  # years
INDEXED = frozenset({"first_name", "middle_name", "last_name", "date_of_birth", "mobile_phone", "home_phone", "email"})
SHOWN_DUPLICATES = 3


@dataclass(frozen=True)
class Search:
    """What is looked for: a patient must fit all that is given. ``words``: of names, or a patient's number."""

    words: str = field(default="", repr=False)
    date_of_birth: date | None = field(default=None, repr=False)
    phone: str | None = field(default=None, repr=False)
    email: str | None = field(default=None, repr=False)
    identification: str | None = field(default=None, repr=False)
    client_uid: str | None = None
    active: bool | None = None


def query() -> Select[Patient]:
    """The patients of the laboratory at work, each with identifications."""
    return select(Patient).options(selectinload(Patient.identifications))


def get_patient(session: Session, uid: str) -> Patient:
    """The patient. :raises RecordNotFound: the laboratory at work has none of that uid."""
    found = session.scalar(query().where(Patient.uid == uid))
    if found is None:
        raise RecordNotFound("patient", uid)
    return found


def find_patients(context: LabContext, search: Search) -> Select[Patient]:
    """The query for the patients that fit; nobody, when no laboratory is at work."""
    found = query()
    if context.laboratory_uid is None:
        return found
    laboratory = context.laboratory_uid
    for word in search.words.split():
        # A number is written in clear, a name is not: either may be meant.
        numbered = or_(Patient.patient_id == word.upper(), Patient.client_patient_id == word)
        named = [
            _held(laboratory, kind, part)
            for part in _words(word)
            for kind in (SearchKind.NAME, SearchKind.NAME_START)
            if len(part) >= MIN_WORD
        ]
        found = found.where(or_(numbered, *named))
    exact = {
        SearchKind.BIRTH_DATE: None if search.date_of_birth is None else search.date_of_birth.isoformat(),
        SearchKind.PHONE: None if search.phone is None else _phone(search.phone),
        SearchKind.EMAIL: None if search.email is None else _plain(search.email),
        SearchKind.IDENTIFICATION: None if search.identification is None else _identification(search.identification),
    }
    for kind, value in exact.items():
        if value is not None:
            found = found.where(_held(laboratory, kind, value))
    if search.client_uid is not None:
        found = found.where(Patient.client_uid == search.client_uid)
    if search.active is not None:
        found = found.where(Patient.active == search.active)
    return found


def duplicates_of(
    session: Session, context: LabContext, first_name: str, last_name: str, date_of_birth: date | None
) -> Sequence[Patient]:
    """Patients of these names and, where both birth dates are known, of this one."""
    wanted = find_patients(context, Search(words=""))
    laboratory = context.laboratory("patient")
    for part in (*_words(first_name), *_words(last_name)):
        wanted = wanted.where(_held(laboratory, SearchKind.NAME, part))
    alike = session.scalars(wanted.order_by(Patient.uid).limit(100)).all()
    return [one for one in alike if None in (date_of_birth, one.date_of_birth) or one.date_of_birth == date_of_birth]


def register_patient(
    session: Session, context: LabContext, values: Mapping[str, Any], *, although_known: bool = False
) -> Patient:
    """Register a patient. ``values``: columns of ``patient`` by name, and ``identifications``, a list of mappings with
    ``identification_uid`` and ``value``.

    :raises LaboratoryRequired: no laboratory is at work.
    :raises ChangeRefused: the laboratory registers no patients; or one of this name and birth date is there already,
        unless ``although_known``.
    :raises InputRejected, ReferenceRejected: a value cannot be used, or names nothing.
    """
    rules = house_rules(session, context, "patient")
    if not rules.allow_patient_registration:
        raise ChangeRefused("This laboratory registers no patients: allow_patient_registration is off.")
    today = rules.today()
    _check(values, today)
    referred(session, Client, [values["client_uid"]], "client_uid")
    if not although_known:
        known = duplicates_of(session, context, values["first_name"], values["last_name"], values.get("date_of_birth"))
        if known:
            shown = ", ".join(one.patient_id for one in known[:SHOWN_DUPLICATES])
            raise ChangeRefused(
                f"A patient of this name is registered already ({shown}). Send although_known to register another."
            )
    own = dict(values)
    identifications = own.pop("identifications", [])
    patient = Patient(**own)
    patient.identifications = _identifications(session, identifications)
    patient.laboratory_uid = rules.laboratory_uid
    patient.patient_id = next_number(session, Kind.PATIENT, today)
    if not patient.client_patient_id:
        patient.client_patient_id = patient.patient_id
    session.add(patient)
    session.flush()
    _put_index(session, patient, _digests(patient))
    take_patients(session, context, [patient.uid])
    session.expire(patient, ["metadata_snapshot"])  # the copy is written past the session
    return patient


def change_patient(session: Session, context: LabContext, uid: str, values: Mapping[str, Any]) -> Patient:
    """Change a patient; ``identifications``, if given, replace those there are.

    :raises RecordNotFound, InputRejected, ReferenceRejected: as above.
    """
    patient = get_patient(session, uid)
    rules = house_rules(session, context, "patient")
    _check(values, rules.today())
    if "client_uid" in values:
        referred(session, Client, [values["client_uid"]], "client_uid")
    own = dict(values)
    with session.no_autoflush:  # one change, and one entry in the audit trail
        if "identifications" in own:
            _replace(patient, _identifications(session, own.pop("identifications")))
        for name, value in own.items():
            setattr(patient, name, value)
    session.flush()
    if "identifications" in values or not INDEXED.isdisjoint(values):
        _index(session, patient)
    session.refresh(patient)
    return patient


def remove_patient(session: Session, uid: str) -> None:
    """Remove a patient of whom nothing was asked for yet. :raises RecordNotFound: there is none."""
    session.delete(get_patient(session, uid))


def _check(values: Mapping[str, Any], today: date) -> None:
    born = values.get("date_of_birth")
    if born is not None and not today.year - OLDEST <= born.year <= today.year:
        raise InputRejected("Birth date", born.isoformat(), f"it lies within the last {OLDEST} years.")
    if born is not None and born > today:
        raise InputRejected("Birth date", born.isoformat(), "it is not in the future.")
    for name in ("first_name", "last_name"):
        if name in values and not _words(values[name]):
            raise InputRejected(name.replace("_", " ").capitalize(), "", "it holds at least one letter or digit.")


def _identifications(session: Session, given: Iterable[Mapping[str, Any]]) -> list[PatientIdentification]:
    rows = [PatientIdentification(**one) for one in given]
    kinds = [row.identification_uid for row in rows]
    if len(set(kinds)) != len(kinds):
        raise InputRejected("identifications", "", "each kind is given once.")
    known = set(session.scalars(select(Identification.uid).where(Identification.uid.in_(kinds)))) if kinds else set()
    if known != set(kinds):
        raise ReferenceRejected("identification_uid")
    return rows


def _replace(patient: Patient, wanted: Iterable[PatientIdentification]) -> None:
    """Have the patient have these. One whose kind is there already changes that one: each kind is there once."""
    held = {one.identification_uid: one for one in patient.identifications}
    kept = []
    for one in wanted:
        present = held.get(one.identification_uid, one)
        if present.value != one.value:
            present.value = one.value
        kept.append(present)
    patient.identifications = kept


def _index(session: Session, patient: Patient) -> None:
    """Have the patient found by what is known of them now, and by nothing else."""
    wanted = _digests(patient)
    held = {
        (row.kind, row.digest)
        for row in session.execute(
            select(PatientSearch.kind, PatientSearch.digest).where(PatientSearch.patient_uid == patient.uid)
        )
    }
    for kind, digest in held - wanted:
        session.execute(
            delete(PatientSearch).where(
                PatientSearch.patient_uid == patient.uid, PatientSearch.kind == kind, PatientSearch.digest == digest
            )
        )
    _put_index(session, patient, wanted - held)


def _put_index(session: Session, patient: Patient, new: set[tuple[str, str]]) -> None:
    if new:
        rows = [{"patient_uid": patient.uid, "kind": kind, "digest": digest} for kind, digest in sorted(new)]
        session.execute(insert(PatientSearch), rows)


def _digests(patient: Patient) -> set[tuple[str, str]]:
    found: set[tuple[SearchKind, str]] = set()
    for name in (patient.first_name, patient.middle_name, patient.last_name):
        for word in _words(name or ""):
            found.add((SearchKind.NAME, word))
            found |= {(SearchKind.NAME_START, word[:end]) for end in range(MIN_WORD, min(len(word), MAX_START + 1))}
    if patient.date_of_birth is not None:
        found.add((SearchKind.BIRTH_DATE, patient.date_of_birth.isoformat()))
    for phone in (patient.mobile_phone, patient.home_phone):
        if phone:
            found.add((SearchKind.PHONE, _phone(phone)))
    if patient.email:
        found.add((SearchKind.EMAIL, _plain(patient.email)))
    for one in patient.identifications:
        found.add((SearchKind.IDENTIFICATION, _identification(one.value)))
    return {(kind.value, _digest(patient.laboratory_uid, kind, value)) for kind, value in found if value}


def _held(laboratory_uid: str, kind: SearchKind, value: str) -> Any:
    digest = _digest(laboratory_uid, kind, value)
    return Patient.uid.in_(
        select(PatientSearch.patient_uid).where(PatientSearch.digest == digest, PatientSearch.kind == kind.value)
    )


def _digest(laboratory_uid: str, kind: SearchKind, value: str) -> str:
    return keyring().digest(laboratory_uid, kind, value)


def _plain(text: str) -> str:
    """Without case, accents and blanks around it."""
    apart = unicodedata.normalize("NFKD", text.strip().casefold())
    return "".join(letter for letter in apart if not unicodedata.combining(letter))


def _words(text: str) -> list[str]:
    return "".join(letter if letter.isalnum() else " " for letter in _plain(text)).split()


def _phone(text: str) -> str:
    return "".join(letter for letter in text if letter.isdigit())[-PHONE_DIGITS:]


def _identification(text: str) -> str:
    return "".join(letter for letter in _plain(text) if letter.isalnum())
