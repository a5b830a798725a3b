"""Asset checks: the schemas' rules, the workload's own, and that nothing is missing; partition by partition."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from panic_assets.lake import invariants as schema_rules
from panic_assets.lake.resource import LakeResource
from panic_assets.partitions import EMBEDDING_MODEL
from panic_assets.trajectories import analyses, assets, missing, rules

ALSO = {"invocations": ("runs",)}
"""Tables of another asset that a stage changes: the walk says how each run ended."""

STALE = "stale: experiments were added, changed or removed since; materialise it to pool them again"


def _specs(asset: dg.AssetsDefinition) -> list[dg.AssetCheckSpec]:
    name = asset.key.to_user_string()
    specs = [
        dg.AssetCheckSpec(
            f"{table}_valid",
            asset=asset,
            partitions_def=asset.partitions_def,
            description=f"Every rule of the table {table} holds: types, nulls, finite numbers, keys, references.",
        )
        for table in (*asset.metadata_by_key[asset.key]["tables"], *ALSO.get(name, ()))
    ]
    if name in missing.STAGES:
        specs.append(
            dg.AssetCheckSpec(
                "complete",
                asset=asset,
                partitions_def=asset.partitions_def,
                description="They pool what there is now." if name == "clusters" else "Nothing is missing.",
            )
        )
    return specs


def _checks_of(asset: dg.AssetsDefinition) -> dg.AssetChecksDefinition:
    name = asset.key.to_user_string()
    assert asset.partitions_def is not None
    space = "embedding_model" if asset.partitions_def == EMBEDDING_MODEL else "experiment"

    @dg.multi_asset_check(name=f"{name}_checks", specs=_specs(asset), can_subset=True)
    def checks(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> Iterator[dg.AssetCheckResult]:
        key = context.partition_key
        for check in sorted(context.selected_asset_check_keys, key=lambda k: k.name):
            if check.name == "complete":
                yield _complete(lake, name, key, check)
            else:
                yield result(check, _found(lake, check, **{space: key}))

    return checks


def _found(lake: LakeResource, check: dg.AssetCheckKey, **where: str) -> list[schema_rules.Finding]:
    return rules.all_findings(lake.lake, check.name.removesuffix("_valid"), **where)


def of_experiment(lake: LakeResource, name: str) -> Iterator[dg.AssetCheckEvaluation]:
    """The rules of the tables of `experiments`, for whoever enters one outside of a run of the asset."""
    for spec in _specs(assets.experiments):
        told = result(spec.key, _found(lake, spec.key, experiment=name))
        yield dg.AssetCheckEvaluation(
            asset_key=spec.key.asset_key,
            check_name=spec.name,
            passed=told.passed,
            severity=told.severity,
            description=told.description,
            metadata=told.metadata,
            partition=name,
        )


def result(check: dg.AssetCheckKey, found: Sequence[schema_rules.Finding]) -> dg.AssetCheckResult:
    """Findings as a check result."""
    return dg.AssetCheckResult(
        asset_key=check.asset_key,
        check_name=check.name,
        passed=not found,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(map(str, found)) or None,
        metadata={"findings": sum(f.count for f in found)},
    )


def _complete(lake: LakeResource, stage: str, key: str, check: dg.AssetCheckKey) -> dg.AssetCheckResult:
    rows = [
        m
        for m in missing.missing(lake.lake, stage, None if stage == "clusters" else key)
        if key in (m.experiment, m.embedding_model)
    ]
    left = [m for m in rows if m.count]
    metadata: dict[str, Any] = {"missing": sum(m.count for m in left), "wanted": sum(m.total for m in rows)}
    if stage == "clusters":
        sentence = STALE
    else:
        sentence = "; ".join(f"{m.count:,} of {m.total:,} {m.unit} missing {m.embedding_model or ''}" for m in left)
    return dg.AssetCheckResult(
        asset_key=check.asset_key,
        check_name=check.name,
        passed=not left,
        severity=dg.AssetCheckSeverity.WARN,
        description=sentence if left else None,
        metadata=metadata,
    )


CHECKS = [
    _checks_of(asset)
    for asset in (
        assets.experiments,
        assets.invocations,
        assets.embeddings,
        assets.persistence_diagrams,
        assets.clusters,
        analyses.dynamics,
        analyses.topology,
        analyses.layouts,
        analyses.statistics,
        analyses.symbolic_dynamics,
        analyses.cluster_stability,
        analyses.cluster_layers,
    )
]
