"""Under which rules a server listens, and how it ends."""

import signal
import subprocess
import sys
import urllib.request

import pytest

from panic_assets.errors import UserError
from panic_assets.web import listening
from panic_assets.web.door import Login, name_of

PASSWORD = "correct horse battery"


@pytest.fixture
def unset(monkeypatch):
    for name in ("PASSWORD", "USER_HEADER", "NAMES"):
        monkeypatch.delenv(f"PANIC_WEB_{name}", raising=False)
    return monkeypatch


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "192.168.1.5", "panic.example.org", "10.0.0.1"])
def test_nobody_listens_to_others_without_a_login(unset, host):
    with pytest.raises(UserError, match=r"can be reached from other machines.*set PANIC_WEB_PASSWORD, or"):
        listening.rules(host)
    unset.setenv("PANIC_WEB_USER_HEADER", "X-Forwarded-User")
    assert listening.rules(host).login == Login(user_header="X-Forwarded-User")
    unset.setenv("PANIC_WEB_PASSWORD", PASSWORD)
    assert listening.rules(host).login.password == PASSWORD
    assert listening.rules(host).names == listening.LOOPBACK | ({host} - {"", "0.0.0.0", "::"})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.3.2.1"])
def test_this_machine_needs_no_login(unset, host):
    assert not listening.rules(host).login
    unset.setenv("PANIC_WEB_NAMES", "Panic.example.org, other")
    assert listening.rules(host).names == listening.LOOPBACK | {host, "panic.example.org", "other"}


def test_a_short_password_is_refused_and_not_shown(unset):
    unset.setenv("PANIC_WEB_PASSWORD", "short")
    with pytest.raises(UserError, match=r"^PANIC_WEB_PASSWORD has fewer than 12 characters; choose a longer one$"):
        listening.rules("127.0.0.1")


def test_a_port_in_use_is_one_sentence():
    with listening.listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(UserError, match=f"cannot listen on 127.0.0.1 port {port}: .*; choose another --port"):
            listening.listen("127.0.0.1", port)
    with pytest.raises(UserError, match="cannot listen on"):
        listening.listen("127.0.0.1", 99_999)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:3000"),
        ("::1", "http://[::1]:3000"),
        ("0.0.0.0", "http://localhost:3000"),
        ("panic.example.org", "http://panic.example.org:3000"),
    ],
)
def test_the_address_that_is_shown_is_one_that_the_door_knows(unset, host, address):
    unset.setenv("PANIC_WEB_PASSWORD", PASSWORD)
    assert listening.url(host, 3000) == address
    assert name_of(address.removeprefix("http://")) in listening.rules(host).names


SERVER = """
from starlette.responses import Response
from panic_assets import ending
from panic_assets.web import listening

ending.end_when_told()
with listening.listen("127.0.0.1", 0) as listens:
    print(listens.getsockname()[1], flush=True)
    try:
        listening.run(Response("here"), listens)
    except KeyboardInterrupt:
        print("told", flush=True)
print("goes on", flush=True)
"""


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_a_server_ends_when_told_although_its_parent_ignored_ctrl_c(told):
    with subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    ) as server:
        assert server.stdout is not None
        with urllib.request.urlopen(f"http://127.0.0.1:{int(server.stdout.readline())}", timeout=300) as answer:
            assert answer.read() == b"here"
        server.send_signal(told)
        assert server.wait(300) == 0
        assert server.stdout.read().endswith("goes on\n")
