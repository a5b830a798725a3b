"""panic training: what is trained, where it came from, how it stands, what it costs, what the rule would have said."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text
from rich.tree import Tree

from panic_assets.asleep import asleep
from panic_assets.cli.output import confirmed, console, say, size, table
from panic_assets.cli.session import instance, lake, open_house
from panic_assets.training import runs, settings
from panic_assets.training.cost import by_cost

if TYPE_CHECKING:
    from panic_assets.training import removal, stages
    from panic_assets.training import replay as replaying
else:
    removal = asleep("panic_assets.training.removal")
    stages = asleep("panic_assets.training.stages")
    replaying = asleep("panic_assets.training.replay")

app = typer.Typer(no_args_is_help=True, help="Training runs of every family: lineage, convergence, cost.")
Name = Annotated[str, typer.Argument(help="Name of the training run.")]


@app.command("list")
def list_() -> None:
    """All training runs: status, checkpoints, advice, cost; and files that were found to be no checkpoints."""
    rows = lake().rows(
        """SELECT r.training_run, r.family, r.status, r.parent_run, coalesce(c.n, 0) AS checkpoints, c.latest,
                  r.planned_epochs, a.recommendation, a.best_epoch, k.spent
           FROM training_runs r
           LEFT JOIN (SELECT training_run, count(*) AS n, max(epoch) AS latest FROM checkpoints WHERE current
                      GROUP BY ALL) c USING (training_run)
           LEFT JOIN advice a USING (training_run)
           LEFT JOIN (SELECT training_run, sum(cost) AS spent FROM costs GROUP BY ALL) k USING (training_run)
           ORDER BY r.created_at"""
    )
    headings = ["run", "family", "status", "parent", "checkpoints", "latest", "planned", "advice", "best epoch", "cost"]
    table(headings, [list(r.values()) for r in rows], title="training runs")
    problems = lake().rows("SELECT path, problem, seen_at FROM checkpoint_problems ORDER BY seen_at")
    if problems:
        table(["file", "what is wrong with it", "seen"], [list(r.values()) for r in problems], title="no checkpoints")


@app.command()
def show(name: Name) -> None:
    """One run: configuration, lineage, checkpoints, what its target metrics say, and the animations asked for."""
    row = runs.get(lake(), name)
    tree = runs.lineage(lake())
    say((name, "bold"), f": {row['family']}, {row['status']}" + (f" ({row['failure']})" if row["failure"] else ""))
    say("configuration: ", row["config"])
    say(
        "ancestors: ",
        " < ".join(tree.ancestors(name)) or "none",
        "; descendants: ",
        ", ".join(tree.descendants(name)) or "none",
    )
    kept = runs.checkpoints(lake(), name)
    if kept:
        say(
            f"{len(kept):,} checkpoints, epochs {kept[0]['epoch']:,} to {kept[-1]['epoch']:,}, ",
            size(sum(r["size"] for r in kept)),
        )
    rows = lake().rows(
        """SELECT metric, epoch, state, best_epoch, best_value, last_value, slope, slope_low, slope_high, reason
           FROM convergence QUALIFY row_number() OVER (PARTITION BY metric ORDER BY epoch DESC) = 1 ORDER BY metric""",
        training_run=name,
    )
    headings = ["metric", "epoch", "state", "best epoch", "best", "last", "slope", "from", "to", "why"]
    table(headings, [list(r.values()) for r in rows], title="convergence")
    for advice in lake().rows("SELECT sentence FROM advice", training_run=name):
        say(("advice: ", "bold"), advice["sentence"])
    drawn = lake().rows(
        """SELECT view, parameters, format, status || if(status = 'done' AND inputs_hash <> ?, ', outdated', '') AS status,
                  frames_done, frames, coalesce(failure, path) AS file, render
           FROM renders ORDER BY computed_at""",
        [stages.checkpoints_version(lake(), name)],
        training_run=name,
    )
    if drawn:
        headings = ["view", "options", "format", "status", "frames", "of", "file", "render"]
        table(headings, [list(r.values()) for r in drawn], title="animations")


@app.command()
def tree(name: Annotated[str | None, typer.Argument(help="Root of the tree; all when not given.")] = None) -> None:
    """Which run started from which checkpoint."""
    forest = runs.lineage(lake())
    status = {r["training_run"]: r["status"] for r in runs.every(lake())}

    def grow(branch: Tree, run: str) -> None:
        for child in forest.children(run):
            start = forest.parent(child)
            assert start is not None
            grow(branch.add(_leaf(f"{child}  (from epoch {start.epoch:,}, {status[child]})")), child)

    for root in [runs.get(lake(), name)["training_run"]] if name else forest.roots():
        top = Tree(_leaf(f"{root}  ({status[root]})"))
        grow(top, root)
        console.print(top)
    if not status:
        say("no training runs yet")


@app.command()
def cost(
    name: Annotated[str | None, typer.Argument(help="Name of the training run; all when not given.")] = None,
    early: Annotated[int | None, typer.Option(help="Project the first epochs, up to this one, to other cards.")] = None,
) -> None:
    """What runs have cost, dearest first, the failed ones apart; and what is projected against the budget."""
    found = settings.read()
    names = [runs.get(lake(), name)["training_run"]] if name else [r["training_run"] for r in runs.every(lake())]
    totals: dict[str, float] = {}
    rows = []
    for each in names:
        done = stages.price(lake(), each, found)
        now = stages.outlook_of(lake(), each, found)
        spent = lake().rows("SELECT sum(cost) AS n FROM costs", training_run=each)[0]["n"]
        totals[each] = spent or 0.0
        note = "estimated from file times" if now.estimated else "; ".join(done.problems)
        rows.append([each, spent, now.per_epoch, now.projected, now.budget, note])
    rows.sort(key=lambda r: -(r[1] or 0))
    table(["run", "spent", "per epoch", "projected", "budget", ""], rows, title="cost")
    status = {r["training_run"]: r["status"] for r in runs.every(lake())}
    table(["run", "spent"], by_cost(totals, status), title="failed runs")
    if name and early is not None:
        projected = stages.cheaper(lake(), name, early, found)
        headings = ["card", "hours", "cost", "saves", ""]
        table(
            headings,
            [[c.card, c.hours, c.cost, c.saves, c.note] for c in projected],
            title=f"epochs up to {early} elsewhere",
        )


@app.command()
def replay(name: Name) -> None:
    """What the rule says of a run epoch by epoch, and what obeying it would have given away."""
    targets = runs.targets(runs.get(lake(), name), settings.read())
    series = stages.metric_series(lake(), name, targets)
    if not series:
        say(f"{name} has no values of its target metrics ({', '.join(targets) or 'none are set'})")
    for metric, values in sorted(series.items()):
        rows = lake().rows(
            "SELECT epoch, state, last_value, best_epoch, regret, reason FROM convergence WHERE metric = ? ORDER BY epoch",
            [metric],
            training_run=name,
        )
        table(
            ["epoch", "state", "value", "best so far", "regret", "why"],
            [list(r.values()) for r in rows],
            title=metric,
        )
        done = replaying.follow(values, targets[metric])
        assert done is not None
        if done.stop_epoch is None:
            say("the rule never says stop")
        else:
            say(
                f"obeyed, it stops at epoch {done.stop_epoch:,} ({done.state}) with epoch {done.best_epoch:,}, saves "
                f"{done.epochs_saved:,} epochs and gives away {done.regret:.4g} against epoch {done.true_best_epoch:,}"
            )


@app.command()
def delete(
    name: Name,
    tombstone: Annotated[
        bool, typer.Option("--tombstone", help="Leave name and lineage if runs started from it.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a run, everything made from it and the files trained here; refused while other runs started from it."""
    with instance() as opened:
        planned, fate = removal.plan(open_house(opened), name, "tombstone" if tombstone else "block")
        say(f"{planned.rows:,} rows, {size(planned.bytes)}" + ("; a tombstone stays" if fate == "tombstone" else ""))
        if confirmed(f"Delete training run {name}?", yes):
            removal.delete(open_house(opened), name, "tombstone" if tombstone else "block")
            say((f"deleted {name}", "bold"), f"; `panic training restore {name}` brings it back for a while")


@app.command()
def restore(name: Name) -> None:
    """Bring a deleted run back, with its rows and files."""
    with instance() as opened:
        done = removal.restore(open_house(opened), name)
    say((f"restored {name}", "bold"), f": {done.rows:,} rows")


def _leaf(text: str) -> Any:
    return Text(text)
