"""The GPUs of this machine, and leases on them by file lock: a killed holder frees its card at once.

A card has `SLOTS` slots, one lock file each. A lease of a share takes that share of one card's slots (rounded
up); a lease of several GPUs takes all slots of several cards. So cards are never oversubscribed, whichever
processes of this machine ask, and the kernel gives the slots back when their holder dies.
"""

import contextlib
import functools
import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from panic_assets import locks, settings
from panic_assets.asleep import asleep
from panic_assets.errors import UserError

if TYPE_CHECKING:
    from panic_assets import variables
else:
    variables = asleep("panic_assets.variables")

SLOTS = 8
"""The finest share of a card is an eighth."""

_QUERY = ["nvidia-smi", "--query-gpu=index,uuid,memory.total", "--format=csv,noheader,nounits"]


@dataclass(frozen=True)
class Gpu:
    """One card (or MIG slice): what CUDA_VISIBLE_DEVICES calls it, and its memory in GiB when known."""

    identifier: str
    memory_gb: float | None = None


def visible_gpus() -> tuple[Gpu, ...]:
    """The GPUs this process may use, found without torch.

    `PANIC_GPUS` overrides what is found: a count (`2`) or identifiers separated by commas (`0,1`).
    Otherwise nvidia-smi's list (else /dev/nvidia0, ...), narrowed by CUDA_VISIBLE_DEVICES as CUDA itself would.
    """
    override = variables.read().gpus.strip()
    if override.isdigit():
        return tuple(Gpu(str(index)) for index in range(int(override)))
    if override:
        return tuple(Gpu(name.strip()) for name in override.split(",") if name.strip())
    present = _present()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return present if visible is None else tuple(_narrowed(present, visible))


