"""A small local page for blind votes: two pictures, three buttons, and nothing that tells which checkpoint drew which.

The page is given a random trial id, the prompt, and pictures re-encoded without metadata under random names. It
never sees a checkpoint, a path, a seed or a result. The server listens on this machine only, behind the front door.
"""

import json
import secrets
from collections.abc import Callable
from importlib.resources import files
from threading import Lock
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from panic_assets.errors import UserError
from panic_assets.finetunes import stages
from panic_assets.finetunes.ab.raters import rater_name
from panic_assets.finetunes.pictures.colour import decode, encode
from panic_assets.lake.lake import Lake
from panic_assets.web.door import FrontDoor
from panic_assets.web.listening import rules

_LARGEST = 4096
"""Bytes of a vote's body."""
_KEPT = 256
"""Pictures that are held in memory."""
_HEADERS = {"Cache-Control": "no-store"}


class Booth:
    """What the page can ask for: the next trial of a rater, a picture, a vote."""

    def __init__(self, lake: Lake, test: str, on_vote: Callable[[], None] = lambda: None) -> None:
        stages.trial_rows(lake, test)
        self.lake, self.test, self.on_vote = lake, test, on_vote
        self._pictures: dict[str, bytes] = {}
        self._lock = Lock()

    def next(self, rater: str) -> dict[str, Any]:
        """The next trial of this rater, or that none is left."""
        rater = rater_name(rater)
        left = stages.open_trials(self.lake, self.test, rater)
        total = len(stages.trial_rows(self.lake, self.test))
        if not left:
            return {"trial": None, "left": 0, "total": total}
        row = left[0]
        pictures = {which: encode(decode(stages.trial_image(self.lake, row, which))) for which in ("a", "b")}
        names = {which: secrets.token_urlsafe(12) for which in pictures}
        with self._lock:
            self._pictures |= {names[which]: data for which, data in pictures.items()}
            # One trial is open at a time for each rater; the oldest pictures are no longer asked for.
            while len(self._pictures) > _KEPT:
                del self._pictures[next(iter(self._pictures))]
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


def _app(booth: Booth) -> Starlette:
    """The page and what it asks for."""

    def page(_: Request) -> Response:
        return HTMLResponse(files(__package__).joinpath("voting.html").read_text("utf-8"), headers=_HEADERS)

    def picture(request: Request) -> Response:
        data = booth.picture(request.path_params["name"])
        return Response(data, 200 if data else 404, _HEADERS, "image/png")

    def next_trial(request: Request) -> Response:
        return _told(lambda: booth.next(request.query_params.get("rater", "")))

    async def vote(request: Request) -> Response:
        body = await request.body()
        return await run_in_threadpool(_told, lambda: booth.vote(**_fields(body)))

    return Starlette(
        routes=[
            Route("/", page),
            Route("/picture/{name}", picture),
            Route("/next", next_trial),
            Route("/vote", vote, methods=["POST"]),
        ]
    )


def guarded(booth: Booth) -> FrontDoor:
    """All of it behind the front door of a server on this machine."""
    return FrontDoor(_app(booth), rules("127.0.0.1", _LARGEST))


def _told(act: Callable[[], Any]) -> Response:
    try:
        return JSONResponse(act(), headers=_HEADERS)
    except UserError as error:
        status = 409 if isinstance(error, stages.VoteRefused) else 400
        return JSONResponse({"error": str(error)}, status, _HEADERS)


def _fields(body: bytes) -> dict[str, str]:
    try:
        raw = json.loads(body)
        return {name: str(raw[name]) for name in ("trial", "rater", "side")}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UserError("the vote cannot be read; it must be a JSON object with trial, rater and side") from None
