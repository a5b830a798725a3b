"""Sends messages about changes of state: each change once, with retries. A failure never harms the run."""

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from panic_assets.errors import UserError
from panic_assets.extras import extra

log = logging.getLogger(__name__)
ATTEMPTS = 3
PAUSE_SECONDS = 1.0


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
class Delivery:
    """The result of sending a message."""

    status: str
    attempts: int


def send(urls: Sequence[str], title: str, body: str, pause: float = PAUSE_SECONDS) -> Delivery:
    """Send to every Apprise URL, again after a pause (doubled each time) where it failed. Never raises."""
    if not urls:
        return Delivery("no receiver", 0)
    left = list(urls)
    attempts = 0
    while left and attempts < ATTEMPTS:
        if attempts:
            time.sleep(pause * 2 ** (attempts - 1))
        attempts += 1
        left = [url for url in left if not _sent(url, title, body)]
    return Delivery("failed" if left else "sent", attempts)


def _sent(url: str, title: str, body: str) -> bool:
    try:
        with extra("notify"):
            import apprise

        receiver = apprise.Apprise()
        # The address itself may hold a password: it is not logged.
        return bool(receiver.add(url) and receiver.notify(title=title, body=body))
    except UserError as error:
        log.warning("a notification could not be sent: %s", error)
        return False
    except Exception as error:  # a receiver of any kind may fail in any way; training goes on
        log.warning("a notification could not be sent: %s", type(error).__name__)
        return False
