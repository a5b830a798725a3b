"""Tables that all training families share: runs and their lineage, checkpoints, metrics by epoch, advice, cost."""

from panic_assets.lake.schema import Column, Reference, Table

RUN = Column("training_run", "string", "Name of the training run; also its partition key.")
EPOCH = Column("epoch", "int64", "Epoch: what the weights are after that many (for grokking, optimiser steps).")
_METRIC = Column("metric", "string", "Name of the metric.")
_AT = Column("computed_at", "timestamp", "When the row was made.")
_IS_RUN = Reference(("training_run",), "training_runs", ("training_run",))
_STATES = ("continue", "plateau", "degrading", "optimal")

TRAINING_RUNS = Table(
    name="training_runs",
    doc="One row a training run: what it is, where it started from, how it stands. A `tombstone` is a deleted run "
    "that others started from.",
    columns=(
        RUN,
        Column("family", "string", "Kind of training: grokking, finetune, ..."),
        Column("config", "string", "The whole configuration, as JSON."),
        Column("config_hash", "string", "SHA-256 of the configuration."),
        Column("parent_run", "string", "Run it started from; null for a run from scratch.", nullable=True),
        Column("parent_epoch", "int64", "Epoch of the parent's checkpoint it started from.", nullable=True),
        Column("data_seed", "int64", "Seed that chose the training data, where there is one.", nullable=True),
        Column("sweep", "string", "Sweep it belongs to, if any.", nullable=True),
        Column(
            "status",
            "string",
            "How it stands; `watched` runs are trained by somebody else.",
            allowed=("registered", "training", "finished", "failed", "stopped", "watched", "tombstone"),
        ),
        Column("failure", "string", "Why it failed or was stopped, in a sentence.", nullable=True),
        Column("folder", "string", "Folder or URL its checkpoints appear in."),
        Column("planned_epochs", "int64", "Last epoch that is planned.", nullable=True),
        Column("card", "string", "Card it is priced at: a name in the rate table.", nullable=True),
        Column("budget", "float64", "What it may cost, in the rate table's currency.", nullable=True),
        Column("created_at", "timestamp", "When it was registered."),
        Column("started_at", "timestamp", "When training first began here.", nullable=True),
        Column("finished_at", "timestamp", "When training ended here.", nullable=True),
    ),
    key=("training_run",),
    partitioned_by=("training_run",),
    hot=True,
)

CHECKPOINTS = Table(
    name="checkpoints",
    doc="One row a version of a checkpoint file. A file written again is a new version; the newest is `current`.",
    columns=(
        RUN,
        EPOCH,
        Column("version", "int32", "1 for the first content seen at this epoch, then 2, 3, ..."),
        Column("current", "bool", "Whether this is the newest version."),
        Column("path", "string", "Path or URL of the file."),
        Column("size", "int64", "Bytes."),
        Column("content_hash", "string", "SHA-256 of the file."),
        Column("mtime_ns", "int64", "When the file was last written, nanoseconds since 1970."),
        Column("written_at", "timestamp", "The same, as a timestamp."),
        Column("registered_at", "timestamp", "When it was registered."),
    ),
    key=("training_run", "epoch", "version"),
    partitioned_by=("training_run",),
    references=(_IS_RUN,),
    hot=True,
)

CHECKPOINT_PROBLEMS = Table(
    name="checkpoint_problems",
    doc="One row a file that looks like a checkpoint and is none: truncated, foreign, or without an epoch.",
    columns=(
        RUN,
        Column("path", "string", "Path or URL of the file."),
        Column("problem", "string", "What is wrong with it, in a sentence."),
        Column("seen_at", "timestamp", "When it was found."),
    ),
    key=("training_run", "path"),
    partitioned_by=("training_run",),
    owned=False,
)

