"""A file that one holder has at a time, among processes and among the threads of one.

The lock is the system's own, so it ends with its process; the file is removed by whoever lets go of it. It guards
against other holders of the same path only, and not on a network file system without locks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock


class LockFile:
    """The lock at one path, whose directory must be there. filelock locks the descriptor; a ``FileLock`` of its own
    costs a tenth of what a new tenant's file takes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1

    def take(self, *, wait: bool) -> bool:
        """Take the lock; tells whether it was free, or waits for it. :raises OSError: the file cannot be opened."""
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                free = filelock.lock_descriptor(descriptor, blocking=wait)
                if free and os.fstat(descriptor).st_nlink:
                    self._descriptor, descriptor = descriptor, -1
                    return True
            finally:
                if descriptor != -1:
                    os.close(descriptor)
            if not free:
                return False
            # Its last holder removed it after it was opened here: the next one locks another file of this name.

    def release(self) -> None:
        """Let go of the lock that was taken."""
        descriptor, self._descriptor = self._descriptor, -1
        try:
            with suppress(FileNotFoundError, PermissionError):  # Windows removes no file that another has open
                self.path.unlink()
        finally:
            filelock.unlock_descriptor(descriptor)  # by itself: a child forked meanwhile has the descriptor too
            os.close(descriptor)


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold the lock at this path inside the block; waits for it."""
    lock = LockFile(path)
    lock.take(wait=True)
    try:
        yield
    finally:
        lock.release()
