from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panic_assets.errors import UserError
from panic_assets.training.cost import (
    RateTable,
    Span,
    StopRule,
    by_cost,
    cheaper_cards,
    costs,
    outlook,
    spans_from_times,
    stop_decision,
    storage_cost,
)

DAY = datetime(2026, 5, 1, tzinfo=UTC)
RATES = RateTable.parse(
    [
        {"card": "A40", "price": 1.69, "from": "2026-01-01", "until": "2026-06-01"},
        {"card": "A40", "price": 2.00, "from": "2026-06-01"},
        {"card": "T4", "price": 0.40, "from": "2026-01-01T00:00:00Z"},
        {"card": "H200", "price": 4.0, "from": "2026-01-01"},
    ]
)


def hours(n):
    return timedelta(hours=n)


@pytest.mark.parametrize(("n", "price"), [(8, 13.52), (12, 20.28)])
def test_the_published_prices(n, price):
    (part,) = costs([Span(1, DAY, DAY + hours(n), False)], "A40", RATES)
    assert part.cost == pytest.approx(price, abs=1e-9)
    assert part.hours == n


def test_a_rate_change_mid_run_splits_the_cost():
    june = datetime(2026, 6, 1, tzinfo=UTC)
    parts = costs([Span(3, june - hours(2), june + hours(1), False)], "A40", RATES)
    assert [(p.hours, p.rate) for p in parts] == [(2.0, 1.69), (1.0, 2.0)]
    assert sum(p.cost for p in parts) == pytest.approx(2 * 1.69 + 2.0)


@given(st.integers(0, 4000), st.integers(0, 4000))
def test_splitting_a_span_anywhere_changes_no_total(a, b):
    start, middle, end = DAY, DAY + hours(a), DAY + hours(a + b)
    whole = costs([Span(1, start, end, False)], "A40", RATES)
    halves = costs([Span(1, start, middle, False), Span(2, middle, end, False)], "A40", RATES)
    assert sum(p.cost for p in whole) == pytest.approx(sum(p.cost for p in halves))
    assert sum(p.hours for p in whole) == pytest.approx(a + b)


def test_times_of_files_give_estimated_spans():
    spans = spans_from_times({0: DAY, 10: DAY + hours(1), 20: DAY + hours(3), 30: DAY + hours(4)})
    assert [s.hours for s in spans] == [1, 1, 2, 1]  # the first is the median of the rest
    assert all(s.estimated for s in spans)
    assert [s.hours for s in spans_from_times({5: DAY}, started=DAY - hours(2))] == [2]
    assert spans_from_times({5: DAY}) == []
    with pytest.raises(UserError, match="older than checkpoint 1"):
        spans_from_times({1: DAY, 2: DAY - hours(1)})


def test_a_time_or_card_without_a_rate_is_refused_not_free():
    with pytest.raises(UserError, match="no rate of A40 is valid at 2025"):
        RATES.at("A40", datetime(2025, 5, 1, tzinfo=UTC))
    with pytest.raises(UserError, match="did you mean 'A40'"):
        RATES.at("a4o", DAY)
    with pytest.raises(UserError, match="overlap"):
        RateTable.parse([{"card": "x", "price": 1, "from": "2026-01-01"}, {"card": "x", "price": 1, "from": DAY}])
    with pytest.raises(UserError, match="not a date"):
        RateTable.parse([{"card": "x", "price": 1, "from": "yesterday"}])
    with pytest.raises(UserError, match="lacks price"):
        RateTable.parse([{"card": "x", "from": DAY}])


def test_the_outlook_projects_by_the_median_epoch():
    spans = [Span(e, DAY + hours(e - 1), DAY + hours(e), True) for e in (1, 2, 3)]
    now = outlook(costs(spans, "T4", RATES), planned_epoch=10, budget=5)
    assert now.spent == pytest.approx(1.2)
    assert now.projected == pytest.approx(4.0)
    assert now.estimated
    sparse = [Span(100, DAY, DAY + hours(1), False), Span(300, DAY + hours(1), DAY + hours(3), False)]
    assert outlook(costs(sparse, "T4", RATES), 400).per_epoch == pytest.approx(0.004)
    assert outlook([], 10).projected is None


def test_storage_and_failed_runs():
    assert storage_cost(10**10, timedelta(days=15), 0.2) == pytest.approx(1.0)
    totals = {"a": 1.0, "b": 9.0, "c": 5.0, "d": 5.0}
    assert by_cost(totals, {"a": "failed", "b": "done", "c": "failed", "d": "failed"}) == [
        ("c", 5.0),
        ("d", 5.0),
        ("a", 1.0),
    ]


def test_cheaper_cards_come_from_measured_step_times_or_say_no_data():
    first, second = cheaper_cards(10, "A40", {"A40": 0.1, "T4": 0.3}, RATES, DAY)
    assert (first.card, first.hours) == ("T4", pytest.approx(30))
    assert (first.cost, first.saves) == (pytest.approx(12), pytest.approx(4.9))
    assert (second.card, second.cost, second.note) == ("H200", None, "no data")
    assert {c.note for c in cheaper_cards(10, "A40", {"T4": 0.3}, RATES, DAY)} == {"no data"}


def test_auto_stop_is_a_dry_run_and_waits_for_the_checkpoint():
    now = outlook(costs([Span(1, DAY, DAY + hours(10), False)], "T4", RATES), planned_epoch=5)
    assert not stop_decision(StopRule(5), now, True).fired
    dry = stop_decision(StopRule(4), now, True)
    assert (dry.fired, dry.stop) == (True, False)
    armed = StopRule(15, on="projected", dry_run=False)
    assert stop_decision(armed, now, True).stop
    waiting = stop_decision(armed, now, False)
    assert (waiting.fired, waiting.stop) == (True, False)
    assert "waiting for the checkpoint" in waiting.reason
    assert "no data" in stop_decision(armed, outlook([], 5), True).reason
