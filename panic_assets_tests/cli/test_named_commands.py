"""A sentence that names a command names one that there is."""

import re

import pytest
from typer import Typer
from typer.main import get_command

from panic_assets.cli.main import app
from panic_assets.settings import PROJECT

NAMED = re.compile(r"(?:`|^\$? *)panic ((?:[a-z]+[ `\n]?)+)", re.MULTILINE)
FILES = [
    path
    for folder, pattern in (("panic_assets", "**/*.py"), ("docs", "*.md"), (".", "README.md"), (".", "Makefile"))
    for path in sorted((PROJECT / folder).glob(pattern))
]


def verbs(typer: Typer) -> dict[str, set[str]]:
    """First words -> second words; none after a command that is one word."""
    top = get_command(typer)
    return {name: set(getattr(top.get_command(None, name), "commands", ())) for name in top.list_commands(None)}


KNOWN = verbs(app)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_every_command_that_is_named_exists(path):
    for found in NAMED.finditer(path.read_text()):
        first, *rest = found[1].replace("`", " ` ").split()
        assert first in KNOWN, found[0]
        if rest and rest[0] != "`" and KNOWN[first]:
            assert rest[0] in KNOWN[first], found[0]


def test_the_look_for_commands_sees_them():
    text = "`panic status` says so\npanic experiment restore cats\n`panic doctor --fix`"
    assert [" ".join(found[1].split()) for found in NAMED.finditer(text)] == [
        "status`",
        "experiment restore cats",
        "doctor",
    ]
    assert sum(len(NAMED.findall(path.read_text())) for path in FILES) > 30
