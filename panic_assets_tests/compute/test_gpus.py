import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panic_assets.compute import gpus
from panic_assets.compute.gpus import Gpu
from panic_assets.compute.in_process import InProcessCompute
from panic_assets.compute.local import LocalCompute
from panic_assets.compute.protocol import Needs
from panic_assets.errors import UserError
from panic_assets.models import measured
from panic_assets.models.measured import Measurement
from panic_assets.models.needs import needs_of
from panic_assets_tests.compute import work

TWO = (Gpu("0"), Gpu("1"))
LISTED = "0, GPU-aaaa-1, 24576\n1, GPU-bbbb-2, 81920\n2, GPU-cccc-3, [N/A]\n"


@pytest.fixture(autouse=True)
def _own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("PANIC_HOME", str(tmp_path))
    monkeypatch.delenv("PANIC_GPUS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    gpus._present.cache_clear()
    yield
    gpus._present.cache_clear()


@pytest.fixture
def three_cards(tmp_path, monkeypatch):
    """A machine whose nvidia-smi lists three cards."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nprintf '{LISTED}'\n".replace("\n'", "\\n'"))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ["GPU-aaaa-1", "GPU-bbbb-2", "GPU-cccc-3"]),
        ("", []),
        ("-1", []),
        ("2,0", ["GPU-cccc-3", "GPU-aaaa-1"]),
        ("0,7,1", ["GPU-aaaa-1"]),
        ("GPU-bbbb", ["GPU-bbbb-2"]),
        ("MIG-1234", ["MIG-1234"]),
    ],
)
@pytest.mark.usefixtures("three_cards")
def test_visible_gpus_are_those_cuda_would_show(monkeypatch, visible, expected):
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [gpu.identifier for gpu in gpus.visible_gpus()] == expected


@pytest.mark.usefixtures("three_cards")
def test_memory_is_in_gib_and_unknown_when_not_said():
    assert [gpu.memory_gb for gpu in gpus.visible_gpus()] == [24.0, 80.0, None]


@pytest.mark.parametrize(
    ("text", "expected"), [("0", []), ("2", ["0", "1"]), ("3,5", ["3", "5"]), ("GPU-x", ["GPU-x"])]
)
def test_an_override_for_machines_that_cannot_be_asked(monkeypatch, text, expected):
    monkeypatch.setenv("PANIC_GPUS", text)
    assert [gpu.identifier for gpu in gpus.visible_gpus()] == expected


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from([0.125, 0.2, 0.25, 1 / 3, 0.5, 0.75, 1, 2]),
            st.integers(0, 9).map(lambda position: -position - 1),
        ),
        max_size=25,
    )
)
def test_no_card_is_ever_promised_more_than_once(tmp_path_factory, steps):
    """A law of any sequence of leases (positive: a share) and releases (negative: which)."""
    os.environ["PANIC_HOME"] = str(tmp_path_factory.mktemp("home"))
    held = []
    for step in steps:
        if step > 0:
            used = Counter()
            for share, lease in held:
                for name in lease.gpus:
                    used[name] += Fraction(gpus._slots(min(share, 1)), gpus.SLOTS)
            lease = gpus.try_lease(step, 0, TWO)
            free = sorted((1 - used[gpu.identifier] for gpu in TWO), reverse=True)
            fits = free[int(step) - 1] == 1 if step >= 1 else free[0] >= Fraction(gpus._slots(step), gpus.SLOTS)
            assert (lease is not None) == fits
            if lease:
                held.append((step, lease))
        elif held:
            held.pop((-step - 1) % len(held))[1].release()
    for _, lease in held:
        lease.release()
    assert gpus.try_lease(2, 0, TWO) is not None


def test_leases_spread_over_cards():
    leases = [gpus.try_lease(0.5, 0, TWO) for _ in range(4)]
    assert sorted(lease.gpus for lease in leases) == [("0",), ("0",), ("1",), ("1",)]
    assert leases[0].gpus != leases[1].gpus
    assert gpus.try_lease(0.125, 0, TWO) is None


def test_a_holder_is_told_of_once_whatever_the_clock_does(monkeypatch):
    seconds = itertools.count()
    monkeypatch.setattr("panic_assets.compute.gpus.time.gmtime", lambda: (2026, 1, 1, 0, 0, next(seconds), 0, 1, 0))
    held = gpus.try_lease(1, 0, TWO[:1])
    assert len(gpus.holders(TWO)) == 1
    held.release()


@pytest.mark.parametrize("share", [0.2, 0.3, 0.5, 1 / 3, 1, 2])
def test_as_many_leases_as_announced(share):
    cards = (*TWO, Gpu("2"))
    leases = []
    while (lease := gpus.try_lease(share, 0, cards)) is not None:
        leases.append(lease)
    assert len(leases) == gpus.concurrent_leases(share, 0, cards)


@pytest.mark.parametrize(
    ("share", "vram", "sentence"),
    [
        (3, 0, "needs 3 GPUs; this machine has 2"),
        (0, 0, "gpus is 0; it must be a share"),
        (1.5, 0, "gpus is 1.5; it must be a share"),
        (1, 100, "needs a GPU of 100 GB; the largest on this machine has 80 GB"),
    ],
)
def test_what_can_never_be_had_is_refused(share, vram, sentence):
    with pytest.raises(UserError, match=sentence):
        gpus.try_lease(share, vram, (Gpu("0", 24), Gpu("1", 80)))


def test_a_card_with_enough_memory_is_chosen():
    assert gpus.try_lease(1, 40, (Gpu("0", 24), Gpu("1", 80))).gpus == ("1",)


HOLD = """
import sys, time
from panic_assets.compute import gpus
lease = gpus.lease({share}, 0, gpus.visible_gpus(), lambda text: print("waiting", text, flush=True))
print("held", *lease.gpus, flush=True)
time.sleep(600)
"""


@contextlib.contextmanager
def holder(share, monkeypatch, count="1"):
    """A process that holds a share of a card until it is killed."""
    monkeypatch.setenv("PANIC_GPUS", count)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD.format(share=share)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_killed_holder_frees_its_card_at_once_and_the_next_is_told_who_held_it(monkeypatch):
    with holder(1, monkeypatch) as first:
        assert first.stdout.readline() == "held 0\n"
        with holder(0.5, monkeypatch) as second:
            assert f"0 is held by process {first.pid} on " in second.stdout.readline()
            first.send_signal(signal.SIGKILL)
            assert second.stdout.readline() == "held 0\n"
            assert len(gpus.holders(gpus.visible_gpus())) == 1
    assert gpus.holders(gpus.visible_gpus()) == []


def test_never_more_holders_than_slots_while_processes_are_killed(monkeypatch):
    """12 real processes want half a card of two; those that hold are killed until all have had their turn."""
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(holder(0.5, monkeypatch, count="2")) for _ in range(12)]
        alive, had = {p.pid: p for p in processes}, 0
        while alive:
            time.sleep(0.15)
            names = [line.split("process ")[1].split()[0] for line in gpus.holders(gpus.visible_gpus())]
            assert len(names) == len(set(names)) <= 4
            for pid in map(int, names[:2]):
                os.kill(pid, signal.SIGKILL)
                alive.pop(pid).wait()
                had += 1
        assert had == 12


def test_workers_see_their_own_card_only(monkeypatch, tmp_path):
    monkeypatch.setenv("PANIC_GPUS", "2")
    compute = LocalCompute()

    def cards(count, share):
        folder = tmp_path / str(share)
        folder.mkdir()
        tasks = [(folder, name, count) for name in range(count)]
        return sorted(card for _, (_, card) in compute.stream(work.meet, tasks, Needs(device="gpu", gpus=share)))

    assert cards(2, 1) == ["0", "1"]
    [(_, (_, device, _, _))] = compute.stream(work.pid_and_devices, [0], Needs(device="gpu", gpus=1))
    assert device == "cuda:0"
    # A share is asked next: the warm workers that hold the cards make room instead of blocking their own parent.
    assert cards(4, 0.5) == ["0", "0", "1", "1"]
    compute.close()
    assert gpus.holders(gpus.visible_gpus()) == []


def test_a_stage_shares_cards_as_measured(monkeypatch, tmp_path):
    """Two declared cards, two copies of the network on each: four workers at the same time."""
    monkeypatch.setenv("PANIC_GPUS", "2")
    compute = LocalCompute()
    assert compute.width(needs_of(["SDXLTurbo", "BLIP2"])) == 2
    measured.store("SDXLTurbo", Measurement(8, 0.1, copies=2, vram_gb=10, card_gb=85))
    measured.store("BLIP2", Measurement(8, 0.1, copies=4, vram_gb=9, card_gb=85))
    needs = needs_of(["SDXLTurbo", "BLIP2"])
    assert (needs.gpus, needs.vram_gb) == (0.5, 38)  # a card on which fewer fit is not chosen
    assert compute.width(needs) == 4
    met = [item for _, item in compute.stream(work.meet, [(tmp_path, name, 4) for name in range(4)], needs)]
    assert sorted(card for _, card in met) == ["0", "0", "1", "1"]
    compute.close()


def test_a_task_waits_for_a_card_that_another_holds(monkeypatch, caplog):
    compute = LocalCompute()
    with holder(1, monkeypatch) as other:
        assert other.stdout.readline() == "held 0\n"
        said = f"waiting for a GPU: 0 is held by process {other.pid}"

        def release():
            while said not in caplog.text:
                time.sleep(0.05)
            other.kill()

        threading.Thread(target=release, daemon=True).start()
        assert len(list(compute.stream(work.pid_and_devices, [0], Needs(device="gpu")))) == 1
    assert said in caplog.text
    compute.close()


def test_gpu_tasks_run_on_the_cpu_where_there_is_no_gpu(monkeypatch):
    monkeypatch.setenv("PANIC_GPUS", "0")
    compute = LocalCompute(workers=1)
    [(_, (_, device, cards, _))] = compute.stream(work.pid_and_devices, [0], Needs(device="gpu", gpus=1, vram_gb=24))
    assert (device, cards) == ("cpu", "")
    compute.close()


def test_in_process_holds_the_card_until_closed(monkeypatch):
    monkeypatch.setenv("PANIC_GPUS", "2")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    busy = gpus.try_lease(1, 0, (Gpu("0"),))
    compute = InProcessCompute()
    [(_, (_, device, _, _))] = compute.stream(work.pid_and_devices, [0], Needs(device="gpu"))
    assert device == "cuda:1"
    assert gpus.try_lease(1, 0, TWO) is None
    compute.close()
    assert gpus.try_lease(1, 0, TWO).gpus == ("1",)
    busy.release()
