import subprocess
import sys

import pytest

from panic_assets.errors import UserError
from panic_assets.executors import executor_from_environment, executor_name


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


def test_multiprocess_steps_are_forked_from_one_server_that_knows_the_definitions(tmp_path, monkeypatch):
    (tmp_path / "steps.py").write_text(STEPS)
    (tmp_path / "dagster").mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    monkeypatch.setenv("PANIC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "yes")
    monkeypatch.setenv("PANIC_EXECUTOR", "multiprocess")
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    result = subprocess.run([sys.executable, "steps.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
    steps = [line.split() for line in (tmp_path / "seen").read_text().splitlines()]
    assert len({pid for pid, _ in steps}) == 2
    assert len({parent for _, parent in steps}) == 1
