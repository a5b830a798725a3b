"""Operations on training runs from the Dagster UI."""

import dagster as dg

from panic_assets.errors import UserError
from panic_assets.house import open_house
from panic_assets.training import removal
from panic_assets.training.lineage import OnDelete


class DeleteRunConfig(dg.Config):
    """The training run to delete. With `tombstone`, a run from which others started is deleted too: its name and lineage
    are kept. Without, it is refused."""

    name: str
    tombstone: bool = False


@dg.op
def delete_training_run_op(context: dg.OpExecutionContext, config: DeleteRunConfig) -> None:
    """Deletes a training run and everything made from it, with its files if it was trained here."""
    try:
        mode: OnDelete = "tombstone" if config.tombstone else "block"
        done = removal.delete(open_house(context.instance), config.name, mode, spare=(context.run_id,))
    except UserError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    context.log.info(f"deleted training run {done.key}: {done.rows:,} rows")


@dg.job(description="Deletes a training run and everything made from it. Refuses a run from which other runs started.")
def delete_training_run() -> None:
    delete_training_run_op()


JOBS = [delete_training_run]
