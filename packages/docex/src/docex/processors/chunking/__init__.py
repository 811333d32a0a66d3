"""Cut a text into chunks for search or for a model: by size, by separators, by paragraphs, or by sections."""

from docex.processors.chunking.base import Chunk, ChunkingConfig, ChunkingStrategy
from docex.processors.chunking.factory import ChunkingFactory, chunk_text
from docex.processors.chunking.strategies import (
    DocumentBasedChunking,
    FixedSizeChunking,
    HierarchicalChunking,
    RecursiveChunking,
)

__all__ = [
    "Chunk",
    "ChunkingConfig",
    "ChunkingFactory",
    "ChunkingStrategy",
    "DocumentBasedChunking",
    "FixedSizeChunking",
    "HierarchicalChunking",
    "RecursiveChunking",
    "chunk_text",
]
