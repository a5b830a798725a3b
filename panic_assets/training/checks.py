"""Asset checks of the training spine: the schemas' rules, the state of every target metric, lineage."""

from collections.abc import Iterable, Iterator

import dagster as dg

from panic_assets.errors import UserError
from panic_assets.lake import invariants
from panic_assets.lake.resource import LakeResource
from panic_assets.partitions import TRAINING_RUN
from panic_assets.training import assets, runs, settings
from panic_assets.trajectories.checks import result


def table_checks(asset: dg.AssetsDefinition) -> dg.AssetChecksDefinition:
    """One check a table that the asset writes: every rule of its schema holds for the run."""
    name = asset.key.to_user_string()
    specs = [
        dg.AssetCheckSpec(
            f"{table}_valid",
            asset=asset,
            partitions_def=TRAINING_RUN,
            description=f"Every rule of the table {table} holds: types, nulls, finite numbers, keys, references.",
        )
        for table in asset.metadata_by_key[asset.key]["tables"]
    ]

    @dg.multi_asset_check(name=f"{name}_checks", specs=specs, can_subset=True)
    def checks(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> Iterator[dg.AssetCheckResult]:
        for check in sorted(context.selected_asset_check_keys, key=lambda k: k.name):
            table = check.name.removesuffix("_valid")
            yield result(check, invariants.findings(lake.lake, table, training_run=context.partition_key))

    return checks


def _target_metrics() -> list[str]:
    """Metrics that some family aims at; from the settings where they can be read."""
    try:
        targets = settings.read().targets
    except UserError:
        targets = settings.TARGETS
    return sorted({metric for metrics in targets.values() for metric in metrics})


@dg.multi_asset_check(
    name="convergence_states",
    specs=[
        dg.AssetCheckSpec(
            f"{metric}_state",
            asset=assets.convergence,
            partitions_def=TRAINING_RUN,
            description=f"{metric} is not degrading and has not passed its best. A warning: advice, not action.",
        )
        for metric in _target_metrics()
    ],
    can_subset=True,
)
def convergence_states(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> Iterable[dg.AssetCheckResult]:
    """The state of each target metric of the run after its last epoch, with its evidence."""
    for check in sorted(context.selected_asset_check_keys, key=lambda k: k.name):
        rows = lake.lake.sql(
            "SELECT * FROM convergence WHERE metric = ? ORDER BY epoch DESC LIMIT 1",
            [check.name.removesuffix("_state")],
            training_run=context.partition_key,
        ).to_pylist()
        shown = ("state", "epoch", "best_epoch", "best_value", "last_value", "slope", "slope_low", "slope_high", "rule")
        yield dg.AssetCheckResult(
            asset_key=check.asset_key,
            check_name=check.name,
            passed=not rows or rows[0]["state"] not in ("degrading", "optimal"),
            severity=dg.AssetCheckSeverity.WARN,
            description=f"{rows[0]['state']}: {rows[0]['reason']}" if rows else "not a target of this run",
            metadata={k: rows[0][k] for k in shown if rows and rows[0][k] is not None},
        )


@dg.asset_check(
    asset=assets.training_runs,
    partitions_def=TRAINING_RUN,
    description="The run's ancestors are all there (or have left a tombstone), and it does not descend from itself.",
)
def lineage_whole(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
    """Deleting a parent in the UI does not ask; this says so."""
    try:
        ancestors = runs.lineage(lake.lake).ancestors(context.partition_key)
    except UserError as error:
        return dg.AssetCheckResult(passed=False, description=str(error))
    return dg.AssetCheckResult(passed=True, metadata={"ancestors": " < ".join(ancestors) or "none"})


ASSETS = (assets.training_runs, assets.checkpoints, assets.convergence, assets.costs, assets.notifications)
CHECKS = [*(table_checks(asset) for asset in ASSETS), convergence_states, lineage_whole]
