"""DocEX beside the public package of that name, and beside raw SQL with a file write: one run, one machine, in turns.

Both packages run :mod:`benchmarks.documents_load`, which calls only what both have. The public package needs an
environment of its own: name its interpreter in ``DOCEX_PUBLIC_PYTHON`` (``pip install docex==2.9.10 psycopg[binary]``
into a venv of Python 3.13). Without it, ours is measured beside the floor alone.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from benchmarks.documents_floor import Floor
from benchmarks.documents_load import TENANTS

LOAD = Path(__file__).with_name("documents_load.py")
PUBLIC = "DOCEX_PUBLIC_PYTHON"
SIZES = (0, 5000, 9000)  # documents that are there when adding is timed
LISTED = 10_000
MANY = 100_000  # documents, of which there are so many only where directories can be added
TURNS = 5
ADDS, FINDS, SWITCHES, DIRECTORY = 150, 20, 12, 800  # of a turn
OURS, THEIRS, FLOOR = "ours", "public package", "floor"

Turn = Callable[..., float]  # a method of Load or Floor and its arguments; seconds
Times = dict[str, list[float]]  # turn by turn, by whose they are; seconds of one
Row = tuple[str, bool, int, Times]  # what it is, whether told per second, how many times better it is to be


@contextmanager
def package(interpreter: str, target: str) -> Iterator[Turn]:
    """A process of the package that an interpreter finds as ``docex``."""
    directory = tempfile.mkdtemp(dir=os.getcwd())
    with (
        open(f"{directory}/errors", "w+") as errors,
        subprocess.Popen(
            [interpreter, str(LOAD), target],
            cwd=directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        given, answers = process.stdin, process.stdout

        def turn(*asked: object) -> float:
            with suppress(BrokenPipeError):  # it has ended, and its errors say why
                given.write(json.dumps(asked) + "\n")
                given.flush()
            answer = answers.readline()
            if not answer:
                errors.seek(0)
                raise RuntimeError(f"{interpreter} could not do {asked}: {errors.read()[-2000:]}")
            return float(json.loads(answer))

        try:
            yield turn
        finally:
            with suppress(BrokenPipeError):
                given.close()


def taken(turns: dict[str, Turn], *asked: object, each: int = 1, rounds: int = TURNS) -> Times:
    """What one takes of ``each`` that are done in a turn; each round begins with another."""
    times: Times = {name: [] for name in turns}
    names = list(turns)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            times[name].append(turns[name](*asked) / each)
    return times


def measure(ours: Turn, theirs: Turn | None, floor: Turn) -> list[Row]:
    """All that is measured on one database."""
    both = {OURS: ours} if theirs is None else {OURS: ours, THEIRS: theirs}
    everyone = {**both, FLOOR: floor}
    rows: list[Row] = []
    there = 0
    for size in SIZES:
        for turn in everyone.values():
            turn("add", size - there)
        times = taken(everyone, "add", ADDS, each=ADDS)
        rows.append((f"add, {size} there", True, 10, times))
        there = size + TURNS * ADDS
    for turn in everyone.values():
        turn("add", LISTED - there)
    rows.append((f"list all {LISTED}", False, 10, taken(everyone, "listed", rounds=9)))
    # PostgreSQL makes up its mind about a plan in the first few.
    taken(everyone, "find", FINDS, rounds=1)
    rows.append(("find by metadata, one hit", False, 10, taken(everyone, "find", FINDS)))
    into: dict[str, Turn] = {OURS: ours, FLOOR: floor}
    if theirs is not None:
        into[THEIRS] = lambda _, count: theirs("add", ADDS) / ADDS * count  # a directory goes in as single files there
    rows.append(("add_directory, files", True, 30, taken(into, "add_directory", DIRECTORY, each=DIRECTORY)))
    ours("add_directory", MANY - LISTED - TURNS * DIRECTORY)
    alone = {OURS: ours}
    rows += [
        (f"add, {MANY} there", True, 0, taken(alone, "add", ADDS, each=ADDS)),
        (f"full text over {MANY}, a word of all, ten best", False, 0, taken(alone, "search", "of", 2)),
        (
            f"full text over {MANY}, two words, ten best",
            False,
            0,
            taken(alone, "search", f"file {MANY // 2}", 2),
        ),
    ]
    for turn in both.values():
        turn("leave")
        for number in range(TENANTS):
            turn("provision", number)
    rows.append(("switch tenant and list its baskets", False, 20, taken(everyone, "switch", SWITCHES)))
    first: Times = {name: [] for name in both}
    for number in range(TENANTS, 2 * TENANTS):
        for name, turn in both.items():
            first[name].append(turn("provision", number))
    rows.append(("provision on first access", False, 0, first))
    return rows


def table(rows: list[Row]) -> list[str]:
    """Medians of the turns, and beneath it each wish that was not met and where the floor was."""
    lines = [
        "| | ours | public package | ours is better by | floor |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    missed = []
    for what, rate, wanted, times in rows:
        unit = "per second" if rate else "ms"
        figures = {
            name: (1 / statistics.median(of) if rate else 1e3 * statistics.median(of)) for name, of in times.items()
        }
        shown = {name: f"{figure:,.2f}" for name, figure in figures.items()}
        better = ""
        if THEIRS in times:
            # Turn by turn: they were at the same time.
            times_better = statistics.median(b / a for a, b in zip(times[OURS], times[THEIRS], strict=True))
            better = f"{times_better:.1f} x"
            if times_better < wanted:
                least = figures[THEIRS] * wanted if rate else figures[THEIRS] / wanted
                missed.append(f"{what}: {wanted} x would be {least:,.2f} {unit}, the floor is {shown[FLOOR]}.")
        lines.append(
            f"| {what} ({unit}) | {shown[OURS]} | {shown.get(THEIRS, '')} | {better} | {shown.get(FLOOR, '')} |"
        )
    return [*lines, "", *([" ".join(missed), ""] if missed else [])]


def section(targets: dict[str, str]) -> str:
    """The section for RESULTS.md; ``targets`` are ``sqlite`` and a URL, by the name of the database."""
    # Emptied at the very end: a file system that has just removed thousands of files makes new ones more slowly, and
    # what comes next would pay for it.
    with tempfile.TemporaryDirectory(dir=os.getcwd()) as directory:
        before = os.getcwd()
        os.chdir(directory)
        try:
            return _section(targets)
        finally:
            os.chdir(before)


def _section(targets: dict[str, str]) -> str:
    public = os.environ.get(PUBLIC)
    lines = [
        "## Documents",
        "",
        "Documents of 1 KiB, one `add` and so one durable transaction each. To hold: 10 x the public package (2.9.10),",
        "30 x for directories, which go in as single files there, 20 x for switching tenants, 50 ms for full text.",
        "Floor: SQL alone on the same tables and a file for each document, without duplicates, events, quotas, full",
        "text or an audit trail; a directory's rows in one transaction, sent without waiting, and synced once; a",
        f"tenant switched on a connection that is open. They take turns, {TURNS} or more; figures are the medians,",
        "and what ours is better by is the median of the turns' ratios.",
        "",
    ]
    for name, target in targets.items():
        with ExitStack() as stack:
            theirs = stack.enter_context(package(public, target)) if public else None
            ours = stack.enter_context(package(sys.executable, target))
            floor = stack.enter_context(Floor(target))
            rows = measure(ours, theirs, floor)
        print(json.dumps({name: rows}), file=sys.stderr, flush=True)  # should a later one fail
        lines += [name, "", *table(rows)]
    if not public:
        lines += [f"The public package was not run: {PUBLIC} names no interpreter.", ""]
    return "\n".join(lines)
