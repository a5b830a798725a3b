"""Who may pass the front door, decided by the request alone. `end_to_end/test_front_door.py` sends real requests."""

import asyncio
import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panic_assets.web import door, listening
from panic_assets.web.door import FrontDoor, Login, Rules

RULES = Rules(listening.LOOPBACK | {"panic.example.org"}, largest=1000)
PASSWORD = "correct horse battery"
POST = {"host": "localhost:3000", "content-type": "application/json", "content-length": "10"}
WEBSOCKET = {"host": "localhost:3000", "upgrade": "websocket"}


def asked(headers, method="POST", path="/graphql", query="", kind="http", rules=RULES):
    """The status that refuses the request, or None."""
    pairs = headers if isinstance(headers, list) else list(headers.items())
    found = door.refusal(rules, kind, method, path, query, pairs)
    return found.status if found else None


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:3000",
        "127.0.0.1:80",
        "[::1]:3000",
        "LOCALHOST",
        "panic.example.org",
        "panic.example.org:443",
    ],
)
def test_known_hosts_pass(host):
    assert asked({"host": host}, "GET", "/") is None
    assert asked({**POST, "host": host}) is None


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "localhost.evil.example", "localhost:3000@evil", "evil.example#localhost", "localhost:x", "[::1",
     "::1", "localhost ", "localhost\u0131", "127.0.0.2", "a/localhost"],
)  # fmt: skip
def test_other_hosts_do_not(host):
    for path in ("/", "/graphql", "/server_info"):
        assert asked({"host": host}, "GET", path) == 421
    assert asked({**POST, "host": host}) == 421
    assert asked({**WEBSOCKET, "host": host}, "GET", kind="websocket") == 421
    assert asked({}, "GET", "/") == 421


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:3000", "http://localhost:3000"),
        ("panic.example.org", "https://panic.example.org"),
        ("panic.example.org:443", "https://panic.example.org"),
        ("panic.example.org", "http://panic.example.org:80"),
        ("[::1]:3000", "http://[::1]:3000"),
    ],
)
def test_its_own_pages_may_do_everything(host, origin):
    assert asked({**POST, "host": host, "origin": origin, "sec-fetch-site": "same-origin"}) is None
    assert asked({**WEBSOCKET, "host": host, "origin": origin}, "GET", kind="websocket") is None


@pytest.mark.parametrize(
    "said",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://localhost:8888"},
        {"origin": "http://localhost"},
        {"origin": "http://127.0.0.1:3000"},
        {"origin": "file://"},
        {"origin": "http://localhost:3000@evil.example"},
        {"origin": "ftp://localhost:3000"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_pages_of_others_may_change_nothing(said):
    for method in ("POST", "PUT", "PATCH", "DELETE", "TRACE", "post"):
        assert asked({**POST, **said}, method) == 403
    assert asked({**WEBSOCKET, **said}, "GET", kind="websocket") == 403


def test_a_link_on_another_page_may_be_followed():
    assert asked({"host": "localhost:3000", "sec-fetch-site": "cross-site"}, "GET", "/assets") is None


def test_programs_that_are_no_browsers_say_no_origin():
    assert asked(POST) is None
    assert asked(WEBSOCKET, "GET", kind="websocket") is None


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("path", ["/graphql", "/graphql/", "/prefix/graphql"])
def test_graphql_is_not_in_an_address(method, path):
    assert asked({"host": "localhost"}, method, path, "query=mutation%7Ba%7D") == 405
    assert asked({"host": "localhost"}, method, path) is None


@pytest.mark.parametrize(
    "kind",
    ["", "text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "application/graphql",
     "text/plain; application/json", "application/jsonx"],
)  # fmt: skip
def test_bodies_are_json(kind):
    assert asked({**POST, "content-type": kind}) == 415
    assert asked({name: value for name, value in POST.items() if name != "content-type"}) == 415
    assert asked({**POST, "content-type": "Application/JSON; charset=utf-8"}) is None


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ({"content-length": "1000"}, None),
        ({"content-length": "1001"}, 413),
        ({"content-length": "9" * 5000}, 413),
        ({"content-length": "abc"}, 411),
        ({"content-length": "-1"}, 411),
        ({"content-length": "\u0661"}, 411),
        ({"content-length": ""}, 411),
        ({"transfer-encoding": "chunked"}, 411),
    ],
)
def test_bodies_have_a_size_and_a_limit(told, status):
    assert asked({**POST, **told}) == status


@pytest.mark.parametrize("name", ["host", "origin", "content-type", "content-length", "authorization"])
def test_what_decides_is_said_once(name):
    assert asked([*POST.items(), (name, "x"), (name, "x")]) == 400


def basic(password, user="me"):
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


LOCKED = Rules(listening.LOOPBACK, Login(PASSWORD))


@pytest.mark.parametrize(
    "told",
    [{}, basic(""), basic("wrong"), basic(PASSWORD + "x"), {"authorization": f"Bearer {PASSWORD}"},
     {"authorization": "Basic ???"}, {"authorization": "Basic /w=="}, {"x-forwarded-user": "me"}],
)  # fmt: skip
def test_without_the_password_nobody_enters(told):
    for path in ("/", "/graphql", "/panic/files/reports/a.html", "/server_info/", "/server_info/x"):
        assert asked({"host": "localhost", **told}, "GET", path, rules=LOCKED) == 401
    assert asked({**POST, **told}, rules=LOCKED) == 401
    assert asked({**WEBSOCKET, **told}, "GET", kind="websocket", rules=LOCKED) == 401
    assert asked({"host": "localhost", **told}, "GET", "/server_info", rules=LOCKED) is None, "a health check"


@given(st.text(min_size=1))
def test_with_any_password_its_owner_enters(password):
    rules = Rules(listening.LOOPBACK, Login(password))
    assert asked({**POST, **basic(password)}, rules=rules) is None
    assert asked({**POST, **basic(password + "x")}, rules=rules) == 401


def test_a_password_does_not_help_a_page_of_another_site():
    assert asked({**POST, **basic(PASSWORD), "origin": "http://evil.example"}, rules=LOCKED) == 403


def test_a_proxy_may_sign_people_in():
    rules = Rules(listening.LOOPBACK, Login(user_header="X-Forwarded-User"))
    assert asked({**POST, "x-forwarded-user": "ann"}, rules=rules) is None
    for told in ({}, {"x-forwarded-user": " "}, basic("")):
        assert asked({**POST, **told}, rules=rules) == 401
    twice = [*POST.items(), ("x-forwarded-user", "ann"), ("x-forwarded-user", "bob")]
    assert asked(twice, rules=rules) == 400


def test_what_is_refused_does_not_reach_the_server_and_is_told_why():
    """Through the middleware itself, for a server that fails when it is asked."""

    async def server(scope, receive, send):
        raise AssertionError(scope)

    async def send(message):
        sent.append(message)

    sent: list = []
    headers = [(b"Host", b"evil.example")]
    for scope in (
        {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers},
        {"type": "websocket", "path": "/graphql", "query_string": b"", "headers": headers},
    ):
        asyncio.run(FrontDoor(server, RULES)(scope, None, send))
    start, body, closed = sent
    assert start["status"] == 421
    assert (b"x-frame-options", b"SAMEORIGIN") in start["headers"]
    assert body["body"].startswith(b'{"error":"The host \'evil.example\' is not known here.')
    assert closed["type"] == "websocket.close"
