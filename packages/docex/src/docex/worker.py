"""Drain the events of new and changed documents: give each document to the processors that the tenant's rules name.

An event is worked on at least once: a worker that dies leaves its claim, which ends, and another worker takes it.
Working on a document twice makes no second output. Events of other kinds are left for others.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from docex.errors import DatabaseError, DocexError, StorageError, TenantError
from docex.processors.derived import DERIVED
from docex.services.event_service import Event
from docex.services.intake import ADDED, UPDATED
from docex.services.processor_service import ProcessorService

if TYPE_CHECKING:
    from docex.application import DocEX

logger = logging.getLogger(__name__)

SPARE = 30.0  # seconds that a claim outlasts the processors' time


@dataclass
class Drained:
    """What was done so far."""

    events: int = 0
    runs: int = 0
    failures: int = 0


class Worker:
    """Works on the events of one tenant or of several, one event at a time."""

    def __init__(self, tenants: Iterable[DocEX]) -> None:
        self._tenants = list(tenants)
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        # To stop. An event would not do: a signal's handler that sets one while it is being looked at waits for ever.
        self._asked: SimpleQueue[None] = SimpleQueue()
        self.drained = Drained()

    def stop(self) -> None:
        """Have :meth:`run` return when the event that is worked on is finished. May be called by a signal's handler."""
        self._asked.put(None)

    def run(self, *, once: bool = False, interval: float = 1.0) -> Drained:
        """Work until stopped, or with ``once`` until nothing is pending. ``interval``: seconds between two looks."""
        while self._asked.empty():
            worked = [self._one(docex) for docex in self._tenants]  # one event each, so that none waits for another
            if not any(worked):
                if once:
                    break
                with suppress(Empty):
                    self._asked.put(self._asked.get(timeout=interval))
        return self.drained

    def _one(self, docex: DocEX) -> bool:
        """Work on one event of a tenant; False if there is none, or the tenant cannot be reached."""
        try:
            rules = ProcessorService(docex.db).rules(enabled_only=True)
            lease = SPARE + docex.processing_timeout * max(1, len(rules))
            events = docex.events.claim(self._name, limit=1, lease=lease, types=(ADDED, UPDATED))
            for event in events:
                self._work(docex, event)
            return bool(events)
        except (DatabaseError, TenantError) as error:
            logger.warning("%r: %s", docex, error)
            return False

    def _work(self, docex: DocEX, event: Event) -> None:
        self.drained.events += 1
        document = None if event.document_id is None else docex.get_document(event.document_id)
        # What a processor made is not worked on again: a rule for *.* would never come to an end.
        if document is None or document.document_type == DERIVED:
            docex.events.done(event)
            return
        errors = []
        for name in ProcessorService(docex.db).matching(document):
            self.drained.runs += 1
            try:
                result = docex.run_processor(name, document)
            except StorageError as error:
                # The content may be within reach later; the event counts how often that was tried.
                docex.events.failed(event, str(error), retry=True)
                self.drained.failures += 1
                return
            except DocexError as error:
                errors.append(str(error))
            else:
                if not result.success:
                    errors.append(f"{name}: {result.error}")
        self.drained.failures += len(errors)
        if errors:
            docex.events.failed(event, "; ".join(errors))
        else:
            docex.events.done(event)
