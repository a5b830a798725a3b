"""What a deletion takes with it, and what it leaves to be rebuilt."""

import itertools
import warnings

import dagster as dg
import pytest
from dagster import AssetKey, DagsterInstance
from hypothesis import given, settings
from hypothesis import strategies as st

from panic_assets.instance.graph import Plan, downstream, key_deletion, stale_reasons
from panic_assets_tests.instance import miniature


@pytest.fixture
def instance() -> DagsterInstance:
    instance = DagsterInstance.ephemeral()
    instance.add_dynamic_partitions("experiment", ["a", "b"])
    instance.add_dynamic_partitions("training_run", ["r1", "r2"])
    return instance


def _said(plan: Plan) -> dict[str, tuple[set[str], set[str]]]:
    """Asset -> (deleted, rebuilt); an unpartitioned asset that is rebuilt has the partition `*`."""
    return {
        step.asset_key.to_user_string(): (set(step.delete), set(step.rebuild) if step.partitioned else {"*"})
        for step in plan.steps
    }


BOTH_MODELS = {"MiniLM", "Nomic"}


@pytest.mark.parametrize("gone", [False, True], ids=["before", "after"])
def test_one_experiment_of_two(instance, gone):
    """Asked before or after the key is gone, the answer is the same."""
    if gone:
        instance.delete_dynamic_partition("experiment", "a")
    assert _said(key_deletion(miniature.defs, instance, "experiment", ["a"])) == {
        "experiments": ({"a"}, set()),
        "invocations": ({"a"}, set()),
        "slow": ({"a"}, set()),
        "clusters": (set(), BOTH_MODELS),
        "summary": (set(), {"*"}),
    }


def test_the_last_experiment_takes_the_clusters_with_it(instance):
    said = _said(key_deletion(miniature.defs, instance, "experiment", ["a", "b"]))
    assert said["clusters"] == (BOTH_MODELS, set())
    assert said["summary"] == (set(), {"*"})


@pytest.mark.parametrize("gone", [False, True], ids=["before", "after"])
def test_a_run_takes_its_checkpoints_and_an_epoch_survives_in_other_runs(instance, gone):
    if gone:
        instance.delete_dynamic_partition("training_run", "r1")
    said = _said(key_deletion(miniature.defs, instance, "training_run", ["r1"]))
    assert said == {
        "training_runs": ({"r1"}, set()),
        "evaluations": ({"0|r1", "1|r1", "2|r1"}, set()),
        "run_reports": ({"r1"}, set()),
        "epoch_reports": (set(), {"0", "1", "2"}),
    }
    assert _said(downstream(miniature.defs, instance, miniature.training_runs.key, ["r1"])) == said


def test_a_checkpoint_that_goes_leaves_its_run_report_to_be_rebuilt(instance):
    assert _said(downstream(miniature.defs, instance, miniature.evaluations.key, ["0|r1"])) == {
        "evaluations": ({"0|r1"}, set()),
        "run_reports": (set(), {"r1"}),
        "epoch_reports": (set(), {"0"}),
    }
    keys = [f"0|{run}" for run in ("r1", "r2")]
    assert _said(downstream(miniature.defs, instance, miniature.evaluations.key, keys))["epoch_reports"] == (
        {"0"},
        set(),
    )


def test_leaves_come_first_and_rebuilds_in_building_order(instance):
    plan = key_deletion(miniature.defs, instance, "experiment", ["a"])
    order = [step.asset_key.to_user_string() for step in plan.steps if step.asset_key != miniature.slow.key]
    assert order == ["summary", "clusters", "invocations", "experiments"]
    deletions = dict(plan.deletions)
    assert deletions == {AssetKey(name): ("a",) for name in ("experiments", "invocations", "slow")}
    assert list(plan.rebuilds) == [(miniature.clusters.key, ("MiniLM", "Nomic")), (miniature.summary.key, ())]


def test_nothing_hangs_on_nothing(instance):
    assert key_deletion(miniature.defs, instance, "experiment", []).steps == ()
    assert key_deletion(miniature.defs, instance, "no such definition", ["a"]).steps == ()
    assert downstream(miniature.defs, instance, miniature.experiments.key, []).steps == ()


