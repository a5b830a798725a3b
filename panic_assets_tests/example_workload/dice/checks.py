"""The workload's own check, besides those that every asset gets from its tables and its missing-work query."""

import dagster as dg

from dice import stages
from dice.assets import dice_rolls
from panic_assets.resources import LakeResource


@dg.asset_check(
    asset=dice_rolls,
    partitions_def=dice_rolls.partitions_def,
    description="Each side comes up about equally often: its share lies within four standard deviations.",
)
def dice_are_fair(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
    """Compares the share of every side with that of a fair die."""
    game = stages.registered(lake.lake, context.partition_key)
    shown = lake.lake.sql("SELECT shown FROM dice_rolls", game=game.game)["shown"].to_numpy()
    odd = stages.unlikely(shown, game.sides) if len(shown) else []
    said = f"these sides come up too often or too rarely: {', '.join(map(str, odd))}" if odd else None
    return dg.AssetCheckResult(passed=not odd, severity=dg.AssetCheckSeverity.WARN, description=said)


CHECKS = [dice_are_fair]
