"""State machines as data: a table of transitions, and the one place where an event is looked up in it.

A machine says which event leads where. Whether a transition may happen now is its guard's to say: a predicate over
plain facts, which stands beside the table and which the services ask. Nothing here touches a database.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

from beak_lims.errors import WrongState

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True)
class Transition(Generic[S, E]):
    """One row of a machine's table. ``guard`` says in words what must hold besides the state."""

    sources: tuple[S, ...]
    event: E
    target: S
    guard: str = ""


@dataclass(frozen=True)
class Machine(Generic[S, E]):
    """The transitions of one kind of thing, which ``noun`` names in refusals.

    :raises ValueError: two rows begin with the same state and event.
    """

    noun: str
    transitions: tuple[Transition[S, E], ...]
    _table: Mapping[tuple[S, E], S] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        table: dict[tuple[S, E], S] = {}
        for transition in self.transitions:
            for source in transition.sources:
                if (source, transition.event) in table:
                    raise ValueError(f"{self.noun}: {source} + {transition.event} stands twice in the table")
                table[source, transition.event] = transition.target
        object.__setattr__(self, "_table", table)

    def allows(self, state: S, event: E) -> bool:
        """Whether the event has a place in this state, guards aside."""
        return (state, event) in self._table

    def target(self, state: S, event: E, *, of: str) -> S:
        """The state that follows. ``of`` names the thing in the refusal.

        :raises WrongState: the event has no place in this state.
        """
        target = self._table.get((state, event))
        if target is None:
            raise WrongState(self.noun, of, str(state), str(event), tuple(map(str, self.sources(event))))
        return target

    def sources(self, event: E) -> tuple[S, ...]:
        """The states in which the event may happen."""
        return tuple(source for source, of in self._table if of == event)


def row(sources: S | Iterable[S], event: E, target: S, guard: str = "") -> Transition[S, E]:
    """A row of a machine's table, from one state or from several."""
    # A state is a string, which is iterable too.
    return Transition((sources,) if isinstance(sources, StrEnum) else tuple(sources), event, target, guard)
