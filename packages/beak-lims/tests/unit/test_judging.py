"""A value is judged by the rules of its copy: which rule decides, what is flagged, what is reported, to the digit."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beak_lims.errors import InputRejected
from beak_lims.judging import Age, Subject, judge, parse_number, rounded

WOMAN = Subject("female", Age.of_years(30))
RANGE = {
    "uid": "r0", "method_uid": None, "gender": None, "age_min": None, "age_max": None, "age_unit": "years",
    "min": None, "max": None, "min_warn": None, "max_warn": None, "min_report": None, "max_report": None,
    "normal_value": None, "warn_values": [], "warn_report": None,
}  # fmt: skip
RULE = {"uid": "x", "instrument_uid": None, "method_uid": None}


def copy(**more: Any) -> dict[str, Any]:
    """The copy of an analysis without any rule, and what is given."""
    lists = ("specifications", "correction_factors", "detection_limits", "uncertainties", "result_options")
    plain: dict[str, Any] = {"name": "Test", "result_type": "numeric", "precision": 2, "unit": "mmol/L"}
    return plain | {name: [] for name in lists} | more


def ranges(*given: dict[str, Any]) -> list[dict[str, Any]]:
    return [RANGE | {"uid": f"r{at}"} | one for at, one in enumerate(given)]


@pytest.mark.parametrize(
    ("value", "flag", "reported"),
    [
        ("1.99", "critical_low", "too low"),
        ("2", "low", "2.00"),
        ("3.49", "low", "3.49"),
        ("3.494", "low", "3.49"),
        ("3.495", "normal", "3.50"),  # as it is printed
        ("3.5", "normal", "3.50"),
        ("5.5", "normal", "5.50"),
        ("5.504", "normal", "5.50"),
        ("5.505", "high", "5.51"),
        ("25", "high", "25.00"),
        ("25.01", "critical_high", "25.01"),
        ("-1", "critical_low", "too low"),
        ("<2", "critical_low", "too low"),
        ("<3.5", "low", "<3.5"),
        ("<=3.5", None, "<=3.5"),  # may be 3.5, which is normal
        ("<4", None, "<4"),
        (">5.5", "high", ">5.5"),
        (">=5.5", None, ">=5.5"),
        (">25", "critical_high", ">25"),
        (">= 26", "critical_high", ">=26"),
    ],
)
def test_value_is_held_against_the_limits(value: str, flag: str | None, reported: str) -> None:
    limits = {"min": "3.5", "max": "5.5", "min_warn": "2", "max_warn": "25", "min_report": "too low"}
    judged = judge(copy(specifications=ranges(limits)), value, WOMAN)
    assert (judged.flag, judged.result) == (flag, reported)
    assert judged.details["specification"]["min"] == "3.5"
    # What stays in clear holds no value.
    assert value not in str({**judged.details, "specification": None})


def test_without_a_range_nothing_is_flagged() -> None:
    judged = judge(copy(), "5", WOMAN)
    assert (judged.flag, judged.result, judged.mutations) == (None, "5.00", ())


@pytest.mark.parametrize(
    ("subject", "method", "decides"),
    [
        (Subject("female", Age.of_years(30)), None, "r1"),
        (Subject("male", Age.of_years(30)), None, "r0"),
        (Subject("female", Age.of_years(10)), None, "r0"),
        (Subject("female", Age.between(date(2026, 1, 1), date(2026, 1, 29))), None, "r2"),  # 28 days
        (Subject("female", Age.between(date(2026, 1, 1), date(2026, 1, 30))), None, "r0"),  # 29 days
        (Subject("female", Age.between(date(2026, 1, 31), date(2026, 4, 30))), None, "r3"),  # 2 months, not 3
        (Subject("female", Age.of_years(30)), "wet", "r4"),
        (Subject("female", Age.of_years(70)), None, "r6"),  # the narrower ages
        (Subject("female"), None, "r0"),
        (Subject("unknown", Age.of_years(30)), None, "r0"),
        (Subject(), None, "r0"),
    ],
)
def test_the_range_that_asks_for_most_decides(subject: Subject, method: str | None, decides: str) -> None:
    given = ranges(
        {"max": "1"},
        {"max": "2", "gender": "female", "age_min": 18, "age_max": 120},
        {"max": "3", "age_min": 0, "age_max": 28, "age_unit": "days"},
        {"max": "4", "age_min": 2, "age_max": 2, "age_unit": "months"},
        {"max": "5", "method_uid": "wet"},
        {"max": "6", "gender": "female", "age_min": 65},
        {"max": "7", "gender": "female", "age_min": 65, "age_max": 80},
    )
    assert judge(copy(specifications=given), "1", subject, method_uid=method).details["specification"]["uid"] == decides


def test_range_in_another_unit_is_held_against_no_number() -> None:
    in_grams, own, any_unit = {"unit": "g/L", "max": "1"}, {"unit": "mmol/L", "max": "6"}, {"max": "7"}
    assert judge(copy(specifications=ranges(in_grams)), "5", WOMAN).flag is None
    for fitting in (own, any_unit):
        judged = judge(copy(specifications=ranges(in_grams, fitting)), "5", WOMAN)
        assert (judged.flag, judged.details["specification"]["uid"]) == ("normal", "r1")


def test_steps_follow_each_other_and_are_told() -> None:
    content = copy(
        correction_factors=[RULE | {"factor": "1.1"}, RULE | {"factor": "2", "instrument_uid": "big"}],
        uncertainties=[RULE | {"min": "0", "max": "10", "value": "0.20"}],
        detection_limits=[RULE | {"lower": "0.05", "upper": "10.5"}],
        specifications=ranges({"max": "5"}),
    )
    judged = judge(content, "5", WOMAN)
    assert (judged.entered, judged.result, judged.flag) == ("5", "5.50 +/- 0.2", "high")
    assert [(one.step, one.before, one.after) for one in judged.mutations] == [
        ("correction", "5", "5.50"),
        ("uncertainty", "5.50", "5.50 +/- 0.2"),
    ]
    assert judge(content, "5", WOMAN, instrument_uid="big").result == "10.00 +/- 0.2"
    assert judge(content, "0.01", WOMAN).result == "< 0.05"
    assert judge(content, "9.6", WOMAN).result == "> 10.5"
    assert judge(content, "<5", WOMAN).result == "<5.5"


def test_unrounded_value_meets_the_detection_limit() -> None:
    content = copy(precision=0, detection_limits=[RULE | {"lower": "0.5", "upper": None}])
    assert judge(content, "0.49", WOMAN).result == "< 0.5"
    assert judge(content, "0.5", WOMAN).result == "1"


def test_warning_text_takes_the_place_of_a_detection_limit() -> None:
    content = copy(
        specifications=ranges({"min_warn": "1", "min_report": "Call the ward"}),
        detection_limits=[RULE | {"lower": "0.5", "upper": None}],
    )
    judged = judge(content, "0.1", WOMAN)
    assert (judged.result, judged.flag) == ("Call the ward", "critical_low")


@pytest.mark.parametrize(
    "value",
    ["", " ", "five", "5,2", "1e3", "NaN", "Infinity", "0x10", "٣", "1_000", "5.", "--5", "1" * 13, "0.123456789"],
)
def test_what_is_no_plain_number_is_refused(value: str) -> None:
    with pytest.raises(InputRejected):
        judge(copy(), value, WOMAN)


@pytest.mark.parametrize(("entered", "flag", "reported"), [
    ("Negative", "normal", "Negative"), ("Positive", "abnormal", "REACTIVE"), ("Equivocal", "abnormal", "Equivocal"),
])  # fmt: skip
def test_text_is_held_against_the_normal_and_the_warned_of(entered: str, flag: str, reported: str) -> None:
    given = ranges({"normal_value": "Negative", "warn_values": ["positive"], "warn_report": "REACTIVE"})
    judged = judge(copy(result_type="short_text", specifications=given), entered, WOMAN)
    assert (judged.flag, judged.result) == (flag, reported)


@pytest.mark.parametrize(("given", "flag"), [({}, None), ({"normal_value": "Clear"}, "abnormal")])
def test_text_without_values_to_warn_of_is_reported_as_entered(given: dict[str, str], flag: str | None) -> None:
    judged = judge(copy(result_type="short_text", specifications=ranges(given)), "Cloudy", WOMAN)
    assert (judged.flag, judged.result, judged.mutations) == (flag, "Cloudy", ())


def test_list_takes_its_options_only() -> None:
    options = [
        {"key": 1, "value": "Clear", "sample_types": []},
        {"key": 2, "value": "Bloody", "sample_types": ["urine"]},
    ]
    content = copy(result_type="select_list", result_options=options)
    assert judge(content, "Clear", WOMAN, sample_type_uid="blood").result == "Clear"
    with pytest.raises(InputRejected, match="choose one of its options: Clear"):
        judge(content, "Bloody", WOMAN, sample_type_uid="blood")
    several = content | {"result_type": "multi_select_list"}
    assert judge(several, ["Clear", "Bloody"], WOMAN, sample_type_uid="urine").result == "Clear\nBloody"
    for wrong in ([], ["Clear", "Clear"], ["Cloudy"]):
        with pytest.raises(InputRejected):
            judge(several, wrong, WOMAN, sample_type_uid="urine")


def test_control_is_held_against_its_own_range() -> None:
    qc = {"level": "Low", "lot": "L1", "expected": None, "min": "1.8", "max": "2.2"}
    content = copy(specifications=ranges({"max": "1"}), qc=qc)
    assert [judge(content, value, Subject()).flag for value in ("1.7", "2", "2.3")] == ["low", "normal", "high"]
    text = copy(result_type="short_text", qc=qc | {"expected": "Negative"})
    assert [judge(text, value, Subject()).flag for value in ("negative", "Positive")] == ["normal", "abnormal"]


@pytest.mark.parametrize(
    ("born", "on", "age"),
    [
        (date(2000, 2, 29), date(2001, 2, 28), (365, 11, 0)),
        (date(2000, 2, 29), date(2001, 3, 1), (366, 12, 1)),
        (date(2026, 5, 1), date(2026, 5, 1), (0, 0, 0)),
        (date(1990, 5, 2), date(2026, 5, 1), (13148, 431, 35)),
    ],
)
def test_age_is_counted_in_completed_units(born: date, on: date, age: tuple[int, int, int]) -> None:
    found = Age.between(born, on)
    assert found is not None
    assert (found.days, found.months, found.years) == age


def test_nobody_has_an_age_before_birth() -> None:
    assert Age.between(date(2026, 5, 2), date(2026, 5, 1)) is None


@given(st.decimals(min_value=-(10**11), max_value=10**11, places=8), st.integers(0, 8))
def test_no_digit_is_lost_or_made_up(number: Decimal, precision: int) -> None:
    text = format(number, "f")
    sign, parsed = parse_number(text)
    assert (sign, parsed) == ("", number)
    printed = Decimal(rounded(parsed, precision))
    assert abs(printed - number) <= Decimal(1).scaleb(-precision) / 2
    assert not rounded(parsed, precision).startswith("-0") or printed != 0
