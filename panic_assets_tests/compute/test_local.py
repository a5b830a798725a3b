import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from panic_assets.compute import faults, pool, worker
from panic_assets.compute.in_process import InProcessCompute
from panic_assets.compute.local import LocalCompute, _Process
from panic_assets.compute.protocol import Needs
from panic_assets_tests.compute import work

pytestmark = pytest.mark.slow

CPU = Needs(memory_gb=0.1)


@pytest.fixture(scope="module")
def local():
    with_two = LocalCompute(workers=2)
    yield with_two
    with_two.close()


@pytest.fixture(scope="module", params=["in_process", "local"])
def compute(request, local):
    return InProcessCompute() if request.param == "in_process" else local


def gone(pid):
    """Whether the process is dead (a zombie that init has not reaped yet counts as dead)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def soon(condition, seconds=60.0):
    """Whether the condition comes true; how long that may take is no claim, only an end to the waiting."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def per_task(stream):
    rows = {}
    for index, item in stream:
        rows.setdefault(index, []).append(item)
    return rows


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=st.lists(st.integers(0, 6), max_size=6))
def test_every_item_once_and_in_order_within_its_task(compute, lengths):
    tasks = [(f"t{i}", 0, n) for i, n in enumerate(lengths)]
    rows = per_task(compute.stream(work.count, tasks, CPU))
    assert rows == {i: [(f"t{i}", k) for k in range(n)] for i, n in enumerate(lengths) if n}


def test_items_are_what_was_yielded_not_what_became_of_it(local):
    assert [item for _, item in local.stream(work.mutate, [3], CPU)] == [[0], [0, 1], [0, 1, 2]]


def count_rest(received):
    """Resumes `count_and_die` after the last number that arrived."""

    def resume(task):
        key, start, stop, *rest = task
        done = max((n for k, n in received if k == key), default=start - 1)
        return (key, done + 1, stop, *rest) if done + 1 < stop else None

    return resume


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=st.lists(st.tuples(st.integers(1, 8), st.sets(st.integers(0, 8), max_size=2)), min_size=1, max_size=3))
def test_killed_workers_are_replaced_and_nothing_is_lost_or_repeated(local, tmp_path_factory, plan):
    folder = str(tmp_path_factory.mktemp("deaths"))
    tasks = [(f"t{i}", 0, stop, deaths, folder) for i, (stop, deaths) in enumerate(plan)]
    received = []
    for _, item in local.stream(work.count_and_die, tasks, CPU, resume=count_rest(received)):
        received.append(item)
    assert sorted(received) == sorted((f"t{i}", n) for i, (stop, _) in enumerate(plan) for n in range(stop))
    for i in range(len(plan)):
        numbers = [n for key, n in received if key == f"t{i}"]
        assert numbers == sorted(numbers)


def test_a_worker_killed_from_outside_at_any_moment(local):
    received = []
    resume = count_rest(received)

    def kill_one():
        os.kill(next(pid for pid, *_ in pids), signal.SIGKILL)

    pids = [item for _, item in local.stream(work.pid_and_devices, [0, 0], CPU)]
    stream = local.stream(work.count, [("a", 0, 4000), ("b", 0, 4000)], CPU, resume=resume)
    for seen, (_, item) in enumerate(stream):
        received.append(item)
        if seen == 700:
            kill_one()
    assert sorted(received) == [(key, n) for key in "ab" for n in range(4000)]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_what_was_yielded_before_a_death_is_delivered_and_the_third_death_is_an_error(local, number, tmp_path):
    received = []
    asked = []
    stream = local.stream(work.die, [(number, tmp_path)], CPU, resume=lambda task: asked.append(task) or task)
    with pytest.raises(faults.WorkerDied, match=f"brought down 3 workers.*{number.name}"):  # noqa: PT012
        for item in work.received(stream, tmp_path):
            received.append(item)
    assert received == ["alive"] * 3
    assert len(asked) == 2


def test_a_death_without_resume_is_an_error(local, tmp_path):
    with pytest.raises(faults.WorkerDied, match="cannot be resumed: killed by SIGKILL"):
        list(work.received(local.stream(work.die, [(signal.SIGKILL, tmp_path)], CPU), tmp_path))


def test_a_task_of_which_nothing_remains_is_not_run_again(local, tmp_path):
    stream = local.stream(work.die, [(signal.SIGKILL, tmp_path)], CPU, resume=lambda task: None)
    assert list(work.received(stream, tmp_path)) == ["alive"]


def test_a_dead_worker_is_noticed_although_its_child_holds_the_socket(local, tmp_path):
    """The child would hold it for ten minutes."""
    [child] = work.received(local.stream(work.fork_and_die, [tmp_path], CPU, resume=lambda task: None), tmp_path)
    assert soon(lambda: gone(child))


