"""Which run started from which checkpoint: a forest of runs. Nothing in it is guessed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from panic_assets.errors import UserError, shown, suggest

OnDelete = Literal["block", "tombstone"]


@dataclass(frozen=True)
class Parent:
    """Where a run started: another run's checkpoint."""

    run: str
    epoch: int


class Lineage:
    """The forest of training runs. Built from (run, parent or None); refuses cycles and missing parents."""

    def __init__(self, runs: Mapping[str, Parent | None]) -> None:
        self._parents = dict(runs)
        for run, parent in self._parents.items():
            if parent is not None and parent.run not in self._parents:
                raise UserError(
                    f"run {shown(run)} names parent {shown(parent.run)}, which is not registered"
                    f"{suggest(parent.run, self._parents)}"
                )
        self._children: dict[str, list[str]] = {run: [] for run in self._parents}
        for run, parent in self._parents.items():
            if parent is not None:
                self._children[parent.run].append(run)
        self._refuse_cycles()

    def _refuse_cycles(self) -> None:
        sound: set[str] = set()
        for start in self._parents:
            path: list[str] = []
            at: str | None = start
            while at is not None and at not in sound:
                if at in path:
                    cycle = " -> ".join([*path[path.index(at) :], at])
                    raise UserError(f"a run cannot descend from itself: {cycle}; give one of them another parent")
                path.append(at)
                parent = self._parents[at]
                at = None if parent is None else parent.run
            sound.update(path)

    def _known(self, run: str) -> str:
        if run not in self._parents:
            raise UserError(f"there is no training run {shown(run)}{suggest(run, self._parents)}")
        return run

    def parent(self, run: str) -> Parent | None:
        """The checkpoint `run` started from; None for a root."""
        return self._parents[self._known(run)]

    def children(self, run: str) -> list[str]:
        """Runs started directly from one of `run`'s checkpoints, by name."""
        return sorted(self._children[self._known(run)])

    def roots(self) -> list[str]:
        """Runs without a parent, by name."""
        return sorted(run for run, parent in self._parents.items() if parent is None)

    def ancestors(self, run: str) -> list[str]:
        """From the direct parent up to the root."""
        out: list[str] = []
        parent = self.parent(run)
        while parent is not None:
            out.append(parent.run)
            parent = self._parents[parent.run]
        return out

    def descendants(self, run: str) -> list[str]:
        """Every run below, parents before children, siblings by name."""
        out: list[str] = []
        waiting = self.children(run)
        while waiting:
            at = waiting.pop(0)
            out.append(at)
            waiting = self.children(at) + waiting
        return out

    def with_run(self, run: str, parent: Parent | None, epochs_of_parent: Iterable[int] | None = None) -> "Lineage":
        """A lineage with one more run (or the same run again, unchanged). Refuses what would not be a tree.

        `epochs_of_parent`, where given, are the epochs at which the parent has checkpoints.
        """
        if parent is not None:
            self._known(parent.run)
            epochs = None if epochs_of_parent is None else sorted(epochs_of_parent)
            if epochs is not None and parent.epoch not in epochs:
                near = min(epochs, key=lambda e: abs(e - parent.epoch)) if epochs else None
                raise UserError(
                    f"run {shown(parent.run)} has no checkpoint at epoch {parent.epoch}"
                    + ("" if near is None else f"; the nearest is at {near}")
                )
        if run in self._parents and self._parents[run] != parent:
            raise UserError(f"run {shown(run)} already exists with another parent; give the new run another name")
        return Lineage({**self._parents, run: parent})

    def on_delete(self, run: str, mode: OnDelete = "block") -> Literal["remove", "tombstone"]:
        """What deleting `run` means: `remove` if no run started from it; else it is refused, or leaves a tombstone."""
        children = self.children(run)
        if not children:
            return "remove"
        if mode == "tombstone":
            return "tombstone"
        raise UserError(
            f"run {shown(run)} is the parent of {', '.join(children)}; delete those first, or leave a tombstone, which "
            "keeps the name and lineage of the run and deletes its rows and files"
        )
