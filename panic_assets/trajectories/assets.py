"""The graph of the trajectories workload: experiments -> invocations -> embeddings -> diagrams; clusters over all."""

import base64
import io
import time
from collections.abc import Sequence
from typing import Any

import dagster as dg
from pydantic import Field

from panic_assets.compute.protocol import Compute
from panic_assets.instance.home import GPU_POOL
from panic_assets.lake.resource import LakeResource
from panic_assets.partitions import EMBEDDING_MODEL, EXPERIMENT
from panic_assets.progress import Observations, Watcher
from panic_assets.steps import CPU, GPU, OWNERS, on, working_on
from panic_assets.trajectories import stages
from panic_assets.trajectories import stages as symbolic

GROUP = "trajectories"
# Every asset names the tables it writes in its metadata, under "tables": checks, deletion and the doctor go by it.

UPSTREAM_CHANGED = (
    dg.AutomationCondition.any_deps_match(
        dg.AutomationCondition.newly_updated() | dg.AutomationCondition.will_be_requested()
    )
    # Latched: one update asks once, also when it comes while this is being made, unless that fails.
    .since(
        dg.AutomationCondition.newly_requested()
        | dg.AutomationCondition.newly_updated()
        | dg.AutomationCondition.execution_failed().newly_true()
    )
)
IDLE = ~dg.AutomationCondition.in_progress()
# A tick reads first what was made and then what is in progress: of what ends in between it knows neither. So what was
# in progress at the last tick still counts as busy at this one.
BUSY = dg.AutomationCondition.in_progress().since(IDLE & ~IDLE.newly_true())
FOLLOW = (
    UPSTREAM_CHANGED
    & ~dg.AutomationCondition.any_deps_missing()
    & ~dg.AutomationCondition.any_deps_in_progress()
    & ~BUSY
).with_label("follows its upstream")
"""Made once whenever something upstream was made; a failure is not asked again until something changes."""


class DiagramConfig(dg.Config):
    """Which homology. What is left out is as in the experiment's diagrams so far: H0 and H1, mod 2, chord at first."""

    max_dimension: int | None = Field(default=None, ge=0, le=2, description="2 adds voids, which takes much longer.")
    field: int | None = Field(default=None, description="Coefficients modulo this prime.")
    metric: str | None = Field(default=None, description="chord, or angle (radians).")


class ClusterConfig(dg.Config):
    """By default everything is clustered again. `assign_only` gives new vectors to the clusters there are."""

    assign_only: bool = False


class ProgressResource(dg.ConfigurableResource):
    """Who watches long stages. By default the Dagster UI, as observations; the command line brings its own."""

    def watcher(self, context: dg.AssetExecutionContext) -> Watcher:
        """Where this step reports."""
        return Observations(context)


