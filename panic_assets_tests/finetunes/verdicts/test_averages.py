"""Averages, choices, marks, weak areas and issues: planted truths are found, noise is not."""

import numpy as np
import pytest

from panic_assets.errors import UserError
from panic_assets.finetunes.verdicts import averages, issues, weak
from panic_assets.finetunes.verdicts.averages import Value


def cells(epoch, means, seeds=3, noise=0.0, rng=None, suite="s"):
    rng = rng or np.random.default_rng(epoch)
    return [
        Value(epoch, f"p{i:02d}", s, float(m + noise * rng.normal()), suite)
        for i, m in enumerate(means)
        for s in range(seeds)
    ]


def test_an_average_is_a_mean_of_prompt_means():
    values = [Value(1, "a", s, 0.0, "s") for s in range(9)] + [Value(1, "b", 0, 100.0, "s")]
    told = averages.average(values)
    assert told.mean == 50, "ten cells average 10, two prompts average 50"
    assert (told.prompts, told.cells) == (2, 10)
    assert told.low == 0
    assert told.high == 100


def test_one_prompt_has_no_interval():
    told = averages.average(cells(1, [70], noise=5))
    assert told.low is None
    assert told.high is None


def test_the_interval_covers():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        told = averages.average(cells(1, rng.normal(60, 10, 15), rng=rng))
        inside += told.low <= 60 <= told.high
    assert 0.85 <= inside / 200 <= 0.98


def test_versions_are_never_mixed():
    mixed = cells(1, [50]) + cells(1, [60], suite="other")
    for call in (averages.average, averages.one_suite):
        with pytest.raises(UserError, match="2 suite versions"):
            call(mixed)
    with pytest.raises(UserError, match="suite versions"):
        averages.table({1: cells(1, [50]), 2: cells(2, [50], suite="other")})
    with pytest.raises(UserError, match="suite versions"):
        averages.paired(cells(1, [50]), cells(2, [50], suite="other"))
    with pytest.raises(UserError, match="no value"):
        averages.average([])


def test_like_is_compared_with_like():
    values = cells(1, [90]) + cells(2, [90, 10, 10]) + cells(3, [90, 10])
    assert list(averages.like_with_like(values, ["p00"])) == [1, 2, 3]
    shared = averages.like_with_like(values, ["p00", "p01"])
    assert list(shared) == [2, 3]
    assert {v.prompt for v in shared[2]} == {"p00", "p01"}
    all_of_them = averages.table(averages.like_with_like(values, ["p00"]))
    assert all_of_them.means.tolist() == [90, 90, 90], "epoch 2 is no worse for having been asked more"


def peaked(best, epochs=range(1, 11), fall=6.0, prompts=15, noise=6.0, seed=0):
    rng = np.random.default_rng(seed)
    base = rng.normal(80, 8, prompts)
    return {
        e: [
            Value(e, f"p{i:02d}", s, float(b - fall * abs(e - best) + noise * rng.normal()), "s")
            for i, b in enumerate(base)
            for s in range(3)
        ]
        for e in epochs
    }


def test_a_known_best_epoch_is_chosen_and_marked():
    chosen = averages.choose(averages.table(peaked(7)))
    assert chosen is not None
    assert chosen.epoch == 7
    assert chosen.confidence > 0.9
    assert chosen.above_noise
    assert sum(chosen.shares.values()) == pytest.approx(1)
    assert chosen.last_below is not None
    mean, low, high = chosen.last_below
    assert low < mean < high
    assert mean == pytest.approx(18, abs=4)
    turn = averages.inflection(averages.table(peaked(7)))
    assert turn is not None
    assert turn.epoch == 7
    assert turn.before == pytest.approx(6, abs=1.5)
    assert turn.after == pytest.approx(-6, abs=1.5)
    assert turn.above_noise


def test_nothing_is_marked_in_noise():
    marked = turned = 0
    for seed in range(60):
        shown = averages.table(peaked(5, fall=0.0, seed=seed, prompts=6))
        marked += averages.choose(shown).above_noise
        turned += averages.inflection(shown).above_noise
    assert marked <= 8, "5% of 60 is 3"
    assert turned <= 8


def test_a_straight_line_has_no_inflection():
    rng = np.random.default_rng(3)
    values = {e: cells(e, [50 + 4 * e] * 8, noise=4, rng=rng) for e in range(1, 11)}
    assert not averages.inflection(averages.table(values)).above_noise
    assert averages.choose(averages.table(values)).epoch == 10
    assert averages.choose(averages.table(values)).last_below is None


