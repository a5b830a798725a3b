import dagster as dg
import pytest
from dagster_k8s.job import get_user_defined_k8s_config
from dagster_k8s.models import k8s_model_from_dict
from docker.types import DeviceRequest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.client import models as k8s

from panic_assets.compute import tags
from panic_assets.compute.protocol import Needs
from panic_assets.errors import UserError

SHARES = st.one_of(st.sampled_from([0.125, 0.25, 0.5]), st.integers(1, 8).map(float))
AMOUNTS = st.integers(0, 4000).map(lambda tenths: tenths / 10)
SOME = st.integers(1, 4000).map(lambda tenths: tenths / 10)
NEEDS = st.one_of(
    st.builds(Needs, device=st.just("gpu"), gpus=SHARES, vram_gb=AMOUNTS, memory_gb=SOME),
    st.builds(Needs, memory_gb=SOME),
)


@given(NEEDS)
def test_tags_say_all_that_needs_say(needs):
    stated = tags.to_tags(needs)
    assert tags.from_tags(stated) == needs
    assert all(isinstance(value, str) for value in stated.values())


def test_no_tags_mean_a_cpu_and_a_gpu_means_a_whole_one():
    assert tags.from_tags({}) == Needs()
    assert tags.from_tags({"panic/device": "gpu"}).gpus == 1


@pytest.mark.parametrize(
    ("stated", "sentence"),
    [
        ({"panic/device": "tpu"}, "panic/device is 'tpu'; accepted: cpu, gpu"),
        ({"panic/gpus": "many"}, "panic/gpus is 'many'; it must be a number"),
        ({"panic/memory_gb": "-1"}, "panic/memory_gb is '-1'; it must be a number of at least 0"),
        ({"panic/vram_gb": "nan"}, "panic/vram_gb is 'nan'; it must be"),
    ],
)
def test_tags_that_mean_nothing_are_refused(stated, sentence):
    with pytest.raises(UserError, match=sentence):
        tags.from_tags(stated)


@given(NEEDS)
def test_kubernetes_accepts_the_translation(needs):
    """By dagster-k8s's own reading of the tag and by the types of the Kubernetes API."""
    asset = dg.asset(name="a", op_tags=tags.op_tags(needs, "k8s"))(lambda: None)
    config = get_user_defined_k8s_config(asset.op.tags)
    container = k8s_model_from_dict(k8s.V1Container, {"name": "step", **config.container_config})
    pod = k8s_model_from_dict(k8s.V1PodSpec, {"containers": [{"name": "step"}], **config.pod_spec_config})
    asked = container.resources.limits.get("nvidia.com/gpu")
    assert asked == (str(int(max(1, needs.gpus))) if needs.device == "gpu" else None)
    assert int(container.resources.limits["memory"].removesuffix("Mi")) >= needs.memory_gb * 1024
    if needs.vram_gb:
        [term] = pod.affinity.node_affinity.required_during_scheduling_ignored_during_execution.node_selector_terms
        [expression] = term.match_expressions
        assert expression.operator == "Gt"
        # Strictly more than this many MiB: a card of exactly the size that is needed passes.
        assert needs.vram_gb * 1024 - 1 <= int(expression.values[0]) < needs.vram_gb * 1024


def test_only_kubernetes_is_told_in_the_tags():
    needs = Needs(device="gpu", gpus=0.5)
    for executor in ("in_process", "multiprocess"):
        assert tags.op_tags(needs, executor) == tags.to_tags(needs)
    assert set(tags.op_tags(needs, "k8s")) == {*tags.to_tags(needs), "dagster-k8s/config"}


@given(NEEDS)
def test_ray_and_docker_get_at_least_what_is_needed(needs):
    actor = tags.ray(needs)
    assert actor["num_gpus"] == needs.gpu_share
    assert actor["memory"] >= needs.memory_gb * 2**30
    container = tags.docker(needs)
    assert container["mem_limit"] == actor["memory"]
    if needs.device == "gpu":
        [request] = [DeviceRequest(**words) for words in container["device_requests"]]
        assert request.count >= needs.gpus
    else:
        assert "device_requests" not in container
