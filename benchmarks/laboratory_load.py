"""A day's load over 100 organisations of two laboratories each, beside a bare FastAPI that sends the same SQL.

One unit is what a laboratory does for one patient: register the patient, register a request with two samples of three
analyses each, enter the six results, verify them as somebody else, read the worklist. `beak-lims server run` serves it
with two workers; the bare application, with two workers too, sends the statements that such a unit sent, with other
keys (:mod:`benchmarks.laboratory_replay`). Both servers, the database and the clients share the machine's processors.

The clients are coroutines over bare sockets and not locust's users: one of those spends about as much of a processor on
a request as the bare application does, of processors that are shared. It would be counted against both, and flatter
the ratio.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import socket
import statistics
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from beak_lims.api.app import lims_app
from beak_lims.context import LabContext, bind
from beak_lims.identity import sessions, tokens
from beak_lims.laboratories import add_laboratory
from beak_lims.models import Analysis, Client, Group, Laboratory, SampleType, Specification, Unit, User
from beak_lims.services.patients import register_patient
from beak_lims.services.requests import NewRequest, NewSample, register_request
from beak_lims.settings import Settings
from beak_lims.tenancy import declare
from benchmarks.laboratory_replay import DATABASE, RECIPE, Recorder, recipe
from tenantry import Tenancy

ROOT = Path(__file__).parents[1]
TENANTS = 100
LABORATORIES = ("First", "Second")
WORKERS = 2
CLIENTS = 8  # units under way at once
ROUNDS = 9
SECONDS = 6.0  # of a server's turn in a round; twice that at part of the load
PART = 0.7
WAITING = 9  # requests of six results that stay on each worklist
API = "/api/v1"
STEPS = ("register patient", "request, 2 samples", "enter 6 results", "verify 6 results", "worklist")
SECRET = "b" * 40


@dataclass
class Bench:
    """One laboratory, with a technician and a verifier logged in."""

    number: int
    slug: str
    tokens: tuple[str, str]
    own: dict[str, str]  # keys by name
    schema: str
    role: str


@dataclass(frozen=True)
class Borne:
    """What a server bore. Times in seconds."""

    per_second: float  # units
    units: list[float] = field(repr=False)
    steps: list[list[float]] = field(repr=False)

    @staticmethod
    def at(times: list[float], part: float) -> float:
        """A percentile."""
        return sorted(times)[min(int(len(times) * part), len(times) - 1)]


@dataclass(frozen=True)
class Measured:
    """The rounds of both servers, and each at part of its own load."""

    ours: list[Borne]
    bare: list[Borne]
    steady: list[Borne]
    bare_steady: list[Borne]
    statements: list[int]  # of each step

    @property
    def ratios(self) -> list[float]:
        """Our throughput to the bare one's, round by round."""
        return [mine.per_second / other.per_second for mine, other in zip(self.ours, self.bare, strict=True)]


def measure(url: str, *, tenants: int = TENANTS, rounds: int = ROUNDS, seconds: float = SECONDS) -> Measured:
    """Provision the organisations in this database, and load both servers in turn."""
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        environment = {**os.environ, "BEAK_DATABASE_URL": url, "BEAK_HOME": directory, "SECRET_KEY": SECRET}
        tenancy = declare(Settings(_env_file=None, BEAK_DATABASE_URL=url, BEAK_HOME=home, SECRET_KEY=SECRET))
        try:
            tenancy.initialize()
            benches = [one for number in range(tenants) for one in _organisation(tenancy, number)]
            kept = asyncio.run(_recorded(tenancy, benches[0]))
            laboratories = [{"own": one.own, "schema": one.schema, "role": one.role} for one in benches]
            (home / "recipe.json").write_text(json.dumps({**kept, "laboratories": laboratories}))
        finally:
            tenancy.close()
        plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        _settle(plain)
        environment |= {RECIPE: str(home / "recipe.json"), DATABASE: plain}
        counts = [len(step["statements"]) for step in kept["steps"]]
        with _ours(environment) as port, _bare(environment) as bare_port:
            return asyncio.run(_loaded(benches, port, bare_port, rounds, seconds, counts))


