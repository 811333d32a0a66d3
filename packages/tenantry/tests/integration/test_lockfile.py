"""The lock file: one holder at a time among processes and threads, whatever becomes of them."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tenantry.stores.lockfile import LockFile, hold

# Adds one to a number in a file, many times: two holders at once would lose one of theirs.
ADDING = """
import sys
from pathlib import Path
from tenantry.stores.lockfile import hold
lock, number = Path(sys.argv[1]), Path(sys.argv[2])
for _ in range(200):
    with hold(lock):
        number.write_text(str(int(number.read_text()) + 1))
"""
HOLDING = """
import sys, time
from pathlib import Path
from tenantry.stores.lockfile import LockFile
print(LockFile(Path(sys.argv[1])).take(wait=False), flush=True)
time.sleep(60)
"""


def test_one_holder_at_a_time_among_processes_and_threads_although_each_removes_the_file(tmp_path: Path) -> None:
    lock, number = tmp_path / "held.lock", tmp_path / "number"
    number.write_text("0")

    def add() -> None:
        for _ in range(200):
            with hold(lock):
                number.write_text(str(int(number.read_text()) + 1))

    others = [subprocess.Popen([sys.executable, "-c", ADDING, str(lock), str(number)]) for _ in range(2)]
    threads = [threading.Thread(target=add) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [other.wait(60) for other in others] == [0, 0]
    assert number.read_text() == str(4 * 200)
    assert list(tmp_path.iterdir()) == [number]


def test_a_lock_that_is_held_is_told_and_free_once_its_holder_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "held.lock"
    with subprocess.Popen([sys.executable, "-c", HOLDING, str(path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        lock = LockFile(path)
        assert not lock.take(wait=False)
        holder.send_signal(signal.SIGKILL)
        holder.wait()

    assert lock.take(wait=False)
    assert not LockFile(path).take(wait=False)  # the same process, another holder
    lock.release()
    assert LockFile(path).take(wait=False)


def test_a_lock_whose_file_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        LockFile(tmp_path / "nowhere" / "held.lock").take(wait=True)
