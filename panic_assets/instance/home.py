"""Opens our Dagster instance: its folder, its dagster.yaml, its environment and the limits of its pools."""

import os
from pathlib import Path

from dagster import DagsterInstance

from panic_assets import variables
from panic_assets.compute.gpus import visible_gpus
from panic_assets.errors import UserError
from panic_assets.lake.files import write_text
from panic_assets.settings import Home

DAGSTER_YAML, WORKSPACE_YAML = (Path(__file__).with_name(f"{name}.yaml") for name in ("dagster", "workspace"))
"""The originals. Those at the top of the checkout are copies, for stock commands and the images (a test compares)."""

GPU_POOL = "gpu"
"""The pool of every step that may use a GPU."""


def prepare(home: Home) -> None:
    """Makes `home` the Dagster home of this process and its children, with our dagster.yaml in it.

    The file is swapped in as a whole, so that processes which start at the same moment read all of it.
    """
    try:
        home.dagster.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"PANIC_HOME is {home.root}, which cannot be created: {error.strerror}; choose another folder"
        ) from None
    target, text = home.dagster / "dagster.yaml", DAGSTER_YAML.read_text(encoding="utf-8")
    if not target.exists() or target.read_text(encoding="utf-8") != text:
        write_text(target, text)
    os.environ["PANIC_HOME"] = str(home.root)
    os.environ["DAGSTER_HOME"] = str(home.dagster)
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "yes"
    if variables.read().postgres_url:
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "500")


def open_instance(home: Home) -> DagsterInstance:
    """The instance of `home`, with its pool limits as the environment wants them. Close it: it is a context manager."""
    prepare(home)
    instance = DagsterInstance.from_config(str(home.dagster))
    set_pool_limits(instance)
    return instance


def set_pool_limits(instance: DagsterInstance) -> None:
    """Limits the pool `gpu` to the GPUs there are. Without any, one step at a time shares the processors."""
    limit = max(1, len(visible_gpus()))
    known = {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits() if not pool.from_default}
    if known.get(GPU_POOL) != limit:
        instance.event_log_storage.set_concurrency_slots(GPU_POOL, limit)
