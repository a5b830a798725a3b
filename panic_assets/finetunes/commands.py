"""panic finetune: tests the checkpoints of image fine-tunes, and recommends one."""

import contextlib
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from panic_assets import ending
from panic_assets.asleep import asleep
from panic_assets.cli.output import confirmed, say, table
from panic_assets.cli.session import instance, lake, materialise, refresh
from panic_assets.errors import UserError
from panic_assets.finetunes import config, missing
from panic_assets.finetunes.config import FAMILY
from panic_assets.finetunes.drawing import suites
from panic_assets.reading import read_yaml
from panic_assets.settings import home
from panic_assets.training import runs

if TYPE_CHECKING:
    from panic_assets.compute import choose
    from panic_assets.finetunes import stages
    from panic_assets.finetunes.ab import voting
    from panic_assets.finetunes.captions import files as caption_files
    from panic_assets.finetunes.captions import rules as rules_of
    from panic_assets.finetunes.pictures import colour, labelled
    from panic_assets.finetunes.verdicts import manual
    from panic_assets.training import registration
    from panic_assets.training import stages as spine
    from panic_assets.web import listening
else:
    registration = asleep("panic_assets.training.registration")
    choose = asleep("panic_assets.compute.choose")
    stages = asleep("panic_assets.finetunes.stages")
    voting = asleep("panic_assets.finetunes.ab.voting")
    caption_files = asleep("panic_assets.finetunes.captions.files")
    rules_of = asleep("panic_assets.finetunes.captions.rules")
    colour = asleep("panic_assets.finetunes.pictures.colour")
    labelled = asleep("panic_assets.finetunes.pictures.labelled")
    manual = asleep("panic_assets.finetunes.verdicts.manual")
    spine = asleep("panic_assets.training.stages")
    listening = asleep("panic_assets.web.listening")

app = typer.Typer(
    no_args_is_help=True, help="Test image fine-tunes epoch by epoch: reports, advice, blind votes, checks of captions."
)
ab = typer.Typer(no_args_is_help=True, help="Compare two checkpoints in a blind A/B test.")
app.add_typer(ab, name="ab")

Run = Annotated[str, typer.Argument(help="Name of the fine-tune.")]
Test = Annotated[str, typer.Argument(help="Name of the A/B test.")]


@app.command()
def add(
    file: Annotated[
        Path, typer.Argument(help="Fine-tune file in YAML; an example is experiments/examples/portraits.finetune.yaml.")
    ],
) -> None:
    """Register a fine-tune. Its file names the folder of its checkpoints, the model that draws, and the prompts."""
    with instance() as opened:
        name = _add(opened, file)
    refresh()
    say(
        "test it with ",
        (f"panic finetune test {name}", "bold"),
        ", or test every new checkpoint with ",
        (f"panic finetune watch {name}", "bold"),
    )


def _add(opened: Any, file: Path) -> str:
    tune = config.read(file)
    new = stages.register(lake(), tune)
    registration.add_keys(opened, config.FAMILY.name, [tune.name])
    say(
        (tune.name, "bold"),
        " registered" if new else " is registered already",
        f"; checkpoints appear in {tune.folder}",
    )
    return tune.name


@app.command("test")
def perform(
    run: Run,
    epoch: Annotated[int | None, typer.Option(help="Test this epoch at another level than the plan says.")] = None,
    level: Annotated[
        str | None, typer.Option(help="Level for --epoch: how many prompts it draws. Default: the level with most.")
    ] = None,
    suite: Annotated[Path | None, typer.Option(help="From now on, test with the prompts in this file.")] = None,
    other_precision: Annotated[
        bool,
        typer.Option(
            "--other-precision",
            help="Let the base model run in another precision or placement than for the pictures that exist.",
        ),
    ] = False,
) -> None:
    """Draw, measure, compare and report whatever is missing of a fine-tune.

    Ctrl-C loses nothing: the same command carries on."""
    plan = missing.plan(lake(), run)
    wanted = level or max(plan.depth.levels, key=lambda name: plan.depth.levels[name])
    missing.check_level(plan, wanted)
    if suite is not None:
        stages.store_suite(lake(), run, suites.read(suite))
    with instance() as opened:
        _test(opened, materialise, run, {} if epoch is None else {str(epoch): wanted}, other_precision)
    refresh()
    _outcome(run)


