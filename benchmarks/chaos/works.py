"""Work of every kind: killed anywhere and asked for again, it ends as if nobody had interrupted it."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from benchmarks.chaos.commands import Failed, environment, performed, started
from benchmarks.chaos.homes import Wanted, Words, Workspace
from panic_assets.finetunes.drawing import synthetic

FILES = {
    "e.yaml": {
        "networks": [["DummyT2I", "DummyI2T"]],
        "prompts": ["a red square", "the sea at night"],
        "seeds": [1, 7],
        "embedding_models": ["DummyText", "DummyVision"],
        "max_length": 24,
        "image_size": 16,
    },
    "kept.yaml": {
        "networks": [["DummyT2I", "DummyI2T"]],
        "prompts": ["a map"],
        "seeds": [1],
        "embedding_models": ["DummyText", "DummyVision"],
        "max_length": 6,
        "image_size": 16,
    },
    "g.grokking": {
        "primes": 11,
        "seeds": 1,
        "data_seeds": 2,
        "train_fraction": 0.7,
        "epochs": 60,
        "checkpoints": {"every": 20},
    },
    "f.finetune.yaml": {"base": "Synthetic", "folder": "f", "epochs": 10, "depth": "quick"},
}
PERFORM: Words = ("experiment", "perform", "e.yaml")
KEPT: Words = ("experiment", "perform", "kept.yaml")
DELETE: Words = ("experiment", "delete", "e", "--yes")


@dataclass(frozen=True)
class Work:
    """A command, and the commands before it. `done` is what it says when it finds nothing left to do."""

    words: Words
    before: tuple[Words, ...] = ()
    done: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Variables of the environment."""


WORKS = {
    "perform": Work(PERFORM),
    "grokking train": Work(("grokking", "train", "g.grokking")),
    "finetune test": Work(("finetune", "test", "f"), (("finetune", "add", "f.finetune.yaml"),)),
    "analyse": Work(("analyse", "e", "--distance-runs", "2", "--null-runs", "1"), (PERFORM,)),
    "cluster recompute": Work(("cluster", "recompute"), (PERFORM,)),
    "delete": Work(DELETE, (PERFORM, KEPT), "there is no experiment"),
    "restore": Work(("experiment", "restore", "e"), (PERFORM, KEPT, DELETE), "restored"),
}


def write_files(root: Path) -> None:
    """The files that the commands name."""
    for name, content in FILES.items():
        (root / name).write_text(yaml.safe_dump(content))
    synthetic.checkpoints(root / "f", "f")


class Trials:
    """One kind of work, done without an interruption to know its result, and then with one."""

    def __init__(self, workspace: Workspace, work: Work) -> None:
        self.workspace, self.work = workspace, work
        self._learned: tuple[Wanted, int] | None = None

    @property
    def env(self) -> dict[str, str]:
        return environment(self.workspace.home, **self.work.settings)

    def learned(self) -> tuple[Wanted, int]:
        """What is wanted, and how many changes to the disk make it."""
        if self._learned is None:
            results = []
            for _ in range(2):
                self.fresh()
                with started(self.work.words, self.env) as running:
                    running.ended().well()
                    changes = running.changes
                results.append(self.workspace.seen())
            self._learned = Wanted.of(*results), changes
        return self._learned

    def fresh(self) -> None:
        """The home as it is before the work."""
        self.workspace.place(self.workspace.after(*self.work.before))

    def killed(self, chance: random.Random) -> None:
        """All of it is killed, before a change or a moment after one."""
        wanted, changes = self.learned()
        change, later = chance.randint(1, changes), chance.choice((0.0, chance.expovariate(20)))
        self.fresh()
        with started(self.work.words, self.env, 0 if later else change) as running:
            if later:
                running.until(change)
                running.pause(later)
            else:
                running.ended()
        self.again(wanted)

    def again(self, wanted: Wanted, **more: str) -> None:
        """The same command once more: now all is there."""
        said = performed(self.work.words, self.env | more)
        said.plainly()
        if said.code and not (self.work.done and self.work.done in said.text):
            raise Failed(f"asked again, it said: {said.tail}")
        wanted.compare(self.workspace.seen(**more))
