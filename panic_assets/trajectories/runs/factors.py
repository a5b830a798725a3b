"""What differs between runs: the parts of their networks, and their outcomes in pairs of levels."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

from panic_assets.registry import registry
from panic_assets.statistics.contrasts import contrast
from panic_assets.statistics.finite import number
from panic_assets.statistics.mixed import strata


def parts(runs: Any) -> list[str]:
    """What about the network can be told apart: generator, captioner or both; else only the network as a whole.

    Adds those columns to a frame of runs: the models that give images, and those that give texts, in order. Both are
    told apart when some generator meets several captioners, and some captioner several generators.
    """
    for part, output in (("generator", "image"), ("captioner", "text")):
        chosen = [[m for m in models if registry.get(m).output == output] for models in runs["models"]]
        runs[part] = ["+".join(models) for models in chosen]
    varying = [part for part in ("generator", "captioner") if runs[part].nunique() > 1]
    whole = runs.groupby(["generator", "captioner"])["network"].nunique().max() == 1
    crossed = all(
        runs.groupby(one)[other].nunique().max() > 1
        for one, other in (("generator", "captioner"), ("captioner", "generator"))
    )
    return varying if whole and (len(varying) == 1 or crossed) else ["network"]


def random_terms(factors: Sequence[str]) -> list[tuple[str, ...]]:
    """What varies at random in a model of these factors, whatever the shape of the panel.

    Prompts do, and how each factor, each pair of factors and each network does on each prompt; so do runs. The fit leaves
    out what a panel's shape makes the same: a run that is the only one of its prompt and network, for example.
    """
    prompts, *others = strata(factors, "prompt")
    return [prompts, ("prompt", "network"), *others, ("run_id",)]


def contrasts(frame: Any, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Networks in pairs on the same prompts, as each embedding model sees them; embedding models against each control, run
    by run.

    `frame` has a row for each `value`, with its run_id, network, prompt and embedding_model (empty where none measured).
    """
    frame = frame[frame["value"].notna()].assign(measured_by=frame["embedding_model"].fillna("run"))
    controls = [m for m in frame["measured_by"].unique() if m != "run" and registry.get(m).role == "control"]
    wanted = [
        ("network", measured, frame[frame["measured_by"] == measured], "network", pair, "prompt")
        for measured in frame["measured_by"].unique()
        for pair in combinations(sorted(frame.loc[frame["measured_by"] == measured, "network"].unique()), 2)
    ] + [
        ("embedding_model", model, frame, "measured_by", (model, control), "run_id")
        for control in controls
        for model in sorted(set(frame["measured_by"]) - set(controls))
    ]
    for factor, measured, part, column, (level, other), block in wanted:
        rows = part[part[column].isin([level, other])]
        # What has one level only is compared with nothing: a prompt of one network, a run without images.
        rows = rows[rows.groupby(block)[column].transform("nunique") == 2]
        if rows.empty:
            continue
        first = (rows[column] == level).to_numpy()
        cells = rows.groupby(["prompt", "network"] if block == "run_id" else ["prompt"]).ngroup()
        found = contrast(rows["value"].to_numpy(), first, rows[block].to_list(), cells.to_list(), seed=seed)
        yield {
            "factor": factor,
            "measured_by": measured,
            "level": level,
            "other_level": other,
            "runs": found.rows,
            "other_runs": found.other_rows,
            **{k: getattr(found, k) for k in ("mean", "other_mean", "difference", "cliffs_delta")},
            **{k: number(getattr(found, k)) for k in ("low", "high", "hedges_g")},
            "p_value": found.p_value,
            "permutations": found.permutations,
        }
