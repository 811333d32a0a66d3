"""Cutting by separators, at the import path of the public package."""

from docex.processors.chunking.strategies import RecursiveChunking

__all__ = ["RecursiveChunking"]