def test_a_cuda_error_restarts_the_worker_and_the_step_goes_on(local, tmp_path):
    received = []

    def resume(task):
        marker, _, stop = task
        return marker, len(received), stop

    for _, item in local.stream(work.poison_once, [(tmp_path / "marker", 0, 5)], CPU, resume=resume):
        received.append(item)
    assert received == [0, 1, 2, 3, 4]


def test_an_exception_names_its_task_and_carries_its_traceback(compute):
    received = []
    with pytest.raises(ValueError, match="cannot do thing") as caught:  # noqa: PT012
        for _, item in compute.stream(work.fail, ["thing"], CPU):
            received.append(item)
    assert received == ["before"]
    assert any("task 0 (thing)" in note for note in caught.value.__notes__)
    where = str(caught.value.__cause__) if caught.value.__cause__ else str(caught.traceback[-1].path)
    assert "work.py" in where


def test_tasks_are_named_briefly():
    assert faults.title(3, "a" * 300) == f"task 3 ({'a' * 200}...)"
    assert faults.title(0, CPU) == "task 0 (Needs)"  # a batch's repr would hold every image


def test_an_exception_that_does_not_travel_keeps_its_words(local):
    with pytest.raises(RuntimeError, match="Local: of no importable type"):
        list(local.stream(work.fail_unpicklably, ["thing"], CPU))


def test_an_exception_stops_the_other_workers(local, tmp_path):
    go = tmp_path / "go"
    stream = local.stream(work.fail_at, [(go, False), (go, True)], CPU)
    pids = [next(stream)[1], next(stream)[1]]
    go.touch()
    with pytest.raises(RuntimeError, match="told to fail"):
        next(stream)
    assert sum(gone(pid) for pid in pids) == 1


def test_memory_is_bounded_however_slow_the_consumer(local, tmp_path):
    counter = tmp_path / "made"
    stream = local.stream(work.big, [(counter, 60)], CPU)
    consumed = 0
    for _, item in stream:
        consumed += 1
        assert len(item) == 1_000_000
        if consumed in (5, 20):
            time.sleep(0.3)
            # queued, in the sender's hand, being put, and one more in the socket
            assert counter.stat().st_size <= consumed + worker.AHEAD + 3
    assert consumed == 60


def test_workers_are_processes_that_stay_warm_between_tasks_and_streams(local, tmp_path):
    both = work.pids(local, 2, CPU, tmp_path)
    first = list(local.stream(work.embed, [["a cat"], ["a dog"], ["a cat"], ["a fish"]], CPU))
    again = list(local.stream(work.embed, [["a cat"], ["a dog"]], CPU))
    models = {}
    for _, (model, pid, _) in first + again:
        assert pid != os.getpid()
        models.setdefault(pid, set()).add(model)
    assert set(models) <= both
    assert all(len(identities) == 1 for identities in models.values())
    here = {i: v for i, (_, _, v) in InProcessCompute().stream(work.embed, [["a cat"], ["a dog"]], CPU)}
    for index, (_, _, vectors) in again:
        np.testing.assert_array_equal(vectors, here[index])


def test_models_stay_for_tasks_that_use_them_and_go_with_those_that_do_not(compute):
    """A worker that moves on to another network must not carry the models of the last one with it."""
    one_worker = compute if isinstance(compute, InProcessCompute) else LocalCompute(workers=1)
    first, second = ("DummyT2I", "DummyI2T"), ("DummyT2I", "DummyI2T2")
    held = [item for _, item in one_worker.stream(work.hold, [first, first, (), second, second], CPU)]
    names = [set(models) for models in held]
    assert names == [set(first), set(first), set(first), {*first, *second}, set(second)]
    assert held[0]["DummyT2I"] == held[-1]["DummyT2I"]
    assert held[0]["DummyI2T"] == held[1]["DummyI2T"]


@pytest.mark.parametrize("kind", [InProcessCompute, LocalCompute])
def test_whoever_makes_a_compute_says_who_loads_its_models(kind):
    compute = kind(models=work.SPOKEN)
    assert sorted(compute.stream(work.ask, ["a", "b"], CPU)) == [(0, "a on cpu"), (1, "b on cpu")]
    compute.close()


