"""Cutting by paragraphs, at the import path of the public package."""

from docex.processors.chunking.strategies import DocumentBasedChunking

__all__ = ["DocumentBasedChunking"]
