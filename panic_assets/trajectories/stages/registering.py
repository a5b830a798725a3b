"""An experiment's definition and its runs enter the lake."""

from contextlib import AbstractContextManager
from datetime import UTC, datetime

from panic_assets.errors import UserError
from panic_assets.ids import uuid7
from panic_assets.lake.lake import Lake
from panic_assets.operations import operation
from panic_assets.trajectories import missing
from panic_assets.trajectories.config import Definition, extended


def register(lake: Lake, wanted: Definition) -> tuple[Definition, bool]:
    """Store a definition: (as it now stands, whether that is new). Refuses a name taken by a different one."""
    operation.refuse_unfinished(missing.LEASE.format(wanted.name))
    with _definition_lease(lake, wanted.name):
        old = missing.definition(lake, wanted.name)
        stands = extended(old, wanted) if old else wanted
        if stands == old:
            return stands, False
        created = (
            lake.sql("SELECT created_at FROM experiments", experiment=wanted.name)["created_at"][0].as_py()
            if old
            else datetime.now(UTC)
        )
        row = {
            "experiment": stands.name,
            "networks": ["-".join(n) for n in stands.networks],
            "prompts": list(stands.prompts),
            "seeds": [str(s) for s in stands.seeds],
            "embedding_models": list(stands.embedding_models),
            "max_length": stands.max_length,
            "image_size": stands.image_size,
            "image_format": stands.image_format,
            "definition": stands.json,
            "definition_hash": stands.fixed_hash,
            "created_at": created,
        }
        lake.replace("experiments", [row], experiment=stands.name)
        return stands, True


def registered(lake: Lake, name: str) -> Definition:
    """The definition of a registered experiment; a sentence when there is none."""
    found = missing.definition(lake, name)
    if found is None:
        raise UserError(
            f"experiment {name!r} has no definition; register it with `panic experiment add FILE`, by dropping a "
            "file into experiments/, or with the job register_experiment"
        )
    return found


def plan(lake: Lake, name: str) -> Definition:
    """Write the runs of an experiment down, with their ids, unless that was done before."""
    found = registered(lake, name)
    with _definition_lease(lake, name):  # Two who plan at once must not give the runs two sets of ids.
        if lake.manifest("runs", experiment=name) is None:
            rows = [{"run_id": uuid7(), **row} for row in missing.planned(found)]
            lake.replace("runs", rows, experiment=name)
    return found


def _definition_lease(lake: Lake, name: str) -> AbstractContextManager[None]:
    return lake.lease(f"definition of experiment {name}", wait_seconds=30)
