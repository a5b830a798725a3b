"""Finishes the deletion of a partition key that was deleted in Dagster, by its delete button or its API."""

import dagster as dg

from panic_assets.house import open_house
from panic_assets.operations import deletion
from panic_assets.workloads import SPACES


def key_deleted(instance: dg.DagsterInstance, space: str, key: str) -> None:
    """Delete the rest, as the workload of the key does it."""
    if space in SPACES:  # Under the keys of any other space, nothing is stored.
        finish = SPACES[space].delete or deletion.key_deleted
        finish(open_house(instance), space, key)
