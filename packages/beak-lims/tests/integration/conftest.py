"""A tenancy of Beak LIMS on a fresh database, with a tenant or two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from beak_lims.settings import Settings
from beak_lims.tenancy import declare
from tenantry import Tenancy


@pytest.fixture
def settings(database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    monkeypatch.chdir(tmp_path)  # no .env of the developer's
    monkeypatch.setenv("BEAK_DATABASE_URL", database)
    return Settings()


@pytest.fixture
def tenancy(settings: Settings) -> Iterator[Tenancy]:
    tenancy = declare(settings)
    yield tenancy
    tenancy.close()


@pytest.fixture
def owner(database: str) -> Iterator[sa.Connection]:
    """A connection beside the tenancy's, of the user who owns everything."""
    engine = sa.create_engine(database, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()
