"""What `panic model bench` measured on this machine. It is used instead of the registry's estimates."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from panic_assets.lake.files import write_text
from panic_assets.models.memory import HEADROOM
from panic_assets.registry.spec import ModelSpec
from panic_assets.settings import home


@dataclass(frozen=True)
class Measurement:
    """The fastest settings found: `batch` items per call and `copies` of the model on one GPU take `seconds` per item.

    `vram_gb` is the most GPU memory that one copy took, `card_gb` the memory of that GPU; both are 0 on a CPU.
    """

    batch: int
    seconds: float
    copies: int = 1
    vram_gb: float = 0.0
    card_gb: float = 0.0
    device: str = "cpu"


def path() -> Path:
    """Where measurements are kept."""
    return home().root / "models.json"


def all_measured() -> dict[str, Measurement]:
    """Every measurement, by registry name."""
    try:
        return {name: Measurement(**fields) for name, fields in json.loads(path().read_text()).items()}
    except FileNotFoundError:
        return {}


def store(name: str, measurement: Measurement) -> None:
    """Adds or replaces one measurement; the file is swapped in whole."""
    known = all_measured() | {name: measurement}
    write_text(path(), json.dumps({name: asdict(m) for name, m in known.items()}, indent=2))


def batch_limit(spec: ModelSpec) -> int:
    """The measured batch size, else the registry's. A limit of 1 in the registry is a rule and always holds."""
    found = all_measured().get(spec.name)
    return found.batch if found and spec.batch_limit > 1 else spec.batch_limit


def sharing(specs: Sequence[ModelSpec]) -> tuple[int, float]:
    """(how many workers share a GPU, the GB that they take together), when each worker holds all these models.

    The number of workers is the smallest number of copies measured as fastest for any of the models, limited to what
    fits on the GPU. If a model that runs on a GPU was never measured on one, each worker gets a GPU of its own: (1, 0).
    """
    known = all_measured()
    found = [known.get(spec.name, Measurement(1, 0.0)) for spec in specs if spec.device == "gpu"]
    if not all(one.card_gb for one in found):
        return 1, 0.0
    room = min((one.card_gb for one in found), default=0.0)
    together = sum(one.vram_gb for one in found)
    copies = max(1, min([fitting(together, room), *(one.copies for one in found)]))
    return copies, copies * together if copies > 1 else 0.0


def fitting(vram_gb: float, card_gb: float) -> int:
    """How many copies that take `vram_gb` each fit on a GPU."""
    return int(HEADROOM * card_gb / vram_gb) if vram_gb else 1


def seconds(spec: ModelSpec) -> float:
    """Seconds per item: measured, else the registry's order of magnitude."""
    found = all_measured().get(spec.name)
    return found.seconds if found else spec.seconds
