"""pytest, with torchvision's Python and timm's from `.venv/vision`: `python -m panic_assets_tests.models.without_operators`.

torchvision's compiled operators fit one build of torch each, and none is made for every machine's. Two captioners import
torchvision and never call an operator: what registers shapes for them is kept from failing, nothing else is changed.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch.library

VISION = Path(sys.prefix) / "vision"

_register = torch.library.register_fake


def _unless_it_is_torchvisions(operator: Any, *given: Any, **named: Any) -> Any:
    if isinstance(operator, str) and operator.startswith("torchvision::"):
        unchanged: Callable[[Any], Any] = lambda function: function  # noqa: E731
        return unchanged
    return _register(operator, *given, **named)


if __name__ == "__main__":
    sys.path.append(str(VISION))
    torch.library.register_fake = _unless_it_is_torchvisions
    sys.exit(pytest.main(sys.argv[1:]))
