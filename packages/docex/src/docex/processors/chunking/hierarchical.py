"""Cutting by sections, at the import path of the public package."""

from docex.processors.chunking.strategies import HierarchicalChunking

__all__ = ["HierarchicalChunking"]