def _test(opened: Any, materialise: Any, run: str, levels: dict[str, str], other_precision: bool = False) -> None:
    registration.add_keys(opened, FAMILY.name, [run])
    config = {"ops": {"test_images": {"config": {"levels": levels, "other_precision": other_precision}}}}
    materialise(opened, "test_finetune", run, f"finetune {run}", config)


def _outcome(run: str) -> None:
    told = stages.findings(lake(), run)
    if "recommendation" in told:
        say(
            (told["recommendation"], "bold"),
            f" (confidence {told['confidence']:.0%}); weak areas: {told['weak areas']}",
        )
    else:
        say("there is no recommendation, because too few epochs are tested")
    say("read the report with ", (f"panic finetune report {run} --open", "bold"))


@app.command()
def watch(
    run: Run,
    every: Annotated[float, typer.Option(help="Seconds between two looks for new checkpoints.")] = 15.0,
    once: Annotated[bool, typer.Option("--once", help="Stop when every checkpoint is tested.")] = False,
) -> None:
    """Test checkpoints as they appear, until Ctrl-C. `panic ui` does the same for all fine-tunes."""

    say(f"watching {missing.plan(lake(), run).row['folder']}")
    with instance() as opened:
        while True:
            done = spine.register_checkpoints(lake(), run, settle_seconds=min(1.0, every))
            for problem in done.problems:
                say((problem, "yellow"))
            if done.rows or any(missing.missing(lake(), run).values()):
                _test(opened, materialise, run, {})
                refresh()
                _outcome(run)
            elif once:
                return
            time.sleep(0 if once else every)


@app.command("list")
def list_() -> None:
    """List all fine-tunes: their checkpoints, what is left to draw, and the recommendation."""
    rows = []
    for row in runs.every(lake(), "finetune"):
        name = row["training_run"]
        told = stages.findings(lake(), name)
        left = sum(missing.missing(lake(), name).values())
        rows.append(
            [name, len(missing.current(lake(), name)), left, told.get("recommendation", "-"), told["weak areas"]]
        )
    table(["fine-tune", "checkpoints", "still missing", "recommendation", "weak areas"], rows, title="fine-tunes")


@app.command()
def score(
    run: Run,
    epoch: Annotated[int | None, typer.Option(help="Give marks to this epoch. Without it, nothing is stored.")] = None,
    reviewer: Annotated[str, typer.Option(help="Name of the person who gives the marks.")] = "",
    visual: Annotated[float, typer.Option(help="Visual quality, 0 to 10.")] = -1,
    style: Annotated[float, typer.Option(help="Style, 0 to 10.")] = -1,
    prompt: Annotated[float, typer.Option(help="How well pictures fit their prompt, 0 to 10.")] = -1,
    subject: Annotated[
        str, typer.Option(help="Id of the prompt that gets the marks; default: the epoch as a whole.")
    ] = "",
    note: Annotated[str, typer.Option(help="Anything to remember.")] = "",
) -> None:
    """Give an epoch marks of 0 to 10. Then show the averages of all marks, and how far reviewers differ."""
    missing.plan(lake(), run)
    if epoch is not None:
        now = datetime.now(UTC)
        stages.store_mark(lake(), run, manual.Mark(epoch, subject, reviewer, visual, style, prompt, note, now))
        stages.summarise(lake(), run)
        refresh()
    given = stages.marks(lake(), run)
    rows = [
        [s.epoch, s.criterion, round(s.mean, 2), None if s.sd is None else round(s.sd, 2), s.low, s.high, s.reviewers]
        for s in manual.spread(given)
    ]
    headings = ["epoch", "criterion", "mean mark", "deviation between reviewers", "lowest", "highest", "reviewers"]
    table(headings, rows, title=run)
    apart = manual.disagreement(given)
    if apart:
        say(
            "two reviewers of the same pictures differ by ",
            ", ".join(f"{v:.1f} in {k}" for k, v in apart.items()),
            " on average",
        )


