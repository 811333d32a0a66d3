"""``tenant migrate`` and ``rollout``: one tenant or all of them brought to a revision, and the runs that were.

At a terminal a bar shows how far it is; elsewhere a line every few seconds. Ctrl-C finishes the tenants in hand and
pauses; a second one stops at once, and each tenant is whole all the same.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tenantry.cli.output import Column, Listing, one_line, print_json, print_receipts, say
from tenantry.cli.running import group, opened

if TYPE_CHECKING:
    from tenantry.fleet.crew import Result
    from tenantry.fleet.outcomes import FailureGroup, Outcome, Report, Rollout
    from tenantry.fleet.preflight import Preflight
    from tenantry.fleet.rollout import Watcher
    from tenantry.fleet.standby import Standby
    from tenantry.tenancy import Tenancy

PAUSE = 2.0  # seconds between two lines of progress where there is no terminal
STDERR = 2  # the descriptor
JOBS = 4  # as tenantry.fleet.fleet has it, which is not loaded for --help

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
JobsOption = Annotated[int | None, typer.Option("--jobs", min=1, help=f"Tenants at once. Default: {JOBS}.")]
UidArgument = Annotated[
    str | None, typer.Argument(metavar="[UID]", help="The rollout, or the beginning of its uid. Default: the latest.")
]

ROLLOUTS: Listing[tuple[Rollout, bool]] = Listing(
    columns=[
        Column("Rollout", lambda row: row[0].uid, "bold"),
        Column("Target", lambda row: row[0].target or "base"),
        Column("Status", lambda row: "interrupted" if row[1] else row[0].status.value),
        Column("Tenants", lambda row: row[0].total),
        Column("Done", lambda row: row[0].count("done")),
        Column("Failed", lambda row: row[0].count("failed", "unknown")),
        Column("Started", lambda row: f"{row[0].started_at:%Y-%m-%d %H:%M:%S}"),
        Column("By", lambda row: f"{row[0].actor} on {row[0].origin}"),
    ],
    record=lambda row: rollout_record(*row),
)

PLACES: Listing[Standby] = Listing(
    columns=[
        Column("Location", lambda place: place.location, "bold"),
        Column("Status", lambda place: place.status),
        Column("Revision", lambda place: place.revision or "base"),
        Column("Made", lambda place: f"{place.created_at:%Y-%m-%d %H:%M:%S}"),
    ],
    record=asdict,
)


def add_migrate(command: Callable[[Callable[..., None]], object], open_tenancy: Callable[[], Tenancy]) -> None:
    """Register ``migrate`` and ``standby`` with a group of tenant commands."""

    def migrate(
        slug: Annotated[str | None, typer.Option("--slug", help="The tenant's slug.")] = None,
        every: Annotated[bool, typer.Option("--all", help="Every tenant that is served or suspended.")] = False,
        to: Annotated[str, typer.Option(help="The revision to reach; base: nothing but the empty place.")] = "head",
        canary: Annotated[
            str | None, typer.Option(metavar="N|SLUG,...", help="Who goes first: if one of them fails, no other does.")
        ] = None,
        wave_size: Annotated[int | None, typer.Option(min=1, help="Tenants in a wave after the canaries.")] = None,
        jobs: JobsOption = None,
        max_failures: Annotated[
            str | None, typer.Option(metavar="N|P%", help="How many may fail; one more, and no other is begun.")
        ] = None,
        only_failed: Annotated[
            bool, typer.Option("--only-failed", help="Only those whose latest outcome is a failure.")
        ] = False,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Show what would be done, tried on a few tenants and undone.")
        ] = False,
        verify: Annotated[
            bool, typer.Option("--verify", help="Read every tenant's own version table first, and mend the ledger.")
        ] = False,
        as_json: JsonOption = False,
    ) -> None:
        """Bring a tenant, or with --all every tenant, to a revision; finish one whose provisioning was interrupted."""
        fleet_only = (canary, wave_size, jobs, max_failures, only_failed, dry_run, verify, as_json)
        if every == (slug is not None):
            raise typer.BadParameter("give --slug for one tenant, or --all for every one.")
        if not every:
            if any(fleet_only):
                raise typer.BadParameter("these options go with --all.")
            _migrate_one(open_tenancy, str(slug), to)
            return
        with opened(open_tenancy) as tenancy:
            if dry_run:
                found = tenancy.fleet.preflight(to, jobs=jobs or JOBS, only_failed=only_failed)
                _print_preflight(found, as_json)
                raise typer.Exit(0 if found.clear else 1)
            with watching(as_json) as (watcher, stop):
                report = tenancy.fleet.rollout(
                    to,
                    canary=_canary(canary),
                    wave_size=wave_size,
                    jobs=jobs or JOBS,
                    max_failures=max_failures,
                    only_failed=only_failed,
                    verify=verify,
                    watcher=watcher,
                    stop=stop,
                )
        print_report(report, as_json)
        raise typer.Exit(0 if report.complete else 1)

    def standby(
        keep: Annotated[int | None, typer.Option(min=0, help="How many to have ready, now and after each use.")] = None,
        as_json: JsonOption = False,
    ) -> None:
        """Keep places ready for tenants to come, so that provisioning only renames one; without --keep, list them."""
        with opened(open_tenancy) as tenancy:
            if keep is not None:
                kept = tenancy.fleet.standby.keep(keep)
                if not as_json:
                    say(f"Made {kept.made}, migrated {kept.migrated}, removed {kept.removed}.")
                    print(f"On standby: {kept.ready} of {kept.keep}")
                    return
            places = tenancy.fleet.standby.places()
        if places or as_json:
            PLACES.print(places, as_json=as_json)
        else:
            say("Nothing on standby. `tenant standby --keep N` makes places ready.")

    command(migrate)
    command(standby)


def _migrate_one(open_tenancy: Callable[[], Tenancy], slug: str, to: str) -> None:
    with opened(open_tenancy) as tenancy:
        migrated = tenancy.migrate(slug, to=to)
    tenant = migrated.tenant
    print(f"Migrated tenant: {tenant.slug} -> {tenant.location} at {tenant.revision} ({tenant.status.value})")
    print_receipts(migrated.receipts)


def _canary(given: str | None) -> int | list[str]:
    if given is None:
        return 0
    return int(given) if given.isdecimal() else [slug.strip() for slug in given.split(",") if slug.strip()]


def rollout_commands(open_tenancy: Callable[[], Tenancy]) -> typer.Typer:
    """Build the ``rollout`` group of an application."""
    app = group("Look at the runs over all tenants, go on with one, or end it.")

    @app.command("list")
    def list_(
        limit: Annotated[int, typer.Option(min=1, help="How many of the latest.")] = 20, as_json: JsonOption = False
    ) -> None:
        """List rollouts, newest first."""
        with opened(open_tenancy) as tenancy:
            found = [(rollout, tenancy.fleet.interrupted(rollout)) for rollout in tenancy.fleet.rollouts(limit)]
        if found or as_json:
            ROLLOUTS.print(found, as_json=as_json)
        else:
            say("No rollouts yet. `tenant migrate --all` begins one when there is something to do.")

    @app.command()
    def show(uid: UidArgument = None, as_json: JsonOption = False) -> None:
        """Show a rollout: what became of its tenants, and failures by cause."""
        from tenantry.fleet.outcomes import grouped

        with opened(open_tenancy) as tenancy:
            rollout = tenancy.fleet.get(uid)
            interrupted = tenancy.fleet.interrupted(rollout)
            outcomes = tenancy.fleet.outcomes(rollout.uid)
        if as_json:
            failures = [_group_record(each) for each in grouped(outcomes)]
            print_json(
                rollout_record(rollout, interrupted)
                | {"failures": failures, "outcomes": [asdict(outcome) for outcome in outcomes]}
            )
            return
        for name, value in rollout_record(rollout, interrupted).items():
            if value not in (None, {}):
                print(f"{name}: {one_line(_words(value))}")
        for each in grouped(outcomes):
            print(f"failed: {one_line(str(each))}")
        for outcome in outcomes:
            print(_outcome_line(outcome))

    @app.command()
    def resume(uid: UidArgument = None, jobs: JobsOption = None, as_json: JsonOption = False) -> None:
        """Go on with a rollout that was paused, stopped or interrupted. Tenants that failed stay as they are."""
        with opened(open_tenancy) as tenancy, watching(as_json) as (watcher, stop):
            report = tenancy.fleet.resume(uid, jobs=jobs, watcher=watcher, stop=stop)
        print_report(report, as_json)
        raise typer.Exit(0 if report.complete else 1)

    @app.command()
    def abort(uid: UidArgument = None) -> None:
        """Give up a rollout; a process that runs it finishes the tenants in hand. What was done stays done."""
        with opened(open_tenancy) as tenancy:
            rollout = tenancy.fleet.abort(uid)
        left = rollout.count("pending")
        print(f"Aborted rollout: {rollout.uid} ({left} tenants were not begun)")

    return app


# -- while it runs


@contextmanager
def watching(as_json: bool) -> Iterator[tuple[Watcher, Callable[[], bool]]]:
    """Show how far a rollout is, and let Ctrl-C and SIGTERM pause it; the second one stops it at once."""
    asked: list[int] = []

    def ask(number: int, frame: object) -> None:
        asked.append(number)
        if len(asked) > 1:
            raise KeyboardInterrupt
        with suppress(OSError):  # nobody listens any more
            # Past the stream, in the middle of whose work this may be: it refuses to be written to twice at once.
            os.write(STDERR, b"Pausing: the tenants in hand are finished. Once more to stop at once.\n")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        shown: Any = _bar() if sys.stderr.isatty() and not as_json else _lines(quiet=as_json)
        with shown as watcher:
            yield watcher, lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _bar() -> Iterator[Watcher]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from tenantry.fleet.crew import Verdict
    from tenantry.fleet.rollout import Watcher

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failed]}", style="red"),
    )
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=8) as progress:
        task = progress.add_task("Waiting", total=None, rate="", failed="")

        class Bar(Watcher):
            failed = 0

            def began(self, uid: str, total: int, notes: Sequence[str]) -> None:
                progress.update(task, total=total, description="Migrating")
                for note in notes:
                    progress.console.print(one_line(note), markup=False, highlight=False)

            def wave(self, number: int, size: int) -> None:
                progress.update(task, description="Canaries" if number == 0 else f"Wave {number}")

            def ended(self, result: Result) -> None:
                if result.verdict is Verdict.BUSY:
                    return
                self.failed += result.verdict is Verdict.FAILED
                speed = progress.tasks[0].speed
                rate = f"{speed:,.0f}/s" if speed else ""
                failed = f"{self.failed} failed" if self.failed else ""
                progress.update(task, advance=1, rate=rate, failed=failed)

            def waiting(self, count: int, seconds: float) -> None:
                progress.update(task, description=f"{count} busy")

        yield Bar()


@contextmanager
def _lines(*, quiet: bool) -> Iterator[Watcher]:
    from tenantry.fleet.crew import Verdict
    from tenantry.fleet.rollout import Watcher

    class Lines(Watcher):
        def __init__(self) -> None:
            self.total = self.done = self.failed = 0
            self.start = self.told = time.monotonic()

        def began(self, uid: str, total: int, notes: Sequence[str]) -> None:
            self.total, self.start = total, time.monotonic()
            self.told = self.start
            if not quiet:
                for note in notes:
                    say(note)
                say(f"Rollout {uid}: {total:,} tenants.")

        def wave(self, number: int, size: int) -> None:
            if number == 0 and not quiet:
                say(f"Canaries: {size:,}.")

        def ended(self, result: Result) -> None:
            if result.verdict is Verdict.BUSY:
                return
            self.done += 1
            self.failed += result.verdict is Verdict.FAILED
            now = time.monotonic()
            if not quiet and now - self.told >= PAUSE:
                self.told = now
                rate = self.done / (now - self.start)
                left = max(self.total - self.done, 0) / rate
                failed = f", {self.failed:,} failed" if self.failed else ""
                say(f"{self.done:,} of {self.total:,}{failed}, {rate:,.0f}/s, {left:,.0f} s left")

        def waiting(self, count: int, seconds: float) -> None:
            if not quiet:
                say(f"{count:,} busy; tried again in {seconds:g} s.")

    yield Lines()


# -- what is told afterwards


def print_report(report: Report, as_json: bool) -> None:
    """Print what a rollout did: failures by cause on stdout, what to do next on stderr."""
    if as_json:
        record = asdict(report) | {"complete": report.complete, "failures": [*map(_group_record, report.failures)]}
        if report.rollout is not None:
            record["rollout"] = rollout_record(report.rollout, False)
        print_json(record)
        return
    rollout = report.rollout
    if rollout is None:
        for note in report.notes:
            say(note)
        print(f"Nothing to migrate: {report.tenants:,} tenants at {report.target or 'base'} ({report.seconds:.2f} s)")
        return
    done = rollout.count("done")
    print(
        f"Migrated {done:,} of {rollout.total:,} tenants to {rollout.target or 'base'} in {report.seconds:.1f} s:"
        f" {rollout.status.value}"
    )
    for each in report.failures:
        print(one_line(str(each)))
    if rollout.error:
        say(rollout.error)
    hint = {
        "paused": f"`rollout resume {rollout.uid}` goes on.",
        "stopped": f"`rollout show {rollout.uid}` tells of each tenant, `rollout resume {rollout.uid}` goes on.",
        "failed": f"`rollout show {rollout.uid}` tells of each tenant. When they are mended:"
        " `tenant migrate --all --only-failed`.",
    }.get(rollout.status.value)
    if hint:
        say(hint)


def rollout_record(rollout: Rollout, interrupted: bool) -> dict[str, Any]:
    """A rollout as a JSON object."""
    record = asdict(rollout)
    counts = {status.value: count for status, count in rollout.counts.items()}
    return record | {"status": "interrupted" if interrupted else rollout.status.value, "counts": counts}


def _group_record(group: FailureGroup) -> dict[str, Any]:
    return asdict(group) | {"slugs": list(group.slugs), "tenants": len(group.slugs)}


def _words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={item}" for name, item in value.items() if item not in (None, False))
    return str(value)


def _outcome_line(outcome: Outcome) -> str:
    took = f" {outcome.seconds:.3f} s" if outcome.seconds is not None else ""
    waited = f" (waited {outcome.lock_wait:.3f} s)" if outcome.lock_wait and outcome.lock_wait >= 0.001 else ""
    error = f": {one_line(outcome.error)}" if outcome.error else ""
    reached = f" -> {outcome.revision or 'base'}" if outcome.status.value == "done" else ""
    return f"{outcome.slug}\t{outcome.status.value}\t{outcome.base or 'base'}{reached}{took}{waited}{error}"


def _print_preflight(found: Preflight, as_json: bool) -> None:
    if as_json:
        ways = [{"base": way.base, "tenants": way.tenants, "reason": way.reason, "sql": way.sql} for way in found.ways]
        trials = [asdict(trial) for trial in found.trials]
        print_json(asdict(found) | {"ways": ways, "trials": trials, "clear": found.clear})
        return
    if not found.tenants:
        print(f"Nothing to migrate: every tenant is at {found.target or 'base'}")
    for way in found.ways:
        tenants = f"{way.tenants:,} tenant{'s' if way.tenants != 1 else ''}"
        print(f"-- from {way.base or 'base'} to {found.target or 'base'}: {tenants}")
        print(way.sql if way.plan is not None else f"-- not possible: {one_line(way.reason or '')}")
    for trial in found.trials:
        said = f"failed: {one_line(trial.error)}" if trial.error else f"{trial.seconds:.3f} s"
        size = f"{trial.size / 1e6:,.1f} MB" if trial.size >= 1e6 else f"{trial.size / 1e3:,.0f} KB"
        print(f"-- tried on {trial.slug} ({size}) and undone: {said}")
    if found.seconds is not None:
        least, most = found.seconds
        print(f"-- about {least:,.2f} to {most:,.2f} s with {found.jobs} at once")
    for note in found.notes:
        say(note)