def test_one_prompt_does_not_give_certainty():
    noisy = averages.choose(averages.table(peaked(3, fall=0.0, prompts=1, noise=10)))
    assert noisy.confidence < 1
    assert averages.choose(averages.table({1: cells(1, [5])})) is None
    assert averages.choose(averages.table({1: cells(1, [5]), 2: []})) is None
    assert averages.inflection(averages.table({e: cells(e, [5]) for e in range(4)})) is None


def test_the_same_rows_give_the_same_numbers():
    assert averages.choose(averages.table(peaked(4))) == averages.choose(averages.table(peaked(4)))


def test_paired_differences_use_only_shared_cells():
    told = averages.paired(cells(2, [80, 70, 10]), cells(1, [60, 50]))
    assert told.mean == 20
    assert (told.prompts, told.cells) == (2, 6)
    assert (told.low, told.high) == (20, 20)
    assert averages.paired(cells(1, [5]), []) is None


HAIR = ["pink", "pink", "blue", "black", "red", "brown", "blue", "grey", "purple", "black", "blue", "white"]
GROUND = ["green", "red", "blue", "white", "yellow", "grey", "green", "red", "white", "orange", "pink", "cyan"]


def traits(seed, blue_hair=0.0, prompt_noise=2.0, seeds=3):
    rng = np.random.default_rng(seed)
    out = []
    for i, (hair, ground) in enumerate(zip(HAIR, GROUND, strict=True)):
        offset = rng.normal(0, prompt_noise)
        for s in range(seeds):
            score = 88 + offset + rng.normal(0, 5) - (blue_hair if hair == "blue" else 0)
            out.append(weak.Trait("c", f"p{i}", s, "hair", hair, float(np.clip(score, 0, 100))))
            out.append(weak.Trait("c", f"p{i}", s, "background", ground, float(88 + rng.normal(0, 5))))
            out.append(weak.Trait("c", f"p{i}", s, "expression", ["smile", "neutral"][i % 2], 88 + rng.normal(0, 5)))
    return out


def test_a_planted_failure_on_blue_is_named_and_nothing_else():
    for seed in range(10):
        found = weak.weak_areas(traits(seed, blue_hair=47))
        named = [w for w in found if w.weak]
        assert [(w.measure, w.value) for w in named] == [("hair", "blue")], seed
    blue = named[0]
    assert blue.cells == 9
    assert blue.prompts == 3
    assert blue.mean == pytest.approx(41, abs=4)
    assert blue.others == pytest.approx(88, abs=3)
    assert blue.low < blue.difference < blue.high < 0
    assert blue.q <= 0.05
    assert blue.sentence.startswith("blue hair scores 4")
    assert blue.sentence.endswith("9 pairs)")


def test_two_planted_failures_are_both_named():
    planted = [
        weak.Trait(t.checkpoint, t.prompt, t.seed, t.measure, t.value, t.score - 30 * (t.value in ("black", "orange")))
        for t in traits(1, blue_hair=40)
    ]
    named = {(w.measure, w.value) for w in weak.weak_areas(planted) if w.weak}
    assert named >= {("hair", "blue"), ("hair", "black")}
    assert named <= {("hair", "blue"), ("hair", "black"), ("background", "orange")}


def test_without_a_failure_nothing_is_named():
    named = sum(any(w.weak for w in weak.weak_areas(traits(seed))) for seed in range(30))
    assert named <= 4, "5% of 30 is 1.5"


def test_an_attribute_alone_in_its_measure_is_not_compared():
    alone = [weak.Trait("c", f"p{i}", s, "hair", "blue", 10.0) for i in range(3) for s in range(3)]
    assert weak.weak_areas(alone) == []
    assert weak.weak_areas([]) == []


def test_issues_are_new_persisting_resolved_recurring():
    scores = {"blue hair": {1: 40, 2: 50, 5: 80, 7: 60, 8: 65, 10: 90}, "green background": {1: 95, 10: 99}}
    told = [(i.epoch, i.state) for i in issues.track(scores) if i.name == "blue hair"]
    assert told == [
        (1, "new"),
        (2, "persisting"),
        (5, "resolved"),
        (7, "recurring"),
        (8, "persisting"),
        (10, "resolved"),
    ]
    assert {i.state for i in issues.track(scores) if i.name == "green background"} == {""}
    assert [i.state for i in issues.track({"x": {1: 70.0, 2: 69.999}})] == ["", "new"], "70 is a mark of 7: sound"
