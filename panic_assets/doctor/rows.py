"""What is wrong with the rows of one key. Imports no Dagster, so `panic experiment status` does not wait for it."""

from panic_assets.lake.invariants import Finding, all_findings
from panic_assets.lake.lake import Lake
from panic_assets.workloads import RULES, SPACES


def examine_rows(lake: Lake, space: str, key: str) -> list[Finding]:
    """What breaks a rule, in every table with a partition of that key."""
    column = SPACES[space].key_column
    tables = [name for name, table in lake.tables.items() if column in table.partitioned_by]
    return [f for table in tables for f in all_findings(lake, RULES, table, **{column: key})]
