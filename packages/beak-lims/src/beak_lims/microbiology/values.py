"""Measured values: an MIC or a zone, exact or off the scale, and where it stands among two-fold dilutions.

Dilutions are printed in several ways below 1 mg/L (0.12 and 0.125, 0.06 and 0.064); they are compared as the power of
two that they stand for. What a person typed is never altered here, only read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from beak_lims.errors import MeasurementRejected
from beak_lims.microbiology.codes import Method

POWERS = [Decimal(2) ** power for power in range(-10, 12)]  # 0.001 to 2048 mg/L
PRINTED_SHORT = Decimal("0.5")  # mg/L; at and below it dilutions are printed with fewer digits than they have
TOLERANCE = Decimal("0.05")  # relative; 0.12 is 4 % off 0.125, the next dilution is 100 % off
SCREENS = (Decimal(500), Decimal(1000))  # mg/L of high-level aminoglycoside screens: no two-fold dilutions
LARGEST_ZONE = 99  # mm
MEASURED = re.compile(r"(<=|>=|<|>|=)?\s*((?:\d{1,6})?\.?\d{1,6})", re.ASCII)
RANGE = re.compile(r"(<=)?(\d+(?:\.\d+)?)(?:-(\d+(?:\.\d+)?))?", re.ASCII)
SIGNS = {"≤": "<=", "≥": ">=", "=<": "<=", "=>": ">="}


@dataclass(frozen=True, slots=True)
class Measured:
    """A value, or all that is at least ``low`` or at most ``high``: None means no bound on that side."""

    low: Decimal | None
    high: Decimal | None


def parse_measured(text: str, method: Method, *, round_half_dilutions: bool = True) -> Measured:
    """Read a result as typed: ``0.5``, ``<=0.25``, ``>32``, ``17``.

    ``round_half_dilutions``: a value between two dilutions, as a gradient strip gives it, counts as the upper one.

    :raises MeasurementRejected: it is no MIC in mg/L, or no zone in whole mm.
    """
    plain = text.strip()
    for sign, meant in SIGNS.items():
        plain = plain.replace(sign, meant)
    found = MEASURED.fullmatch(plain)
    value = Decimal(found[2]) if found else Decimal(0)
    if found is None or value <= 0:
        form = "an MIC in mg/L such as 0.5, <=0.25 or >32" if method == Method.MIC else "a zone in mm such as 17"
        raise MeasurementRejected(text, f"write {form}.")
    sign = found[1] or "="
    if method == Method.DISK:
        if value != value.to_integral_value() or value > LARGEST_ZONE:
            raise MeasurementRejected(text, f"a zone is a whole number of mm, at most {LARGEST_ZONE}.")
        lower, value, upper = value - 1, value, value + 1
    else:
        at = round_up(value) if round_half_dilutions else dilution(value)
        # `<8` is at most the dilution below 8, `>8` at least the one above; `>6` at least 8, as 6 is between two.
        lower, upper = at / 2, at * 2 if at == dilution(value) else at
        value = at
    return {
        "=": Measured(value, value),
        "<=": Measured(None, value),
        "<": Measured(None, lower),
        ">=": Measured(value, None),
        ">": Measured(upper, None),
    }[sign]


def dilution(value: Decimal) -> Decimal:
    """The power of two that a printed value stands for; the value itself if it stands for none."""
    if value <= PRINTED_SHORT:
        for power in POWERS:
            if abs(value - power) <= TOLERANCE * power:
                return power
    return value


def round_up(value: Decimal) -> Decimal:
    """The next two-fold dilution at or above a value; a value beyond them all, or of a screen, as it is."""
    printed = dilution(value)
    if printed in SCREENS or printed < POWERS[0]:
        return printed
    return next((power for power in POWERS if power >= printed), printed)


def parse_range(text: str) -> tuple[Decimal | None, Decimal] | None:
    """Bounds of a range as breakpoint tables write it: ``4``, ``15-17``, ``<=2``; None for ``-``, blank or none left.

    :raises ValueError: it is written otherwise.
    """
    if text in ("", "-"):
        return None
    found = RANGE.fullmatch(text)
    if found is None or (found[1] and found[3]):
        raise ValueError(f"{text!r} is no range: write 4, 15-17, <=2 or -.")
    low, high = Decimal(found[2]), Decimal(found[3] or found[2])
    if found[1]:
        return None, high
    return None if low > high else (low, high)  # 27-26 says that S begins where R ends
