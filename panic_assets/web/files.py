"""Pages, pictures and films of the home, under `/panic/files/`: what asset metadata links to, since a page of the UI cannot
open `file://`.

A page from there may hold anything that came in with a file, so the browser is told to give it no origin of ours: its scripts
run, but they reach neither the UI nor the network.
"""

from pathlib import Path
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from panic_assets.settings import home

PREFIX = "/panic/files"
FOLDERS = ("renders", "reports")
"""Folders of the home that are served. Nothing else is: the home also holds settings, votes and records."""
KINDS = {
    ".gif": "image/gif",
    ".html": "text/html; charset=utf-8",
    ".mp4": "video/mp4",
    ".png": "image/png",
}
_ALONE = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'unsafe-inline'; img-src data: blob:; media-src data: blob:; font-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'"
)
"""A page holds all that it shows, as ours do. What its scripts evaluate matters to nobody: they have no origin."""


def link(path: Path) -> str | None:
    """The address of a file on our server, without the server's own; None for a file that is not served."""
    found = _inside(path)
    return f"{PREFIX}/{quote(found.as_posix())}" if found else None


def _inside(path: Path) -> Path | None:
    """The path below the home of a file that may be served. Links are followed first, so none leads out of the home."""
    try:
        root, real = home().root.resolve(), path.resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        return None
    if not real.is_relative_to(root) or not real.is_file() or real.suffix.lower() not in KINDS:
        return None
    below = real.relative_to(root)
    hidden = any(part.startswith(".") for part in below.parts)
    return below if below.parts[0] in FOLDERS and not hidden else None


def _file(request: Request) -> Response:
    found = _inside(home().root / request.path_params["path"])
    if found is None:
        raise HTTPException(404)
    kind = found.suffix.lower()
    headers = {"Cache-Control": "no-cache"} | ({"Content-Security-Policy": _ALONE} if kind == ".html" else {})
    return FileResponse(home().root / found, media_type=KINDS[kind], headers=headers)


ROUTES = [Route(PREFIX + "/{path:path}", _file)]
