"""Routes of what the laboratories are set up with: sample types, units, methods, instruments and the like."""

from __future__ import annotations

from beak_lims.api.crud import Noun, add_crud
from beak_lims.api.routing import LabRouter
from beak_lims.models import (
    AnalysisCategory,
    CodingStandard,
    Department,
    Identification,
    Instrument,
    InstrumentType,
    LaboratoryInstrument,
    Manufacturer,
    Method,
    RejectionReason,
    SampleType,
    SampleTypeCoding,
    Supplier,
    Unit,
)

TARGET = "LABORATORY"  # of the permissions

router = LabRouter(tags=["setup"])

NOUNS = (
    Noun(Department, "/departments", TARGET, search=("name", "code")),
    Noun(Unit, "/units", TARGET),
    Noun(AnalysisCategory, "/analysis-categories", TARGET),
    Noun(SampleType, "/sample-types", TARGET, search=("name", "abbr")),
    Noun(CodingStandard, "/coding-standards", TARGET),
    Noun(SampleTypeCoding, "/sample-type-codings", TARGET, search=("code",), fixed=("sample_type_uid",)),
    Noun(Supplier, "/suppliers", TARGET),
    Noun(Manufacturer, "/manufacturers", TARGET),
    Noun(InstrumentType, "/instrument-types", TARGET),
    Noun(Instrument, "/instruments", TARGET, search=("name", "keyword")),
    Noun(Method, "/methods", TARGET, search=("name", "keyword"), links={"instrument_uids": "instruments"}),
    Noun(LaboratoryInstrument, "/laboratory-instruments", TARGET, search=("lab_name",)),
    Noun(RejectionReason, "/rejection-reasons", TARGET, search=("reason",)),
    Noun(Identification, "/identifications", TARGET),
)

for noun in NOUNS:
    add_crud(router, noun)
