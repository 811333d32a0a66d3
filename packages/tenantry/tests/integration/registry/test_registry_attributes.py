"""The application's own part of a tenant's record, changed by what it is at that moment, and written down."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tenantry.errors import TenantNotFound


def add(word):
    return lambda attributes: {**attributes, "words": [*attributes.get("words", []), word]}


def test_changes_build_on_each_other_however_many_come_at_once(plane) -> None:
    plane.reserve("acme")
    words = [f"word{n}" for n in range(12)]
    with ThreadPoolExecutor(4) as pool:
        done = list(
            pool.map(lambda word: plane.registry.change_attributes("acme", add(word), action="words.add"), words)
        )
    assert sorted(plane.registry.get("acme").attributes["words"]) == sorted(words)
    assert all(word in tenant.attributes["words"] for word, tenant in zip(words, done, strict=True))
    assert len([entry for entry in plane.registry.audit_entries("acme") if entry.action == "words.add"]) == 12


def test_change_that_leaves_all_as_it_was_is_not_written_down(plane) -> None:
    before = plane.reserve("acme").tenant
    assert plane.registry.change_attributes("acme", dict, action="nothing") == before
    assert "nothing" not in [entry.action for entry in plane.registry.audit_entries("acme")]


def test_refused_change_leaves_everything_as_it_was(plane) -> None:
    before = plane.reserve("acme").tenant

    def refuse(attributes):
        raise ValueError("not so")

    with pytest.raises(ValueError, match="not so"):
        plane.registry.change_attributes("acme", refuse, action="words.add")
    with pytest.raises(TenantNotFound):
        plane.registry.change_attributes("other", add("word"), action="words.add")
    assert plane.registry.get("acme") == before
