"""What training costs: GPU hours per epoch, at the rate that was valid when they were spent.

Costs computed from the times of files are marked as estimated. A cost that cannot be known is None, never 0.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Literal

from panic_assets.errors import UserError, cut, shown, suggest

HOUR = 3600.0
LARGEST_PRICE = 1e9
MONTH = 30 * 24 * HOUR
"""Seconds of a month as storage is priced: 30 days."""


@dataclass(frozen=True)
class Rate:
    """Price of one card for one hour (or of one GB for one 30-day month), valid from `start` until `end`.

    `end` is exclusive; None is open. Times carry a time zone.
    """

    card: str
    price: float
    start: datetime
    end: datetime | None = None

    def __post_init__(self) -> None:
        for field, value in (("start", self.start), ("end", self.end)):
            if value is not None and value.tzinfo is None:
                raise UserError(
                    f"rate of {self.card}: {field} {value} has no time zone; add one, for example Z for UTC"
                )
        if not 0 <= self.price <= LARGEST_PRICE:
            raise UserError(f"rate of {self.card}: price is {self.price}; it must be from 0 to {LARGEST_PRICE:,.0f}")
        if self.end is not None and self.end <= self.start:
            raise UserError(
                f"rate of {self.card} ends at {self.end}, not after its start at {self.start}; it must end later"
            )


class RateTable:
    """Rates by card. Two rates of one card must not overlap; a gap between them is a time without a price."""

    def __init__(self, rates: Iterable[Rate]) -> None:
        self._rates: dict[str, list[Rate]] = {}
        for rate in sorted(rates, key=lambda r: (r.card, r.start)):
            earlier = self._rates.setdefault(rate.card, [])
            if earlier and (earlier[-1].end is None or earlier[-1].end > rate.start):
                raise UserError(f"rates of {rate.card} overlap at {rate.start.isoformat()}; end the earlier one there")
            earlier.append(rate)

    @classmethod
    def parse(cls, rows: Iterable[Mapping[str, object]]) -> "RateTable":
        """From rows {card, price, from, until}. Dates are ISO text or datetimes; without a time zone they are UTC."""
        rates = []
        for row in rows:
            missing = {"card", "price", "from"} - set(row)
            if missing:
                raise UserError(
                    f"rate {shown(row)} lacks {', '.join(sorted(missing))}; every rate needs card, price and from"
                )
            until = row.get("until")
            card, price = row["card"], row["price"]
            if not isinstance(card, str) or not card:
                raise UserError(f"rate {shown(row)} has the card {shown(card)}; it must be a name")
            if isinstance(price, bool) or not isinstance(price, int | float) or not abs(price) <= LARGEST_PRICE:
                raise UserError(f"rate of {cut(card)}: price is {shown(price)}; it must be a number")
            rates.append(
                Rate(
                    cut(card),
                    float(price),
                    _instant(row["from"]),
                    None if until is None else _instant(until),
                )
            )
        return cls(rates)

    @property
    def cards(self) -> list[str]:
        return sorted(self._rates)

    def at(self, card: str, moment: datetime) -> float:
        """Price of one hour (or GB month) of `card` at that moment."""
        for rate in self._of(card):
            if rate.start <= moment and (rate.end is None or moment < rate.end):
                return rate.price
        raise UserError(f"no rate of {card} is valid at {moment.isoformat()}; add one to the rate table")

    def split(self, card: str, start: datetime, end: datetime) -> list[tuple[datetime, datetime, float]]:
        """The time from `start` to `end` in pieces of one rate each. Every moment must have a rate."""
        pieces: list[tuple[datetime, datetime, float]] = []
        at = start
        while at < end or not pieces:
            price = self.at(card, at)
            until = next((r.end for r in self._of(card) if r.start <= at and (r.end is None or at < r.end)), None)
            stop = end if until is None else min(until, end)
            pieces.append((at, stop, price))
            at = stop
        return pieces

    def _of(self, card: str) -> list[Rate]:
        if card not in self._rates:
            raise UserError(
                f"there is no rate for card {shown(card)}{suggest(card, self._rates)}; add one to the rate table "
                f"(it has: {', '.join(self.cards) or 'none'})"
            )
        return self._rates[card]


def _instant(value: object) -> datetime:
    if isinstance(value, datetime):
        moment = value
    else:
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            raise UserError(
                f"{shown(value)} is not a date; write, for example, 2026-01-31 or 2026-01-31T12:00:00Z"
            ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Span:
    """The time one card was busy with one epoch (the training since the checkpoint before)."""

    epoch: int
    start: datetime
    end: datetime
    estimated: bool

    @property
    def hours(self) -> float:
        return (self.end - self.start).total_seconds() / HOUR


def spans_from_times(times: Mapping[int, datetime], started: datetime | None = None) -> list[Span]:
    """Spans from the moments at which checkpoints were written (file mtimes): all marked estimated.

    Without `started` the first checkpoint's span is taken as long as the median of the others; a run with one
    checkpoint and no start has no measurable span and gives none. A file older than the one before it (copied
    without its times) ends the estimate with a sentence.
    """
    order = sorted(times)
    if not order:
        return []
    spans = []
    for before, epoch in itertools.pairwise(order):
        if times[epoch] < times[before]:
            raise UserError(
                f"checkpoint {epoch} is older than checkpoint {before}, so file times tell no cost; copy the files "
                "with their times"
            )
        spans.append(Span(epoch, times[before], times[epoch], True))
    if started is None:
        if not spans:
            return []
        started = times[order[0]] - timedelta(hours=median(s.hours for s in spans))
    return [Span(order[0], started, times[order[0]], True), *spans]


@dataclass(frozen=True)
class Cost:
    """One epoch's cost at one rate; an epoch in which the rate changed has several. A row of `costs`."""

    epoch: int
    card: str
    start: datetime
    hours: float
    rate: float
    cost: float
    estimated: bool


