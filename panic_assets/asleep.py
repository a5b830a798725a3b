"""Modules that sleep until something of them is used.

Loading the definitions and reading the lake would otherwise wait for libraries that only a stage needs:

    if TYPE_CHECKING:
        import pyarrow as pa
    else:
        pa = asleep("pyarrow")
"""

from importlib import import_module
from types import ModuleType
from typing import Any


class Asleep:
    """Stands for a module, and imports it when an attribute of it is asked for."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._module: ModuleType | None = None

    def __getattr__(self, attribute: str) -> Any:
        if self._module is None:
            self._module = import_module(self._name)
        return getattr(self._module, attribute)


def asleep(name: str) -> Any:
    """The module of that full name, imported at its first use."""
    return Asleep(name)
