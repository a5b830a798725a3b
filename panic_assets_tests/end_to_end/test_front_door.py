"""Dagster's real webserver behind the front door, and real requests: what a page of another site sends, and what its own do."""

import base64
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from panic_assets.graphics import animation
from panic_assets.instance import webserver
from panic_assets.instance.home import open_instance
from panic_assets.settings import Home

pytestmark = pytest.mark.slow

LIMIT = 'mutation { setConcurrencyLimit(concurrencyKey: "%s", limit: 3) }'
"""A mutation whose effect is seen in the instance."""
JSON = {"Content-Type": "application/json"}
PASSWORD = "correct horse battery"
STARTED = 300.0


class Webserver:
    """The running process, its home and its port."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.home = Home(folder / "home")
        with pytest.MonkeyPatch.context() as patch:
            for name in ("PANIC_HOME", "DAGSTER_HOME"):
                patch.setenv(name, "")  # Set by `open_instance`, and as before afterwards.
            open_instance(self.home).dispose()
        workspace = folder / "workspace.yaml"
        workspace.write_text("load_from: []\n")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log = folder / "webserver.log"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PANIC_", "DAGSTER_"))}
        home = {"PANIC_HOME": str(self.home.root), "DAGSTER_HOME": str(self.home.dagster)}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "panic_assets.instance.webserver",
                    f"--port={self.port}",
                    f"--workspace={workspace}",
                ],
                env=kept | home | settings,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),  # As in the background of a script.
            )

    def wait(self) -> None:
        """Until it listens. It answers then as soon as it has started."""
        deadline = time.monotonic() + STARTED
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def ask(self, method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, str]:
        """Status and body of one answer. `_` in the names of headers stands for `-`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=STARTED)
        with contextlib.closing(connection):
            connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def mutate(self, key: str, **headers: str) -> int:
        """Asks as the UI does to limit a pool of this name, with these headers instead of its own."""
        return self.ask("POST", "/graphql", json.dumps({"query": LIMIT % key}), **{**JSON, **headers})[0]

    def limited(self, key: str) -> bool:
        """Whether that was done."""
        body = json.dumps({"query": "{ instance { concurrencyLimits { concurrencyKey } } }"})
        found = json.loads(self.ask("POST", "/graphql", body, **JSON)[1])["data"]["instance"]["concurrencyLimits"]
        return key in {limit["concurrencyKey"] for limit in found}


@contextlib.contextmanager
def running(folder: Path, **settings: str) -> Iterator[Webserver]:
    """Starts the webserver, and ends it by SIGTERM, although SIGINT is ignored where it was started."""
    server = Webserver(folder, **settings)
    try:
        server.wait()
        yield server
        server.process.terminate()
        assert server.process.wait(STARTED) == 0, server.log.read_text()
        assert "Traceback" not in server.log.read_text()
    finally:
        server.process.kill()
        server.process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webserver]:
    with running(tmp_path_factory.mktemp("door")) as started:
        yield started


def test_its_own_pages_load_and_may_change_things(server):
    own = f"http://127.0.0.1:{server.port}"
    status, page = server.ask("GET", "/", Accept="text/html")
    assert (status, '<title data-next-head="">Dagster</title>' in page) == (200, True)
    script = page.split('src="/_next/')[1].split('"')[0]
    assert server.ask("GET", f"/_next/{script}")[0] == 200
    assert server.mutate("own", Origin=own, Sec_Fetch_Site="same-origin") == 200
    assert server.limited("own")
    assert server.mutate("program") == 200, "a program that is not a browser says no origin"


def test_pages_of_other_sites_change_nothing(server):
    evil = "http://evil.example"
    get = "/graphql?query=" + (LIMIT % "evil").replace(" ", "%20").replace('"', "%22")
    assert server.ask("GET", get)[0] == 405
    assert server.ask("HEAD", get)[0] == 405
    assert server.ask("GET", get, Host="evil.example")[0] == 421
    assert server.ask("POST", get, "{}", Content_Type="text/plain")[0] == 415
    assert server.ask("POST", get, "{}")[0] == 415
    assert server.ask("POST", "/graphql", LIMIT % "evil", Content_Type="application/graphql")[0] == 415
    form = "query=" + LIMIT % "evil"
    assert server.ask("POST", "/graphql", form, Content_Type="application/x-www-form-urlencoded")[0] == 415
    assert server.mutate("evil", Content_Type="text/plain") == 415
    assert server.mutate("evil", Origin=evil) == 403
    assert server.mutate("evil", Origin="null") == 403
    assert server.mutate("evil", Origin=f"http://localhost:{server.port}") == 403, "another name is another site"
    assert server.mutate("evil", Host="evil.example", Origin=evil) == 421
    assert server.mutate("evil", Sec_Fetch_Site="cross-site") == 403
    assert server.ask("POST", "/report_asset_materialization/a", "{}", Origin=evil, **JSON)[0] == 403
    assert server.ask("POST", "/graphql", "{}", Content_Length=str(2**40), **JSON)[0] == 413
    assert not server.limited("evil")


def _subscribed(server: Webserver, host: str = "127.0.0.1", **options: Any) -> str:
    """What a websocket of the UI says first."""
    url = f"ws://{host}:{server.port}/graphql"
    with connect(url, subprotocols=["graphql-ws"], open_timeout=STARTED, proxy=None, **options) as opened:
        opened.send(json.dumps({"type": "connection_init"}))
        return json.loads(opened.recv(STARTED))["type"]


