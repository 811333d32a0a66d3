"""Which tenant a request is for: from a header, a verified token, the host's sub-domain or the path.

Whoever of them names one must name the same one; nothing is guessed and nothing falls back. What a client may write
freely - header, host, path - chooses between doors, it opens none: a token that is there must name the tenant itself.
Knows neither ASGI nor WSGI, and no web framework.
"""

from __future__ import annotations

import functools
import ipaddress
import json
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from tenantry.errors import TenancyError, TenantError, TenantNotActive, TenantOutOfWindow
from tenantry.registry.uids import new_uid

HEADER = "X-Org-Slug"
CLAIM = "tenant_slug"
PLATFORM_AUDIENCE = "platform"  # tokens of platform users, who are no tenant's
MAX_TOKEN = 16_384  # characters; a longer one is not even verified
MAX_HOST = 261  # a name of 253 characters, a dot, a colon and a port
MAX_REMEMBERED = 2048  # paths, and combinations of headers
MAX_SHOWN = 64  # characters of a slug in an answer; longer ones are no slugs
MEDIA_TYPE = "application/problem+json"

_HOST = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,254})(?::[0-9]{0,5})?", re.ASCII)
_LABEL = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)  # an address ends in one, however it is written
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)

logger = logging.getLogger(__name__)


class RequestRefused(TenancyError):
    """A request is not led to any tenant. Fields: status, kind of problem, what the caller is told, more members,
    and, where it may work later, the seconds after which to try again.
    """

    @property
    def status(self) -> int:
        """The status of the answer."""
        return int(self.args[0])

    def __str__(self) -> str:
        return str(self.args[2])

    def answer(self, request_id: str | None) -> tuple[bytes, list[tuple[str, str]]]:
        """The problem document and the headers that go with it. An identifier of the request is made if none is given
        that can be repeated.
        """
        if request_id is None or _REQUEST_ID.fullmatch(request_id) is None:
            request_id = new_uid()
        status, kind, detail, more, *retry_after = self.args
        problem = {
            "type": f"urn:tenantry:problem:{kind}",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": detail,
            "request_id": request_id,
            **more,
        }
        body = json.dumps(problem, separators=(",", ":")).encode()
        headers = [
            ("content-type", MEDIA_TYPE),
            ("content-length", str(len(body))),
            ("cache-control", "no-store"),
            ("x-request-id", request_id),
        ]
        if retry_after:
            headers.append(("retry-after", str(retry_after[0])))
        if status == HTTPStatus.UNAUTHORIZED:
            headers.append(("www-authenticate", "Bearer"))
        return body, headers


class Call(ABC):
    """One request, as much of it as says for which tenant it is."""

    websocket = False
    claims: Mapping[str, Any] | None = None  # of the token, once it is verified

    @property
    @abstractmethod
    def path(self) -> str:
        """The path below the application's own root, decoded."""

    @property
    @abstractmethod
    def query(self) -> str:
        """The query, encoded."""

    @property
    @abstractmethod
    def peer(self) -> str | None:
        """The address that the request came from."""

    @abstractmethod
    def values(self, name: str) -> list[str]:
        """The values of every header of that name, which is given in lower case."""


class Resolver(ABC):
    """One place in which a request may name its tenant."""

    source: str  # as a refusal names it
    hint: str | None = None  # what to send, as a refusal says it
    # The headers, in lower case, by which alone ``find`` decides, so that its answer may be remembered; None when it
    # looks at more. And those whose presence forbids it, because what they say does not stay true.
    headers: tuple[str, ...] | None = None
    fresh: tuple[str, ...] = ()

    @abstractmethod
    def find(self, call: Call) -> str | None:
        """The slug that is named there, not yet known to be a tenant's; None when none is.

        :raises RequestRefused: what is there cannot be used.
        """


