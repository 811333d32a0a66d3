"""The ways of cutting a text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from docex.processors.chunking.base import Chunk, ChunkingStrategy, trimmed

# From the strongest border to the weakest; where none is, the text is cut at the size.
SEPARATORS = ("\n\n", "\n", ". ", "! ", "? ", "; ", ", ", " ")
_PARAGRAPHS = re.compile(r"\n\s*\n")
_HEADING = re.compile(r"^(#{1,6})[ \t]+\S.*$", re.M)

Span = tuple[int, int]


class FixedSizeChunking(ChunkingStrategy):
    """Pieces of one size that overlap; a word is not cut where a blank is near."""

    def spans(self, text: str) -> list[Span]:
        """See :class:`ChunkingStrategy`."""
        size, overlap = self.config.chunk_size, self.config.chunk_overlap
        found, start = [], 0
        while start < len(text):
            end = min(start + size, len(text))
            if end < len(text):
                # No further back than a quarter, and never so far that the next chunk would not advance.
                blank = text.rfind(" ", max(start + overlap + 1, end - size // 4), end)
                end = blank if blank > 0 else end
            found.append((start, end))
            if end == len(text):
                break
            start = end - overlap
        return found


class RecursiveChunking(ChunkingStrategy):
    """Pieces that end at the strongest border within their size: a paragraph's, a line's, a sentence's, a word's."""

    def spans(self, text: str) -> list[Span]:
        """See :class:`ChunkingStrategy`."""
        found, start = [], 0
        while start < len(text):
            end = self._end(text, start)
            found.append((start, end))
            start = end
        return joined(found, self.config.min_chunk_size, self.config.chunk_size)

    def _end(self, text: str, start: int) -> int:
        limit = start + self.config.chunk_size
        if limit >= len(text):
            return len(text)
        least = start + min(self.config.min_chunk_size, self.config.chunk_size // 2)
        for separator in SEPARATORS:
            at = text.rfind(separator, least, limit)
            if at >= 0 and at + len(separator) <= limit:
                return at + len(separator)
        return limit


class DocumentBasedChunking(ChunkingStrategy):
    """Whole paragraphs, as many as fit; only one that is larger than a chunk is cut."""

    def spans(self, text: str) -> list[Span]:
        """See :class:`ChunkingStrategy`."""
        pieces: list[Span] = []
        for start, end in between(text, [match.end() for match in _PARAGRAPHS.finditer(text)]):
            if end - start <= self.config.chunk_size:
                pieces.append((start, end))
            else:
                inner = RecursiveChunking(self.config).spans(text[start:end])
                pieces += [(start + a, start + b) for a, b in inner]
        return joined(pieces, self.config.chunk_size, self.config.chunk_size)


class HierarchicalChunking(ChunkingStrategy):
    """The sections under Markdown's headings; each chunk names the section's heading, level and parent."""

    def cut(self, text: str, metadata: Mapping[str, Any] | None = None) -> list[Chunk]:
        """See :class:`ChunkingStrategy`."""
        carried = dict(metadata or {}) if self.config.include_metadata else {}
        headings = list(_HEADING.finditer(text))
        chunks: list[Chunk] = []
        open_sections: list[tuple[int, str]] = []  # levels and ids of the sections around
        for start, end in between(text, [match.start() for match in headings]):
            heading = next((match for match in headings if match.start() == start), None)
            level = len(heading[1]) if heading else 0
            open_sections = [section for section in open_sections if section[0] < level]
            parent = open_sections[-1][1] if open_sections else None
            title = heading[0].lstrip("# \t").strip() if heading else None
            first: str | None = None
            for a, b in RecursiveChunking(self.config).spans(text[start:end]):
                a, b = trimmed(text, start + a, start + b)
                if a == b:
                    continue
                chunk = Chunk(
                    text[a:b],
                    a,
                    b,
                    {**carried, "chunk_index": len(chunks), "heading": title},
                    parent_id=parent if first is None else first,
                    semantic_level=level,
                )
                first = first or chunk.id
                chunks.append(chunk)
            if first is not None and heading is not None:
                open_sections.append((level, first))
        return chunks

    def spans(self, text: str) -> list[Span]:
        """See :class:`ChunkingStrategy`."""
        return [(chunk.start_idx, chunk.end_idx) for chunk in self.cut(text)]


def between(text: str, borders: list[int]) -> list[Span]:
    """The spans between borders, the text's ends among them."""
    points = sorted({0, *borders, len(text)})
    return list(pairwise(points))


def joined(spans: list[Span], least: int, most: int) -> list[Span]:
    """Neighbours put together while one of them is smaller than ``least`` and both fit into ``most``."""
    found: list[Span] = []
    for start, end in spans:
        if found:
            before, border = found[-1]
            small = border - before < least or end - start < least
            if border == start and small and end - before <= most:
                found[-1] = (before, end)
                continue
        found.append((start, end))
    return found
