"""Operations from the Dagster UI: delete and restore an experiment, repair what the doctor finds."""

import dagster as dg

from panic_assets.doctor import doctor
from panic_assets.errors import UserError
from panic_assets.lake.resource import LakeResource
from panic_assets.operations import deletion


class DeleteConfig(dg.Config):
    """Which experiment, and how."""

    name: str
    dry_run: bool = False
    purge: bool = False


class RestoreConfig(dg.Config):
    """Which experiment."""

    name: str


@dg.op(name="delete_experiment_op")
def delete(context: dg.OpExecutionContext, config: DeleteConfig) -> None:
    """Print what goes, by asset, rows and bytes; then delete it along the graph, unless `dry_run`."""
    try:
        planned = deletion.plan(context.instance, "experiment", config.name, config.purge)
        for entry in planned.entries:
            if entry.rows or entry.rebuild:
                fate = f"rebuilds {', '.join(entry.rebuild)}" if entry.rebuild else f"{entry.bytes:,} bytes"
                context.log.info(f"{entry.asset}: {entry.rows:,} rows, {fate}")
        if not config.dry_run:
            deletion.run(context.instance, planned, spare=[context.run_id])
    except UserError as error:
        raise dg.Failure(str(error), allow_retries=False) from error


@dg.op(name="restore_experiment_op")
def restore(context: dg.OpExecutionContext, config: RestoreConfig) -> None:
    """Bring a deleted experiment back."""
    try:
        done = deletion.restore(context.instance, "experiment", config.name)
    except UserError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    context.log.info(f"{done.rows:,} rows restored")


@dg.op(name="repair_op")
def repair(context: dg.OpExecutionContext, lake: LakeResource) -> None:
    """Remove what is provably wrong. What is then missing is asked for by the orphan sensor, or `panic doctor --fix`."""
    found = doctor.examine(lake.lake, context.instance)
    for finding in found:
        context.log.warning(str(finding))
    for done in doctor.repair(lake.lake, context.instance, found):
        context.log.info(done)
    lake.refresh()


@dg.job(description="Delete an experiment and everything made from it, along the asset graph.")
def delete_experiment() -> None:
    delete()


@dg.job(description="Bring back an experiment that was deleted less than PANIC_TRASH_DAYS (7) days ago.")
def restore_experiment() -> None:
    restore()


@dg.job(name="repair", description="Remove what is provably wrong, as `panic doctor --fix` does.")
def repair_job() -> None:
    repair()


JOBS = [delete_experiment, restore_experiment, repair_job]
