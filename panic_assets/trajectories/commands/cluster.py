"""panic cluster: clusters the vectors of each embedding model, pooled over all experiments."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from panic_assets.asleep import asleep
from panic_assets.cli.output import say, table
from panic_assets.cli.session import instance, lake, materialise
from panic_assets.registry import registry
from panic_assets.trajectories import missing

if TYPE_CHECKING:
    from panic_assets.trajectories.clusters import layers as resolutions
else:
    resolutions = asleep("panic_assets.trajectories.clusters.layers")

app = typer.Typer(
    no_args_is_help=True, help="Cluster the vectors of each embedding model, pooled over all experiments."
)


@app.command()
def recompute(
    models: Annotated[
        list[str] | None, typer.Argument(help="Embedding models; by default all whose clusters are stale.")
    ] = None,
) -> None:
    """Cluster vectors again. The old clusters stay readable until the new ones replace them."""
    _with_stale(models)


def _with_stale(models: list[str] | None, config: dict[str, Any] | None = None) -> None:
    wanted = [registry.get(m).name for m in models or []]
    with instance() as opened:
        wanted = wanted or sorted({*missing.stale_clusterings(lake()), *_unrecorded(opened)})
        if not wanted:
            say("no clusters are stale, so there is nothing to do")
            return
        recompute_models(opened, wanted, config)
    list_()


def _unrecorded(opened: Any) -> set[str]:
    """Models that are clustered without Dagster having been told: it was interrupted between the two."""
    from dagster import AssetKey

    clustered = {partition["embedding_model"] for partition, _ in lake().partitions("clusterings")}
    return clustered - opened.get_materialized_partitions(AssetKey("clusters"))


@app.command()
def assign(
    models: Annotated[
        list[str] | None, typer.Argument(help="Embedding models; by default all whose clusters are stale.")
    ] = None,
) -> None:
    """Put new vectors into the existing clusters. This is quick, but it finds no new clusters."""
    _with_stale(models, {"ops": {"clusters": {"config": {"assign_only": True}}}})


@app.command()
def layers(model: Annotated[str, typer.Argument(help="Name of the embedding model.")]) -> None:
    """Cluster vectors at several resolutions, and list the layers. EVoC can take more vectors than `recompute`."""
    name = registry.get(model).name
    say(resolutions.COMPILES)
    with instance() as opened:
        materialise(opened, "recompute_layers", name, f"layers of {name}")
    rows = lake().rows(
        "SELECT layer, clusters, outliers, vectors, distinct_vectors, seed_agreement, subsample_agreement "
        "FROM cluster_layers ORDER BY layer",
        embedding_model=name,
    )
    table([c.replace("_", " ") for c in (rows[0] if rows else ())], [list(r.values()) for r in rows])


@app.command("list")
def list_() -> None:
    """List the current clustering of each embedding model, and whether it is stale."""
    stale = set(missing.stale_clusterings(lake()))
    rows = lake().rows(
        "SELECT embedding_model, clusters, vectors, distinct_vectors, outliers, assigned, len(experiments) AS experiments, "
        "(parameters ->> 'min_cluster_size')::INTEGER AS smallest, computed_at FROM clusterings ORDER BY embedding_model"
    )
    made = {r["embedding_model"] for r in rows}
    table(
        [
            "embedding model",
            "clusters",
            "vectors",
            "distinct vectors",
            "outliers",
            "assigned later",
            "experiments",
            "smallest allowed",
            "computed at",
            "state",
        ],
        [[*r.values(), "stale" if r["embedding_model"] in stale else "current"] for r in rows],
        title="clusterings",
    )
    if stale - made:
        say("these embedding models are not clustered yet: ", ", ".join(sorted(stale - made)))


@app.command()
def show(
    model: Annotated[str, typer.Argument(help="Name of the embedding model.")],
    limit: Annotated[int, typer.Option(help="Show at most this many clusters.")] = 20,
) -> None:
    """Show the largest clusters of one model, each with its medoid: the member nearest to all others."""
    rows = lake().rows(
        "SELECT cluster, size, medoid_text, medoid_invocation_id FROM clusters ORDER BY cluster LIMIT ?",
        [limit + 1],
        embedding_model=registry.get(model).name,
    )
    table(
        ["cluster", "members", "text of the medoid", "invocation of the medoid"],
        [list(r.values()) for r in rows],
    )


def recompute_models(opened: Any, models: Sequence[str], config: dict[str, Any] | None = None) -> None:
    """Cluster the vectors of some embedding models here."""
    for model in models:
        materialise(opened, "recompute_clusters", model, f"clusters of {model}", config)
