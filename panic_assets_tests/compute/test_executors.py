import itertools
import re
import subprocess
import sys
from typing import get_args

import pytest
import yaml
from dagster._config import process_config, resolve_to_config_type

from panic_assets.errors import UserError
from panic_assets.executors import executor_from_environment, executor_name
from panic_assets.models.memory import placement
from panic_assets.registry import registry
from panic_assets.settings import PROJECT
from panic_assets.trajectories import config
from panic_assets.variables import Compute, Variables


@pytest.mark.parametrize("choice", [None, "", "in_process", "multiprocess", "k8s"])
def test_the_environment_names_the_executor(monkeypatch, choice):
    monkeypatch.delenv("PANIC_EXECUTOR", raising=False)
    if choice is not None:
        monkeypatch.setenv("PANIC_EXECUTOR", choice)
    assert executor_name() == (choice or "in_process")
    assert executor_from_environment().name == (choice or "in_process")


def test_an_unknown_executor_is_refused(monkeypatch):
    monkeypatch.setenv("PANIC_EXECUTOR", "kubernetes")
    with pytest.raises(UserError, match=r"PANIC_EXECUTOR is 'kubernetes'.*accepted: in_process, multiprocess, k8s"):
        executor_from_environment()


STEPS = """
import os, sys, time
import dagster as dg
from panic_assets.executors import executor_from_environment

@dg.op
def where(context) -> None:
    # Preloaded by the fork server, not imported by the step.
    assert "panic_assets.definitions" in sys.modules
    open(os.environ["SEEN"], "a").write(f"{os.getpid()} {os.getppid()}\\n")

def build():
    @dg.job(executor_def=executor_from_environment())
    def two():
        where.alias("first")()
        where.alias("second")()
    return two

if __name__ == "__main__":
    with dg.DagsterInstance.get() as instance:
        job = dg.reconstructable(__import__("steps").build)
        assert dg.execute_job(job, instance, raise_on_error=True).success
"""


@pytest.mark.slow
def test_multiprocess_steps_are_forked_from_one_server_that_knows_the_definitions(tmp_path, monkeypatch):
    (tmp_path / "steps.py").write_text(STEPS)
    (tmp_path / "dagster").mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    monkeypatch.setenv("PANIC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "yes")
    monkeypatch.setenv("PANIC_EXECUTOR", "multiprocess")
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    result = subprocess.run([sys.executable, "steps.py"], cwd=tmp_path, capture_output=True, text=True, timeout=500)
    assert result.returncode == 0, result.stderr[-2000:]
    steps = [line.split() for line in (tmp_path / "seen").read_text().splitlines()]
    assert len({pid for pid, _ in steps}) == 2
    assert len({parent for _, parent in steps}) == 1


CLUSTER = (PROJECT / "docs" / "cluster.md").read_text()


def test_the_ray_launcher_of_the_documentation_is_valid():
    dagster_ray = pytest.importorskip("dagster_ray")
    [block] = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", CLUSTER, re.DOTALL)]
    launcher = getattr(dagster_ray, block["run_launcher"]["class"])
    checked = process_config(resolve_to_config_type(launcher.config_type()), block["run_launcher"]["config"])
    assert checked.success, checked.errors


def test_settings_and_files_that_the_documentation_names_exist():
    code = "".join(path.read_text() for path in (PROJECT / "docker").rglob("*") if path.is_file())
    known = {field.alias for field in Variables.model_fields.values()}
    for page in ("cluster.md", "one_gpu.md"):
        text = (PROJECT / "docs" / page).read_text()
        for setting in set(re.findall(r"PANIC_[A-Z]+(?:_[A-Z]+)*", text)):
            assert setting in known or setting in code, setting
        for path in set(re.findall(r"\bdocker/[\w./-]+\w", text)) - {"docker/.env"}:
            assert (PROJECT / path).exists(), path
    assert set(re.findall(r"`(\w+)`", CLUSTER.split("| `PANIC_COMPUTE` |")[1].splitlines()[0])) == set(
        get_args(Compute)
    )


def test_the_experiment_of_the_one_gpu_page_is_what_the_page_says():
    page = (PROJECT / "docs" / "one_gpu.md").read_text()
    [block] = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    wanted = config.parse({"name": "first", **yaml.safe_load(block)})
    assert (len(wanted.networks), wanted.runs, wanted.runs * wanted.max_length) == (4, 48, 4800)
    assert "48 runs with 4,800 invocations" in page
    for name in {*itertools.chain(*wanted.networks), *wanted.embedding_models}:
        spec = registry.get(name)
        assert not spec.gated, name
        assert not spec.needs, name
        assert not spec.memory or placement(spec, 25.4) == "whole", name
    disk = sum(registry.get(name).disk_gb for name in {*itertools.chain(*wanted.networks), *wanted.embedding_models})
    assert 50 < disk < 60
