"""A child that takes too much is killed, and one that fails is heard."""

import os
import time

import pytest

from panic_assets.compute.limited import limited


def add(a, b):
    print("not the answer")
    return a + b


def sleep_for(seconds):
    time.sleep(seconds)
    return "woke"


def spin():
    while True:
        pass


def hoard():
    return len(b"x" * 2_000_000_000)


def fail():
    raise KeyError("no such thing")


def test_answers():
    assert limited(add, 2, 3, seconds=300, memory=1e9) == 5


@pytest.mark.parametrize(("function", "arguments"), [(spin, ()), (sleep_for, (60,))])
def test_time(function, arguments):
    assert limited(function, *arguments, seconds=0.2, memory=1e9) is None


def test_memory():
    assert limited(hoard, seconds=300, memory=1e9) is None


def test_failure_is_raised_with_its_reason():
    with pytest.raises(RuntimeError, match="fail failed in its process: KeyError: 'no such thing'"):
        limited(fail, seconds=300, memory=1e9)


def test_the_child_is_another_process():
    assert limited(os.getpid, seconds=300, memory=1e9) != os.getpid()
