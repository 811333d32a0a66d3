"""The words that microbiology's reference tables are written in."""

from __future__ import annotations

from enum import StrEnum


class Method(StrEnum):
    """How susceptibility was measured. A gradient strip (E-test) gives an MIC."""

    MIC = "MIC"  # mg/L
    DISK = "DISK"  # mm


class BreakpointType(StrEnum):
    """What a breakpoint divides."""

    HUMAN = "Human"
    ANIMAL = "Animal"
    ECOFF = "ECOFF"  # the wild type from the rest, whatever the treatment


class OrganismCodeType(StrEnum):
    """What an organism code in a breakpoint or rule names; the most specific first."""

    SEROVAR_GROUP = "SEROVAR_GROUP"
    WHONET_ORG_CODE = "WHONET_ORG_CODE"
    SPECIES_GROUP = "SPECIES_GROUP"
    GENUS_CODE = "GENUS_CODE"
    GENUS_GROUP = "GENUS_GROUP"
    FAMILY_CODE = "FAMILY_CODE"
    SUBKINGDOM_CODE = "SUBKINGDOM_CODE"
    ANAEROBE_SUBKINGDOM_CODE = "ANAEROBE+SUBKINGDOM_CODE"
    ANAEROBE = "ANAEROBE"
    ALL = "ALL"


class AntibioticCodeType(StrEnum):
    """What an antibiotic code in a rule names."""

    WHONET_ABX_CODE = "WHONET_ABX_CODE"
    ATC_CODE = "ATC_CODE"  # or the beginning of one: a class


SPECIFICITY = {kind: rank for rank, kind in enumerate(OrganismCodeType)}

# The letter by which a test code names its guideline: AMP_ND10 is ampicillin by CLSI's 10 µg disk, AMP_EM an MIC by
# EUCAST.
GUIDELINE_LETTERS = {
    "N": "CLSI",
    "E": "EUCAST",
    "F": "SFM",
    "S": "SRGA",
    "B": "BSAC",
    "D": "DIN",
    "T": "NEO",
    "A": "AFA",
}
GUIDELINE_NAMES = {
    "CLSI": "Clinical and Laboratory Standards Institute",
    "EUCAST": "European Committee on Antimicrobial Susceptibility Testing",
    "SFM": "Société Française de Microbiologie",
    "SRGA": "Swedish Reference Group for Antibiotics",
    "BSAC": "British Society for Antimicrobial Chemotherapy",
    "DIN": "Deutsches Institut für Normung",
    "NEO": "Neo-Sensitabs",
    "AFA": "Asociación Argentina de Microbiología",
}
USER_DEFINED = "User-defined"  # breakpoints of the laboratory's own
