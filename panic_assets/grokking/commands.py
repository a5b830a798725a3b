"""panic grokking: train modular-addition transformers, and see what they do while they learn."""

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
    no_args_is_help=True, help="Modular-addition transformers: training, sweeps, analyses, interventions."
)
File = Annotated[Path, typer.Argument(help="Grokking file (*.grokking, YAML); see experiments/examples/.")]
Name = Annotated[str, typer.Argument(help="Name of the training run.")]


@app.command()
def train(file: File) -> None:
    """Train the runs of a file to the end and analyse them. Ctrl-C loses nothing; asking again goes on bit for bit."""
    with instance() as opened:
        for run in config.read(file):
            _register(opened, run)
            materialise(opened, "train_grokking", run.name, f"training {run.name}")
            _report(run.name)


@app.command()
def sweep(file: File) -> None:
    """Train every prime x seed x data seed of a file together, and compare how each ended with the first."""
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
        "run",
        "outcome",
        "onset",
        "final loss",
        "rebound",
        "frequencies",
        "d(F)",
        "onset - base",
        "log10 loss / base",
    ]
    table(headings, [list(r.values()) for r in rows], title=f"sweep {file.stem}")


@app.command()
def analyse(
    names: Annotated[list[str] | None, typer.Argument(help="Runs; all of the family when none is given.")] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Concentration from which a neuron has a frequency; as the last time, first 0.5."),
    ] = None,
    hysteresis: Annotated[
        float | None, typer.Option(help="How far below it may fall; as the last time, first 0.1.")
    ] = None,
) -> None:
    """Analyse what was not analysed yet, and conclude again."""
    mine = [r["training_run"] for r in runs.every(lake(), FAMILY.name) if r["status"] != runs.TOMBSTONE]
    given = {k: v for k, v in (("threshold", threshold), ("hysteresis", hysteresis)) if v is not None}
    run_config = {"ops": {"grokking_frequencies": {"config": given}}}
    with instance() as opened:
        for name in [runs.get(lake(), n)["training_run"] for n in names] if names else mine:
            materialise(opened, "analyse_grokking", name, f"analysing {name}", run_config)
            _report(name)


@app.command()
def ingest(
    folder: Annotated[Path, typer.Argument(help="Folder of checkpoint_epoch_00000.safetensors files.")],
    name: Annotated[str | None, typer.Option(help="Name of the run; the folder's unless given.")] = None,
) -> None:
    """Register checkpoints that somebody else trained, in the same layout, and analyse them. The files stay there."""
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
        bool, typer.Option("--add", help="Train those stretches again, to keep the proposed epochs.")
    ] = False,
) -> None:
    """Events of the losses, where checkpoints lie too far apart to see them, and epochs worth adding."""
    runs.get(lake(), name)
    rows = lake().rows(
        """SELECT split, event, epoch, value, start, "end", ratio, too_coarse, widest_gap, proposed
           FROM loss_events ORDER BY epoch, split""",
        training_run=name,
    )
    headings = ["loss", "event", "epoch", "value", "from", "to", "ratio", "too coarse", "gap", "add"]
    table(headings, [list(r.values()) for r in rows], title=f"events of {name}")
    extra = stages.proposal(lake(), name)
    if not extra:
        say("the checkpoints show every event")
    elif not add:
        say(f"{len(extra):,} epochs proposed; ", (f"panic grokking plan {name} --add", "bold"), " keeps them")
    else:
        with instance() as opened:
            run_config = {"ops": {"add_checkpoints_op": {"config": {"run": name}}}}
            materialise(opened, "add_grokking_checkpoints", None, f"training {name} again", run_config)
            materialise(opened, "analyse_grokking", name, f"analysing {name}")
        say(f"{len(extra):,} epochs added; nothing old was touched")


@app.command()
def intervene(
    name: Name,
    epoch: Annotated[int, typer.Option(help="Checkpoint of the parent to start from.")],
    gain: Annotated[
        list[str] | None, typer.Option(help="FREQUENCY:FACTOR at the attention output; may be repeated.")
    ] = None,
    until: Annotated[int | None, typer.Option(help="Epoch at which gains end; the run's own end unless given.")] = None,
    ramp: Annotated[int, typer.Option(help="Epochs over which gains ease in and out.")] = 0,
    weight_decay: Annotated[float | None, typer.Option(help="Another weight decay.")] = None,
    train_fraction: Annotated[float | None, typer.Option(help="Another share of training pairs.")] = None,
    data_seed: Annotated[int | None, typer.Option(help="Other training pairs.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Last epoch of the child; the parent's unless given.")] = None,
) -> None:
    """Train a child run from a checkpoint with something changed, and the no-op control it is compared with."""
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
        str, typer.Argument(help="embedding, centroids, ring, trajectory, spectrum, spaces or neurons.")
    ] = "ring",
    option: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE: matrix, basis, site, k, group, components, space.")
    ] = None,
    file_format: Annotated[str, typer.Option("--format", help="html, gif or mp4.")] = "html",
    cancel: Annotated[str | None, typer.Option(help="Instead: cancel this render.")] = None,
) -> None:
    """Draw a view over all epochs. The same request is drawn once; an interrupted one goes on where it was."""
    if cancel:
        renders.cancel(lake(), name, cancel)
        say(f"cancelled {cancel}")
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
        raise UserError(f"{view} of {name} is {row['status']}" + (f": {row['failure']}" if row["failure"] else ""))
    say("drawn: ", (row["path"], "bold"))


def _register(opened: Any, run: Any) -> None:
    new = stages.register(lake(), run)
    registration.add_keys(opened, FAMILY.name, [run.name])
    say(
        (run.name, "bold"),
        f": {run.recipe.epochs:,} epochs, {len(run.save_at):,} checkpoints, {'new' if new else 'known'}",
    )


def _report(name: str, new: bool = True) -> None:
    """What a run came to, in a few lines."""
    outcome = lake().rows("SELECT * FROM grokking_outcomes", training_run=name)
    if outcome:
        o = outcome[0]
        onset = f"from epoch {o['onset']:,}" if o["onset"] is not None else "never"
        say(
            (name, "bold"),
            f": {o['outcome']}; generalises {onset}; final test loss {o['final_loss']:.3g}, accuracy "
            f"{o['final_accuracy']:.1%}; frequencies of W_E: {', '.join(o['frequencies']) or 'none'}",
        )
        if o["base_run"]:
            shift = "" if o["onset_shift"] is None else f"onset {o['onset_shift']:+,} epochs"
            say(f"  against {o['base_run']}: {shift or 'no onset to compare'}")
    for row in lake().rows("SELECT verdict || ': ' || reason AS said FROM grokking_circle", training_run=name):
        say("  circle hypothesis ", row["said"])
    differs = stages.control_differs(lake(), name)
    if differs is not None:
        say(
            "  control: ",
            "its checkpoints are its parent's, bit for bit" if not differs else f"DIFFERS at {differs[:5]}",
        )
    for row in lake().rows("SELECT sentence FROM advice", training_run=name):
        say("  advice: ", row["sentence"])
