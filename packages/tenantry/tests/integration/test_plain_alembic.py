"""Plain ``alembic`` on one tenant, as a person types it, with the notes example; and the ledger afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tenantry import Migrations, PostgresSchemas, SqliteFiles, Tenancy

ALEMBIC = str(Path(sys.executable).with_name("alembic"))


class Notes:
    """A copy of the example with its tenants, for a shell."""

    def __init__(self, directory: Path, url: str | None) -> None:
        self.directory = directory
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("NOTES_")}
        if url:
            self.environment["NOTES_DATABASE_URL"] = url
            store = PostgresSchemas(url, name="notes_{slug}")
        else:
            store = SqliteFiles(directory / "data", name="{slug}/notes.db")
        self.tenancy = Tenancy(store, Migrations(directory / "migrations"))

    def alembic(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ALEMBIC, *arguments],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def stands(self, slug: str) -> tuple[str | None, str | None]:
        return self.tenancy.current(slug), self.tenancy.get(slug).revision


@pytest.fixture(params=["schema", "file"])
def notes_copy(request, tmp_path, notes):
    directory = tmp_path / "notes"
    shutil.copytree(notes.parent, directory, ignore=shutil.ignore_patterns("__pycache__", "data"))
    copy = Notes(directory, request.getfixturevalue("postgres_url") if request.param == "schema" else None)
    copy.tenancy.initialize()
    for slug in ("acme", "other"):
        copy.tenancy.provision(slug)
    yield copy
    copy.tenancy.close()


def test_plain_alembic_moves_one_tenant_and_tells_the_ledger(notes_copy) -> None:
    down = notes_copy.alembic("-x", "tenant=acme", "downgrade", "0001")
    assert down.returncode == 0, down.stderr
    assert notes_copy.stands("acme") == ("0001", "0001")
    assert notes_copy.stands("other") == ("0003", "0003")
    current = notes_copy.alembic("-x", "tenant=acme", "current")
    assert "0001" in current.stdout
    up = notes_copy.alembic("-x", "tenant=acme", "upgrade", "head")
    assert up.returncode == 0, up.stderr
    assert notes_copy.stands("acme") == ("0003", "0003")
    assert notes_copy.tenancy.migrate("acme").before == "0003"


def test_plain_alembic_without_a_tenant_does_nothing(notes_copy) -> None:
    ended = notes_copy.alembic("upgrade", "head")
    assert ended.returncode != 0
    assert "No tenant" in ended.stderr
    unknown = notes_copy.alembic("-x", "tenant=nobody", "upgrade", "head")
    assert unknown.returncode != 0
    assert "Tenant slug 'nobody' not found" in unknown.stderr
    assert notes_copy.stands("acme") == ("0003", "0003")


def test_revision_that_plain_alembic_fails_leaves_the_tenant_as_it_was(notes_copy) -> None:
    (notes_copy.directory / "migrations" / "versions" / "0004_broken.py").write_text(
        'import sqlalchemy as sa\nfrom alembic import op\nrevision, down_revision = "0004", "0003"\n'
        'def upgrade():\n    op.create_table("half", sa.Column("id", sa.Integer))\n    raise ValueError("half-way")\n'
    )
    ended = notes_copy.alembic("-x", "tenant=acme", "upgrade", "head")
    assert ended.returncode != 0
    assert "half-way" in ended.stderr
    assert notes_copy.stands("acme") == ("0003", "0003")
    tenant = notes_copy.tenancy.get("acme")
    with notes_copy.tenancy.store.change(tenant) as site:
        assert not site.has_table("half")


def test_models_of_the_example_equal_its_revisions(notes_copy) -> None:
    checked = notes_copy.alembic("-x", "tenant=acme", "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
