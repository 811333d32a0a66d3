"""Two tenants, many threads and processes, killed at random: nothing lost, nothing seen by the other, counts exact.

What a worker was told is kept is written down by it before it goes on (in a journal that is only appended to); after
the kills everything in the journals must be there, and nothing else than what may have been under way.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from docex.docbasket import DocBasket
from docex.models.tables import DocumentRow

THREADS = 8
TENANTS = ("acme-corp", "globex-corp")
LIMITS = {"acme-corp": 100_000, "globex-corp": 40}  # documents; the second tenant is at its limit most of the time

WORKER = """
import os, random, sys, threading, time
from docex import DocEX, UserContext
from docex.errors import DatabaseError, DocumentNotFound, QuotaExceeded

tenant, seed, journal, seconds = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
docex = DocEX(UserContext(f"worker-{seed}", tenant_id=tenant), provision=False)
out = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
until = time.monotonic() + seconds

def say(what, document, content):
    os.write(out, f"{what} {document} {content}\\n".encode())

def work(number):
    chance = random.Random(seed * 100 + number)
    basket = docex.basket("soak")
    mine = []
    while time.monotonic() < until:
        try:
            turn = chance.random()
            # A third of the contents are held by others too.
            content = f"{tenant} {chance.randrange(30) if chance.random() < 0.3 else chance.random()}"
            if turn < 0.5 or not mine:
                source = f"{seed}-{number}-{chance.random()}.txt"
                document = basket.add(content.encode(), name=source, metadata={"tenant": tenant})
                say("has", document.id, content)
                mine.append(document.id)
            elif turn < 0.65:
                chosen = chance.choice(mine)
                say("may", chosen, content)
                basket.update_document(chosen, content.encode(), name=f"{seed}-{number}-{chance.random()}.txt")
                say("has", chosen, content)
            elif turn < 0.8:
                chosen = mine.pop(chance.randrange(len(mine)))
                say("may", chosen, "gone")
                basket.delete_document(chosen)
                say("has", chosen, "gone")
            elif turn < 0.9:
                document = basket.get_document(chance.choice(mine))
                assert document.get_content("text").startswith(tenant)
            else:
                for event in docex.events.claim(f"{seed}-{number}", limit=5):
                    docex.events.done(event)
        except QuotaExceeded:
            time.sleep(0.01)

threads = [threading.Thread(target=work, args=(number,)) for number in range(int(sys.argv[5]))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def journal_of(path: Path) -> tuple[dict[str, str], dict[str, set[str]]]:
    """What every document must be, and what it may be because its last change was cut."""
    must: dict[str, str] = {}
    may: dict[str, set[str]] = {}
    for line in path.read_text().splitlines():
        what, document, content = line.split(" ", 2)
        if what == "may":
            may.setdefault(document, set()).add(content)
        else:
            must[document] = content
            may.pop(document, None)
    return must, may


def soak(installation: Any, seconds: float, processes: int, threads: int) -> dict[str, int]:
    """Let workers work and be killed for so long; returns how much was checked."""
    installation.setup()
    script = installation.directory / "worker.py"
    script.write_text(WORKER)
    chance = random.Random(time.time_ns())
    baskets: dict[str, DocBasket] = {}
    for tenant in TENANTS:
        docex = installation.docex(tenant)
        baskets[tenant] = docex.basket("soak")
        docex.set_quota(max_documents=LIMITS[tenant])
    until, seed, killed = time.monotonic() + seconds, 0, 0
    journals: dict[str, list[Path]] = {tenant: [] for tenant in TENANTS}
    running: list[subprocess.Popen[bytes]] = []

    def start(tenant: str) -> None:
        nonlocal seed
        seed += 1
        journal = installation.directory / f"journal-{seed}"
        journals[tenant].append(journal)
        arguments = [tenant, str(seed), str(journal), str(max(0.5, until - time.monotonic())), str(threads)]
        with (installation.directory / f"errors-{seed}").open("wb") as errors:
            command = [sys.executable, str(script), *arguments]
            environment = {**os.environ, **installation.environment}
            running.append(subprocess.Popen(command, cwd=installation.directory, env=environment, stderr=errors))

    try:
        for number in range(processes):
            start(TENANTS[number % 2])
        while time.monotonic() < until - 2:
            time.sleep(chance.uniform(0.5, 2.0))
            victim = running.pop(chance.randrange(len(running)))
            os.kill(victim.pid, signal.SIGKILL)
            victim.wait()
            killed += 1
            if time.monotonic() < until - 2:
                start(TENANTS[killed % 2])
        for process in running:
            process.wait(timeout=60)
    finally:
        for process in running:
            if process.poll() is None:
                process.kill()
    said = [path.read_text() for path in sorted(installation.directory.glob("errors-*"))]
    assert not any(said), next(text for text in said if text)
    checked = {"killed": killed, "documents": 0, "journalled": 0}
    for tenant in TENANTS:
        checked["documents"] += _verify(installation, tenant, baskets[tenant], journals[tenant], checked)
    return checked


def _verify(installation: Any, tenant: str, basket: DocBasket, journals: list[Path], checked: dict[str, int]) -> int:
    docex = installation.docex(tenant)
    report = docex.fsck(older_than=0, verify=True)
    kinds = {finding.kind for finding in report.findings}
    # What a kill may leave; and nothing that a row misses.
    assert kinds <= {"stray content", "stray path", "leftover", "missing path"}, report.findings
    assert docex.fsck(older_than=0, mend=True).clean
    assert docex.fsck(older_than=0, verify=True).findings == []
    present = {document.id: document.get_content("text") for document in basket.list_documents()}
    assert all(text.startswith(f"{tenant} ") for text in present.values())
    for journal in (path for path in journals if path.exists()):
        must, may = journal_of(journal)
        checked["journalled"] += len(must)
        for document, content in must.items():
            allowed = {content, *may.get(document, set())}
            assert present.get(document, "gone") in allowed, (tenant, document)
    usage = docex.get_usage()
    with docex.db.session() as session:
        assert usage.documents == len(present) == session.scalar(sa.select(sa.func.count()).select_from(DocumentRow))
    assert usage.documents <= LIMITS[tenant]
    return len(present)


def test_some_seconds_of_kills(anywhere: Any) -> None:
    checked = soak(anywhere, seconds=15, processes=2, threads=4)
    assert checked["killed"] >= 3
    assert checked["documents"] > 20
    assert checked["journalled"] >= checked["documents"] - 2 * 4 * checked["killed"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_minutes_of_kills(anywhere: Any) -> None:
    """Two tenants, four processes of eight threads each."""
    seconds = float(os.environ.get("DOCEX_SOAK_SECONDS", "600"))
    checked = soak(anywhere, seconds=seconds, processes=2 * 4, threads=THREADS)
    print(json.dumps(checked))
    assert checked["killed"] > seconds / 5
