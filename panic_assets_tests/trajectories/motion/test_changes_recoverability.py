"""Change points and recoverability on data with known answers."""

import numpy as np
import pytest
from sklearn.neighbors import NearestCentroid

from panic_assets.trajectories.motion.changes import change_points, indicators
from panic_assets.trajectories.motion.recoverability import _accuracy, recoverability


def test_jumps_are_found_where_they_are():
    rng = np.random.default_rng(0)
    levels = np.repeat([0.0, 3, 1], [60, 40, 80])
    assert change_points(levels + 0.5 * rng.normal(size=180)).tolist() == [60, 100]
    wide = levels[:, None] * np.ones(20) + 0.5 * rng.normal(size=(180, 20))
    assert change_points(wide).tolist() == [60, 100]


def test_independent_noise_has_hardly_any():
    rng = np.random.default_rng(1)
    found = [len(change_points(rng.normal(size=(150, d)))) for d in (1, 5) for _ in range(100)]
    assert np.mean(np.array(found) > 0) < 0.05


def test_a_wandering_signal_is_cut_although_nothing_changes():
    """The failure mode that makes a surrogate necessary."""
    assert len(change_points(np.cumsum(np.random.default_rng(2).normal(size=200)))) > 3


def test_cluster_sequences_change_where_the_mix_changes():
    rng = np.random.default_rng(3)
    sequence = np.concatenate([rng.choice([0, 1], 100), rng.choice([2, -1], 100)])
    assert change_points(indicators(sequence)).tolist() == pytest.approx([100], abs=2)
    assert indicators(np.array([0, -1, 2])).tolist() == [[1, 0], [0, 0], [0, 1]]


@pytest.mark.parametrize("signal", [np.ones(50), np.zeros(50), np.arange(5.0), np.empty(0)])
def test_nothing_changes_in_constants_and_short_signals(signal):
    assert len(change_points(signal)) == 0


def runs(strength, prompts=6, each=8, d=30, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(prompts), each)
    return strength * rng.normal(size=(prompts, d))[labels] + rng.normal(size=(len(labels), d)), labels.astype(str)


def test_clear_prompts_are_recovered_and_absent_ones_are_not():
    found = recoverability(*runs(3.0))
    assert found.accuracy == 1
    assert found.chance.null_mean == pytest.approx(1 / 6, abs=0.05)
    assert found.chance.p_value == pytest.approx(2 / 200)
    assert (found.runs, found.prompts) == (48, 6)
    p = np.array([recoverability(*runs(0.0, seed=s), replicates=39).chance.p_value for s in range(60)])
    assert (p <= 0.1).mean() < 0.25


def test_without_leaving_out_noise_would_be_recovered():
    vectors, labels = runs(0.0, each=2, d=300)
    assert (NearestCentroid().fit(vectors, labels).predict(vectors) == labels).mean() == 1
    assert recoverability(vectors, labels).accuracy < 0.6


def test_accuracy_agrees_with_scikit_learn_leaving_one_out():
    vectors, labels = runs(0.5)
    right = 0
    for i in range(len(labels)):
        others = np.arange(len(labels)) != i
        right += NearestCentroid().fit(vectors[others], labels[others]).predict(vectors[i : i + 1])[0] == labels[i]
    assert recoverability(vectors, labels).accuracy == pytest.approx(right / len(labels))
    centred = vectors - vectors.mean(0)
    assert _accuracy(centred @ centred.T, np.unique(labels, return_inverse=True)[1]) == pytest.approx(right / 48)


def test_what_blocks_share_is_no_recovery():
    """Prompt follows network here: free shuffling calls that recovery, shuffling within networks does not."""
    rng = np.random.default_rng(5)
    network = np.repeat(["a", "b"], 20)
    prompt = np.where(rng.random(40) < 0.9, network, np.where(network == "a", "b", "a"))
    vectors = 5 * (network == "a")[:, None] * np.ones(10) + rng.normal(size=(40, 10))
    assert recoverability(vectors, prompt).chance.p_value < 0.05
    assert recoverability(vectors, prompt, network).chance.p_value > 0.05


def test_single_runs_are_dropped():
    vectors, labels = runs(3.0)
    found = recoverability(np.vstack([vectors, vectors[:1]]), [*labels, "alone"])
    assert (found.runs, found.prompts) == (48, 6)
    assert recoverability(vectors[:3], ["a", "a", "b"]) is None
    assert recoverability(vectors[:0], []) is None
