"""What is installed on demand: a sentence where it is needed, with a command that brings it.

The package is on no index, so the command never names it there: somebody else could register the name.
"""

import contextlib
import importlib.metadata
import importlib.util
from collections.abc import Iterator

from panic_assets.errors import UserError
from panic_assets.settings import PROJECT

DISTRIBUTION = "panic-assets"


@contextlib.contextmanager
def extra(name: str) -> Iterator[None]:
    """Around an import that only an extra of this package brings."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(_sentence(name, str(error.name).partition(".")[0])) from None


def require(name: str, module: str) -> None:
    """UserError unless the module that an extra brings is there; it is not imported."""
    if importlib.util.find_spec(module) is None:
        raise UserError(_sentence(name, module))


def command(name: str) -> str:
    """What brings an extra: from the checkout, or by the names of what it consists of."""
    if (PROJECT / "pyproject.toml").exists():
        return f"pip install -e '{PROJECT}[{name}]'"
    return f"pip install {' '.join(_parts(name))}"


def _parts(name: str) -> Iterator[str]:
    """The requirements of an extra, as a shell takes them."""
    from packaging.requirements import Requirement  # Late: only a refusal needs it.

    for requirement in map(Requirement, importlib.metadata.requires(DISTRIBUTION) or ()):
        if requirement.marker and requirement.marker.evaluate({"extra": name}) and "extra" in str(requirement.marker):
            requirement.marker = None
            yield f"'{requirement}'"


def _sentence(name: str, module: str) -> str:
    return f"{module} is not installed; `{command(name)}` brings it"
