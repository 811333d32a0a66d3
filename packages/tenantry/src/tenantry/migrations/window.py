"""The revisions that the running code can work with.

A release that is deployed before its tenants are migrated serves those that are at the head and those that are not yet;
one that still runs while a newer one migrates them may be told the revisions to come, which it does not hold.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property

from tenantry.errors import DeclarationError
from tenantry.migrations.directory import BASE, HEAD, Migrations


class Window:
    """Revisions of one chain: ``oldest`` (to the head), ``oldest:newest``, or a collection of revisions by name, of
    which this build need not hold every one.
    """

    def __init__(self, migrations: Migrations, supported: str | Collection[str]) -> None:
        self._migrations = migrations
        self._supported = supported

    def __str__(self) -> str:
        if isinstance(self._supported, str):
            oldest, _, newest = self._supported.partition(":")
            return f"{oldest or BASE} to {newest or HEAD}"
        return ", ".join(sorted(self._supported))

    def holds(self, revision: str | None) -> bool:
        """Whether a tenant at this revision (None: base) can be served."""
        return revision in self._revisions

    @cached_property
    def _revisions(self) -> frozenset[str | None]:
        migrations = self._migrations
        if not isinstance(self._supported, str):
            named = (migrations.resolve(each) if each in (HEAD, BASE) else each for each in self._supported)
            return frozenset(named)
        oldest, _, newest = self._supported.partition(":")
        first, last = migrations.resolve(oldest or BASE), migrations.resolve(newest or HEAD)
        found = frozenset[str | None](migrations.lineage(last))
        if first is None:
            return found | {None}
        if first not in found:
            raise DeclarationError(f"supported={self._supported!r}", f"{newest or HEAD} does not follow {oldest}.")
        return found - frozenset(migrations.lineage(first)) | {first}
