"""Tables that all training families share: runs and their parents, checkpoints, metrics per epoch, advice, costs."""

from panic_assets.lake.schema import Column, Reference, Table

RUN = Column("training_run", "string", "Name of the training run. It is also the partition key.")
EPOCH = Column("epoch", "int64", "Epochs trained up to this point. In grokking, one epoch is one optimiser step.")
_METRIC = Column("metric", "string", "Name of the metric, for example `test_accuracy` or `colour`.")
_AT = Column("computed_at", "timestamp", "When the row was computed.")
_IS_RUN = Reference(("training_run",), "training_runs", ("training_run",))
_STATES = ("continue", "plateau", "degrading", "optimal")

TRAINING_RUNS = Table(
    name="training_runs",
    doc="One row per training run: its configuration, the checkpoint it started from, and its status. A family is a "
    "kind of training, such as grokking. Runs of one sweep come from one file and differ only in their seeds and "
    "primes.",
    columns=(
        RUN,
        Column("family", "string", "Kind of training, for example `grokking` or `finetune`."),
        Column("config", "string", "The whole configuration, as JSON."),
        Column("config_hash", "string", "SHA-256 of `config`."),
        Column("parent_run", "string", "Run that this run started from; null for a run from scratch.", nullable=True),
        Column(
            "parent_epoch", "int64", "Epoch of the parent's checkpoint; null for a run from scratch.", nullable=True
        ),
        Column("data_seed", "int64", "Seed that chose the training data; null where none is known.", nullable=True),
        Column(
            "sweep", "string", "Name of the sweep that the run belongs to; null if it belongs to none.", nullable=True
        ),
        Column(
            "status",
            "string",
            "`registered`: not started yet. `watched`: trained by another program; panic only reads its checkpoints. "
            "`stopped`: ended early by the cost rule. `tombstone`: deleted, but other runs started from it.",
            allowed=("registered", "training", "finished", "failed", "stopped", "watched", "tombstone"),
        ),
        Column("failure", "string", "Why the run failed or was stopped; null if neither.", nullable=True),
        Column("folder", "string", "Folder or URL where the checkpoints appear."),
        Column("planned_epochs", "int64", "Last planned epoch; null if unknown.", nullable=True),
        Column(
            "card",
            "string",
            "Graphics card whose rate prices the run, by its name in the rate table; null: no cost.",
            nullable=True,
        ),
        Column(
            "budget",
            "float64",
            "Most that the run may cost, in the currency of the rate table; null: no budget.",
            nullable=True,
        ),
        Column("created_at", "timestamp", "When the run was registered."),
        Column(
            "started_at",
            "timestamp",
            "When training first began on this installation; null if it never did.",
            nullable=True,
        ),
        Column(
            "finished_at", "timestamp", "When training ended on this installation; null if it has not.", nullable=True
        ),
    ),
    key=("training_run",),
    partitioned_by=("training_run",),
    hot=True,
)

CHECKPOINTS = Table(
    name="checkpoints",
    doc="One row per version of a checkpoint. A checkpoint is a safetensors file with the weights after some epoch. A "
    "file that is written again with other content becomes a new version; analyses use the `current` one.",
    columns=(
        RUN,
        EPOCH,
        Column("version", "int32", "1 for the first content seen at this epoch, then 2, 3 and so on."),
        Column("current", "bool", "Whether this is the newest version of the epoch."),
        Column("path", "string", "Path or URL of the file."),
        Column("size", "int64", "Size of the file in bytes."),
        Column("content_hash", "string", "SHA-256 of the file's content."),
        Column("mtime_ns", "int64", "When the file was last written, in nanoseconds since 1970."),
        Column("written_at", "timestamp", "When the file was last written, as a timestamp."),
        Column("registered_at", "timestamp", "When this version was registered."),
    ),
    key=("training_run", "epoch", "version"),
    partitioned_by=("training_run",),
    references=(_IS_RUN,),
    hot=True,
)