class HeaderResolver(Resolver):
    """A header, for clients that are trusted to choose: use it together with a token wherever there are users."""

    def __init__(self, name: str = HEADER) -> None:
        self.name = name
        self.source = f"the '{name}' header"
        self.hint = f"'{name}' header"
        self._key = name.lower()
        self.headers = (self._key,)

    def find(self, call: Call) -> str | None:
        """As the base's."""
        return _only(call.values(self._key), self.source)


class TokenResolver(Resolver):
    """A bearer token. ``verify`` is the application's: it takes the token and returns its claims, and refuses a token
    by raising one of ``refused``; any other error is a failure of the server.

    ``claim`` names the tenant. Without ``optional`` a token that names none leads nowhere, whatever header or host say:
    else a user of one tenant could choose another. ``query``: where a WebSocket's token may stand, because browsers
    send no header with one; such addresses are written to logs.

    A token for the platform (``aud``) opens no tenant's door, even if ``verify`` lets it pass.
    """

    source = "the token"
    headers = ()
    fresh = ("authorization",)

    def __init__(
        self,
        verify: Callable[[str], Mapping[str, Any]],
        *,
        claim: str = CLAIM,
        optional: bool = False,
        refused: type[Exception] | tuple[type[Exception], ...] = ValueError,
        query: str | None = None,
    ) -> None:
        self._verify = verify
        self._claim = claim
        self._optional = optional
        self._refused = refused
        self._query = query
        self.hint = f"{claim} in JWT"

    def find(self, call: Call) -> str | None:
        """As the base's."""
        token = self._token(call)
        if token is None:
            return None
        if not token or len(token) > MAX_TOKEN or not token.isascii():
            raise _bad_token()
        try:
            claims = self._verify(token)
        except self._refused as error:
            raise _bad_token() from error
        audience, slug = claims.get("aud"), claims.get(self._claim)
        if audience == PLATFORM_AUDIENCE or (isinstance(audience, list | tuple) and PLATFORM_AUDIENCE in audience):
            raise _bad_token()
        if slug is not None and not (isinstance(slug, str) and slug):
            raise _bad_token()
        if slug is None and not self._optional:
            raise required(self.hint or "")
        call.claims = claims
        return slug

    def _token(self, call: Call) -> str | None:
        given = call.values("authorization")
        if len(given) > 1:
            raise _bad_token()
        if given:
            scheme, _, token = given[0].strip().partition(" ")
            return token.strip() if scheme.lower() == "bearer" else None
        if call.websocket and self._query is not None:
            found = parse_qs(call.query, keep_blank_values=True, max_num_fields=100).get(self._query)
            if found is not None:
                return found[0] if len(found) == 1 else ""
        return None


class SubdomainResolver(Resolver):
    """The first label of the host, when it is a real sub-domain.

    ``domains``: those that tenants' labels stand before; a host of any other domain names no tenant. Without them a
    host of three labels or more does, which is right only where the application has no such name of its own.
    ``ignored``: labels that are no tenants. ``trusted_proxies``: addresses or networks whose X-Forwarded-Host is
    believed; nobody else's is.
    """

    source = "the host"

    def __init__(
        self,
        domains: Sequence[str] = (),
        *,
        ignored: Sequence[str] = ("www", "api"),
        trusted_proxies: Sequence[str] = (),
    ) -> None:
        self._domains = tuple(domain.lower().strip(".") for domain in domains)
        self._ignored = frozenset(label.lower() for label in ignored)
        self._proxies = tuple(ipaddress.ip_network(proxy, strict=False) for proxy in trusted_proxies)
        self._label = functools.lru_cache(maxsize=1024)(self._read)
        self.headers = None if self._proxies else ("host",)

    def find(self, call: Call) -> str | None:
        """As the base's."""
        hosts = call.values("host")
        if self._proxies and self._trusted(call.peer):
            # The last one is what the trusted proxy wrote itself.
            forwarded = [value.rpartition(",")[2].strip() for value in call.values("x-forwarded-host")[-1:]]
            hosts = forwarded or hosts
        host = hosts[0] if len(hosts) == 1 else _only(hosts, self.source)
        return None if host is None or len(host) > MAX_HOST else self._label(host)

    def _trusted(self, peer: str | None) -> bool:
        try:
            address = ipaddress.ip_address(peer or "")
        except ValueError:  # a Unix socket's peer has none
            return False
        plain = getattr(address, "ipv4_mapped", None) or address
        return any(plain in network for network in self._proxies)

    def _read(self, host: str) -> str | None:
        found = _HOST.fullmatch(host)
        if found is None:
            return None
        name = found["name"].lower().removesuffix(".")
        labels = name.split(".")
        if not all(labels) or _NUMBER.fullmatch(labels[-1]) or labels[-1] == "localhost":
            return None
        if self._domains:
            if not any(name == f"{labels[0]}.{domain}" for domain in self._domains):
                return None
        elif len(labels) < 3:
            return None
        return labels[0] if _LABEL.fullmatch(labels[0]) and labels[0] not in self._ignored else None


