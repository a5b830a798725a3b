"""Every table of the lake, and the views the catalogue adds. One module a slice, each pure data.

A slice's module defines `TABLES`, and `VIEWS` (name -> (documentation, SQL)) when it has any.
"""

import importlib
import pkgutil

from panic_assets.lake.schema import Table

_MODULES = [
    importlib.import_module(f"{__name__}.{m.name}")
    for m in sorted(pkgutil.iter_modules(__path__), key=lambda m: m.name)
]

TABLES: dict[str, Table] = {t.name: t for module in _MODULES for t in module.TABLES}
VIEWS: dict[str, tuple[str, str]] = {
    name: view for module in _MODULES for name, view in getattr(module, "VIEWS", {}).items()
}