METRICS = Table(
    name="metrics",
    doc="One row per training run, epoch and metric: one measured value. All families store their metrics here.",
    columns=(
        RUN,
        Column("source", "string", "Stage that measured the value. A stage replaces only its own rows."),
        EPOCH,
        _METRIC,
        Column("value", "float64", "The value, in the units of the metric."),
        Column(
            "direction",
            "string",
            "Which values are better: `up` for higher ones, `down` for lower ones.",
            allowed=("up", "down"),
        ),
        Column("method", "string", "Version of the method that measured the value."),
        Column("measured", "string", "SHA-256 of what was measured: the checkpoint, or the pictures it drew."),
        _AT,
    ),
    key=("training_run", "source", "epoch", "metric"),
    partitioned_by=("training_run", "source"),
    references=(_IS_RUN,),
)

CONVERGENCE = Table(
    name="convergence",
    doc="One row per training run, target metric and epoch: the state of the metric after that epoch. A target metric "
    "is a metric by which a run is judged. Changes within its tolerance count as no change. The rule looks at the "
    "last 3 points up to this epoch and at no later one. Its states: `continue` (improving, unclear, or fewer than 3 "
    "points), `plateau` (flat within the tolerance), `degrading` (getting worse), `optimal` (the point before is the "
    "best, and this one is worse). A state is advice and stops nothing.",
    columns=(
        RUN,
        _METRIC,
        EPOCH,
        Column("state", "string", "State of the metric after this epoch.", allowed=_STATES),
        Column("best_epoch", "int64", "Epoch with the best value so far; the first one if several are equal."),
        Column("best_value", "float64", "Value at `best_epoch`."),
        Column("last_value", "float64", "Value at this epoch."),
        Column("trailing_mean", "float64", "Mean of the last 3 points; null with fewer.", nullable=True),
        Column(
            "best_trailing_mean", "float64", "Best mean of 3 successive points so far; null with fewer.", nullable=True
        ),
        Column(
            "slope",
            "float64",
            "Least-squares slope of the last 3 points, per point; positive means better. Null with fewer.",
            nullable=True,
        ),
        Column(
            "slope_low",
            "float64",
            "Lower end of the 90% interval of `slope`; null with fewer than 3 points.",
            nullable=True,
        ),
        Column(
            "slope_high",
            "float64",
            "Upper end of the 90% interval of `slope`; null with fewer than 3 points.",
            nullable=True,
        ),
        Column(
            "spread", "float64", "Largest minus smallest value of the last 3 points; null with fewer.", nullable=True
        ),
        Column("tolerance", "float64", "Tolerance, in the units of the metric."),
        Column(
            "regret",
            "float64",
            "How much better the best of all measured epochs is than the best up to this one, in the units of the "
            "metric. It is what stopping here would lose.",
        ),
        Column("reason", "string", "Why the rule gives this state."),
        Column("rule", "string", "Version of the rule, for example `trailing-3/1`."),
        _AT,
    ),
    key=("training_run", "metric", "epoch"),
    partitioned_by=("training_run",),
    references=(_IS_RUN,),
)

ADVICE = Table(
    name="advice",
    doc="One row per training run: whether to go on training, judged from all its target metrics. `stop` is advised "
    "only when no metric is in the state `continue`. The advice stops nothing. A run has no row while a target metric "
    "has no values.",
    columns=(
        RUN,
        EPOCH,
        Column("recommendation", "string", "The advice.", allowed=("continue", "stop")),
        Column(
            "best_epoch",
            "int64",
            "Epoch with the best mean rank over the target metrics; the earlier one if two are equal.",
        ),
        Column("states", "string", 'State of each target metric, as JSON, for example `{"colour": "plateau"}`.'),
        Column(
            "saves_epochs",
            "int64",
            "Epochs saved by stopping now; null if the planned number is unknown.",
            nullable=True,
        ),
        Column(
            "saves_cost",
            "float64",
            "Cost of those epochs, in the currency of the rate table; null if unknown.",
            nullable=True,
        ),
        Column(
            "risk",
            "float64",
            "Share, 0..1, of the family's other finished or watched runs in which stopping by the rule would have "
            "missed a better epoch; null without such runs.",
            nullable=True,
        ),
        Column("risk_runs", "int64", "Number of runs from which `risk` is computed."),
        Column("sentence", "string", "The advice and its reasons as text."),
        _AT,
    ),
    key=("training_run",),
    partitioned_by=("training_run",),
    references=(_IS_RUN,),
    hot=True,
)