def _settle(url: str) -> None:
    """Have the files of so many new tables synced now: the database would do it in the middle of the measurement."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")


# -- the organisations


def _organisation(tenancy: Tenancy, number: int) -> Iterator[Bench]:
    slug = f"lab{number:03}"
    tenancy.provision(slug, name=f"Laboratories {number}", options={"initial_lab_name": LABORATORIES[0]})
    for name in LABORATORIES[1:]:
        add_laboratory(tenancy, slug, name)
    tenant, at = tenancy.get(slug), datetime.now(UTC)
    with tenancy.session(slug) as session:
        own = _set_up(tenancy, slug, session)
        people = [own["technician"], own["verifier"]]
        opened = [sessions.open_session(session, uid, "127.0.0.1", at)[0] for uid in people]
        for one in opened:
            one.expires_at = at + timedelta(hours=12)
        laboratories = {one.name: one.uid for one in session.scalars(sa.select(Laboratory))}
        begun = [one.uid for one in opened]
        own |= {f"session{place}": uid for place, uid in enumerate(begun)}
    for place, name in enumerate(LABORATORIES):
        with tenancy.session(slug) as session:
            context = LabContext(slug, own["technician"], "bench", laboratory_uid=laboratories[name])
            bind(session, context)
            _waiting(session, context, own)
        signed = tuple(
            tokens.sign(tenant, uid, one, laboratories[name], at) for uid, one in zip(people, begun, strict=True)
        )
        mine = {**own, "laboratory": laboratories[name], "tenant": tenant.uid}
        role = tenant.role or ""
        yield Bench(number * len(LABORATORIES) + place, slug, (signed[0], signed[1]), mine, tenant.location, role)


def _set_up(tenancy: Tenancy, slug: str, session: Any) -> dict[str, str]:
    blood, mmol, client = SampleType(name="Blood", abbr="BLD"), Unit(name="mmol/L"), Client(name="Clinic", code="C1")
    groups = list(session.scalars(sa.select(Group).where(Group.keyword.in_(("LAB_MANAGER",)))))
    laboratories = list(session.scalars(sa.select(Laboratory)))
    people = [
        User(
            first_name=name.title(),
            last_name="Moyo",
            email=f"{name}@example.org",
            user_name=name,
            hashed_password="-",
            groups=groups,
            laboratories=laboratories,
        )
        for name in ("technician", "verifier")
    ]
    session.add_all([blood, mmol, client, *people])
    session.flush()
    analyses = [Analysis(name=f"Analysis {at}", keyword=f"a{at}", unit_uid=mmol.uid, precision=1) for at in range(3)]
    for one in analyses:
        one.specifications = [
            Specification(gender=gender, age_min=low, age_max=low + 59, min=Decimal(3), max=Decimal(6))
            for gender in ("male", "female")
            for low in (0, 60)
        ]
    session.add_all(analyses)
    session.flush()
    rows = {"technician": people[0], "verifier": people[1], "blood": blood, "unit": mmol, "client": client}
    rows |= {f"analysis{at}": one for at, one in enumerate(analyses)}
    return {name: row.uid for name, row in rows.items()}


def _waiting(session: Any, context: LabContext, own: Mapping[str, str]) -> None:
    """What is on the worklist all the time."""
    values = {
        "first_name": "Waiting",
        "last_name": "Patient",
        "client_uid": own["client"],
        "gender": "female",
        "age": 30,
    }
    patient = register_patient(session, context, {**values, "client_uid": own["client"]})
    asked = [own[f"analysis{at}"] for at in range(3)]
    for _ in range(WAITING):
        register_request(session, context, NewRequest(patient.uid, [NewSample(own["blood"], asked)] * 2))


# -- one unit


def _patient(bench: Bench) -> dict[str, Any]:
    letters = "".join(random.choices(string.ascii_lowercase, k=14))
    return {
        "first_name": letters[:7].title(),
        "last_name": letters[7:].title(),
        "gender": "female",
        "date_of_birth": "1990-05-01",
        "mobile_phone": f"+26377{random.randrange(10**7):07}",
        "client_uid": bench.own["client"],
    }


Ask = Callable[[int, str, str, Any], Awaitable[Any]]  # who (0 technician, 1 verifier), method, path, body


async def _unit(bench: Bench, ask: Ask) -> list[Any]:
    """One unit of a laboratory; the answers."""
    patient = await ask(0, "POST", "/patients", _patient(bench))
    asked = [bench.own[f"analysis{at}"] for at in range(3)]
    sample = {"sample_type_uid": bench.own["blood"], "analysis_uids": asked}
    body = {"patient_uid": patient["uid"], "samples": [sample, sample]}
    request = await ask(0, "POST", "/analysis-requests", body)
    uids = [result["uid"] for sample in request["samples"] for result in sample["results"]]
    entries = [{"uid": uid, "value": f"{4 + place / 10:.1f}"} for place, uid in enumerate(uids)]
    entered = await ask(0, "POST", "/results/submit", {"entries": entries})
    verified = await ask(1, "POST", "/results/verify", {"uids": uids})
    if len(verified) != len(uids) or {one["status"] for one in verified} != {"approved"}:
        raise RuntimeError(f"not all are approved: {verified}")
    worklist = await ask(0, "GET", "/results/worklist?limit=50", None)
    if len(worklist) != 50:
        raise RuntimeError(f"the worklist has {len(worklist)} results")
    return [patient, request, entered, verified, worklist]


async def _recorded(tenancy: Tenancy, bench: Bench) -> dict[str, Any]:
    """The recipe of one unit; the first one, which also warms up, is left out."""
    app = lims_app(tenancy)
    kept: Recorder = Recorder()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:

        async def ask(who: int, method: str, path: str, body: Any) -> Any:
            kept.begin()
            headers = {"Authorization": f"Bearer {bench.tokens[who]}"}
            answer = await client.request(method, API + path, json=body, headers=headers)
            if not answer.is_success:
                raise RuntimeError(f"{method} {path}: {answer.text}")
            return answer.json()

        with kept:
            await _unit(bench, ask)
            kept.steps.clear()
            answers = await _unit(bench, ask)
    app.state.served.close()
    for step, answer in zip(kept.steps, answers, strict=True):
        step.answer = answer
    return recipe(kept.steps, {uid: name for name, uid in bench.own.items()})


# -- the servers


@contextlib.contextmanager
def _ours(environment: Mapping[str, str]) -> Iterator[int]:
    beak = str(Path(sys.executable).with_name("beak-lims"))
    with _serving([beak, "server", "run", "--workers", str(WORKERS)], environment, "laboratory.log") as port:
        yield port


@contextlib.contextmanager
def _bare(environment: Mapping[str, str]) -> Iterator[int]:
    command = [sys.executable, "-m", "uvicorn", "--factory", "benchmarks.laboratory_replay:app"]
    command += ["--no-access-log", "--log-level", "warning", "--workers", str(WORKERS)]
    with _serving(command, environment, "bare.log") as port:
        yield port


@contextlib.contextmanager
def _serving(command: list[str], environment: Mapping[str, str], log: str) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    with Path(log).open("wb") as told:
        server = subprocess.Popen([*command, "--port", str(port)], cwd=ROOT, env=environment, stdout=told, stderr=told)
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(Path(log).read_text())
            time.sleep(0.1)
        yield port
    finally:
        server.terminate()
        server.wait(60)


# -- the load


class _Connection:
    """As little of HTTP as the measurement needs."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> _Connection:
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=2**20))

    async def ask(self, method: str, path: str, token: str, body: Any) -> Any:
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        if content:
            head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
        self._writer.write(f"{head}\r\n".encode() + content)
        told = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = next(line for line in told.lower().splitlines() if line.startswith("content-length:"))
        answer = await self._reader.readexactly(int(length.partition(":")[2]))
        if told.split(" ", 2)[1][0] != "2":
            raise RuntimeError(f"{method} {path}: {told} {answer[:500]!r}")
        return json.loads(answer)

    def close(self) -> None:
        self._writer.close()


