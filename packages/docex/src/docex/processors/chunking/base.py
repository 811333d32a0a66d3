"""A chunk, and what a way of chunking promises.

Sizes are characters. Every chunk is a piece of the text as it stands: ``text[chunk.start_idx:chunk.end_idx] ==
chunk.content``, and together the chunks leave out nothing but white space.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ChunkingConfig:
    """How large chunks are to be."""

    chunk_size: int = 512  # characters, at most
    chunk_overlap: int = 50  # characters that a chunk repeats of the one before, where the strategy overlaps
    min_chunk_size: int = 100  # characters; a smaller piece joins its neighbour where that stays small enough
    include_metadata: bool = True  # chunks carry the metadata that was given

    def __post_init__(self) -> None:
        if self.chunk_size < 1 or not 0 <= self.chunk_overlap < self.chunk_size:
            raise ValueError(
                f"expected chunk_size >= 1 and 0 <= chunk_overlap < chunk_size, not {self.chunk_size} and "
                f"{self.chunk_overlap}"
            )


@dataclass(frozen=True)
class Chunk:
    """A piece of a text."""

    content: str
    start_idx: int  # in the text
    end_idx: int
    metadata: dict[str, Any] = field(default_factory=dict)
    parent_id: str | None = None  # of the section it lies in
    semantic_level: int | None = None  # of a section: 1 is the highest

    @property
    def id(self) -> str:
        """The same for the same piece at the same place."""
        return hashlib.sha256(f"{self.start_idx}:{self.end_idx}:{self.content}".encode()).hexdigest()[:16]

    @property
    def size(self) -> int:
        """Its length in characters."""
        return len(self.content)

    @property
    def token_count(self) -> int:
        """About how many tokens it is, at four characters each."""
        return (len(self.content) + 3) // 4

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {"id": self.id, **vars(self), "size": self.size, "token_count": self.token_count}


class ChunkingStrategy(ABC):
    """A way of cutting."""

    def __init__(self, config: ChunkingConfig | None = None) -> None:
        self.config = config or ChunkingConfig()

    async def chunk(self, text: str, metadata: Mapping[str, Any] | None = None) -> list[Chunk]:
        """The same as :meth:`cut`."""
        return self.cut(text, metadata)

    def cut(self, text: str, metadata: Mapping[str, Any] | None = None) -> list[Chunk]:
        """The text's chunks in their order; a text of white space has none."""
        carried = dict(metadata or {}) if self.config.include_metadata else {}
        spans = [trimmed(text, start, end) for start, end in self.spans(text)]
        return [
            Chunk(text[start:end], start, end, {**carried, "chunk_index": index})
            for index, (start, end) in enumerate((start, end) for start, end in spans if start < end)
        ]

    @abstractmethod
    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where the chunks begin and end."""


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """A span without the white space at its ends."""
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end
