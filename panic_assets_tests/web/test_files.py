"""Files of the home that are served, and those that are not."""

import asyncio
from pathlib import Path

import pytest
from starlette.applications import Starlette

from panic_assets.settings import home
from panic_assets.web import files


@pytest.fixture
def made(tmp_path, monkeypatch) -> Path:
    """A home with pages in it, and secrets in and beside it."""
    monkeypatch.setenv("PANIC_HOME", str(tmp_path / "home"))
    inside = {
        "renders/r1/run a.html": "page",
        "renders/r1/film.mp4": "0123456789",
        "reports/tune/report.html": "report",
        "renders/r1/notes.txt": "secret",
        "renders/.hidden/page.html": "secret",
        "renders/page.html.tmp": "secret",
        "ab/t/left.png": "secret",
        "dagster/page.html": "secret",
        "training.yaml": "secret",
        "page.html": "secret",
    }
    for name, text in inside.items():
        path = home().root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "outside.html").write_text("secret")
    (tmp_path / "renders").mkdir()
    (tmp_path / "renders" / "page.html").write_text("secret")
    return home().root


def get(path: str, **headers: str):
    """Status, headers and body of the answer to a GET of this decoded path: no client tidies it up before."""
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        await asyncio.Event().wait()  # The client stays.

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
    }
    asyncio.run(Starlette(routes=files.ROUTES)(scope, receive, send))
    told = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
    return sent[0]["status"], told, b"".join(m.get("body", b"") for m in sent[1:])


def test_a_page_is_served_without_an_origin_of_ours(made):
    assert files.link(made / "renders/r1/run a.html") == "/panic/files/renders/r1/run%20a.html"
    status, told, body = get("/panic/files/renders/r1/run a.html")
    assert (status, body) == (200, b"page")
    assert told["content-type"] == "text/html; charset=utf-8"
    rules = told["content-security-policy"].split("; ")
    assert {"sandbox allow-scripts allow-downloads", "default-src 'none'", "form-action 'none'"} <= set(rules)
    assert "allow-same-origin" not in told["content-security-policy"]


def test_a_film_is_served_in_parts(made):
    status, told, body = get("/panic/files/renders/r1/film.mp4", range="bytes=2-4")
    assert (status, told["content-type"], body) == (206, "video/mp4", b"234")


@pytest.mark.parametrize(
    "path",
    [
        "../outside.html",
        "renders/../../outside.html",
        "renders/../page.html",
        "renders/r1/../../../renders/page.html",
        "/etc/hostname",
        "//etc/hostname",
        "renders",
        "renders/",
        "renders/none.html",
        "renders/r1/notes.txt",
        "renders/.hidden/page.html",
        "renders/page.html.tmp",
        "ab/t/left.png",
        "dagster/page.html",
        "training.yaml",
        "page.html",
        "",
        "renders/\x00.html",
        "renders/" + "a" * 5000 + ".html",
        "..\\outside.html",
    ],
)
def test_nothing_else_is_served(made, path):
    assert get(f"/panic/files/{path}")[0] == 404
    assert files.link(made / path) is None


def test_no_link_leads_out(made, tmp_path):
    (made / "renders/out.html").symlink_to(tmp_path / "outside.html")
    (made / "renders/folder").symlink_to(tmp_path / "renders")
    (made / "renders/hidden.html").symlink_to(made / "page.html")
    (made / "renders/loop.html").symlink_to(made / "renders/loop.html")
    (made / "renders/good.html").symlink_to(made / "reports/tune/report.html")
    for name in ("out.html", "folder/page.html", "hidden.html", "loop.html"):
        assert get(f"/panic/files/renders/{name}")[0] == 404
    assert get("/panic/files/renders/good.html")[2] == b"report"


def test_a_home_that_is_itself_a_link_is_served(made, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").symlink_to(made)
    monkeypatch.setenv("PANIC_HOME", str(tmp_path / "elsewhere"))
    assert get("/panic/files/reports/tune/report.html")[2] == b"report"
