"""Who acts, by default and by name."""

from __future__ import annotations

import contextvars
import getpass
import socket
import threading

import pytest

from tenantry.registry import actor


@pytest.fixture
def fresh():
    """The default actor is looked up anew."""
    actor._operator.cache_clear()
    yield
    actor._operator.cache_clear()


def test_default_actor_is_the_operating_systems_user_at_this_host(fresh, monkeypatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "ann")
    monkeypatch.setattr(socket, "gethostname", lambda: "lab7")
    assert actor.current() == actor.Actor("ann", "lab7 cli")


@pytest.mark.parametrize("error", [KeyError("uid not found"), OSError("no entry")])
def test_user_number_without_a_name_is_an_actor_too(fresh, monkeypatch, error) -> None:
    def fail() -> str:
        raise error

    monkeypatch.setattr(getpass, "getuser", fail)
    assert actor.current().name.startswith("uid ")


def test_leaving_restores_the_actor_before_also_after_an_error() -> None:
    def fail_as_bob() -> None:
        with actor.acting("bob"):
            assert actor.current() == actor.Actor("bob", "web")
            raise RuntimeError

    outside = actor.current()
    with actor.acting("ann", origin="web"):
        with pytest.raises(RuntimeError):
            fail_as_bob()
        assert actor.current() == actor.Actor("ann", "web")
    assert actor.current() == outside


def test_actor_is_not_seen_by_other_threads() -> None:
    seen = []
    with actor.acting("ann", origin="web"):
        thread = threading.Thread(target=contextvars.Context().run, args=(lambda: seen.append(actor.current().name),))
        thread.start()
        thread.join()
    assert "ann" not in seen
