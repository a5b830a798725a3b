"""An asset check of the grokking family, besides those that every asset and every family gets."""

from typing import TYPE_CHECKING

import dagster as dg

from panic_assets.asleep import asleep
from panic_assets.grokking.assets import SPINE
from panic_assets.grokking.config import FAMILY
from panic_assets.resources import LakeResource
from panic_assets.training.checks import spine_checks

if TYPE_CHECKING:
    from panic_assets.grokking import stages
else:
    stages = asleep("panic_assets.grokking.stages")


@dg.asset_check(
    asset=SPINE.checkpoints,
    partitions_def=SPINE.checkpoints.partitions_def,
    description="If the training run is a control, which changes nothing, its checkpoints equal those of its parent bit for "
    "bit. All other runs pass.",
)
def control_reproduces_parent(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
    """Compares content hashes with those of the parent."""
    differs = stages.control_differs(lake.lake, context.partition_key)
    epochs = ", ".join(map(str, (differs or [])[:10]))
    return dg.AssetCheckResult(
        passed=not differs,
        description=f"its checkpoints differ from those of its parent at epochs {epochs}" if differs else None,
    )


CHECKS = [*spine_checks(FAMILY, SPINE), control_reproduces_parent]
