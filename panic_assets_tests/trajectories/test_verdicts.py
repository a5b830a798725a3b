"""Sentences say what the rows say: what stands out, what does not, and what is alarming."""

from typing import Any

from panic_assets.trajectories import verdicts


def chance(model: str, statistic: str, p: float, percentile: float = 90.0) -> dict[str, Any]:
    return {
        "embedding_model": model,
        "null_model": "random walk",
        "statistic": statistic,
        "adjusted_p_value": p,
        "mean_percentile": percentile,
    }


def test_what_differs_from_chance_is_named_with_its_side() -> None:
    rows = [
        chance("MiniLM", "entropy H1", 0.01, 10.0),
        chance("MiniLM", "changes", 0.05),
        chance("MiniLM", "drift", 0.06),
    ]
    assert list(verdicts.against_chance(rows, {"RandomWalk"})) == [
        "MiniLM differs from random walk in 2 of 3 statistics: entropy H1 (lower), changes (higher)."
    ]
    none = [chance("MiniLM", "drift", 0.3)]
    assert list(verdicts.against_chance(none, ())) == ["MiniLM differs from random walk in none of 1 statistics."]


def test_a_control_that_stands_out_is_an_alarm() -> None:
    quiet = [chance("RandomWalk", "drift", 0.4)]
    [said] = verdicts.against_chance(quiet, {"RandomWalk"})
    assert said.endswith("none of 1 statistics differs from random walk, as it should be.")
    [said] = verdicts.against_chance([chance("RandomWalk", "drift", 0.01)], {"RandomWalk"})
    assert said.startswith("Alarm: RandomWalk is a control, and yet 1 of 1 statistics differ from random walk")


def test_long_lists_are_cut() -> None:
    [said] = verdicts.against_chance([chance("M", f"s{n}", 0.01) for n in range(9)], ())
    assert said.endswith("s5 (higher), and 3 more.")


def contrast(difference: float, g: float | None, p: float, outcome: str = "drift") -> dict[str, Any]:
    return {
        "measured_by": "MiniLM",
        "outcome": outcome,
        "level": "A",
        "other_level": "B",
        "difference": difference,
        "hedges_g": g,
        "adjusted_p_value": p,
    }


def test_the_largest_difference_between_networks_is_named() -> None:
    rows = [contrast(1.0, 0.5, 0.01), contrast(-2.0, -1.25, 0.02, "step"), contrast(9.0, 9.0, 0.2)]
    assert list(verdicts.between_networks(rows)) == [
        "Networks differ in 2 of 3 comparisons, seen by MiniLM. The largest difference: step of A is smaller than that of "
        "B, 1.2 standard deviations."
    ]
    [said] = verdicts.between_networks([contrast(1.0, None, 0.2)])
    assert said == "Networks do not differ in any of 1 comparisons, seen by MiniLM."


def test_laws_of_divergence_are_counted() -> None:
    rows = [{"embedding_model": "M", "pairs_of": "same prompt", "verdict": v} for v in ("growth", "neither", "growth")]
    assert list(verdicts.divergence(rows)) == [
        "M, runs from the same prompt: of 3 networks, growth in 2, neither in 1."
    ]


def told(step: int, accuracy: float, p: float) -> dict[str, Any]:
    return {"embedding_model": "M", "step": step, "accuracy": accuracy, "chance": 0.25, "adjusted_p_value": p}


def test_the_last_output_that_tells_the_prompt_is_named() -> None:
    fading = [told(0, 1.0, 0.01), told(1, 0.5, 0.04), told(2, 0.3, 0.4)]
    assert list(verdicts.recoverability(fading)) == [
        "M: the outputs tell the prompt of their run up to output 1; there, 50% of runs are told right, by chance 25%."
    ]
    assert "to the last output" in next(verdicts.recoverability(fading[:2]))
    assert list(verdicts.recoverability([told(0, 0.0, 0.01)])) == ["M: no output tells the prompt of its run."]