TRAINING_TIMES = Table(
    name="training_times",
    doc="One row per stretch of training on this installation: the time for which a card was busy, up to a checkpoint "
    "or an interruption. Costs are computed from these rows.",
    columns=(
        RUN,
        EPOCH,
        Column("started_at", "timestamp", "When the stretch began."),
        Column("ended_at", "timestamp", "When the stretch ended."),
        Column("steps", "int64", "Optimiser steps done in the stretch."),
        Column("device", "string", "Device that computed, by its torch name, for example `cuda:0` or `cpu`."),
        Column(
            "lanes",
            "int32",
            "Number of runs trained together as one batch. The exact bits of the weights depend on it.",
        ),
        Column("ends_in_checkpoint", "bool", "Whether the stretch ended with a checkpoint."),
    ),
    key=("training_run", "started_at"),
    partitioned_by=("training_run",),
    references=(_IS_RUN,),
)

COSTS = Table(
    name="costs",
    doc="One row per training run, kind of cost, epoch and rate. A `card` row is the cost of training from the "
    "checkpoint before up to this epoch; a change of the rate in between splits it into two rows. A `storage` row is "
    "the cost of keeping the checkpoint's file until now. Amounts are in the currency of the rate table.",
    columns=(
        RUN,
        Column("kind", "string", "What the cost is for.", allowed=("card", "storage")),
        EPOCH,
        Column("started_at", "timestamp", "When the paid time began."),
        Column("card", "string", "Name of the card in the rate table; `storage` for storage rows."),
        Column("hours", "float64", "Hours for which the card was busy, or for which the file has been kept."),
        Column("rate", "float64", "Price per hour of the card, or per GB and 30 days of storage."),
        Column(
            "cost",
            "float64",
            "Amount to pay: `hours` times `rate` for a card; for storage, also times the size of the file.",
        ),
        Column("estimated", "bool", "Whether `hours` is estimated from the times of the checkpoint files."),
        _AT,
    ),
    key=("training_run", "kind", "epoch", "started_at"),
    partitioned_by=("training_run",),
    references=(_IS_RUN,),
)

LOSS_EVENTS = Table(
    name="loss_events",
    doc="One row per event of a loss curve. It says whether the checkpoints are dense enough to show the event, and "
    "which ones to add. Events: `peak` (highest loss), `descent` (80% of the way from the peak to the minimum is "
    "done), `minimum` (lowest loss from the peak on), `rebound` (highest loss after the minimum, at least twice as "
    "high), `threshold` (the loss first reaches a given level). The width of an event is the stretch of epochs over "
    "which it happens.",
    columns=(
        RUN,
        Column("split", "string", "Whether it is the training or the test loss.", allowed=("train", "test")),
        Column("event", "string", "Kind of event.", allowed=("peak", "descent", "minimum", "rebound", "threshold")),
        EPOCH,
        Column("value", "float64", "Loss at this epoch."),
        Column("start", "int64", "First epoch of the event's width."),
        Column("end", "int64", "Last epoch of the event's width."),
        Column(
            "ratio", "float64", "For a rebound, its loss divided by the minimum; null for other events.", nullable=True
        ),
        Column("too_coarse", "bool", "Whether the checkpoints lie too far apart: 5 within the width are wanted."),
        Column(
            "widest_gap",
            "int64",
            "Largest distance between checkpoints across the width, in epochs; null if not too coarse.",
            nullable=True,
        ),
        Column("proposed", "strings", "Epochs at which to add checkpoints, as text; empty if not too coarse."),
        _AT,
    ),
    key=("training_run", "split", "event", "epoch", "value"),
    partitioned_by=("training_run",),
    references=(_IS_RUN,),
)

