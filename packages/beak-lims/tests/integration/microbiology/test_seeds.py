"""Seeds: what a tenant begins with, twice the same, and one outcome for each tenant."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from beak_lims.errors import ScopeRejected
from beak_lims.laboratories import add_laboratory
from beak_lims.models import AuditLog, metadata
from beak_lims.seeds import running
from beak_lims.seeds.running import Outcome
from beak_lims.seeds.scopes import CORE, SCOPES, parse_scopes, seed
from tenantry import Tenancy
from tenantry.errors import TenantNotFound


def seeded(tenancy: Tenancy, slug: str = "one", scopes: tuple[str, ...] = SCOPES) -> Outcome:
    return running.one(tenancy, slug, lambda session, _: seed(session, scopes))


def counts(tenancy: Tenancy) -> dict[str, int]:
    with tenancy.session("one") as session:
        tables = [name for name in metadata.tables if name != "audit_log"]
        return {
            name: session.scalar(sa.select(sa.func.count()).select_from(metadata.tables[name])) or 0 for name in tables
        }


def test_all_seeds_make_a_laboratory_ready_and_a_second_time_add_nothing(tenancy: Tenancy) -> None:
    add_laboratory(tenancy, "one", "Second")
    first = {row.table: row.added for row in seeded(tenancy).seeded}
    assert first["analysis"] == 2  # those of susceptibility, which come after the others
    after = counts(tenancy)
    expected = {
        "country": 1,
        "province": 10,
        "sample_type": 14,
        "rejection_reason": 6,
        "instrument_type": 11,
        "identification": 4,
        "analysis": 47,
        "profile": 18,  # nine of each laboratory
        "qc_level": 10,
        "client": 2,
        "department": 11,
        "group": 8,
        "breakpoint": 273,
        "organism": 62,
    }
    assert {name: after[name] for name in expected} == expected
    assert after["specification"] > 30
    assert after["profile_analysis"] > 50
    again = seeded(tenancy)
    assert counts(tenancy) == after
    assert all((row.added, row.changed, row.retired) == (0, 0, 0) for row in again.seeded)
    with tenancy.session("one") as session:
        told = session.execute(
            sa.select(AuditLog.user_name, AuditLog.state_after).where(AuditLog.action == "seed")
        ).all()
    [(who, changes)] = told  # the second time there was nothing to tell
    assert who == "seed"
    assert changes["breakpoint"] == {"added": 273, "changed": 0, "retired": 0}


def test_what_a_laboratory_changed_is_left_alone(tenancy: Tenancy) -> None:
    seeded(tenancy)
    with tenancy.session("one") as session:
        session.execute(sa.text("UPDATE analysis SET name = 'Serum creatinine' WHERE keyword = 'creatinine'"))
        session.execute(sa.text("DELETE FROM specification WHERE analysis_uid IN (SELECT uid FROM analysis)"))
    seeded(tenancy, scopes=(CORE,))
    with tenancy.session("one") as session:
        name = session.scalar(sa.text("SELECT name FROM analysis WHERE keyword = 'creatinine'"))
        assert name == "Serum creatinine"
        assert session.scalar(sa.text("SELECT count(*) FROM specification")) == 0


def test_without_a_name_every_active_tenant_has_its_outcome(tenancy: Tenancy) -> None:
    tenancy.provision("two", name="Two")
    assert running.targets(tenancy, None, None) == ["one", "two"]
    assert running.targets(tenancy, None, "two") == ["two"]
    assert running.targets(tenancy, "one", "two") == ["one"]
    outcomes = list(running.run(tenancy, ["one", "gone", "two"], lambda session, _: seed(session, (CORE,))))
    assert [outcome.slug for outcome in outcomes] == ["one", "gone", "two"]
    assert [type(outcome.error) for outcome in outcomes] == [type(None), TenantNotFound, type(None)]
    with pytest.raises(TenantNotFound, match="Tenant slug 'gone' not found"):
        list(running.run(tenancy, ["gone"], lambda session, _: seed(session, (CORE,))))


def test_scope_that_is_none_is_refused() -> None:
    assert parse_scopes(["clinical", "core"]) == SCOPES
    with pytest.raises(ScopeRejected, match=r"Invalid seed scope\(s\): everything. Allowed scopes: core, clinical"):
        parse_scopes(["core", "everything"])
