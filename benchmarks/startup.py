"""How long starting takes, in seconds of processor time: the definitions beside Dagster alone, commands that read beside
DuckDB alone. Each pair is measured by turns in one run, so that a busy machine is busy for both.

    python -m benchmarks.startup [--readme]
"""

import os
import statistics
import subprocess
import sys
import tempfile

from benchmarks._report import Report, arguments

TURNS = 7
DUCKDB = "import duckdb; duckdb.connect().execute('SELECT 1').fetchall()"
PANIC = "import sys; sys.argv[1:] = {words}; from panic_assets.cli.main import command; command()"
PAIRS = (
    ("definitions", "import panic_assets.definitions", "`import dagster`", "import dagster", "at most 1.4 times"),
    (
        '`panic query "SELECT 1"`',
        PANIC.format(words=["query", "SELECT 1"]),
        "DuckDB alone",
        DUCKDB,
        "0.5 s beside 0.2 s",
    ),
    (
        "`panic experiment list`",
        PANIC.format(words=["experiment", "list"]),
        "DuckDB alone",
        DUCKDB,
        "0.5 s beside 0.2 s",
    ),
    ("`panic run list`", PANIC.format(words=["run", "list"]), "DuckDB alone", DUCKDB, "0.5 s beside 0.2 s"),
    ("`panic model list`", PANIC.format(words=["model", "list"]), "DuckDB alone", DUCKDB, "0.5 s beside 0.2 s"),
    ("`panic --help`", PANIC.format(words=["--help"]), "DuckDB alone", DUCKDB, ""),
)


def user_seconds(code: str, folder: str) -> float:
    """Processor time, in user mode, of a Python that runs some code; its bytecode is cached, as after an installation."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment = {**kept, "PANIC_HOME": f"{folder}/home", "PYTHONPYCACHEPREFIX": f"{folder}/bytecode"}
    before = os.times().children_user
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, stdout=subprocess.DEVNULL)
    return os.times().children_user - before


def main() -> None:
    options = arguments(__doc__ or "").parse_args()
    report = Report("startup")
    report.say(f"| what | s, median of {TURNS} | beside | s | ratio | wanted |")
    report.say("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for what, code, beside, other, wanted in PAIRS:
            for warm in (code, other):
                user_seconds(warm, folder)
            turns = [(user_seconds(code, folder), user_seconds(other, folder)) for _ in range(TURNS)]
            ours, theirs = (statistics.median(column) for column in zip(*turns, strict=True))
            report.say(f"| {what} | {ours:.2f} | {beside} | {theirs:.2f} | {ours / theirs:.2f} | {wanted} |")
    if options.readme:
        report.publish()


if __name__ == "__main__":
    main()
