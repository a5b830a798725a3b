"""The front door: ASGI middleware before everything that we serve. It decides by the request alone who may pass.

A web page that somebody visits can send requests to any server that the browser reaches, also to one on 127.0.0.1. Dagster's
webserver would obey: it carries out mutations by GET and looks at neither Host nor Origin. So these are refused here:

- a Host that the server was not told: a foreign name may be made to point at this machine (DNS rebinding);
- a request or a websocket that can change something, and that a browser sends for a page of another origin;
- a body that is not JSON: browsers send other kinds for foreign pages without asking the server first;
- GraphQL in the address of a GET;
- a body that is too large;
- a request without login, where one is required.
"""

import base64
import hmac
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST = 16 * 2**20
"""Bytes of a request's body. The UI sends up to some megabytes when it launches thousands of partitions."""
OPEN = frozenset({"/server_info"})
"""Needs no login: health checks ask for it, and it tells Dagster's version only."""
_ONCE = ("host", "origin", "content-type", "content-length", "authorization")
_HOST = re.compile(r"(\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[\w.-]+))(:\d{1,5})?", re.ASCII)
_READING = ("GET", "HEAD", "OPTIONS")
_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"SAMEORIGIN",
    b"referrer-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
}
"""Added to every answer that does not say otherwise itself."""


@dataclass(frozen=True)
class Login:
    """How somebody shows that they may enter: either will do. Without both, everybody may."""

    password: str | None = None
    user_header: str | None = None
    """In which a reverse proxy names the user who signed in there. Nobody else may reach the server then."""

    def __bool__(self) -> bool:
        return bool(self.password or self.user_header)

    def accepts(self, headers: Mapping[str, str]) -> bool:
        """Whether a request with these headers may enter."""
        if not self:
            return True
        if self.user_header and headers.get(self.user_header.lower(), "").strip():
            return True
        given = _basic_password(headers.get("authorization", ""))
        return bool(self.password and given) and hmac.compare_digest(str(given).encode(), str(self.password).encode())


@dataclass(frozen=True)
class Rules:
    """What one server lets in. `names` are host names without a port, in lower case."""

    names: frozenset[str]
    login: Login = Login()
    largest: int = LARGEST


@dataclass(frozen=True)
class Refusal:
    """Why a request may not pass, as a status and a sentence."""

    status: int
    why: str


Headers = Sequence[tuple[str, str]]
"""Names are in lower case."""


def refusal(rules: Rules, kind: str, method: str, path: str, query: str, headers: Headers) -> Refusal | None:
    """Why this request may not pass, or None. `kind` is `http` or `websocket`."""
    told, reading = dict(headers), kind == "http" and method in _READING
    once = {*_ONCE, (rules.login.user_header or "").lower()}
    twice = [name for name, count in Counter(name for name, _ in headers).items() if count > 1 and name in once]
    if twice:
        return Refusal(400, f"The header {twice[0]} is given more than once.")
    host = told.get("host", "")
    if name_of(host) not in rules.names:
        return Refusal(421, f"The host {host[:100]!r} is not known here. If it is yours, add it to PANIC_WEB_NAMES.")
    if not reading and _foreign(host, told):
        return Refusal(403, "A page of another origin may not do this.")
    if path not in OPEN and not rules.login.accepts(told):
        return Refusal(401, "Please sign in.")
    if reading and query and path.rstrip("/").endswith("/graphql"):
        return Refusal(405, "GraphQL is answered by POST only.")
    return None if reading or kind == "websocket" else _of_body(rules, told)


def name_of(host: str) -> str | None:
    """The name in a Host header, in lower case and without the port; None when it is not a Host header."""
    found = _HOST.fullmatch(host)
    return (found["address"] or found["name"]).lower() if found else None


def _foreign(host: str, headers: Mapping[str, str]) -> bool:
    """Whether a browser sends this for a page of another origin. A program that is not a browser sends neither header."""
    origin = headers.get("origin")
    if origin is not None:
        scheme, _, ours = origin.lower().partition("://")
        usual = {"http": ":80", "https": ":443"}.get(scheme)
        # The scheme is not compared: behind a proxy the page is https, and this server does not know.
        if usual is None or ours.removesuffix(usual) != host.lower().removesuffix(usual):
            return True
    return headers.get("sec-fetch-site", "none") not in ("same-origin", "none")


def _of_body(rules: Rules, headers: Mapping[str, str]) -> Refusal | None:
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return Refusal(415, "The body must be JSON, sent with Content-Type: application/json.")
    length = headers.get("content-length", "")
    if not (length.isascii() and length.isdigit()) or "transfer-encoding" in headers:
        return Refusal(411, "The request must say in Content-Length how many bytes its body has.")
    if len(length) > 15 or int(length) > rules.largest:
        return Refusal(413, f"The body is larger than {rules.largest:,} bytes.")
    return None


def _basic_password(header: str) -> str | None:
    """The password of HTTP Basic authentication. The user's name may be anything."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(encoded.strip(), validate=True).decode().partition(":")[2]
    except ValueError:
        return None


class FrontDoor:
    """The middleware. Whatever it serves is behind it: pages, GraphQL and websockets."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app, self._rules = app, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers what may not pass, and hands on the rest."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        query = scope.get("query_string", b"").decode("latin-1")
        refused = refusal(self._rules, scope["type"], scope.get("method", ""), scope["path"], query, headers)
        if scope["type"] == "websocket":
            if refused:
                await send({"type": "websocket.close", "code": 1008, "reason": refused.why})
            else:
                await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = {name.lower() for name, _ in message.get("headers", ())}
                ours = [(name, value) for name, value in _HEADERS.items() if name not in said]
                message = {**message, "headers": [*message.get("headers", ()), *ours]}
            await send(message)

        if refused:
            asks = {"WWW-Authenticate": 'Basic realm="panic_assets", charset="UTF-8"'}
            shown = asks if refused.status == 401 and self._rules.login.password else None
            # Closed: the body was not read, and what follows on the connection would be taken for another request.
            answer = JSONResponse({"error": refused.why}, refused.status, {**(shown or {}), "Connection": "close"})
            await answer(scope, receive, with_headers)
        else:
            await self._app(scope, receive, with_headers)
