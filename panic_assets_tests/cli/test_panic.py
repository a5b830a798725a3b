"""The command as its users call it: what it prints, how it refuses, and that it escapes what it is given."""

import csv
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from panic_assets import problems
from panic_assets.cli import session
from panic_assets.lake.lake import Lake
from panic_assets.settings import home
from panic_assets.tables import open_lake
from panic_assets_tests.cli.files import write
from panic_assets_tests.conftest import Panic
from panic_assets_tests.trajectories.world import trace

pytestmark = pytest.mark.slow


def test_perform_ends_with_where_the_results_are_and_three_queries_that_work(
    panic: Panic, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    code, out, err = panic("experiment", "perform", write(tmp_path))
    assert code == 0, err
    assert "cats: 2 runs, registered" in out
    assert "models were at work" in out
    assert "panic.duckdb" in out
    queries = re.findall(r'panic query "(.*?)"', out.replace("\n", " "))
    assert len(queries) == 3
    for query in queries:
        code, out, err = panic("query", query, "--format", "json")
        assert code == 0, err
        assert json.loads(out), query
    code, out, _ = panic("experiment", "perform", tmp_path / "cats.yaml")
    assert code == 0
    assert "registered already" in out


def test_perform_from_another_directory(
    panic: Panic, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert panic("experiment", "add", "cats.yaml")[0] == 0
    monkeypatch.chdir("/")
    code, out, _ = panic("experiment", "status", "cats")
    assert code == 0
    assert "12" in out  # 2 runs of 6 invocations wanted


def test_refusals_are_one_sentence_and_register_nothing(
    panic: Panic, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    for fields, words in [
        ({"promts": ["x"]}, "unknown field 'promts'; did you mean 'prompts'?"),
        ({"max_length": 0}, "max_length is 0; it must be a whole number from 1"),
        ({"networks": [["DummyT2X"]]}, "did you mean 'DummyT2I'?"),
    ]:
        code, out, err = panic("experiment", "perform", write(tmp_path, **fields))
        assert code == 2
        assert words in " ".join(err.split())
        assert "Traceback" not in out + err
    assert not instance.has_dynamic_partition("experiment", "cats")
    code, _, err = panic("experiment", "perform", tmp_path / "absent.yaml")
    assert (code, "cannot be read" in err) == (2, True)
    code, _, err = panic("experiment", "show", "bb")
    assert (code, "has no definition" in err) == (2, True)


def test_a_setting_or_a_home_that_cannot_be_is_one_sentence(
    panic: Panic, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PANIC_COMPUTE", "gpu")
    code, out, err = panic("experiment", "resume", "a")
    assert (code, "PANIC_COMPUTE is 'gpu' (accepted: auto, in_process, local, ray)" in err) == (2, True)
    assert "Traceback" not in out + err
    monkeypatch.delenv("PANIC_COMPUTE")
    monkeypatch.setenv("PANIC_HOME", "/proc/nobody")
    code, out, err = panic("experiment", "resume", "a")
    assert (code, "PANIC_HOME is /proc/nobody, which cannot be created" in err) == (2, True)
    (tmp_path / "file").touch()
    monkeypatch.setenv("PANIC_HOME", str(tmp_path / "file"))
    for arguments in (("run", "list"), ("query", "SELECT 1"), ("experiment", "list")):
        code, _, err = panic(*arguments)
        assert (code, "which is a file; name a folder" in " ".join(err.split())) == (2, True), arguments


def test_homology_is_asked_for_on_the_command_line(panic: Panic, instance: dg.DagsterInstance, lake: Lake) -> None:
    code, _, err = panic("experiment", "resume", "a", "--metric", "cosine")
    assert (code, "metric is 'cosine'; it must be chord or angle" in err) == (2, True)
    code, _, err = panic("experiment", "resume", "a", "--metric", "angle", "--field", 3)
    assert code == 0, err
    made = "SELECT DISTINCT experiment, metric, field FROM persistence_summary ORDER BY ALL"
    assert [tuple(row.values()) for row in lake.sql(made).to_pylist()] == [("a", "angle", 3), ("b", "chord", 2)]


def test_lists_and_shows(panic: Panic, instance: dg.DagsterInstance, lake: Lake) -> None:
    code, out, _ = panic("experiment", "list")
    assert code == 0
    assert {"a", "b"} <= set(out.split())
    assert "only in a" in panic("experiment", "show", "a")[1]
    code, out, _ = panic("run", "list", "-e", "a")
    assert code == 0
    run = lake.sql("SELECT run_id FROM runs ORDER BY run_id", experiment="a")["run_id"][0].as_py()
    assert run in out
    code, out, _ = panic("run", "show", run)
    assert code == 0
    assert "DummyT2I" in out
    assert panic("run", "show", "nope")[0] == 2
    assert "DummyText" in panic("cluster", "list")[1]
    assert panic("cluster", "show", "DummyText")[0] == 0
    assert "sentence-transformers/all-MiniLM-L6-v2" in panic("model", "list")[1]
    assert "384" in panic("model", "show", "MiniLM")[1]
    code, _, err = panic("model", "show", "MiniLLM")
    assert (code, "did you mean 'MiniLM'?" in err) == (2, True)


def test_text_from_data_is_never_markup(panic: Panic, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    assert panic("experiment", "add", write(tmp_path))[0] == 0
    assert "one [red]cat[/red]" in panic("experiment", "show", "cats")[1]
    assert "[bold]x" in panic("query", "SELECT '[bold]x' AS y")[1]


def test_query_and_its_mistakes(panic: Panic, instance: dg.DagsterInstance) -> None:
    code, out, _ = panic(
        "query", "SELECT experiment, count(*) AS n FROM runs GROUP BY ALL ORDER BY ALL", "--format", "csv"
    )
    assert list(csv.reader(out.splitlines())) == [["experiment", "n"], ["a", "6"], ["b", "6"]]
    code, _, err = panic("query", "SELECT * FROM runz")
    assert (code, "DuckDB says" in err) == (2, True)
    code, _, err = panic("query", "DELETE FROM runs")
    assert (code, "read-only" in err) == (2, True)
    assert "only the first 100 rows" in panic("query", "SELECT * FROM range(101)")[1]


def test_open_problems_are_shown_and_their_texts_are_no_formulas_in_csv(
    panic: Panic, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    out = panic("query", "SELECT '=cmd|x' AS y, -1 AS n, 'a=b' AS z, '@x' AS \"+1\"", "--format", "csv")[1]
    assert list(csv.reader(out.splitlines())) == [["y", "n", "z", "'+1"], ["'=cmd|x", "-1", "a=b", "'@x"]]
    lake = open_lake(home().lake)
    problems.report(lake, "test", [problems.Problem("=cmd|' /C calc'!A0", "-1+2"), problems.Problem("b", "fine")])
    session.refresh()
    assert panic("export", "data", tmp_path, "-t", "problems", "--format", "csv")[0] == 0
    with (tmp_path / "problems.csv").open() as file:
        rows = [(r["item"], r["problem"]) for r in csv.DictReader(file)]
    assert rows == [("'=cmd|' /C calc'!A0", "'-1+2"), ("b", "fine")]
    for command in (("doctor",), ("training", "list")):
        code, out, _ = panic(*command)
        assert (code, "open problems" in out, "-1+2" in out) == (0, True, True)
    problems.report(lake, "test", [])
    session.refresh()
    assert "open problems" not in panic("doctor")[1]


def test_export(panic: Panic, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    to = tmp_path / "it's out"
    assert panic("export", "data", to, "-e", "a", "-t", "invocations", "-t", "runs", "--format", "csv")[0] == 0
    with (to / "invocations.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {r["experiment"] for r in rows} == {"a"}
    assert "output_image" not in rows[0]
    assert panic("export", "data", to)[0] == 0
    exported = duckdb.sql(
        f"SELECT count(*) FROM read_parquet('{to.as_posix().replace(chr(39), chr(39) * 2)}/runs.parquet')"
    )
    assert exported.fetchall() == [(12,)]
    code, _, err = panic("export", "data", to, "-t", "run")
    assert (code, "did you mean 'runs'?" in err) == (2, True)


def test_delete_shows_asks_deletes_and_restores(
    panic: Panic, instance: dg.DagsterInstance, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = trace(lake, "a")
    code, out, _ = panic("experiment", "delete", "a", "--dry-run")
    assert code == 0
    assert "invocations" in out
    assert "rows" in out
    assert trace(lake, "a") == before
    code, out, _ = panic("experiment", "delete", "a")
    assert "--yes" in out, "without a terminal nobody can be asked"
    assert trace(lake, "a") == before
    code, out, err = panic("experiment", "delete", "a", "--yes")
    assert code == 0, err
    assert "restore a" in out
    assert lake.manifest("invocations", experiment="a") is None
    stale = panic("cluster", "list")[1]
    assert "stale" not in stale.split("clusterings")[1], "what other experiments keep alive is rebuilt"
    assert panic("experiment", "restore", "a")[0] == 0
    assert trace(lake, "a") == before
    assert "stale" in panic("cluster", "list")[1]


def test_doctor_speaks_json_and_tells_by_its_exit_code(panic: Panic, instance: dg.DagsterInstance, lake: Lake) -> None:
    code, out, _ = panic("doctor", "--format", "json")
    assert (code, json.loads(out)) == (0, {"healthy": True, "findings": [], "problems": []})
    lake.files("embeddings", experiment="a", embedding_model="DummyText")[0].unlink()
    code, out, _ = panic("doctor", "--format", "json")
    assert code == 1
    assert json.loads(out)["findings"][0]["kind"] == "half-written"
    code, out, err = panic("doctor", "--fix")
    assert code == 0, err
    assert "healthy" in out
    assert panic("doctor")[0] == 0


@pytest.mark.slow
def test_naming_one_more_model_computes_only_what_that_adds(
    panic: Panic, instance: dg.DagsterInstance, lake: Lake, tmp_path: Path
) -> None:
    path = write(tmp_path)
    assert panic("experiment", "perform", path)[0] == 0
    old = lake.sql("SELECT * FROM embeddings ORDER BY ALL", experiment="cats")
    path = write(tmp_path, embedding_models=["DummyText", "DummyVision"])
    code, out, _ = panic("experiment", "perform", path)
    assert code == 0
    assert "embeddings DummyVision" in out
    assert "embeddings DummyText" not in out
    assert "invocations: " not in out
    again = lake.sql("SELECT * FROM embeddings ORDER BY ALL", experiment="cats", embedding_model="DummyText")
    assert again == old
    code, _, err = panic("experiment", "perform", write(tmp_path, max_length=7))
    assert (code, "is taken by an experiment with different max_length" in " ".join(err.split())) == (2, True)


def child(*words: object, **more: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "panic_assets.cli.main", *map(str, words)],
        env={**os.environ, **more},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@pytest.mark.slow
def test_the_same_experiment_twice_at_once_and_another_beside(
    panic: Panic, instance: dg.DagsterInstance, lake: Lake, tmp_path: Path
) -> None:
    same = write(tmp_path, "same.yaml", seeds=list(range(1, 9)), max_length=60)
    other = write(tmp_path, "other.yaml")
    processes = [child("experiment", "perform", f) for f in (same, same, other)]
    outputs = [p.communicate(timeout=500)[0] for p in processes]
    assert [p.returncode for p in processes] == [0, 0, 0], outputs
    assert panic("doctor")[0] == 0, panic("doctor")[1]
    numbers = lake.sql(
        "SELECT count(*) AS n, count(DISTINCT (run_id, sequence_number)) AS d FROM invocations"
    ).to_pylist()
    assert numbers[0]["n"] == numbers[0]["d"]


@pytest.mark.slow
def test_ctrl_c_loses_nothing_and_says_how_to_go_on(
    panic: Panic, instance: dg.DagsterInstance, lake: Lake, tmp_path: Path
) -> None:
    """In a terminal, with real progress bars, interrupted in the middle of the walk; then resumed."""
    path = write(tmp_path, "long.yaml", seeds=[-1] * 8, max_length=30_000, embedding_models=["DummyText"])
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "panic_assets.cli.main", "experiment", "perform", str(path)],
        stdin=slave, stdout=slave, stderr=slave, env={**os.environ, "TERM": "xterm", "COLUMNS": "150"},
    )  # fmt: skip
    os.close(slave)
    seen = b""

    def read(until: bytes, seconds: float) -> None:
        nonlocal seen
        deadline = time.monotonic() + seconds
        while until not in seen and time.monotonic() < deadline and select.select([master], [], [], 1) is not None:
            try:
                seen += os.read(master, 65536)
            except OSError:
                break

    try:
        _interrupt_in_the_middle(process, lake, read)
    finally:
        process.kill()
        process.wait()
    os.close(master)
    text = seen.decode(errors="replace")
    assert "invocations" in text
    assert "/s" in text, "the bar shows a rate"
    assert "nothing stored is lost" in " ".join(text.split())
    kept = lake.sql("SELECT count(*) AS n FROM invocations", experiment="long")["n"][0].as_py()
    assert 0 < kept < 480_000
    code, out, _ = panic("experiment", "status", "long")
    assert code == 0
    assert f"{kept:,}" in out
    assert "being worked on" not in out


def _interrupt_in_the_middle(
    process: "subprocess.Popen[bytes]", lake: Lake, read: Callable[[bytes, float], None]
) -> None:
    read(b"/480000", 300)
    deadline = time.monotonic() + 300
    while lake.manifest("invocations", experiment="long") is None and time.monotonic() < deadline:
        read(b"\0", 0.5)
    process.send_signal(signal.SIGINT)
    read(b"\0", 300)
    assert process.wait(timeout=300) == 130