NOTIFICATIONS = Table(
    name="notifications",
    doc="One row per receiver of a message about a change of state of a target metric: what was sent, and whether it was "
    "delivered. A message that failed is sent again later, to the receivers that it did not reach.",
    columns=(
        RUN,
        Column(
            "notification",
            "string",
            "Hash of run, metric, epoch and new state. It keeps a change from being sent twice.",
        ),
        Column(
            "receiver",
            "string",
            "The receiver: the variable that names it, or its kind and a hash of its address; empty if none is configured.",
        ),
        _METRIC,
        EPOCH,
        Column("before", "string", "State that was last reported; `continue` at first.", allowed=_STATES),
        Column("after", "string", "New state.", allowed=_STATES),
        Column("title", "string", "Subject line of the message."),
        Column("body", "string", "Text of the message."),
        Column(
            "status",
            "string",
            "`sent`: the receiver got it. `failed`: it did not. `no receiver`: none is configured.",
            allowed=("sent", "failed", "no receiver"),
        ),
        Column("attempts", "int32", "Number of attempts to send it; 0 without a receiver, or with a bad address."),
        Column("problem", "string", "Why the receiver did not get it; null if it did.", nullable=True),
        _AT,
    ),
    key=("training_run", "notification", "receiver"),
    partitioned_by=("training_run",),
    references=(_IS_RUN,),
)

RENDERS = Table(
    name="renders",
    doc="One row per requested animation: a view of a run over its checkpoints, with options and a file format. "
    "Requesting the same animation of the same checkpoints again gives no second row.",
    columns=(
        RUN,
        Column("render", "string", "Hash of run, view, parameters, format and inputs: the id of the animation."),
        Column("view", "string", "What the animation shows, for example `ring` or `spectrum`."),
        Column("parameters", "string", 'Options of the view, as JSON, for example `{"k": "5"}`.'),
        Column(
            "inputs_hash",
            "string",
            "Hash over the checkpoints that are drawn. It changes when one is added or written again.",
        ),
        Column("format", "string", "Format of the file.", allowed=("html", "gif", "mp4")),
        Column(
            "status", "string", "Status of the animation.", allowed=("queued", "running", "done", "failed", "cancelled")
        ),
        Column("frames_done", "int32", "Number of frames drawn so far."),
        Column("frames", "int32", "Number of frames of the whole animation; null until drawing begins.", nullable=True),
        Column("path", "string", "Path of the finished file; null until it is done.", nullable=True),
        Column("failure", "string", "Why drawing failed; null if it did not.", nullable=True),
        _AT,
    ),
    key=("training_run", "render"),
    partitioned_by=("training_run",),
    references=(_IS_RUN,),
)

TABLES = (
    TRAINING_RUNS,
    CHECKPOINTS,
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
        "One row per training run: its cost so far, for cards and for storage, beside its budget. Costs are null where "
        "nothing is priced.",
        """SELECT r.training_run, r.family, r.status, sum(c.cost) AS spent,
                  sum(c.cost) FILTER (c.kind = 'card') AS card_cost, sum(c.cost) FILTER (c.kind = 'storage') AS storage_cost,
                  sum(c.hours) FILTER (c.kind = 'card') AS card_hours, bool_or(c.estimated) AS estimated, r.budget
           FROM training_runs r LEFT JOIN costs c USING (training_run) GROUP BY ALL""",
    ),
}
