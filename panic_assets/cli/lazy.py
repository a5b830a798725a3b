"""A command group whose commands are imported when they are called: `panic query` does not wait for what it does not use."""

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from panic_assets.workload import Command


def group(own: Iterable[Command], others: Callable[[], Mapping[str, Command]]) -> type[TyperGroup]:
    """A group of commands. `others` is asked only when a name is not among the first, or all are listed."""
    first = {command.name: command for command in own}

    class Lazy(TyperGroup):
        _listing = False

        def list_commands(self, ctx: Any) -> list[str]:
            """All names, in alphabetical order."""
            return sorted({*first, *others()})

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            """The command of that name, imported now; for a list of commands, its name and help are enough."""
            command = first.get(cmd_name) or others().get(cmd_name)
            if command is None:
                return None
            return TyperCommand(command.name, help=command.help) if self._listing else load(command)

        def format_help(self, ctx: Any, formatter: Any) -> None:
            """The help, without importing any command."""
            self._listing = True
            try:
                super().format_help(ctx, formatter)
            finally:
                self._listing = False

    return Lazy


def load(command: Command) -> Any:
    """Import a command: a function becomes a command, a Typer a group."""
    module, _, attribute = command.where.partition(":")
    found: Any = getattr(importlib.import_module(module), attribute)
    if not isinstance(found, typer.Typer):
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command(command.name)(found)
        found = app
    made = get_command(found)
    made.name = command.name
    return made
