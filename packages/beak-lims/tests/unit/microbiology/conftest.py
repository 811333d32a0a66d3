"""WHONET's tables, where they are at hand, and the starter set: as rows to interpret by."""

from __future__ import annotations

from pathlib import Path

import pytest

from beak_lims.microbiology.rows import Rows, rows_of
from beak_lims.microbiology.whonet.rows import read
from beak_lims.seeds.microbiology import tables


@pytest.fixture(scope="session")
def published(whonet: Path) -> Rows:
    """WHONET's tables."""
    return rows_of(read(whonet))


@pytest.fixture(scope="session")
def starter() -> Rows:
    return rows_of(tables(None))