class PathResolver(Resolver):
    """The segment of the path that follows ``prefix``: ``/t/acme/notes`` with the prefix ``/t``.

    Prefix and segment become part of the application's root (``root_path``, ``SCRIPT_NAME``), so its routes do not
    hold them.
    """

    source = "the path"

    def __init__(self, prefix: str) -> None:
        self.prefix = "/" + prefix.strip("/") if prefix.strip("/") else ""
        self.hint = f"it in the path below {self.prefix or '/'}"

    def find(self, call: Call) -> str | None:
        """As the base's."""
        path = call.path
        if not path.startswith(self.prefix + "/"):
            return None
        return path[len(self.prefix) + 1 :].partition("/")[0] or None

    def mounted(self, call: Call) -> str | None:
        """What becomes part of the root."""
        slug = self.find(call)
        return None if slug is None else f"{self.prefix}/{slug}"


class Resolution:
    """The resolvers of one application, and the paths on which it needs them.

    A path matches a prefix by whole segments. ``required``: where a tenant is needed. ``public``: where it is not after
    all; there none is looked for.
    """

    def __init__(self, resolvers: Sequence[Resolver] | None, required: Sequence[str], public: Sequence[str]) -> None:
        self.resolvers = tuple(resolvers) if resolvers is not None else (HeaderResolver(), SubdomainResolver())
        self._required = tuple(prefix.rstrip("/") for prefix in required)
        self._public = tuple(prefix.rstrip("/") for prefix in public)
        self._hint = " or ".join(
            sorted((resolver.hint for resolver in self.resolvers if resolver.hint), key=lambda hint: "JWT" not in hint)
        )
        names = (resolver.name for resolver in self.resolvers if isinstance(resolver, HeaderResolver))
        # An answer that a header chose must not be given to who sends another one.
        self.vary = ", ".join(names)
        self.by_path = any(isinstance(resolver, PathResolver) for resolver in self.resolvers)
        known = [resolver.headers for resolver in self.resolvers]
        decisive = None if None in known else {name for names in known for name in names or ()}
        self._decisive = None if decisive is None else frozenset(name.encode() for name in decisive)
        self._fresh = frozenset(name.encode() for resolver in self.resolvers for name in resolver.fresh)
        self._looked_at = (self._decisive or frozenset()) | self._fresh
        self._remembered = functools.lru_cache(maxsize=MAX_REMEMBERED)(self._named)
        # Called with a path: whether it needs a tenant.
        self.concerns = functools.lru_cache(maxsize=MAX_REMEMBERED)(self._concerns)

    def at_hand(self, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """The slug that these headers name; None when it takes more to tell, such as a token, or to refuse.

        Most requests are led by this alone, so it is worth its memory: it is a tenth of what ``slug`` costs.
        """
        if self._decisive is None:
            return None
        looked_at = self._looked_at
        try:
            return self._remembered(tuple([pair for pair in headers if pair[0] in looked_at]))
        except (RequestRefused, TypeError):  # or a server that hands over lists, which cannot be remembered by
            return None

    def _named(self, headers: tuple[tuple[bytes, bytes], ...]) -> str:
        """Remembered by the headers; a call that raises is not."""
        if sum(len(value) for _, value in headers) > MAX_HOST or any(name in self._fresh for name, _ in headers):
            raise required("")
        return self.slug(_Headers(headers))

    def _concerns(self, path: str) -> bool:
        if not _below(path, self._required):
            return False
        return not self._public or not _below(path, self._public) or not _plain(path)

    def slug(self, call: Call) -> str:
        """The one slug that the request names.

        :raises RequestRefused: it names none, or several, or its token is bad.
        """
        slug, source = None, ""
        for resolver in self.resolvers:
            found = resolver.find(call)
            if found is None:
                continue
            if slug is None:
                slug, source = found, resolver.source
            elif found != slug:
                logger.info("refused: %s says %s, %s says %s", source, _shown(slug), resolver.source, _shown(found))
                raise _disagree(source, resolver.source)
        if slug is None:
            raise required(self._hint)
        return slug

    def mounted(self, call: Call) -> str | None:
        """The part of the path that a path resolver took."""
        for resolver in self.resolvers:
            if isinstance(resolver, PathResolver):
                return resolver.mounted(call)
        return None


class _Headers(Call):
    """A request of which nothing but headers is known."""

    path = "/"
    query = ""
    peer = None

    def __init__(self, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        self._headers = headers

    def values(self, name: str) -> list[str]:
        """As the base's."""
        wanted = name.encode()
        return [value.decode("latin-1") for key, value in self._headers if key == wanted]


def not_served(slug: str, error: TenantError, claims: Mapping[str, Any] | None) -> RequestRefused:
    """The refusal of an unknown or inactive tenant: the same for both, unless a verified token names the tenant, whose
    user may know what has become of it.
    """
    if isinstance(error, TenantOutOfWindow):
        told = f"Tenant '{slug}' is being brought to another release. Try again in a moment."
        return RequestRefused(503, "tenant-out-of-window", told, {}, error.retry_after)
    more = {"tenant_status": error.args[1]} if isinstance(error, TenantNotActive) and claims is not None else {}
    shown = slug if len(slug) <= MAX_SHOWN else f"{slug[:MAX_SHOWN]}..."
    return RequestRefused(403, "tenant-not-active", f"Tenant '{shown}' not active", more)


def required(hint: str) -> RequestRefused:
    """The refusal of a request that names no tenant."""
    provide = f" Provide {hint}." if hint else ""
    return RequestRefused(403, "tenant-required", f"Tenant context is required.{provide}", {})


def failed(error: Exception) -> RequestRefused:
    """The refusal when it could not be found out which tenant; the log has the reason."""
    logger.error("tenant context resolution failed", exc_info=error)
    return RequestRefused(500, "tenant-resolution-failed", "Tenant context resolution failed", {})


def _bad_token() -> RequestRefused:
    return RequestRefused(401, "token-refused", "Invalid authentication token", {})


def _disagree(first: str, second: str) -> RequestRefused:
    told = f"Tenant context is ambiguous: {first} and {second} name different tenants."
    return RequestRefused(403, "tenant-ambiguous", told, {})


def _only(values: list[str], source: str) -> str | None:
    """The one value; an empty one counts as none. :raises RequestRefused: there are several that differ."""
    found = {value.strip() for value in values} - {""}
    if len(found) > 1:
        raise _disagree(source, f"{source} sent again")
    return found.pop() if found else None


def _below(path: str, prefixes: tuple[str, ...]) -> bool:
    return any(not prefix or path == prefix or path.startswith(prefix + "/") for prefix in prefixes)


def _plain(path: str) -> bool:
    """Whether the path leads where it seems to: a step up or an empty segment may be read otherwise further in."""
    segments = path.removeprefix("/").removesuffix("/").split("/")
    return path == "/" or not ("\\" in path or any(segment in ("", ".", "..") for segment in segments))


def _shown(slug: str) -> str:
    return ascii(slug[:MAX_SHOWN])