def costs(spans: Sequence[Span], card: str, rates: RateTable) -> list[Cost]:
    """Price every span. A rate change inside a span splits it there.

    >>> rates = RateTable.parse([{"card": "A40", "price": 1.69, "from": "2026-01-01"}])
    >>> day = datetime(2026, 5, 1, tzinfo=UTC)
    >>> round(costs([Span(1, day, day + timedelta(hours=8), False)], "A40", rates)[0].cost, 2)
    13.52
    """
    out = []
    for span in spans:
        if span.end < span.start:
            raise UserError(
                f"epoch {span.epoch} ends at {span.end}, before it starts at {span.start}; correct its times"
            )
        for start, end, price in rates.split(card, span.start, span.end):
            hours = (end - start).total_seconds() / HOUR
            out.append(Cost(span.epoch, card, start, hours, price, hours * price, span.estimated))
    return out


def storage_cost(size_bytes: int, held: timedelta, gigabyte_month: float) -> float:
    """Price of holding `size_bytes` for a time, a GB being 10^9 bytes and a month 30 days."""
    return size_bytes / 1e9 * held.total_seconds() / MONTH * gigabyte_month


@dataclass(frozen=True)
class Outlook:
    """The cost of a run: what is spent, what is projected for the planned end, and the budget."""

    spent: float
    per_epoch: float | None
    """Median cost of one epoch; None before there is one."""
    projected: float | None
    """Spent plus the epochs still planned at the median cost; None when either is unknown."""
    budget: float | None
    estimated: bool
    """Whether any part of `spent` follows from file times."""


def outlook(parts: Sequence[Cost], planned_epoch: int | None = None, budget: float | None = None) -> Outlook:
    """Sum up a run. Checkpoints may lie many epochs apart; costs are divided by the epochs they stand for."""
    by_epoch: dict[int, float] = {}
    for part in parts:
        by_epoch[part.epoch] = by_epoch.get(part.epoch, 0.0) + part.cost
    spent = sum(by_epoch.values())
    order = sorted(by_epoch)
    steps = [b - a for a, b in itertools.pairwise(order)]
    unit = [by_epoch[b] / s for b, s in zip(order[1:], steps, strict=True)]
    if not unit and order and order[0] > 0:
        unit = [spent / order[0]]
    per_epoch = median(unit) if unit else None
    projected = None
    if per_epoch is not None and planned_epoch is not None:
        projected = spent + max(planned_epoch - order[-1], 0) * per_epoch
    return Outlook(spent, per_epoch, projected, budget, any(p.estimated for p in parts))


def by_cost(totals: Mapping[str, float], status: Mapping[str, str], wanted: str = "failed") -> list[tuple[str, float]]:
    """Runs of one status, dearest first: what failed experiments have cost."""
    chosen = [(run, cost) for run, cost in totals.items() if status.get(run) == wanted]
    return sorted(chosen, key=lambda pair: (-pair[1], pair[0]))


@dataclass(frozen=True)
class Cheaper:
    """What early epochs would cost on another card; if it was not measured, `cost` is None and `note` is `no data`."""

    card: str
    hours: float | None
    cost: float | None
    saves: float | None
    note: str


def cheaper_cards(
    hours: float,
    card: str,
    step_seconds: Mapping[str, float],
    rates: RateTable,
    moment: datetime,
) -> list[Cheaper]:
    """Project `hours` of early epochs on `card` to every other card of the rate table.

    `step_seconds` are *measured* seconds of one training step by card; nothing is projected without a
    measurement on both cards. Cheapest first, unknown last.
    """
    now = hours * rates.at(card, moment)
    known, unknown = [], []
    for other in rates.cards:
        if other == card:
            continue
        if card not in step_seconds or other not in step_seconds:
            unknown.append(Cheaper(other, None, None, None, "no data"))
            continue
        longer = hours * step_seconds[other] / step_seconds[card]
        cost = longer * rates.at(other, moment)
        known.append(Cheaper(other, longer, cost, now - cost, "from measured step times"))
    return sorted(known, key=lambda c: (c.cost, c.card)) + unknown


@dataclass(frozen=True)
class StopRule:
    """When to end a run for its cost: a threshold on what is `spent` or `projected`. By default only a dry run."""

    threshold: float
    on: Literal["spent", "projected"] = "spent"
    dry_run: bool = True


@dataclass(frozen=True)
class StopDecision:
    """`fired`: the threshold is passed. `stop`: the run is to be ended now (never in a dry run)."""

    fired: bool
    stop: bool
    reason: str


def stop_decision(rule: StopRule, now: Outlook, checkpoint_on_disk: bool) -> StopDecision:
    """Whether to stop. Never before the latest work is in a complete checkpoint on disk."""
    value = now.spent if rule.on == "spent" else now.projected
    if value is None:
        return StopDecision(False, False, "no data: the projected cost is not known yet")
    if value < rule.threshold:
        return StopDecision(False, False, f"the {rule.on} cost {value:.2f} is below the threshold {rule.threshold:.2f}")
    reached = f"the {rule.on} cost {value:.2f} has reached the threshold {rule.threshold:.2f}"
    if not checkpoint_on_disk:
        return StopDecision(
            True, False, f"{reached}; nothing is stopped while waiting for the checkpoint to be on disk"
        )
    if rule.dry_run:
        return StopDecision(True, False, f"{reached}; this is a dry run, so nothing is stopped")
    return StopDecision(True, True, reached)
