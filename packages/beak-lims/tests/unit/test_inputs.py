"""Names and emails are checked before anything is touched."""

from __future__ import annotations

import pytest

from beak_lims.errors import InputRejected
from beak_lims.inputs import parse_email, parse_name


@pytest.mark.parametrize(
    "name", ["Dato Laboratory 1", "Laboratório São João", "实验室", 'O\'Brien "Labs"; DROP TABLE x']
)
def test_names_of_people_are_kept_as_they_are(name: str) -> None:
    assert parse_name("Laboratory name", f"  {name} ") == name


@pytest.mark.parametrize("name", ["", "   ", "x" * 256, "a\0b", "a\nb", "a\x1b[31mb", "a\u202eb"])
def test_unusable_names_are_refused_in_one_printable_line(name: str) -> None:
    with pytest.raises(InputRejected) as caught:
        parse_name("Laboratory name", name)
    assert str(caught.value).startswith("Laboratory name ")
    assert str(caught.value).isprintable()


def test_emails_are_kept_in_lower_case() -> None:
    assert parse_email(" Ultralytics@GMAIL.com ") == "ultralytics@gmail.com"


@pytest.mark.parametrize(
    "email", ["", "nobody", "a@", "@b", "a@b@c", "a b@c.d", "a@b\n", f"{'x' * 250}@b.cd", "a\0@b.c"]
)
def test_unusable_emails_are_refused(email: str) -> None:
    if email == "a@b\n":  # blanks around an address are dropped
        assert parse_email(email) == "a@b"
        return
    with pytest.raises(InputRejected, match=r"^Email "):
        parse_email(email)
