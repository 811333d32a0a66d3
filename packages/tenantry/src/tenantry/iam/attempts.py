"""How often a login may fail: counted for an address, for an account, and for an account from one address.

The counting is the ``limits`` library's; its storages are a process's own memory or one more server to run, so the
counters are kept here in the control plane's database, which every worker shares already and which the login asks
anyway. An attempt past a limit costs no hash and no write, and one look at the database a second: until then a process
answers from memory.

What is locked is as little as stops the guessing. One address that guesses at an account is locked out of that account;
an address that guesses at many, out of all; an account guessed at from many addresses, for all addresses but those from
which its user logged in lately. Nobody can lock somebody else out of the platform from elsewhere.
"""

from __future__ import annotations

import copy
import hashlib
import hmac
import ipaddress
import itertools
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from limits import RateLimitItem, parse
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter
from sqlalchemy.dialects import postgresql, sqlite

from tenantry.errors import TooManyAttempts
from tenantry.iam.tables import PlatformTables
from tenantry.registry.plane import ControlPlane

SWEEP_EVERY = 100  # counted attempts of a process between two removals of counters whose window is over
REMEMBERED = timedelta(seconds=1)  # for which a process refuses without asking the database again
MAX_REMEMBERED = 10_000  # refusals in a process's memory
IPV6_PREFIX = 64  # bits; the rest is any one host's to choose


@dataclass(frozen=True)
class LoginLimits:
    """How many logins may fail, in the words of the ``limits`` library; the window begins with the first."""

    per_address: str = "30 per 15 minutes"
    per_account: str = "20 per 15 minutes"  # from all addresses together
    per_account_and_address: str = "5 per 15 minutes"


