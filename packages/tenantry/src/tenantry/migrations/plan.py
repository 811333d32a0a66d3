"""A plan: what must be sent to a store at one revision to bring it to another.

Plain values that can be kept as JSON; made by the compiler, carried out by ``apply``.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

from tenantry.stores.base import Parameters, Statement


class Kind(StrEnum):
    """How a step is carried out on a store that may hold rows."""

    REPLAY = "replay"  # its statements are the same for every tenant: send them
    PYTHON = "python"  # it read the tenant's own rows: run the revision itself, inside the transaction
    AUTOCOMMIT = "autocommit"  # it leaves the transaction: run the revision itself, on a connection of its own


@dataclass(frozen=True)
class Step:
    """One revision, applied or taken back."""

    revision: str
    after: str | None  # where the store stands afterwards; several heads are joined by ","
    kind: Kind
    statements: tuple[Statement, ...]


@dataclass(frozen=True)
class Plan:
    """The way from one revision to another. ``digest`` names its content, its directory's text and the software that
    made it.
    """

    digest: str
    base: str | None
    target: str | None
    steps: tuple[Step, ...]

    @cached_property
    def replayable(self) -> bool:
        """Whether the whole of it can be sent as one message."""
        return all(step.kind is Kind.REPLAY for step in self.steps)

    @cached_property
    def statements(self) -> tuple[Statement, ...]:
        """Every statement, in order."""
        return tuple(statement for step in self.steps for statement in step.statements)

    def legs(self) -> Iterator[tuple[Step, ...]]:
        """The steps, split where a transaction must end: a leg is one transaction, or one AUTOCOMMIT step alone."""
        leg: list[Step] = []
        for step in self.steps:
            if step.kind is Kind.AUTOCOMMIT:
                if leg:
                    yield tuple(leg)
                    leg = []
                yield (step,)
            else:
                leg.append(step)
        if leg:
            yield tuple(leg)

    def to_body(self) -> dict[str, Any]:
        """The plan as JSON values; bytes in parameters are kept as base64."""
        steps = [
            {
                "revision": step.revision,
                "after": step.after,
                "kind": step.kind.value,
                "statements": [[text, _pack_all(values)] for text, values in step.statements],
            }
            for step in self.steps
        ]
        return {"digest": self.digest, "base": self.base, "target": self.target, "steps": steps}

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> Plan:
        """The plan that :meth:`to_body` gave."""
        steps = tuple(
            Step(
                step["revision"],
                step["after"],
                Kind(step["kind"]),
                tuple((text, _unpack_all(values)) for text, values in step["statements"]),
            )
            for step in body["steps"]
        )
        return cls(body["digest"], body["base"], body["target"], steps)


def _pack_all(values: Parameters) -> Any:
    if isinstance(values, dict):
        return {name: _pack(value) for name, value in values.items()}
    return [_pack(value) for value in values]


def _unpack_all(values: Any) -> Parameters:
    if isinstance(values, dict):
        return {name: _unpack(value) for name, value in values.items()}
    return tuple(_unpack(value) for value in values)


def _pack(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"$bytes": base64.b64encode(bytes(value)).decode()}
    return value


def _unpack(value: Any) -> Any:
    return base64.b64decode(value["$bytes"]) if isinstance(value, dict) else value
