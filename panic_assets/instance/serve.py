"""Dagster's web page, daemon and code server as one process and its children: what `panic ui` starts.

`dagster dev` says at every start that it is superseded by `dg dev`, which comes in a package of its own. Both call this.
"""

import typer
from dagster._cli.dev import dev_command_impl
from dagster._cli.workspace.cli_target import WorkspaceOpts

from panic_assets.instance.home import WORKSPACE_YAML
from panic_assets.instance.storage import require_known_dagster


def serve(port: int, host: str) -> None:
    """Serve until interrupted. DAGSTER_HOME names the instance."""
    require_known_dagster()
    dev_command_impl(
        code_server_log_level="warning",
        log_level="warning",
        log_format="colored",
        port=str(port),
        host=host,
        use_legacy_code_server_behavior=False,
        shutdown_pipe=None,
        verbose=False,
        workspace_opts=WorkspaceOpts(workspace=[str(WORKSPACE_YAML)]),
    )


if __name__ == "__main__":
    typer.run(serve)
