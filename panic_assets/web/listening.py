"""How a server of ours listens: under which rules, on which address, and until somebody ends it."""

import ipaddress
import socket

import uvicorn
from starlette.types import ASGIApp

from panic_assets import variables
from panic_assets.errors import UserError
from panic_assets.web import door

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
EVERYWHERE = frozenset({"", "0.0.0.0", "::"})
SHORTEST = 12
"""Characters of a password: nothing slows down whoever guesses."""
_WAITING = 2048
"""Connections that may wait to be accepted."""


def rules(host: str, largest: int = door.LARGEST) -> door.Rules:
    """The rules of a server that listens on `host`; UserError when others could reach it without a login."""
    given = variables.read()
    password = given.web_password.get_secret_value() if given.web_password else None
    if password is not None and len(password) < SHORTEST:
        raise UserError(f"PANIC_WEB_PASSWORD has fewer than {SHORTEST} characters; choose a longer one")
    login = door.Login(password, given.web_user_header)
    if not login and not is_loopback(host):
        raise UserError(
            f"{host or 'every address'} can be reached from other machines, and nobody would have to sign in; set "
            "PANIC_WEB_PASSWORD, or PANIC_WEB_USER_HEADER behind a proxy that signs people in"
        )
    listed = {name.lower() for name in given.web_names.replace(",", " ").split()}
    return door.Rules(LOOPBACK | listed | ({host.lower()} - EVERYWHERE), login, largest)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address. A name that is not `localhost` may mean any address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def url(host: str, port: int) -> str:
    """What to open in a browser on this machine."""
    name = "localhost" if host in EVERYWHERE else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}"


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on the address; port 0 takes any free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_WAITING)
    except (OSError, OverflowError) as error:
        raise UserError(f"cannot listen on {host} port {port}: {error}; choose another --port or --host") from None


def configured(app: ASGIApp) -> uvicorn.Config:
    """How uvicorn serves an app of ours."""
    # No lifespan: nothing of ours begins or ends with the server, and a signal would end it with a traceback. No proxy's
    # headers: who asks from where decides nothing here.
    return uvicorn.Config(
        app, log_level="warning", lifespan="off", server_header=False, proxy_headers=False, timeout_graceful_shutdown=5
    )


def run(app: ASGIApp, listening: socket.socket) -> None:
    """Serves until SIGINT or SIGTERM; uvicorn then raises that signal again, for its old handler."""
    uvicorn.Server(configured(app)).run([listening])
