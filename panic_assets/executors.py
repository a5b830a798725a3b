"""How Dagster runs the steps of one run: one environment variable, `PANIC_EXECUTOR`."""

from dagster import ExecutorDefinition, in_process_executor, multiprocess_executor

from panic_assets import variables
from panic_assets.extras import extra


def executor_name() -> str:
    """The executor that the environment names; `in_process` when it names none."""
    return variables.read().executor


def executor_from_environment() -> ExecutorDefinition:
    """`in_process`: steps one after another, nothing to start (the models run wherever `PANIC_COMPUTE` says).
    `multiprocess`: independent steps side by side, forked from a server that has loaded the definitions once.
    `k8s`: each step in a pod of its own, with the resources its tags ask for.
    """
    choice = executor_name()
    if choice == "k8s":
        with extra("k8s"):
            from dagster_k8s import k8s_job_executor

        return k8s_job_executor
    if choice == "multiprocess":
        server = {"forkserver": {"preload_modules": ["panic_assets.definitions"]}}
        return multiprocess_executor.configured({"start_method": server}, name="multiprocess")
    return in_process_executor
