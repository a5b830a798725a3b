"""What can go wrong around the models: names failed tasks, carries errors between processes, says how workers died."""

import pickle
import signal
from dataclasses import is_dataclass
from typing import Any

from panic_assets.compute.failures import one_sentence

MAX_DEATHS = 3
"""If a task kills this many workers, it is at fault: it is not tried again."""


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
    return error if type(copy) is type(error) else RuntimeError(one_sentence(error))


def title(index: int, task: Any) -> str:
    """`task 3 (...)`, short enough for a message. A dataclass that has no words of its own is named by its class."""
    wordless = is_dataclass(task) and type(task).__str__ is object.__str__
    text = type(task).__name__ if wordless else str(task)
    return f"task {index} ({text[:200]}{'...' if len(text) > 200 else ''})"


def manner_of_death(returncode: int) -> str:
    """`killed by SIGKILL; ...` or `exit code 3`."""
    if returncode >= 0:
        return f"exit code {returncode}"
    hint = "; the system may have run out of memory" if returncode == -signal.SIGKILL else ""
    return f"killed by {signal.Signals(-returncode).name}{hint}"
