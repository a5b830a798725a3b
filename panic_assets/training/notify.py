"""Sends messages about changes of state: each change once to each receiver, with retries. A failure never harms the run."""

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from panic_assets.errors import UserError, cut
from panic_assets.extras import extra

ATTEMPTS = 3
PAUSE_SECONDS = 1.0
_VARIABLE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?")


@dataclass(frozen=True)
class Change:
    """A metric of a run entered another state."""

    run: str
    metric: str
    epoch: int
    before: str
    after: str
    best_epoch: int
    sentence: str

    @property
    def id(self) -> str:
        """The same change has the same id, whoever finds it and how often."""
        text = f"{self.run}\n{self.metric}\n{self.epoch}\n{self.after}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def title(self) -> str:
        return f"{self.run}: {self.metric} is {self.after} at epoch {self.epoch}"

    @property
    def body(self) -> str:
        return f"{self.metric} was {self.before} before. Best epoch so far: {self.best_epoch}. Reason: {self.sentence}."


@dataclass(frozen=True)
class Message:
    """What a receiver gets. `picture` is a PNG."""

    title: str
    body: str
    picture: bytes | None = None


@dataclass(frozen=True)
class Delivery:
    """The result of sending a message to one receiver. `problem` says why it did not arrive."""

    status: str
    attempts: int
    problem: str | None = None


def name_of(receiver: str) -> str:
    """What a receiver is called in tables and messages. Its address may hold a password, so it is not shown."""
    if _VARIABLE.fullmatch(receiver):
        return receiver
    return f"{cut(receiver.partition('://')[0])} {hashlib.sha256(receiver.encode()).hexdigest()[:8]}"


def address(receiver: str) -> str:
    """A receiver as the settings name it, with its variables filled in."""
    unset = [name for name in _VARIABLE.findall(receiver) if name not in os.environ]
    if unset:
        raise UserError(f"the environment variable {unset[0]} is not set; set it, or name another receiver")
    return _VARIABLE.sub(lambda found: os.environ[found[1]], receiver)


def send(receiver: str, message: Message, pause: float = PAUSE_SECONDS) -> Delivery:
    """Send to one receiver, again after a pause (doubled each time) where it failed. Never raises."""
    try:
        url = address(receiver)
        with extra("notify"):
            import apprise

        to = apprise.Apprise()
        if not to.add(url):
            raise UserError("it is not an address that Apprise knows")
    except Exception as error:  # Not even the address is good: another attempt would not help.
        # The text of a stranger's error may quote the address.
        return Delivery("failed", 0, str(error) if isinstance(error, UserError) else type(error).__name__)
    problem = "it did not answer, or refused the message"
    with tempfile.TemporaryDirectory() as folder:
        attached = _attached(Path(folder), message.picture)
        for attempt in range(1, ATTEMPTS + 1):
            if attempt > 1:
                time.sleep(pause * 2 ** (attempt - 2))
            try:
                if to.notify(title=message.title, body=message.body, attach=attached or None):
                    return Delivery("sent", attempt)
            except Exception as error:  # A receiver of any kind may fail in any way; training goes on.
                problem = type(error).__name__
    return Delivery("failed", ATTEMPTS, problem)


def _attached(folder: Path, picture: bytes | None) -> Sequence[str]:
    if picture is None:
        return []
    (folder / "picture.png").write_bytes(picture)
    return [str(folder / "picture.png")]
