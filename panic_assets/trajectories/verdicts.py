"""What the analyses of an experiment say, in sentences: what stands out of chance, and what does not."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeAlias

ALPHA = 0.05
WALK = "random walk"
"""The kind of chance that a random walk is itself. From the others it may differ."""
LISTED = 6
"""Names in one sentence; the table has the others."""

Rows: TypeAlias = Sequence[Mapping[str, Any]]


def against_chance(rows: Rows, walks: Collection[str]) -> Iterator[str]:
    """Sentences on rows of `null_tests`, one for each embedding model and kind of chance. `walks` are the controls that
    are random walks with independent steps."""
    for (model, chance), found in _grouped(rows, "embedding_model", "null_model"):
        out = [f"{r['statistic']} ({_side(r['mean_percentile'])})" for r in found if r["adjusted_p_value"] <= ALPHA]
        control = model in walks and chance == WALK
        if control and out:
            yield (
                f"Alarm: {model} is a control, and yet {len(out)} of {len(found)} statistics differ from {chance}: "
                f"{_listed(out)}. Trust no other result before this is understood."
            )
        elif control:
            yield f"{model} is a control, and none of {len(found)} statistics differs from {chance}, as it should be."
        elif out:
            yield f"{model} differs from {chance} in {len(out)} of {len(found)} statistics: {_listed(out)}."
        else:
            yield f"{model} differs from {chance} in none of {len(found)} statistics."


def between_networks(rows: Rows) -> Iterator[str]:
    """Sentences on the rows of `contrasts` that compare networks, one for each embedding model that measured."""
    for (measured_by,), found in _grouped(rows, "measured_by"):
        seen = "" if measured_by == "run" else f", seen by {measured_by}"
        out = sorted(
            (r for r in found if r["adjusted_p_value"] <= ALPHA), key=lambda r: abs(r["hedges_g"] or 0.0), reverse=True
        )
        if not out:
            yield f"Networks do not differ in any of {len(found)} comparisons{seen}."
            continue
        most = out[0]
        size = f", {abs(most['hedges_g']):.1f} standard deviations" if most["hedges_g"] is not None else ""
        more = "larger" if most["difference"] > 0 else "smaller"
        yield (
            f"Networks differ in {len(out)} of {len(found)} comparisons{seen}. The largest difference: {most['outcome']} "
            f"of {most['level']} is {more} than that of {most['other_level']}{size}."
        )


def divergence(rows: Rows) -> Iterator[str]:
    """Sentences on rows of `run_divergence`: which law the distance between runs follows, in how many networks."""
    for (model, pairs), found in _grouped(rows, "embedding_model", "pairs_of"):
        laws = Counter(r["verdict"] for r in found)
        told = ", ".join(f"{law} in {count}" for law, count in laws.most_common())
        networks = "network" if len(found) == 1 else "networks"
        yield f"{model}, runs from the {pairs}: of {len(found)} {networks}, {told}."


def recoverability(rows: Rows) -> Iterator[str]:
    """Sentences on rows of `prompt_recoverability`: how long the outputs tell the prompt."""
    for (model,), found in _grouped(rows, "embedding_model"):
        steps = sorted(found, key=itemgetter("step"))
        told = [r for r in steps if r["adjusted_p_value"] <= ALPHA and r["accuracy"] > r["chance"]]
        if not told:
            yield f"{model}: no output tells the prompt of its run."
            continue
        last = told[-1]
        until = "to the last output" if last is steps[-1] else f"up to output {last['step']}"
        yield (
            f"{model}: the outputs tell the prompt of their run {until}; there, {last['accuracy']:.0%} of runs are told "
            f"right, by chance {last['chance']:.0%}."
        )


def _grouped(rows: Rows, *columns: str) -> Iterator[tuple[tuple[Any, ...], list[Mapping[str, Any]]]]:
    def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(row[column] for column in columns)

    for value, group in groupby(sorted(rows, key=key), key=key):
        yield value, list(group)


def _side(percentile: float) -> str:
    return "higher" if percentile > 50 else "lower"


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f", and {rest} more" if rest > 0 else "")
