"""Training, full batch, resumable bit for bit; one variant, or several as one vmapped batch.

Files of a run, in its own folder:

- `checkpoint_epoch_00250.safetensors`: the nine matrices after 250 steps and AdamW's two moments of each, so that
  a child run can start from any of them as if it had never stopped
- `resume.state`: the same for the latest safe point, and every loss so far; the name keeps it apart from checkpoints

A checkpoint that exists is never written again: identical content is left alone, different content ends the
run with a sentence. So resuming and adding checkpoints to a finished run are the same thing as training.

Bits depend on the machine, on `lanes` (how many variants shared the batch) and on the number of threads, which is
one: on a CPU, variants run side by side, not vectorised, which is as fast and keeps each run's bits its own.
"""

import contextlib
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from panic_assets.errors import UserError
from panic_assets.grokking.config import FAMILY
from panic_assets.grokking.learning.gains import apply, in_force
from panic_assets.grokking.learning.model import (
    Shape,
    Weights,
    attention_out,
    grid,
    initial,
    logits,
    logits_after,
    loss_per_pair,
    one_thread,
    split,
)
from panic_assets.grokking.learning.recipe import Recipe
from panic_assets.lake.files import appearing

MOMENTS = ("adam.exp_avg.", "adam.exp_avg_sq.")
RESUME = "resume.state"
LOSSES = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")


@dataclass(frozen=True)
class State:
    """Weights after `epoch` steps with AdamW's moments."""

    epoch: int
    weights: Weights
    first: Weights
    second: Weights

    def tensors(self) -> Weights:
        out = dict(self.weights)
        for prefix, moments in zip(MOMENTS, (self.first, self.second), strict=True):
            out |= {prefix + name: tensor for name, tensor in moments.items()}
        return {name: tensor.detach().cpu().contiguous() for name, tensor in out.items()}


def shape_of_recipe(recipe: Recipe) -> Shape:
    """The sizes of the model a recipe trains."""
    return Shape(recipe.p, recipe.d_model, recipe.heads, recipe.d_mlp)


def beginning(recipe: Recipe) -> State:
    """Epoch 0: fresh weights, no moments."""
    weights = initial(shape_of_recipe(recipe), recipe.seed)
    zeros = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
    return State(0, weights, zeros, {name: tensor.clone() for name, tensor in zeros.items()})


def checkpoint_name(epoch: int) -> str:
    return FAMILY.pattern.format(epoch=epoch)


def load_state(path: Path, epoch: int) -> State:
    """A checkpoint with its moments. Refuses one that carries none (made by another program)."""
    tensors = load_file(path)
    weights = {n: t for n, t in tensors.items() if not n.startswith("adam.")}
    moments = [{n: tensors[prefix + n] for n in weights if prefix + n in tensors} for prefix in MOMENTS]
    if any(len(m) != len(weights) for m in moments):
        raise UserError(
            f"checkpoint {path.name} has no optimiser state, so no run can start from it; choose one trained here"
        )
    return State(epoch, weights, moments[0], moments[1])


@dataclass
class Variant:
    """One run to train: its recipe, folder, the epochs to save, and where it starts.

    `until` is the last epoch to reach (the recipe's own end unless an additive retrain needs less).
    """

    recipe: Recipe
    folder: Path
    save_at: frozenset[int]
    start: State | None = None
    until: int | None = None
    losses: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in LOSSES})

    @property
    def last(self) -> int:
        return self.recipe.epochs if self.until is None else self.until


@dataclass(frozen=True)
class Progress:
    """Where training stands. `saved` are the checkpoint files written since the last report."""

    epoch: int
    epochs: int
    train_loss: tuple[float, ...]
    test_loss: tuple[float, ...]
    steps_per_second: float
    eta_seconds: float
    saved: tuple[Path, ...]
    done: bool
    device: str
    lanes: int


def train(
    variants: Sequence[Variant],
    device: str = "cpu",
    lanes: int | None = None,
    safe_every: float = 20.0,
    report_every: float = 2.0,
) -> Iterator[Progress]:
    """Train variants as one batch to their end, reporting about every `report_every` seconds.

    They must agree in everything but seeds, and stand at the same epoch; with gains a variant trains alone.
    `lanes` pads the batch with copies of the first variant, so that a run first trained among others gives the
    same bits alone. A safe point is written every `safe_every` seconds; a killed run loses no more than that.
    """
    _refuse_mixture(variants)
    # On one thread sums have one order: bits do not depend on what else runs.
    with one_thread() if device == "cpu" else contextlib.nullcontext():
        yield from _train(list(variants), device, lanes or len(variants), safe_every, report_every)


