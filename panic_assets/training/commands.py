"""panic training: shows and deletes training runs: their status, lineage, cost, and what the convergence rule advises."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text
from rich.tree import Tree

from panic_assets.asleep import asleep
from panic_assets.cli.output import confirmed, console, say, size, table, tell_problems
from panic_assets.cli.session import instance, lake, open_house
from panic_assets.problems import open_problems
from panic_assets.training import runs, settings
from panic_assets.training.cost import by_cost

if TYPE_CHECKING:
    from panic_assets.training import removal, stages
    from panic_assets.training import replay as replaying
else:
    removal = asleep("panic_assets.training.removal")
    stages = asleep("panic_assets.training.stages")
    replaying = asleep("panic_assets.training.replay")

app = typer.Typer(
    no_args_is_help=True, help="Show and delete training runs of every family: lineage, convergence, cost."
)
Name = Annotated[str, typer.Argument(help="Name of the training run.")]


@app.command("list")
def list_() -> None:
    """List all training runs: status, checkpoints, advice and cost. Also list files that are not valid checkpoints."""
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
    headings = [
        "training run",
        "family",
        "status",
        "parent",
        "checkpoints",
        "latest epoch",
        "planned epochs",
        "advice",
        "best epoch",
        "cost",
    ]
    table(headings, [list(r.values()) for r in rows], title="training runs")
    tell_problems(open_problems(lake()))


@app.command()
def show(name: Name) -> None:
    """Show one training run: configuration, lineage, checkpoints, convergence of its target metrics, and animations."""
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
            f"{len(kept):,} checkpoints of epochs {kept[0]['epoch']:,} to {kept[-1]['epoch']:,}, ",
            size(sum(r["size"] for r in kept)),
        )
    rows = lake().rows(
        """SELECT metric, epoch, state, best_epoch, best_value, last_value, slope, slope_low, slope_high, reason
           FROM convergence QUALIFY row_number() OVER (PARTITION BY metric ORDER BY epoch DESC) = 1 ORDER BY metric""",
        training_run=name,
    )
    headings = [
        "metric",
        "epoch",
        "state",
        "best epoch",
        "best value",
        "last value",
        "slope",
        "slope, low",
        "slope, high",
        "reason",
    ]
    table(headings, [list(r.values()) for r in rows], title="convergence")
    for advice in lake().rows("SELECT sentence FROM advice", training_run=name):
        say(("advice: ", "bold"), advice["sentence"])
    tell_problems(open_problems(lake(), subject=name))
    drawn = lake().rows(
        """SELECT view, parameters, format, status || if(status = 'done' AND inputs_hash <> ?, ', outdated', '') AS status,
                  frames_done, frames, coalesce(failure, path) AS file, render
           FROM renders ORDER BY computed_at""",
        [stages.checkpoints_version(lake(), name)],
        training_run=name,
    )
    if drawn:
        headings = ["view", "options", "format", "status", "frames drawn", "frames", "file or failure", "animation"]
        table(headings, [list(r.values()) for r in drawn], title="animations")


@app.command()
def tree(name: Annotated[str | None, typer.Argument(help="Root of the tree; default: every root.")] = None) -> None:
    """Show which training run started from which checkpoint."""

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
        say("there are no training runs yet; `panic grokking train` and `panic finetune add` make some")


@app.command()
def cost(
    name: Annotated[str | None, typer.Argument(help="Name of the training run; default: all.")] = None,
    early: Annotated[
        int | None, typer.Option(help="Estimate what the epochs up to this one would have cost on other cards.")
    ] = None,
) -> None:
    """Show what training runs have cost and will cost, the most expensive first. Failed runs are listed once more below."""
    found = settings.read()
    names = [runs.get(lake(), name)["training_run"]] if name else [r["training_run"] for r in runs.every(lake())]
    totals: dict[str, float] = {}
    rows = []
    for each in names:
        done = stages.price(lake(), each, found)
        now = stages.outlook_of(lake(), each, found)
        spent = lake().rows("SELECT sum(cost) AS n FROM costs", training_run=each)[0]["n"]
        totals[each] = spent or 0.0
        note = "estimated from the times of the files" if now.estimated else "; ".join(done.problems)
        rows.append([each, spent, now.per_epoch, now.projected, now.budget, note])
    rows.sort(key=lambda r: -(r[1] or 0))
    table(["training run", "spent", "per epoch", "projected", "budget", "notes"], rows, title="cost")
    status = {r["training_run"]: r["status"] for r in runs.every(lake())}
    table(["training run", "spent"], by_cost(totals, status), title="failed runs")
    if name and early is not None:
        projected = stages.cheaper(lake(), name, early, found)
        headings = ["card", "hours", "cost", "saves", "notes"]
        table(
            headings,
            [[c.card, c.hours, c.cost, c.saves, c.note] for c in projected],
            title=f"epochs up to {early} on other cards",
        )


@app.command()
def replay(name: Name) -> None:
    """Show the state of the convergence rule at every epoch of a run, and what stopping by the rule would have missed."""
    targets = runs.targets(runs.get(lake(), name), settings.read())
    series = stages.metric_series(lake(), name, targets)
    if not series:
        if targets:
            say(f"training run {name} has no values of its target metrics ({', '.join(targets)}); measure them first")
        else:
            say(f"training run {name} has no target metrics; name some under targets in training.yaml")
    for metric, values in sorted(series.items()):
        rows = lake().rows(
            "SELECT epoch, state, last_value, best_epoch, regret, reason FROM convergence WHERE metric = ? ORDER BY epoch",
            [metric],
            training_run=name,
        )
        table(
            ["epoch", "state", "value", "best epoch so far", "missed by stopping", "reason"],
            [list(r.values()) for r in rows],
            title=metric,
        )
        done = replaying.follow(values, targets[metric])
        assert done is not None
        if done.stop_epoch is None:
            say(f"by {metric}, the rule never says stop")
        else:
            say(
                f"by {metric}, the rule says stop at epoch {done.stop_epoch:,} ({done.state}), where epoch "
                f"{done.best_epoch:,} is best so far; this saves {done.epochs_saved:,} epochs, and misses an improvement "
                f"of {done.regret:.4g} at epoch {done.true_best_epoch:,}, the best of the whole run"
            )


@app.command()
def delete(
    name: Name,
    tombstone: Annotated[
        bool, typer.Option("--tombstone", help="If other runs started from it, keep its name and lineage.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
) -> None:
    """Delete a training run, everything made from it, and its files if it was trained here.

    A run from which other runs started is only deleted with --tombstone."""
    with instance(carry_on=False) as opened:
        planned, fate = removal.plan(open_house(opened), name, "tombstone" if tombstone else "block")
        kept = "; its name and lineage are kept" if fate == "tombstone" else ""
        say(f"{planned.rows:,} rows, {size(planned.bytes)}{kept}")
        if confirmed(f"Delete training run {name}?", yes):
            removal.delete(open_house(opened), name, "tombstone" if tombstone else "block")
            say((f"deleted {name}", "bold"), f"; for a while, `panic training restore {name}` brings it back")


@app.command()
def restore(name: Name) -> None:
    """Restore a deleted training run, with its rows and files."""
    with instance(carry_on=False) as opened:
        done = removal.restore(open_house(opened), name)
    say((f"restored {name}", "bold"), f": {done.rows:,} rows")


def _leaf(text: str) -> Any:
    return Text(text)
