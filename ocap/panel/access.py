"""Who may ask the panel anything: the wall around its pages, as ASGI middleware.

The operator's browser is hostile ground: any page in it can send requests to the loopback, and any local user can
connect there. So, before any page is looked for:

1. The Host header is one of our names with our port: a name that another site has pointed at us is none.
2. Requests from other sites are refused by what the browser says of them (Sec-Fetch-Site, Origin). No CORS headers.
3. Nothing but the login page, the stylesheet and the scripts is given without the session's cookie.
4. Whatever changes anything, and every stream of events, is a POST of JSON with our Origin and the session's
   token in a header, which no other site can read or set.
5. A session begins with a code of 256 bits that works once; it travels in the fragment of a link, which browsers
   do not send, and so is in no log.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from hmac import compare_digest
from typing import Any

import trio
from attrs import field, frozen
from starlette.requests import cookie_parser

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY = 1_048_576
"""Bytes of a request's body, as much as the control socket takes."""

MAX_TARGET = 2_048
"""Characters of a path with its query."""

BODY_SECONDS = 10.0
"""In which a body must have come."""

MAX_SESSIONS = 8
"""At a time; the oldest ends when one more begins."""

_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
HEADERS = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]


def cookie_name(port: int) -> str:
    """Browsers send cookies to every port of a host: each panel needs a name of its own."""
    return f"ocap-session-{port}"


def new_secret() -> str:
    return secrets.token_urlsafe(32)


@frozen
class Session:
    """One browser that was let in."""

    cookie: str = field(factory=new_secret, repr=False)
    token: str = field(factory=new_secret, repr=False)


class Doorkeeper:
    """The secrets: the code that lets in, and the sessions of those who are.

    Args:
        announce: is told each new code; shows it to whoever started the panel, and to nobody else.
    """

    def __init__(self, announce: Callable[[str], None]) -> None:
        self._announce = announce
        self._sessions: list[Session] = []
        self._renew()

    def _renew(self) -> None:
        self._code = new_secret()
        self._announce(self._code)

    def login(self, code: str) -> Session | None:
        """The session that a code begins; the code is used up."""
        if not _is(code, self._code):
            return None
        session = Session()
        self._sessions = [*self._sessions, session][-MAX_SESSIONS:]
        self._renew()
        return session

    def logout(self, session: Session) -> None:
        self._sessions.remove(session)

    def session(self, cookie: str) -> Session | None:
        return next((it for it in self._sessions if _is(cookie, it.cookie)), None)


def _is(given: str, secret: str) -> bool:
    return compare_digest(given.encode(errors="replace"), secret.encode())


class Wall:
    """Lets through to `app` what may pass, with `scope["state"]["session"]` set to who asks.

    Args:
        open_paths: what is given without a session, by GET only.
        login_path: where a code is exchanged, by POST without a session.
        login_page: the page for those who have none.
    """

    def __init__(
        self, app: App, keeper: Doorkeeper, port: int, open_paths: Iterable[str], login_path: str, login_page: bytes
    ) -> None:
        self._app = app
        self._keeper = keeper
        self._cookie = cookie_name(port)
        self._hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}
        self._open = frozenset(open_paths)
        self._login_path = login_path
        self._login_page = login_page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        send = _Sealed(send)
        headers = _Headers(scope["headers"])
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _say(send, *refusal)
            return
        session = self._keeper.session(_cookie(headers, self._cookie))
        is_post = scope["method"] == "POST"
        if is_post:
            if scope["path"] != self._login_path:
                given = headers.one("x-ocap-token") or ""
                if session is None or not _is(given, session.token):
                    await _say(send, 401, "the session is over, or was never begun: log in")
                    return
            body = await _body(headers, receive)
            if isinstance(body, str):
                await _say(send, 413 if "large" in body else 408, body)
                return
            receive = _Replay(body, receive)
        elif session is None and scope["path"] not in self._open:
            await _say(send, 401, self._login_page, "text/html; charset=utf-8")
            return
        scope.setdefault("state", {})["session"] = session
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope, headers: _Headers) -> tuple[int, str] | None:
        """What is wrong with a request whoever sends it."""
        host = headers.one("host")
        if host not in self._hosts:
            return 421, "this is a panel on the loopback: use the link it printed"
        if headers.count("transfer-encoding") and headers.count("content-length"):
            return 400, "two lengths of one body"
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return 405, "GET and POST only"
        if len(scope["path"]) + len(scope["query_string"]) > MAX_TARGET:
            return 414, "the address is too long"
        if headers.count("sec-fetch-site") > 1 or headers.one("sec-fetch-site") not in (None, "same-origin", "none"):
            return 403, "another site sent this"
        origin = headers.one("origin")
        if headers.count("origin") and origin != f"http://{host}":
            return 403, "another site sent this"
        if scope["method"] == "POST":
            if origin is None:
                return 403, "a change needs an Origin"
            if (headers.one("content-type") or "").partition(";")[0].strip() != "application/json":
                return 403, "a change is sent as application/json"
        return None


class _Headers:
    def __init__(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        self._found: dict[str, list[str]] = {}
        for name, value in pairs:
            self._found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))

    def count(self, name: str) -> int:
        return len(self._found.get(name, ()))

    def one(self, name: str) -> str | None:
        """Its value; None if it is missing or there are several."""
        found = self._found.get(name, ())
        return found[0] if len(found) == 1 else None


def _cookie(headers: _Headers, name: str) -> str:
    return cookie_parser(headers.one("cookie") or "").get(name, "")


async def _body(headers: _Headers, receive: Receive) -> bytes | str:
    """The whole body, or what is wrong with it."""
    too_large = f"too large: {MAX_BODY} bytes at most"
    length = headers.one("content-length") or "0"
    if length.isdecimal() and len(length) < 20 and int(length) > MAX_BODY:
        return too_large
    body = bytearray()
    with trio.move_on_after(BODY_SECONDS):
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return "the client has gone"
            body += message.get("body", b"")
            if len(body) > MAX_BODY:
                return too_large
            if not message.get("more_body"):
                return bytes(body)
    return f"no body within {BODY_SECONDS:g} seconds"


class _Replay:
    """Gives the body that was read already, then what comes."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._first: Message | None = {"type": "http.request", "body": body, "more_body": False}
        self._receive = receive

    async def __call__(self) -> Message:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return await self._receive()


class _Sealed:
    """Every answer carries our headers; what the app says of these itself counts before."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            given = {name.lower() for name, _ in message["headers"]}
            message = {**message, "headers": [*message["headers"], *(it for it in HEADERS if it[0] not in given)]}
        await self._send(message)


async def _say(send: Send, status: int, text: str | bytes, kind: str = "text/plain; charset=utf-8") -> None:
    body = text if isinstance(text, bytes) else f"{text}\n".encode()
    headers = [
        (b"content-type", kind.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