def _train(
    variants: list[Variant], device: str, lanes: int, safe_every: float, report_every: float
) -> Iterator[Progress]:
    states = [_start(v) for v in variants]
    if len({s.epoch for s in states}) > 1:
        raise UserError(f"variants are at different epochs, {sorted({s.epoch for s in states})}; train them separately")
    padded = [*variants, *[variants[0]] * (lanes - len(variants))]
    batch = _Batch([v.recipe for v in padded], [*states, *[states[0]] * (lanes - len(states))], device)
    first_epoch, last = states[0].epoch, variants[0].last
    began = reported = safe = time.monotonic()
    reported_epoch, saved = first_epoch, []
    for epoch in range(first_epoch, last + 1):
        measured = batch.measure(epoch, learn=epoch < last)
        for variant, row in zip(variants, measured.tolist(), strict=False):
            for name, value in zip(LOSSES, row, strict=True):
                variant.losses[name].append(value)
            if not np.isfinite(row[0]):
                raise UserError(f"the training loss became {row[0]} at epoch {epoch}; a smaller lr may help")
        for i, variant in enumerate(variants):
            if epoch in variant.save_at:
                path = variant.folder / checkpoint_name(epoch)
                if keep(path, save(batch.state(i, epoch).tensors())):
                    saved.append(path)
        now = time.monotonic()
        if epoch == last or now - safe >= safe_every:
            for i, variant in enumerate(variants):
                _save_resume(variant, batch.state(i, epoch))
            safe = now
        if epoch == last or now - reported >= report_every:
            speed = (epoch - reported_epoch) / max(now - reported, 1e-9)
            average = (epoch - first_epoch) / max(now - began, 1e-9)
            eta = (last - epoch) / average if average else 0.0
            newest = measured[: len(variants)].tolist()
            train_loss, test_loss = (tuple(row[j] for row in newest) for j in (0, 1))
            yield Progress(epoch, last, train_loss, test_loss, speed, eta, tuple(saved), epoch == last, device, lanes)
            reported, reported_epoch, saved = now, epoch, []
        if epoch < last:
            batch.step()


