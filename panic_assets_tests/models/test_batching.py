import gc
import weakref

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from panic_assets.compute.failures import Failure, ItemError, is_device_fault, is_out_of_memory
from panic_assets.models.batching import Batcher


@pytest.fixture
def no_collecting(monkeypatch):
    """Collecting garbage takes a while in a process full of torch, and this file does it hundreds of times."""
    monkeypatch.setattr("panic_assets.models.batching.free_memory", lambda: None)


class Card:
    """Doubles numbers, at most `room` at once; remembers what it was asked for."""

    def __init__(self, room, bad=()):
        self.room, self.bad, self.calls = room, set(bad), []

    def __call__(self, items):
        self.calls.append(len(items))
        if len(items) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        for item in items:
            if item in self.bad:
                raise ItemError(f"{item} is bad")
        return [2 * item for item in items]


@pytest.mark.usefixtures("no_collecting")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(0, 60), st.integers(1, 70), st.integers(1, 70))
def test_every_item_comes_back_once_and_in_order_whatever_fits(count, limit, room):
    batcher, card = Batcher(limit), Card(room)
    assert batcher.run(range(count), card) == [2 * i for i in range(count)]
    # Once the batch has been halved enough, no call fails again.
    card.calls.clear()
    batcher.run(range(count), card)
    assert all(size <= room for size in card.calls)


def test_batches_are_even_not_full_and_a_remnant():
    card = Card(100)
    Batcher(16).run(range(17), card)
    assert card.calls == [9, 8]


@pytest.mark.usefixtures("no_collecting")
def test_out_of_memory_halves_and_is_remembered_by_size():
    batcher, card = Batcher(16), Card(5)
    batcher.run(range(16), card, key=1024)
    assert card.calls == [16, 8, 4, 4, 4, 4]
    card.calls.clear()
    batcher.run(range(8), card, key=1024)
    assert card.calls == [4, 4]
    card.calls.clear()
    card.room = 100
    batcher.run(range(16), card, key=512)
    assert card.calls == [16]


def test_the_failed_calls_tensors_are_gone_before_the_next():
    held = []

    def call(items):
        if len(items) > 1:
            tensor = torch.zeros(3)
            held.append(weakref.ref(tensor))
            raise torch.OutOfMemoryError("out of memory")
        gc.collect()
        assert held[0]() is None
        return items

    assert Batcher(2).run([1, 2], call) == [1, 2]


def test_one_item_that_does_not_fit_is_raised():
    with pytest.raises(torch.OutOfMemoryError):
        Batcher(4).run([1, 2, 3], Card(0))


@given(st.sets(st.integers(0, 19), max_size=8), st.integers(1, 25))
def test_a_bad_item_harms_only_itself(bad, limit):
    out = Batcher(limit).run(range(20), Card(100, bad))
    assert out == [Failure(f"{i} is bad") if i in bad else 2 * i for i in range(20)]


def test_an_error_of_every_item_alike_is_the_models_and_is_raised():
    def broken(items):
        raise KeyError("no such layer")

    with pytest.raises(KeyError):
        Batcher(4).run(range(6), broken)
    # A single item cannot tell: it fails, with the error's name.
    assert Batcher(4).run([1], broken) == [Failure("KeyError: 'no such layer'")]


def test_an_error_of_the_device_is_raised_at_once():
    calls = []

    def lost(items):
        calls.append(len(items))
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal memory access"):
        Batcher(4).run(range(6), lost)
    assert calls == [3]


def test_a_wrong_number_of_outputs_is_no_item_s_fault():
    with pytest.raises(RuntimeError, match="2 outputs for 3 inputs"):
        Batcher(4).run(range(3), lambda items: [1, 2])


@pytest.mark.parametrize(
    ("error", "memory", "device"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True, False),
        (RuntimeError("CUDA error: out of memory"), True, False),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: out of memory"), True, False),
        (RuntimeError("CUDA error: device-side assert triggered"), False, True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), False, True),
        (RuntimeError("shapes do not match"), False, False),
        (ValueError("CUDA error"), False, False),
    ],
)
def test_errors_are_told_apart(error, memory, device):
    assert (is_out_of_memory(error), is_device_fault(error)) == (memory, device)
