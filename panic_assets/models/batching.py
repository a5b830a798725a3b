"""One call for many items, split into batches that fit on the GPU. A bad item does not affect the others."""

from collections.abc import Callable, Sequence
from math import ceil
from typing import Any, TypeVar

from panic_assets.compute.failures import Failure, is_device_fault, is_out_of_memory, one_sentence

T = TypeVar("T")


def free_memory() -> None:
    """Gives cached GPU memory back, after unreachable tensors have been collected."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class Batcher:
    """Splits items evenly into batches of at most `limit`. Running out of memory lowers the limit.

    The lower limit is remembered per `key` (for example an image size), as long as the model is loaded.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.limits: dict[Any, int] = {}

    def run(self, items: Sequence[T], call: Callable[[Sequence[T]], Sequence[Any]], key: Any = None) -> list[Any]:
        """One result per item, in order: what `call` gives for it, or a Failure.

        After running out of memory, half the batch is tried; for a batch of one the error is raised. After any other
        error, the batch is repeated item by item, so that only the items that cause it fail. An error of the device is
        raised at once. So is an error that is the same for every item: then the model is at fault.
        """
        results: list[Any] = []
        fault: Exception | None = None
        while len(results) < len(items):
            left = len(items) - len(results)
            size = ceil(left / ceil(left / self.limits.get(key, self.limit)))
            batch = items[len(results) : len(results) + size]
            out, error = _attempt(batch, call)
            if error is None:
                results.extend(out)
            elif is_out_of_memory(error):
                if size == 1:
                    raise error
                self.limits[key] = size // 2
                # The frames of the error hold the tensors of the failed call.
                error = error.with_traceback(None)
                free_memory()
            else:
                fault = error
                alone = [_attempt([item], call) for item in batch] if size > 1 else [(out, error)]
                for one, its_error in alone:
                    if its_error is not None and is_out_of_memory(its_error):
                        raise its_error
                    results.extend(one if its_error is None else [Failure(one_sentence(its_error))])
        if fault and len(items) > 1 and len(set(map(_failure, results))) == 1 and _failure(results[0]):
            raise fault
        return results


def _failure(result: Any) -> Failure | None:
    return result if isinstance(result, Failure) else None


def _attempt(
    batch: Sequence[T], call: Callable[[Sequence[T]], Sequence[Any]]
) -> tuple[Sequence[Any], Exception | None]:
    try:
        out = call(batch)
    except Exception as error:
        if is_device_fault(error):
            raise
        return [], error
    if len(out) != len(batch):
        raise RuntimeError(f"a model gave {len(out)} outputs for {len(batch)} inputs")
    return out, None