class _Batch:
    """The variants' weights on the device (stacked when there are several) and their optimiser."""

    def __init__(self, recipes: Sequence[Recipe], states: Sequence[State], device: str) -> None:
        recipe = recipes[0]
        self.recipe, self.lanes = recipe, len(recipes)
        self.weights = {n: self._stack([s.weights[n] for s in states], device) for n in states[0].weights}
        for tensor in self.weights.values():
            tensor.requires_grad_(True)
        self.optimiser = torch.optim.AdamW(
            list(self.weights.values()),
            lr=recipe.lr,
            betas=recipe.betas,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        for name, tensor in self.weights.items():
            self.optimiser.state[tensor] = {
                "step": torch.tensor(float(states[0].epoch), device=device),
                "exp_avg": self._stack([s.first[name] for s in states], device),
                "exp_avg_sq": self._stack([s.second[name] for s in states], device),
            }
        self.a, self.b, self.answers = (t.to(device) for t in grid(recipe.p))
        parts = [split(r.p, r.train_fraction, r.data_seed) for r in recipes]
        self.train, self.test = (self._stack([part[j] for part in parts], device) for j in (0, 1))

    def _stack(self, tensors: list[Tensor], device: str) -> Tensor:
        return (torch.stack(tensors) if self.lanes > 1 else tensors[0].clone()).to(device)

    def measure(self, epoch: int, learn: bool) -> Tensor:
        """(lanes, 4) losses and accuracies of the weights as they stand; leaves the gradient when learning."""
        self.optimiser.zero_grad()
        gains = in_force(self.recipe.gains, epoch)
        with torch.set_grad_enabled(learn):
            if gains:
                changed = apply(attention_out(self.weights, self.a, self.b), self.recipe.p, gains)
                loss, right = self._score(logits_after(self.weights, changed[self.train]), self.train)
            else:
                loss, right = self._mapped(self._forward, self.train)
            if learn:
                loss.sum().backward()
        with torch.no_grad():
            if gains:
                test_loss, test_right = self._score(logits_after(self.weights, changed[self.test]), self.test)
            else:
                test_loss, test_right = self._mapped(self._forward, self.test)
            measured = torch.stack([loss.detach(), test_loss, right.double(), test_right.double()], -1)
        return measured.reshape(self.lanes, len(LOSSES)).cpu()

    def _mapped(self, function, index: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[no-untyped-def]  # noqa: ANN001
        return (torch.func.vmap(function) if self.lanes > 1 else function)(self.weights, index)

    def _forward(self, weights: Mapping[str, Tensor], index: Tensor) -> tuple[Tensor, Tensor]:
        return self._score(logits(weights, self.a[index], self.b[index]), index)

    def _score(self, scores: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        answers = self.answers[index]
        return loss_per_pair(scores, answers).mean(), (scores.argmax(-1) == answers).float().mean()

    def step(self) -> None:
        self.optimiser.step()

    def state(self, lane: int, epoch: int) -> State:
        """One variant's state, on the CPU."""

        def of(tensors: Mapping[str, Tensor]) -> Weights:
            return {n: (t[lane] if self.lanes > 1 else t).detach().cpu().clone() for n, t in tensors.items()}

        kept = {n: self.optimiser.state[t] for n, t in self.weights.items()}
        first, second = ({n: s[key] for n, s in kept.items()} for key in ("exp_avg", "exp_avg_sq"))
        return State(epoch, of(self.weights), of(first), of(second))


def _start(variant: Variant) -> State:
    """Where a variant goes on: its safe point, else where it was told to start, else the beginning."""
    variant.folder.mkdir(parents=True, exist_ok=True)
    resume = variant.folder / RESUME
    if variant.until is None and resume.exists():
        tensors = load_file(resume)
        with safe_open(resume, "pt") as file:
            if (file.metadata() or {}).get("recipe") != _told(variant.recipe):
                raise UserError(f"{variant.folder} holds the files of a run with another recipe; move them away first")
        losses = tensors.pop("losses")
        epoch = int(tensors.pop("epoch"))
        # The loss at the safe point is measured again, from the same weights, on the way on.
        for name, column in zip(LOSSES, losses.T.tolist(), strict=True):
            variant.losses[name][:] = column[:-1]
        weights = {n: t for n, t in tensors.items() if not n.startswith("adam.")}
        first, second = ({n: tensors[prefix + n] for n in weights} for prefix in MOMENTS)
        return State(epoch, weights, first, second)
    return variant.start or beginning(variant.recipe)


def _save_resume(variant: Variant, state: State) -> None:
    if variant.until is not None:  # an additive retrain leaves the run's own safe point alone
        return
    losses = torch.tensor([variant.losses[name] for name in LOSSES], dtype=torch.float64).T.contiguous()
    tensors = {**state.tensors(), "losses": losses, "epoch": torch.tensor(state.epoch)}
    replace_file(variant.folder / RESUME, save(tensors, {"recipe": _told(variant.recipe)}))


def _told(recipe: Recipe) -> str:
    return json.dumps(asdict(recipe), sort_keys=True)


def read_losses(folder: Path, first_epoch: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Epochs (n,) and losses (n, 4) in the order of LOSSES, of a run that starts at `first_epoch`."""
    path = folder / RESUME
    if not path.exists():
        return np.zeros(0, int), np.zeros((0, len(LOSSES)))
    losses = load_file(path)["losses"].numpy()
    return np.arange(first_epoch, first_epoch + len(losses)), losses


def replace_file(path: Path, content: bytes) -> None:
    """A reader sees the old file or the new one."""
    with appearing(path) as out:
        out.write(content)


def keep(path: Path, content: bytes) -> bool:
    """Write a checkpoint unless it exists. True when written; refuses to change one that exists."""
    if path.exists():
        if hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(content).digest():
            return False
        raise UserError(
            f"{path.name} already exists with other content than this training gives, so it was not changed; "
            "it was made on another machine or with other settings, so train there or in an empty folder"
        )
    replace_file(path, content)
    return True


def _refuse_mixture(variants: Sequence[Variant]) -> None:
    if not variants:
        raise UserError("there is no variant to train; give at least one")
    first = variants[0]
    for v in variants:
        for gain in v.recipe.gains:
            gain.check(v.recipe.p)
        if len(variants) > 1 and v.recipe.gains:
            raise UserError("a run with gains cannot be trained in a batch; train it alone")
        same = {"seed": first.recipe.seed, "data_seed": first.recipe.data_seed}
        if Recipe(**{**v.recipe.__dict__, **same}) != first.recipe or v.until != first.until:
            raise UserError("variants in one batch may differ in their seeds only; train these separately")
