"""Passwords: the rule, the hash, and generated ones."""

from __future__ import annotations

import pytest

from tenantry.errors import AccountError
from tenantry.iam import passwords
from tenantry.iam.passwords import check_password, generate_password, hash_password, verify_password

GOOD = "Tall-Giraffe-42"


def test_hash_is_argon2id_salted_and_verifies_only_its_password() -> None:
    hashed = hash_password(GOOD)
    assert hashed.startswith("$argon2id$")
    assert GOOD not in hashed
    assert hashed != hash_password(GOOD)
    assert len(hashed) <= 255
    assert verify_password(hashed, GOOD)
    assert not verify_password(hashed, GOOD.lower())
    assert not verify_password(hashed, "")


@pytest.mark.parametrize("hashed", ["", "plain", "$argon2id$v=19$damaged"])
def test_damaged_hash_lets_nobody_in(hashed) -> None:
    assert not verify_password(hashed, GOOD)


@pytest.mark.parametrize("password", ["x" * 100_000, "half \ud83d"])
def test_impossible_password_is_wrong_and_not_an_error(password) -> None:
    assert not verify_password(hash_password(GOOD), password)


@pytest.mark.parametrize(
    ("password", "lacks"),
    [
        ("Sh0rt-x", "at least 8 characters"),
        ("No-Digits-Here", "a digit"),
        ("NoSymbols42here", "a symbol"),
        ("no-upper-42", "an upper-case letter"),
        ("NO-LOWER-42", "a lower-case letter"),
        ("", "at least 8 characters, a digit, a symbol, an upper-case letter, a lower-case letter"),
        ("Aa1-" + "x" * 253, "at most 256 characters"),
        ("Tall-Giraffe-42\n", "printable characters only"),
        ("Tall-Giraffe-42\ud83d", "printable characters only"),
    ],
)
def test_password_that_breaks_the_rule_is_told_what_it_lacks(password, lacks) -> None:
    with pytest.raises(AccountError) as raised:
        check_password(password)
    assert str(raised.value) == f"The password is not allowed: it needs {lacks}."


@pytest.mark.parametrize("password", ["Giraffe-42", "42-gIRAFFE!", "Giraffee-1x"])
def test_password_like_the_users_name_or_email_is_refused(password) -> None:
    for names in (("giraffe",), ("giraffe@zoo.example",), ("someone", "Giraffe@zoo.example")):
        with pytest.raises(AccountError, match="unlike the user's name"):
            check_password(password, names=names)


def test_short_name_parts_do_not_forbid_a_password() -> None:
    check_password(GOOD, names=("al", "ra@x.example"))


def test_generated_passwords_keep_the_rule_and_differ() -> None:
    made = {generate_password() for _ in range(500)}
    assert len(made) == 500
    for password in made:
        check_password(password)
        assert password[0].isalnum()
        assert len(password) == passwords.GENERATED_LENGTH


def test_letters_are_counted_in_any_script() -> None:
    check_password("Жираф-высокий-42")
