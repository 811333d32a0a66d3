"""Cutting by size, at the import path of the public package."""

from docex.processors.chunking.strategies import FixedSizeChunking

__all__ = ["FixedSizeChunking"]
