"""The first administrator of the platform, on both databases."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tenantry.errors import AccountError
from tenantry.iam.passwords import verify_password
from tenantry.iam.tables import tables
from tenantry.iam.users import ensure_superuser, get_user

PASSWORD = "Tall-Giraffe-42"


def seed(plane, **given):
    """Run it in a transaction of its own, over qualified names."""
    details = {"email": "ann@example.org", "username": "ann", "password": PASSWORD, **given}
    with plane.store.control_engine().begin() as connection:
        return ensure_superuser(connection, schema=plane.store.control_schema, **details)


def users(plane):
    """All users as they are in the table."""
    user = tables(plane.store.control_schema).platform_user
    with plane.store.control_engine().connect() as connection:
        return connection.execute(sa.select(user).order_by(user.c.uid)).all()


def test_superuser_is_an_active_administrator_with_the_given_password(plane) -> None:
    seeded = seed(plane)
    assert (seeded.created, seeded.password_generated) == (True, None)
    assert (seeded.user.email, seeded.user.username, seeded.user.is_active) == ("ann@example.org", "ann", True)
    assert seeded.user.roles == ("administrator",)
    (row,) = users(plane)
    assert verify_password(row.hashed_password, PASSWORD)
    assert PASSWORD not in repr(row)


def test_superuser_of_the_same_email_is_reset(plane) -> None:
    first = seed(plane)
    user = tables(plane.store.control_schema).platform_user
    with plane.store.control_engine().begin() as connection:
        connection.execute(sa.update(user).values(is_active=False))
    again = seed(
        plane, email=" ANN@Example.org ", username="Anna", password="Small-Zebra-77", first_name="Ann", last_name="Lee"
    )
    assert (again.created, again.user.uid) == (False, first.user.uid)
    assert (again.user.username, again.user.first_name, again.user.last_name) == ("anna", "Ann", "Lee")
    assert again.user.is_active
    (row,) = users(plane)
    assert verify_password(row.hashed_password, "Small-Zebra-77")
    assert not verify_password(row.hashed_password, PASSWORD)
    assert row.updated_at > row.created_at


def test_password_is_generated_when_none_is_given_and_shown_nowhere(plane) -> None:
    seeded = seed(plane, password=None)
    assert seeded.password_generated
    (row,) = users(plane)
    assert verify_password(row.hashed_password, seeded.password_generated)
    assert seeded.password_generated not in repr(seeded)
    assert row.hashed_password not in repr(seeded)
    assert seed(plane, password=None).password_generated != seeded.password_generated


def test_name_of_another_user_is_refused_and_changes_nothing(plane) -> None:
    seed(plane)
    before = users(plane)
    with pytest.raises(AccountError, match=r"belongs to the platform user ann@example\.org"):
        seed(plane, email="bob@example.org")
    assert users(plane) == before


@pytest.mark.parametrize(
    "given",
    [
        {"email": "nobody"},
        {"email": "a@b@c"},
        {"email": "a b@example.org"},
        {"email": "ann@exa\0mple.org"},
        {"email": "x" * 250 + "@a.org"},
        {"username": ""},
        {"username": "ann@example.org"},
        {"username": "an\nn"},
        {"username": "x" * 65},
        {"password": "weak"},
        {"password": "ann@example.org-A1"},
        {"first_name": "A\0"},
    ],
)
def test_bad_input_is_refused_without_a_trace_of_the_password(plane, given) -> None:
    with pytest.raises(AccountError) as raised:
        seed(plane, **given)
    assert given.get("password", PASSWORD) not in str(raised.value)
    assert users(plane) == []


def test_user_is_found_in_the_connections_own_schema(plane) -> None:
    with plane.store.control() as connection:
        seeded = ensure_superuser(connection, email="ann@example.org", username="ann")
        assert get_user(connection, seeded.user.uid) == seeded.user
    assert len(users(plane)) == 1


def test_unknown_user_is_told(plane) -> None:
    with plane.store.control() as connection, pytest.raises(AccountError, match="no platform user"):
        get_user(connection, "f" * 32)


def test_roles_go_with_their_user(plane) -> None:
    seed(plane)
    platform = tables(plane.store.control_schema)
    with plane.store.control_engine().begin() as connection:
        connection.execute(sa.delete(platform.platform_user))
        assert connection.execute(sa.select(platform.platform_user_role)).all() == []


def test_eight_processes_that_seed_at_once_make_one_user(plane, race) -> None:
    body = """
from tenantry.iam.users import ensure_superuser

def work(registry, store, number):
    with store.control() as connection:
        return ensure_superuser(connection, email="ann@example.org", username="ann").created
"""
    assert sorted(race(body, processes=8)) == [False] * 7 + [True]
    assert len(users(plane)) == 1
