"""The table of how models ran, and the rule that what belongs together is made in one precision.

Rows that a model made name their settings by `settings_id`. Each worker says how its models run; whoever stores the rows
stores the settings first.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict

from panic_assets.lake.lake import Lake
from panic_assets.lake.schema import Column, Table
from panic_assets.models.settings import Held, ModelSettings, parameters, refuse_other
from panic_assets.registry.spec import ModelSpec

MODEL_SETTINGS = Table(
    name="model_settings",
    doc="One row per way in which a model ran. Rows that a model made name it by `settings_id`. Two rows with the same "
    "model, revision and settings were made alike.",
    columns=(
        Column("settings_id", "string", "Hash of all the other columns."),
        Column("model", "string", "Name of the model in the registry."),
        Column(
            "placement",
            "string",
            "How the weights were held: `whole`; `int8` or `nf4`, in 8 or 4 bits; `offload`, one component on the card at a "
            "time; `nf4+offload`; `sequential`, one layer at a time.",
        ),
        Column(
            "precision",
            "string",
            "Numbers that the weights were held in.",
            allowed=("float32", "float16", "bfloat16", "int8", "nf4"),
        ),
        Column(
            "computed_in",
            "string",
            "Numbers that the model computed in. They differ from `precision` for weights of 8 or 4 bits.",
            allowed=("float32", "float16", "bfloat16"),
        ),
        Column(
            "tiled",
            "bool",
            "Whether the decoder of an image model worked in tiles, because the whole picture did not fit into memory.",
        ),
        Column("device", "string", "`cpu`, or the name of the card."),
        Column("attention", "string", "Attention back ends that the libraries chose; empty without attention."),
        Column("compiled", "string", "PANIC_TORCH_COMPILE, for image models; empty without it."),
        Column("parameters", "string", "What the registry said about the use of the model, as JSON."),
        Column("libraries", "strings", "Libraries that ran the model, with their versions."),
    ),
    key=("settings_id",),
    partitioned_by=("model",),
    hot=True,
    owned=False,
)

SETTINGS = Column("settings_id", "string", "How the model ran: the row of `model_settings`.")
"""In every table of rows that one model made."""


class Recorder:
    """Stores how models ran, each way once.

    `before` says how rows that the new ones belong to were made: model -> how it was held. Another way is refused.
    None: any way is taken.
    """

    def __init__(self, lake: Lake, before: Mapping[str, Collection[Held]] | None = None) -> None:
        self._lake, self._before = lake, None if before is None else {m: set(h) for m, h in before.items()}
        self._stored: set[str] = set()

    def note(self, settings: ModelSettings) -> None:
        """Store these settings if they are new. UserError, and nothing stored, if they may not join what there is."""
        if settings.id in self._stored:
            return
        if self._before is not None:
            refuse_other(settings.model, settings.held, self._before)
            self._before.setdefault(settings.model, set()).add(settings.held)
        row = asdict(settings) | {"settings_id": settings.id, "libraries": list(settings.libraries)}
        with self._lake.lease(f"settings of {settings.model}", wait_seconds=30):
            known = self._lake.rows("SELECT * FROM model_settings ORDER BY settings_id", model=settings.model)
            if settings.id not in {r["settings_id"] for r in known}:
                self._lake.replace(MODEL_SETTINGS.name, [*known, row], model=settings.model)
        self._stored.add(settings.id)


def held_before(lake: Lake, table: str, **where: str) -> dict[str, set[Held]]:
    """How the models that made the stored rows of a table were held: model -> placement and precision."""
    found = lake.rows(
        f"SELECT DISTINCT model, placement, precision FROM model_settings SEMI JOIN {table} USING (settings_id)",
        **where,
    )
    before: dict[str, set[Held]] = {}
    for row in found:
        before.setdefault(row["model"], set()).add((row["placement"], row["precision"]))
    return before


def alike(lake: Lake, spec: ModelSpec, held: Collection[Held]) -> list[str]:
    """Settings under which the model gives what it would give now, up to rounding: those of other devices and versions
    of libraries, but of the same use of the model, held like this."""
    asked = "SELECT settings_id, placement, precision FROM model_settings WHERE parameters = ? AND NOT tiled"
    rows = lake.rows(asked, [parameters(spec)], model=spec.name)
    return [r["settings_id"] for r in rows if (r["placement"], r["precision"]) in held]
