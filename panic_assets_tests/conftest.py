"""What all tests share."""

from typing import Any

from hypothesis import settings
from sqlalchemy import event
from sqlalchemy.engine import Engine

# The same examples every time: what fails, fails for everybody. `pytest --hypothesis-profile default` looks for new ones.
settings.register_profile("repeatable", derandomize=True)


@event.listens_for(Engine, "connect")
def without_waiting_for_the_disk(connection: Any, _: object) -> None:
    """SQLite need not outlive a power cut in a test; a killed process still finds what it committed."""
    if type(connection).__module__ == "sqlite3":
        connection.execute("PRAGMA synchronous=OFF")