class SharedCounters(Storage):
    """The counters of all workers, as ``limits`` wants them."""

    STORAGE_SCHEME = None
    base_exceptions = sa.exc.DBAPIError

    def __init__(self, plane: ControlPlane, platform: PlatformTables, clock: Callable[[], datetime]) -> None:
        super().__init__()
        self._plane = plane
        self._table = platform.platform_attempt
        self._clock = clock
        self._counted = itertools.count(1)
        self._seen: Mapping[str, tuple[int, datetime]] | None = None

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count, in one statement, and return how many there are in this window; the first begins it."""
        at, table = self._clock(), self._table
        with self._plane.transaction(writes=True) as connection:
            over = table.c.expires_at <= at
            insert = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)
            insert = insert.values(counter=key, hits=amount, expires_at=at + timedelta(seconds=expiry))
            upsert = insert.on_conflict_do_update(
                index_elements=["counter"],
                set_={
                    "hits": sa.case((over, insert.excluded.hits), else_=table.c.hits + insert.excluded.hits),
                    "expires_at": sa.case((over, insert.excluded.expires_at), else_=table.c.expires_at),
                },
            )
            hits = int(connection.execute(upsert.returning(table.c.hits)).scalar_one())
            if next(self._counted) % SWEEP_EVERY == 0:
                connection.execute(sa.delete(table).where(table.c.expires_at <= at))
        return hits

    def get(self, key: str) -> int:
        """How many there are in this window."""
        found = self._look(key)
        return 0 if found is None else found[0]

    def get_expiry(self, key: str) -> float:
        """When the window is over; now, when there is none."""
        found = self._look(key)
        return self._clock().timestamp() if found is None else found[1].timestamp()

    def now(self) -> datetime:
        """The time that windows are compared with."""
        return self._clock()

    def seen(self, keys: Iterable[str]) -> SharedCounters:
        """These counters as they are now, read in one look; the others have none."""
        table = self._table
        query = sa.select(table.c.counter, table.c.hits, table.c.expires_at).where(
            table.c.counter.in_(list(keys)), table.c.expires_at > self._clock()
        )
        snapshot = copy.copy(self)
        with self._plane.transaction() as connection:
            snapshot._seen = {row.counter: (row.hits, row.expires_at) for row in connection.execute(query)}
        return snapshot

    def _look(self, key: str) -> tuple[int, datetime] | None:
        counters = self if self._seen is not None else self.seen([key])
        return (counters._seen or {}).get(key)

    def give_back(self, key: str) -> None:
        """Take one from the count, if its window is still open."""
        change = (
            sa.update(self._table)
            .where(self._table.c.counter == key, self._table.c.hits > 0)
            .values(hits=self._table.c.hits - 1)
        )
        with self._plane.transaction(writes=True) as connection:
            connection.execute(change)

    def clear(self, key: str) -> None:
        """Forget one counter."""
        with self._plane.transaction(writes=True) as connection:
            connection.execute(sa.delete(self._table).where(self._table.c.counter == key))

    def clear_all(self, start: str, connection: sa.Connection) -> None:
        """Forget every counter whose name begins so."""
        connection.execute(sa.delete(self._table).where(self._table.c.counter.startswith(start, autoescape=True)))

    def reset(self) -> int:
        """Forget every counter, and return how many there were."""
        with self._plane.transaction(writes=True) as connection:
            return int(connection.execute(sa.delete(self._table)).rowcount)

    def check(self) -> bool:
        """Whether the counters can be read."""
        self.get("")
        return True


@dataclass(frozen=True)
class Counter:
    """One thing that is counted: what people call it, its limit, and what tells it from others."""

    name: str  # address, account, account and address
    item: RateLimitItem
    identifiers: tuple[str, ...]

    @property
    def key(self) -> str:
        """Its name among the counters."""
        return self.item.key_for(*self.identifiers)


class LoginGuard:
    """Lets a login be tried, or refuses it, on one platform. ``key`` hides in the database who was tried."""

    def __init__(self, counters: SharedCounters, limits: LoginLimits, key: bytes) -> None:
        self.counters = counters
        self._key = key
        self._per_address = parse(limits.per_address)
        self._per_account = parse(limits.per_account)
        self._per_pair = parse(limits.per_account_and_address)
        self._refused: OrderedDict[str, tuple[datetime, datetime]] = OrderedDict()
        self._guard = threading.Lock()

    def attempt(self, account: str, address: str) -> Attempt:
        """One login that is about to be tried. ``account``: the name or the email, as it was typed."""
        who, where = self._hidden(account), self._hidden(network_of(address))
        return Attempt(
            self,
            address=Counter("address", self._per_address, ("address", where)),
            pair=Counter("account and address", self._per_pair, ("pair", who, where)),
            account=Counter("account", self._per_account, ("account", who)),
        )

    def forgive(self, account: str, connection: sa.Connection) -> None:
        """Forget what was counted for the account, from every address; other processes within a second."""
        who = self._hidden(account)
        for item, kind in ((self._per_pair, "pair"), (self._per_account, "account")):
            self.counters.clear_all(f"{item.namespace}/{kind}/{who}/", connection)
        with self._guard:
            self._refused.clear()

    def remember(self, counter: Counter, ends: datetime) -> None:
        """Answer for a moment from memory that this is refused, until its window ends."""
        at = self.counters.now()
        with self._guard:
            self._refused[counter.key] = (at + REMEMBERED, ends)
            self._refused.move_to_end(counter.key)
            while len(self._refused) > MAX_REMEMBERED:
                self._refused.popitem(last=False)

    def remembered(self, counter: Counter) -> datetime | None:
        """When the window of something ends that was refused a moment ago."""
        at = self.counters.now()
        with self._guard:
            until, ends = self._refused.get(counter.key, (at, at))
        return ends if at < min(until, ends) else None

    def _hidden(self, text: str) -> str:
        return hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hex()[:32]


class Attempt:
    """One login: looked at before anything else, counted before its password is, and given back when it succeeds."""

    def __init__(self, guard: LoginGuard, *, address: Counter, pair: Counter, account: Counter) -> None:
        self._guard = guard
        self._address = address
        self._pair = pair
        self._account = account
        self._counted: list[Counter] = []
        self._seen: FixedWindowRateLimiter | None = None

    def check_address(self) -> None:
        """:raises TooManyAttempts: too many failed from this address, at this account or at all. Reads only."""
        for counter in (self._address, self._pair):
            ends = self._guard.remembered(counter)
            if ends is not None:
                raise self._refusal(ends)
        keys = [counter.key for counter in (self._address, self._pair, self._account)]
        self._seen = FixedWindowRateLimiter(self._guard.counters.seen(keys))
        for counter in (self._address, self._pair):
            self._check(counter, counter)

    def count(self, *, trusted: bool) -> None:
        """Count it. ``trusted``: the user logged in from this address lately, so what others tried does not matter.

        :raises TooManyAttempts: too many failed. What was counted until then stays counted.
        """
        limiter = FixedWindowRateLimiter(self._guard.counters)
        if not trusted:
            self._check(self._account, self._pair)
        for counter in (self._address, self._pair) if trusted else (self._address, self._pair, self._account):
            self._counted.append(counter)
            # Counted and compared in one statement: of many at once, no more than the limit go on.
            if not limiter.hit(counter.item, *counter.identifiers):
                raise self._refusal(_ends(limiter, counter))

    def _check(self, counter: Counter, refused: Counter) -> None:
        """Refuse if the counter stood at its limit; ``refused`` is what is remembered for that."""
        if self._seen is not None and not self._seen.test(counter.item, *counter.identifiers):
            ends = _ends(self._seen, counter)
            self._guard.remember(refused, ends)
            raise self._refusal(ends)

    def succeeded(self) -> None:
        """It was the user: it counts for nothing, and what failed here before is forgotten."""
        for counter in self._counted:
            if counter is self._pair:
                self._guard.counters.clear(counter.key)
            else:
                self._guard.counters.give_back(counter.key)

    def withdraw(self) -> None:
        """No password was tried after all: it counts for nothing."""
        for counter in self._counted:
            self._guard.counters.give_back(counter.key)

    def locked(self) -> list[str]:
        """What is locked now, after it failed."""
        limiter = FixedWindowRateLimiter(self._guard.counters.seen(counter.key for counter in self._counted))
        return [counter.name for counter in self._counted if not limiter.test(counter.item, *counter.identifiers)]

    def _refusal(self, ends: datetime) -> TooManyAttempts:
        return TooManyAttempts(max(1, math.ceil((ends - self._guard.counters.now()).total_seconds())))


def _ends(limiter: FixedWindowRateLimiter, counter: Counter) -> datetime:
    reset = limiter.get_window_stats(counter.item, *counter.identifiers).reset_time
    return datetime.fromtimestamp(reset, UTC)


def network_of(address: str) -> str:
    """What counts as one address: all of one IPv6 network, since its hosts choose the rest of theirs freely."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((int(found), IPV6_PREFIX), strict=False))
    return str(found)
