"""Asset checks of the training spine, besides those that every asset gets: target metrics, and lineage."""

from collections.abc import Iterable

import dagster as dg

from panic_assets.errors import UserError
from panic_assets.resources import LakeResource
from panic_assets.training import runs, settings
from panic_assets.training.assets import Spine
from panic_assets.workload import Family

SHOWN = ("state", "epoch", "best_epoch", "best_value", "last_value", "slope", "slope_low", "slope_high", "rule")


def target_metrics(family: Family) -> list[str]:
    """Metrics that the family aims at; from training.yaml where it can be read."""
    try:
        targets = settings.read().targets
    except UserError:
        targets = settings.default_targets()
    return sorted(targets.get(family.name, {}))


def convergence_states(family: Family, spine: Spine) -> dg.AssetChecksDefinition | None:
    """One check per target metric of the family; None where it has none."""
    metrics = target_metrics(family)
    if not metrics:
        return None

    @dg.multi_asset_check(
        name=f"{family.name}_convergence_states",
        specs=[
            dg.AssetCheckSpec(
                f"{metric}_state",
                asset=spine.convergence,
                partitions_def=spine.convergence.partitions_def,
                description=f"The state of {metric} is neither `degrading` nor `optimal`. If this fails, it is a warning "
                "and nothing acts on it.",
            )
            for metric in metrics
        ],
        can_subset=True,
    )
    def states(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> Iterable[dg.AssetCheckResult]:
        for check in sorted(context.selected_asset_check_keys, key=lambda k: k.name):
            rows = lake.lake.sql(
                "SELECT * FROM convergence WHERE metric = ? ORDER BY epoch DESC LIMIT 1",
                [check.name.removesuffix("_state")],
                training_run=context.partition_key,
            ).to_pylist()
            yield dg.AssetCheckResult(
                asset_key=check.asset_key,
                check_name=check.name,
                passed=not rows or rows[0]["state"] not in ("degrading", "optimal"),
                severity=dg.AssetCheckSeverity.WARN,
                description=f"{rows[0]['state']}: {rows[0]['reason']}"
                if rows
                else "it is not a target metric of this run",
                metadata={k: rows[0][k] for k in SHOWN if rows and rows[0][k] is not None},
            )

    return states


def lineage_whole(spine: Spine) -> dg.AssetChecksDefinition:
    """The UI deletes a parent without asking. This check shows it."""

    @dg.asset_check(
        asset=spine.training_runs,
        partitions_def=spine.training_runs.partitions_def,
        name="lineage_whole",
        description="Every ancestor of the training run is registered, or was deleted and left a tombstone, and the run "
        "does not descend from itself.",
    )
    def check(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
        try:
            ancestors = runs.lineage(lake.lake).ancestors(context.partition_key)
        except UserError as error:
            return dg.AssetCheckResult(passed=False, description=str(error))
        return dg.AssetCheckResult(passed=True, metadata={"ancestors": " < ".join(ancestors) or "none"})

    return check


def spine_checks(family: Family, spine: Spine) -> list[dg.AssetChecksDefinition]:
    """The checks of a family's spine."""
    states = convergence_states(family, spine)
    return [lineage_whole(spine), *([states] if states is not None else [])]
