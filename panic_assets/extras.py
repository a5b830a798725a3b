"""What is installed on demand, asked for in a sentence where it is needed."""

import contextlib
from collections.abc import Iterator

from panic_assets.errors import UserError


@contextlib.contextmanager
def extra(name: str) -> Iterator[None]:
    """Around an import that only an extra of this package brings."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed; `pip install 'panic-assets[{name}]'` brings it") from None
