import os

import pytest

from panic_assets.compute import machine
from panic_assets.compute.local import LocalCompute
from panic_assets.compute.protocol import Needs


@pytest.fixture
def container(tmp_path, monkeypatch):
    """A machine of 16 cores and 64 GiB, and a way to limit the container on it."""
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 64 * 2**18, "SC_PAGE_SIZE": 2**12}.__getitem__)

    def limit(name, text):
        (tmp_path / name).write_text(text)

    return limit


def test_without_a_limit_the_whole_machine_is_ours(container):
    assert (machine.cores(), machine.memory_gb()) == (16, 64.0)
    container("cpu.max", "max 100000\n")
    container("memory.max", "max\n")
    assert (machine.cores(), machine.memory_gb()) == (16, 64.0)


@pytest.mark.parametrize(
    ("quota", "cores"), [("400000 100000", 4), ("50000 100000", 1), ("250000 100000", 2), ("9900000 100000", 16)]
)
def test_a_container_has_the_cores_of_its_quota(container, quota, cores):
    container("cpu.max", quota)
    assert machine.cores() == cores


def test_workers_are_as_many_as_cores_and_memory_allow(container):
    assert LocalCompute().width(Needs(memory_gb=1)) == 16
    assert LocalCompute().width(Needs(memory_gb=20)) == 3
    container("memory.max", str(4 * 2**30))
    assert LocalCompute().width(Needs(memory_gb=1)) == 4
    assert LocalCompute().width(Needs(memory_gb=20)) == 1
    assert LocalCompute(workers=2).width(Needs(memory_gb=1)) == 2
