"""Access tokens of a tenant's users: JSON Web Tokens, signed and read.

A token says who, in which session and of which tenant; what the user may do is read from the database. Times are in
seconds. The audience is not the platform's: neither takes the other's tokens. The tenant's key is in it as well as its
slug, so a token does not outlive its tenant in another one of the same name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt

from beak_lims.crypto import keyring
from tenantry.errors import TokenRefused
from tenantry.registry.uids import new_uid
from tenantry.tenant import Tenant

ALGORITHM = "HS256"
AUDIENCE = "beak-lims"
ISSUER = "beak-lims"
PURPOSE = "beak-lims access token"  # of the signing key
LIFETIME = timedelta(minutes=15)
SKEW = timedelta(seconds=10)  # that the clocks of two workers may differ
MAX_LENGTH = 2_048  # characters; ours have about 500
REQUIRED = ("sub", "sid", "tid", "tenant_slug", "aud", "iss", "jti", "iat", "nbf", "exp")
_UID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Claims:
    """What a token says that was signed here."""

    user_uid: str
    session_uid: str
    tenant_uid: str
    laboratory_uid: str | None  # chosen at login


def sign(tenant: Tenant, user_uid: str, session_uid: str, laboratory_uid: str | None, at: datetime) -> str:
    """The token, good from now for its lifetime."""
    now = int(at.timestamp())
    payload: dict[str, Any] = {
        "sub": user_uid,
        "sid": session_uid,
        "tid": tenant.uid,
        "tenant_slug": tenant.slug,
        "aud": AUDIENCE,
        "iss": ISSUER,
        "jti": new_uid(),
        "iat": now,
        "nbf": now,
        "exp": now + int(LIFETIME.total_seconds()),
    }
    if laboratory_uid is not None:
        payload["laboratory_uid"] = laboratory_uid
    return jwt.encode(payload, keyring().signing_key(PURPOSE), ALGORITHM)


def verify(token: str) -> dict[str, Any]:
    """The payload of a token that was signed here and is in its time.

    :raises TokenRefused: it was not, or is not.
    """
    if len(token) > MAX_LENGTH or not token.isascii():
        raise TokenRefused("it is no token of ours")
    try:
        payload: dict[str, Any] = jwt.decode(
            token,
            keyring().signing_key(PURPOSE),
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
            leeway=SKEW,
            options={"require": list(REQUIRED), "strict_aud": True, "verify_exp": False},
        )
    except jwt.PyJWTError as error:
        raise TokenRefused(f"{type(error).__name__}: {error}") from error
    expires = payload["exp"]
    # To the second, without leeway, and never longer than ours live: milliseconds would be some fifty thousand years.
    if type(expires) is not int or not 0 < expires - datetime.now(UTC).timestamp() <= (LIFETIME + SKEW).total_seconds():
        raise TokenRefused("it has expired")
    return payload


def claims_of(payload: dict[str, Any]) -> Claims:
    """What a verified payload says. :raises TokenRefused: its ids are none of ours."""
    laboratory = payload.get("laboratory_uid")
    named = [payload["sub"], payload["sid"], payload["tid"], *([] if laboratory is None else [laboratory])]
    if not all(isinstance(value, str) and _UID.fullmatch(value) for value in named):
        raise TokenRefused("its ids are none of ours")
    return Claims(payload["sub"], payload["sid"], payload["tid"], laboratory)
