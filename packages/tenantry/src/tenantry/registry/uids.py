"""Identifiers that sort by the time they were made, without a database to count them.

Laid out as UUID version 7 (RFC 9562) in 32 hexadecimal digits: 48 bits of milliseconds, 12 of their fraction, 62
random. Two made within the same quarter of a microsecond are unique all the same, but may sort either way.
"""

from __future__ import annotations

import secrets
import time

MILLISECOND = 1_000_000  # nanoseconds


def new_uid() -> str:
    """A new identifier of 32 lower-case hexadecimal digits."""
    milliseconds, rest = divmod(time.time_ns(), MILLISECOND)
    fraction = rest * 4096 // MILLISECOND
    number = (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | secrets.randbits(62)
    return f"{number:032x}"