Work = Callable[[_Connection, Bench, list[list[float]]], Awaitable[None]]


async def _of_ours(connection: _Connection, bench: Bench, times: list[list[float]]) -> None:
    at = 0

    async def ask(who: int, method: str, path: str, body: Any) -> Any:
        nonlocal at
        began = time.perf_counter()
        answer = await connection.ask(method, API + path, bench.tokens[who], body)
        times[at].append(time.perf_counter() - began)
        at += 1
        return answer

    await _unit(bench, ask)


async def _of_bare(connection: _Connection, bench: Bench, times: list[list[float]]) -> None:
    unit: dict[str, str] = {}
    for at in range(len(STEPS)):
        began = time.perf_counter()
        body = {"laboratory": bench.number, "unit": unit}
        answer = await connection.ask("POST", f"/units/{at}", bench.tokens[0], body)
        times[at].append(time.perf_counter() - began)
        unit = answer["unit"]


async def _connected(port: int, bench: Bench, work: Work, times: list[list[float]]) -> None:
    """A connection for each unit: whichever worker is free takes it."""
    connection = await _Connection.open(port)
    try:
        await work(connection, bench, times)
    finally:
        connection.close()


async def _closed(port: int, benches: list[Bench], work: Work, seconds: float) -> Borne:
    """So many units at once as there are clients, each of another laboratory, one after the other."""
    units: list[float] = []
    steps: list[list[float]] = [[] for _ in STEPS]
    began = time.perf_counter()

    async def client() -> None:
        while time.perf_counter() < began + seconds:
            start = time.perf_counter()
            await _connected(port, random.choice(benches), work, steps)
            units.append(time.perf_counter() - start)

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return Borne(len(units) / (time.perf_counter() - began), units, steps)


