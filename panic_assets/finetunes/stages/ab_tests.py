"""Blind tests of two checkpoints: trials, votes and their count."""

import re
import secrets
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import numpy as np

from panic_assets.errors import UserError, suggest
from panic_assets.finetunes import missing
from panic_assets.finetunes.ab import blind
from panic_assets.finetunes.ab.raters import rater_name
from panic_assets.finetunes.missing import Row
from panic_assets.lake.lake import Lake
from panic_assets.progress import Done

TEST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


def start_test(
    lake: Lake,
    test: str,
    a: tuple[str, int],
    b: tuple[str, int],
    votes_per_trial: int = 1,
    fixed_votes: int | None = None,
) -> int:
    """Create a blind test of two checkpoints on the cells both have; returns how many trials it has.

    The design is fixed from here on. The rows lie with A's run.
    """
    if not TEST_NAME.fullmatch(test):
        raise UserError(
            f"test name {test!r} must be 1 to 100 letters, digits, '_' or '-', and start with a letter or digit"
        )
    if any(p["ab_test"] == test for p, _ in lake.partitions("ab_trials")):
        raise UserError(
            f"A/B test {test!r} already exists, and its design cannot change; give the new test another name"
        )
    if votes_per_trial < 1:
        raise UserError(f"votes per trial is {votes_per_trial}; it must be a whole number of 1 or more")
    suite = missing.plan(lake, a[0]).suite
    texts = {p.id: p.text for p in suite.prompts}
    first, second = (_hashes(lake, run, epoch, suite.hash) for run, epoch in (a, b))
    cells = sorted(set(first) & set(second))
    if not cells:
        raise UserError(
            f"{a[0]} epoch {a[1]} and {b[0]} epoch {b[1]} share no drawn prompt and seed of suite {suite.name}; "
            "draw the same prompts of both first"
        )
    if fixed_votes is not None and not 1 <= fixed_votes <= votes_per_trial * len(cells):
        raise UserError(
            f"a fixed test of {fixed_votes} votes does not fit {len(cells)} trials with {votes_per_trial} votes each; "
            f"it must have 1 to {votes_per_trial * len(cells)}"
        )
    ids = [secrets.token_hex(8) for _ in cells]
    trials = blind.draw_trials(cells, ids, np.random.default_rng(secrets.randbits(64)))
    now = datetime.now(UTC)
    rows = [
        {
            "training_run": a[0],
            "ab_test": test,
            "trial": t.id,
            "number": number,
            "suite_hash": suite.hash,
            "prompt": t.prompt,
            "prompt_text": texts[t.prompt],
            "seed": t.seed,
            "a_run": a[0],
            "a_epoch": a[1],
            "a_image_hash": first[t.prompt, t.seed],
            "b_run": b[0],
            "b_epoch": b[1],
            "b_image_hash": second[t.prompt, t.seed],
            "a_left": t.left == "A",
            "votes_per_trial": votes_per_trial,
            "fixed_votes": fixed_votes,
            "created_at": now,
        }
        for number, t in enumerate(trials, 1)
    ]
    lake.replace("ab_trials", rows, training_run=a[0], ab_test=test)
    count_votes(lake, test)
    return len(rows)


def _hashes(lake: Lake, run: str, epoch: int, suite_hash: str) -> dict[tuple[str, int], str]:
    rows = lake.sql(
        "SELECT prompt, seed, image_hash FROM test_images WHERE epoch = ? AND suite_hash = ?",
        [epoch, suite_hash],
        training_run=run,
    ).to_pylist()
    return {(r["prompt"], r["seed"]): r["image_hash"] for r in rows}


def trial_rows(lake: Lake, test: str) -> list[Row]:
    """The trials of a test in the order of showing."""
    known = {p["ab_test"]: p["training_run"] for p, _ in lake.partitions("ab_trials")}
    if test not in known:
        raise UserError(f"there is no A/B test {test!r}{suggest(test, known)} (`panic finetune ab list` shows them)")
    return lake.sql("SELECT * FROM ab_trials ORDER BY number", training_run=known[test], ab_test=test).to_pylist()