@dg.asset(
    partitions_def=EXPERIMENT,
    group_name=GROUP,
    owners=OWNERS,
    metadata={"tables": ["experiments", "runs"]},
    kinds={"parquet", "duckdb"},
    code_version="1",
    **on(CPU),
)
def experiments(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:
    """An experiment as registered, and the runs it comes to: every network, prompt and seed, with their ids."""
    with working_on(context, lake, f"experiment {context.partition_key}"):
        found = stages.plan(lake.lake, context.partition_key)
    return dg.MaterializeResult(
        metadata={
            **_stored(lake, "runs", context.partition_key),
            "networks": ["-".join(n) for n in found.networks],
            "prompts": len(found.prompts),
            "seeds": len(found.seeds),
            "embedding_models": list(found.embedding_models),
            "max_length": found.max_length,
        }
    )


@dg.asset(
    partitions_def=EXPERIMENT,
    deps=[experiments],
    group_name=GROUP,
    owners=OWNERS,
    metadata={"tables": ["invocations"]},
    kinds={"parquet", "python"},
    code_version=stages.WALK_VERSION,
    pool=GPU_POOL,
    **on(GPU),
    automation_condition=FOLLOW,
)
def invocations(
    context: dg.AssetExecutionContext,
    lake: LakeResource,
    compute: dg.ResourceParam[Compute],
    progress: ProgressResource,
) -> dg.MaterializeResult:
    """Every model call of every run: runs that share a network advance in lockstep, until they loop or end."""
    began = time.monotonic()
    with working_on(context, lake, f"experiment {context.partition_key}"):
        done = stages.walk(lake.lake, compute, progress.watcher(context), lake.refresher(), context.partition_key)
    return _result(context, lake, began, done, "invocations", picture=True)


@dg.asset(
    partitions_def=EXPERIMENT,
    deps=[invocations],
    group_name=GROUP,
    owners=OWNERS,
    metadata={"tables": ["embeddings"]},
    kinds={"parquet", "python"},
    code_version=stages.EMBED_VERSION,
    pool=GPU_POOL,
    **on(GPU),
    automation_condition=FOLLOW,
)
def embeddings(
    context: dg.AssetExecutionContext,
    lake: LakeResource,
    compute: dg.ResourceParam[Compute],
    progress: ProgressResource,
) -> dg.MaterializeResult:
    """A vector for every output, by every embedding model of its modality that the experiment names."""
    began = time.monotonic()
    with working_on(context, lake, f"experiment {context.partition_key}"):
        done = stages.embed(lake.lake, compute, progress.watcher(context), lake.refresher(), context.partition_key)
    return _result(context, lake, began, done, "embeddings")


@dg.asset(
    partitions_def=EXPERIMENT,
    deps=[embeddings],
    group_name=GROUP,
    owners=OWNERS,
    metadata={"tables": ["persistence_bars", "persistence_summary"]},
    kinds={"parquet", "python"},
    code_version=stages.DIAGRAM_VERSION,
    **on(CPU),
    automation_condition=FOLLOW,
)
def persistence_diagrams(
    context: dg.AssetExecutionContext,
    config: DiagramConfig,
    lake: LakeResource,
    compute: dg.ResourceParam[Compute],
    progress: ProgressResource,
) -> dg.MaterializeResult:
    """The persistence diagram of every complete run, by every embedding model: its bars and what they come to."""
    began = time.monotonic()
    with working_on(context, lake, f"experiment {context.partition_key}"):
        done = stages.diagrams(
            lake.lake,
            compute,
            progress.watcher(context),
            lake.refresher(),
            context.partition_key,
            **config.model_dump(),
        )
    return _result(context, lake, began, done, "persistence_bars", "persistence_summary")


@dg.asset(
    partitions_def=EMBEDDING_MODEL,
    deps=[dg.AssetDep(embeddings, partition_mapping=dg.AllPartitionMapping())],
    group_name=GROUP,
    owners=OWNERS,
    metadata={"tables": ["clusterings", "clusters", "cluster_members"]},
    kinds={"parquet", "scikitlearn"},
    code_version=stages.CLUSTER_VERSION,
    **on(CPU),
)
def clusters(
    context: dg.AssetExecutionContext, config: ClusterConfig, lake: LakeResource, progress: ProgressResource
) -> dg.MaterializeResult:
    """Clusters of one embedding model's vectors, pooled over all experiments. Made on request or schedule only."""
    model = context.partition_key
    with working_on(context, lake, f"clusters of {model}"):
        work = symbolic.assign if config.assign_only else stages.cluster
        row = work(lake.lake, progress.watcher(context), model)
    if row is None:
        return dg.MaterializeResult(metadata={"vectors": 0})
    kept = ("vectors", "distinct_vectors", "clusters", "outliers", "assigned", "seconds", "experiments")
    metadata: dict[str, Any] = {k: row[k] for k in kept} | {"outlier share": round(row["outliers"] / row["vectors"], 4)}
    return dg.MaterializeResult(metadata={**metadata, "parameters": dg.MetadataValue.text(row["parameters"])})


def _stored(lake: LakeResource, table: str, experiment: str) -> dict[str, Any]:
    found = [manifest for _, manifest in lake.lake.partitions(table, experiment=experiment)]
    return {
        f"{table} rows": sum(m.rows for m in found),
        f"{table} bytes": sum(m.bytes for m in found),
        f"{table} files": sum(len(m.files) for m in found),
    }


def _result(
    context: dg.AssetExecutionContext,
    lake: LakeResource,
    began: float,
    done: stages.Done,
    *tables: str,
    picture: bool = False,
) -> dg.MaterializeResult:
    metadata: dict[str, Any] = {"new rows": done.rows, "seconds": round(time.monotonic() - began, 3)}
    if walked := sum(pace.wall for pace in done.paces):
        metadata["idle share"] = round(1 - sum(pace.busy for pace in done.paces) / walked, 4)
        metadata["cohorts"] = dg.MetadataValue.md(_cohorts(done.paces))
    for table in tables:
        metadata |= _stored(lake, table, context.partition_key)
    if done.problems:
        for problem in done.problems:
            context.log.warning(problem)
        metadata["problems"] = dg.MetadataValue.text("\n".join(done.problems[:100]))
    metadata["preview"] = dg.MetadataValue.md(_preview(lake, tables[-1], context.partition_key))
    if picture:
        blank = lake.lake.sql("SELECT count(*) AS n FROM invocations WHERE blank", experiment=context.partition_key)
        metadata["blank captions"] = blank["n"][0].as_py()
    if picture and (strip := _strip(lake, context.partition_key)):
        metadata["pictures"] = dg.MetadataValue.md(strip)
    return dg.MaterializeResult(metadata=metadata)


def _cohorts(paces: Sequence[stages.Pace]) -> str:
    """The hundred most idle, as a table."""
    lines = ["| cohort | seconds in models | seconds | idle share |", "| --- | --- | --- | --- |"]
    for pace in sorted(paces, key=lambda pace: -pace.idle)[:100]:
        lines.append(f"| {pace.cohort} | {pace.busy:.1f} | {pace.wall:.1f} | {pace.idle:.1%} |")
    return "\n".join(lines)


def _preview(lake: LakeResource, table: str, experiment: str) -> str:
    rows = lake.lake.sql(f"SELECT * FROM {table} LIMIT 5", experiment=experiment)
    # What a person reads: no pictures, vectors, ids or hashes.
    hidden = [c for c in rows.column_names if c in ("output_image", "vector") or c.endswith(("_id", "_hash"))]
    shown = rows.drop_columns(hidden).to_pylist()
    if not shown:
        return "no rows"

    def cell(value: Any) -> str:
        text = "" if value is None else str(value)
        return text[:60].replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")

    lines = [list(shown[0]), ["---"] * len(shown[0]), *([cell(v) for v in row.values()] for row in shown)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _strip(lake: LakeResource, experiment: str) -> str | None:
    """The latest image of up to eight runs side by side, as a small inline picture."""
    from PIL import Image

    from panic_assets.trajectories.runs.content import decode

    rows = lake.lake.sql(
        """SELECT i.output_image FROM invocations i
           JOIN (SELECT run_id, max(sequence_number) AS sequence_number FROM invocations
                 WHERE type = 'image' GROUP BY run_id ORDER BY run_id LIMIT 8) USING (run_id, sequence_number)""",
        experiment=experiment,
    )["output_image"].to_pylist()
    if not rows:
        return None
    side = 96
    sheet = Image.new("RGB", (side * len(rows), side), "white")
    for index, data in enumerate(rows):
        sheet.paste(decode(data).convert("RGB").resize((side, side)), (index * side, 0))
    out = io.BytesIO()
    sheet.save(out, format="JPEG", quality=80)  # A preview: Dagster's event log is no place for large pictures.
    return f"![last images](data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()})"
