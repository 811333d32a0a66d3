"""The numbers that people read: ``P26AA-00001``, ``AR26-00001``, ``S26AA-00001``, ``WS26-00001``.

A number is taken inside the transaction that uses it. Its row stays locked until that transaction ends: what rolls back
gives its numbers back, and no two transactions ever hold the same one. So take numbers last, just before the rows that
carry them are written, and all of one kind at once.
"""

from __future__ import annotations

from enum import StrEnum
from string import ascii_uppercase
from typing import TYPE_CHECKING

from sqlalchemy import text

from beak_lims.errors import ChangeRefused
from tenantry.registry.uids import new_uid

if TYPE_CHECKING:
    from datetime import date

    from sqlalchemy.orm import Session

DIGITS = 5
PER_LETTERS = 10**DIGITS - 1  # numbers under one pair of letters: 00001 to 99999
LETTERS = len(ascii_uppercase)


class Kind(StrEnum):
    """What is numbered. The value begins its numbers."""

    PATIENT = "P"
    REQUEST = "AR"
    SAMPLE = "S"
    WORKSHEET = "WS"
    QC_SET = "X"


_TAKE = text(
    "INSERT INTO id_sequence AS s (uid, prefix, number) VALUES (:uid, :prefix, :count)"
    " ON CONFLICT (prefix) DO UPDATE SET number = s.number + excluded.number, updated_at = now() RETURNING s.number"
)
LETTERED = frozenset({Kind.PATIENT, Kind.SAMPLE})  # these go on with AB, AC ... after 99999


def next_number(session: Session, kind: Kind, on: date) -> str:
    """The next number of this kind. :raises ChangeRefused: there are none left for the year."""
    return next_numbers(session, kind, 1, on)[0]


def next_numbers(session: Session, kind: Kind, count: int, on: date) -> list[str]:
    """The next ``count`` numbers of this kind, in the year of ``on``, ascending.

    :raises ChangeRefused: there are none left for the year.
    """
    if count < 1:
        return []
    prefix = f"{kind}{on.year % 100:02}"
    last = session.execute(_TAKE, {"uid": new_uid(), "prefix": prefix, "count": count}).scalar_one()
    return [number(kind, prefix, at) for at in range(last - count + 1, last + 1)]


def number(kind: Kind, prefix: str, at: int) -> str:
    """The ``at``-th number under a prefix; counts from 1. :raises ChangeRefused: its letters are used up."""
    if kind not in LETTERED:
        return f"{prefix}-{at:0{DIGITS}}"
    pair, within = divmod(at - 1, PER_LETTERS)
    if pair >= LETTERS**2:
        raise ChangeRefused(f"All numbers {prefix}AA-00001 to {prefix}ZZ-99999 are given; the next year has new ones.")
    first, second = divmod(pair, LETTERS)
    return f"{prefix}{ascii_uppercase[first]}{ascii_uppercase[second]}-{within + 1:0{DIGITS}}"
