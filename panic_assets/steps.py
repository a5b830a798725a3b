"""What every step of the graph does around its work: be the only one, say what went wrong, be tried again."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
import duckdb

from panic_assets.compute.protocol import Needs
from panic_assets.compute.tags import DEVICE, op_tags
from panic_assets.errors import UserError
from panic_assets.executors import executor_name
from panic_assets.lake.lease import LeaseHeld
from panic_assets.lake.resource import LakeResource

OWNERS = ["team:panic"]
WAIT_SECONDS = 30.0
"""How long a step waits for another process that works on the same thing, before it gives up and is tried again,
unless it is known that the other may take longer."""
RETRIES = 2
BACKOFF_SECONDS = 5.0


def on(needs: Needs) -> dict[str, Any]:
    """What an asset with these needs is declared with: a tag for people, and what the executor must be told."""
    return {"tags": {DEVICE: needs.device}, "op_tags": op_tags(needs, executor_name())}


CPU = Needs()
GPU = Needs(device="gpu", gpus=1.0, memory_gb=16.0)


@contextmanager
def working_on(
    context: dg.AssetExecutionContext, lake: LakeResource, what: str, wait_seconds: float | None = None
) -> Iterator[None]:
    """Be the one process that works on `what`, after waiting for another to end; afterwards analysts see what it did.

    What a user did wrong fails at once, in one sentence. What may pass (files, memory, devices, dead workers) is
    tried again, twice, after 5 and 10 seconds; a mistake of ours is not. An interruption ends the run: under one of
    Dagster's own retry policies it would start the step again.
    """
    try:
        with lake.lake.lease(what, WAIT_SECONDS if wait_seconds is None else wait_seconds, context.log.info):
            try:
                yield
            finally:
                lake.refresh()
    except UserError as error:
        if isinstance(error, LeaseHeld) and context.retry_number < RETRIES:
            raise _again(context) from error
        raise dg.Failure(str(error), allow_retries=False) from error
    except (OSError, RuntimeError, duckdb.Error) as error:
        if context.retry_number < RETRIES:
            context.log.warning(f"failed, and is tried again: {error}")
            raise _again(context) from error
        raise


def _again(context: dg.AssetExecutionContext) -> dg.RetryRequested:
    return dg.RetryRequested(RETRIES, BACKOFF_SECONDS * 2**context.retry_number)
