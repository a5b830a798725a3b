"""Columns that tables of several modules share."""

from panic_assets.lake.schema import Column, Reference

RUN = Column("run_id", "string", "UUIDv7 of the run.")
EMBEDDER = Column("embedding_model", "string", "Name of the embedding model in the registry.")
NETWORK = Column("network", "string", "Network of the runs: the names of its models, joined by '-'.")
CODE = Column("code_version", "string", "Version of the code that made the row.")
SEED = Column("seed", "int32", "Seed of the random numbers that the row was computed with.")
OF_RUN = (Reference(("run_id",), "runs", ("run_id",)),)


def standing(observed: str, chance: str, family: str) -> tuple[Column, ...]:
    """Where an observed value stands among values that chance gave (`statistics.nulls.standing`).

    `observed` and `chance` say what the two kinds of values belong to. `family` says which rows are tested together.
    """
    return (
        Column("observed", "float64", f"Value of the statistic for {observed}."),
        Column("null_mean", "float64", f"Mean of the statistic over the {chance}."),
        Column("null_deviation", "float64", f"Standard deviation of the statistic over the {chance}."),
        Column(
            "percentile",
            "float64",
            f"Percentage of the {chance} with a smaller value, 0 to 100; ties count half. Chance gives 50 on average.",
        ),
        Column("p_value", "float64", f"Two-sided p-value of the observed value among the {chance}."),
        Column(
            "adjusted_p_value",
            "float64",
            f"The p-value, adjusted because all rows of {family} are tested together (Benjamini-Hochberg).",
        ),
        Column("replicates", "int32", f"Number of {chance} that gave a value."),
    )
