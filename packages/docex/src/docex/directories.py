"""Add the files of a directory: many contents and rows at a time.

One transaction takes a batch in, so a kill loses at most the batches that were under way: while the database takes one,
or PostgreSQL two, the next is read. A repeated run finds what was added before. A file that cannot be added stops
nothing.
"""

from __future__ import annotations

import fnmatch
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from docex import access
from docex.errors import DocumentRejected, FileMissing, QuotaExceeded
from docex.services.usage_service import limited
from docex.sources import opened

if TYPE_CHECKING:
    from docex.docbasket import DocBasket
    from docex.document import Document
    from docex.services.intake import Draft

FILES = 400  # in one batch, at most
FEW = 100  # and at least
BATCHES = 6  # or more, for while one is written the next is read
WRITERS = 2  # batches that PostgreSQL takes at once; SQLite has one writer
BYTES = 32 * 1024 * 1024  # of contents in one batch, more or less


@dataclass
class DirectoryReport:
    """What became of the files of a directory."""

    added: list[Document] = field(default_factory=list)
    duplicates: list[Document] = field(default_factory=list)  # that were there already
    refused: list[tuple[str, str]] = field(default_factory=list)  # paths, and why


def add_directory(
    basket: DocBasket,
    directory: str | os.PathLike[str],
    document_type: str,
    metadata: Mapping[str, Any] | None,
    pattern: str,
    recursive: bool,
    progress: Callable[[int, int], object] | None,
) -> DirectoryReport:
    """See :meth:`docex.docbasket.DocBasket.add_directory`."""
    access.check(basket.documents.db, access.WRITE)
    root, report = os.fspath(directory), DirectoryReport()
    files = sorted(_files(root, pattern, recursive, report))
    waiting, at_once = iter(files), min(FILES, max(FEW, -(-len(files) // BATCHES)))
    done, total = len(report.refused), len(files) + len(report.refused)
    with basket.db.connection() as connection:
        # In order where not all may fit, so that what does is the first of it.
        writers = WRITERS if connection.dialect.name == "postgresql" and not limited(connection) else 1
    under_way: deque[_Writing] = deque()

    def finish(following: _Writing | None) -> None:
        nonlocal done
        batch = under_way.popleft()
        batch.finish(report, following)
        done += batch.looked_at
        if progress is not None:
            progress(done, total)

    # The writers end before what they may still read is closed.
    with ExitStack() as left, ThreadPoolExecutor(writers, thread_name_prefix="docex-writing") as writer:
        while batch := _received(basket, waiting, at_once, document_type, metadata, report, left):
            if len(under_way) == writers:
                finish(batch)
            batch.begin(writer)
            under_way.append(batch)
        while under_way:
            finish(None)
    return report


class _Writing:
    """One batch of files: received, prepared, then written while the next one is received."""

    def __init__(self, basket: DocBasket, received: ExitStack, drafts: list[Draft], looked_at: int) -> None:
        self.looked_at = looked_at
        self._basket = basket
        self._received = received
        self._drafts = drafts
        self._prepared = basket.prepare(drafts) if drafts else None
        self._future: Future[list[tuple[Document, bool]]] | None = None

    def begin(self, writer: ThreadPoolExecutor) -> None:
        """Have the rows written."""
        if self._prepared is None and self._drafts:
            self._prepared = self._basket.prepare(self._drafts)
        if self._prepared is not None:
            # In this one's context, which says whose work it is.
            self._future = writer.submit(copy_context().run, self._basket.write, self._prepared)

    def finish(self, report: DirectoryReport, following: _Writing | None) -> None:
        """Wait for the rows, and tell what became of the files. ``following``, not begun, is given up if this fails."""
        try:
            if self._future is not None:
                _told(report, self._future.result())
        except QuotaExceeded:
            if following is not None:
                following.give_up()
            # As many as fit, one by one; the first that does not says so.
            for draft in self._drafts:
                _told(report, self._basket.take_in([draft]))
        except BaseException:
            if following is not None:
                following.give_up()
            raise
        finally:
            self._received.close()

    def give_up(self) -> None:
        """Take back what was prepared; :meth:`begin` prepares it again."""
        if self._prepared is not None:
            self._basket.give_up(self._prepared)
            self._prepared = None


def _received(
    basket: DocBasket,
    waiting: Iterator[str],
    at_once: int,
    document_type: str,
    metadata: Mapping[str, Any] | None,
    report: DirectoryReport,
    left: ExitStack,
) -> _Writing | None:
    """Receive the next files, so many at once, and store their contents; None at the end. ``left`` closes what is never
    written.
    """
    drafts: list[Draft] = []
    size = looked_at = 0
    received = left.enter_context(ExitStack())
    for path in waiting:
        looked_at += 1
        try:
            with ExitStack() as attempt:
                source = attempt.enter_context(opened(path, None))
                staged = received.enter_context(basket.storage.receive(source.reader, path))
                drafts.append(basket.draft(source, staged, document_type, metadata))
                size += staged.size
        except DocumentRejected as error:
            report.refused.append((path, str(error)))
        if looked_at >= at_once or size >= BYTES:
            break
    return _Writing(basket, received, drafts, looked_at) if looked_at else None


def _told(report: DirectoryReport, results: list[tuple[Document, bool]]) -> None:
    for document, new in results:
        (report.added if new else report.duplicates).append(document)


def _files(root: str, pattern: str, recursive: bool, report: DirectoryReport) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    except FileNotFoundError as error:
        raise FileMissing(root, "there is no such directory.") from error
    except OSError as error:
        raise DocumentRejected(root, f"{error.strerror}.") from error
    for entry in entries:
        if entry.is_symlink():
            report.refused.append((entry.path, "it is a symbolic link; those are not followed."))
        elif entry.is_dir(follow_symlinks=False):
            if recursive:
                try:
                    yield from _files(entry.path, pattern, recursive, report)
                except DocumentRejected as error:
                    report.refused.append((entry.path, str(error)))
        elif fnmatch.fnmatch(entry.name, pattern):
            yield entry.path
