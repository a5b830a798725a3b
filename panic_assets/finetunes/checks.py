"""An asset check of the fine-tunes family, besides those that every asset and every family gets."""

import dagster as dg

from panic_assets.finetunes.assets import SPINE, image_metrics
from panic_assets.finetunes.config import FAMILY
from panic_assets.resources import LakeResource
from panic_assets.training.checks import spine_checks


@dg.asset_check(
    asset=image_metrics,
    partitions_def=image_metrics.partitions_def,
    description="Every stored picture is still the one that was measured: its content has the same hash.",
)
def pictures_are_what_was_measured(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
    """Hashes every picture of the fine-tune again."""
    rows = lake.lake.sql(
        "SELECT count(*) AS n FROM test_images WHERE sha256(image) <> image_hash", training_run=context.partition_key
    ).to_pylist()
    return dg.AssetCheckResult(passed=rows[0]["n"] == 0, metadata={"changed": rows[0]["n"]})


CHECKS = [*spine_checks(FAMILY, SPINE), pictures_are_what_was_measured]
