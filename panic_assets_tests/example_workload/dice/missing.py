"""What is missing of a game, asked of the lake. The checks, the doctor and the stages all ask here."""

from collections.abc import Iterator

from panic_assets.lake.lake import Lake
from panic_assets.workload import Missing, Query


def _games(lake: Lake, key: str | None) -> list[str]:
    return [key] if key is not None else [partition["game"] for partition, _ in lake.partitions("dice_games")]


def _rolls(lake: Lake, key: str | None) -> Iterator[Missing]:
    """Rolls that the game's file asks for and nobody has rolled."""
    for game in _games(lake, key):
        counts = "SELECT coalesce(max(rolls), 0) AS wanted, (SELECT count(*) FROM dice_rolls) AS rolled FROM dice_games"
        found = lake.sql(counts, game=game).to_pylist()[0]
        yield Missing("dice_rolls", game, found["wanted"] - found["rolled"], found["wanted"], "rolls")


def _mean(lake: Lake, key: str | None) -> Iterator[Missing]:
    """A mean that was never computed, or was computed from fewer rolls than there are now."""
    for game in _games(lake, key):
        rolled = lake.sql("SELECT count(*) AS n FROM dice_rolls", game=game)["n"][0].as_py()
        made = lake.sql("SELECT rolls FROM dice_means", game=game)["rolls"].to_pylist()
        yield Missing("dice_means", game, int(made != [rolled]), 1, "means", stale=bool(made))


OF_GAME: dict[str, Query] = {"dice_rolls": _rolls, "dice_means": _mean}
"""Asset -> what it still has to do for a game. Upstream assets come first."""
