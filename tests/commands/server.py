"""Runs the installed commands in processes forked off this one, which has loaded their libraries already.

Loading them takes longer than most commands, and the tests run thousands. What is forked is a process of its own, with
the caller's arguments, directory, environment and open files. Linux only.
Usage: ``server.py SOCKET``; ends when its standard input is closed.
"""

from __future__ import annotations

import gc
import importlib
import io
import json
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from importlib.metadata import entry_points

LIBRARIES = (
    "alembic.autogenerate",
    "alembic.command",
    "alembic.runtime.migration",
    "argon2",
    "fastapi",
    "filelock",
    "httpx",
    "jwt",
    "limits",
    "platformdirs",
    "prometheus_client",
    "psycopg",
    "psycopg.types.json",
    "pydantic_settings",
    "rich.console",
    "rich.progress",
    "rich.table",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.aiosqlite",
    "sqlalchemy.ext.asyncio",
    "sqlalchemy.orm",
    "typer",
    "uvicorn",
    # Ours, too: they take nothing from their surroundings while they are loaded.
    "beak_lims.cli",
    "beak_lims.models",
    "beak_lims.tenancy",
    "docex.cli",
    "docex.application",
    "docex.tenancy",
    "tenantry.cli.__main__",
    "tenantry.archive.archives",
    "tenantry.fleet.fleet",
    "tenantry.iam.iam",
    "tenantry.tenancy",
)


def serve(path: str) -> None:
    """Fork for every request. Returns in the process of a command, where it raises what the command raises."""
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.collect()
    gc.freeze()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those that look after commands are waited for by nobody
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            return
        caller, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _look_after(caller)
            return
        caller.close()


def _look_after(caller: socket.socket) -> None:
    """Run one command, and tell its caller how it ended; end it when its caller is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, files, _, _ = socket.recv_fds(caller, 8, 3)
    asked = b""
    while len(asked) < int.from_bytes(size):
        asked += caller.recv(1 << 16)
    command = os.fork()
    if command == 0:
        caller.close()
        _become(files, *json.loads(asked))
        return
    for file in files:
        os.close(file)
    caller.sendall(b"%d\n" % command)
    ended = os.pidfd_open(command)
    while ended not in select.select([ended, caller], [], [])[0]:
        os.kill(command, signal.SIGKILL)
        select.select([ended], [], [])
    with suppress(OSError):
        caller.sendall(b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(command, 0)[1]))
    os._exit(0)


def _become(files: list[int], name: str, arguments: list[str], directory: str, environment: dict[str, str]) -> None:
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    # Opened as Python does at its start.
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False), encoding="utf-8", line_buffering=os.isatty(1))
    sys.stderr = io.TextIOWrapper(
        os.fdopen(2, "wb", closefd=False), encoding="utf-8", errors="backslashreplace", line_buffering=True
    )
    script = os.path.join(os.path.dirname(sys.executable), name)
    sys.argv = [script, *arguments]
    sys.path[0] = os.path.dirname(script)
    (found,) = entry_points(group="console_scripts", name=name)
    sys.exit(found.load()())


if __name__ == "__main__":
    serve(sys.argv[1])
