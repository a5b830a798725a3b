"""Failures: of a single item, which does not affect others; of memory; and of a device, which needs a new process."""

from dataclasses import dataclass

MAX_CHARACTERS = 50_000
"""A longer caption is broken: its item fails before a tokenizer spends seconds on it."""


@dataclass(frozen=True)
class Failure:
    """Stands in a list of outputs where one item has none; `reason` is one sentence."""

    reason: str


class ItemError(Exception):
    """Raised by a model for one item: its message becomes the item's Failure."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a smaller batch may cure it."""
    return type(error).__name__ == "OutOfMemoryError" or (
        isinstance(error, RuntimeError | MemoryError) and "out of memory" in str(error).lower()
    )


def is_device_fault(error: BaseException) -> bool:
    """Whether the process has lost its GPU (a CUDA error sticks): only a new process helps."""
    if is_out_of_memory(error):
        return False
    return type(error).__name__ == "AcceleratorError" or (
        isinstance(error, RuntimeError)
        and any(sign in str(error) for sign in ("CUDA error", "CUDNN", "cuDNN error", "CUBLAS", "NCCL"))
    )


def one_sentence(error: BaseException) -> str:
    """The error's type and the first line of its message, cut at 200 characters."""
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else ""
    return text[:200] if isinstance(error, ItemError) else f"{type(error).__name__}: {text[:200]}"
