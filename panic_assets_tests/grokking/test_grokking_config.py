import json
from pathlib import Path

import pytest

from panic_assets.errors import UserError
from panic_assets.grokking.config import Intervention, child, parse, read, recipe_of, schedule
from panic_assets.grokking.learning.recipe import Gain
from panic_assets.settings import PROJECT
from panic_assets_tests.grokking.conftest import RUN, TINY


def test_a_run_is_named_by_all_its_seeds_and_its_recipe_comes_back():
    (run,) = parse(TINY)
    assert run.name == RUN
    assert recipe_of(json.loads(json.dumps(run.stored))) == run.recipe
    assert (run.sweep, run.base) == (None, None)


def test_a_sweep_is_every_combination_paired_with_the_first():
    runs = parse({**TINY, "primes": [7, 11], "seeds": [1, 2], "data_seeds": [3, 4]})
    assert len({r.name for r in runs}) == 8
    assert {r.base for r in runs} == {"tiny-p7-s1-d3"}


def test_schedules_hold_the_ends_the_dense_stretches_and_single_epochs():
    assert schedule({"every": 40, "dense": [[10, 20, 5]], "at": [33]}, 100) == (0, 10, 15, 20, 33, 40, 80, 100)
    assert schedule(None, 25_000)[:3] == (0, 250, 500)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"primes": 9}, "9, which is not prime"),
        ({"primes": []}, "primes is missing"),
        ({"seeds": [1, 1]}, "seeds contains a value twice"),
        ({"seeds": -1}, "seeds is -1"),
        ({"train_fraction": 1.5}, "train_fraction is 1.5"),
        ({"train_fraction": 0.001}, "must leave at least one of 49 pairs"),
        ({"epochs": True}, "epochs is True"),
        ({"heads": 3}, "must be a multiple of heads, which is 3"),
        ({"weight_decay": -1}, "weight_decay is -1"),
        ({"checkpoints": {"evry": 1}}, "checkpoints is"),
        ({"checkpoints": {"dense": [[1, 2]]}}, "dense contains"),
        ({"checkpoints": {"at": [61]}}, "checkpoints.at is 61"),
        ({"targets": {"test_loss": -1}}, "targets.test_loss is -1"),
        ({"epoch": 3}, "did you mean 'epochs'"),
        ({"name": "a b"}, "name is 'a b'"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(change, sentence):
    with pytest.raises(UserError, match=sentence.replace("(", r"\(")):
        parse({**TINY, **change})


def test_children_save_where_the_parent_does_and_controls_change_nothing():
    (run,) = parse(TINY)
    made = child(RUN, run.stored, 20, Intervention((Gain(2, 0.5, 20, 60),), weight_decay=0.0), None)
    assert made.save_at == (20, 30, 40, 50, 60)
    assert made.name == f"{RUN}-e20-k2x0.5-wd0"
    assert (made.recipe.weight_decay, made.recipe.seed) == (0.0, 1)
    assert child(RUN, run.stored, 20, Intervention(), None).recipe == run.recipe
    assert child(RUN, run.stored, 20, Intervention(), 80).save_at[-1] == 80
    with pytest.raises(UserError, match="must train beyond"):
        child(RUN, run.stored, 20, Intervention(), 20)
    with pytest.raises(UserError, match="frequencies 1 to 3"):
        child(RUN, run.stored, 20, Intervention((Gain(9, 0.5, 20, 60),)), None)


def test_the_examples_are_valid(tmp_path: Path):
    examples = sorted((PROJECT / "experiments" / "examples").glob("*.grokking"))
    assert len(examples) >= 3
    assert [len(read(path)) for path in examples] == [1, 1, 8]
    (tmp_path / "broken.grokking").write_text("- a\n- b")
    with pytest.raises(UserError, match="must hold one mapping"):
        read(tmp_path / "broken.grokking")
