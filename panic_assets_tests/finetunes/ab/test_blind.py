"""A/B statistics: published and closed-form values, false positives under peeking, blinding."""

from datetime import UTC, datetime, timedelta
from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest
from statsmodels.stats.proportion import proportion_confint

from panic_assets.errors import UserError
from panic_assets.finetunes.ab import blind
from panic_assets.finetunes.ab.blind import Trial, Vote

START = datetime(2026, 1, 1, tzinfo=UTC)


def trials(prompts, seeds=1, rng=None):
    cells = [(f"p{p}", s) for p in range(prompts) for s in range(seeds)]
    return blind.draw_trials(cells, [f"t{i}" for i in range(len(cells))], rng or np.random.default_rng(0))


def votes(shown, choices, rater="r"):
    return [
        Vote(t.id, rater, c, START + timedelta(minutes=i)) for i, (t, c) in enumerate(zip(shown, choices, strict=False))
    ]


def test_fifteen_and_fourteen_of_twenty():
    assert blind.sign_test(15, 20) == pytest.approx(0.0414, abs=5e-5)
    assert blind.sign_test(14, 20) == pytest.approx(0.115, abs=5e-4)
    low, high = blind.wilson(15, 20)
    assert (round(low, 3), round(high, 3)) == (0.531, 0.888)
    assert blind.wilson(0, 0) == (0, 1)
    assert blind.sign_test(0, 0) == 1


@given(st.integers(0, 60), st.integers(1, 60))
def test_interval_and_sign_test_against_independent_libraries(k, more):
    n = k + more
    assert blind.wilson(k, n) == pytest.approx(proportion_confint(k, n, 0.05, method="wilson"), abs=1e-9)
    assert blind.sign_test(k, n) == pytest.approx(binomtest(k, n).pvalue, rel=1e-9)


@given(st.integers(0, 40), st.integers(0, 40))
def test_e_value_closed_form(k, misses):
    n = k + misses
    closed = 2.0**n * factorial(k) * factorial(misses) / factorial(n + 1)
    assert blind.e_value([1.0] * k + [-1.0] * misses) == pytest.approx(closed, rel=1e-9)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-1, 1), max_size=7))
def test_e_value_is_fair_under_the_null(sizes):
    """Its mean over all signs is exactly 1: the whole of its safety."""
    g = np.array(sizes)
    signs = 1 - 2 * (np.arange(1 << len(g))[:, None] >> np.arange(len(g)) & 1)
    assert np.mean([blind.e_value(row) for row in signs * g]) == pytest.approx(1, rel=1e-9)


@given(st.integers(0, 30), st.integers(0, 30))
def test_flip_test_of_single_votes_is_the_sign_test(k, misses):
    assert blind.flip_test([1.0] * k + [-1.0] * misses) == pytest.approx(blind.sign_test(k, k + misses))


def test_flip_test_of_uneven_blocks():
    assert blind.flip_test([1.0, 1.0, 1 / 3]) == pytest.approx(2 / 8)
    assert blind.flip_test([1.0, -1.0, 1 / 3]) == 1
    assert blind.flip_test([1.0, -1 / 3, -1 / 3, 1 / 3]) == pytest.approx(7 / 8)
    assert blind.flip_test([]) == 1
    many = [1.0] * 9 + [1 / 3] * 9
    assert blind.flip_test(many) == pytest.approx(1 / 20001, rel=0.01)


def called(rule, first=1, last=100):
    """The exact chance that `rule(k, n)` ever holds while n grows from `first` to `last` under the null."""
    alive, hit = np.ones(1), 0.0
    for n in range(1, last + 1):
        alive = (np.append(alive, 0) + np.append(0, alive)) / 2
        if n >= first:
            stop = np.array([rule(k, n) for k in range(n + 1)])
            hit += alive[stop].sum()
            alive[stop] = 0
    return hit


def test_peeking_breaks_the_fixed_test_and_not_the_e_value():
    def significant(k, n):
        return 2 * binom.cdf(min(k, n - k), n, 0.5) <= 0.05

    assert all(significant(k, 20) == (blind.sign_test(k, 20) <= 0.05) for k in range(21))
    assert called(significant, first=100) == pytest.approx(0.0352, abs=1e-4)
    assert called(significant, first=10) == pytest.approx(0.208, abs=1e-3)
    safe = called(lambda k, n: blind.e_value([1.0] * k + [-1.0] * (n - k)) >= blind.ENOUGH)
    assert 0.005 < safe <= 0.05, "it does declare sometimes"


@pytest.mark.parametrize("taste", [0.0, 3.0], ids=["independent votes", "prompts with a strong luck of their own"])
def test_a_against_a_calls_a_winner_in_at_most_five_per_cent(taste):
    """1,000 tests of 15 prompts x 3 seeds, looked at whenever a prompt is complete."""
    rng = np.random.default_rng(7)
    luck = 1 / (1 + np.exp(-taste * rng.normal(size=(1000, 15, 1))))
    for_b = rng.random((1000, 15, 3)) < luck
    nets = (2 * for_b - 1).mean(axis=2)
    ever = sum(any(blind.e_value(row[: n + 1]) >= blind.ENOUGH for n in range(15)) for row in nets)
    assert ever <= 50
    assert sum(blind.flip_test(row) <= 0.05 for row in nets) <= 50, "the fixed design, looked at once"
    if taste:
        naive = sum(blind.sign_test(int(k), 45) <= 0.05 for k in for_b.sum(axis=(1, 2)))
        assert naive > 100, "single votes on lucky prompts are no independent evidence"


