"""What an asset needs, as neutral tags, and what each engine calls it. The only place that knows engines' words.

An asset carries `panic/device`, `panic/gpus`, `panic/vram_gb` and `panic/memory_gb`. Where a translation cannot
say something (Ray and Docker know no GPU memory, Kubernetes no share of a GPU) it rounds towards more.
"""

import math
from collections.abc import Mapping
from typing import Any

from panic_assets.compute.protocol import Needs
from panic_assets.errors import UserError

DEVICE, GPUS, VRAM, MEMORY = "panic/device", "panic/gpus", "panic/vram_gb", "panic/memory_gb"
DEVICES = ("cpu", "gpu")


def to_tags(needs: Needs) -> dict[str, str]:
    """The op tags of an asset with these needs."""
    return {
        DEVICE: needs.device,
        GPUS: f"{needs.gpu_share:g}",
        VRAM: f"{needs.vram_gb:g}",
        MEMORY: f"{needs.memory_gb:g}",
    }


def from_tags(tags: Mapping[str, str]) -> Needs:
    """The needs that tags state; what they do not mention is not needed."""
    device = tags.get(DEVICE, "cpu")
    if device not in DEVICES:
        raise UserError(f"{DEVICE} is {device!r}; accepted: {', '.join(DEVICES)}")
    defaults = Needs(device=device)
    return Needs(
        device=device,
        gpus=_number(tags, GPUS, defaults.gpu_share),
        vram_gb=_number(tags, VRAM, defaults.vram_gb),
        memory_gb=_number(tags, MEMORY, defaults.memory_gb),
    )


def op_tags(needs: Needs, executor: str) -> dict[str, Any]:
    """The neutral tags, and what the executor (`in_process`, `multiprocess`, `k8s`) must be told besides."""
    tags: dict[str, Any] = dict(to_tags(needs))
    if executor == "k8s":
        tags["dagster-k8s/config"] = kubernetes(needs)
    return tags


def kubernetes(needs: Needs) -> dict[str, Any]:
    """The value of the tag `dagster-k8s/config`: a pod that gets the cards, on a node whose cards are large enough.

    A GPU is taken whole. The node is found by the label that NVIDIA's GPU feature discovery sets (in MiB).
    """
    memory = f"{math.ceil(needs.memory_gb * 1024)}Mi"
    resources: dict[str, Any] = {"requests": {"memory": memory}, "limits": {"memory": memory}}
    if needs.device == "cpu":
        return {"container_config": {"resources": resources}}
    resources["limits"]["nvidia.com/gpu"] = str(math.ceil(needs.gpu_share))
    pod: dict[str, Any] = {"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]}
    if needs.vram_gb:
        large = {"key": "nvidia.com/gpu.memory", "operator": "Gt", "values": [str(math.ceil(needs.vram_gb * 1024) - 1)]}
        terms = {"nodeSelectorTerms": [{"matchExpressions": [large]}]}
        pod["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    return {"container_config": {"resources": resources}, "pod_spec_config": pod}


def ray(needs: Needs) -> dict[str, float]:
    """The resources of a Ray actor, in the words of `ray.remote(...)`; memory in bytes."""
    return {"num_cpus": 1, "num_gpus": needs.gpu_share, "memory": math.ceil(needs.memory_gb * 2**30)}


def docker(needs: Needs) -> dict[str, Any]:
    """`container_kwargs` of dagster-docker's run launcher and executor."""
    limits: dict[str, Any] = {"mem_limit": math.ceil(needs.memory_gb * 2**30)}
    if needs.device == "gpu":
        cards = {"Driver": "nvidia", "Count": math.ceil(needs.gpu_share), "Capabilities": [["gpu"]]}
        limits["device_requests"] = [cards]
    return limits


def _number(tags: Mapping[str, str], name: str, default: float) -> float:
    text = tags.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (value >= 0 and math.isfinite(value)):
        raise UserError(f"{name} is {text!r}; it must be a number of at least 0")
    return value
