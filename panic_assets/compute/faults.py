"""What can go wrong beside the models: how a failed task is named, and which faults a fresh process cures."""

import pickle
import signal
from typing import Any

MAX_DEATHS = 3
"""A task that has brought down this many workers is an error, not bad luck."""

_POISON = ("cuda error", "cudnn error", "cudnn_status", "cublas_status", "device-side assert", "nccl error")


class WorkerDied(RuntimeError):
    """A worker process ended in the middle of a task and the task could not be saved."""


class RemoteTraceback(Exception):
    """The traceback of an exception as it was printed where it happened; set as the cause here."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def named(error: BaseException, index: int, task: Any) -> BaseException:
    """The same exception with a note that says which task raised it."""
    error.add_note(f"while running {title(index, task)}")
    return error


def picklable(error: BaseException) -> BaseException:
    """The exception itself if it survives the journey, else a RuntimeError with the same words."""
    try:
        copy = pickle.loads(pickle.dumps(error))
    except Exception:
        copy = None
    return error if type(copy) is type(error) else RuntimeError(sentence(error))


def sentence(error: BaseException) -> str:
    """`ValueError: the first line of its message`."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def title(index: int, task: Any) -> str:
    """`task 3 (...)`, short enough for a message."""
    text = str(task)
    return f"task {index} ({text[:200]}{'...' if len(text) > 200 else ''})"


def poisons_process(error: BaseException) -> bool:
    """Whether the process is lost with this error: a CUDA context stays broken after an asynchronous error.

    Out of memory is not among them (the model halves its batch and goes on).
    """
    text = f"{type(error).__name__}: {error}".lower()
    if "out of memory" in text or "alloc_failed" in text:
        return False
    return type(error).__name__ == "AcceleratorError" or any(word in text for word in _POISON)


def manner_of_death(returncode: int) -> str:
    """`killed by SIGKILL; ...` or `exit code 3`."""
    if returncode >= 0:
        return f"exit code {returncode}"
    hint = "; the system may have run out of memory" if returncode == -signal.SIGKILL else ""
    return f"killed by {signal.Signals(-returncode).name}{hint}"
