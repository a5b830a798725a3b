"""A partition key deleted in Dagster, by its delete button or its API: what becomes of the rest."""

import dagster as dg

from panic_assets.house import open_house
from panic_assets.operations import deletion
from panic_assets.workloads import SPACES


def key_deleted(instance: dg.DagsterInstance, space: str, key: str) -> None:
    """Do the rest, in the way of the workload whose key it was."""
    if space in SPACES:  # Under the keys of any other space, nothing is stored.
        finish = SPACES[space].delete or deletion.key_deleted
        finish(open_house(instance), space, key)
