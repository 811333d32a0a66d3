"""A thousand tenants of 30 tables, 37 of them poisoned in three ways: at full size, and small."""

from __future__ import annotations

import shutil
import threading
import time

import pytest
import sqlalchemy as sa

from tenantry import Migrations, PostgresSchemas, Tenancy
from tenantry.fleet.outcomes import OutcomeStatus

REVISION = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "0013", "0012"
def upgrade():
    op.create_index("uq_account_name", "account", ["name"], unique=True)
    op.add_column("account", sa.Column("nickname", sa.String(40)))
    op.drop_index("ix_account_reference", table_name="account")
def downgrade():
    op.create_index("ix_account_reference", "account", ["reference"])
    op.drop_column("account", "nickname")
    op.drop_index("uq_account_name", table_name="account")
"""
POISONS = (
    "INSERT INTO account (id, name) VALUES (1, 'same'), (2, 'same')",
    "ALTER TABLE account ADD COLUMN nickname integer",
    "DROP INDEX ix_account_reference",
)
REMEDIES = (
    "DELETE FROM account WHERE id = 2",
    "ALTER TABLE account DROP COLUMN nickname",
    "CREATE INDEX ix_account_reference ON account (reference)",
)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("count", "bad"), [(40, 6), pytest.param(1_000, 37, marks=pytest.mark.slow)])
def test_poisoned_tenants_are_three_groups_and_all_are_served(postgres_url, fleet, tmp_path, count, bad) -> None:
    shutil.copytree(fleet, tmp_path / "old", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(fleet, tmp_path / "new", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "new" / "versions" / "0013_nickname.py").write_text(REVISION)
    old = Tenancy(PostgresSchemas(postgres_url, "org_{slug}"), Migrations(tmp_path / "old"))
    old.initialize()
    slugs = [f"t{number:04}" for number in range(count)]
    for slug in slugs:
        old.provision(slug)
    poisoned = {slug: number % 3 for number, slug in enumerate(slugs[:: count // bad][:bad])}
    with old.store.control_engine().begin() as connection:
        for slug, kind in poisoned.items():
            connection.exec_driver_sql(f'SET LOCAL search_path TO "org_{slug}"')
            connection.exec_driver_sql(POISONS[kind])
    old.close()
    tenancy = Tenancy(PostgresSchemas(postgres_url, "org_{slug}"), Migrations(tmp_path / "new"), supported="0012")
    served, failures, over = [0], [], threading.Event()

    def serve() -> None:
        while not over.is_set():
            for slug in slugs:
                if over.is_set():
                    return
                try:
                    with tenancy.session(slug) as session:
                        session.execute(sa.text("SELECT count(*) FROM account"))
                    served[0] += 1
                except Exception as error:  # noqa: BLE001 - told below
                    failures.append(error)
                    return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        start = time.perf_counter()
        report = tenancy.fleet.rollout()
        seconds = time.perf_counter() - start
    finally:
        over.set()
        thread.join()
    try:
        assert failures == []
        assert served[0] > 0
        assert report.rollout is not None
        assert report.rollout.counts == {OutcomeStatus.DONE: count - bad, OutcomeStatus.FAILED: bad}
        assert {(group.sqlstate, group.object) for group in report.failures} == {
            ("23505", "uq_account_name"),
            ("42701", "nickname"),
            ("42704", "ix_account_reference"),
        }
        assert sum(len(group.slugs) for group in report.failures) == bad
        assert seconds < 60
        with tenancy.store.control_engine().begin() as connection:
            for slug, kind in poisoned.items():
                connection.exec_driver_sql(f'SET LOCAL search_path TO "org_{slug}"')
                connection.exec_driver_sql(REMEDIES[kind])
        again = tenancy.fleet.rollout(only_failed=True)
        assert again.complete
        assert again.rollout is not None
        assert again.rollout.total == bad
        assert {tenant.revision for tenant in tenancy.list()} == {"0013"}
        assert tenancy.fleet.verify() == []
    finally:
        tenancy.close()
