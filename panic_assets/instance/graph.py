"""What depends on a partition: walks the asset graph downstream through the partition mappings.

The only place that touches Dagster's `AssetGraphView`. Nothing here writes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dagster import (
    AssetKey,
    AssetsDefinition,
    DagsterInstance,
    Definitions,
    DynamicPartitionsDefinition,
    MultiPartitionsDefinition,
    PartitionsDefinition,
)
from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView, TemporalContext
from dagster._core.asset_graph_view.entity_subset import EntitySubset
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.definitions.partitions.utils import MultiPartitionKey
from dagster._time import get_current_datetime

Graph = Definitions | BaseAssetGraph


@dataclass(frozen=True)
class Step:
    """What a deletion does to one asset. An unpartitioned asset has no keys and is rebuilt as a whole."""

    asset_key: AssetKey
    delete: tuple[str, ...] = ()
    rebuild: tuple[str, ...] = ()
    partitioned: bool = True


@dataclass(frozen=True)
class Plan:
    """What a deletion does, asset by asset: leaves first, the asset it starts from last."""

    steps: tuple[Step, ...]

    @property
    def deletions(self) -> Iterator[tuple[AssetKey, tuple[str, ...]]]:
        """Assets and the partitions to delete, leaves first."""
        return ((step.asset_key, step.delete) for step in self.steps if step.delete)

    @property
    def rebuilds(self) -> Iterator[tuple[AssetKey, tuple[str, ...]]]:
        """Assets and the partitions to rebuild (none: the asset is unpartitioned), in the order to build them."""
        steps = (step for step in reversed(self.steps) if step.rebuild or not step.partitioned)
        return ((step.asset_key, step.rebuild) for step in steps)


def graph_of(assets: Iterable[AssetsDefinition]) -> AssetGraph:
    """The graph that assets make, without the resources that `Definitions` would ask for to run them."""
    return AssetGraph.from_assets(assets)


def downstream(graph: Graph, instance: DagsterInstance, asset_key: AssetKey, partition_keys: Sequence[str]) -> Plan:
    """What deleting these partitions of one asset does to it and to everything downstream.

    A downstream partition is deleted if one of its parent partitions is deleted and none survives; else it is rebuilt.
    Unpartitioned parents have no partition, so they keep nothing alive; unpartitioned assets are rebuilt.
    The keys need not exist any more. Existence is by key: whether a survivor was ever materialised is not asked.
    """
    return _plan(_asset_graph(graph), instance, {asset_key: partition_keys}, {})


def key_deletion(
    graph: Graph, instance: DagsterInstance, partitions_def_name: str, partition_keys: Sequence[str]
) -> Plan:
    """What deleting keys of a dynamic partitions definition does; asked before or after the keys are gone.

    Every partition that is named by one of the keys, alone or as a dimension, dies whatever its parents; what
    is downstream of them follows the rule of `downstream`.
    """
    return _plan(_asset_graph(graph), instance, {}, {partitions_def_name: frozenset(partition_keys)})


def stale_reasons(
    graph: Graph, instance: DagsterInstance, asset_key: AssetKey, partition_key: str | None = None
) -> tuple[str, ...]:
    """Why Dagster calls this asset partition stale, in its words; empty when it is fresh or was never made.

    Dagster does not see that a parent partition was deleted, and looks at no dependency of 100 partitions or more.
    """
    view = _view(_asset_graph(graph), instance)
    resolver = CachingStaleStatusResolver(instance, view.asset_graph, view)
    return tuple(str(cause.reason) for cause in resolver.get_stale_causes(asset_key, partition_key))


def _asset_graph(graph: Graph) -> BaseAssetGraph:
    return graph.resolve_asset_graph() if isinstance(graph, Definitions) else graph


def _view(graph: BaseAssetGraph, instance: DagsterInstance) -> AssetGraphView:
    now = TemporalContext(effective_dt=get_current_datetime(), last_event_id=None)
    return AssetGraphView(temporal_context=now, instance=instance, asset_graph=graph)


def _named(definition: PartitionsDefinition | None, deleted: Mapping[str, frozenset[str]]) -> tuple[str, ...]:
    """Partition keys of a definition that carry a deleted dynamic key, sorted."""
    if isinstance(definition, DynamicPartitionsDefinition):
        return tuple(sorted(deleted.get(definition.name or "", ())))
    if isinstance(definition, MultiPartitionsDefinition):
        named = {d.name: _named(d.partitions_def, deleted) for d in definition.partitions_defs}
        return tuple(
            sorted(
                {
                    str(MultiPartitionKey({dimension: key, other.name: value}))
                    for dimension, keys in named.items()
                    for other in definition.partitions_defs
                    if other.name != dimension
                    for key in keys
                    for value in {*other.partitions_def.get_partition_keys(), *named[other.name]}
                }
            )
        )
    return ()


def _plan(
    graph: BaseAssetGraph,
    instance: DagsterInstance,
    seeds: Mapping[AssetKey, Iterable[str]],
    deleted_keys: Mapping[str, frozenset[str]],
) -> Plan:
    """One pass over the assets in topological order; sets of partitions throughout, never one at a time."""
    view = _view(graph, instance)
    dead: dict[AssetKey, EntitySubset[AssetKey]] = {}
    rebuilt: dict[AssetKey, EntitySubset[AssetKey]] = {}
    steps = []
    with partition_loading_context(new_ctx=view.partition_loading_context):
        for key in graph.toposorted_asset_keys:
            node = graph.get(key)
            parents = [parent for parent in node.parent_keys if parent != key]
            if node.partitions_def is None:
                if any(parent in dead or parent in rebuilt for parent in parents):
                    rebuilt[key] = view.get_full_subset(key=key)
                    steps.append(Step(key, partitioned=False))
                continue
            doomed = view.get_subset_from_partition_keys(
                key, node.partitions_def, {*seeds.get(key, ()), *_named(node.partitions_def, deleted_keys)}
            )
            struck = alive = touched = view.get_empty_subset(key=key)
            for parent in parents:
                if parent in rebuilt:
                    touched = touched.compute_union(rebuilt[parent].compute_child_subset(key))
                if parent in dead:
                    struck = struck.compute_union(dead[parent].compute_child_subset(key))
            if not struck.is_empty:
                for parent in parents:
                    if graph.get(parent).partitions_def is not None:
                        survivors = view.get_full_subset(key=parent)
                        if parent in dead:
                            survivors = survivors.compute_difference(dead[parent])
                        if not survivors.is_empty:
                            alive = alive.compute_union(survivors.compute_child_subset(key))
            doomed = doomed.compute_union(struck.compute_difference(alive))
            again = struck.compute_union(touched).compute_difference(doomed)
            if not doomed.is_empty:
                dead[key] = doomed
            if not again.is_empty:
                rebuilt[key] = again
            if key in dead or key in rebuilt:
                steps.append(Step(key, _sorted(doomed), _sorted(again)))
    return Plan(tuple(reversed(steps)))


def _sorted(subset: EntitySubset[AssetKey]) -> tuple[str, ...]:
    return tuple(sorted(map(str, subset.expensively_compute_partition_keys())))
