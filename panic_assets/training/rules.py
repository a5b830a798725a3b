"""Rules that the rows of training runs must obey beyond their schemas. Each query counts the rows that do not."""

from panic_assets.lake.invariants import Rules

RULES: Rules = {
    "whole_lineage": (
        "training_runs",
        "orphaned",
        "training runs whose parent has neither a row nor a tombstone",
        """SELECT count(*) FROM training_runs r ANTI JOIN training_runs p ON p.training_run = r.parent_run
           WHERE r.parent_run IS NOT NULL""",
    ),
    "newest_is_current": (
        "checkpoints",
        "invalid",
        "epochs at which the current version of the checkpoint is not exactly the newest one",
        """SELECT count(*) FROM (
               SELECT training_run, epoch FROM checkpoints GROUP BY ALL
               HAVING count(*) FILTER (current) <> 1 OR max(version) FILTER (current) <> max(version)
           )""",
    ),
    "verdicts_have_values": (
        "convergence",
        "orphaned",
        "verdicts on epochs at which the metric has no value",
        "SELECT count(*) FROM convergence c ANTI JOIN metrics m USING (training_run, metric, epoch)",
    ),
    "card_costs_are_hours_times_rate": (
        "costs",
        "invalid",
        "card costs that are not hours times rate",
        "SELECT count(*) FROM costs WHERE kind = 'card' AND abs(cost - hours * rate) > 1e-9 * greatest(1, abs(cost))",
    ),
}
