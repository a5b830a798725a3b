"""Whether deleting a partition key starts the cascade; a module of its own because the cascade turns it off."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_hook_is_off: ContextVar[bool] = ContextVar("_hook_is_off", default=False)


def hook_is_off() -> bool:
    """Whether this context deletes keys and nothing else."""
    return _hook_is_off.get()


@contextmanager
def without_hook() -> Iterator[None]:
    """In this context, deleting a key deletes the key and nothing else: for the cascade's own deletions."""
    token = _hook_is_off.set(True)
    try:
        yield
    finally:
        _hook_is_off.reset(token)
