"""A sound file of every kind that people write, and what reads it."""

from collections.abc import Callable
from pathlib import Path

from panic_assets.finetunes import config as finetunes
from panic_assets.finetunes.captions import rules
from panic_assets.finetunes.drawing import suites
from panic_assets.grokking import config as grokking
from panic_assets.reading import read_yaml
from panic_assets.settings import PROJECT
from panic_assets.training import settings
from panic_assets.trajectories import config as experiments

EXAMPLES = PROJECT / "experiments" / "examples"
TRAINING = """
rates:
  - {card: A40, price: 1.69, from: 2026-01-01, until: 2026-06-01}
watch:
  - {family: finetune, url: /runs/portraits, epochs: 10}
  - {family: grokking, url: s3://bucket/run7, pattern: 'step_(?P<epoch>[0-9]+).safetensors', run: run7}
targets: {grokking: {test_accuracy: 0.02}}
notify: ["mailto://me@example.org", "$SLACK_URL"]
stop: {threshold: 20, on: projected, dry_run: true}
"""
FINETUNE = """
name: portraits
folder: runs
base: Synthetic
epochs: 10
depth: {levels: {quick: 1, full: 9}, epochs: {full: [7, 10]}, otherwise: quick}
image_pattern: 'epoch-{epoch}/{prompt}_{seed}.png'
baseline: {run: older, epoch: 7}
caption_rules: {least_hex: 12, prefixes: [pixel art], words: [bespoke], tolerance: 2.5}
targets: {colour: 2.0}
parent: {run: other, epoch: 3}
card: A40
budget: 20
"""
SUITE = (Path(suites.__file__).with_name("default_suite.yaml")).read_text()
KINDS: dict[str, tuple[str, str, Callable[[Path], object]]] = {
    "experiment": ((EXAMPLES / "first.yaml").read_text(), "x.yaml", experiments.read),
    "experiment in JSON": (
        '{"networks": [["DummyT2I", "DummyI2T"]], "prompts": ["a"], "seeds": [1], "max_length": 4, '
        '"embedding_models": ["DummyText"]}',
        "x.json",
        experiments.read,
    ),
    "sweep": ((EXAMPLES / "sweep.grokking").read_text(), "x.grokking", grokking.read),
    "grokking run": ((EXAMPLES / "quick.grokking").read_text(), "x.grokking", grokking.read),
    "fine-tune": (FINETUNE, "x.finetune.yaml", finetunes.read),
    "suite": (SUITE[: SUITE.index("  - id: dark-skin")], "suite.yaml", suites.read),
    "caption rules": (
        "{rules: [typo, lips], least_hex: 3, order: [hair, eyes], words: [zig]}",
        "rules.yaml",
        lambda path: rules.parse_rules(read_yaml(path)),
    ),
    "training.yaml": (TRAINING, "training.yaml", lambda path: settings.parse(read_yaml(path) or {})),
}
