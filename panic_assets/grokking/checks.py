"""Asset checks of the grokking family: the schemas' rules, nothing left to analyse, controls that are none."""

import dagster as dg

from panic_assets.grokking import assets, stages
from panic_assets.lake.resource import LakeResource
from panic_assets.partitions import TRAINING_RUN
from panic_assets.training import runs
from panic_assets.training.assets import checkpoints
from panic_assets.training.checks import table_checks


@dg.asset_check(
    asset=assets.grokking_measurements,
    partitions_def=TRAINING_RUN,
    description="Every current checkpoint of the run has been analysed by this version of the code.",
)
def complete(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
    """New and rewritten checkpoints count as missing, but not while more come in from training."""
    left = stages.unanalysed(lake.lake, context.partition_key)
    return dg.AssetCheckResult(
        passed=not left or runs.get(lake.lake, context.partition_key)["status"] == "training",
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(left):,} checkpoints are not analysed yet" if left else None,
        metadata={"missing": len(left)},
    )


@dg.asset_check(
    asset=checkpoints,
    partitions_def=TRAINING_RUN,
    description="A no-op control has, bit for bit, its parent's checkpoints.",
)
def control_reproduces_parent(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
    """Passes for runs that are no control."""
    differs = stages.control_differs(lake.lake, context.partition_key)
    epochs = ", ".join(map(str, (differs or [])[:10]))
    return dg.AssetCheckResult(passed=not differs, description=f"differs at epochs {epochs}" if differs else None)


ASSETS = (
    assets.grokking_training,
    assets.grokking_measurements,
    assets.grokking_frequencies,
    assets.grokking_trajectories,
    assets.grokking_outcomes,
    assets.renders,
)
CHECKS = [*(table_checks(asset) for asset in ASSETS), complete, control_reproduces_parent]
