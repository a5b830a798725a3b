"""The fine-tunes workload."""

from panic_assets.finetunes import missing
from panic_assets.finetunes.config import FAMILY, SUFFIX
from panic_assets.finetunes.repair import repair
from panic_assets.finetunes.tables import TABLES
from panic_assets.training.spaces import space_of
from panic_assets.workload import Command, Drop, Workload, later

WORKLOAD = Workload(
    name="finetunes",
    purpose="Test image fine-tunes epoch by epoch: which checkpoint is best, what it draws badly, when training may stop.",
    tables=TABLES,
    graph=later("panic_assets.finetunes.graph:graph"),
    family=FAMILY,
    spaces=(space_of(FAMILY.name, own=missing.OF_RUN, makes="test_finetune", repair=repair),),
    drops=(Drop((SUFFIX,), "fine-tune", later("panic_assets.finetunes.jobs:dropped")),),
    commands=(
        Command(
            "finetune",
            "panic_assets.finetunes.commands:app",
            "Test image fine-tunes epoch by epoch: reports, advice, blind votes, checks of captions.",
        ),
    ),
    demo=(
        "python -m panic_assets.finetunes.drawing.synthetic portraits-demo",
        "panic finetune add experiments/examples/portraits.finetune.yaml",
        "panic finetune test portraits-demo",
        "panic finetune report portraits-demo",
    ),
)