METRICS = Table(
    name="metrics",
    doc="One row a metric of one epoch of a run: one value by one method of one thing measured.",
    columns=(
        RUN,
        Column("source", "string", "The stage that measured it; each replaces its own rows."),
        EPOCH,
        _METRIC,
        Column("value", "float64", "The value, in the metric's units."),
        Column("direction", "string", "Which way is better.", allowed=("up", "down")),
        Column("method", "string", "Version of the method."),
        Column("measured", "string", "Content hash of what was measured: the checkpoint, or what it drew."),
        _AT,
    ),
    key=("training_run", "source", "epoch", "metric"),
    partitioned_by=("training_run", "source"),
    references=(_IS_RUN,),
)

CONVERGENCE = Table(
    name="convergence",
    doc="One row a target metric and epoch: what the rule says after that epoch, with its evidence. Advice, not action.",
    columns=(
        RUN,
        _METRIC,
        EPOCH,
        Column("state", "string", "What the rule says.", allowed=_STATES),
        Column("best_epoch", "int64", "Best epoch so far (the first of equals)."),
        Column("best_value", "float64", "Its value."),
        Column("last_value", "float64", "Value at this epoch."),
        Column("trailing_mean", "float64", "Mean of the last window.", nullable=True),
        Column("best_trailing_mean", "float64", "Best such mean so far.", nullable=True),
        Column("slope", "float64", "OLS slope of the last window a point; positive is better.", nullable=True),
        Column("slope_low", "float64", "Lower end of its 90% interval.", nullable=True),
        Column("slope_high", "float64", "Upper end of its 90% interval.", nullable=True),
        Column("spread", "float64", "Largest less smallest value of the last window.", nullable=True),
        Column("tolerance", "float64", "Tolerance, in the metric's units."),
        Column("regret", "float64", "What stopping here gives away against the best of all epochs there are."),
        Column("reason", "string", "Why, in words."),
        Column("rule", "string", "Version of the rule."),
        _AT,
    ),
    key=("training_run", "metric", "epoch"),
    partitioned_by=("training_run",),
    references=(_IS_RUN,),
)

ADVICE = Table(
    name="advice",
    doc="One row a run: what all its target metrics say together. Stopping needs all of them to agree.",
    columns=(
        RUN,
        EPOCH,
        Column("recommendation", "string", "What is advised.", allowed=("continue", "stop")),
        Column("best_epoch", "int64", "Best epoch by mean rank over the target metrics."),
        Column("states", "string", "State of each target metric, as JSON."),
        Column("saves_epochs", "int64", "Epochs not trained if stopped now.", nullable=True),
        Column("saves_cost", "float64", "What they would cost.", nullable=True),
        Column(
            "risk",
            "float64",
            "Share of finished runs of the family in which stopping by the rule missed a better epoch.",
            nullable=True,
        ),
        Column("risk_runs", "int64", "How many finished runs that is judged by."),
        Column("sentence", "string", "All of it in words."),
        _AT,
    ),
    key=("training_run",),
    partitioned_by=("training_run",),
    references=(_IS_RUN,),
    hot=True,
)

TRAINING_TIMES = Table(
    name="training_times",
    doc="One row a stretch of training done here: the time a card was busy up to a checkpoint, or up to a stop.",
    columns=(
        RUN,
        EPOCH,
        Column("started_at", "timestamp", "Begin of the stretch."),
        Column("ended_at", "timestamp", "Its end."),
        Column("steps", "int64", "Optimiser steps done in it."),
        Column("device", "string", "What computed, as torch calls it."),
        Column("lanes", "int32", "How many variants shared the batch: on one machine, bits depend on it."),
        Column("ends_in_checkpoint", "bool", "Whether a checkpoint was written in it."),
    ),
    key=("training_run", "started_at"),
    partitioned_by=("training_run",),
    references=(_IS_RUN,),
)

COSTS = Table(
    name="costs",
    doc="One row an epoch and rate: what the card cost while that epoch was trained. `storage` rows: its file, so far.",
    columns=(
        RUN,
        Column("kind", "string", "What is paid for.", allowed=("card", "storage")),
        EPOCH,
        Column("started_at", "timestamp", "Begin of the time that is paid for."),
        Column("card", "string", "Name in the rate table."),
        Column("hours", "float64", "Hours of the card, or hours the file has been held."),
        Column("rate", "float64", "Price of an hour, or of a GB for 30 days."),
        Column("cost", "float64", "What it comes to."),
        Column("estimated", "bool", "Whether the times follow from files' times."),
        _AT,
    ),
    key=("training_run", "kind", "epoch", "started_at"),
    partitioned_by=("training_run",),
    references=(_IS_RUN,),
)