@app.command()
def report(
    run: Run,
    epoch: Annotated[
        int | None, typer.Option(help="Write the report of this epoch; default: that of the whole run.")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Write the page to this file.")] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Write a report to a file: one page, which needs no network to open."""
    missing.plan(lake(), run)
    title = "run" if epoch is None else f"epoch {epoch}"
    pages = {r["report"]: r["html"] for r in lake().rows("SELECT report, html FROM finetune_reports", training_run=run)}
    if title not in pages:
        there = ", ".join(pages) or "none yet"
        wanted = "fine-tune" if epoch is None else f"{title} of fine-tune"
        raise UserError(
            f"there is no report of {wanted} {run!r} (there are: {there}); `panic finetune test {run}` makes them"
        )
    name = "report" if epoch is None else f"epoch-{epoch}"
    path = to or home().root / "reports" / run / f"{name}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(pages[title], encoding="utf-8")
    say(str(path))
    if open_:
        typer.launch(str(path))


@app.command()
def weak(
    run: Run, epoch: Annotated[int | None, typer.Option(help="Compare within this epoch; default: all epochs.")] = None
) -> None:
    """List attributes, such as blue hair, with their scores. Weak ones score lower than others beyond noise."""
    missing.plan(lake(), run)
    rows = lake().rows(
        "SELECT * FROM weak_areas WHERE epoch IS NOT DISTINCT FROM ? ORDER BY weak DESC, difference",
        [epoch],
        training_run=run,
    )
    shown = [
        [
            f"{r['value']} {r['measure']}",
            "weak" if r["weak"] else "",
            round(r["mean"], 1),
            round(r["others"], 1),
            round(r["difference"], 1),
            f"{r['low']:.1f} to {r['high']:.1f}",
            "<0.001" if r["q"] < 0.001 else f"{r['q']:.3f}",
            r["cells"],
        ]
        for r in rows
    ]
    headings = ["attribute", "verdict", "score", "score of others", "difference", "95% interval", "q", "pairs"]
    table(headings, shown, title=run)


@app.command()
def detect(
    labels: Annotated[Path, typer.Argument(help="CSV file with the columns image, name, and present (yes or no).")],
    detector: Annotated[
        str,
        typer.Option(
            help="Model to test: a chat model that takes images (Qwen3VL), or a pair of embedders (Jina, Nomic)."
        ),
    ],
) -> None:
    """Test how well a model detects accessories and expressions in pictures that a person has labelled."""
    told = labelled.judge(labels, detector, choose.compute_from_environment())
    rows = [[a.name, a.pictures, a.cannot_tell, a.precision, a.recall] for a in told]
    table(["accessory or expression", "pictures", "cannot tell", "precision", "recall"], rows, title=detector)


@app.command()
def captions(
    folder: Annotated[
        Path,
        typer.Argument(help="Folder of captions, one .txt file each, with pictures of the same names beside them."),
    ],
    rules: Annotated[
        Path | None,
        typer.Option(help="YAML file of rules, with fields rules, least_hex, prefixes, order, words, tolerance."),
    ] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Show what can be repaired, ask, and repair it.")] = False,
    undo: Annotated[str, typer.Option(help="Undo the repairs with this id, byte for byte.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Repair without asking.")] = False,
) -> None:
    """Check training captions. With --repair, repair what needs no new words. Every repair can be undone."""
    wanted = rules_of.parse_rules(read_yaml(rules) if rules else None)
    name, batch = folder.resolve().name, None
    if undo:
        batch = stages.undo_repair(lake(), folder, undo)
        say(f"undone: {len(batch.entries)} captions are again as they were before repair {undo}")
    elif repair:
        changes = stages.proposed_repairs(lake(), folder, wanted)
        for change in changes:
            say(change.diff)
        if changes and confirmed(f"Repair {len(changes)} captions?", yes):
            batch = stages.repair_captions(lake(), folder, changes)
            say(f"repaired {len(batch.entries)} captions; undo with ", (f"--undo {batch.id}", "bold"))
    reports = stages.check_captions(lake(), name, folder, wanted, batch=batch.id if batch else None)
    refresh()
    found = [[r.file.path.name, f.line, f.rule, f.message, f.suggestion] for r in reports for f in r.findings]
    table(["file", "line", "rule", "what is wrong", "suggestion"], found, title=name)
    files = {row[0] for row in found}
    say(f"{len(found)} findings in {len(files)} of {len(reports)} captions")


@ab.command("start")
def ab_start(
    test: Test,
    a: Annotated[str, typer.Argument(help="Checkpoint A as run@epoch, for example portraits@7.")],
    b: Annotated[str, typer.Argument(help="Checkpoint B as run@epoch.")],
    votes_per_trial: Annotated[int, typer.Option(help="Votes per trial, each by another rater.")] = 1,
    fixed: Annotated[
        int | None, typer.Option(help="Decide once, after this many votes. Default: the verdict holds at any time.")
    ] = None,
) -> None:
    """Create a blind test. Each trial shows what both checkpoints drew for one prompt and seed.

    The design of a test cannot be changed afterwards."""
    count = stages.start_test(lake(), test, _checkpoint(a), _checkpoint(b), votes_per_trial, fixed)
    refresh()
    say(f"{count} trials were made; vote with ", (f"panic finetune ab vote {test}", "bold"))


def _checkpoint(text: str) -> tuple[str, int]:
    run, _, epoch = text.rpartition("@")
    if not run or not epoch.isdigit():
        raise UserError(f"checkpoint is {text!r}; it must be run@epoch, as in portraits@7")
    return run, int(epoch)


@ab.command("vote")
def ab_vote(
    test: Test,
    trial: Annotated[str, typer.Option(help="Vote on this trial here, and open no page.")] = "",
    side: Annotated[str, typer.Option(help="The better picture of --trial: left, right or tie.")] = "",
    rater: Annotated[str, typer.Option(help="Name of the person who votes on --trial.")] = "",
    port: Annotated[int, typer.Option(help="Port of the page; 0 takes any free port.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """Vote on a local page, which does not show the names of checkpoints; or on one trial, by options."""
    if trial:
        stages.vote(lake(), test, trial, rater, side)
        refresh()
        return
    booth = voting.Booth(lake(), test)
    ending.end_when_told()
    with listening.listen("127.0.0.1", port) as served:
        url = listening.url(*served.getsockname())
        say("vote at ", (url, "bold"), "; Ctrl-C ends the voting")
        if browser:
            typer.launch(url)
        with contextlib.suppress(KeyboardInterrupt):
            listening.run(voting.guarded(booth), served)
    refresh()
    say(f"`panic finetune ab result {test}` shows the result")


@ab.command("trials")
def ab_trials(
    test: Test, rater: Annotated[str, typer.Option(help="Trials that this rater has not voted on.")] = ""
) -> None:
    """List open trials, and write their pictures to a folder under names that do not tell the checkpoint."""
    folder = home().root / "ab" / test
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for row in stages.open_trials(lake(), test, rater):
        sides = ("a", "b") if row["a_left"] else ("b", "a")
        for side, which in zip(("left", "right"), sides, strict=True):
            (folder / f"{row['trial']}-{side}.png").write_bytes(
                colour.encode(colour.decode(stages.trial_image(lake(), row, which)))
            )
        rows.append([row["trial"], row["prompt_text"]])
    table(["trial", "prompt"], rows, title=f"open trials of {test}, with pictures in {folder}")


@ab.command("result")
def ab_result(test: Test) -> None:
    """Show the result of a test so far. One may look at any time, and may stop because of what one sees."""
    rows = stages.trial_rows(lake(), test)
    told = stages.count_votes(lake(), test)
    refresh()
    first = rows[0]
    say(
        "A is ",
        (f"{first['a_run']}@{first['a_epoch']}", "bold"),
        ", B is ",
        (f"{first['b_run']}@{first['b_epoch']}", "bold"),
    )
    table(
        [
            "votes",
            "for A",
            "for B",
            "ties",
            "share of B",
            "95% interval (Wilson)",
            "p (sign test)",
            "prompts",
            "p (sign-flip test)",
            "e-value",
        ],
        [
            [
                f"{told.votes} of {len(rows) * first['votes_per_trial']}",
                told.a,
                told.b,
                told.ties,
                None if told.share_b is None else f"{told.share_b:.3f}",
                f"{told.low:.3f} to {told.high:.3f}",
                f"{told.sign_p:.4f}",
                told.blocks,
                f"{told.flip_p:.4f}",
                f"{told.e:.3g}",
            ]
        ],
        title=f"{test} ({told.design})",
    )
    if told.side_bias:
        say(
            (
                f"raters favour one side: they chose the left picture in {told.left} of {told.a + told.b} votes "
                f"(p = {told.side_p:.4f})",
                "yellow",
            )
        )
    say((told.verdict, "bold"))


@ab.command("list")
def ab_list() -> None:
    """List all A/B tests."""
    rows = (
        lake()
        .sql("SELECT ab_test, training_run, votes, trials, e, verdict FROM ab_results ORDER BY ab_test")
        .to_pylist()
    )
    table(
        ["test", "fine-tune of A", "votes", "trials", "e-value", "verdict"],
        [list(r.values()) for r in rows],
        title="A/B tests",
    )
