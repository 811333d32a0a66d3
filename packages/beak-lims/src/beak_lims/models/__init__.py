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
from beak_lims.models.analysis_request import AnalysisRequest, ClinicalData
from beak_lims.models.analysis_result import AnalysisResult, Flag, ResultMutation, ResultVerification, Step
from beak_lims.models.answered_request import AnsweredRequest
from beak_lims.models.antibiotic import Antibiotic, AntibioticDisk, antibiotic_guideline
from beak_lims.models.audit_log import AuditLog
from beak_lims.models.base import Base, LabRecord, Record
from beak_lims.models.breakpoint import Breakpoint, QcRange
from beak_lims.models.client import Client, ClientContact
from beak_lims.models.coding import AnalysisCoding, CodingStandard, SampleTypeCoding
from beak_lims.models.country import Country
from beak_lims.models.department import Department
from beak_lims.models.district import District
from beak_lims.models.encrypted import EncryptedDate, EncryptedText
from beak_lims.models.guideline import Guideline, GuidelineYear
from beak_lims.models.instrument import Instrument, InstrumentType, LaboratoryInstrument
from beak_lims.models.laboratory import Laboratory, LaboratorySetting
from beak_lims.models.method import Method, method_instrument
from beak_lims.models.organism import Organism, Serotype
from beak_lims.models.organization import Organization, OrganizationSetting
from beak_lims.models.patient import Gender, Identification, Patient, PatientIdentification, PatientSearch, SearchKind
from beak_lims.models.profile import Profile, profile_analysis, profile_sample_type
from beak_lims.models.province import Province
from beak_lims.models.quality_control import (
    QCLevel,
    QCReference,
    QCSet,
    QCTemplate,
    qc_template_department,
    qc_template_level,
)
from beak_lims.models.rejection_reason import RejectionReason
from beak_lims.models.report_impress import ReportImpress, ReportState
from beak_lims.models.resistance import ExpectedResPhenotype, ExpertInterpretRule
from beak_lims.models.sample import (
    Priority,
    Relationship,
    Sample,
    SampleRelationship,
    sample_analysis,
    sample_profile,
    sample_rejection_reason,
)
from beak_lims.models.sample_type import SampleType
from beak_lims.models.sequence import IdSequence
from beak_lims.models.session import Ending, PasswordReset, RefreshToken, UserSession
from beak_lims.models.snapshot import Occasion, Snapshot, SnapshotContent, Subject
from beak_lims.models.supplier import Manufacturer, Supplier
from beak_lims.models.susceptibility import (
    AstPanel,
    AstResult,
    OrganismResult,
    ast_panel_antibiotic,
    ast_panel_organism,
)
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
from beak_lims.models.worksheet import Worksheet, WorksheetTemplate

metadata = Base.metadata

__all__ = [
    "AgeUnit",
    "Analysis",
    "AnalysisCategory",
    "AnalysisCoding",
    "AnalysisRequest",
    "AnalysisResult",
    "AnsweredRequest",
    "Antibiotic",
    "AntibioticDisk",
    "AstPanel",
    "AstResult",
    "AuditLog",
    "Base",
    "Breakpoint",
    "Client",
    "ClientContact",
    "ClinicalData",
    "CodingStandard",
    "CorrectionFactor",
    "Country",
    "Department",
    "DetectionLimit",
    "District",
    "EncryptedDate",
    "EncryptedText",
    "Ending",
    "ExpectedResPhenotype",
    "ExpertInterpretRule",
    "Flag",
    "Gender",
    "Group",
    "Guideline",
    "GuidelineYear",
    "IdSequence",
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
    "Occasion",
    "Organism",
    "OrganismResult",
    "Organization",
    "OrganizationSetting",
    "PasswordReset",
    "Patient",
    "PatientIdentification",
    "PatientSearch",
    "Permission",
    "Priority",
    "Profile",
    "Province",
    "QCLevel",
    "QCReference",
    "QCSet",
    "QCTemplate",
    "QcRange",
    "Record",
    "RefreshToken",
    "RejectionReason",
    "Relationship",
    "ReportImpress",
    "ReportState",
    "ResultMutation",
    "ResultOption",
    "ResultType",
    "ResultVerification",
    "Sample",
    "SampleRelationship",
    "SampleType",
    "SampleTypeCoding",
    "SearchKind",
    "Serotype",
    "Snapshot",
    "SnapshotContent",
    "Specification",
    "Step",
    "Subject",
    "Supplier",
    "Uncertainty",
    "Unit",
    "User",
    "UserPreference",
    "UserSession",
    "Worksheet",
    "WorksheetTemplate",
    "analysis_instrument",
    "analysis_method",
    "analysis_sample_type",
    "antibiotic_guideline",
    "ast_panel_antibiotic",
    "ast_panel_organism",
    "group_permission",
    "metadata",
    "method_instrument",
    "profile_analysis",
    "profile_sample_type",
    "qc_template_department",
    "qc_template_level",
    "result_option_sample_type",
    "sample_analysis",
    "sample_profile",
    "sample_rejection_reason",
    "user_department",
    "user_group",
    "user_laboratory",
]
