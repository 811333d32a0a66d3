"""WHONET's tables, where they are at hand, and the starter set: as rows to interpret by."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from beak_lims.microbiology.rows import Rows, rows_of
from beak_lims.microbiology.whonet.rows import read
from beak_lims.seeds.microbiology import tables

TABLES = "BEAK_WHONET_TABLES"  # names the directory; else it is looked for beside the checkout
BESIDE = Path(__file__).parents[5].parent / "shared" / "data" / "whonet"


@pytest.fixture(scope="session")
def published() -> Rows:
    """WHONET's tables, which are no part of the project."""
    directory = Path(os.environ.get(TABLES) or BESIDE)
    if not directory.is_dir():
        pytest.skip(f"WHONET's tables are not at hand: set {TABLES} to their directory")
    return rows_of(read(directory))


@pytest.fixture(scope="session")
def starter() -> Rows:
    return rows_of(tables(None))
