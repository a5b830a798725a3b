"""Dagster's webserver behind our front door: `python -m panic_assets.instance.webserver`, here and in containers.

The stock command `dagster-webserver` has no door. DAGSTER_HOME names the instance.
"""

import argparse
import sys

from dagster import DagsterInstance, __version__
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._utils.log import configure_loggers
from dagster_webserver.webserver import DagsterWebserver
from starlette.routing import BaseRoute

from panic_assets import ending
from panic_assets.errors import UserError
from panic_assets.instance.storage import require_known_dagster
from panic_assets.web import files, listening
from panic_assets.web.door import FrontDoor

STATEMENT_MILLISECONDS, POOL_RECYCLE_SECONDS, POOL_OVERFLOW = 15_000, 3600, 20
"""Of PostgreSQL connections, as the stock command sets them."""
LIVE_MILLISECONDS = 2000
"""How often a page asks for news of assets, as in the stock command."""


class Webserver(DagsterWebserver):
    """Dagster's own, with our pages under `/panic/`."""

    def build_routes(self) -> list[BaseRoute]:
        """Ours come first: Dagster answers every address that nobody else does."""
        return [*files.ROUTES, *super().build_routes()]


def serve(host: str, port: int, workspace: str) -> None:
    """Serve until told to end."""
    require_known_dagster()
    rules = listening.rules(host)
    ending.end_when_told()
    configure_loggers(log_level="WARNING")
    with (
        listening.listen(host, port) as listens,
        DagsterInstance.get() as instance,
    ):
        instance.optimize_for_webserver(STATEMENT_MILLISECONDS, POOL_RECYCLE_SECONDS, POOL_OVERFLOW)
        with WorkspaceProcessContext(
            instance, WorkspaceFileTarget([workspace]), version=__version__, code_server_log_level="WARNING"
        ) as context:
            app = Webserver(context, live_data_poll_rate=LIVE_MILLISECONDS).create_asgi_app()
            listening.run(FrontDoor(app, rules), listens)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m panic_assets.instance.webserver", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=3000, help="port to listen on")
    parser.add_argument("--workspace", required=True, help="the workspace.yaml that names the code location")
    parser.add_argument("--parent", type=int, help="end with this process, which started this one")
    given = parser.parse_args()
    if given.parent:
        ending.follow(given.parent, given.parent)
    try:
        serve(given.host, given.port, given.workspace)
    except UserError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
