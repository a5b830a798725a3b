"""Asset checks of the fine-tunes family: the schemas' rules, nothing left to test, numbers of the pictures they name."""

import dagster as dg

from panic_assets.finetunes import assets, missing
from panic_assets.lake.resource import LakeResource
from panic_assets.partitions import TRAINING_RUN
from panic_assets.training.checks import table_checks


@dg.asset_check(
    asset=assets.image_metrics,
    partitions_def=TRAINING_RUN,
    description="Every cell that the run's depth asks for is drawn and measured by this version of the code.",
)
def tested(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
    """New and rewritten checkpoints count as missing."""
    left = missing.missing(lake.lake, context.partition_key)
    return dg.AssetCheckResult(
        passed=not any(left.values()),
        severity=dg.AssetCheckSeverity.WARN,
        description=", ".join(f"{n:,} {stage} missing" for stage, n in left.items() if n) or None,
        metadata=dict(left),
    )


@dg.asset_check(
    asset=assets.image_metrics,
    partitions_def=TRAINING_RUN,
    description="Every stored picture still has the content hash under which it was measured.",
)
def pictures_are_what_was_measured(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
    """Hashes every picture of the run again."""
    rows = lake.lake.sql(
        "SELECT count(*) AS n FROM test_images WHERE sha256(image) <> image_hash", training_run=context.partition_key
    ).to_pylist()
    return dg.AssetCheckResult(passed=rows[0]["n"] == 0, metadata={"changed": rows[0]["n"]})


ASSETS = (
    assets.prompt_suites,
    assets.test_images,
    assets.image_metrics,
    assets.finetune_summary,
    assets.finetune_reports,
    assets.ab_results,
)
CHECKS = [*(table_checks(asset) for asset in ASSETS), tested, pictures_are_what_was_measured]
