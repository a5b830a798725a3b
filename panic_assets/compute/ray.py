"""Ray actors: the models run wherever the cluster has room, and their rows come back to the step.

Ray moves the work and counts the GPUs; tasks, deaths and warmth are the pool's business, as on one machine.
Every node needs this package installed (with the extra `ray`) and the same RAY_AUTH_MODE.
"""

import logging
import os
from collections.abc import Sequence
from typing import Any

from panic_assets.compute import gpus, tags, warm
from panic_assets.compute.failures import one_sentence
from panic_assets.compute.pool import Pool
from panic_assets.compute.protocol import Function, Needs
from panic_assets.compute.worker import AHEAD
from panic_assets.errors import UserError
from panic_assets.extras import extra


class RayCompute(Pool):
    """The `Compute` of a Ray cluster: the one named by RAY_ADDRESS, else one started on this machine."""

    def __init__(self, models: str = warm.MODELS) -> None:
        super().__init__()
        self._models = models

    def width(self, needs: Needs) -> int:
        """As many actors as the nodes alive have room for when nothing else runs on them."""
        _connect()
        wanted, nodes = _resources(needs), _nodes()
        most = sum(_room(wanted, node) for node in nodes)
        if most == 0:
            raise UserError(f"a task needs {_words(wanted)}; no node of the Ray cluster has that ({_largest(nodes)})")
        return most

    def _hire(self, needs: Needs, size: int) -> "_Actor":
        self.width(needs)  # asked again after a death: what is left of the cluster may be too small, and Ray would wait
        return _Actor(_resources(needs), self._models)

    def _with_news(self, crew: Sequence["_Actor"]) -> Sequence["_Actor"]:
        import ray

        expected = [hand for hand in crew if hand.index is not None or not hand.ready]
        ready, _ = ray.wait([hand.news for hand in expected], num_returns=1, timeout=1.0)
        return [hand for hand in expected if any(hand.news is news for news in ready)]


class _Host:
    """The actor: runs orders beside warm models."""

    def __init__(self, models: str) -> None:
        import ray

        # A node may declare cards that it does not have (a rehearsal): then the models run on its CPU.
        given = ray.get_gpu_ids() and gpus.visible_gpus()
        self._worker = warm.WarmWorker("cuda:0" if given else "cpu", models)

    def device(self) -> str:
        return self._worker.device

    def run(self, order: bytes) -> Any:
        yield from warm.messages(order, self._worker)


class _Actor:
    """One actor, as its pool sees it."""

    def __init__(self, resources: dict[str, float], models: str) -> None:
        import ray

        self.ready = False
        self.index: int | None = None
        self.begun = False
        actor: Any = ray.remote(_Host)
        self._actor = actor.options(**resources, max_restarts=0).remote(models)
        self.news: Any = self._actor.device.remote()
        """What Ray can wait for: first the actor's start, then the messages of its task."""

    @property
    def alive(self) -> bool:
        import ray

        try:
            ray.get(self._actor.device.remote(), timeout=10)
        except ray.exceptions.RayError:
            return False
        return True

    def give(self, function: Function, index: int, task: Any) -> None:
        self.index, self.begun = index, False
        run = self._actor.run.options(_generator_backpressure_num_objects=AHEAD)
        self.news = run.remote(warm.order(function, task))

    def receive(self) -> tuple[str, Any]:
        """The next message. A death, of the process or of its node, ends the stream wherever Ray notices it."""
        import ray

        try:
            data = ray.get(next(self.news) if self.ready else self.news)
        except (ray.exceptions.RayError, StopIteration) as error:
            self.kill()
            return "ended", one_sentence(error)
        if not self.ready:
            self.ready = True
            return "ready", data
        kind, content = warm.read(data)
        if kind == "poisoned":
            self.kill()
            return "ended", content
        if kind == "begun":
            self.begun = True
        elif kind in ("done", "error"):
            self.index = None
        return kind, content

    def kill(self) -> None:
        import ray

        ray.kill(self._actor)


def _connect() -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with extra("ray"):
        import ray

    if ray.is_initialized():
        return
    address = os.environ.get("RAY_ADDRESS")
    if address and not os.environ.get("RAY_AUTH_MODE"):
        raise UserError(
            "RAY_ADDRESS is set but RAY_AUTH_MODE is not; set it here as on every node of the cluster "
            "(`token`, with the same token everywhere, or `disabled`)"
        )
    if address:
        ray.init(address=address, logging_level=logging.WARNING)
    else:
        ray.init(address="local", include_dashboard=False, logging_level=logging.WARNING)


def _nodes() -> list[dict[str, float]]:
    """The total resources of each node that is alive."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _resources(needs: Needs) -> dict[str, float]:
    """Where the cluster has no GPU at all, GPU tasks run on CPUs, as on a single machine."""
    wanted = tags.ray(needs)
    if not any(node.get("GPU") for node in _nodes()):
        wanted["num_gpus"] = 0.0
    return wanted


def _room(wanted: dict[str, float], node: dict[str, float]) -> int:
    """How many such actors an empty node holds. A share of a card is a share of one card, never of two."""
    cards, share = node.get("GPU", 0.0), wanted["num_gpus"]
    limits = [node.get("CPU", 0.0) // wanted["num_cpus"], node.get("memory", 0.0) // wanted["memory"]]
    if share:
        limits.append(cards // share if share >= 1 else cards * (1 // share))
    return int(min(limits))


def _words(wanted: dict[str, float]) -> str:
    cards = f"{wanted['num_gpus']:g} GPUs, " if wanted["num_gpus"] else ""
    return f"{cards}{wanted['num_cpus']:g} CPU and {wanted['memory'] / 2**30:.1f} GB of memory on one node"


def _largest(nodes: Sequence[dict[str, float]]) -> str:
    def most(name: str) -> float:
        return max((node.get(name, 0.0) for node in nodes), default=0.0)

    return f"at most {most('GPU'):g} GPUs, {most('CPU'):g} CPUs, {most('memory') / 2**30:.1f} GB"
