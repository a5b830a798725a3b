"""What a person writes: a game file. Every refusal is one sentence."""

from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from panic_assets.errors import UserError, suggest

SUFFIX = ".dice.yaml"


@dataclass(frozen=True)
class Game:
    """A die that is rolled some times."""

    game: str
    sides: int = 6
    rolls: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("sides", 2), ("rolls", 2), ("seed", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise UserError(f"{name} is {value!r}; it must be a whole number of at least {least}")

    @property
    def row(self) -> dict[str, object]:
        """The game as a row of its table."""
        return asdict(self)


def read(path: Path) -> Game:
    """Read a game file. The game is named after the file."""
    try:
        written = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(written, dict):
        raise UserError(f"{path.name} must hold lines like `rolls: 100`")
    for field in written:
        if field not in ("sides", "rolls", "seed"):
            raise UserError(f"unknown field {field!r}{suggest(str(field), ('sides', 'rolls', 'seed'))}")
    return Game(path.name.removesuffix(SUFFIX), **written)
