"""Access tokens: JSON Web Tokens of the platform, signed and read.

A token says who and in which session; what the user may do is read from the database. Times are in seconds. Only one
algorithm and one audience are taken, so a tenant's token is refused here whatever signed it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import jwt

from tenantry.errors import TokenRefused
from tenantry.iam.keys import SigningKey

ALGORITHM = "HS256"
AUDIENCE = "platform"
ISSUER = "tenantry"
LIFETIME = timedelta(minutes=15)
SKEW = timedelta(seconds=10)  # that the clocks of two workers may differ
MAX_LENGTH = 2_048  # characters; ours have about 500
REQUIRED = ("sub", "sid", "aud", "iss", "jti", "iat", "nbf", "exp")
_UID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class AccessClaims:
    """What a token that was signed here says."""

    user_uid: str
    session_uid: str
    token_id: str
    kid: str


def sign(claims: AccessClaims, key: SigningKey, at: datetime) -> str:
    """The token, good from now for its lifetime."""
    now = int(at.timestamp())
    payload = {
        "sub": claims.user_uid,
        "sid": claims.session_uid,
        "aud": AUDIENCE,
        "iss": ISSUER,
        "jti": claims.token_id,
        "iat": now,
        "nbf": now,
        "exp": now + int(LIFETIME.total_seconds()),
    }
    return jwt.encode(payload, key.secret, ALGORITHM, headers={"kid": key.kid})


def read(token: str, find: Callable[[str], bytes | None], at: datetime) -> AccessClaims:
    """What the token says, if it was signed here, for the platform, and is in its time.

    :raises TokenRefused: it was not.
    """
    if len(token) > MAX_LENGTH or not token.isascii():
        raise TokenRefused("it is no token of ours")
    try:
        kid = jwt.get_unverified_header(token).get("kid")
        key = find(kid) if isinstance(kid, str) else None
        if not isinstance(kid, str) or key is None:
            raise TokenRefused("its key is not known")
        payload = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
            # Times are compared below, with the clock that the caller's other times come from.
            options={
                "require": list(REQUIRED),
                "strict_aud": True,
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
            },
        )
    except jwt.PyJWTError as error:
        raise TokenRefused(f"{type(error).__name__}: {error}") from error
    _check_times(payload, at)
    return AccessClaims(_uid(payload["sub"]), _uid(payload["sid"]), _uid(payload["jti"]), kid)


def _uid(value: object) -> str:
    if not isinstance(value, str) or not _UID.fullmatch(value):
        raise TokenRefused("its ids are none of ours")
    return value


def _check_times(payload: dict[str, object], at: datetime) -> None:
    times = [payload["iat"], payload["nbf"], payload["exp"]]
    issued, begins, expires = (time if type(time) is int else None for time in times)
    if issued is None or begins is None or expires is None:
        raise TokenRefused("its times are no whole seconds")
    now, skew = at.timestamp(), SKEW.total_seconds()
    if now >= expires:
        raise TokenRefused("it has expired")
    if max(issued, begins) > now + skew:
        raise TokenRefused("it is from the future")
    if expires - issued > LIFETIME.total_seconds():
        raise TokenRefused("it lives longer than ours do")
