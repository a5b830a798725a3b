"""How an experiment enters: its definition into the lake, its key into Dagster. Safe to repeat at any point."""

import dagster as dg
from pydantic import Field

from panic_assets.errors import UserError
from panic_assets.lake.resource import LakeResource
from panic_assets.partitions import EXPERIMENT
from panic_assets.steps import CPU, on
from panic_assets.trajectories import checks, stages
from panic_assets.trajectories.config import Definition, parse


def add(lake: LakeResource, instance: dg.DagsterInstance, wanted: Definition) -> tuple[Definition, bool]:
    """Register an experiment: (its definition as it now stands, whether something is new)."""
    found, changed = stages.register(lake.lake, wanted)
    name = EXPERIMENT.name
    assert name is not None
    new_key = not instance.has_dynamic_partition(name, found.name)
    if new_key:
        instance.add_dynamic_partitions(name, [found.name])
    stages.plan(lake.lake, found.name)
    return found, changed or new_key


class ExperimentConfig(dg.Config):
    """An experiment as typed into the launchpad: the fields of an experiment file."""

    name: str = Field(description="what it is called from now on: the key of its partition")
    networks: list[list[str]] = Field(description="each a list of models that take turns, the first one reading text")
    prompts: list[str] = Field(description="where runs start; every network starts from each of them")
    seeds: list[int] | None = Field(default=None, description="one run each; -1 is an unseeded run")
    seed_count: int | None = Field(default=None, description="instead of seeds: so many unseeded runs")
    embedding_models: list[str] = Field(description="what outputs are embedded with; more can be named later")
    max_length: int = Field(description="invocations in a run, unless it loops before")
    image_size: int | None = Field(default=None, description="pixels a side; without it, what each model likes best")
    image_format: str = Field(default="png", description="how images are stored: png and webp lose nothing, jpeg does")


@dg.op(tags=on(CPU)["op_tags"])
def register(context: dg.OpExecutionContext, config: ExperimentConfig, lake: LakeResource) -> None:
    """Validate and store the definition, add its partition key and plan its runs; the rest of the graph follows."""
    given = {k: v for k, v in config.model_dump().items() if v is not None}
    try:
        found, _ = add(lake, context.instance, parse(given))
    except UserError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    lake.refresh()
    context.log_event(
        dg.AssetMaterialization(
            "experiments",
            partition=found.name,
            description="registered from the launchpad",
            metadata={"runs": found.runs, "embedding_models": list(found.embedding_models)},
        )
    )
    for evaluation in checks.of_experiment(lake, found.name):
        context.log_event(evaluation)  # type: ignore[arg-type]  # Its code takes them; its annotation forgets to say so.


@dg.job(description="Register an experiment from the launchpad. With the daemon running, it is then performed.")
def register_experiment() -> None:
    register()
