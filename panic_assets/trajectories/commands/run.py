"""panic run: shows single runs of experiments. A run is one network that starts from one prompt with one seed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from panic_assets.asleep import asleep
from panic_assets.cli.output import console, say, table
from panic_assets.cli.session import lake
from panic_assets.errors import UserError

if TYPE_CHECKING:
    from panic_assets.trajectories.stages import loops
else:
    loops = asleep("panic_assets.trajectories.stages.loops")

app = typer.Typer(no_args_is_help=True, help="Show single runs of experiments: one network, one prompt, one seed.")


@app.command("list")
def list_(
    experiment: Annotated[
        str | None, typer.Option("--experiment", "-e", help="List runs of this experiment only.")
    ] = None,
    limit: Annotated[int, typer.Option(help="Show at most this many runs.")] = 50,
) -> None:
    """List runs and how they ended."""
    where = {"experiment": experiment} if experiment else {}
    rows = lake().rows(
        "SELECT run_id, experiment, network, prompt, seed, length, stop_reason, loop_length "
        "FROM runs ORDER BY run_id LIMIT ?",
        [limit + 1],
        **where,
    )
    headings = ["run", "experiment", "network", "prompt", "seed", "length", "ended by", "loop length"]
    table(headings, [list(r.values()) for r in rows[:limit]])
    if len(rows) > limit:
        say(f"only the first {limit:,} runs are shown; --limit shows more")


@app.command()
def show(
    run_id: Annotated[str, typer.Argument(help="Id of the run, or its beginning.")],
    limit: Annotated[int, typer.Option(help="Show at most this many invocations.")] = 20,
) -> None:
    """Show one run: how it ended, and its first invocations, which are the calls of its models."""
    run = _run(run_id)
    for key, value in run.items():
        if value is not None:
            say((f"{key:>14} ", "dim"), str(value))
    rows = lake().rows(
        "SELECT sequence_number, model, type, output_text, octet_length(output_image) AS bytes, duration_share "
        "FROM invocations WHERE run_id = ? ORDER BY sequence_number LIMIT ?",
        [run["run_id"], limit],
        experiment=run["experiment"],
    )
    table(["step", "model", "type", "text", "image bytes", "seconds"], [list(r.values()) for r in rows])
    console.print()


@app.command()
def loop(
    run_id: Annotated[str, typer.Argument(help="Id of the run, or its beginning.")],
    model: Annotated[str, typer.Option("--model", "-m", help="Name of the embedding model.")],
    bar: Annotated[int | None, typer.Option(min=0, help="Number of the bar; default: the longest.")] = None,
    dimension: Annotated[
        int, typer.Option(min=1, max=2, help="1 for a loop, 2 for a void, which is shown as the loop around it.")
    ] = 1,
    out: Annotated[Path | None, typer.Option(help="Write the images to this folder.")] = None,
) -> None:
    """Show the outputs that a bar of a persistence diagram stands for.

    They form a loop: in it the run comes back to where it was. The outputs at its birth and at its death are shown too."""
    found = loops.representative(lake(), _run(run_id), model, bar, dimension)
    say(
        (f"bar {found.bar} of H{dimension}", "bold"),
        f": born at {found.birth:.6g}, filled at {found.death:.6g} ({found.metric})",
    )
    headings = ["step", "image before" if found.captions else "image", "text" if found.captions else "text before"]
    around, birth, death = {
        1: ("once round the loop", "the longest edge: the loop is born with it", "the triangle that fills it"),
        2: (
            "once round the void",
            "the triangle that the void is born with",
            "the tetrahedron that fills it, its poles first",
        ),
    }[dimension]
    for title, steps in (
        *((f"{around}, {len(walk)} outputs", walk) for walk in found.rounds),
        (birth, found.birth_steps),
        (death, found.death_steps),
    ):
        rows = [[f"{s.sequence_number}", s.image and len(s.image), s.text] for s in steps]
        table(headings, [[step, f"{size:,} bytes" if size else None, text] for step, size, text in rows], title=title)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        images = {s.sequence_number: s for walk in found.rounds for s in walk}
        images |= {s.sequence_number: s for s in (*found.birth_steps, *found.death_steps)}
        for step in images.values():
            if step.image is not None:
                (out / f"{step.sequence_number:06}.{step.image_format}").write_bytes(step.image)
        say(f"{len(images)} images were written to {out}")


def _run(run_id: str) -> dict[str, Any]:
    found = lake().rows("SELECT * FROM runs WHERE starts_with(run_id, ?) LIMIT 2", [run_id])
    if len(found) != 1:
        many = "several run ids begin" if found else "no run id begins"
        raise UserError(f"{many} with {run_id!r}; `panic run list` shows the ids")
    run: dict[str, Any] = found[0]
    return run
