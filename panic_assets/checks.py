"""Asset checks that every workload gets from its schemas, its rules and its missing-work queries.

For every table of an asset: every rule of the table holds. For every asset with a missing-work query: nothing is missing.
"""

from collections.abc import Iterator, Sequence

import dagster as dg

from panic_assets.lake.invariants import Finding, all_findings
from panic_assets.lake.lake import Lake
from panic_assets.resources import LakeResource
from panic_assets.steps import checked_tables, place
from panic_assets.workload import Missing, Query
from panic_assets.workloads import RULES, SPACES

VALID = "_valid"
COMPLETE = "complete"


def queries() -> dict[str, Query]:
    """Asset -> its missing-work query."""
    return {asset: query for space in SPACES.values() for asset, query in space.missing.items()}


def checks_of(asset: dg.AssetsDefinition) -> dg.AssetChecksDefinition:
    """The checks of an asset."""
    name = asset.key.to_user_string()
    query = queries().get(name)
    specs = _specs(asset)
    if query is not None:
        specs.append(
            dg.AssetCheckSpec(
                COMPLETE,
                asset=asset,
                partitions_def=asset.partitions_def,
                description="Nothing is missing from this partition of the asset, and it was made from the current rows of "
                "the assets that it depends on.",
            )
        )

    @dg.multi_asset_check(name=f"{name}_checks", specs=specs, can_subset=True)
    def checks(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> Iterator[dg.AssetCheckResult]:
        key = context.partition_key
        for check in sorted(context.selected_asset_check_keys, key=lambda k: k.name):
            if check.name == COMPLETE:
                assert query is not None
                yield _complete(check, [m for m in query(lake.lake, key) if m.total])
            else:
                yield result(check, _findings(asset, lake.lake, check.name, key))

    return checks


def table_findings(asset: dg.AssetsDefinition, lake: Lake, key: str) -> Iterator[dg.AssetCheckEvaluation]:
    """The results of a partition's table checks, for code that writes the partition outside of a run of the asset."""
    for spec in _specs(asset):
        told = result(spec.key, _findings(asset, lake, spec.name, key))
        yield evaluation(spec.key, told, key)


def evaluation(
    check: dg.AssetCheckKey, told: dg.AssetCheckResult, partition: str | None = None
) -> dg.AssetCheckEvaluation:
    """A result as an event, for code that reports it outside of a run."""
    return dg.AssetCheckEvaluation(
        asset_key=check.asset_key,
        check_name=check.name,
        passed=told.passed,
        severity=told.severity,
        description=told.description,
        metadata=told.metadata,
        partition=partition,
    )


def result(check: dg.AssetCheckKey, found: Sequence[Finding]) -> dg.AssetCheckResult:
    """Findings as a check result."""
    return dg.AssetCheckResult(
        asset_key=check.asset_key,
        check_name=check.name,
        passed=not found,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(map(str, found)) or None,
        metadata={"findings": sum(f.count for f in found)},
    )


def _specs(asset: dg.AssetsDefinition) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(
            f"{table}{VALID}",
            asset=asset,
            partitions_def=asset.partitions_def,
            description=f"Every row of table {table} keeps its rules: types, nulls, finite numbers, unique keys, and "
            "references to other rows.",
        )
        for table in checked_tables(asset)
    ]


def _findings(asset: dg.AssetsDefinition, lake: Lake, check: str, key: str) -> list[Finding]:
    table = lake.tables[check.removesuffix(VALID)]
    return all_findings(lake, RULES, table.name, **place(table, key))


def _complete(check: dg.AssetCheckKey, asked: Sequence[Missing]) -> dg.AssetCheckResult:
    left = [m for m in asked if m.count]
    return dg.AssetCheckResult(
        asset_key=check.asset_key,
        check_name=check.name,
        passed=not left,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(map(str, left)) or None,
        metadata={"missing": sum(m.count for m in left), "total": sum(m.total for m in asked)},
    )
