import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st

from panic_assets.errors import UserError
from panic_assets.training.convergence import advise, best_epoch, judge, verdicts
from panic_assets.training.replay import follow, regret_of, replay
from panic_assets.training.series import Measurement, Series, series_of

SERIES = (6, 7, 7, 7, 6.7, 7.3, 7, 6, 6, 6)


def up(*values):
    return Series(tuple(range(1, len(values) + 1)), tuple(float(v) for v in values))


def states(series, tolerance=0.15):
    return [v.state for v in verdicts(series, tolerance)]


@pytest.mark.parametrize(
    ("values", "state"),
    [((6, 7, 7), "continue"), ((7, 7, 7), "plateau"), ((9, 8, 6), "degrading"), ((1, 2), "continue")],
)
def test_the_published_three_point_series(values, state):
    assert judge(up(*values), 0.15).state == state


def test_the_published_replay():
    rows = replay(up(*SERIES), 0.15)
    assert [r.verdict.state for r in rows] == (
        ["continue"] * 3 + ["plateau"] * 2 + ["continue", "optimal"] + ["degrading"] * 3
    )
    assert rows[6].verdict.best_epoch == 6
    assert rows[4].regret == pytest.approx(0.3)
    assert rows[6].regret == 0


def test_equals_keep_the_first_best():
    # Taking the last of equals would call the fifth point `optimal`.
    assert judge(up(6, 7, 7, 7, 6.7), 0.15).best_epoch == 2


def test_tolerances_hold_at_their_edge_despite_floating_point():
    assert judge(up(7.0, 7.0, 6.7), 0.15).state == "plateau"


def test_best_before_the_window_needs_the_trailing_mean_to_fall():
    # A single early spike is no reason to stop while the trailing mean still holds.
    assert judge(up(5, 9, 7, 7, 7, 7), 0.15).state == "degrading"  # trailing mean fell from 7.67 to 7
    assert judge(up(7.05, 7, 7, 7), 0.15).state == "plateau"


def test_losses_are_read_the_other_way_round():
    down = Series(tuple(range(10)), tuple(-v for v in SERIES), "down")
    assert states(down) == states(up(*SERIES))
    last = verdicts(down, 0.15)[-1]
    assert last.best_value == -7.3
    assert last.best_trailing_mean == pytest.approx(-7.0)


def test_slope_and_interval_agree_with_statsmodels():
    values = (3.0, 4.1, 4.6)
    fit = sm.OLS(values, sm.add_constant(np.arange(3))).fit()
    verdict = judge(up(1, *values), 0.1)
    assert verdict.slope == pytest.approx(fit.params[1])
    assert (verdict.slope_low, verdict.slope_high) == pytest.approx(tuple(fit.conf_int(0.10)[1]))


floats = st.floats(-100, 100, allow_nan=False).map(lambda v: round(v, 3))


@given(st.lists(floats, min_size=1, max_size=30), st.floats(0, 5))
def test_the_rule_never_looks_ahead(values, tolerance):
    whole = verdicts(up(*values), tolerance)
    for n in range(1, len(values) + 1):
        assert judge(up(*values[:n]), tolerance) == whole[n - 1]


@given(st.lists(floats, min_size=1, max_size=30))
def test_regret_is_what_the_rest_of_the_run_would_have_added(values):
    rows = replay(up(*values), 0.5)
    assert rows[-1].regret == 0
    for i, row in enumerate(rows):
        assert row.regret == pytest.approx(max(values) - max(values[: i + 1]))


def test_following_the_rule_names_stop_and_regret():
    followed = follow(up(*SERIES), 0.15)
    assert (followed.stop_epoch, followed.state, followed.true_best_epoch) == (4, "plateau", 6)
    assert followed.regret == pytest.approx(0.3)
    only_degrading = follow(up(*SERIES), 0.15, ("degrading",))
    assert (only_degrading.stop_epoch, only_degrading.regret) == (8, 0.0)
    assert regret_of(up(1, 2, 3, 4), 0.15) == 0.0


def test_advice_needs_all_targets_to_agree():
    falling, rising = up(9, 8, 6), up(1, 2, 3)
    assert not advise({"a": (falling, 0.1), "b": (rising, 0.1)}).stop
    advice = advise({"a": (falling, 0.1)}, planned_epochs=10, cost_per_epoch=1.5, finished_regrets=[0, 0, 0.4, 0])
    assert advice.stop
    assert (advice.best_epoch, advice.saves_epochs, advice.saves_cost, advice.risk) == (1, 7, 10.5, 0.25)
    assert "1 of 4" in advice.sentence


def test_advice_compares_only_shared_epochs():
    a, b = Series((1, 2, 3, 4), (1, 2, 3, 9)), Series((1, 2, 3), (3, 2, 1))
    assert advise({"a": (a, 0.1), "b": (b, 0.1)}).epoch == 3
    with pytest.raises(UserError, match="share no epoch"):
        advise({"a": (Series((1,), (1,)), 0.1), "b": (Series((2,), (1,)), 0.1)})


def test_best_epoch_over_metrics_is_by_mean_rank():
    assert best_epoch([up(1, 3, 2), up(1, 2, 9)]) == 2  # ranks 3,1,2 and 3,2,1: the earlier of equals
    assert best_epoch([up(1, 3, 4), Series((1, 2, 3), (9, 8, 1), "down")]) == 3


def test_bad_series_are_refused():
    for broken in [((1, 1), (1, 2)), ((2, 1), (1, 2)), ((1,), (1, 2)), ((1,), (float("nan"),))]:
        with pytest.raises(UserError):
            Series(*broken)
    with pytest.raises(UserError, match="tolerance is -1"):
        judge(up(1, 2, 3), -1)
    with pytest.raises(UserError, match="finite"):
        Measurement("r", 1, "loss", float("inf"), "down", "1", "hash")


def test_series_of_refuses_mixed_methods_and_finds_its_rows():
    rows = [
        {"training_run": "r", "epoch": e, "metric": "loss", "value": v, "direction": "down", "method": m}
        for e, v, m in [(2, 0.5, "1"), (1, 0.9, "1")]
    ]
    assert series_of(rows, "r", "loss") == Series((1, 2), (0.9, 0.5), "down")
    with pytest.raises(UserError, match="mixes methods"):
        series_of([*rows, {**rows[0], "epoch": 3, "method": "2"}], "r", "loss")
    with pytest.raises(UserError, match="no values"):
        series_of(rows, "r", "accuracy")
