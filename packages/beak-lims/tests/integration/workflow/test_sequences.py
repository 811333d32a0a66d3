"""Numbers have no gaps and no duplicates, whoever takes them at once and whatever is rolled back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest
from sqlalchemy import select

from beak_lims.errors import ChangeRefused
from beak_lims.models import IdSequence
from beak_lims.services.sequences import Kind, next_numbers, number

from .conftest import Bench

WRITERS = 50
EACH = 4


class Undone(Exception):
    """What a writer raises to have its transaction rolled back."""


def test_fifty_writers_leave_no_gap_and_no_duplicate(bench: Bench) -> None:
    on = date(2077, 5, 1)

    def write(writer: int) -> list[str]:
        kept = []
        for turn in range(EACH):
            try:
                with bench.installation.tenancy.session("alpha") as session:
                    taken = next_numbers(session, Kind.SAMPLE, 1 + (writer + turn) % 3, on)
                    taken += next_numbers(session, Kind.WORKSHEET, 1, on)
                    if (writer + turn) % 4 == 0:
                        raise Undone
                    kept += taken
            except Undone:
                continue
        return kept

    with ThreadPoolExecutor(WRITERS) as pool:
        numbers = [one for kept in pool.map(write, range(WRITERS)) for one in kept]
    for prefix in ("S77AA-", "WS77-"):
        of_kind = sorted(one for one in numbers if one.startswith(prefix))
        assert of_kind == [f"{prefix}{at:05}" for at in range(1, len(of_kind) + 1)]
    with bench.installation.tenancy.session("alpha") as session:
        last = session.scalars(select(IdSequence.number).where(IdSequence.prefix == "WS77")).one()
    assert last == sum(one.startswith("WS77") for one in numbers)


@pytest.mark.parametrize(
    ("kind", "at", "expected"),
    [
        (Kind.PATIENT, 1, "P26AA-00001"),
        (Kind.SAMPLE, 99_999, "S26AA-99999"),
        (Kind.SAMPLE, 100_000, "S26AB-00001"),
        (Kind.SAMPLE, 26 * 99_999 + 1, "S26BA-00001"),
        (Kind.SAMPLE, 26 * 26 * 99_999, "S26ZZ-99999"),
        (Kind.REQUEST, 1, "AR26-00001"),
        (Kind.REQUEST, 100_000, "AR26-100000"),
        (Kind.WORKSHEET, 7, "WS26-00007"),
        (Kind.QC_SET, 12, "X26-00012"),
    ],
)
def test_letters_go_on_where_five_digits_end(kind: Kind, at: int, expected: str) -> None:
    assert number(kind, f"{kind}26", at) == expected


def test_a_year_may_run_out_of_letters() -> None:
    with pytest.raises(ChangeRefused, match="next year"):
        number(Kind.SAMPLE, "S26", 26 * 26 * 99_999 + 1)