def test_a_worker_starts_light_and_shares_the_cores(local):
    assert list(LocalCompute(workers=1).stream(work.heavy_before_start, [0], CPU)) == [(0, [])]
    cores = len(os.sched_getaffinity(0))
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    script = (
        "from panic_assets.compute.local import LocalCompute; from panic_assets.compute.protocol import Needs;"
        "from panic_assets_tests.compute import work;"
        "print([item[3] for _, item in LocalCompute(workers=2).stream(work.pid_and_devices, [0, 0], Needs())])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert printed.strip() == str([str(max(1, cores // 2))] * 2)


def test_closing_early_stops_all_work(local):
    stream = local.stream(work.orphan, ["a", "b"], CPU)
    pids = [*next(stream)[1], *next(stream)[1]]
    assert not any(gone(pid) for pid in pids)
    stream.close()
    assert soon(lambda: all(gone(pid) for pid in pids))


def test_closing_early_closes_the_function_in_process(tmp_path):
    stream = InProcessCompute().stream(work.with_cleanup, [tmp_path / "closed"], CPU)
    next(stream)
    assert not (tmp_path / "closed").exists()
    stream.close()
    assert (tmp_path / "closed").exists()


def test_a_stream_inside_a_stream(local):
    outer = local.stream(work.count, [("outer", 0, 3)], CPU)
    rows = [(item, [inner for _, inner in local.stream(work.count, [("inner", 0, 2)], CPU)]) for _, item in outer]
    assert rows == [(("outer", n), [("inner", 0), ("inner", 1)]) for n in range(3)]


def test_close_ends_the_workers_and_streaming_afterwards_starts_afresh():
    compute = LocalCompute(workers=1)
    [(_, (pid, *_))] = compute.stream(work.pid_and_devices, [0], CPU)
    assert not gone(pid)
    compute.close()
    assert gone(pid)
    compute.close()
    assert list(compute.stream(work.count, [("a", 0, 1)], CPU)) == [(0, ("a", 0))]
    compute.close()


PARENT = """
import signal, sys
from panic_assets.compute.local import LocalCompute
from panic_assets.compute.protocol import Needs
from panic_assets_tests.compute import work
signal.signal(signal.SIGINT, signal.SIG_IGN if sys.argv[1] == "background" else signal.default_int_handler)
for _, item in LocalCompute(workers=2).stream(work.orphan, ["a", "b"], Needs(memory_gb=0.1)):
    print(*item, flush=True)
"""


@pytest.mark.parametrize(
    ("number", "started"),
    [
        (signal.SIGKILL, "terminal"),
        (signal.SIGINT, "terminal"),
        (signal.SIGTERM, "terminal"),
        (signal.SIGKILL, "background"),
        (signal.SIGTERM, "background"),
    ],
)
def test_no_orphans_when_the_parent_dies(number, started):
    """In a terminal, and as a background job of a script: that ignores SIGINT, and so does what it starts."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, started],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as parent:
        try:
            pids = [int(pid) for _ in range(2) for pid in parent.stdout.readline().split()]
            assert len(pids) == 4
            parent.send_signal(number)
            assert parent.wait(timeout=60) != 0
        finally:
            parent.kill()
    assert soon(lambda: all(gone(pid) for pid in pids))


def test_idle_workers_are_let_go_and_replaced_when_needed(monkeypatch):
    compute = LocalCompute(workers=1)
    [(_, (first, *_))] = compute.stream(work.pid_and_devices, [0], CPU)
    monkeypatch.setattr(pool, "IDLE_SECONDS", 0.3)  # shorter than the next task, in which it is not idle
    [(_, (again, *_))] = compute.stream(work.pid_and_devices, [0.6], CPU)
    assert again == first
    assert soon(lambda: gone(first))
    [(_, (second, *_))] = compute.stream(work.pid_and_devices, [0], CPU)
    assert second != first
    compute.close()


def test_a_short_stream_leaves_the_other_workers_warm(tmp_path):
    compute = LocalCompute(workers=2)
    pids = work.pids(compute, 2, CPU, tmp_path / "before")
    list(compute.stream(work.pid_and_devices, [0], CPU))
    assert work.pids(compute, 2, CPU, tmp_path / "after") == pids
    compute.close()
    assert all(gone(pid) for pid in pids)


def test_a_worker_that_died_while_idle_is_replaced_without_a_word(caplog):
    compute = LocalCompute(workers=1)
    [(_, (pid, *_))] = compute.stream(work.pid_and_devices, [0], CPU)
    os.kill(pid, signal.SIGKILL)
    # /proc calls it a zombie as soon as its main thread is; it is dead when its last thread is.
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert len(list(compute.stream(work.count, [("a", 0, 2)], CPU))) == 2
    assert not caplog.records
    compute.close()


def test_a_worker_that_dies_as_it_is_given_its_first_task_costs_the_task_nothing(local, monkeypatch):
    """It was alive when it was asked, and is killed before it has received anything: no `resume` is needed."""
    list(local.stream(work.count, [("warm", 0, 1)], CPU))
    give, victims = _Process.give, []

    def too_late(self, *what):
        first = not victims
        if first:
            victims.append(self._popen.pid)
            os.kill(self._popen.pid, signal.SIGSTOP)  # it receives nothing any more
        give(self, *what)
        if first:
            os.kill(self._popen.pid, signal.SIGKILL)

    monkeypatch.setattr(_Process, "give", too_late)
    assert list(local.stream(work.count, [("a", 0, 3)], CPU)) == [(0, ("a", n)) for n in range(3)]
    assert gone(*victims)


def test_a_worker_that_cannot_start_is_an_error_after_three_attempts(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(faults.WorkerDied, match=r"3 workers died before they began a task; .*exit code 1"):
        list(LocalCompute(workers=1).stream(work.count, [("a", 0, 1)], CPU))
