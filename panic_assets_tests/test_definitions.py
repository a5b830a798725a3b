"""The graph as a whole: cheap to import, and not changed without anybody noticing."""

import subprocess
import sys

import dagster as dg

from panic_assets_tests import snapshot

HEAVY = {
    *("torch", "transformers", "diffusers", "sentence_transformers", "safetensors", "peft", "accelerate"),
    *("numpy", "scipy", "numba", "llvmlite", "pandas", "pyarrow", "duckdb", "sklearn", "mixedlm", "ruptures"),
    *("gph", "evoc", "openTSNE", "ray", "plotly", "altair", "PIL", "av", "imageio", "apprise", "spellchecker"),
    *("antlr4", "psutil"),
}


def test_importing_the_definitions_wakes_nothing_heavy() -> None:
    """How long it takes is measured in benchmarks/startup.py; here, what it takes along: modules of Dagster, and of ours."""
    code = "import sys, panic_assets.definitions; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {name for name in modules if "." not in name}.isdisjoint(HEAVY)
    assert len(modules) < 1150


def test_the_graph_is_as_committed() -> None:
    """When a change is meant: `python -m panic_assets_tests.snapshot`, and look at the difference."""
    assert snapshot.text() == snapshot.PATH.read_text()


def test_every_asset_says_what_it_is_and_whose() -> None:
    from panic_assets.definitions import defs

    for name, asset in snapshot.graph(defs)["assets"].items():
        for must in ("described", "versioned", "group", "kinds", "owners", "tags"):
            assert asset[must], f"{name} has no {must}"
        assert set(asset["tags"]) >= {"panic/device"}, name
        assert (asset["tags"]["panic/device"] == "gpu") == ("gpu" in asset["pools"]), name


def test_every_step_tells_any_engine_what_it_needs() -> None:
    """Neutral tags that parse on every asset and every job's op that runs models; a GPU's pool where a GPU is asked."""
    from panic_assets.compute import tags
    from panic_assets.definitions import JOBS, defs

    steps = {}
    for asset in defs.resolve_asset_graph().assets_defs:
        if asset.is_executable and asset.keys:
            steps[asset.op.name] = asset.op
            assert {spec.tags[tags.DEVICE] for spec in asset.specs} == {asset.op.tags[tags.DEVICE]}
    for job in (job for job in JOBS if isinstance(job, dg.JobDefinition)):
        ops = [node.definition for node in job.graph.nodes]
        steps |= {op.name: op for op in ops if "compute" in op.required_resource_keys}
    assert {"invocations", "grokking_training", "test_images", "statistics", "sweep_grokking_op"} <= set(steps)
    for name, op in steps.items():
        assert set(op.tags) >= {tags.DEVICE, tags.GPUS, tags.VRAM, tags.MEMORY}, name
        assert (tags.from_tags(op.tags).device == "gpu") == (op.pool == "gpu"), name
