"""What decides a run's numbers, as plain data: no torch here, so that configurations are read in no time."""

from dataclasses import dataclass

from panic_assets.errors import UserError


@dataclass(frozen=True)
class Gain:
    """Multiply frequency `k` of what attention adds by `factor`, from epoch `start` until `end` (exclusive), easing
    in and out linearly over `ramp` epochs at either side of the window's inside."""

    k: int
    factor: float
    start: int
    end: int
    ramp: int = 0

    def check(self, p: int) -> None:
        """Refuse a gain that means nothing for this prime."""
        if not 1 <= self.k <= (p - 1) // 2:
            raise UserError(f"gain on frequency {self.k} is not possible; p={p} has frequencies 1 to {(p - 1) // 2}")
        if self.start >= self.end:
            raise UserError(
                f"gain on frequency {self.k} has window {self.start} to {self.end}; it must end after it starts"
            )
        if not 0 <= 2 * self.ramp <= self.end - self.start:
            raise UserError(
                f"gain on frequency {self.k} has ramp {self.ramp}; it must be 0 or more and fit twice into "
                f"its window of {self.end - self.start} epochs"
            )

    def at(self, epoch: int) -> float:
        """The factor in force at that epoch; exactly 1 outside the window."""
        if not self.start <= epoch < self.end:
            return 1.0
        if self.ramp == 0:
            return self.factor
        inside = min(epoch - self.start, self.end - 1 - epoch) + 1
        return 1.0 + (self.factor - 1.0) * min(1.0, inside / self.ramp)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a variant's numbers (on one kind of machine)."""

    p: int
    seed: int
    data_seed: int
    train_fraction: float = 0.3
    epochs: int = 25_000
    lr: float = 1e-3
    weight_decay: float = 1.0
    betas: tuple[float, float] = (0.9, 0.98)
    d_model: int = 128
    heads: int = 4
    d_mlp: int = 512
    gains: tuple[Gain, ...] = ()
