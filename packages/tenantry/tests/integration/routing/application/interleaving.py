"""Generated work of several threads and asyncio tasks on few connections, and what each of its statements saw.

Every statement asks whose canary it sees. A wrong answer is written down, never raised: an exception would only look
like one of those that belong to the work.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import sqlalchemy as sa
from canaries import item
from house import House
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from tenantry import Tenancy
from tenantry.errors import StoreUnavailable

SEE = sa.text("SELECT owner FROM canary")
SEE_PREPARED = sa.text("SELECT owner FROM canary WHERE owner <> :nobody")
MANY = sa.text("INSERT INTO item (body) VALUES (:body)")
SLOW = {
    "schema": sa.text("SELECT pg_sleep(0.05), owner FROM canary"),
    "file": sa.text(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 200000) SELECT count(*) FROM n, canary"
    ),
}
ACTIONS = (
    "see",
    "see prepared",
    "write",
    "write many",
    "commit",
    "commit as sql",
    "roll back",
    "savepoint",
    "lost savepoint",
    "fail in sql",
    "raise",
    "be cancelled",
)

# One session's work, for when all of it must succeed, and how many answers it gets.
WHOLE, ANSWERS = ["see", "write", "see prepared", "commit", "see", "savepoint", "lost savepoint"], 7

Visit = tuple[int, list[str]]  # a tenant's number, and what is done in one session on it
visits = st.lists(st.tuples(st.integers(0, 4), st.lists(st.sampled_from(ACTIONS), max_size=6)), min_size=1, max_size=6)
plans = st.lists(visits, min_size=2, max_size=4)


class Planned(Exception):
    """Raised by the work itself."""


@dataclass
class Interleaving:
    """One run; ``wrong`` holds what no statement may ever see."""

    house: House
    tenancy: Tenancy
    slugs: Sequence[str]
    wrong: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)  # whose statements got an answer
    refused: list[str] = field(default_factory=list)  # errors that were passed over

    def judge(self, slug: str, seen: Sequence[str]) -> None:
        self.seen.append(slug)
        if list(seen) != [slug]:
            self.wrong.append(f"{slug} saw {list(seen)}")

    # What the database refuses to one session because another works too, or because its backend was killed.
    tolerated = (
        Planned,
        TimeoutError,
        StoreUnavailable,
        sa.exc.DBAPIError,
        sa.exc.TimeoutError,
        sa.exc.InvalidRequestError,
    )

    @contextmanager
    def passing_over(self) -> Iterator[None]:
        try:
            yield
        except self.tolerated as error:
            self.refused.append(f"{type(error).__name__}: {error}")

    def work(self, plan: Sequence[Visit]) -> None:
        for number, actions in plan:
            slug = self.slugs[number]
            with self.passing_over(), self.tenancy.session(slug, write=True) as session:
                for action in actions:
                    self.act(session, slug, action)
                self.judge(slug, session.scalars(SEE).all())

    def act(self, session: Session, slug: str, action: str) -> None:
        if action == "see":
            self.judge(slug, session.scalars(SEE).all())
        elif action == "see prepared":
            for _ in range(3):
                self.judge(slug, session.scalars(SEE_PREPARED, {"nobody": "nobody"}).all())
        elif action == "write":
            session.execute(sa.insert(item).values(body=slug))
        elif action == "write many":
            session.execute(MANY, [{"body": slug}, {"body": slug}])
        elif action == "commit":
            session.commit()
        elif action == "commit as sql" and self.house.kind == "schema":
            session.execute(sa.text("COMMIT"))
        elif action == "roll back":
            session.rollback()
        elif action == "savepoint":
            with session.begin_nested():
                self.judge(slug, session.scalars(SEE).all())
        elif action == "lost savepoint":
            with suppress(Planned), session.begin_nested():
                session.execute(sa.insert(item).values(body="lost"))
                raise Planned
        elif action == "fail in sql":
            session.execute(sa.text("SELECT * FROM nowhere"))
        elif action == "raise":
            raise Planned

    async def visit(self, plan: Sequence[Visit]) -> None:
        for number, actions in plan:
            slug = self.slugs[number]
            with self.passing_over():
                async with self.tenancy.async_session(slug, write=True) as session:
                    for action in actions:
                        await self.act_in_task(session, slug, action)
                    self.judge(slug, (await session.scalars(SEE)).all())

    async def act_in_task(self, session: AsyncSession, slug: str, action: str) -> None:
        if action == "be cancelled":
            async with asyncio.timeout(0.005):
                await session.execute(SLOW[self.house.kind])
        else:
            await session.run_sync(lambda joined: self.act(joined, slug, action))

    def run(self, threads: Sequence[Sequence[Visit]], tasks: Sequence[Sequence[Visit]], kills: int) -> None:
        """All of it at once, while backends are killed so many times."""

        async def gather() -> None:
            try:
                await asyncio.gather(*(self.visit(plan) for plan in tasks))
            finally:
                await self.tenancy.aclose()

        with ThreadPoolExecutor(len(threads) + 1) as pool:
            running = [pool.submit(self.work, plan) for plan in threads] + [pool.submit(asyncio.run, gather())]
            for _ in range(kills):
                time.sleep(0.01)
                self.house.kill_backends()
            for future in running:
                future.result(60)

    def check(self) -> None:
        """No statement saw, and no row landed in, another tenant's place."""
        assert self.wrong == []
        if self.house.kind == "schema":
            self.house.kill_backends()
            self.tenancy.store.control_engine().dispose()
        for slug in self.slugs:
            with self.tenancy.session(slug) as session:
                assert session.scalars(SEE).all() == [slug]
                assert set(session.scalars(sa.select(item.c.body).distinct())) <= {slug}
