"""Identifiers that sort by time."""

from __future__ import annotations

import time
import uuid

from tenantry.registry.uids import new_uid


def test_uid_is_a_version_7_uuid_in_hexadecimal() -> None:
    uid = new_uid()
    assert len(uid) == 32
    assert uid == uid.lower()
    parsed = uuid.UUID(uid)
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)


def test_uid_holds_the_time_it_was_made_at() -> None:
    before = time.time_ns() // 1_000_000
    made = int(new_uid()[:12], 16)
    assert before <= made <= time.time_ns() // 1_000_000


def test_uids_are_unique_and_later_ones_sort_later() -> None:
    assert len({new_uid() for _ in range(20_000)}) == 20_000
    uids = []
    for _ in range(200):
        uids.append(new_uid())
        time.sleep(0.000_01)
    assert uids == sorted(uids)
