"""``docex serve`` as it is started in earnest: several processes behind one port, one tenant's token, a quiet end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any

import httpx

WORKERS = 2


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def children_of(process: int) -> set[int]:
    with open(f"/proc/{process}/task/{process}/children") as listed:
        return {int(child) for child in listed.read().split()}


def alive(process: int) -> bool:
    """Whether a process runs. One that has ended may wait for its parent, where there is no init to take it over."""
    try:
        with open(f"/proc/{process}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_several_workers_serve_the_same_documents_and_end_together(installation: Any) -> None:
    basket = installation.setup().docex().create_basket("invoices")
    made = ["token", "create", "--tenant-id", "acme-corp", "--name", "t", "--user", "carol", "--role", "editor"]
    token = installation.run(*made).stdout.split()[1]
    port = free_port()
    command = [sys.executable, "-m", "docex", "serve", "--port", str(port), "--workers", str(WORKERS)]
    environment = {**os.environ, **installation.environment}
    with (installation.directory / "serve.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=installation.directory, env=environment, stderr=log)
    origin, headers = f"http://127.0.0.1:{port}/api/v1", {"Authorization": f"Bearer {token}"}
    try:
        end = time.monotonic() + 45
        while time.monotonic() < end:
            try:
                httpx.get(f"{origin}/baskets", headers=headers)
                break
            except httpx.TransportError:
                assert server.poll() is None, (installation.directory / "serve.log").read_text()
                time.sleep(0.1)
        for number in range(6):
            # A connection of its own each time: the kernel gives it to any of the processes.
            sent = httpx.post(
                f"{origin}/baskets/{basket.id}/documents",
                params={"name": f"{number}.txt"},
                content=str(number).encode(),
                headers=headers,
            )
            assert sent.status_code == 201, sent.text
            read = httpx.get(f"{origin}/documents/{sent.json()['id']}/content", headers=headers)
            assert read.content == str(number).encode()
        assert basket.count_documents() == 6
        workers = children_of(server.pid)
        assert len(workers) >= WORKERS
        os.kill(max(workers), signal.SIGKILL)  # the others go on
        assert httpx.get(f"{origin}/baskets", headers=headers).status_code == 200
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) in (0, -signal.SIGTERM)
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()
    end = time.monotonic() + 20  # what looks after Python's shared resources ends once it sees the others gone
    while any(alive(worker) for worker in workers) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(alive(worker) for worker in workers)
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))
