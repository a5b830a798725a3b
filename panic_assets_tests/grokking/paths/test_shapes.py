"""Principal components, Lissajous statistics with their nulls, rings, and the circle hypothesis."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import ConvexHull, QhullError
from sklearn.decomposition import PCA

from panic_assets.errors import UserError
from panic_assets.grokking.paths import lissajous, shapes
from panic_assets.grokking.spectra import circle, pca
from panic_assets.grokking.spectra.fourier import basis

RNG = np.random.default_rng(0)
T = np.linspace(0, 1, 2001)


def gram_of(points):
    centred = points - points.mean(axis=0)
    return centred @ centred.T


# --- components --------------------------------------------------------------------------------


def test_components_agree_with_scikit_learn_however_computed():
    points = RNG.normal(size=(20, 50))
    reference = PCA(3).fit(points)
    for found in (pca.of_rows(points), pca.of_gram(gram_of(points))):
        np.testing.assert_allclose(found.shares, reference.explained_variance_ratio_)
        np.testing.assert_allclose(np.abs(found.scores), np.abs(reference.transform(points)), atol=1e-9)


def test_projecting_on_its_own_axes_changes_nothing():
    points = RNG.normal(size=(12, 6))
    found = pca.of_rows(points)
    scores, shares = pca.project(points, found)
    np.testing.assert_allclose(scores, found.scores, atol=1e-12)
    np.testing.assert_allclose(shares, found.shares)


def test_coinciding_points_have_no_shares():
    assert pca.of_rows(np.full((5, 3), 0.1)).shares is None
    assert pca.of_gram(np.zeros((4, 4))).shares is None


def weights(value, p=5, d=4, h=2, m=6):
    shapes = {"W_E": (p + 1, d), "W_pos": (3, d), "W_U": (d, p), "W_in": (d, m), "W_out": (m, d), "W_O": (h, d // h, d)}
    shapes |= dict.fromkeys(("W_Q", "W_K", "W_V"), (h, d, d // h))
    return {name: value(shape) for name, shape in shapes.items()}


def test_grams_add_up_over_groups_and_give_velocities():
    checkpoints = [weights(lambda s: RNG.normal(size=s).astype(np.float32)) for _ in range(5)]
    grams = pca.grams(checkpoints)
    flat = np.stack([np.concatenate([w[n].ravel() for n in pca.GROUPS["all"]]) for w in checkpoints]).astype(float)
    np.testing.assert_allclose(pca.group_gram(grams, "all"), gram_of(flat), atol=1e-8)
    np.testing.assert_allclose(pca.group_gram(grams, "W_E"), grams["W_E"])
    assert sorted(n for g in ("embedding", "attention", "mlp") for n in pca.GROUPS[g]) == sorted(pca.GROUPS["all"])
    epochs = [0, 10, 15, 100, 101]
    expected = np.linalg.norm(np.diff(flat, axis=0), axis=1) / np.diff(epochs)
    np.testing.assert_allclose(pca.velocities(pca.group_gram(grams, "all"), epochs), expected, rtol=1e-6)


def test_frames_keep_their_signs():
    frame = RNG.normal(size=(6, 3))
    one, two, three = pca.aligned([frame, -frame, frame * [1, -1, 1]])
    for other in (two, three):
        np.testing.assert_allclose(one, other)


def test_rows_are_tokens_answers_neurons_and_directions():
    rows = pca.token_rows(weights(lambda s: RNG.normal(size=s)))
    assert {n: len(r) for n, r in rows.items()} == {
        "W_E": 5,
        "W_pos": 3,
        "W_U": 5,
        "W_in": 6,
        "W_out": 6,
        "W_Q": 4,
        "W_K": 4,
        "W_V": 4,
        "W_O": 4,
    }


# --- shapes ------------------------------------------------------------------------------------


def test_the_components_of_a_random_walk_make_a_loop_by_themselves():
    shape = shapes.figure(np.stack([np.cos(2 * np.pi * T), np.cos(3 * np.pi * T)], 1))
    assert shape.crossings == 1
    assert shape.loop == pytest.approx(0.55, abs=0.01)


def test_a_plain_high_dimensional_walk_shows_the_published_shares():
    walks = lissajous.Walks(np.eye(150), 226_000, "even")
    found = [lissajous.statistics(walks.draw(np.random.default_rng(i))) for i in range(10)]
    mean = {name: np.mean([f[name] for f in found]) for name in found[0]}
    assert [mean[f"share_pc{i}"] for i in (1, 2, 3)] == pytest.approx([0.608, 0.152, 0.068], abs=0.005)
    assert mean["crossings_pc23"] == 1
    assert mean["loop_pc23"] == pytest.approx(0.55, abs=0.02)


def test_bartlett_walks_are_distributed_as_real_ones():
    rng, steps, dimension = np.random.default_rng(1), 6, 40
    plain = [(x := rng.normal(size=(steps, dimension))) @ x.T for _ in range(3000)]
    short = [(x := lissajous.random_gram(steps, dimension, rng)) @ x.T for _ in range(3000)]
    np.testing.assert_allclose(np.mean(plain, 0), np.mean(short, 0), atol=0.6)
    np.testing.assert_allclose(np.std(plain, 0), np.std(short, 0), rtol=0.08)
    assert lissajous.random_gram(5, 2, rng).shape == (5, 2)


def test_matched_walks_match():
    smooth = np.cumsum(np.cumsum(RNG.normal(size=(40, 300)), axis=0), axis=0)
    gram = gram_of(smooth)
    lengths = np.sqrt(np.diagonal(pca.step_gram(gram)))
    for kind in ("lengths", "autocorrelation"):
        drawn = lissajous.Walks(gram, 300, kind).draw(np.random.default_rng(2))
        np.testing.assert_allclose(np.sqrt(np.diagonal(pca.step_gram(drawn))), lengths, rtol=1e-8)
    mine = lissajous.autocorrelation(gram)
    walks = lissajous.Walks(gram, 300, "autocorrelation")
    drawn = np.mean([lissajous.autocorrelation(walks.draw(np.random.default_rng(i))) for i in range(20)], axis=0)
    np.testing.assert_allclose(drawn[:15], mine[:15], atol=0.12)
    plain = lissajous.autocorrelation(lissajous.Walks(gram, 300, "lengths").draw(np.random.default_rng(3)))
    assert abs(plain[1]) < 0.1 < mine[1]


def test_a_random_walk_is_no_finding_and_a_circle_is():
    walk = np.cumsum(RNG.normal(size=(30, 500)), axis=0)
    stands = {s.statistic: s.percentile for s in lissajous.against_nulls(gram_of(walk), 500, 40) if s.null == "even"}
    assert 1 < stands["share_pc1"] < 99
    turn = 2 * np.pi * np.arange(30) / 29
    ring = np.stack([np.cos(turn), np.sin(turn)], 1) @ np.linalg.qr(RNG.normal(size=(500, 2)))[0].T
    stands = {s.statistic: s.percentile for s in lissajous.against_nulls(gram_of(ring), 500, 40) if s.null == "even"}
    assert stands["share_pc2"] == 100
    with pytest.raises(UserError, match="four or more"):
        lissajous.against_nulls(np.eye(3), 10)


def test_crossings_areas_and_turning_points_of_known_figures():
    eight = np.array([[0, 0], [2, 2], [2, 0], [0, 2]], float)
    shape = shapes.figure(eight)
    assert shape.crossings == 1
    assert shape.loop == pytest.approx(1 / 4)  # a triangle of 1 in a hull of 4
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
    assert shapes.signed_area(square) == 1
    assert shapes.signed_area(square[::-1]) == -1
    assert shapes.figure(np.stack([T, 2 * T], 1)) == shapes.Figure(0.0, 0, 0.0)
    turns = circle.extrema(np.array([[0, 0], [1, 1], [0, 2], [1, 3.0]]), [0, 10, 20, 30])
    assert [t.tolist() for t in turns] == [[10, 20], []]


@given(st.integers(0, 10_000), st.floats(0.1, 10), st.floats(0, 6.28))
def test_figures_do_not_change_when_moved_turned_or_scaled(seed, scale, angle):
    points = np.random.default_rng(seed).normal(size=(12, 2))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    one, two = shapes.figure(points), shapes.figure(scale * points @ turn.T + 3)
    assert one.crossings == two.crossings
    assert (one.loop, one.signed) == (pytest.approx(two.loop), pytest.approx(two.signed))


@given(st.integers(0, 10_000))
def test_loops_are_where_segments_cross_and_have_the_areas_of_their_polygons(seed):
    points = np.random.default_rng(seed).normal(size=(20, 2))
    expected = []
    for i in range(len(points) - 1):
        for j in range(i + 2, len(points) - 1):
            steps = np.stack([points[i + 1] - points[i], points[j] - points[j + 1]], 1)
            t, u = np.linalg.solve(steps, points[j] - points[i])
            if 0 < t < 1 and 0 < u < 1:
                at = points[i] + t * (points[i + 1] - points[i])
                expected.append(shapes.signed_area(np.vstack([at, points[i + 1 : j + 1]])))
    np.testing.assert_allclose(shapes.loop_areas(points), expected, atol=1e-9)


@given(st.integers(0, 10_000), st.integers(3, 40), st.booleans())
def test_hulls_are_those_of_qhull(seed, count, lattice):
    points = np.random.default_rng(seed).normal(size=(count, 2)) * 3
    if lattice:  # equal coordinates, points on edges, the same point twice
        points = points.round()
    try:
        hull = ConvexHull(points)
    except QhullError:
        assert shapes.hull_area(points) == 0
        return
    assert shapes.hull_area(points) == pytest.approx(hull.volume)
    assert shapes.signed_area(points[hull.vertices]) == pytest.approx(hull.volume)


def test_a_long_path_is_looked_at_in_few_points_and_so_are_its_walks():
    walk = np.cumsum(RNG.normal(size=(300, 400)), axis=0)
    kept = pca.evenly(300, lissajous.POINTS)
    assert (kept[0], kept[-1], len(set(kept))) == (0, 299, lissajous.POINTS)
    assert np.ptp(np.diff(kept)) <= 1
    np.testing.assert_allclose(pca.part(gram_of(walk), kept), gram_of(walk[kept]), atol=1e-7)
    whole, thin = (lissajous.against_nulls(gram_of(points), 400, 3) for points in (walk, walk[kept]))
    assert [s.points for s in whole] == [s.points for s in thin] == [lissajous.POINTS] * len(whole)
    for number in ("value", "median", "percentile"):
        assert [getattr(s, number) for s in whole] == pytest.approx([getattr(s, number) for s in thin], abs=1e-9)
    assert pca.evenly(5, 64).tolist() == [0, 1, 2, 3, 4]


# --- frequencies -------------------------------------------------------------------------------


def test_three_to_two():
    p, c = 31, np.arange(31)
    angle = 2 * np.pi * c / p
    scores = np.stack([0.5 * np.cos(3 * angle + 1), 2 * np.cos(2 * angle - 2)], 1)
    one, two = lissajous.ring_tones(scores)
    assert lissajous.reduced(one.k, two.k) == "3:2"
    assert (one.amplitude, one.phase, one.r2) == pytest.approx((0.5, 1, 1))
    assert (two.amplitude, two.phase) == pytest.approx((2, -2))
    assert lissajous.reduced(6, 4) == "3:2"
    assert lissajous.ring_tones(np.ones((31, 1))) == [None]


def test_free_signals_get_a_fraction_or_none_but_never_irrational():
    t = np.arange(400)
    f3, f2 = (lissajous.tone_frequency(np.cos(2 * np.pi * f * t + 0.7)) for f in (0.03, 0.02))
    assert f3 == pytest.approx(0.03, abs=1e-6)
    assert str(lissajous.ratio(f3, f2)) == "3:2"
    assert lissajous.ratio(22.0, 7.0).rational == Fraction(22, 7)
    none = lissajous.ratio(np.pi, 1.0, limit=50, tolerance=1e-6)
    assert (none.rational, str(none)) == (None, "no rational within q <= 50")
    assert "irrational" not in str(none)
    assert lissajous.ratio(np.pi, 1.0, limit=113, tolerance=1e-6).rational == Fraction(355, 113)


@given(st.floats(0.02, 20), st.sampled_from([1e-2, 1e-3, 1e-6]))
def test_the_fraction_is_the_simplest_there_is(value, tolerance):
    found = lissajous.ratio(value, 1.0, 50, tolerance)
    near = [
        q
        for q in range(1, 51)
        if round(value * q) and abs(Fraction(round(value * q), q) - Fraction(value)) <= tolerance
    ]
    assert (found.rational and found.rational.denominator) == (near[0] if near else None)


def test_the_chance_of_a_fraction_counts_those_as_simple():
    assert lissajous.ratio(3.0, 2.0).chance == pytest.approx(2e-3 * 2)  # 0 and 1/2
    assert lissajous.ratio(4.0, 5.0).chance == pytest.approx(2e-3 * 10)  # 0, 1/2, thirds, quarters, fifths
    drawn = [lissajous.ratio(x, 1.0).rational for x in 1 + np.random.default_rng(0).random(3000)]
    hits = [r is not None and r.denominator <= 5 for r in drawn]
    assert np.mean(hits) == pytest.approx(0.02, abs=0.008)


def test_the_path_of_a_walk_has_half_a_cycle_a_component():
    epochs = [0, *range(5, 100, 10), *range(100, 1001, 7)]  # read unevenly
    t = np.array(epochs) / 1000
    walk = np.stack([np.cos(np.pi * k * t) for k in (1, 2, 3)], 1)
    assert lissajous.cycles(walk, epochs) == pytest.approx([0.5, 1.0, 1.5], abs=0.02)
    figure = np.stack([np.cos(2 * np.pi * 3 * t), np.cos(2 * np.pi * 2 * t), np.zeros(len(t))], 1)
    three, two, rest = lissajous.cycles(figure, epochs)
    assert rest is None
    assert str(lissajous.ratio(three, two)) == "3:2"


# --- rings -------------------------------------------------------------------------------------


def circles(ks, p=31, d=20, seed=0):
    """Centroids of answers on equal circles of frequencies ks, each in a plane of its own."""
    axes = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, 2 * len(ks))))[0]
    waves = np.hstack([basis(p)[[2 * k - 1, 2 * k]].T for k in ks])
    return waves @ axes.T + 5


def test_equal_frequencies_share_the_components_but_each_is_a_circle_in_its_own_plane():
    for m in (1, 2, 3, 5):
        ks = [2, 5, 7, 11, 13][:m]
        points = circles(ks)
        shares = circle.class_distribution(points)
        assert shares[:2] == pytest.approx((1 / (2 * m), 1 / (2 * m)))
        assert sum(shares) == pytest.approx(1)
        found = circle.rings(points)
        assert sorted(r.k for r in found) == ks
        for ring in found:
            assert (ring.circularity, ring.share) == pytest.approx((1, 1 / m))
        assert circle.site_circularity(found) == pytest.approx(1)


def test_identical_centroids_are_undefined():
    points = np.full((31, 20), 0.1)
    assert circle.class_distribution(points) is None
    assert circle.rings(points) == []
    assert circle.ring(points, 3) is None
    assert circle.site_circularity([]) is None


def test_a_squashed_ring_and_a_shuffled_one_are_less_circular():
    points = circles([4])
    squashed = points - points.mean(axis=0)
    axis = np.linalg.svd(squashed, full_matrices=False)[2][0]
    squashed -= 0.6 * np.outer(squashed @ axis, axis)
    assert circle.ring(squashed, 4).circularity < 0.8
    shuffled = circle.ring(points[np.random.default_rng(1).permutation(31)], 4)
    assert shuffled is None or shuffled.share < 0.5


def test_the_circle_fit_finds_an_arc_off_centre():
    angle = np.linspace(0, 2, 50)
    radius, residual = circle.circle_fit(np.stack([3 + 2 * np.cos(angle), -1 + 2 * np.sin(angle)], 1))
    assert (radius, residual) == (pytest.approx(2), pytest.approx(0, abs=1e-9))


def test_centroids_are_means_by_answer():
    values, answers = RNG.normal(size=(25, 3)), np.arange(25) % 5
    expected = [values[answers == c].mean(axis=0) for c in range(5)]
    np.testing.assert_allclose(circle.centroids(values, answers, 5), expected)


# --- the hypothesis ----------------------------------------------------------------------------

EPOCHS = list(range(0, 4000, 100))


def curve(seed=0):
    """A smooth path whose first components turn several times."""
    t = np.arange(len(EPOCHS)) / len(EPOCHS)
    waves = np.stack([np.cos((j + 1) * np.pi * t) / (j + 1) for j in range(6)], 1)
    return gram_of(waves @ np.random.default_rng(seed).normal(size=(6, 400)))


def test_the_circle_hypothesis_has_three_verdicts():
    gram = curve()
    turn = int(circle.extrema(pca.of_gram(gram).scores, EPOCHS)[1][0])
    sites = {e: {"attn_out": 0.5, "resid_post": 0.97, "resid_pre": None} for e in EPOCHS}
    there = circle.circle_hypothesis(turn, EPOCHS, gram, 400, sites)
    assert there.distances[1] == 0
    assert there.circularity["resid_post"] == 0.97
    never = circle.circle_hypothesis(None, EPOCHS, gram, 400, sites)
    assert (never.verdict, never.epoch) == ("undetermined", None)
    square = {e: {"resid_post": 0.4} for e in EPOCHS}
    assert circle.circle_hypothesis(turn, EPOCHS, gram, 400, square).verdict == "not supported"
    far = circle.circle_hypothesis(3900, EPOCHS, gram, 400, sites)
    assert far.verdict == "not supported"
    assert far.percentile > 5
    assert circle.circle_hypothesis(100, EPOCHS[:4], gram[:4, :4], 400, sites).verdict == "undetermined"


def test_a_close_turn_supports_it_only_when_walks_turn_elsewhere():
    gram = curve()
    sites = {e: {"resid_post": 0.97} for e in EPOCHS}
    turn = int(circle.extrema(pca.of_gram(gram).scores, EPOCHS)[1][0])
    found = circle.circle_hypothesis(turn, EPOCHS, gram, 400, sites)
    # The verdict follows from the stored percentile, whichever way these walks fall.
    assert found.verdict == ("supported" if found.percentile <= 5 else "not supported")


def test_a_turn_as_near_as_from_anywhere_is_no_finding():
    turns = [np.array([1000]), np.array([3000])]
    assert circle.nearer_anywhere(turns, 0, EPOCHS) == pytest.approx(100 * 2 / 3901)
    assert circle.nearer_anywhere(turns, 2000, EPOCHS) == 100
    gram = curve()
    sites = {e: {"resid_post": 0.97} for e in EPOCHS}
    own = circle.extrema(pca.of_gram(gram).scores, EPOCHS)
    off = int(own[1][0]) + 150
    found = circle.circle_hypothesis(off, EPOCHS, gram, 400, sites)
    assert found.percentile >= circle.nearer_anywhere(own, min(d for d in found.distances if d is not None), EPOCHS)
    assert found.verdict == "not supported"


def test_the_first_epoch_below_a_loss():
    assert circle.first_below([0, 5, 9], [1, 1e-6, 0]) == 5
    assert circle.first_below([0, 5], [1, 1]) is None
