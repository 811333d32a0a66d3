"""WHONET's tables as rows of the catalog; a row that contradicts itself or cannot be understood is left out and told.

Nothing here knows a database. Rows come in the order of their file, each with a digest of what identifies it and one of
all it says.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from hashlib import blake2b
from pathlib import Path
from typing import Any

from beak_lims.microbiology.codes import (
    GUIDELINE_NAMES,
    AntibioticCodeType,
    BreakpointType,
    Method,
    OrganismCodeType,
)
from beak_lims.microbiology.expert import parse_criteria
from beak_lims.microbiology.values import parse_range
from beak_lims.microbiology.whonet.files import Line, Source, find

# Table, then the files that may hold it. Read in this order.
FILES = {
    "antibiotic": r"Antibiotics\.txt",
    "organism": r"Organisms\.txt",
    "serotype": r"Serotypes?\.txt",
    "breakpoint": r"Breakpoints(\.\d{4})?\.txt",
    "user_breakpoint": r"(Sample)?UserDefinedBreakpoints\.txt",
    "expected_res_phenotype": r"ExpectedResistancePhenotypes\.txt",
    "expert_interpret_rule": r"ExpertInterpretationRules\.txt",
    "qc_range": r"QC_?Ranges\.txt",
}
SOURCE = "whonet"
ATC = re.compile(r"[A-Z]\d\d[A-Z]{0,2}\d{0,2}")
CODE = re.compile(r"[A-Za-z0-9+_#*-]{1,16}")


@dataclass(frozen=True, slots=True)
class Row:
    """A row to keep. ``scope``: what part of the table it belongs to, which a newer file replaces as a whole."""

    key: str
    digest: str
    scope: tuple[str, ...]
    values: dict[str, Any]


@dataclass
class Table:
    """What one file holds for one table of the catalog."""

    name: str
    source: Source
    rows: list[Row] = field(default_factory=list)


@dataclass
class Catalog:
    """Tables that were read together."""

    origin: str  # of the rows, as kept with each: whonet, or starter
    tables: list[Table] = field(default_factory=list)

    def notes(self) -> Iterator[str]:
        """What is odd about the tables as a whole, and no reason to leave a row out."""
        agents = {row.values["code"] for table in self.tables if table.name == "antibiotic" for row in table.rows}
        if not agents:
            return
        for name in ("breakpoint", "qc_range"):
            rows = [row for table in self.tables if table.name == name for row in table.rows]
            unknown = Counter(row.values["antibiotic_code"] for row in rows)
            strange = {code: count for code, count in sorted(unknown.items()) if code not in agents}
            if strange:
                listed = ", ".join(f"{code} ({count})" for code, count in strange.items())
                yield f"{name}: rows of antibiotics that the table of antibiotics does not hold: {listed}"


class Unreadable(ValueError):
    """A row cannot be kept; the text says why. Caught where rows are read, and told with the line."""


def read(directory: Path, *, origin: str = SOURCE) -> Catalog:
    """Read every table that the directory holds.

    :raises TableRejected: the directory or a file cannot be used at all.
    """
    catalog = Catalog(origin)
    for name, path in find(directory, FILES).items():
        required, parse = READERS[name]
        table = Table(name.removeprefix("user_"), Source(path))
        seen: dict[tuple[str, str], int] = {}  # key and digest: the line that told the same before
        keys: Counter[str] = Counter()
        for line in table.source.lines(required):
            try:
                identity, scope, values = parse(line)
            except Unreadable as error:
                table.source.reject(line.number, str(error))
                continue
            key, told = digest(identity), digest(map(str, values.values()))
            if (before := seen.setdefault((key, told), line.number)) != line.number:
                table.source.reject(line.number, f"it repeats line {before}.")
                continue
            keys[key] += 1
            if keys[key] > 1:
                if "variant" not in values:
                    table.source.reject(line.number, "another row before tells something else of the same thing.")
                    continue
                # The same thing told differently: kept beside the first, in the order of the file.
                values["variant"] = keys[key]
                key = digest([*identity, str(keys[key])])
            table.rows.append(Row(key, told, scope, values))
        catalog.tables.append(table)
    return catalog


def digest(values: Iterable[str]) -> str:
    """A digest of texts in their order."""
    return blake2b("\t".join(values).encode(), digest_size=16).hexdigest()


def _antibiotic(line: Line) -> Parsed:
    """One agent in one form; the loader makes an antibiotic of the rows of one code."""
    flags = [guideline for guideline in GUIDELINE_NAMES if line[guideline]]
    number = line["ABX_NUMBER"]
    if number and not number.isdecimal():
        raise Unreadable(f"ABX_NUMBER {number!r} is no number.")
    values: dict[str, Any] = {
        "code": _code(line, "WHONET_ABX_CODE"),
        "name": _text(line, "ANTIBIOTIC", 255),
        "atc_code": line["ATC_CODE"],
        "drug_class": line["CLASS"],
        "drug_subclass": line["SUBCLASS"],
        "prof_class": line["PROF_CLASS"],
        "aware": line["WHO_AWARE"],
        "loinc_mic": line["LOINCMIC"],
        "loinc_disk": line["LOINCDISK"],
        "loinc_etest": line["LOINCETEST"],
        "human": bool(line["HUMAN"]),
        "veterinary": bool(line["VETERINARY"]),
        "potency": line["POTENCY"],
        "number": int(number) if number else None,
        "guidelines": ",".join(flags),
    }
    _fits(values)
    return (values["code"], values["potency"]), (), values


def _organism(line: Line) -> Parsed:
    values: dict[str, Any] = {
        "code": _code(line, "WHONET_ORG_CODE"),
        "name": _text(line, "ORGANISM", 255),
        "taxonomic_status": line["TAXONOMIC_STATUS"] or "C",
        "replaced_by": line["REPLACED_BY"],
        "common": bool(line["COMMON"]),
        "common_commensal": bool(line["COMMON_COMMENSAL"]),
        "organism_type": line["ORGANISM_TYPE"],
        "anaerobe": bool(line["ANAEROBE"]),
        "morphology": line["MORPHOLOGY"],
        "subkingdom_code": line["SUBKINGDOM_CODE"],
        "family_code": line["FAMILY_CODE"],
        "genus_group": line["GENUS_GROUP"],
        "genus_code": line["GENUS_CODE"],
        "species_group": line["SPECIES_GROUP"],
        "serovar_group": line["SEROVAR_GROUP"],
        "snomed_code": line["SCT_CODE"],
        "kingdom": line["KINGDOM"],
        "phylum": line["PHYLUM"],
        "taxonomic_class": line["CLASS"],
        "taxonomic_order": line["ORDER"],
        "family": line["FAMILY"],
        "genus": line["GENUS"],
    }
    _fits(values)
    return (values["code"], values["name"], values["replaced_by"]), (), values


def _serotype(line: Line) -> Parsed:
    values: dict[str, Any] = {
        "organism_code": _code(line, "ORGANISM"),
        "name": _text(line, "SEROTYPE", 255),
        "serogroup": line["SEROGROUP"],
        "subspecies": line["SUBSPECIES"],
        "o_antigens": line["O_ANTIGENS"],
        "h_phase_1": line["H_PHASE_1"],
        "h_phase_2": line["H_PHASE_2"],
        "fate": line["FATE"],
    }
    _fits(values)
    identity = (values["organism_code"], values["name"], *(values[name] for name in ("serogroup", "subspecies")))
    return (*identity, values["o_antigens"], values["h_phase_1"], values["h_phase_2"]), (), values


def _breakpoint(line: Line) -> Parsed:
    guideline, year = _text(line, "GUIDELINES", 16), _year(line)
    method = _member(Method, line["TEST_METHOD"].upper(), "TEST_METHOD")
    kind = _member(BreakpointType, line["BREAKPOINT_TYPE"], "BREAKPOINT_TYPE")
    antibiotic, test = _code(line, "WHONET_ABX_CODE"), _text(line, "WHONET_TEST", 16)
    if test.partition("_")[0] != antibiotic:
        raise Unreadable(f"WHONET_TEST {test} is not of antibiotic {antibiotic}.")
    values: dict[str, Any] = {
        "guideline": guideline,
        "year": year,
        "test_method": method,
        "potency": line["POTENCY"],
        "organism_code": _code(line, "ORGANISM_CODE"),
        "organism_code_type": _code_type(line),
        "breakpoint_type": kind,
        "host": line["HOST"],
        "site_of_infection": line["SITE_OF_INFECTION"],
        "reference_table": line["REFERENCE_TABLE"],
        "reference_sequence": line["REFERENCE_SEQUENCE"],
        "antibiotic_code": antibiotic,
        "test_code": test,
        "susceptible": _number(line, "S"),
        "intermediate": _range(line, "I"),
        "dose_dependent": _range(line, "SDD"),
        "resistant": _number(line, "R"),
        "ecoff": _number(line, "ECV_ECOFF"),
        "ecoff_tentative": bool(line["ECV_ECOFF_TENTATIVE"]),
        "comments": line["COMMENTS"],
        "variant": 1,
    }
    _fits(values)
    susceptible, resistant = values["susceptible"], values["resistant"]
    if susceptible is None and resistant is not None:
        raise Unreadable("R has a value and S has none.")
    if susceptible is not None and resistant is not None:
        # S and R may meet on a disk, as tables have it: the zone counts as susceptible.
        if method == Method.MIC and resistant <= susceptible:
            raise Unreadable(f"R {resistant} is not above S {susceptible}, as it must be for an MIC.")
        if method == Method.DISK and resistant > susceptible:
            raise Unreadable(f"R {resistant} is above S {susceptible}, and zones grow with susceptibility.")
    if kind == BreakpointType.ECOFF and values["ecoff"] is None:
        raise Unreadable("it is an ECOFF without ECV_ECOFF.")
    names = ("test_method", "potency", "organism_code", "organism_code_type", "breakpoint_type", "host")
    identity = (guideline, str(year), *(values[name] for name in names), values["site_of_infection"], test)
    return identity, (guideline, str(year)), values


def _expected_resistance(line: Line) -> Parsed:
    guideline = _text(line, "GUIDELINE", 16)
    kind = _member(AntibioticCodeType, line["ABX_CODE_TYPE"], "ABX_CODE_TYPE")
    code = _code(line, "ABX_CODE")
    if kind == AntibioticCodeType.ATC_CODE and not ATC.fullmatch(code):
        raise Unreadable(f"ABX_CODE {code!r} is no ATC code, nor the beginning of one.")
    except_organisms = _codes(line["EXCEPTION_ORGANISM_CODE"])
    except_kind = ""
    if except_organisms:
        except_kind = _member(OrganismCodeType, line["EXCEPTION_ORGANISM_CODE_TYPE"], "EXCEPTION_ORGANISM_CODE_TYPE")
    values: dict[str, Any] = {
        "guideline": guideline,
        "reference_table": line["REFERENCE_TABLE"],
        "organism_code": _code(line, "ORGANISM_CODE"),
        "organism_code_type": _code_type(line),
        "exception_organism_codes": except_organisms,
        "exception_organism_code_type": except_kind,
        "antibiotic_code": code,
        "antibiotic_code_type": kind,
        "antibiotic_exceptions": _codes(line["ANTIBIOTIC_EXCEPTIONS"]),
    }
    _fits(values)
    names = ("reference_table", "organism_code", "organism_code_type", "antibiotic_code", "antibiotic_code_type")
    return (guideline, *(values[name] for name in names)), (guideline,), values


def _expert_rule(line: Line) -> Parsed:
    values: dict[str, Any] = {
        "code": _text(line, "RULE_CODE", 32),
        "description": line["DESCRIPTION"],
        "organism_code": _code(line, "ORGANISM_CODE"),
        "organism_code_type": _code_type(line),
        "criteria": _text(line, "RULE_CRITERIA", 1024),
        "affected": _codes(line["AFFECTED_ANTIBIOTICS"]),
        "exceptions": _codes(line["ANTIBIOTIC_EXCEPTIONS"]),
    }
    _fits(values)
    try:
        parse_criteria(values["criteria"])
    except ValueError as error:
        raise Unreadable(f"RULE_CRITERIA {error}") from None
    names = ("code", "organism_code", "organism_code_type", "criteria")
    return tuple(values[name] for name in names), (), values


def _qc_range(line: Line) -> Parsed:
    guideline, year = _text(line, "GUIDELINE", 16), _year(line)
    method = _member(Method, line["METHOD"].upper(), "METHOD")
    minimum, maximum = _number(line, "MINIMUM"), _number(line, "MAXIMUM")
    if minimum is None:
        raise Unreadable("MINIMUM is empty.")
    if maximum is not None and maximum < minimum:
        raise Unreadable(f"MAXIMUM {maximum} is below MINIMUM {minimum}.")
    values: dict[str, Any] = {
        "guideline": guideline,
        "year": year,
        "strain": _text(line, "STRAIN", 32),
        "reference_table": line["REFERENCE_TABLE"],
        "organism_code": _code(line, "WHONET_ORG_CODE"),
        "antibiotic_code": _code(line, "WHONET_ABX_CODE"),
        "test_code": _text(line, "ABX_TEST", 16),
        "test_method": method,
        "medium": line["MEDIUM"],
        "minimum": minimum,
        "maximum": maximum,
        "variant": 1,
    }
    _fits(values)
    names = ("strain", "reference_table", "test_code", "test_method", "medium")
    return (guideline, str(year), *(values[name] for name in names)), (guideline, str(year)), values


Parsed = tuple[Sequence[str], tuple[str, ...], dict[str, Any]]
READERS: dict[str, tuple[Sequence[str], Callable[[Line], Parsed]]] = {
    "antibiotic": (("WHONET_ABX_CODE", "ANTIBIOTIC", "POTENCY"), _antibiotic),
    "organism": (("WHONET_ORG_CODE", "ORGANISM"), _organism),
    "serotype": (("SEROTYPE", "ORGANISM"), _serotype),
    "expected_res_phenotype": (
        ("GUIDELINE", "ORGANISM_CODE", "ORGANISM_CODE_TYPE", "ABX_CODE", "ABX_CODE_TYPE"),
        _expected_resistance,
    ),
    "expert_interpret_rule": (
        ("RULE_CODE", "ORGANISM_CODE", "ORGANISM_CODE_TYPE", "RULE_CRITERIA", "AFFECTED_ANTIBIOTICS"),
        _expert_rule,
    ),
    "qc_range": (
        ("GUIDELINE", "YEAR", "STRAIN", "WHONET_ORG_CODE", "WHONET_ABX_CODE", "ABX_TEST", "METHOD", "MINIMUM"),
        _qc_range,
    ),
}
_BREAKPOINT = (
    *("GUIDELINES", "YEAR", "TEST_METHOD", "ORGANISM_CODE", "ORGANISM_CODE_TYPE", "BREAKPOINT_TYPE", "HOST"),
    *("SITE_OF_INFECTION", "WHONET_ABX_CODE", "WHONET_TEST", "R", "S"),
)
READERS["breakpoint"] = READERS["user_breakpoint"] = (_BREAKPOINT, _breakpoint)

LONGEST = {  # characters; what is not named here may have 64
    "reference_table": 255,
    "site_of_infection": 255,
    "comments": 255,
    "description": 255,
    "fate": 255,
    "name": 255,
    "criteria": 1024,
    **dict.fromkeys(("potency", "medium", "strain", "morphology", "prof_class", "snomed_code", "code"), 32),
    **dict.fromkeys(("reference_sequence", "intermediate", "dose_dependent", "atc_code", "aware"), 16),
    **dict.fromkeys(("loinc_mic", "loinc_disk", "loinc_etest", "replaced_by", "serogroup", "subspecies"), 16),
    **dict.fromkeys(("family_code", "genus_group", "genus_code", "species_group", "serovar_group"), 16),
    **dict.fromkeys(("taxonomic_status", "organism_type", "subkingdom_code"), 1),
}


def _fits(values: dict[str, Any]) -> None:
    """:raises Unreadable: a text is longer than the database keeps it."""
    for name, value in values.items():
        if isinstance(value, str) and len(value) > (longest := LONGEST.get(name, 64)):
            raise Unreadable(f"{name} has {len(value)} characters; at most {longest} are kept.")


def _text(line: Line, column: str, longest: int) -> str:
    if not (value := line[column]):
        raise Unreadable(f"{column} is empty.")
    if len(value) > longest:
        raise Unreadable(f"{column} has {len(value)} characters; at most {longest} are kept.")
    return value


def _code(line: Line, column: str) -> str:
    value = _text(line, column, 16)
    if not CODE.fullmatch(value):
        raise Unreadable(f"{column} {value!r} is no code.")
    return value


def _codes(value: str) -> list[str]:
    return [code.strip() for code in value.split(",") if code.strip()]


def _code_type(line: Line) -> str:
    if not (value := line["ORGANISM_CODE_TYPE"]):
        raise Unreadable(
            f"ORGANISM_CODE_TYPE is empty, so it is not told which organisms {line['ORGANISM_CODE']} means."
        )
    return _member(OrganismCodeType, value, "ORGANISM_CODE_TYPE")


def _member(words: Any, value: str, column: str) -> str:
    if value not in words.__members__.values():
        raise Unreadable(f"{column} {value!r} is none of {', '.join(words)}.")
    return value


def _year(line: Line) -> int:
    value = line["YEAR"]
    if not (value.isascii() and value.isdecimal() and 1900 <= int(value) <= 9999):
        raise Unreadable(f"YEAR {value!r} is no year.")
    return int(value)


def _number(line: Line, column: str) -> Decimal | None:
    if not (value := line[column]):
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise Unreadable(f"{column} {value!r} is no number.") from None
    if not (number.is_finite() and 0 <= number < 1_000_000) or len(value) > 16:
        raise Unreadable(f"{column} {value!r} is no MIC in mg/L and no zone in mm.")
    return number


def _range(line: Line, column: str) -> str:
    value = line[column]
    try:
        parse_range(value)
    except ValueError as error:
        raise Unreadable(f"{column} {error}") from None
    return value
