"""The grokking workload."""

from panic_assets.grokking import missing
from panic_assets.grokking.config import FAMILY, SUFFIX
from panic_assets.grokking.repair import repair
from panic_assets.grokking.rules import RULES
from panic_assets.grokking.tables import TABLES
from panic_assets.training.spaces import space_of
from panic_assets.workload import Command, Drop, Workload, later

WORKLOAD = Workload(
    name="grokking",
    purpose="Train small transformers on modular addition, and analyse what their weights do at every checkpoint.",
    tables=TABLES,
    rules=RULES,
    graph=later("panic_assets.grokking.graph:graph"),
    family=FAMILY,
    spaces=(space_of(FAMILY.name, own=missing.OF_RUN, makes="analyse_grokking", repair=repair),),
    drops=(
        Drop((SUFFIX,), "training runs", later("panic_assets.grokking.registration:dropped"), job="train_grokking"),
    ),
    commands=(
        Command(
            "grokking",
            "panic_assets.grokking.commands:app",
            "Train small transformers on modular addition, and analyse their weights at every checkpoint.",
        ),
    ),
    demo=(
        "panic grokking train experiments/examples/quick.grokking",
        "panic grokking animate quick-p23-s999-d598 ring --format gif",
    ),
)
