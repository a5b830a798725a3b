"""panic grokking: trains small transformers on modular addition, and analyses their weights at every checkpoint."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from panic_assets.asleep import asleep
from panic_assets.cli.output import say, table
from panic_assets.cli.session import instance, lake, materialise
from panic_assets.errors import UserError
from panic_assets.grokking import config
from panic_assets.grokking.config import FAMILY
from panic_assets.training import runs

if TYPE_CHECKING:
    from panic_assets.grokking import stages
    from panic_assets.grokking.pictures import renders
    from panic_assets.training import registration
else:
    registration = asleep("panic_assets.training.registration")
    stages = asleep("panic_assets.grokking.stages")
    renders = asleep("panic_assets.grokking.pictures.renders")

app = typer.Typer(
    no_args_is_help=True,
    help="Train small transformers on modular addition, and analyse their weights at every checkpoint.",
)
File = Annotated[Path, typer.Argument(help="Grokking file (*.grokking, in YAML); experiments/examples/ has examples.")]
Name = Annotated[str, typer.Argument(help="Name of the training run.")]


@app.command()
def train(file: File) -> None:
    """Train the runs of a file to the end, and analyse them.

    Ctrl-C loses nothing: the same command carries on, with the same result bit for bit."""
    with instance() as opened:
        for run in config.read(file):
            _register(opened, run)
            materialise(opened, "train_grokking", run.name, f"training {run.name}")
            _report(run.name)


@app.command()
def sweep(file: File) -> None:
    """Train every combination of prime, seed and data seed in a file, and compare how each run ended with the first."""
    made = config.read(file)
    with instance() as opened:
        text = file.read_text(encoding="utf-8-sig")
        definition = f"name: {file.stem}\n{text}" if "\nname:" not in f"\n{text}" else text
        run_config = {"ops": {"sweep_grokking_op": {"config": {"definition": definition}}}}
        materialise(opened, "sweep_grokking", None, f"sweep {file.stem}", run_config)
        for run in made:
            materialise(opened, "analyse_grokking", run.name, f"analysing {run.name}")
    names = [run.name for run in made]
    rows = lake().rows(
        """SELECT training_run, outcome, onset, final_loss, rebound, frequencies, separation, onset_shift, loss_ratio
           FROM grokking_outcomes WHERE list_contains(?, training_run) ORDER BY training_run""",
        [names],
    )
    headings = [
        "training run",
        "outcome",
        "onset epoch",
        "final test loss",
        "final / lowest loss",
        "frequencies",
        "smallest answer distance",
        "onset after first run's",
        "log10 of loss / first run's",
    ]
    table(headings, [list(r.values()) for r in rows], title=f"sweep {file.stem}")


@app.command()
def analyse(
    names: Annotated[
        list[str] | None, typer.Argument(help="Names of training runs; default: all of the family.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="A neuron adopts a frequency at this concentration. Default: the last one given, or 0.5."),
    ] = None,
    hysteresis: Annotated[
        float | None, typer.Option(help="A neuron keeps it until this far below. Default: the last one given, or 0.1.")
    ] = None,
) -> None:
    """Analyse checkpoints that were not analysed yet, and describe again how each run ended."""
    mine = [r["training_run"] for r in runs.every(lake(), FAMILY.name) if r["status"] != runs.TOMBSTONE]
    given = {k: v for k, v in (("threshold", threshold), ("hysteresis", hysteresis)) if v is not None}
    run_config = {"ops": {"grokking_frequencies": {"config": given}}}
    with instance() as opened:
        for name in [runs.get(lake(), n)["training_run"] for n in names] if names else mine:
            materialise(opened, "analyse_grokking", name, f"analysing {name}", run_config)
            _report(name)


@app.command()
def ingest(
    folder: Annotated[
        Path, typer.Argument(help="Folder of checkpoints, named as in checkpoint_epoch_00000.safetensors.")
    ],
    name: Annotated[str | None, typer.Option(help="Name of the training run; default: the name of the folder.")] = None,
) -> None:
    """Register checkpoints that were trained elsewhere, in the same layout, and analyse them. The files stay there."""
    where = str(folder.expanduser().absolute())
    run = name or folder.absolute().name
    with instance() as opened:
        runs.register(lake(), runs.NewRun(run, FAMILY.name, {"url": where}, where, status="watched"))
        registration.add_keys(opened, FAMILY.name, [run])
        materialise(opened, "analyse_grokking", run, f"analysing {run}")
    _report(run)


@app.command()
def plan(
    name: Name,
    add: Annotated[
        bool, typer.Option("--add", help="Train those stretches again, and keep the proposed epochs.")
    ] = False,
) -> None:
    """List events of the losses, such as a steep descent. Propose epochs to add where checkpoints are too far apart."""
    runs.get(lake(), name)
    rows = lake().rows(
        """SELECT split, event, epoch, value, start, "end", ratio, too_coarse, widest_gap, proposed
           FROM loss_events ORDER BY epoch, split""",
        training_run=name,
    )
    headings = [
        "loss",
        "event",
        "at epoch",
        "loss there",
        "from epoch",
        "to epoch",
        "rebound ratio",
        "checkpoints too coarse",
        "widest gap",
        "epochs to add",
    ]
    table(headings, [list(r.values()) for r in rows], title=f"events of {name}")
    extra = stages.proposal(lake(), name)
    if not extra:
        say("the checkpoints are close enough to show every event")
    elif not add:
        say(f"{len(extra):,} epochs are proposed; ", (f"panic grokking plan {name} --add", "bold"), " adds them")
    else:
        with instance() as opened:
            run_config = {"ops": {"add_checkpoints_op": {"config": {"run": name}}}}
            materialise(opened, "add_grokking_checkpoints", None, f"training {name} again", run_config)
            materialise(opened, "analyse_grokking", name, f"analysing {name}")
        say(f"{len(extra):,} epochs were added; older checkpoints are unchanged")


@app.command()
def intervene(
    name: Name,
    epoch: Annotated[int, typer.Option(help="Epoch of the parent's checkpoint to start from.")],
    gain: Annotated[
        list[str] | None,
        typer.Option(help="FREQUENCY:FACTOR multiplies a frequency of the attention output. Repeatable."),
    ] = None,
    until: Annotated[
        int | None, typer.Option(help="Last epoch of the gains; default: the last epoch of the child.")
    ] = None,
    ramp: Annotated[int, typer.Option(help="Number of epochs over which gains are turned up, and down again.")] = 0,
    weight_decay: Annotated[float | None, typer.Option(help="Weight decay of the child.")] = None,
    train_fraction: Annotated[float | None, typer.Option(help="Share of pairs that the child trains on.")] = None,
    data_seed: Annotated[int | None, typer.Option(help="Seed that chooses the child's training pairs.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Last epoch of the child; default: that of the parent.")] = None,
) -> None:
    """Train a child run from a checkpoint of another run, with something changed; and a control, with nothing changed."""
    planned = runs.get(lake(), name)["planned_epochs"]
    last = until if until is not None else (epochs if epochs is not None else planned)
    gains = []
    for text in gain or []:
        try:
            k, factor = text.split(":")
            gains.append([int(k), float(factor), epoch, last, ramp])
        except (ValueError, TypeError):
            raise UserError(f"gain is {text!r}; write FREQUENCY:FACTOR, as in 17:0.5") from None
    given = {"weight_decay": weight_decay, "train_fraction": train_fraction, "data_seed": data_seed, "epochs": epochs}
    wanted: dict[str, Any] = {"parent": name, "epoch": epoch, "gains": gains}
    wanted |= {k: v for k, v in given.items() if v is not None}
    before = {r["training_run"] for r in runs.every(lake())}
    with instance() as opened:
        run_config = {"ops": {"intervene_grokking_op": {"config": wanted}}}
        materialise(opened, "intervene_grokking", None, f"intervening on {name}", run_config)
        children = [
            r["training_run"] for r in runs.every(lake()) if r["parent_run"] == name and r["parent_epoch"] == epoch
        ]
        for child in children:
            materialise(opened, "analyse_grokking", child, f"analysing {child}")
    for child in children:
        _report(child, new=child not in before)


@app.command()
def animate(
    name: Name,
    view: Annotated[
        str, typer.Argument(help="What to draw: embedding, centroids, ring, trajectory, spectrum, spaces or neurons.")
    ] = "ring",
    option: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE, as in k=5; names: matrix, basis, site, k, group, components, space."),
    ] = None,
    file_format: Annotated[str, typer.Option("--format", help="Format of the file: html, gif or mp4.")] = "html",
    cancel: Annotated[str | None, typer.Option(help="Draw nothing, but cancel the animation with this id.")] = None,
) -> None:
    """Draw an animation of a training run over its epochs.

    An animation that exists is not drawn again. One that was interrupted is finished."""
    if cancel:
        renders.cancel(lake(), name, cancel)
        say(f"cancelled animation {cancel}")
        return
    options = {}
    for text in option or []:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"option is {text!r}; write NAME=VALUE, as in k=5")
        options[key] = value
    render = renders.request(lake(), name, view, options, file_format)
    row = renders.get(lake(), name, render)
    assert row is not None
    if row["status"] != "done":
        with instance() as opened:
            materialise(opened, "render_grokking", name, f"drawing {name}")
        row = renders.get(lake(), name, render)
        assert row is not None
    if row["status"] != "done":
        why = f": {row['failure']}" if row["failure"] else ""
        raise UserError(f"the animation {view} of training run {name} was not drawn; it is {row['status']}{why}")
    say("drawn: ", (row["path"], "bold"))


def _register(opened: Any, run: Any) -> None:
    new = stages.register(lake(), run)
    registration.add_keys(opened, FAMILY.name, [run.name])
    say(
        (run.name, "bold"),
        f": {run.recipe.epochs:,} epochs, {len(run.save_at):,} checkpoints, {'registered' if new else 'registered already'}",
    )


def _report(name: str, new: bool = True) -> None:
    """Print how a training run ended, in a few lines."""
    outcome = lake().rows("SELECT * FROM grokking_outcomes", training_run=name)
    if outcome:
        o = outcome[0]
        onset = f"from epoch {o['onset']:,}" if o["onset"] is not None else "never"
        say(
            (name, "bold"),
            f": {o['outcome']}; it generalises {onset}; final test loss {o['final_loss']:.3g}, test accuracy "
            f"{o['final_accuracy']:.1%}; frequencies of W_E: {', '.join(o['frequencies']) or 'none'}",
        )
        if o["base_run"]:
            shift = "" if o["onset_shift"] is None else f"it generalises {o['onset_shift']:+,} epochs later"
            say(f"  compared with {o['base_run']}: {shift or 'one of the two never generalises'}")
    said = (
        lake()
        .sql("SELECT verdict || ': ' || reason AS said FROM grokking_circle", training_run=name)["said"]
        .to_pylist()
    )
    for sentence in said:
        say("  circle test: ", sentence)
    differs = stages.control_differs(lake(), name)
    if differs is not None:
        say(
            "  control: ",
            "its checkpoints equal those of its parent, bit for bit"
            if not differs
            else f"its checkpoints DIFFER from those of its parent at epochs {', '.join(map(str, differs[:5]))}",
        )
    for row in lake().rows("SELECT sentence FROM advice", training_run=name):
        say("  advice: ", row["sentence"])
