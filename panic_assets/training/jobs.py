"""Operations on training runs from the Dagster UI."""

import dagster as dg

from panic_assets.errors import UserError
from panic_assets.house import open_house
from panic_assets.training import removal
from panic_assets.training.lineage import OnDelete


class DeleteRunConfig(dg.Config):
    """Which run; and whether one that others started from leaves a tombstone instead of being refused."""

    name: str
    tombstone: bool = False


@dg.op
def delete_training_run_op(context: dg.OpExecutionContext, config: DeleteRunConfig) -> None:
    """Delete a run along the asset graph, with the files that were trained here."""
    try:
        mode: OnDelete = "tombstone" if config.tombstone else "block"
        done = removal.delete(open_house(context.instance), config.name, mode, spare=(context.run_id,))
    except UserError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    context.log.info(f"deleted {done.key}: {done.rows:,} rows")


@dg.job(description="Delete a training run and everything made from it; refused while other runs started from it.")
def delete_training_run() -> None:
    delete_training_run_op()


JOBS = [delete_training_run]
