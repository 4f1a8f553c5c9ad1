"""What every request passes: the name it asks for, who sends it, whether they may, and whether this page sent it.

A route says which role it needs, in its `opt`. One that says nothing is closed: a new route can't be forgotten.

A change by a session carries the session's CSRF token, and comes from no other site; a change by an API token needs
neither, since no browser sends one by itself.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen
from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie, MutableScopeHeaders
from litestar.handlers import BaseRouteHandler
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from procvision_station.web.accounts import Accounts, Identity, Role
from procvision_station.web.problems import RequestRefusedError

PUBLIC = "public"
"""In place of a role: everybody, signed in or not."""
CSRF_HEADER = "x-csrf-token"
UNCHANGING = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), usb=(), payment=()",
}


def needs(role: Role | str, *, one_time: bool = False, body: str = "application/json") -> dict[str, Any]:
    """Return a route's `opt`: the role it needs, whether a one-time password is enough, and what kind a body has.

    A body is of a kind that a form of another site can't send.
    """
    return {"role": role, "one_time": one_time, "body": body}


@frozen
class Doors:
    """Who is let in."""

    accounts: Accounts
    names: Sequence[str] = LOOPBACK
    """The names that the page is asked for, without a port; none for any."""

    def cookie_name(self, scheme: str) -> str:
        """Return the session cookie's name: two stations on one machine share a browser's cookies."""
        return f"{'__Host-' if scheme == 'https' else ''}procvision-{self.accounts.id}"

    def cookie(self, connection: ASGIConnection[Any, Any, Any, Any], secret: str) -> Cookie:
        """Return the cookie of a session; of an empty secret the one that takes it away."""
        scheme = connection.scope["scheme"]
        return Cookie(
            key=self.cookie_name(scheme),
            value=secret,
            path="/",
            httponly=True,
            secure=scheme == "https",
            samesite="lax",
            max_age=None if secret else 0,
        )

    def who(self, connection: ASGIConnection[Any, Any, Any, Any]) -> Identity | None:
        """Return who sends a request."""
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.accounts.of_token(token.strip())
        secret = _cookies(connection).get(self.cookie_name(connection.scope["scheme"]))
        return self.accounts.of_session(secret) if secret else None

    def admit(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        """Let a request in, or raise `RequestRefusedError`. Litestar calls it before it reads a body."""
        host = connection.headers.get("host", "").lower()
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() and not host.endswith("]") else host
        if self.names and name not in self.names:
            raise RequestRefusedError(421, "host", value=host[:100])
        needed = handler.opt.get("role")
        if needed is None:
            raise RequestRefusedError(404, "unknown", where=connection.scope["path"][:200])
        changing = connection.scope.get("method", "GET") not in UNCHANGING
        if changing:
            _from_here(connection, host)
        connection.scope["user"] = who = self.who(connection)
        if needed != PUBLIC:
            _hold(who, Role(needed), connection if changing else None, one_time=bool(handler.opt.get("one_time")))
        if changing:
            _only(connection, str(handler.opt.get("body")))


def _hold(
    who: Identity | None, needed: Role, changing: ASGIConnection[Any, Any, Any, Any] | None, *, one_time: bool
) -> None:
    """Refuse who may not. `changing` is the connection, where the request changes something."""
    if who is None:
        raise RequestRefusedError(401, "signed_out", headers={"WWW-Authenticate": "Bearer"})
    if who.user.one_time and not one_time:
        raise RequestRefusedError(403, "one_time")
    if not who.role.may(needed):
        raise RequestRefusedError(403, "role", bound=str(needed), value=str(who.role))
    if changing is not None and who.csrf is not None:
        given = changing.headers.get(CSRF_HEADER, "")
        if not hmac.compare_digest(given.encode("utf-8", "replace"), who.csrf.encode()):
            raise RequestRefusedError(403, "csrf")


def _from_here(connection: ASGIConnection[Any, Any, Any, Any], host: str) -> None:
    """Refuse a change that a browser sends from another site's page. Programs send neither header."""
    site, origin = connection.headers.get("sec-fetch-site"), connection.headers.get("origin")
    elsewhere = site is not None and site not in ("same-origin", "none")
    if elsewhere or (origin is not None and urlsplit(origin).netloc.lower() != host):
        raise RequestRefusedError(403, "origin", value=(origin or site or "")[:100])


def _only(connection: ASGIConnection[Any, Any, Any, Any], wanted: str) -> None:
    """Refuse a body that a form of another site could send without asking."""
    headers = connection.headers
    if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != wanted:
            raise RequestRefusedError(415, "json", bound=wanted, value=kind[:100])


def _cookies(connection: ASGIConnection[Any, Any, Any, Any]) -> dict[str, str]:
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(connection.headers.get("cookie", ""))
    except CookieError:
        return {}
    return {name: morsel.value for name, morsel in jar.items()}


def with_headers(app: ASGIApp) -> ASGIApp:
    """Wrap an application: every answer has the security headers, and what isn't said otherwise is not stored."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableScopeHeaders.from_message(message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
                if scope.get("scheme") == "https":
                    headers.setdefault("strict-transport-security", "max-age=31536000")
            await send(message)

        await app(scope, receive, send_with if "method" in scope else send)

    return wrapped
