"""The homes of the operations tests, and the command as a user calls it."""

import sys
from collections.abc import Callable

import pytest

from panic_assets.cli import output
from panic_assets_tests.operations.conftest import instance, lake, template

__all__ = ["instance", "lake", "panic", "template"]

Panic = Callable[..., tuple[int, str, str]]


@pytest.fixture
def panic(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Panic:
    """`panic("experiment", "list")` -> (exit code, what it printed, what it complained)."""
    from panic_assets.cli.main import main

    for shown in (output.console, output.errors):
        monkeypatch.setattr(shown, "_width", 200)  # Nothing that a test looks for is folded.

    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["panic", *map(str, words)])
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        out, err = capsys.readouterr()
        assert isinstance(code, int)
        return code, out, err

    return call