LOSS_EVENTS = Table(
    name="loss_events",
    doc="One row an event of a loss curve, and whether the checkpoints lie close enough together to show it.",
    columns=(
        RUN,
        Column("split", "string", "Which loss.", allowed=("train", "test")),
        Column("event", "string", "What happens.", allowed=("peak", "descent", "minimum", "rebound", "threshold")),
        EPOCH,
        Column("value", "float64", "The loss there."),
        Column("start", "int64", "First epoch of its width."),
        Column("end", "int64", "Last epoch of its width."),
        Column("ratio", "float64", "For a rebound: the loss over the minimum.", nullable=True),
        Column("too_coarse", "bool", "Whether the checkpoints are too far apart for its width."),
        Column("widest_gap", "int64", "Largest distance between checkpoints across it.", nullable=True),
        Column("proposed", "strings", "Epochs to add, as text."),
        _AT,
    ),
    key=("training_run", "split", "event", "epoch", "value"),
    partitioned_by=("training_run",),
    references=(_IS_RUN,),
)

NOTIFICATIONS = Table(
    name="notifications",
    doc="One row a message about a change of state: what was sent, to how many receivers, and whether it arrived.",
    columns=(
        RUN,
        Column("notification", "string", "Hash of run, metric, epoch and state: a change is told once."),
        _METRIC,
        EPOCH,
        Column("before", "string", "State before.", allowed=_STATES),
        Column("after", "string", "State after.", allowed=_STATES),
        Column("title", "string", "Subject of the message."),
        Column("body", "string", "The message."),
        Column("status", "string", "What became of it.", allowed=("sent", "failed", "no receiver")),
        Column("attempts", "int32", "How often it was tried."),
        _AT,
    ),
    key=("training_run", "notification"),
    partitioned_by=("training_run",),
    references=(_IS_RUN,),
)

RENDERS = Table(
    name="renders",
    doc="One row a requested animation: a view of a run with parameters, over given inputs. The same request is one row.",
    columns=(
        RUN,
        Column("render", "string", "Hash of run, view, parameters and the inputs' hashes."),
        Column("view", "string", "What is drawn."),
        Column("parameters", "string", "Parameters, as JSON."),
        Column("inputs_hash", "string", "Hash of the checkpoints' content hashes it was drawn from."),
        Column("format", "string", "What it becomes.", allowed=("html", "gif", "mp4")),
        Column("status", "string", "How it stands.", allowed=("queued", "running", "done", "failed", "cancelled")),
        Column("frames_done", "int32", "Frames drawn."),
        Column("frames", "int32", "Frames wanted.", nullable=True),
        Column("path", "string", "The finished file.", nullable=True),
        Column("failure", "string", "Why it failed, in a sentence.", nullable=True),
        _AT,
    ),
    key=("training_run", "render"),
    partitioned_by=("training_run",),
    references=(_IS_RUN,),
)

TABLES = (
    TRAINING_RUNS,
    CHECKPOINTS,
    CHECKPOINT_PROBLEMS,
    METRICS,
    CONVERGENCE,
    ADVICE,
    TRAINING_TIMES,
    COSTS,
    LOSS_EVENTS,
    NOTIFICATIONS,
    RENDERS,
)

VIEWS = {
    "run_costs": (
        "One row a training run: what it has cost, and how that stands to its budget.",
        """SELECT r.training_run, r.family, r.status, sum(c.cost) AS spent,
                  sum(c.cost) FILTER (c.kind = 'card') AS card_cost, sum(c.cost) FILTER (c.kind = 'storage') AS storage_cost,
                  sum(c.hours) FILTER (c.kind = 'card') AS card_hours, bool_or(c.estimated) AS estimated, r.budget
           FROM training_runs r LEFT JOIN costs c USING (training_run) GROUP BY ALL""",
    ),
}
