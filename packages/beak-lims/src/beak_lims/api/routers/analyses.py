"""Routes of analyses, of the rules by which their results are judged, and of the profiles that bundle them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from beak_lims.api.crud import Noun, add_crud
from beak_lims.api.fields import MAX_INTEGER
from beak_lims.api.routing import LabRouter
from beak_lims.models import (
    Analysis,
    AnalysisCoding,
    CorrectionFactor,
    DetectionLimit,
    Interim,
    Profile,
    ResultOption,
    Specification,
    Uncertainty,
)
from beak_lims.models.analysis import AgeUnit, ResultType

TARGET = "LABORATORY"  # of the permissions
FIXED = ("analysis_uid",)

Minutes = Annotated[int, Field(ge=1, le=MAX_INTEGER)]

router = LabRouter(tags=["analyses"])

NOUNS = (
    Noun(
        Analysis,
        "/analyses",
        TARGET,
        fields={
            "result_type": ResultType,
            "precision": Annotated[int, Field(ge=0, le=8)],
            "tat_length_minutes": Minutes,
            "required_verifications": Annotated[int, Field(ge=1, le=5)],
        },
        links={
            "sample_type_uids": "sample_types",
            "method_uids": "methods",
            "instrument_uids": "instruments",
        },
        search=("name", "keyword"),
    ),
    Noun(
        Specification,
        "/specifications",
        TARGET,
        fields={"gender": Literal["male", "female"], "age_unit": AgeUnit},
        search=("warn_report",),
        fixed=FIXED,
    ),
    Noun(DetectionLimit, "/detection-limits", TARGET, search=(), fixed=FIXED),
    Noun(Uncertainty, "/uncertainties", TARGET, search=(), fixed=FIXED),
    Noun(CorrectionFactor, "/correction-factors", TARGET, search=(), fixed=FIXED),
    Noun(Interim, "/interims", TARGET, search=("content",), fixed=FIXED),
    Noun(
        ResultOption,
        "/result-options",
        TARGET,
        links={"sample_type_uids": "sample_types"},
        search=("value",),
        fixed=FIXED,
    ),
    Noun(AnalysisCoding, "/analysis-codings", TARGET, search=("code",), fixed=FIXED),
    Noun(
        Profile,
        "/profiles",
        TARGET,
        fields={"tat_length_minutes": Minutes},
        links={"analysis_uids": "analyses", "sample_type_uids": "sample_types"},
        search=("name", "keyword"),
    ),
)

for noun in NOUNS:
    add_crud(router, noun)