@functools.cache
def _present() -> tuple[Gpu, ...]:
    """All cards of this machine in PCI order (asked once per process, because nvidia-smi may take a second)."""
    try:
        listed = subprocess.run(_QUERY, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        devices = sorted(Path("/dev").glob("nvidia[0-9]*"), key=lambda path: int(path.name[6:]))
        return tuple(Gpu(str(index)) for index in range(len(devices)))
    rows = [[cell.strip() for cell in line.split(",")] for line in listed.splitlines() if line.strip()]
    return tuple(Gpu(uuid, _gib(memory)) for _, uuid, memory in rows)


def _gib(mebibytes: str) -> float | None:
    return float(mebibytes) / 1024 if mebibytes.replace(".", "").isdigit() else None


def _narrowed(present: Sequence[Gpu], visible: str) -> list[Gpu]:
    """CUDA's rule: an entry that names no card hides itself and all that follow."""
    chosen: list[Gpu] = []
    for name in (part.strip() for part in visible.split(",")):
        if name.isdigit():
            match = present[int(name)] if int(name) < len(present) else None
        elif name.startswith("MIG-"):
            match = Gpu(name)
        else:
            match = next((gpu for gpu in present if name and gpu.identifier.startswith(name)), None)
        if match is None:
            break
        chosen.append(match)
    return chosen


def directory() -> Path:
    """Where the lock files are."""
    return settings.home().locks / "gpu"


@dataclass
class Lease:
    """Slots held until `release`, or until this process ends, however it ends."""

    gpus: tuple[str, ...]
    """Identifiers for CUDA_VISIBLE_DEVICES."""
    _locks: list[locks.Lock]

    def release(self) -> None:
        while self._locks:
            self._locks.pop().release()


def check_feasible(share: float, vram_gb: float, gpus: Sequence[Gpu]) -> None:
    """UserError if these GPUs can never give a lease of this size."""
    if share <= 0 or (share > 1 and share != int(share)):
        raise UserError(f"gpus is {share:g}; it must be a share of one card (above 0, up to 1) or a whole number")
    fitting = _fitting(gpus, vram_gb)
    if not fitting:
        largest = max((gpu.memory_gb or 0.0) for gpu in gpus) if gpus else 0.0
        raise UserError(f"a task needs a GPU of {vram_gb:g} GB; the largest on this machine has {largest:.0f} GB")
    if share > len(fitting):
        raise UserError(f"a task needs {share:g} GPUs; this machine has {len(fitting)} with enough memory")


def concurrent_leases(share: float, vram_gb: float, gpus: Sequence[Gpu]) -> int:
    """How many leases of this size these cards hold at once."""
    cards = len(_fitting(gpus, vram_gb))
    return cards // int(share) if share >= 1 else cards * (SLOTS // _slots(share))


def try_lease(share: float, vram_gb: float, gpus: Sequence[Gpu]) -> Lease | None:
    """A lease, if one is free now. The card with most free slots is taken, so that work spreads over cards."""
    check_feasible(share, vram_gb, gpus)
    with _guarded() as folder:
        free = {gpu.identifier: _take_free(folder, gpu) for gpu in _fitting(gpus, vram_gb)}
        wanted, cards = (SLOTS, int(share)) if share >= 1 else (_slots(share), 1)
        enough = sorted((name for name in free if len(free[name]) >= wanted), key=lambda name: -len(free[name]))
        chosen = tuple(enough[:cards]) if len(enough) >= cards else ()
        kept = [lock for name in chosen for lock in free[name][:wanted]]
        for lock in (lock for taken in free.values() for lock in taken if lock not in kept):
            lock.release()
        command = os.path.basename(sys.argv[0]) or "python"
        signature = locks.note(command=command)  # one for all slots, whatever second it is: a holder is told of once
        for lock in kept:
            lock.sign(signature)
        return Lease(chosen, kept) if chosen else None


def lease(share: float, vram_gb: float, gpus: Sequence[Gpu], on_wait: Callable[[str], None]) -> Lease:
    """Waits for a lease; tells `on_wait` once who holds the GPUs."""
    told = False
    while (held := try_lease(share, vram_gb, gpus)) is None:
        if not told:
            on_wait(f"waiting for a GPU: {'; '.join(holders(gpus)) or 'all are in use'}")
            told = True
        time.sleep(0.1)
    return held


def holders(gpus: Sequence[Gpu]) -> list[str]:
    """`who holds what`, one sentence for each card and process."""
    lines: dict[str, None] = {}
    with _guarded() as folder:
        for gpu in gpus:
            for slot in range(SLOTS):
                path = _slot_file(folder, gpu, slot)
                if locks.is_held(path):
                    holder = locks.holder(path)
                    who = f"process {holder['pid']} on {holder['host']} ({holder['command']})"
                    lines[f"{gpu.identifier} is held by {who} since {holder['since']}"] = None
    return list(lines)


@contextlib.contextmanager
def _guarded() -> Iterator[Path]:
    """One asker at a time: a slot taken on trial and given back must not turn another asker away."""
    folder = directory()
    with locks.locked(folder / "guard"):
        yield folder


def _fitting(gpus: Sequence[Gpu], vram_gb: float) -> list[Gpu]:
    return [gpu for gpu in gpus if gpu.memory_gb is None or gpu.memory_gb >= vram_gb]


def _slots(share: float) -> int:
    return max(1, math.ceil(share * SLOTS - 1e-9))


def _slot_file(folder: Path, gpu: Gpu, slot: int) -> Path:
    # A UUID is the same card from every container and host; a bare index is one of this host's.
    name = gpu.identifier if gpu.identifier.startswith(("GPU-", "MIG-")) else f"{socket.gethostname()}-{gpu.identifier}"
    return folder / f"{name.replace('/', '-')}.{slot}"


def _take_free(folder: Path, gpu: Gpu) -> list[locks.Lock]:
    taken = (locks.take(_slot_file(folder, gpu, slot)) for slot in range(SLOTS))
    return [lock for lock in taken if lock is not None]
