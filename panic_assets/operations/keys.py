"""A partition key deleted in Dagster, by its delete button or its API: what becomes of the rest."""

import dagster as dg

from panic_assets.lake.lake import Lake
from panic_assets.operations import deletion
from panic_assets.settings import home
from panic_assets.training import registration, removal, runs


def key_deleted(instance: dg.DagsterInstance, space: str, key: str) -> None:
    """Do the rest. A button asks no questions, so a training run that others started from leaves a tombstone."""
    if space == registration.SPACE and runs.find(Lake(home().lake), key) is not None:
        removal.delete(instance, key, "tombstone")
    else:
        deletion.key_deleted(instance, space, key)
