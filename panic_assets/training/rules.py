"""What must be true of training runs beyond what the schemas say, as queries that give the offenders."""

from panic_assets.lake.invariants import Rules

RULES: Rules = {
    "whole_lineage": (
        "training_runs",
        "orphaned",
        "training runs whose parent has left neither row nor tombstone",
        """SELECT count(*) FROM training_runs r ANTI JOIN training_runs p ON p.training_run = r.parent_run
           WHERE r.parent_run IS NOT NULL""",
    ),
    "newest_is_current": (
        "checkpoints",
        "invalid",
        "epochs at which not the newest version of the checkpoint, and it alone, is current",
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
        "costs of a card that are not its hours times its rate",
        "SELECT count(*) FROM costs WHERE kind = 'card' AND abs(cost - hours * rate) > 1e-9 * greatest(1, abs(cost))",
    ),
}
