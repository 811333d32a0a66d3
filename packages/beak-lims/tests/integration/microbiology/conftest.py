"""A tenant per module to load tables into, and the published tables where they are at hand."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from beak_lims.settings import Settings
from beak_lims.tenancy import declare
from tenantry import Tenancy

TABLES = "BEAK_WHONET_TABLES"  # names the directory; else it is looked for beside the checkout
BESIDE = Path(__file__).parents[5].parent / "shared" / "data" / "whonet"


@pytest.fixture(scope="session")
def whonet() -> Path:
    """The directory of WHONET's tables, which are no part of the project."""
    directory = Path(os.environ.get(TABLES) or BESIDE)
    if not directory.is_dir():
        pytest.skip(f"WHONET's tables are not at hand: set {TABLES} to their directory")
    return directory


@pytest.fixture(scope="module")
def tenancy(databases: Callable[[], AbstractContextManager[str]]) -> Iterator[Tenancy]:
    """A tenancy with the tenant `one`."""
    with databases() as url:
        tenancy = declare(Settings(_env_file=None, BEAK_DATABASE_URL=url))
        tenancy.provision("one", name="One")
        yield tenancy
        tenancy.close()
