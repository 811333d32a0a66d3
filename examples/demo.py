"""Both applications from nothing to tenants at work, by the commands a person would type. `make demo` runs it.

Everything lies in .demo/ of the checkout: a PostgreSQL for Beak LIMS, SQLite files for DocEX. Run again it finds what
is there. The server is stopped at the end, unless --keep-server is given.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / ".demo"
ORGANISATIONS = {
    "ultral12": ("Ultralytics Damegio", "Dato Laboratory 1", "Dato Laboratory 2"),
    "northlab": ("Northern Reference Laboratory", "Central Bench", "Night Bench"),
}
CUSTOMERS = {"acme-corp": ROOT / "README.md", "customer-123": ROOT / "LICENSE"}

console = Console(highlight=False)


class CommandFailed(Exception):
    """A command of the demo ended with an error, which it has printed."""


class Demo:
    """The commands run so far and how long each took."""

    def __init__(self) -> None:
        self.took: list[tuple[str, float]] = []
        # Nothing of the caller's own installations may be touched.
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("BEAK_", "DOCEX_", "PLATFORM_", "TENANT"))}
        self.environment = clean | {
            "BEAK_HOME": str(PLACE / "beak-lims"),
            "DOCEX_HOME": str(PLACE / "docex"),
            "COLUMNS": str(console.width),
        }

    def run(self, *command: str) -> str:
        """Run one of the installed commands in the demo's directory, timed, and show what it prints."""
        console.print(f"[bold]$ {escape(shlex.join(command))}[/]")
        began = time.perf_counter()
        ended = self._call(command)
        seconds = time.perf_counter() - began
        self.took.append((shlex.join(command), seconds))
        for line in (ended.stdout + ended.stderr).splitlines():
            console.print(f"  [dim]{escape(line)}[/]")
        if ended.returncode != 0:
            raise CommandFailed
        console.print(f"  [green]{seconds:.2f} s[/]")
        return ended.stdout

    def read(self, *command: str) -> list[dict[str, object]]:
        """What a command lists, as JSON."""
        ended = self._call(command)
        if ended.returncode != 0:
            console.print(escape(ended.stderr))
            raise CommandFailed
        listed: list[dict[str, object]] = json.loads(ended.stdout)
        return listed

    def _call(self, command: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        program = str(Path(sys.executable).with_name(command[0]))
        return subprocess.run(
            [program, *command[1:]], cwd=PLACE, env=self.environment, capture_output=True, text=True, check=False
        )


def laboratories(demo: Demo) -> None:
    """Beak LIMS: an organisation per PostgreSQL schema, laboratories inside it."""
    console.rule("Beak LIMS on an embedded PostgreSQL")
    demo.run("beak-lims", "db", "upgrade")
    demo.run("beak-lims", "seed", "platform-superuser")
    known = {tenant["slug"] for tenant in demo.read("beak-lims", "tenant", "list", "--status", "all", "--json")}
    for slug, (name, first, second) in ORGANISATIONS.items():
        if slug not in known:
            email = f"admin@{slug}.example"
            given = ("--name", name, "--slug", slug, "--admin-email", email, "--initial-lab-name", first)
            demo.run("beak-lims", "tenant", "provision", *given)
        demo.run("beak-lims", "tenant", "add-lab", "--slug", slug, "--name", second)
        demo.run("beak-lims", "tenant", "migrate", "--slug", slug)


def documents(demo: Demo) -> None:
    """DocEX: a customer per SQLite file, documents in baskets."""
    console.rule("DocEX on SQLite")
    for tenant, document in CUSTOMERS.items():
        ready = ("--enable-multi-tenancy", "--if-not-exists")
        demo.run("docex", "provision-tenant", "--tenant-id", tenant, *ready)
        baskets = demo.read("docex", "basket", "list", "--tenant-id", tenant, "--format", "json")
        if baskets:
            basket = str(baskets[0]["id"])
        else:
            basket = demo.run("docex", "basket", "create", "--tenant-id", tenant, "--name", "papers").split()[0]
        given = ("--tenant-id", tenant, "--basket-id", basket, "--file", str(document))
        demo.run("docex", "document", "add", *given)
        demo.run("docex", "tenant", "migrate", "--slug", tenant)


def show_what_exists(demo: Demo) -> None:
    """Print the tenants, where they lie and what is in them."""
    os.environ.update(demo.environment)
    from sqlalchemy import text

    from beak_lims.tenancy import tenancy

    console.rule("What exists now")
    organisations = listing("Beak LIMS, PostgreSQL in .demo/beak-lims", "Schema", "Laboratories")
    steps = Table("Step", title="Provisioning, milliseconds", title_justify="left", box=SIMPLE_HEAD)
    took: dict[str, dict[str, str]] = {}
    tenants = tenancy().list()
    for tenant in tenants:
        with tenancy().session(tenant.slug) as session:
            names = session.scalars(text("SELECT name FROM laboratory ORDER BY name")).all()
        organisations.add_row(tenant.slug, tenant.location, tenant.status.value, tenant.revision, ", ".join(names))
        steps.add_column(tenant.slug, justify="right")
        for operation in tenancy().operations(tenant.slug):
            for step in operation.steps if operation.kind == "provision" else ():
                took.setdefault(step.name, {})[tenant.slug] = f"{step.seconds * 1000:.1f}"
    tenancy().close()
    customers = listing("DocEX, SQLite and documents in .demo/storage", "File", "Documents")
    for listed in demo.read("docex", "tenant", "list", "--format", "json"):
        tenant_id, location, status, revision = (
            str(listed[k]) for k in ("tenant_id", "location", "status", "revision")
        )
        [basket] = demo.read("docex", "basket", "list", "--tenant-id", tenant_id, "--format", "json")
        given = ("--tenant-id", tenant_id, "--basket-id", str(basket["id"]), "--format", "json")
        held = ", ".join(str(document["name"]) for document in demo.read("docex", "document", "list", *given))
        customers.add_row(tenant_id, location, status, revision, held)
    for step_name, by_tenant in took.items():
        steps.add_row(step_name, *(by_tenant.get(tenant.slug, "-") for tenant in tenants))
    console.print(organisations, customers, steps)


def listing(title: str, place: str, holds: str) -> Table:
    """An empty table of tenants."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for column in ("Tenant", place, "Status", "Revision", holds):
        table.add_column(column, overflow="fold")
    return table


def show_times(demo: Demo) -> None:
    """Print how long each command took."""
    times = Table(box=SIMPLE_HEAD)
    times.add_column("Command", no_wrap=True, max_width=60)
    times.add_column("Seconds", justify="right")
    for command, seconds in demo.took:
        times.add_row(escape(command), f"{seconds:.2f}")
    times.add_section()
    times.add_row(f"{len(demo.took)} commands", f"{sum(seconds for _, seconds in demo.took):.2f}")
    console.print(times)


def main() -> int:
    parser = argparse.ArgumentParser(description="Show both applications at work, in .demo/.")
    parser.add_argument("--keep-server", action="store_true", help="leave the embedded PostgreSQL running")
    given = parser.parse_args()
    PLACE.mkdir(exist_ok=True)
    demo = Demo()
    try:
        laboratories(demo)
        documents(demo)
        show_what_exists(demo)
        show_times(demo)
    except CommandFailed:
        return 1
    finally:
        if not given.keep_server:
            demo.run("beak-lims", "db", "stop")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