def test_peeking_at_whole_results_is_safe():
    rng = np.random.default_rng(3)
    called_ever = 0
    for _ in range(40):
        shown = trials(20)
        all_votes = votes(shown, rng.choice(["A", "B", "tie"], 20, p=[0.45, 0.45, 0.1]))
        called_ever += any(blind.result(shown, all_votes[:n]).verdict.startswith("use") for n in range(1, 21))
    assert called_ever <= 5


def test_a_better_b_is_found():
    shown = trials(15, 3)
    rng = np.random.default_rng(1)
    strong = [("B" if rng.random() < 0.85 else "A") for _ in shown]
    told = blind.result(shown, votes(shown, strong))
    assert told.verdict == "use B"
    assert told.e >= 20
    assert told.blocks == 15
    flipped = blind.result(shown, votes(shown, [{"A": "B", "B": "A"}[c] for c in strong]))
    assert flipped.verdict == "use A"
    assert flipped.e == pytest.approx(told.e)


def test_verdicts_and_counts():
    shown = trials(20)
    choices = ["B"] * 14 + ["A"] * 6
    told = blind.result(shown, votes(shown, choices))
    assert (told.a, told.b, told.ties, told.votes) == (6, 14, 0, 20)
    assert told.share_b == 0.7
    assert told.sign_p == pytest.approx(0.115, abs=5e-4)
    assert told.verdict == "no difference shown"
    part = blind.result(shown, votes(shown, choices)[:5])
    assert part.verdict == "not decided yet"
    ties = blind.result(shown, votes(shown, ["tie"] * 20))
    assert (ties.ties, ties.share_b, ties.e, ties.verdict) == (20, None, 1.0, "no difference shown")
    none = blind.result(shown, [])
    assert (none.votes, none.e, none.sign_p, none.verdict) == (0, 1.0, 1.0, "not decided yet")


def test_ties_stand_apart():
    shown = trials(22)
    told = blind.result(shown, votes(shown, ["B"] * 15 + ["A"] * 5 + ["tie"] * 2))
    assert told.sign_p == pytest.approx(0.0414, abs=5e-5)
    assert (told.ties, told.votes) == (2, 22)
    assert (round(told.low, 3), round(told.high, 3)) == (0.531, 0.888)


def test_a_fixed_test_says_nothing_before_its_last_vote():
    shown = trials(20)
    cast = votes(shown, ["B"] * 15 + ["A"] * 5)
    assert blind.result(shown, cast[:15], fixed_votes=20).verdict == "not decided yet", "15 of 15, but 20 were agreed"
    told = blind.result(shown, cast, fixed_votes=20)
    assert told.verdict == "use B"
    assert told.flip_p == pytest.approx(0.0414, abs=5e-5)
    early = blind.result(shown, cast, fixed_votes=10)
    assert early.votes == 10, "votes beyond N do not count"


def test_only_the_first_planned_votes_count():
    shown = trials(3)
    first = votes(shown, ["A", "A", "A"])
    late = [Vote(t.id, r, "B", START + timedelta(days=1)) for t in shown for r in ("r", "s", "u")]
    told = blind.result(shown, [*late, *first])
    assert (told.a, told.b) == (3, 0)
    two = blind.counted(shown, [*late, *first], per_trial=2)
    assert sorted(v.rater for v in two) == ["r", "r", "r", "s", "s", "s"], "no rater twice on one trial"
    assert blind.preferences(shown, first, per_trial=2) == {}, "an unfinished block says nothing"
    assert blind.preferences(shown, two, per_trial=2) == {"p0": 0, "p1": 0, "p2": 0}
    with pytest.raises(UserError, match="does not have"):
        blind.counted(shown, [Vote("x", "r", "A", START)])


def test_sides_are_random_and_bias_is_seen():
    shown = trials(400)
    lefts = sum(t.left == "A" for t in shown)
    assert 160 < lefts < 240
    assert [t.prompt for t in shown] != [f"p{i}" for i in range(400)], "order is shuffled too"
    always_left = votes(shown, [blind.choice_of(t, "left") for t in shown])
    told = blind.result(shown, always_left)
    assert told.left == 400
    assert told.side_bias
    assert told.verdict == "no difference shown", "random sides turn a side bias into noise, not into a winner"
    honest = blind.result(shown, votes(shown, ["B"] * 400))
    assert not honest.side_bias


@given(st.sampled_from(["A", "B"]), st.sampled_from(["left", "right"]))
def test_a_side_means_the_checkpoint_shown_there(left, side):
    choice = blind.choice_of(Trial("t", "p", 1, left), side)
    assert (choice == left) == (side == "left")
    assert blind.choice_of(Trial("t", "p", 1, left), "tie") == "tie"


def test_a_vote_that_is_none_is_refused():
    with pytest.raises(UserError, match="left, right or tie"):
        blind.choice_of(Trial("t", "p", 1, "A"), "A")


@given(
    st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from(["ann", "bob", "eve"])), max_size=20),
    st.integers(1, 2),
    st.sampled_from([None, 1, 3]),
)
def test_a_vote_is_taken_exactly_when_it_counts(asked, per_trial, fixed_votes):
    shown = [Trial(t, t, 1, "A") for t in "xyz"]
    cast: list[Vote] = []
    for n, (trial, rater) in enumerate(asked):
        more = [*cast, Vote(trial, rater, "A", START + timedelta(seconds=n))]
        counts = blind.result(shown, more, per_trial, fixed_votes).votes > len(cast)
        assert (blind.uncounted(cast, trial, rater, per_trial, fixed_votes) is None) == counts
        cast = more if counts else cast
