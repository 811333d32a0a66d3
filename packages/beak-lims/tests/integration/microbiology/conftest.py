"""A tenant per module to load tables into."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from beak_lims.settings import Settings
from beak_lims.tenancy import declare
from tenantry import Tenancy


@pytest.fixture(scope="module")
def tenancy(databases: Callable[[], AbstractContextManager[str]]) -> Iterator[Tenancy]:
    """A tenancy with the tenant `one`."""
    with databases() as url:
        tenancy = declare(Settings(_env_file=None, BEAK_DATABASE_URL=url))
        tenancy.provision("one", name="One")
        yield tenancy
        tenancy.close()
