"""Ways of chunking by name, and one for each kind of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from docex.processors.chunking.base import Chunk, ChunkingConfig, ChunkingStrategy
from docex.processors.chunking.strategies import (
    DocumentBasedChunking,
    FixedSizeChunking,
    HierarchicalChunking,
    RecursiveChunking,
)


class ChunkingFactory:
    """Makes strategies."""

    STRATEGIES: Mapping[str, type[ChunkingStrategy]] = {
        "fixed_size": FixedSizeChunking,
        "recursive": RecursiveChunking,
        "document_based": DocumentBasedChunking,
        "hierarchical": HierarchicalChunking,
    }

    @classmethod
    def create(cls, strategy: str, config: ChunkingConfig | None = None) -> ChunkingStrategy:
        """The strategy of a name. :raises ValueError: there is none."""
        try:
            return cls.STRATEGIES[strategy](config)
        except KeyError as error:
            raise ValueError(f"strategy must be one of {', '.join(cls.STRATEGIES)}, not {strategy!r}") from error

    @classmethod
    def create_optimal(cls, text: str, config: ChunkingConfig | None = None) -> ChunkingStrategy:
        """The strategy that fits a text: sections where it has headings, else paragraphs, else the size."""
        chosen = config or ChunkingConfig()
        if len(text) <= chosen.chunk_size:
            name = "fixed_size"
        elif any(line.startswith("#") for line in text.splitlines()):
            name = "hierarchical"
        else:
            name = "document_based" if "\n\n" in text else "recursive"
        return cls.create(name, config)

    @classmethod
    def list_strategies(cls) -> dict[str, str]:
        """The strategies with what they do."""
        return {name: (kind.__doc__ or "").partition("\n")[0] for name, kind in cls.STRATEGIES.items()}


def chunk_text(
    text: str, strategy: str = "auto", config: ChunkingConfig | None = None, metadata: Mapping[str, Any] | None = None
) -> list[Chunk]:
    """Cut a text; ``auto`` chooses the strategy by looking at it. :raises ValueError: there is no such strategy."""
    chosen = ChunkingFactory.create_optimal(text, config) if strategy == "auto" else None
    return (chosen or ChunkingFactory.create(strategy, config)).cut(text, metadata)
