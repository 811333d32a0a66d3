"""The laboratory's door: who asks, in which laboratory, and whether they may.

``permit`` makes the dependency of a route. It costs nothing by itself: the token's session, the user, the laboratory
and the permission are looked up with one query, in the transaction of the work that follows, in one thread.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Header, Request
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import and_, any_, bindparam, false, func, select
from sqlalchemy.dialects.postgresql import ARRAY, array
from sqlalchemy.types import String

from beak_lims import access
from beak_lims.api.once import Once
from beak_lims.context import LabContext, bind
from beak_lims.errors import LaboratoryRefused, PasswordExpired
from beak_lims.identity.tokens import Claims, claims_of
from beak_lims.models import (
    Laboratory,
    Permission,
    User,
    UserSession,
    group_permission,
    user_group,
    user_laboratory,
)
from beak_lims.modules import CORE, modules_of
from tenantry.errors import TokenRefused
from tenantry.http.dependencies import current_tenant
from tenantry.http.edge import Facts
from tenantry.http.middleware import CLAIMS
from tenantry.tenant import Tenant

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from beak_lims.api.served import Served

UID = r"^[0-9a-f]{32}$"

bearer = HTTPBearer(auto_error=False, description="The access_token that /auth/login gave")
organisation = APIKeyHeader(
    name="X-Org-Slug",
    scheme_name="Organisation",
    auto_error=False,
    description="The organisation, where neither a token nor the host's sub-domain names it",
)
LaboratoryHeader = Annotated[
    str | None,
    Header(alias="X-Laboratory-ID", pattern=UID, description="The laboratory to work in, unless the token names it"),
]

KeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]{16,255}$",
        description="The same key with the same request is done once and answered alike, for a day: send a UUID",
    ),
]


@dataclass
class Work:
    """One request on its way through a door. ``session``, ``context`` and ``claims`` are there once it is open."""

    request: Request
    served: Served
    tenant: Tenant
    facts: Facts
    wanted: tuple[tuple[str, str], ...]  # (action, target), all of them
    laboratory_uid: str | None = None  # that the header asks for
    opening: bool = False  # no token is asked for
    although_expired: bool = False
    long_running: bool = False  # see ``long_running`` of the routing
    module: str = CORE  # of the organisation, that the route belongs to
    once: Once | None = None  # of a request that came with a key of its own
    session: Session = None  # type: ignore[assignment]  # given by ``enter``
    context: LabContext = None  # type: ignore[assignment]  # given by ``enter``
    claims: Claims | None = None

    def __post_init__(self) -> None:
        self.headers: dict[str, str] = {}  # of the answer

    @property
    def session_uid(self) -> str:
        """The session that the access token is of."""
        assert self.claims is not None  # noqa: S101 - a route that asks for a token has them
        return self.claims.session_uid

    def enter(self, session: Session) -> None:
        """Open the door: find out who asks and whether they may.

        :raises TokenRefused: there is no token, or it is good no more.
        :raises LaboratoryRefused: the user is not assigned to the laboratory that is asked for.
        :raises NotPermitted, PasswordExpired: they may not.
        :raises ModuleNotEnabled: the organisation does not have the route's module.
        """
        self.session = session
        if self.opening:
            self.context = self.stranger()
            bind(session, self.context)
            return
        payload = self.request.scope.get(CLAIMS)
        if payload is None:
            raise TokenRefused("there is none")
        self.claims = claims_of(payload)
        if self.claims.tenant_uid != self.tenant.uid:
            raise TokenRefused("its tenant is gone")
        self.context = self._authenticated(session, self.claims)
        bind(session, self.context)
        for action, target in self.wanted:
            access.require(self.context, action, target)
        if self.module != CORE:  # which every organisation has
            modules_of(self.tenant).require(self.module)

    def stranger(self) -> LabContext:
        """The context of somebody who has not logged in."""
        return LabContext(
            self.tenant.slug, None, "anonymous", address=self.facts.address, request_id=self.facts.request_id
        )

    def _authenticated(self, session: Session, claims: Claims) -> LabContext:
        if None not in (self.laboratory_uid, claims.laboratory_uid) and self.laboratory_uid != claims.laboratory_uid:
            raise LaboratoryRefused
        laboratory_uid = self.laboratory_uid or claims.laboratory_uid
        asked = {"user": claims.user_uid, "session": claims.session_uid, "lab": laboratory_uid}
        connection = session.connection()  # no objects are asked for, and every request asks this
        if self.wanted:
            wanted = [f"{action}:{target}" for action, target in self.wanted]
            found = connection.execute(_ASKED_FOR, {**asked, "wanted": wanted}).first()
        else:
            found = connection.execute(_EVERYTHING, asked).first()
        if found is None:
            raise TokenRefused("its user is inactive, or its session over")
        if laboratory_uid is not None and not (found.member or (found.is_superuser and found.known)):
            raise LaboratoryRefused
        if found.must_change_password and not self.although_expired:
            raise PasswordExpired
        return LabContext(
            tenant=self.tenant.slug,
            user_uid=claims.user_uid,
            user_name=found.user_name,
            is_superuser=found.is_superuser,
            laboratory_uid=laboratory_uid,
            address=self.facts.address,
            request_id=self.facts.request_id,
            permissions=frozenset((action, target) for action, _, target in (p.partition(":") for p in found.given)),
        )


def _query(*, everything: bool) -> Any:
    """What an access token's bearer is, in one row: with every permission, or with those of ``wanted`` that are given.

    The second is a matter of a few keys, where an administrator's permissions are some hundred rows.
    """
    user, lab = bindparam("user", type_=String), bindparam("lab", type_=String)
    name = func.concat(Permission.action, ":", Permission.target)
    by_group = (
        select(group_permission.c.group_uid)
        .join(user_group, user_group.c.group_uid == group_permission.c.group_uid)
        .where(user_group.c.user_uid == user, group_permission.c.permission_uid == Permission.uid)
        .exists()
    )
    listed = select(func.array_agg(name)).where(by_group)
    if not everything:
        listed = listed.where(name == any_(bindparam("wanted", type_=ARRAY(String))))
    given = listed.scalar_subquery()
    member = (
        select(user_laboratory.c.user_uid)
        .where(user_laboratory.c.user_uid == User.uid, user_laboratory.c.laboratory_uid == lab)
        .exists()
    )
    known = select(Laboratory.uid).where(Laboratory.uid == lab).exists()
    empty = array([], type_=String)
    return (
        select(
            User.user_name,
            User.is_superuser,
            User.must_change_password,
            member.label("member"),
            and_(User.is_superuser, known).label("known"),
            func.coalesce(given, empty, type_=ARRAY(String)).label("given"),
        )
        .join(UserSession, UserSession.user_uid == User.uid)
        .where(
            User.uid == user,
            User.is_active,
            User.is_blocked == false(),
            UserSession.uid == bindparam("session", type_=String),
            UserSession.ended_at.is_(None),
            UserSession.expires_at > func.now(),
        )
    )


_EVERYTHING = _query(everything=True)
_ASKED_FOR = _query(everything=False)

Entrance = Callable[..., Awaitable[Work]]


def permit(action: str, target: str, *more: tuple[str, str]) -> Entrance:
    """The dependency of a route that asks for a token and these permissions: ``Depends(permit("READ", "PATIENT"))``."""
    wanted = ((action, target), *more)

    async def entrance(
        request: Request,
        _: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
        laboratory: LaboratoryHeader = None,
    ) -> Work:
        return _work(request, wanted, laboratory)

    entrance.wanted = wanted  # type: ignore[attr-defined]  # a mark of our own
    return entrance


def permit_once(action: str, target: str, *more: tuple[str, str]) -> Entrance:
    """As ``permit``, of a route that makes something: a request with an ``Idempotency-Key`` is done once."""
    wanted = ((action, target), *more)

    async def entrance(
        request: Request,
        _: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
        laboratory: LaboratoryHeader = None,
        idempotency_key: KeyHeader = None,
    ) -> Work:
        work = _work(request, wanted, laboratory)
        if idempotency_key is not None:
            url = request.url
            work.once = Once.of(idempotency_key, url.path.encode(), url.query.encode(), await request.body())
        return work

    entrance.wanted = wanted  # type: ignore[attr-defined]  # a mark of our own
    return entrance


async def token_only(
    request: Request,
    _: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
    laboratory: LaboratoryHeader = None,
) -> Work:
    """The dependency of a route that asks for a token and nothing more: it is about the caller alone."""
    work = _work(request, (), laboratory)
    work.although_expired = True
    return work


async def anybody(request: Request, _: Annotated[str | None, Depends(organisation)]) -> Work:
    """The dependency of a route that asks for no token, only for a tenant."""
    work = _work(request, (), None)
    work.opening = True
    return work


def _work(request: Request, wanted: tuple[tuple[str, str], ...], laboratory: str | None) -> Work:
    facts: Facts = request.scope["tenantry.request"]
    return Work(request, request.app.state.served, current_tenant(request), facts, wanted, laboratory)


Opening = Annotated[Work, Depends(anybody)]
Owning = Annotated[Work, Depends(token_only)]