def test_websockets_are_for_its_own_pages(server):
    assert _subscribed(server, origin=f"http://127.0.0.1:{server.port}") == "connection_ack"
    assert _subscribed(server) == "connection_ack"
    for origin in ("http://evil.example", "null", f"http://localhost:{server.port}"):
        with pytest.raises(InvalidStatus, match="403"):
            _subscribed(server, origin=origin)
    with socket.create_connection(("127.0.0.1", server.port)) as connection, pytest.raises(InvalidStatus, match="403"):
        _subscribed(server, "evil.example", sock=connection)


def test_files_of_the_home_are_served_beside_the_ui(server, tmp_path):
    folder = server.home.root / "renders" / "r1"
    folder.mkdir(parents=True)
    (folder / "page.html").write_text("a page")
    (tmp_path / "secret.html").write_text("secret")
    (folder / "out.html").symlink_to(tmp_path / "secret.html")
    assert server.ask("GET", "/panic/files/renders/r1/page.html") == (200, "a page")
    for path in ("renders/r1/out.html", "renders/../dagster/dagster.yaml", "dagster/dagster.yaml", "%2e%2e/ui.log"):
        assert server.ask("GET", f"/panic/files/{path}")[0] == 404


HOSTILE = """<body><script>
const body = JSON.stringify({query: %r});
const told = [];
const tries = [
  () => fetch("/graphql", {method: "POST", body, headers: {"Content-Type": "application/json"}}),
  () => fetch("/graphql", {method: "POST", mode: "no-cors", body}),
  () => new Promise((good, bad) => {
    const socket = new WebSocket("ws://" + location.host + "/graphql", "graphql-ws");
    socket.onopen = good; socket.onerror = bad; }),
  async () => document.cookie,
  async () => localStorage.length,
];
(async () => {
  for (const attempt of tries) told.push(await attempt().then(() => "did", () => "could not"));
  document.title = told.join();
})();
</script></body>"""


def test_a_page_of_the_home_runs_and_reaches_nothing(server):
    """In a real browser: an animation of ours plays, and a page that came in with a file is shut in."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium on this machine; `make test` installs it where it may")
    from playwright.sync_api import sync_playwright

    folder = server.home.root / "renders" / "r2"
    folder.mkdir(parents=True)
    frames = tuple((np.arange(4.0), np.arange(4.0) * size) for size in (1.0, 2.0))
    scene = animation.Scene("title", "points", (0, 10), frames, "across", "up")
    (folder / "ours.html").write_text(animation.html(scene))
    (folder / "hostile.html").write_text(HOSTILE % (LIMIT % "hostile"))
    address = f"http://127.0.0.1:{server.port}/panic/files/renders/r2"
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        with contextlib.closing(browser):
            page = browser.new_page()
            page.set_default_timeout(STARTED * 1000)
            errors: list[str] = []
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.goto(f"{address}/ours.html")
            page.wait_for_selector(".scatterlayer path.point")
            page.click("text=Play")
            assert errors == []
            page.goto(f"{address}/hostile.html")
            page.wait_for_function("document.title")
            assert page.title() == ",".join(["could not"] * 5)
    assert not server.limited("hostile")


def test_others_sign_in(tmp_path):
    """It listens on this machine only, so that nobody can reach it during the test; the rules are the same."""
    with running(tmp_path, PANIC_WEB_PASSWORD=PASSWORD, PANIC_WEB_NAMES="panic.example.org") as server:
        good = "Basic " + base64.b64encode(f"me:{PASSWORD}".encode()).decode()
        bad = "Basic " + base64.b64encode(b"me:wrong").decode()
        assert server.ask("GET", "/server_info")[0] == 200, "a health check"
        for told in ({}, {"Authorization": bad}):
            assert server.ask("GET", "/", **told)[0] == 401
            assert server.mutate("evil", **told) == 401
            with pytest.raises(InvalidStatus, match="403"):
                _subscribed(server, additional_headers=told)
        assert server.ask("GET", "/", Authorization=good, Host="panic.example.org")[0] == 200
        assert server.mutate("mine", Authorization=good) == 200
        assert _subscribed(server, additional_headers={"Authorization": good}) == "connection_ack"


def test_nobody_is_let_in_from_elsewhere_without_a_login(panic, monkeypatch, tmp_path):
    """Both ways to start the UI refuse at once."""
    monkeypatch.setenv("PANIC_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PANIC_WEB_PASSWORD", raising=False)
    monkeypatch.delenv("PANIC_WEB_USER_HEADER", raising=False)
    sentence = (
        "0.0.0.0 can be reached from other machines, and nobody would have to sign in; set PANIC_WEB_PASSWORD, or "
        "PANIC_WEB_USER_HEADER behind a proxy that signs people in"
    )
    code, _, told = panic("ui", "--host", "0.0.0.0")
    assert (code, " ".join(told.split())) == (2, f"Error: {sentence}")
    monkeypatch.setattr(sys, "argv", ["webserver", "--host=0.0.0.0", "--workspace=none.yaml"])
    with pytest.raises(SystemExit) as ended:
        webserver.main()
    assert ended.value.code == sentence
    assert not (tmp_path / "home").exists()
