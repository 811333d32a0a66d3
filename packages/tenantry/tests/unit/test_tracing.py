"""Spans are there for applications that trace, and cost nothing in others."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager

import pytest

from tenantry import Migrations, SqliteFiles, Tenancy
from tenantry.tracing import span


def test_nothing_is_loaded_where_nobody_traces() -> None:
    code = "import sys, tenantry.tracing as t\nwith t.span('x', 'acme'): pass\nprint('opentelemetry' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_operations_and_their_steps_are_spans_with_the_tenant(tmp_path, monkeypatch) -> None:
    trace = pytest.importorskip("opentelemetry.trace")
    seen: list[tuple[str, str]] = []

    class Recorder:
        @contextmanager
        def start_as_current_span(self, name, attributes):
            seen.append((name, attributes["tenant"]))
            yield

    monkeypatch.setattr(trace, "get_tracer", lambda name: Recorder())
    with span("by.hand", "acme"):
        pass
    (tmp_path / "m" / "versions").mkdir(parents=True)
    (tmp_path / "m" / "script.py.mako").write_text("")
    tenancy = Tenancy(SqliteFiles(tmp_path / "s", "{slug}.db"), Migrations(tmp_path / "m"))
    tenancy.initialize()
    tenancy.provision("acme")
    saved = tenancy.archive.backup("acme", to=tmp_path / "b")
    tenancy.archive.restore(saved.path, slug="bravo")
    tenancy.close()
    names = [name for name, _ in seen]
    assert seen[0] == ("tenantry.by.hand", "acme")
    assert ("tenantry.backup", "acme") in seen
    assert ("tenantry.restore.rows", "bravo") in seen
    assert "tenantry.tenant.migrate" in names
