import dataclasses
import hashlib
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from panic_assets.errors import UserError
from panic_assets.grokking.learning import trainer
from panic_assets.grokking.learning.model import initial, split
from panic_assets.grokking.learning.recipe import Gain, Recipe
from panic_assets.grokking.learning.trainer import (
    Variant,
    checkpoint_name,
    load_state,
    read_losses,
    shape_of_recipe,
    train,
)
from panic_assets_tests.grokking.learning.plain import plain_train

pytestmark = pytest.mark.slow

TINY = Recipe(p=7, seed=1, data_seed=2, train_fraction=0.6, epochs=40, d_model=16, heads=4, d_mlp=32)
SHAPE = shape_of_recipe(TINY)
SAVE = frozenset(range(0, 41, 10))


def run(folder, recipe=TINY, save_at=SAVE, **kwargs):
    variant = Variant(recipe, folder, save_at, **kwargs)
    for _ in train([variant]):
        pass
    return variant


def hashes(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.glob("checkpoint_*"))}


def test_training_is_the_textbook_loop(tmp_path):
    variant = run(tmp_path)
    one, two = split(7, 0.6, 2)
    weights, train_losses, test_losses = plain_train(initial(SHAPE, 1), 7, one, two, 40)
    assert variant.losses["train_loss"][:40] == pytest.approx(train_losses, rel=1e-4)
    assert variant.losses["test_loss"][:40] == pytest.approx(test_losses, rel=1e-4)
    stored = load_file(tmp_path / checkpoint_name(40))
    for name, tensor in weights.items():
        torch.testing.assert_close(stored[name], tensor, rtol=1e-3, atol=1e-4)


def test_files_losses_and_accuracy(tmp_path):
    run(tmp_path)
    assert sorted(hashes(tmp_path)) == [checkpoint_name(e) for e in sorted(SAVE)]
    epochs, losses = read_losses(tmp_path)
    assert (epochs.tolist(), losses.shape) == (list(range(41)), (41, 4))
    assert losses[-1, 0] < losses[0, 0]
    assert ((losses[:, 2:] >= 0) & (losses[:, 2:] <= 1)).all()
    state = load_state(tmp_path / checkpoint_name(0), 0)
    assert torch.equal(state.weights["embed.W_E"], initial(SHAPE, 1)["embed.W_E"])


def test_a_killed_run_goes_on_bit_for_bit(tmp_path):
    whole = run(tmp_path / "whole")
    program = f"""
import os
from pathlib import Path
from panic_assets.grokking.learning.trainer import *
recipe = Recipe(**{ {**dataclasses.asdict(TINY), "gains": ()}!r})
for progress in train([Variant(recipe, Path({str(tmp_path / "killed")!r}), frozenset({sorted(SAVE)}))],
                      safe_every=0, report_every=0):
    if progress.epoch == 23:
        os.kill(os.getpid(), 9)
"""
    killed = subprocess.run([sys.executable, "-c", program], env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
    assert killed.returncode == -9
    assert checkpoint_name(20) in hashes(tmp_path / "killed")
    assert checkpoint_name(30) not in hashes(tmp_path / "killed")
    again = run(tmp_path / "killed")
    assert hashes(tmp_path / "killed") == hashes(tmp_path / "whole")
    assert again.losses == whole.losses


def test_training_a_finished_run_again_touches_nothing(tmp_path):
    run(tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.glob("checkpoint_*")}
    run(tmp_path)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.glob("checkpoint_*")} == before


def test_an_additive_retrain_reproduces_the_old_and_adds_the_new(tmp_path):
    run(tmp_path)
    old, losses = hashes(tmp_path), (tmp_path / trainer.RESUME).read_bytes()
    times = {p: p.stat().st_mtime_ns for p in tmp_path.glob("checkpoint_*")}
    start = load_state(tmp_path / checkpoint_name(10), 10)
    run(tmp_path, save_at=SAVE | {13, 17}, start=start, until=30)
    new = hashes(tmp_path)
    assert set(new) - set(old) == {checkpoint_name(13), checkpoint_name(17)}
    assert {name: new[name] for name in old} == old
    assert {p: p.stat().st_mtime_ns for p in times} == times
    assert (tmp_path / trainer.RESUME).read_bytes() == losses
    # and they are what training straight through would have saved
    run(tmp_path / "straight", save_at=frozenset({13, 17}))
    assert hashes(tmp_path / "straight").items() <= new.items()