async def _open(port: int, benches: list[Bench], work: Work, seconds: float, rate: float) -> Borne:
    """Units that begin when they are due, however many are under way."""
    units: list[float] = []
    steps: list[list[float]] = [[] for _ in STEPS]
    began = time.perf_counter()

    async def one(due: float) -> None:
        await _connected(port, random.choice(benches), work, steps)
        units.append(time.perf_counter() - due)

    tasks = []
    for number in range(int(rate * seconds)):
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(one(due)))
    await asyncio.gather(*tasks)
    return Borne(len(units) / (time.perf_counter() - began), units, steps)


async def _met(port: int, benches: list[Bench], work: Work) -> None:
    """Have every organisation met by all that serve: a database's process reads a schema's catalogs at its first visit,
    which costs more than the visit itself, and only once.
    """
    for _, visited in itertools.groupby(benches, lambda bench: bench.slug):
        laboratories = itertools.cycle(list(visited))
        units = (_connected(port, next(laboratories), work, [[] for _ in STEPS]) for _ in range(CLIENTS))
        await asyncio.gather(*units)


async def _loaded(
    benches: list[Bench], port: int, bare_port: int, rounds: int, seconds: float, counts: list[int]
) -> Measured:
    both = ((port, _of_ours), (bare_port, _of_bare))
    for at, work in both:
        await _met(at, benches, work)
    borne: list[list[Borne]] = [[], []]
    steady: list[list[Borne]] = [[], []]
    # Short turns, and what is part of the load follows from the load just borne: a machine's speed changes meanwhile.
    for turn in range(rounds):
        order = (0, 1) if turn % 2 == 0 else (1, 0)
        for which in order:
            borne[which].append(await _closed(both[which][0], benches, both[which][1], seconds))
        for which in order:
            rate = PART * borne[which][-1].per_second
            steady[which].append(await _open(both[which][0], benches, both[which][1], 2 * seconds, rate))
    return Measured(*borne, *steady, counts)


