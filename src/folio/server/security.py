"""Who may speak to the server: the names it answers to, the pages that may use it, and its key.

On this machine alone no key is needed, and yet any web page that a browser shows can send requests here. What keeps it out:
the Host of every request is one of ours, or a page could have its own name point here (DNS rebinding); an Origin, where a
browser names one, is ours or allowed; bodies are JSON, which a page of another origin may send only after asking.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import re
import secrets
import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from folio.server.body import read_json_object
from folio.server.config import ServerConfig
from folio.server.errors import ApiError, as_api_error

COOKIE = "folio_key"
ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What a client may choose as the id of its request: it is sent back."""
PUBLIC = ("/health", "/v1/health", "/page/api/key")
"""Paths that need no key, besides the files of the page."""
SECONDS_OF_PREFLIGHT = "600"
logger = logging.getLogger(__name__)


class Gate:
    """Middleware that lets in whom the settings allow, and gives every response an id and its time."""

    def __init__(self, app: ASGIApp, config: ServerConfig, is_closing: Callable[[], bool]) -> None:
        self._app = app
        self._config = config
        self._is_closing = is_closing
        self._names = own_names(config)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] != "websocket":  # there are none here
                await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        send = self._with_headers(headers, send)
        try:
            self._check(scope, headers)
            if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
                await preflight(headers)(scope, receive, send)
            else:
                await self._app(scope, receive, send)
        except Exception as error:  # here, so that the answer to a fault has an id as well
            told = as_api_error(error)
            if told.status == 500:
                logger.exception("a request failed")
            await told.to_response()(scope, receive, send)

    def _check(self, scope: Scope, headers: Headers) -> None:
        """Raise ApiError where a request may not come in."""
        if self._is_closing():
            raise ApiError(503, "The server is stopping.", code="stopping", headers={"Retry-After": "5"})
        check_host(headers, self._names, is_local=self._config.is_local)
        check_origin(headers, self._config.allow_origin)
        path = scope["path"]
        is_public = path in PUBLIC or scope["method"] == "OPTIONS" or is_page_file(path)
        if self._config.api_key is not None and not is_public:
            check_key(headers, self._config.api_key)

    def _with_headers(self, request: Headers, send: Send) -> Send:
        given = request.get("x-request-id", "")
        id = given if ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"
        origin = request.get("origin")
        started = time.perf_counter()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = id
                headers["openai-processing-ms"] = str(round((time.perf_counter() - started) * 1000))
                headers["x-content-type-options"] = "nosniff"
                if origin in self._config.allow_origin:
                    headers["access-control-allow-origin"] = origin or ""
                    headers["access-control-expose-headers"] = "x-request-id, retry-after"
                    headers.add_vary_header("Origin")
            await send(message)

        return send_with_headers


class SamePage:
    """Middleware for what only the page may use: from its own origin, and where it writes, as JSON."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            check_same_page(Headers(scope=scope))
        await self._app(scope, receive, send)


def own_names(config: ServerConfig) -> frozenset[str]:
    """Return the names under which the server answers."""
    names = {"localhost", "127.0.0.1", "::1", config.host, *config.allow_host}
    if not config.is_local:
        names |= {socket.gethostname(), socket.getfqdn()}
    return frozenset(name.lower() for name in names)


def check_host(headers: Headers, names: frozenset[str], *, is_local: bool) -> None:
    """Raise ApiError (403) for a request to another name. An address is no name, and where others may come it is right."""
    name = host_name(headers.get("host", ""))
    if name in names or (not is_local and is_address(name)):
        return
    raise ApiError(
        403,
        f"This server does not answer to the name {name[:80]!r}: --allow-host adds names.",
        code="host_not_allowed",
    )


def host_name(host: str) -> str:
    """Return the name in a Host header, without its port and in lower case; "" where there is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def is_address(name: str) -> bool:
    """Return whether a name is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def check_origin(headers: Headers, allowed: tuple[str, ...]) -> None:
    """Raise ApiError (403) for a request that a page of another origin has sent."""
    origin = headers.get("origin")
    if origin is None or origin in allowed or is_own_origin(origin, headers):
        return
    raise ApiError(
        403,
        f"Pages of {origin[:80]} may not use this server: --allow-origin lets them.",
        code="origin_not_allowed",
    )


def is_own_origin(origin: str, headers: Headers) -> bool:
    """Return whether an origin is that of the server, as the request names it."""
    return origin.partition("://")[2].lower() == headers.get("host", "").lower()


def check_same_page(headers: Headers) -> None:
    """Raise ApiError (403) unless a request comes from the page, or from no page at all."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
    if site not in ("same-origin", "none") or (origin is not None and not is_own_origin(origin, headers)):
        raise ApiError(403, "Only the page of this server may use this path.", code="origin_not_allowed")


def check_key(headers: Headers, key: str) -> None:
    """Raise ApiError (401) unless a request has the key, or from the page its cookie."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and same(given.strip().encode("latin-1"), key.encode()):
        return
    cookie = cookies(headers).get(COOKIE, "")
    if same(cookie.encode("latin-1"), cookie_for(key).encode()):
        check_same_page(headers)  # cookies are also sent from other ports of this machine
        return
    raise ApiError(
        401,
        "The server needs its key, as in `Authorization: Bearer KEY`: whoever started it has it.",
        code="invalid_api_key",
        headers={"WWW-Authenticate": "Bearer"},
    )


def same(one: bytes, other: bytes) -> bool:
    """Return whether two secrets are equal, in a time that does not tell how nearly."""
    return hmac.compare_digest(one, other)


def cookie_for(key: str) -> str:
    """Return what the cookie of those who know the key holds. It does not tell the key."""
    return hmac.new(key.encode(), b"the page of folio", hashlib.sha256).hexdigest()


def cookies(headers: Headers) -> dict[str, str]:
    """Return the cookies of a request."""
    pairs = (part.strip().partition("=") for part in headers.get("cookie", "").split(";"))
    return {name: value for name, _, value in pairs}


async def take_key(request: Request) -> Response:
    """Give the page a cookie for the right key, `{"key": KEY}`."""
    key = request.app.state.config.api_key
    given = (await read_json_object(request)).get("key")
    if key is not None and not (isinstance(given, str) and same(given.encode(), key.encode())):
        raise ApiError(401, "That is not the key of this server.", "key", "invalid_api_key")
    response = Response(status_code=204)
    if key is not None:
        response.set_cookie(COOKIE, cookie_for(key), httponly=True, samesite="strict", path="/")
    return response


def preflight(headers: Headers) -> Response:
    """Answer a browser that asks, for a page of an allowed origin, what it may send."""
    return Response(
        status_code=204,
        headers={
            "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
            "Access-Control-Allow-Headers": headers.get("access-control-request-headers", ""),
            "Access-Control-Max-Age": SECONDS_OF_PREFLIGHT,
        },
    )


def is_page_file(path: str) -> bool:
    """Return whether a path is that of a file of the page, which holds no secret."""
    return path == "/" or (path.startswith("/page/") and not path.startswith("/page/api/"))


def new_key() -> str:
    """Return a key that nobody guesses."""
    return f"folio-{secrets.token_urlsafe(24)}"
