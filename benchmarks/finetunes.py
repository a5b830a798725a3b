"""Fine-tunes: colour metrics a second, a whole report, and from a checkpoint on disk to its report.

    python -m benchmarks.finetunes [--pictures 400] [--processes 2]

Pictures are 512x512 portraits with the grain a diffusion model leaves (a few thousand to tens of thousands of
colours each). Drawing is not timed: it is the model's. Prints a Markdown table.
"""

import argparse
import contextlib
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import yaml

from panic_assets.compute.in_process import InProcessCompute
from panic_assets.finetunes import config, stages
from panic_assets.finetunes.drawing import suites, synthetic
from panic_assets.finetunes.pictures import measures
from panic_assets.finetunes.pictures.colour import decode, encode
from panic_assets.finetunes.verdicts import report
from panic_assets.tables import open_lake
from panic_assets.training.settings import Settings
from panic_assets.training.stages import converge, register_checkpoints

PROMPTS = suites.default().prompts


class Quiet:
    """Watches nothing."""

    def stage(self, *_: object) -> contextlib.AbstractContextManager[Callable[[int], None]]:
        return contextlib.nullcontext(lambda count: None)


def picture(number: int, grain: float) -> tuple[np.ndarray, dict[str, str], tuple[str, ...]]:
    """A portrait of the default suite with grain of so many grey levels, and what it should show."""
    prompt = PROMPTS[number % len(PROMPTS)]
    rng = np.random.default_rng(number)
    flat = synthetic.upscaled(synthetic.portrait(prompt.colours, prompt.accessories, prompt.expression))
    grained = np.clip(np.rint(flat + rng.normal(0, grain, flat.shape)), 0, 255).astype(np.uint8)
    return grained, dict(prompt.colours), prompt.accessories


def measure_many(numbers: list[int], grain: float, encoded: bool) -> tuple[float, float]:
    """Seconds of measuring, by the clock and of CPU, without making the pictures; decoding counts when `encoded`."""
    made = [picture(n, grain) for n in numbers]
    files = [encode(rgb) for rgb, _, _ in made] if encoded else []
    measures.measure(made[0][0], made[0][1])
    began, cpu = time.perf_counter(), time.process_time()
    for one, (rgb, colours, worn) in enumerate(made):
        measures.measure(decode(files[one]) if encoded else rgb, colours, worn)
    return time.perf_counter() - began, time.process_time() - cpu


def per_second(pictures: int, processes: int, grain: float, encoded: bool) -> tuple[float, float]:
    """Pictures a second over all processes, the slowest counting; and what undisturbed cores would do."""
    shares = [list(range(n, pictures, processes)) for n in range(processes)]
    with ProcessPoolExecutor(processes) as pool:
        seconds = list(pool.map(measure_many, shares, [grain] * processes, [encoded] * processes))
    return pictures / max(wall for wall, _ in seconds), pictures / max(cpu for _, cpu in seconds)


def full_run(folder: Path) -> dict[str, float]:
    """Seconds: one checkpoint from drawn pictures to report, then reports of 10 epochs x 15 prompts x 3 seeds."""
    lake, compute, quiet = open_lake(folder / "lake"), InProcessCompute(), Quiet()
    (folder / "tune.yaml").write_text(yaml.safe_dump({"base": "Synthetic", "folder": "ckpt", "depth": "full"}))
    tune = config.read(folder / "tune.yaml")
    synthetic.checkpoints(Path(tune.folder), "tune")
    stages.register(lake, tune)
    register_checkpoints(lake, "tune", settle_seconds=0)
    took = {}
    stages.draw(lake, compute, quiet, lambda: None, "tune")
    began = time.perf_counter()
    stages.measure(lake, compute, quiet, lambda: None, "tune")
    took["measuring 450 pictures (one process, PNG decoding and storing included)"] = time.perf_counter() - began
    stages.summarise(lake, "tune")
    converge(lake, "tune", Settings())
    began = time.perf_counter()
    report.html(stages.material(lake, "tune"), "")
    took["report of 10 epochs x 15 prompts x 3 seeds"] = time.perf_counter() - began
    synthetic.checkpoints(Path(tune.folder), "tune", best=6)
    latest = Path(tune.folder) / "tune.safetensors"
    for path in Path(tune.folder).glob("tune-*.safetensors"):
        path.unlink()
    register_checkpoints(lake, "tune", settle_seconds=0)
    stages.draw(lake, compute, quiet, lambda: None, "tune")
    began = time.perf_counter()
    stages.measure(lake, compute, quiet, lambda: None, "tune")
    stages.summarise(lake, "tune")
    converge(lake, "tune", Settings())
    whole = stages.material(lake, "tune")
    report.html(whole, "")
    report.html(stages.of_epoch(whole, 10), "")
    took[f"{latest.name}: 45 pictures measured, compared, both reports"] = time.perf_counter() - began
    return took


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--pictures", type=int, default=400)
    options.add_argument("--processes", type=int, default=2)
    asked = options.parse_args()
    print("| what | result |\n|---|---|")
    for name, grain in (("flat", 0.0), ("grain of 2", 2.0), ("grain of 4", 4.0)):
        colours = len(np.unique(picture(0, grain)[0].reshape(-1, 3), axis=0))
        for encoded in (False, True):
            rate, undisturbed = per_second(asked.pictures, asked.processes, grain, encoded)
            what = f"colour metrics, 512x512, {name} ({colours:,} colours), {asked.processes} processes"
            print(
                f"| {what}{', PNG decoding included' if encoded else ''} | {rate:.0f} pictures/s ({undisturbed:.0f} by CPU time) |",
                flush=True,
            )
    with tempfile.TemporaryDirectory() as folder:
        for what, seconds in full_run(Path(folder)).items():
            print(f"| {what} | {seconds:.1f} s |", flush=True)


if __name__ == "__main__":
    main()
