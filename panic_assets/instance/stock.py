"""What is lost on Dagster's own instance and storage, said once."""

import dagster as dg

from panic_assets.instance.instance import PanicInstance
from panic_assets.instance.wiping import DeletesPartitions

SAID = "panic_said_that_deletions_do_not_cascade"
"""Kept among the daemon's cursors, where it lives as long as the keys."""


def warn_once(instance: dg.DagsterInstance) -> None:
    """Where deleting a key would leave its rows behind, say so when the first key is made."""
    if isinstance(instance, PanicInstance) and isinstance(instance.event_log_storage, DeletesPartitions):
        return
    cursors = instance.daemon_cursor_storage
    if SAID not in cursors.get_cursor_values({SAID}):
        cursors.set_cursor_values({SAID: "yes"})
        dg.get_dagster_logger().warning(
            "Dagster runs on its own storage here. A partition that is deleted in the web page leaves its rows in the "
            "lake, and so does everything made from it; `panic experiment delete` removes them. With our dagster.yaml "
            "in DAGSTER_HOME the web page removes them too."
        )
