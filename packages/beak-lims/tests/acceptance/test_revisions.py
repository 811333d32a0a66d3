"""`db revision` has a home for both scopes, and what it writes can be applied and taken back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import beak_lims

from .conftest import Query, Shell, tenancy_of

TABLE = '    op.create_table("billing_plan", sa.Column("uid", sa.String(32), primary_key=True))\n'


@pytest.fixture
def own_copy(platform: Shell) -> Path:
    """A copy of the package that comes before the installed one, so that new revisions do not land in this checkout."""
    package = Path(beak_lims.__file__).parent
    copy = platform.directory / "src" / "beak_lims"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    platform.environment["PYTHONPATH"] = str(copy.parent)
    return copy / "migrations"


def test_platform_revision_is_written_applied_and_taken_back(own_copy: Path, platform: Shell, query: Query) -> None:
    written = Path(platform.ok('beak-lims db revision "billing plans" --scope platform').strip())
    assert written.parent == own_copy / "platform" / "versions"
    text = written.read_text()
    written.write_text(
        text.replace("def upgrade() -> None:\n    pass\n", f"def upgrade() -> None:\n{TABLE}").replace(
            "def downgrade() -> None:\n    pass\n", 'def downgrade() -> None:\n    op.drop_table("billing_plan")\n'
        )
    )
    platform.ok("beak-lims db upgrade")
    table = "SELECT to_regclass('platform.billing_plan') IS NOT NULL"
    revision = query("SELECT version_num FROM platform.alembic_version")[0][0]
    assert query(table) == [(True,)]
    assert str(revision) in platform.ok("beak-lims db current")
    assert "billing plans" in platform.ok("beak-lims db history")
    platform.ok("beak-lims db downgrade base")
    assert query(table) == [(False,)]
    with tenancy_of(platform) as tenancy:
        tenancy.provision("one", name="One")


def test_models_and_revisions_of_a_tenant_do_not_differ(own_copy: Path, platform: Shell) -> None:
    written = Path(platform.ok('beak-lims db revision "nothing" --scope tenant --autogenerate').strip())
    assert written.parent == own_copy / "tenant" / "versions"
    assert written.read_text().count("    pass\n") == 2


def test_models_and_revisions_of_the_platform_do_not_differ(own_copy: Path, platform: Shell) -> None:
    written = Path(platform.ok('beak-lims db revision "nothing" --scope platform --autogenerate').strip())
    assert written.parent == own_copy / "platform" / "versions"
    assert written.read_text().count("    pass\n") == 2


def test_plain_alembic_works_on_one_tenant(one: Shell, query: Query) -> None:
    (one.directory / "alembic.ini").write_text(
        "[alembic]\nscript_location = beak_lims:migrations/tenant\ntenancy = beak_lims.tenancy:tenancy\n"
    )
    one.ok("alembic -x tenant=one downgrade base")
    assert query("SELECT to_regclass('org_one.organization'), revision FROM platform.tenant") == [(None, None)]
    one.ok("alembic -x tenant=one upgrade head")
    head = query("SELECT version_num FROM org_one.alembic_version")
    assert query("SELECT revision FROM platform.tenant") == head


def test_a_new_tenant_revision_reaches_one_tenant_at_a_time(own_copy: Path, platform: Shell, query: Query) -> None:
    with tenancy_of(platform) as tenancy:
        for slug in ("one", "two"):
            tenancy.provision(slug, name=slug)
    [(head,)] = query("SELECT version_num FROM org_one.alembic_version")
    written = Path(platform.ok('beak-lims db revision "billing plans"').strip())
    written.write_text(
        written.read_text().replace("    pass\n", TABLE, 1).replace("    pass\n", '    op.drop_table("billing_plan")\n')
    )
    platform.ok("beak-lims tenant migrate --slug one")
    assert query("SELECT to_regclass('org_one.billing_plan') IS NOT NULL") == [(True,)]
    assert query("SELECT to_regclass('org_two.billing_plan') IS NOT NULL") == [(False,)]
    assert "billing plans" in platform.ok("beak-lims db history --tenant-slug one")
    platform.ok(f"beak-lims db downgrade {head} --tenant-slug one")
    assert query("SELECT to_regclass('org_one.billing_plan') IS NOT NULL") == [(False,)]
    assert query("SELECT version_num FROM org_one.alembic_version") == [(head,)]
