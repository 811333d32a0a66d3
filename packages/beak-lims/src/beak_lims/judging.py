"""Judge a result by the copy of its analysis's set-up that was frozen with it.

A value goes through these steps: correction factor, specification, detection limit, uncertainty. Each step that
changes it is told with what was before and why. Numbers are exact decimals. The value is held against the ranges as
it is printed, rounded half up to the analysis's precision, so that a flag never contradicts what is read; against
detection limits as it was measured. Where several rules fit, the one that asks for most decides: by method before by
sex before by age. Nothing here touches a database.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from beak_lims.errors import InputRejected
from beak_lims.models.analysis import AgeUnit, ResultType
from beak_lims.models.analysis_result import Flag, Step

MAX_SHORT = 255  # characters of a short text
MAX_LONG = 10_000  # characters of a long text
SEPARATOR = "\n"  # between the values of a multi-select result; no option holds it

# At most 12 digits before the point and 8 after it, as the limits are kept; an instrument's limit may stand before it.
_NUMBER = re.compile(r"(?P<sign><=|>=|<|>)?\s*(?P<number>[+-]?(?:\d{1,12}(?:\.\d{1,8})?|\.\d{1,8}))", re.ASCII)


@dataclass(frozen=True)
class Age:
    """An age in completed days, months and years."""

    days: int
    months: int
    years: int

    @classmethod
    def between(cls, born: date, on: date) -> Age | None:
        """The age on a day; None before birth."""
        if on < born:
            return None
        months = (on.year - born.year) * 12 + on.month - born.month - (on.day < born.day)
        return cls((on - born).days, months, months // 12)

    @classmethod
    def of_years(cls, years: int) -> Age:
        """The age of someone of whom only the years are known."""
        return cls(years * 1461 // 4, years * 12, years)

    def counted(self, unit: str) -> int:
        """The age in one unit."""
        return {AgeUnit.DAYS: self.days, AgeUnit.MONTHS: self.months, AgeUnit.YEARS: self.years}[AgeUnit(unit)]


@dataclass(frozen=True)
class Subject:
    """Whose result it is, as far as ranges ask. A control sample has neither sex nor age."""

    gender: str | None = None
    age: Age | None = None


@dataclass(frozen=True)
class Mutation:
    """One step that changed a value."""

    step: Step
    before: str | None
    after: str | None
    why: str


@dataclass(frozen=True)
class Judgement:
    """What is reported, and why. ``details`` is what stays readable in clear: no value of the patient is in it."""

    entered: str
    result: str
    flag: Flag | None
    mutations: tuple[Mutation, ...]
    details: dict[str, Any] = field(default_factory=dict)


def judge(
    content: Mapping[str, Any],
    value: str | Sequence[str],
    subject: Subject,
    *,
    method_uid: str | None = None,
    instrument_uid: str | None = None,
    sample_type_uid: str | None = None,
) -> Judgement:
    """Judge one value. ``content`` is the copy of the analysis, ``instrument_uid`` the model of the device used.

    :raises InputRejected: the value is not one that the analysis may have.
    """
    kind = content["result_type"]
    details: dict[str, Any] = {"unit": content["unit"], "gender": subject.gender}
    if subject.age is not None:
        details["age_years"] = subject.age.years
    rules = _Rules(content, method_uid, instrument_uid)
    specification = rules.specification(subject)
    if specification is not None:
        named = ("uid", "min", "max", "min_warn", "max_warn", "normal_value")
        details["specification"] = {name: specification[name] for name in named}
    if content.get("qc"):
        details["qc"] = content["qc"]
    if kind == ResultType.NUMERIC:
        return _judge_number(content, _text(value), rules, specification, details)
    return _judge_text(content, _worded(content, value, sample_type_uid), specification, details)


def parse_number(value: str) -> tuple[str, Decimal]:
    """The sign in front, ``<``, ``<=``, ``>`` or ``>=``, or "", and the number.

    :raises InputRejected: it is not a plain decimal number.
    """
    found = _NUMBER.fullmatch(value.strip())
    if found is None:
        raise InputRejected(
            "Result", value, "write a number such as 5.2, with a point, or a limit such as <0.5; at most 8 decimals."
        )
    return found["sign"] or "", Decimal(found["number"])


def rounded(number: Decimal, precision: int) -> str:
    """The number with this many digits after the point, rounded half up; never ``-0``."""
    made = number.quantize(Decimal(1).scaleb(-precision), rounding=ROUND_HALF_UP)
    return format(abs(made) if made == 0 else made, "f")


class _Rules:
    """The rules of one copy that fit a method and an instrument."""

    def __init__(self, content: Mapping[str, Any], method_uid: str | None, instrument_uid: str | None) -> None:
        self._content = content
        self._method_uid = method_uid
        self._instrument_uid = instrument_uid

    def fitting(self, name: str) -> list[Mapping[str, Any]]:
        """The rules of one kind that fit; those that name method and instrument come first."""

        def fits(rule: Mapping[str, Any]) -> bool:
            return rule["method_uid"] in (None, self._method_uid) and rule["instrument_uid"] in (
                None,
                self._instrument_uid,
            )

        def asked(rule: Mapping[str, Any]) -> tuple[bool, bool]:
            return rule["method_uid"] is not None, rule["instrument_uid"] is not None

        return sorted(filter(fits, self._content[name]), key=asked, reverse=True)

    def specification(self, subject: Subject) -> Mapping[str, Any] | None:
        """The range that fits best; of two that ask for the same, that of the narrower ages, then the newer one."""

        def fits(rule: Mapping[str, Any]) -> bool:
            # Nothing is converted, so a range in another unit says nothing of the number; older copies tell no unit.
            if rule.get("unit") not in (None, self._content["unit"]):
                return False
            if rule["method_uid"] not in (None, self._method_uid) or rule["gender"] not in (None, subject.gender):
                return False
            if rule["age_min"] is None and rule["age_max"] is None:
                return True
            if subject.age is None:
                return False
            age = subject.age.counted(rule["age_unit"])
            return (rule["age_min"] or 0) <= age and (rule["age_max"] is None or age <= rule["age_max"])

        def rank(rule: Mapping[str, Any]) -> tuple[bool, bool, bool, float, str]:
            aged = rule["age_min"] is not None or rule["age_max"] is not None
            days = {AgeUnit.DAYS: 1.0, AgeUnit.MONTHS: 30.4375, AgeUnit.YEARS: 365.25}[AgeUnit(rule["age_unit"])]
            top = float("inf") if rule["age_max"] is None else (rule["age_max"] + 1) * days
            span = top - (rule["age_min"] or 0) * days
            return rule["method_uid"] is not None, rule["gender"] is not None, aged, -span, rule["uid"]

        return max(filter(fits, self._content["specifications"]), key=rank, default=None)


def _judge_number(
    content: Mapping[str, Any],
    entered: str,
    rules: _Rules,
    specification: Mapping[str, Any] | None,
    details: dict[str, Any],
) -> Judgement:
    sign, number = parse_number(entered)
    precision: int = content["precision"]
    # A limit is told as it was measured: rounding it could turn <0.004 into <0.00.
    result = f"{sign}{_plain(number)}" if sign else rounded(number, precision)
    mutations: list[Mutation] = []

    factor = next(iter(rules.fitting("correction_factors")), None)
    if factor is not None and Decimal(factor["factor"]) != 1:
        times = Decimal(factor["factor"])
        if times < 0:
            sign = sign.translate(str.maketrans("<>", "><"))
        number *= times
        corrected = f"{sign}{_plain(number)}" if sign else rounded(number, precision)
        why = f"multiplied by the correction factor {_plain(times)}"
        mutations.append(Mutation(Step.CORRECTION, entered, corrected, why))
        result = corrected

    printed = number if sign else Decimal(rounded(number, precision))
    limits = specification
    if content.get("qc"):
        limits = {"min_warn": None, "max_warn": None, "min_report": None, "max_report": None, **content["qc"]}
    flag, report = _held_against(limits, sign, printed)
    if report is not None and report != result:
        why = "below the lower warning limit" if flag is Flag.CRITICAL_LOW else "above the upper warning limit"
        mutations.append(Mutation(Step.SPECIFICATION, result, report, why))
        return Judgement(entered, report, flag, tuple(mutations), details)

    if not sign:
        limited = _detected(rules, number)
        if limited is not None:
            mutations.append(Mutation(Step.DETECTION_LIMIT, result, *limited))
            return Judgement(entered, limited[0], flag, tuple(mutations), details)
        for rule in rules.fitting("uncertainties"):
            if Decimal(rule["min"]) <= number <= Decimal(rule["max"]):
                uncertain = f"{result} +/- {_plain(Decimal(rule['value']))}"
                mutations.append(Mutation(Step.UNCERTAINTY, result, uncertain, "the uncertainty of this range"))
                result = uncertain
                break
    return Judgement(entered, result, flag, tuple(mutations), details)


def _detected(rules: _Rules, number: Decimal) -> tuple[str, str] | None:
    """What is said of a number beyond the detection limits, and why; None within them."""
    rule = next(iter(rules.fitting("detection_limits")), None)
    if rule is None:
        return None
    lower, upper = _decimal(rule["lower"]), _decimal(rule["upper"])
    if lower is not None and number < lower:
        return f"< {_plain(lower)}", "below the lower detection limit"
    if upper is not None and number > upper:
        return f"> {_plain(upper)}", "above the upper detection limit"
    return None


def _held_against(limits: Mapping[str, Any] | None, sign: str, number: Decimal) -> tuple[Flag | None, str | None]:
    """The flag of a number, and the text that a warning limit wants reported instead of it.

    Of a value that is only known to lie beyond a number, what is certain is told: nothing, if it may lie on either
    side of a limit.
    """
    if limits is None:
        return None, None
    low, high = _decimal(limits["min"]), _decimal(limits["max"])
    critical_low, critical_high = _decimal(limits["min_warn"]), _decimal(limits["max_warn"])
    if low is high is critical_low is critical_high is None:
        return None, None

    def below(limit: Decimal | None) -> bool:
        return limit is not None and (number < limit or (sign == "<" and number <= limit)) and sign not in (">", ">=")

    def above(limit: Decimal | None) -> bool:
        return limit is not None and (number > limit or (sign == ">" and number >= limit)) and sign not in ("<", "<=")

    if below(critical_low):
        return Flag.CRITICAL_LOW, limits["min_report"]
    if above(critical_high):
        return Flag.CRITICAL_HIGH, limits["max_report"]
    if below(low):
        return Flag.LOW, None
    if above(high):
        return Flag.HIGH, None
    if sign in ("<", "<=") and (low is not None or critical_low is not None):
        return None, None
    if sign in (">", ">=") and (high is not None or critical_high is not None):
        return None, None
    return Flag.NORMAL, None


def _judge_text(
    content: Mapping[str, Any], entered: str, specification: Mapping[str, Any] | None, details: dict[str, Any]
) -> Judgement:
    qc = content.get("qc")
    if qc:
        expected = qc["expected"]
        flag = None if expected is None else (Flag.NORMAL if _same(entered, expected) else Flag.ABNORMAL)
        return Judgement(entered, entered, flag, (), details)
    if specification is None:
        return Judgement(entered, entered, None, (), details)
    values = entered.split(SEPARATOR)
    if any(_same(value, warn) for value in values for warn in specification["warn_values"]):
        report = specification["warn_report"]
        if not report or report == entered:
            return Judgement(entered, entered, Flag.ABNORMAL, (), details)
        mutation = Mutation(Step.SPECIFICATION, entered, report, "a value that is to be warned of")
        return Judgement(entered, report, Flag.ABNORMAL, (mutation,), details)
    normal = specification["normal_value"]
    if normal is None:
        flag = Flag.NORMAL if specification["warn_values"] else None
    else:
        flag = Flag.NORMAL if all(_same(value, normal) for value in values) else Flag.ABNORMAL
    return Judgement(entered, entered, flag, (), details)


def _worded(content: Mapping[str, Any], value: str | Sequence[str], sample_type_uid: str | None) -> str:
    kind = content["result_type"]
    if kind == ResultType.MULTI_SELECT_LIST:
        chosen = [value] if isinstance(value, str) else list(value)
        if not chosen or len(set(chosen)) != len(chosen):
            raise InputRejected("Result", SEPARATOR.join(chosen), "choose at least one option, and each once.")
        for one in chosen:
            _check_option(content, one, sample_type_uid)
        return SEPARATOR.join(chosen)
    text = _text(value)
    if kind == ResultType.SELECT_LIST:
        _check_option(content, text, sample_type_uid)
        return text
    most = MAX_SHORT if kind == ResultType.SHORT_TEXT else MAX_LONG
    if len(text) > most:
        raise InputRejected("Result", text, f"at most {most} characters are kept.")
    plain = text if kind == ResultType.SHORT_TEXT else text.replace("\n", "").replace("\t", "")
    if not plain.isprintable():
        raise InputRejected("Result", text, "it holds characters that cannot be printed.")
    return text


def _check_option(content: Mapping[str, Any], value: str, sample_type_uid: str | None) -> None:
    offered = [
        option["value"]
        for option in content["result_options"]
        if not option["sample_types"] or sample_type_uid in option["sample_types"]
    ]
    if value not in offered:
        listed = ", ".join(offered) if offered else f"{content['name']} has none for this sample type"
        raise InputRejected("Result", value, f"choose one of its options: {listed}.")


def _text(value: str | Sequence[str]) -> str:
    text = value if isinstance(value, str) else SEPARATOR.join(value)
    text = text.strip()
    if not text:
        raise InputRejected("Result", text, "it is empty.")
    return text


def _same(value: str, other: str) -> bool:
    return value.strip().casefold() == other.strip().casefold()


def _decimal(value: str | None) -> Decimal | None:
    return None if value is None else Decimal(value)


def _plain(number: Decimal) -> str:
    """The number without an exponent and without trailing zeros after the point."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
