"""Finishes the deletion of a partition key that was deleted in Dagster, by its delete button or its API."""

import dagster as dg

from panic_assets.house import open_house
from panic_assets.operations import deletion
from panic_assets.workloads import SPACES


def key_deleted(instance: dg.DagsterInstance, space: str, key: str) -> None:
    """Delete the rest, as the workload of the key does it."""
    own = SPACES[space].delete if space in SPACES else None
    if own is not None:
        own(open_house(instance), space, key)
    else:
        deletion.key_deleted(open_house(instance), space, key)