def test_a_deleted_key_dies_although_another_parent_survives(instance):
    """A partition that is named by the key cannot outlive it; wiping one parent alone lets it be rebuilt."""

    @dg.asset(partitions_def=miniature.EXPERIMENT)
    def left() -> None: ...

    @dg.asset(partitions_def=miniature.EMBEDDING_MODEL)
    def right() -> None: ...

    @dg.asset(
        partitions_def=miniature.EXPERIMENT,
        deps=[left, dg.AssetDep(right, partition_mapping=dg.AllPartitionMapping())],
    )
    def both() -> None: ...

    @dg.asset
    def options() -> None: ...

    @dg.asset(partitions_def=miniature.EXPERIMENT, deps=[left, options])
    def with_options() -> None: ...

    defs = dg.Definitions(assets=[left, right, both, options, with_options])
    assert _said(key_deletion(defs, instance, "experiment", ["a"]))["both"] == ({"a"}, set())
    wiped = _said(downstream(defs, instance, left.key, ["a"]))
    assert wiped["both"] == (set(), {"a"})
    assert wiped["with_options"] == ({"a"}, set()), "an unpartitioned parent keeps no partition alive"


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_the_rule_holds_partition_by_partition(data):
    """Against a slow reading of the rule, on a random graph of identity and all-to-all mappings."""
    keys = {"dynamic": ("a", "b", "c"), "static": ("x", "y")}
    definitions = {
        "dynamic": dg.DynamicPartitionsDefinition(name="d"),
        "static": dg.StaticPartitionsDefinition(list(keys["static"])),
    }
    kinds = data.draw(st.lists(st.sampled_from(["dynamic", "static"]), min_size=2, max_size=6))
    parents = [data.draw(st.sets(st.integers(0, n - 1), max_size=3)) if n else set() for n in range(len(kinds))]
    root_keys = data.draw(st.sets(st.sampled_from(keys[kinds[0]]), min_size=1))

    def mapping(parent: int, child: int) -> dg.PartitionMapping:
        return dg.IdentityPartitionMapping() if kinds[parent] == kinds[child] else dg.AllPartitionMapping()

    assets = [
        dg.AssetSpec(
            f"n{n}",
            partitions_def=definitions[kind],
            deps=[dg.AssetDep(f"n{p}", partition_mapping=mapping(p, n)) for p in sorted(parents[n])],
        )
        for n, kind in enumerate(kinds)
    ]
    instance = DagsterInstance.ephemeral()
    instance.add_dynamic_partitions("d", list(keys["dynamic"]))
    plan = _said(downstream(dg.Definitions(assets=assets), instance, AssetKey("n0"), sorted(root_keys)))

    dead = {(0, key) for key in root_keys}
    rebuilt: set[tuple[int, str]] = set()
    for n in range(1, len(kinds)):
        for key in keys[kinds[n]]:
            above = [(p, k) for p in parents[n] for k in keys[kinds[p]] if kinds[p] != kinds[n] or k == key]
            if dead.intersection(above) and dead.issuperset(above):
                dead.add((n, key))
            elif (dead | rebuilt).intersection(above):
                rebuilt.add((n, key))
    expected = {
        f"n{n}": ({k for m, k in dead if m == n}, {k for m, k in rebuilt if m == n})
        for n in {m for m, _ in dead | rebuilt}
    }
    assert plan == expected


def test_thousands_of_partitions_are_planned_at_once(instance):
    instance.add_dynamic_partitions("training_run", [f"k{n}" for n in range(1000)])
    plan = key_deletion(miniature.defs, instance, "training_run", [f"k{n}" for n in range(1000)])
    assert set(dict(plan.deletions)[miniature.evaluations.key]) == {
        f"{epoch}|k{n}" for epoch, n in itertools.product("012", range(1000))
    }


def test_stale_says_why(instance):
    @dg.asset
    def upstream() -> None: ...

    @dg.asset(deps=[upstream])
    def report() -> None: ...

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dg.materialize([upstream, report], instance=instance)
        defs = dg.Definitions(assets=[upstream, report])
        assert stale_reasons(defs, instance, report.key) == ()
        dg.materialize([upstream], instance=instance)
    assert stale_reasons(defs, instance, report.key) == ("has a new dependency materialization",)
