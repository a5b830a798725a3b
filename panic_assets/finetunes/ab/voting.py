"""A small local page for blind votes: two pictures, three buttons, and nothing that tells which checkpoint drew which.

The page is given a random trial id, the prompt, and pictures re-encoded without metadata under random names. It
never sees a checkpoint, a path, a seed or a result. It listens on this machine only, and takes votes only from
its own page.
"""

import json
import secrets
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from threading import Lock
from typing import Any

from panic_assets.errors import UserError
from panic_assets.finetunes import stages
from panic_assets.finetunes.pictures.colour import decode, encode
from panic_assets.lake.lake import Lake

_LARGEST = 4096
"""Bytes of a vote's body."""


class Booth:
    """What the page can ask for: the next trial of a rater, a picture, a vote."""

    def __init__(self, lake: Lake, test: str, on_vote: Callable[[], None] = lambda: None) -> None:
        stages.trial_rows(lake, test)
        self.lake, self.test, self.on_vote = lake, test, on_vote
        self.secret = secrets.token_urlsafe(16)
        self._pictures: dict[str, bytes] = {}
        self._lock = Lock()

    def next(self, rater: str) -> dict[str, Any]:
        """The next trial of this rater, or that none is left."""
        left = stages.open_trials(self.lake, self.test, rater)
        total = len(stages.trial_rows(self.lake, self.test))
        if not left:
            return {"trial": None, "left": 0, "total": total}
        row = left[0]
        pictures = {which: encode(decode(stages.trial_image(self.lake, row, which))) for which in ("a", "b")}
        names = {which: secrets.token_urlsafe(12) for which in pictures}
        with self._lock:
            # One trial is open at a time for each rater; older pictures are no longer asked for.
            if len(self._pictures) > 64:
                self._pictures.clear()
            self._pictures |= {names[which]: data for which, data in pictures.items()}
        first, second = ("a", "b") if row["a_left"] else ("b", "a")
        return {
            "trial": row["trial"],
            "prompt": row["prompt_text"],
            "first": names[first],
            "second": names[second],
            "left": len(left),
            "total": total,
        }

    def picture(self, name: str) -> bytes | None:
        """A picture shown a moment ago."""
        return self._pictures.get(name)

    def vote(self, trial: str, rater: str, side: str) -> None:
        """Store a vote."""
        with self._lock:
            stages.vote(self.lake, self.test, trial, rater, side)
        self.on_vote()


def page(booth: Booth) -> str:
    """The page, with the secret that its requests carry."""
    return files(__package__).joinpath("voting.html").read_text("utf-8").replace("SECRET", booth.secret)


def server(booth: Booth, port: int = 0) -> ThreadingHTTPServer:
    """A server on 127.0.0.1; port 0 takes a free one. Call `serve_forever`, and `shutdown` from another thread."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """The page, the next trial, a picture."""
            path, _, query = self.path.partition("?")
            if not self._local():
                self._answer(403, b"", "text/plain")
            elif path == "/":
                self._answer(200, page(booth).encode(), "text/html; charset=utf-8")
            elif path.startswith("/picture/"):
                data = booth.picture(path.removeprefix("/picture/"))
                self._answer(200 if data else 404, data or b"", "image/png")
            elif path == "/next" and self.headers.get("X-Booth") == booth.secret:
                from urllib.parse import parse_qs

                rater = parse_qs(query).get("rater", [""])[0].strip()
                self._json(lambda: booth.next(rater))
            else:
                self._answer(404, b"", "text/plain")

        def do_POST(self) -> None:
            """A vote."""
            length = int(self.headers.get("Content-Length") or 0)
            mine = self._local() and self.headers.get("X-Booth") == booth.secret
            if self.path != "/vote" or not mine or not 0 < length <= _LARGEST:
                self._answer(403, b"", "text/plain")
                return
            body = self.rfile.read(length)
            self._json(lambda: booth.vote(**_fields(body)))

        def _local(self) -> bool:
            """Whether the request was addressed to this machine by name: no page of another site is."""
            host = (self.headers.get("Host") or "").rsplit(":", 1)[0]
            return host in ("127.0.0.1", "localhost")

        def _json(self, act: Callable[[], Any]) -> None:
            try:
                status, told = 200, act()
            except UserError as error:
                status, told = 400, {"error": str(error)}
            self._answer(status, json.dumps(told).encode(), "application/json")

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Silent: the command line shows what matters."""

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


def _fields(body: bytes) -> dict[str, str]:
    try:
        raw = json.loads(body)
        return {name: str(raw[name]) for name in ("trial", "rater", "side")}
    except (ValueError, KeyError, TypeError):
        raise UserError("the vote cannot be read; it must be a JSON object with trial, rater and side") from None