def trial_image(lake: Lake, row: Row, which: str) -> bytes:
    """The picture of A or B in a trial."""
    run, epoch, digest = row[f"{which}_run"], row[f"{which}_epoch"], row[f"{which}_image_hash"]
    found = lake.sql(
        "SELECT image FROM test_images WHERE epoch = ? AND image_hash = ? LIMIT 1", [epoch, digest], training_run=run
    )["image"].to_pylist()
    if not found:
        raise UserError(
            f"the picture of {row['prompt']}, seed {row['seed']} is gone, because its checkpoint was deleted "
            "or written again; start a new test"
        )
    return bytes(found[0])


class VoteRefused(UserError):
    """The vote would not count. Nothing is wrong with it: another one came first."""


def vote(lake: Lake, test: str, trial: str, rater: str, side: str) -> blind.Vote:
    """Store a vote for a side (left, right, tie) and count again; VoteRefused when it would not count."""
    rows = trial_rows(lake, test)
    row = next((r for r in rows if r["trial"] == trial), None)
    if row is None:
        raise UserError(f"A/B test {test!r} has no trial {trial!r}; reload the voting page")
    rater, choice = rater_name(rater), blind.choice_of(_trial(row), side)
    where = {"training_run": row["training_run"], "ab_test": test}
    with lake.lease(f"votes of {test}", wait_seconds=30):
        if why := blind.uncounted(votes(lake, rows), trial, rater, row["votes_per_trial"], row["fixed_votes"]):
            raise VoteRefused(f"the vote is not stored: {why}")
        cast = blind.Vote(trial, rater, choice, datetime.now(UTC))
        with lake.writer("ab_votes", **where) as out:
            out.add(
                [
                    {
                        **where,
                        "trial": trial,
                        "rater": cast.rater,
                        "choice": cast.choice,
                        "side": side,
                        "given_at": cast.at,
                    }
                ]
            )
        count_votes(lake, test)
    return cast


def _trial(row: Row) -> blind.Trial:
    return blind.Trial(row["trial"], row["prompt"], row["seed"], "A" if row["a_left"] else "B")


def votes(lake: Lake, rows: Sequence[Row]) -> list[blind.Vote]:
    """Every vote of a test (its trials' rows), by time."""
    where = {"training_run": rows[0]["training_run"], "ab_test": rows[0]["ab_test"]}
    stored = lake.sql("SELECT * FROM ab_votes ORDER BY given_at", **where)
    return [blind.Vote(r["trial"], r["rater"], r["choice"], r["given_at"]) for r in stored.to_pylist()]


def count_votes(lake: Lake, test: str) -> blind.Result:
    """Count a test's votes and store the result."""
    return _count(lake, trial_rows(lake, test))


def _count(lake: Lake, rows: Sequence[Row]) -> blind.Result:
    trials = [_trial(r) for r in rows]
    told = blind.result(trials, votes(lake, rows), rows[0]["votes_per_trial"], rows[0]["fixed_votes"])
    where = {"training_run": rows[0]["training_run"], "ab_test": rows[0]["ab_test"]}
    row = asdict(told)
    row["left_votes"] = row.pop("left")
    lake.replace("ab_results", [{**where, **row, "trials": len(rows), "computed_at": datetime.now(UTC)}], **where)
    return told


def count_run_votes(lake: Lake, name: str) -> Done:
    """Count every test of a run again."""
    tests = [p["ab_test"] for p, _ in lake.partitions("ab_trials", training_run=name)]
    for test in tests:
        count_votes(lake, test)
    return Done(len(tests))


def open_trials(lake: Lake, test: str, rater: str) -> list[Row]:
    """Trials on which a vote of this rater would count, in the order of showing; of anybody who has not voted for ""."""
    rows = trial_rows(lake, test)
    rater, cast = rater and rater_name(rater), votes(lake, rows)
    return [r for r in rows if not blind.uncounted(cast, r["trial"], rater, r["votes_per_trial"], r["fixed_votes"])]
