"""Columns that tables of several modules have."""

from panic_assets.lake.schema import Column, Reference

RUN = Column("run_id", "string", "UUIDv7 of the run.")
EMBEDDER = Column("embedding_model", "string", "Registry name of the embedding model.")
NETWORK = Column("network", "string", "Network of the runs.")
CODE = Column("code_version", "string", "Version of the code that made the row.")
SEED = Column("seed", "int32", "Seed of what is random in it.")
OF_RUN = (Reference(("run_id",), "runs", ("run_id",)),)


def standing(observed: str, null: str, among: str, adjusted_for: str, values: str) -> tuple[Column, ...]:
    """Where a statistic stands among chance, as `statistics.nulls.standing` says it, and the adjusted p-value."""
    return (
        Column("observed", "float64", f"The statistic of the {observed}."),
        Column("null_mean", "float64", f"Its mean over the {null}."),
        Column("null_deviation", "float64", f"Its standard deviation over the {null}."),
        Column("percentile", "float64", f"Share of {values} below, ties counted half; 50 is chance."),
        Column("p_value", "float64", f"Two-sided, among the {among}."),
        Column("adjusted_p_value", "float64", f"Adjusted for all rows of the {adjusted_for} (Benjamini-Hochberg)."),
        Column("replicates", "int32", f"{values.capitalize()}."),
    )