def test_a_retrain_that_does_not_reproduce_stops_and_leaves_the_file(tmp_path):
    run(tmp_path)
    old = hashes(tmp_path)
    with pytest.raises(UserError, match="other content"):
        run(tmp_path, recipe=dataclasses.replace(TINY, lr=2e-3), until=40)
    assert hashes(tmp_path) == old


def test_gains_of_one_reproduce_the_parent_bit_for_bit(tmp_path):
    run(tmp_path / "parent")
    start = load_state(tmp_path / "parent" / checkpoint_name(20), 20)
    control = dataclasses.replace(TINY, gains=(Gain(2, 1.0, 20, 40),))
    run(tmp_path / "control", control, frozenset({20, 30, 40}), start=start)
    assert hashes(tmp_path / "control").items() <= hashes(tmp_path / "parent").items()
    turned = dataclasses.replace(TINY, gains=(Gain(2, 0.0, 20, 40),))
    run(tmp_path / "turned", turned, frozenset({20, 30, 40}), start=start)
    late = checkpoint_name(30)
    assert hashes(tmp_path / "turned")[late] != hashes(tmp_path / "parent")[late]
    epochs, losses = read_losses(tmp_path / "turned", 20)
    assert (epochs[0], epochs[-1], len(losses)) == (20, 40, 21)


def test_vmapped_variants_train_as_they_would_alone(tmp_path):
    seeds = [(1, 2), (3, 4), (5, 6)]
    recipes = [dataclasses.replace(TINY, seed=s, data_seed=d) for s, d in seeds]
    together = [Variant(r, tmp_path / f"lane{i}", SAVE) for i, r in enumerate(recipes)]
    *_, last = train(together)
    assert last.done
    for i, recipe in enumerate(recipes):
        alone = run(tmp_path / f"alone{i}", recipe)
        assert together[i].losses["train_loss"] == pytest.approx(alone.losses["train_loss"], rel=1e-3)
        assert together[i].losses["test_loss"] == pytest.approx(alone.losses["test_loss"], rel=1e-3)


def test_a_variant_padded_to_its_lanes_gives_the_bits_it_gave_among_others(tmp_path):
    recipes = [dataclasses.replace(TINY, seed=s) for s in (1, 3, 5)]
    for _ in train([Variant(r, tmp_path / f"lane{i}", SAVE) for i, r in enumerate(recipes)]):
        pass
    for _ in train([Variant(TINY, tmp_path / "again", SAVE)], lanes=3):
        pass
    assert hashes(tmp_path / "again") == hashes(tmp_path / "lane0")


def test_what_cannot_train_together_is_refused(tmp_path):
    other = dataclasses.replace(TINY, p=11)
    with pytest.raises(UserError, match="seeds only"):
        list(train([Variant(TINY, tmp_path / "a", SAVE), Variant(other, tmp_path / "b", SAVE)]))
    for gain in (Gain(4, 2, 0, 10), Gain(1, 2, 5, 5), Gain(1, 2, 0, 10, ramp=6)):
        with pytest.raises(UserError, match="gain on frequency"):
            run(tmp_path / "c", dataclasses.replace(TINY, gains=(gain,)))


def test_the_files_of_another_recipe_are_not_taken_up(tmp_path):
    run(tmp_path)
    with pytest.raises(UserError, match="another recipe"):
        run(tmp_path, dataclasses.replace(TINY, seed=9))


def test_a_checkpoint_without_optimiser_state_starts_no_run(tmp_path):
    trainer.replace_file(tmp_path / "bare.safetensors", trainer.save(initial(SHAPE, 1)))
    with pytest.raises(UserError, match="no optimiser state"):
        load_state(tmp_path / "bare.safetensors", 0)


def test_progress_has_an_eta(tmp_path):
    reports = list(train([Variant(TINY, tmp_path, SAVE)], report_every=0))
    assert [r.epoch for r in reports] == list(range(41))
    assert reports[20].eta_seconds > 0
    assert reports[-1].eta_seconds == 0
    assert sum(len(r.saved) for r in reports) == len(SAVE)