def told(figures: Measured) -> str:
    """The figures as a part of RESULTS.md."""
    best = [sorted(of, key=lambda one: one.per_second)[len(of) // 2] for of in (figures.ours, figures.bare)]
    calm, bare_calm = (sorted(of, key=_median)[len(of) // 2] for of in (figures.steady, figures.bare_steady))
    tail, bare_tail = (statistics.median(map(_tail, of)) for of in (figures.steady, figures.bare_steady))
    lines = ["| | units/s | median unit, ms | p99, ms |", "| --- | ---: | ---: | ---: |"]
    for name, one in (("Beak LIMS", best[0]), ("bare FastAPI, the same SQL", best[1])):
        lines.append(f"| {name} | {one.per_second:.1f} | {_ms(one.units, 0.5)} | {_ms(one.units, 0.99)} |")
    for name, one in (("Beak LIMS", calm), ("bare FastAPI", bare_calm)):
        ms = f"{_ms(one.units, 0.5)} | {_ms(one.units, 0.99)}"
        lines.append(f"| {name} at {PART:.0%} of its load | {one.per_second:.1f} | {ms} |")
    each = ["| request | statements | ours, ms | bare, ms | at 70%: median | p99 |", "| --- | " + "---: | " * 5]
    each[1] = each[1].rstrip()
    for at, name in enumerate(STEPS):
        cells = [_ms(best[0].steps[at], 0.5), _ms(best[1].steps[at], 0.5)]
        cells += [_ms(calm.steps[at], 0.5), _ms(calm.steps[at], 0.99)]
        each.append(f"| {name} | {figures.statements[at]} | " + " | ".join(cells) + " |")
    ratios = ", ".join(f"{one:.2f}" for one in figures.ratios)
    tails, bare_tails = (
        ", ".join(f"{_tail(one):.1f} x {_median(one) * 1e3:.0f} ms" for one in of)
        for of in (figures.steady, figures.bare_steady)
    )
    return (
        f"## A day of {TENANTS} organisations\n\nOf {len(LABORATORIES)} laboratories each. A unit: register a patient, "
        "a request with 2 samples and 6 results, enter and\nverify them, read 50 of the worklist. Both with "
        f"{WORKERS} workers, {CLIENTS} units at once; clients, servers and database share\nthe processors, and have "
        "met every organisation before. To hold: >= 0.5 of the bare throughput;\n"
        f"p99 <= 3 x the median at {PART:.0%} of the load.\n\n"
        + "\n".join(lines)
        + f"\n\nThroughput: {statistics.median(figures.ratios):.2f} of the bare one's (round by round: {ratios}).\n"
        f"p99 at {PART:.0%}: {tail:.1f} x the median ({tails});\n"
        f"of the bare one at {PART:.0%} of its load: {bare_tail:.1f} x ({bare_tails}).\n\n" + "\n".join(each) + "\n"
    )


def _tail(one: Borne) -> float:
    """How many times the median the slowest hundredth takes at least."""
    return Borne.at(one.units, 0.99) / _median(one)


def _median(one: Borne) -> float:
    return Borne.at(one.units, 0.5)


def _ms(times: list[float], part: float) -> str:
    return f"{Borne.at(times, part) * 1e3:.1f}"


def main() -> None:
    """A probe on an empty database: ``python -m benchmarks.laboratory_load URL TENANTS ROUNDS SECONDS``."""
    url, tenants, rounds, seconds = sys.argv[1:]
    print(told(measure(url, tenants=int(tenants), rounds=int(rounds), seconds=float(seconds))))


if __name__ == "__main__":
    main()
