"""panic experiment: registers, performs, shows, deletes and restores experiments."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from panic_assets.asleep import asleep
from panic_assets.cli.model import check_models
from panic_assets.cli.output import confirmed, say, size, table, tell_problems
from panic_assets.cli.session import instance, lake, materialise, open_house, refresh
from panic_assets.doctor.rows import examine_rows
from panic_assets.operations import journal
from panic_assets.problems import open_problems
from panic_assets.settings import home
from panic_assets.trajectories import config, missing, registration
from panic_assets.trajectories.commands.cluster import recompute_models

if TYPE_CHECKING:
    from panic_assets import resources
    from panic_assets.operations import deletion
    from panic_assets.trajectories import stages
    from panic_assets.trajectories.topology import homology
else:
    deletion = asleep("panic_assets.operations.deletion")
    resources = asleep("panic_assets.resources")
    stages = asleep("panic_assets.trajectories.stages")
    homology = asleep("panic_assets.trajectories.topology.homology")

app = typer.Typer(no_args_is_help=True, help="Perform, show, delete and restore experiments.")

File = Annotated[Path, typer.Argument(help="Experiment file in YAML or JSON; experiments/examples/ has examples.")]
Name = Annotated[str, typer.Argument(help="Name of the experiment.")]

MaxDimension = Annotated[
    int | None, typer.Option(min=0, max=2, help="Highest homology dimension of the diagrams. Default: 1; 2 is slow.")
]
Field = Annotated[int | None, typer.Option(help="Compute homology modulo this prime number. Default: 2.")]
Metric = Annotated[str | None, typer.Option(help="Distance between vectors: chord (default), or angle in radians.")]
OtherPrecision = Annotated[
    bool,
    typer.Option(
        "--other-precision", help="Let models run in another precision or placement than for the rows that exist."
    ),
]


@app.command()
def perform(
    file: File,
    max_dimension: MaxDimension = None,
    field: Field = None,
    metric: Metric = None,
    other_precision: OtherPrecision = False,
) -> None:
    """Register an experiment, and perform it to the end. Ctrl-C loses nothing: the same command carries on."""
    check_models(config.read(file).inputs)
    asked = _homology(max_dimension, field, metric)
    with instance() as opened:
        name = _add(opened, file)
        _perform(opened, name, asked, other_precision)


@app.command()
def add(file: File) -> None:
    """Register an experiment, without performing it. `panic experiment resume` or `panic ui` performs it later."""
    with instance() as opened:
        name = _add(opened, file)
    refresh()
    say("perform it with ", (f"panic experiment resume {name}", "bold"), ", or in the UI: ", ("panic ui", "bold"))


@app.command()
def resume(
    name: Annotated[str | None, typer.Argument(help="Name of the experiment; default: all.")] = None,
    max_dimension: MaxDimension = None,
    field: Field = None,
    metric: Metric = None,
    other_precision: OtherPrecision = False,
) -> None:
    """Perform what is missing of an experiment. What is there is kept."""
    asked = _homology(max_dimension, field, metric)
    with instance() as opened:
        names = [stages.registered(lake(), name).name] if name else list(missing.definitions(lake()))
        left = [n for n in names if n == name or any(m.count for m in missing.to_perform(lake(), n))]
        if not left:
            say("nothing is missing in any experiment")
        for each in left:
            check_models(stages.registered(lake(), each).inputs)
            _perform(opened, each, asked, other_precision)


@app.command("list")
def list_() -> None:
    """List all experiments and their progress, and deleted experiments that can be restored."""
    rows = lake().rows(
        """SELECT e.experiment, count(r.run_id) AS runs, count(r.stop_reason) AS complete,
                  coalesce(sum(r.length), 0)::BIGINT AS invocations, e.embedding_models, e.created_at
           FROM experiments e LEFT JOIN runs r USING (experiment)
           GROUP BY ALL ORDER BY e.created_at"""
    )
    table(
        ["experiment", "runs", "complete runs", "invocations", "embedding models", "registered at"],
        [list(r.values()) for r in rows],
        title="experiments",
    )
    kept = journal.restorable(home(), "experiment")
    if kept:
        table(
            ["experiment", "deleted at", "can be restored until", "rows"],
            [[d.key, _time(d.at), _time(d.restorable_until() or 0), d.rows] for d in kept],
            title="deleted experiments",
        )


@app.command()
def show(name: Name) -> None:
    """Show the definition of an experiment, how its models ran, and how many runs of each network looped, failed or
    reached full length."""
    found = stages.registered(lake(), name)
    say((found.name, "bold"), f": {found.runs:,} runs of up to {found.max_length:,} invocations")
    table(["prompt"], [[p] for p in found.prompts])
    say("seeds: ", ", ".join(map(str, found.seeds)))
    say("embedding models: ", ", ".join(found.embedding_models))
    rows = lake().rows(
        """SELECT network, count(*) AS runs, count(*) FILTER (stop_reason = 'length') AS to_length,
                  count(*) FILTER (stop_reason = 'loop') AS looped, count(*) FILTER (stop_reason = 'failed') AS failed,
                  sum(length)::BIGINT AS invocations, median(loop_length) AS loop_length
           FROM runs GROUP BY network ORDER BY network""",
        experiment=name,
    )
    headings = ["network", "runs", "reached full length", "looped", "failed", "invocations", "median loop length"]
    table(headings, [list(r.values()) for r in rows])
    ran = lake().rows(
        """SELECT model, precision, placement, device, CASE WHEN tiled THEN 'yes' ELSE '' END AS tiled,
                  array_to_string(libraries, ', ') AS libraries, sum(rows)::BIGINT AS made
           FROM model_settings JOIN (
               SELECT settings_id, count(*) AS rows FROM invocations GROUP BY ALL
               UNION ALL SELECT settings_id, count(*) FROM embeddings GROUP BY ALL
           ) USING (settings_id) GROUP BY ALL ORDER BY ALL""",
        experiment=name,
    )
    if ran:
        headings = ["model", "precision", "placement", "device", "tiles", "libraries", "rows"]
        table(headings, [list(r.values()) for r in ran], title="how the models ran")


@app.command()
def status(
    name: Annotated[str | None, typer.Argument(help="Name of the experiment; default: all.")] = None,
) -> None:
    """Show what each stage has made and what is missing, who works on an experiment, and what is wrong with its rows."""
    names = [stages.registered(lake(), name).name] if name else list(missing.definitions(lake()))
    for each in names:
        holder = lake().leased(f"experiment {each}")
        say((each, "bold"), f": it is being worked on by {holder}" if holder else "")
        rows = [
            [m.stage, m.of, m.total - m.count, m.total, m.unit, "incomplete" if m.count else "done"]
            for m in missing.to_perform(lake(), each)
        ]
        table(["stage", "embedding model", "made", "of", "unit", "state"], rows)
        for line in _unread(each):
            say(("  note: ", "yellow"), line)
        for finding in examine_rows(lake(), "experiment", each):
            say(("  wrong: ", "red"), str(finding))
        tell_problems(open_problems(lake(), subject=each))
    if name is None:
        tell_problems(open_problems(lake(), source="dropped_files"))
    stale = missing.stale_clusterings(lake())
    if stale:
        command = ("panic cluster recompute", "bold")
        say(("the clusters of these embedding models are stale: ", "yellow"), ", ".join(stale), "; run ", command)
    if not names:
        say("there are no experiments yet; register one with ", ("panic experiment perform FILE", "bold"))


def _unread(name: str) -> list[str]:
    """What models did not read to the end, or did not finish writing; one sentence each."""
    rows = lake().rows(
        """SELECT model, count(*) FILTER (tokens_read < tokens_given) AS unread, count(tokens_given) AS texts,
                  count(*) FILTER (NOT finished) AS unfinished, count(finished) AS written
           FROM (SELECT model, tokens_given, tokens_read, finished FROM invocations
                 UNION ALL SELECT embedding_model, tokens_given, tokens_read, NULL FROM embeddings)
           GROUP BY model ORDER BY model""",
        experiment=name,
    )
    lines = []
    for r in rows:
        for count, of, what in (
            (r["unread"], r["texts"], "did not read the end of"),
            (r["unfinished"], r["written"], "did not finish"),
        ):
            if count:
                lines.append(f"{r['model']} {what} {count:,} of {of:,} texts ({count / of:.1%})")
    return lines


@app.command()
def delete(
    name: Name,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be deleted, and delete nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
    purge: Annotated[bool, typer.Option("--purge", help="Delete for ever: it cannot be restored.")] = False,
) -> None:
    """Delete an experiment and everything made from it. It can be restored for PANIC_TRASH_DAYS (7) days."""
    with instance(carry_on=False) as opened:
        planned = deletion.plan(open_house(opened), "experiment", name, purge)
        table(
            ["asset", "tables", "rows", "size", "what happens to its partitions"],
            [
                [e.asset, ", ".join(e.tables), e.rows, size(e.bytes), _fate(e.delete, e.rebuild)]
                for e in planned.entries
                if e.rows or e.delete == (name,) or e.rebuild
            ],
            title=f"deleting experiment {name}",
        )
        say(f"{planned.rows:,} rows, {size(planned.bytes)}" + ("; it cannot be restored" if purge else ""))
        if dry_run or not confirmed(f"Delete experiment {name}?", yes):
            return
        done = deletion.run(open_house(opened), planned)
        until = done.restorable_until()
        say(
            (f"deleted {name}", "bold"),
            f"; `panic experiment restore {name}` brings it back until {_time(until):%Y-%m-%d %H:%M}" if until else "",
        )
        rebuild = {model for e in planned.entries for model in e.rebuild}
        recompute_models(opened, [m for m in missing.stale_clusterings(lake()) if m in rebuild])


@app.command()
def restore(name: Name) -> None:
    """Restore a deleted experiment, with its rows and its key in Dagster."""
    with instance(carry_on=False) as opened:
        done = deletion.restore(open_house(opened), "experiment", name)
    say(
        (f"restored {name}", "bold"),
        f": {done.rows:,} rows; clusters that pool it are stale until they are computed again",
    )


def _add(opened: Any, file: Path) -> str:

    found, changed = registration.add(resources.LakeResource(), opened, config.read(file))
    say((found.name, "bold"), f": {found.runs:,} runs, {'registered' if changed else 'registered already'}")
    return found.name


def _homology(max_dimension: int | None, field: int | None, metric: str | None) -> dict[str, Any]:
    """The settings of diagrams that are given; wrong ones are refused. Those that are not given stay as they are."""
    given: dict[str, Any] = {"max_dimension": max_dimension, "field": field, "metric": metric}
    given = {name: value for name, value in given.items() if value is not None}
    homology.Homology(**given)
    return given


def _perform(opened: Any, name: str, homology: dict[str, Any], other_precision: bool) -> None:
    precision = {"config": {"other_precision": other_precision}}
    config = {"ops": {"invocations": precision, "embeddings": precision, "persistence_diagrams": {"config": homology}}}
    materialise(opened, "perform_experiment", name, f"experiment {name}", config)
    rows = lake().rows(
        """SELECT embedding_model, r.network, dimension, count(*) AS diagrams, avg(entropy) AS entropy,
                  avg(finite_bars) AS bars, max(max_persistence) AS longest
           FROM persistence_summary JOIN runs r USING (run_id, experiment)
           GROUP BY ALL ORDER BY ALL""",
        experiment=name,
    )
    table(
        ["embedding model", "network", "dimension", "diagrams", "mean entropy", "mean finite bars", "longest bar"],
        [list(r.values()) for r in rows],
        title=f"persistence of {name}",
    )
    counted = lake().rows(
        """SELECT count(*) AS runs, count(*) FILTER (stop_reason = 'loop') AS looped,
                  count(*) FILTER (stop_reason = 'failed') AS failed, sum(length)::BIGINT AS n FROM runs""",
        experiment=name,
    )[0]
    failed = f", {counted['failed']:,} failed" if counted["failed"] else ""
    say(f"{counted['runs']:,} runs ({counted['looped']:,} looped{failed}), {counted['n']:,} invocations")
    say("the results are in ", (str(home().catalogue), "bold"), ", a DuckDB file; open it read-only. Try:")
    model = rows[0]["embedding_model"] if rows else None
    for query in _queries(name, model):
        say("  panic query ", (f'"{query}"', "cyan"))


def _queries(name: str, model: str | None) -> list[str]:
    """Queries to try on any experiment."""
    queries = [
        f"SELECT network, prompt, seed, length, stop_reason, loop_length FROM runs WHERE experiment = '{name}'",
        "SELECT network, embedding_model, dimension, avg(entropy) FROM persistence_summary JOIN runs USING (run_id) "
        "GROUP BY ALL ORDER BY ALL",
    ]
    if model:
        queries.append(
            "SELECT output_text, array_cosine_similarity(vector, (SELECT vector FROM "
            f"embeddings_{model} ORDER BY invocation_id LIMIT 1)) AS likeness FROM embeddings_{model} "
            "JOIN invocations USING (invocation_id) ORDER BY likeness DESC LIMIT 10"
        )
    return queries


def _fate(delete: tuple[str, ...], rebuild: tuple[str, ...]) -> str:
    parts = []
    if delete:
        parts.append(f"{len(delete)} deleted")
    if rebuild:
        parts.append(f"{', '.join(rebuild)} rebuilt")
    return "; ".join(parts)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, tz=UTC)
