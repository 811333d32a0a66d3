"""Who is acting, for the journal and the audit trail.

A web application names its user with ``acting``; outside of it, it is the operating system's user at this host. The
name is the caller's word: nothing here checks that they are who they say.
"""

from __future__ import annotations

import functools
import getpass
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Actor:
    """Who acts, and from where."""

    name: str
    origin: str


_current: ContextVar[Actor | None] = ContextVar("tenantry_actor", default=None)


@contextmanager
def acting(name: str, *, origin: str | None = None) -> Iterator[Actor]:
    """Everything recorded inside names this actor; leaving restores the one before.

    Without ``origin`` the outer one's is kept.
    """
    actor = Actor(name, current().origin if origin is None else origin)
    token = _current.set(actor)
    try:
        yield actor
    finally:
        _current.reset(token)


def current() -> Actor:
    """The actor named by the innermost ``acting``, else the operating system's user."""
    return _current.get() or _operator()


@functools.cache
def _operator() -> Actor:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user number without an entry in the user database
        name = f"uid {os.getuid()}"
    return Actor(name, f"{socket.gethostname()} cli")
