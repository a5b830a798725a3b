"""panic run: the runs of experiments, one by one."""

from typing import Annotated

import typer

from panic_assets.cli.output import console, say, table

app = typer.Typer(no_args_is_help=True, help="Runs: one network, prompt and seed each.")


@app.command("list")
def list_(
    experiment: Annotated[str | None, typer.Option("--experiment", "-e", help="Only this experiment.")] = None,
    limit: Annotated[int, typer.Option(help="How many at the most.")] = 50,
) -> None:
    """Runs with how they ended."""
    from panic_assets.cli.session import lake

    where = {"experiment": experiment} if experiment else {}
    rows = (
        lake()
        .sql(
            "SELECT run_id, experiment, network, prompt, seed, length, stop_reason, loop_length "
            "FROM runs ORDER BY run_id LIMIT ?",
            [limit + 1],
            **where,
        )
        .to_pylist()
    )
    headings = ["run", "experiment", "network", "prompt", "seed", "length", "stopped by", "loop length"]
    table(headings, [list(r.values()) for r in rows[:limit]])
    if len(rows) > limit:
        say(f"only the first {limit:,} are shown; --limit shows more")


@app.command()
def show(
    run_id: Annotated[str, typer.Argument(help="Id of the run, or how it begins.")],
    limit: Annotated[int, typer.Option(help="How many invocations.")] = 20,
) -> None:
    """One run: how it ended, and its first captions."""
    from panic_assets.cli.session import lake
    from panic_assets.errors import UserError

    found = lake().sql("SELECT * FROM runs WHERE starts_with(run_id, ?) LIMIT 2", [run_id]).to_pylist()
    if len(found) != 1:
        many = "several runs begin" if found else "no run begins"
        raise UserError(f"{many} with {run_id!r}; `panic run list` shows their ids")
    run = found[0]
    for key, value in run.items():
        if value is not None:
            say((f"{key:>14} ", "dim"), str(value))
    rows = lake().sql(
        "SELECT sequence_number, model, type, output_text, octet_length(output_image) AS bytes, duration_share "
        "FROM invocations WHERE run_id = ? ORDER BY sequence_number LIMIT ?",
        [run["run_id"], limit],
        experiment=run["experiment"],
    )
    table(["step", "model", "type", "text", "image bytes", "seconds"], [list(r.values()) for r in rows.to_pylist()])
    console.print()
