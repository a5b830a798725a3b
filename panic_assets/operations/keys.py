"""A partition key deleted in Dagster, by its delete button or its API: what becomes of the rest."""

import dagster as dg

from panic_assets.house import open_house
from panic_assets.operations import deletion
from panic_assets.workloads import SPACES


def key_deleted(instance: dg.DagsterInstance, space: str, key: str) -> None:
    """Do the rest, in the way of the workload whose key it was."""
    own = SPACES[space].delete if space in SPACES else None
    if own is not None:
        own(open_house(instance), space, key)
    else:
        deletion.key_deleted(open_house(instance), space, key)
