import os
import shutil
import tempfile
import time
from pathlib import Path

import pytest

from panic_assets.compute import faults
from panic_assets.compute.in_process import InProcessCompute
from panic_assets.compute.protocol import Needs
from panic_assets.errors import UserError
from panic_assets.tables import open_lake
from panic_assets_tests.compute import work
from panic_assets_tests.compute.ray_nodes import ENVIRONMENT, two_nodes, until
from panic_assets_tests.trajectories import world

os.environ.update(ENVIRONMENT)  # before Ray is imported: it reads then how it is to authenticate
ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")

from panic_assets.compute import ray as panic_ray  # noqa: E402
from panic_assets.compute.ray import RayCompute  # noqa: E402

pytestmark = pytest.mark.slow

CPU = Needs(memory_gb=0.1)
GPU = Needs(device="gpu", gpus=1, memory_gb=0.1)
HALF = Needs(device="gpu", gpus=0.5, memory_gb=0.1)


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of 2 CPUs and one declared GPU each; the second is killed by the last test."""
    folder = Path(tempfile.mkdtemp(prefix="ray"))  # short: Ray puts sockets under it
    with two_nodes(folder, cpus=2, gpus=1) as (address, _, other):
        os.environ["RAY_ADDRESS"] = address
        try:
            panic_ray._connect()
            until(lambda: len(panic_ray._nodes()) == 2)
            yield other
        finally:
            ray.shutdown()
            del os.environ["RAY_ADDRESS"]
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def compute(cluster):
    compute = RayCompute()
    yield compute
    compute.close()


def test_ray_gives_every_item_once_and_in_order_within_its_task(compute):
    tasks = [("a", 0, 30), ("b", 5, 5), ("c", 0, 3)]
    rows = list(compute.stream(work.count, tasks, CPU))
    for index, (key, start, stop) in enumerate(tasks):
        assert [item for i, item in rows if i == index] == [(key, n) for n in range(start, stop)]


def test_ray_is_told_who_loads_its_models(cluster):
    compute = RayCompute(models=work.SPOKEN)
    assert list(compute.stream(work.ask, ["a"], CPU)) == [(0, "a on cpu")]
    compute.close()


def test_ray_gives_each_actor_the_share_of_a_card_it_asked_for(compute, tmp_path):
    assert [compute.width(needs) for needs in (CPU, GPU, HALF)] == [4, 2, 4]
    for needs, count in ((GPU, 2), (HALF, 4)):
        folder = tmp_path / str(count)
        folder.mkdir()
        met = [item for _, item in compute.stream(work.meet, [(folder, name, count) for name in range(count)], needs)]
        assert len({pid for pid, _ in met}) == count
        assert {cards for _, cards in met} == {"0"}  # of one card each, on their own node


def test_ray_actors_stay_warm_between_streams_and_load_a_model_once(compute, tmp_path):
    """Both are up before: which of them gets which text, and whether one gets them all, is not said."""
    both = work.pids(compute, 2, GPU, tmp_path)
    texts = [["a cat"], ["a dog"], ["a fish"]]
    here = dict(InProcessCompute().stream(work.embed, texts, CPU))
    loaded = {}
    for _ in range(2):
        for index, (model, pid, vectors) in compute.stream(work.embed, texts, GPU):
            loaded.setdefault(pid, set()).add(model)
            assert (vectors == here[index][2]).all()
    assert set(loaded) <= both
    assert all(len(models) == 1 for models in loaded.values())


def test_ray_holds_no_more_than_a_few_items_for_a_slow_consumer(compute, tmp_path):
    counter = tmp_path / "made"
    for consumed, (_, item) in enumerate(compute.stream(work.big, [(counter, 30)], CPU), start=1):
        assert len(item) == 1_000_000
        if consumed in (5, 15):
            time.sleep(0.5)
            assert counter.stat().st_size <= consumed + 4
    assert consumed == 30


def test_ray_replaces_dead_actors_and_asks_what_remains(compute, tmp_path):
    received = []

    def resume(task):
        key, start, stop, *rest = task
        done = max((n for k, n in received if k == key), default=start - 1)
        return (key, done + 1, stop, *rest)

    tasks = [("a", 0, 6, {2, 4}, str(tmp_path)), ("b", 0, 6, {0}, str(tmp_path))]
    for _, item in compute.stream(work.count_and_die, tasks, CPU, resume=resume):
        received.append(item)
    assert sorted(received) == [(key, n) for key in "ab" for n in range(6)]


def test_ray_delivers_what_was_yielded_before_a_death_and_gives_up_after_three(compute, tmp_path):
    received = []
    stream = compute.stream(work.die, [(9, tmp_path)], CPU, resume=lambda task: task)
    with pytest.raises(faults.WorkerDied, match="brought down 3 workers"):  # noqa: PT012
        for item in work.received(stream, tmp_path):
            received.append(item)
    assert received == ["alive"] * 3


def test_ray_restarts_the_actor_after_a_cuda_error(compute, tmp_path):
    received = []

    def resume(task):
        return task[0], len(received), task[2]

    for _, item in compute.stream(work.poison_once, [(tmp_path / "marker", 0, 5)], CPU, resume=resume):
        received.append(item)
    assert received == [0, 1, 2, 3, 4]


def test_ray_carries_exceptions_with_their_traceback(compute):
    with pytest.raises(ValueError, match="cannot do thing") as caught:
        list(compute.stream(work.fail, ["thing"], CPU))
    assert "task 0 (thing)" in caught.value.__notes__[0]
    assert "work.py" in str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("needs", "sentence"),
    [
        (Needs(device="gpu", gpus=2), r"a task needs 2 GPUs, 1 CPU and 1.0 GB of memory on one node; no node"),
        (
            Needs(memory_gb=1e6),
            r"1000000.0 GB of memory on one node; no node of the Ray cluster has that \(at most 1 GPU",
        ),
    ],
)
def test_ray_is_not_asked_for_what_it_cannot_have(compute, needs, sentence):
    with pytest.raises(UserError, match=sentence):
        list(compute.stream(work.count, [("a", 0, 1)], needs))


def test_a_cluster_is_not_joined_without_saying_how_it_authenticates(monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.9:1")
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with pytest.raises(UserError, match="RAY_ADDRESS is set but RAY_AUTH_MODE is not"):
        RayCompute().width(CPU)


@pytest.mark.parametrize(
    ("needs", "node", "room"),
    [
        (Needs(device="gpu", gpus=0.6), {"CPU": 16, "GPU": 2, "memory": 2**40}, 2),
        (Needs(device="gpu", gpus=0.25), {"CPU": 16, "GPU": 2, "memory": 2**40}, 8),
        (Needs(device="gpu", gpus=2), {"CPU": 16, "GPU": 5, "memory": 2**40}, 2),
        (Needs(device="gpu", gpus=0.25), {"CPU": 3, "GPU": 2, "memory": 2**40}, 3),
        (Needs(memory_gb=3), {"CPU": 16, "memory": 10 * 2**30}, 3),
        (Needs(), {}, 0),
    ],
)
def test_room_on_a_node(needs, node, room):
    assert panic_ray._room(panic_ray.tags.ray(needs), node) == room


class Losing(RayCompute):
    """Kills a node of the cluster after some items."""

    def __init__(self, node, after):
        super().__init__()
        self.node, self.left = node, after

    def stream(self, *arguments):
        for item in super().stream(*arguments):
            yield item
            self.left -= 1
            if self.left == 0:
                self.node.kill()


def test_an_experiment_loses_a_node_half_way_and_its_rows_are_those_of_a_single_process(cluster, tmp_path, caplog):
    """The last of this module: one node of the two is gone after it."""
    experiment = world.definition(
        prompts=["a cat", "a dog", "a fish"], seeds=[1, 2], max_length=40, networks=[world.LONG]
    )
    here, spread = open_lake(tmp_path / "here"), open_lake(tmp_path / "spread")
    compute = Losing(cluster, after=4 + 30)
    work.pids(compute, 4, Needs(), tmp_path)  # all four actors are up, two on each node, before the experiment begins
    world.perform(spread, experiment, compute)
    compute.close()
    assert "a worker died" in caplog.text
    world.perform(here, experiment, InProcessCompute())
    assert world.trace(spread, experiment.name) == world.trace(here, experiment.name)
    assert len(world.trace(here, experiment.name)["invocations"]) == 6 * 40
