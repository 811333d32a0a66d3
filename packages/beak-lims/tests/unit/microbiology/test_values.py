"""Values as typed, read: exact, off the scale, between dilutions, and refused when they are none."""

from __future__ import annotations

from decimal import Decimal

import pytest

from beak_lims.errors import MeasurementRejected
from beak_lims.microbiology.codes import Method
from beak_lims.microbiology.values import Measured, parse_measured, parse_range, round_up


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("0.5", "0.5", "0.5"),
        ("=8", "8", "8"),
        (" .25 ", "0.25", "0.25"),
        ("0.12", "0.125", "0.125"),
        ("0.06", "0.0625", "0.0625"),
        ("0.064", "0.0625", "0.0625"),
        ("0.016", "0.015625", "0.015625"),
        ("0.38", "0.5", "0.5"),
        ("1.5", "2", "2"),
        ("0.094", "0.125", "0.125"),
        ("<=0.25", None, "0.25"),
        ("≤0.25", None, "0.25"),
        ("=<0.25", None, "0.25"),
        ("<0.25", None, "0.125"),
        (">32", "64", None),
        (">=32", "32", None),
        (">6", "8", None),
        ("500", "500", "500"),  # of a high-level screen
        ("4096", "4096", "4096"),
    ],
)
def test_mic_is_read_as_the_dilution_it_stands_for(text: str, low: str | None, high: str | None) -> None:
    expected = Measured(None if low is None else Decimal(low), None if high is None else Decimal(high))
    assert parse_measured(text, Method.MIC) == expected


def test_half_dilutions_are_kept_where_they_are_not_to_be_rounded() -> None:
    assert parse_measured("0.38", Method.MIC, round_half_dilutions=False) == Measured(Decimal("0.38"), Decimal("0.38"))


@pytest.mark.parametrize(
    ("text", "low", "high"), [("17", 17, 17), ("<=6", None, 6), (">40", 41, None), (">=40", 40, None), ("<7", None, 6)]
)
def test_zone_is_a_whole_number_of_millimetres(text: str, low: int | None, high: int | None) -> None:
    read = parse_measured(text, Method.DISK)
    assert (read.low, read.high) == (low, high)


@pytest.mark.parametrize("text", ["", "S", "0", "-1", "0,5", "1/4", "8 mg", "1e3", "<>4", "<<8", "nan", "٤"])
@pytest.mark.parametrize("method", list(Method))
def test_what_is_no_measured_value_is_refused(text: str, method: Method) -> None:
    with pytest.raises(MeasurementRejected, match="cannot be read"):
        parse_measured(text, method)


@pytest.mark.parametrize("text", ["17.5", "100", "0.5"])
def test_what_is_no_zone_is_refused(text: str) -> None:
    with pytest.raises(MeasurementRejected, match="whole number of mm"):
        parse_measured(text, Method.DISK)


@pytest.mark.parametrize(
    ("text", "bounds"),
    [("", None), ("-", None), ("27-26", None), ("4", (4, 4)), ("15-17", (15, 17)), ("<=2", (None, 2))],
)
def test_ranges_of_tables_are_read(text: str, bounds: tuple[int | None, int] | None) -> None:
    assert parse_range(text) == bounds


@pytest.mark.parametrize("text", ["4-", "a", "<=2-4", "1 - 2", ">=4"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no range"):
        parse_range(text)


def test_every_dilution_rounds_to_itself() -> None:
    for power in range(-10, 12):
        value = Decimal(2) ** power
        assert round_up(value) == value
        assert round_up(value * Decimal("1.2")) == min(value * 2, value * 2 if power < 11 else value * Decimal("1.2"))
