"""The tables of one tenant as SQLAlchemy models, their names unqualified: the search_path says whose they are."""

from __future__ import annotations

from beak_lims.models.analysis import (
    AgeUnit,
    Analysis,
    CorrectionFactor,
    DetectionLimit,
    Interim,
    ResultOption,
    ResultType,
    Specification,
    Uncertainty,
    analysis_instrument,
    analysis_method,
    analysis_sample_type,
    result_option_sample_type,
)
from beak_lims.models.analysis_category import AnalysisCategory
from beak_lims.models.audit_log import AuditLog
from beak_lims.models.base import Base, LabRecord, Record
from beak_lims.models.client import Client, ClientContact
from beak_lims.models.coding import AnalysisCoding, CodingStandard, SampleTypeCoding
from beak_lims.models.country import Country
from beak_lims.models.department import Department
from beak_lims.models.district import District
from beak_lims.models.encrypted import EncryptedDate, EncryptedText
from beak_lims.models.instrument import Instrument, InstrumentType, LaboratoryInstrument
from beak_lims.models.laboratory import Laboratory, LaboratorySetting
from beak_lims.models.method import Method, method_instrument
from beak_lims.models.organization import Organization, OrganizationSetting
from beak_lims.models.patient import Gender, Identification, Patient, PatientIdentification, PatientSearch, SearchKind
from beak_lims.models.profile import Profile, profile_analysis, profile_sample_type
from beak_lims.models.province import Province
from beak_lims.models.rejection_reason import RejectionReason
from beak_lims.models.sample_type import SampleType
from beak_lims.models.session import Ending, PasswordReset, RefreshToken, UserSession
from beak_lims.models.supplier import Manufacturer, Supplier
from beak_lims.models.unit import Unit
from beak_lims.models.user import (
    Group,
    Permission,
    User,
    UserPreference,
    group_permission,
    user_department,
    user_group,
    user_laboratory,
)

metadata = Base.metadata

__all__ = [
    "AgeUnit",
    "Analysis",
    "AnalysisCategory",
    "AnalysisCoding",
    "AuditLog",
    "Base",
    "Client",
    "ClientContact",
    "CodingStandard",
    "CorrectionFactor",
    "Country",
    "Department",
    "DetectionLimit",
    "District",
    "EncryptedDate",
    "EncryptedText",
    "Ending",
    "Gender",
    "Group",
    "Identification",
    "Instrument",
    "InstrumentType",
    "Interim",
    "LabRecord",
    "Laboratory",
    "LaboratoryInstrument",
    "LaboratorySetting",
    "Manufacturer",
    "Method",
    "Organization",
    "OrganizationSetting",
    "PasswordReset",
    "Patient",
    "PatientIdentification",
    "PatientSearch",
    "Permission",
    "Profile",
    "Province",
    "Record",
    "RefreshToken",
    "RejectionReason",
    "ResultOption",
    "ResultType",
    "SampleType",
    "SampleTypeCoding",
    "SearchKind",
    "Specification",
    "Supplier",
    "Uncertainty",
    "Unit",
    "User",
    "UserPreference",
    "UserSession",
    "analysis_instrument",
    "analysis_method",
    "analysis_sample_type",
    "group_permission",
    "metadata",
    "method_instrument",
    "profile_analysis",
    "profile_sample_type",
    "result_option_sample_type",
    "user_department",
    "user_group",
    "user_laboratory",
]
