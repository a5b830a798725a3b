"""The family on the graph: trained, analysed, resumed, swept, intervened on, deleted; by command, job and sensor."""

import contextlib
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from dagster._core.test_utils import create_run_for_test
from safetensors.torch import load_file, save_file

from panic_assets.checks import COMPLETE
from panic_assets.compute import choose
from panic_assets.compute.in_process import InProcessCompute
from panic_assets.definitions import SENSORS
from panic_assets.doctor import doctor
from panic_assets.errors import UserError
from panic_assets.grokking import analysis, assets, config, missing, sensors, stages
from panic_assets.grokking import tables as grokking_tables
from panic_assets.grokking.config import Intervention
from panic_assets.grokking.learning.model import Shape, initial
from panic_assets.grokking.pictures import renders
from panic_assets.grokking.spectra import pca
from panic_assets.grokking.stages import products
from panic_assets.grokking.tables import PER_CHECKPOINT
from panic_assets.house import open_house
from panic_assets.lake import invariants
from panic_assets.problems import open_problems
from panic_assets.resources import LakeResource
from panic_assets.settings import home
from panic_assets.tables import TABLES
from panic_assets.training import removal, runs, settings
from panic_assets.training import stages as spine
from panic_assets.training import tables as training_tables
from panic_assets.training.sensors import checkpoint_files
from panic_assets.training.stages import register_checkpoints
from panic_assets_tests.checked import checked
from panic_assets_tests.grokking.conftest import RUN, TINY, Silent
from panic_assets_tests.killing import interrupted

pytestmark = pytest.mark.slow

SPACE = "grokking_run"
(dropped_files,) = [sensor for sensor in SENSORS if sensor.name == "dropped_files"]


def count(lake, table, name=RUN):
    return lake.sql(f"SELECT count(*) AS n FROM {table}", training_run=name)["n"][0].as_py()


def test_the_graph_fills_every_table_by_its_rules(lake):
    empty_at_this_size = {"renders", "notifications", "costs", "grokking_abandoned"}
    for table in (*training_tables.TABLES, *grokking_tables.TABLES):
        assert invariants.findings(lake, table.name, training_run=RUN) == []
        assert count(lake, table.name) > 0 or table.name in empty_at_this_size, table.name
    assert runs.get(lake, RUN)["status"] == "finished"
    assert count(lake, "checkpoints") == count(lake, "grokking_analyses") == 7
    assert count(lake, "grokking_losses") == 61


def test_the_checks_of_a_run_say_what_its_rows_say(instance, lake):
    def said(asset, check):
        key = dg.AssetCheckKey(dg.AssetKey(asset), check)
        (record,) = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
        return record.event.dagster_event.event_specific_data

    for asset, check in (
        ("grokking_runs", "lineage_whole"),
        ("grokking_measurements", "complete"),
        ("grokking_checkpoints", "control_reproduces_parent"),
        ("grokking_trajectories", "grokking_lissajous_valid"),
    ):
        assert said(asset, check).passed, check
    (row,) = lake.sql(
        "SELECT * FROM convergence WHERE metric = 'test_accuracy' ORDER BY epoch DESC LIMIT 1", training_run=RUN
    ).to_pylist()
    state = said("grokking_convergence", "test_accuracy_state")
    assert state.passed == (row["state"] in ("continue", "plateau"))
    assert state.description == f"{row['state']}: {row['reason']}"
    assert state.metadata["best_epoch"].value == row["best_epoch"]


def test_losses_at_checkpoints_are_those_of_training(lake):
    rows = lake.sql(
        """SELECT m.metric, m.epoch, m.value, l.train_loss, l.test_loss, l.test_accuracy FROM metrics m
           JOIN grokking_losses l USING (training_run, epoch) WHERE m.metric IN ('train_loss', 'test_loss')""",
        training_run=RUN,
    ).to_pylist()
    assert len(rows) == 14
    for row in rows:
        assert row["value"] == pytest.approx(row[row["metric"]], rel=1e-4)


def test_positions_have_no_spectrum_and_the_table_says_so(lake):
    rows = lake.sql("SELECT DISTINCT k, fraction, note FROM grokking_spectra WHERE space = 'W_pos'", training_run=RUN)
    assert rows.to_pylist() == [{"k": None, "fraction": None, "note": "no token axis"}]
    pre = lake.sql("SELECT DISTINCT defined, pc1 FROM grokking_class_pca WHERE site = 'resid_pre'", training_run=RUN)
    assert pre.to_pylist() == [{"defined": False, "pc1": None}]


def test_coordinates_are_those_of_the_shares_beside_them(lake):
    """Variance along each component, over all of it, is the share that is stored apart."""
    rows = lake.sql(
        """SELECT p.matrix, p.basis, p.pc1 AS share, s.along FROM grokking_row_pca p JOIN (
               SELECT epoch, matrix, basis, sum(pc1 * pc1) / (sum(pc1 * pc1) + sum(pc2 * pc2)) AS along
               FROM grokking_row_scores WHERE matrix = 'W_pos' GROUP BY ALL) s USING (epoch, matrix, basis)
           WHERE basis = 'own'""",  # three positions have two components
        training_run=RUN,
    ).to_pylist()
    assert len(rows) == 7
    assert [r["along"] for r in rows] == pytest.approx([r["share"] for r in rows])
    last = lake.sql(
        """SELECT max(abs(abs(o.pc1) - abs(f.pc1))) AS apart, count(*) AS n FROM grokking_row_scores o
           JOIN grokking_row_scores f USING (epoch, matrix, item)
           WHERE o.basis = 'own' AND f.basis = 'final' AND epoch = 60""",
        training_run=RUN,
    ).to_pylist()[0]
    assert last == {"apart": pytest.approx(0, abs=1e-6), "n": 7 + 3 + 7 + 24 + 24 + 4 * 16}
    sizes = lake.sql(
        "SELECT site, epoch, count(*) AS n FROM grokking_centroids GROUP BY ALL ORDER BY ALL", training_run=RUN
    ).to_pylist()
    assert {(r["site"], r["n"]) for r in sizes} == {(s, 7) for s in ("attn_out", "mlp_out", "resid_post")}
    assert len(sizes) == 3 * 7


def test_threshold_and_hysteresis_are_stored_with_the_paths_and_kept(lake):
    def used():
        return lake.sql(
            "SELECT DISTINCT threshold, hysteresis FROM grokking_neuron_paths", training_run=RUN
        ).to_pylist()

    def curve():
        return lake.sql("SELECT threshold, switched FROM grokking_sensitivity ORDER BY threshold", training_run=RUN)

    before = curve()
    assert used() == [{"threshold": 0.5, "hysteresis": 0.1}]
    stages.frequencies(lake, RUN, threshold=0.2, hysteresis=0.05)
    stages.frequencies(lake, RUN)  # as every new checkpoint asks for
    assert used() == [{"threshold": 0.2, "hysteresis": 0.05}]
    assert curve() == before
    switched = lake.sql("SELECT count(*) AS n FROM grokking_neuron_paths WHERE switches > 0", training_run=RUN)["n"][0]
    assert {"threshold": 0.2, "switched": switched.as_py()} in curve().to_pylist()
    with pytest.raises(UserError, match="0 <= hysteresis <= threshold <= 1"):
        stages.frequencies(lake, RUN, threshold=0.2, hysteresis=0.3)


def test_analysing_again_does_nothing_and_a_rewritten_checkpoint_is_analysed_anew(lake):
    before = {
        r["epoch"]: r["computed_at"] for r in lake.sql("SELECT * FROM grokking_analyses", training_run=RUN).to_pylist()
    }
    assert stages.measure(lake, Silent(), lambda: None, RUN).rows == 0
    path = Path(runs.checkpoints(lake, RUN)[3]["path"])
    tensors = {n: t * 1.5 if n == "embed.W_E" else t for n, t in load_file(path).items()}
    save_file(tensors, path)
    old = spine.checkpoints_version(lake, RUN)
    register_checkpoints(lake, RUN, settle_seconds=0)
    assert spine.checkpoints_version(lake, RUN) != old  # by which Dagster sees what hangs on it as stale
    assert stages.measure(lake, Silent(), lambda: None, RUN).rows == 1
    rows = lake.sql(
        "SELECT epoch, version, current FROM checkpoints WHERE epoch = 30 ORDER BY version", training_run=RUN
    )
    assert rows.to_pylist() == [
        {"epoch": 30, "version": 1, "current": False},
        {"epoch": 30, "version": 2, "current": True},
    ]
    after = {
        r["epoch"]: r["computed_at"] for r in lake.sql("SELECT * FROM grokking_analyses", training_run=RUN).to_pylist()
    }
    assert {e for e in before if after[e] != before[e]} == {30}
    for table in (*PER_CHECKPOINT, "metrics"):
        assert invariants.findings(lake, table, training_run=RUN) == []
    hashes = lake.sql("SELECT DISTINCT measured FROM metrics WHERE epoch = 30", training_run=RUN)[
        "measured"
    ].to_pylist()
    assert hashes == [hashlib.sha256(path.read_bytes()).hexdigest()]


def test_inner_products_are_kept_and_only_those_of_what_is_new_are_made(lake, monkeypatch):
    """At first, when nothing is new, when a checkpoint is written again, and when one of the first is gone."""
    monkeypatch.setattr(products, "BLOCK", 2)

    def rows():
        found = lake.sql("SELECT * FROM grokking_products", training_run=RUN).to_pylist()
        return {(r["matrix"], r["epoch"], r["other_epoch"]): (r["content_hash"], r["product"]) for r in found}

    def agree(checkpoints):
        found = products.grams(lake, Silent(), RUN, checkpoints)
        expected = pca.grams([analysis.arrays(analysis.load(c["path"])) for c in checkpoints])
        for matrix in expected:
            np.testing.assert_allclose(found[matrix], expected[matrix], atol=1e-9)

    checkpoints = runs.checkpoints(lake, RUN)
    before = rows()
    assert len(before) == 9 * 7 * 8 / 2
    agree(checkpoints)
    assert rows() == before
    path = Path(checkpoints[3]["path"])
    save_file({n: t * 1.5 if n == "embed.W_E" else t for n, t in load_file(path).items()}, path)
    register_checkpoints(lake, RUN, settle_seconds=0)
    again = runs.checkpoints(lake, RUN)
    agree(again)
    after = rows()
    changed = again[3]["epoch"]
    assert {k: v for k, v in before.items() if changed not in k[1:]}.items() <= after.items()
    assert len(after) == len(before)
    assert {v[0] for k, v in after.items() if k[1] == changed} == {again[3]["content_hash"]}
    agree(again[1:])
    assert len(rows()) == 9 * 6 * 7 / 2


def test_a_checkpoint_of_training_that_diverged_is_said_and_left_out(lake):
    path = Path(runs.checkpoints(lake, RUN)[3]["path"])
    spoilt = "blocks.0.mlp.W_in"
    save_file({n: t * float("nan") if n == spoilt else t for n, t in load_file(path).items()}, path)
    register_checkpoints(lake, RUN, settle_seconds=0)
    measured = stages.measure(lake, Silent(), lambda: None, RUN)
    why = f"epoch 30: {path} has numbers that are infinite or NaN in {spoilt}: training diverged"
    assert (measured.rows, measured.problems) == (0, [why])
    stages.frequencies(lake, RUN)
    stages.trajectories(lake, Silent(), RUN)
    stages.conclude(lake, RUN)
    for table in ("grokking_spectra", "grokking_trajectory", "grokking_row_pca", "grokking_products"):
        found = lake.sql(f"SELECT DISTINCT epoch FROM {table} ORDER BY epoch", training_run=RUN)["epoch"].to_pylist()
        assert found == [0, 10, 20, 40, 50, 60], table


@pytest.mark.slow
def test_a_checkpoint_of_another_model_is_said_and_left_out(panic, lake, tmp_path):
    folder = tmp_path / "both"
    folder.mkdir()
    for epoch in range(6):
        made = initial(Shape(11 if epoch == 4 else 7, 16, 4, 24), epoch)
        save_file({n: t.contiguous() for n, t in made.items()}, folder / f"checkpoint_epoch_{epoch:05d}.safetensors")
    code, out, err = panic("grokking", "ingest", folder)
    assert code == 0, err
    assert "belongs to another model, with p=11" in " ".join(out.split())
    assert "the run has p=7" in " ".join(out.split())
    code, _, err = panic("grokking", "animate", "both", "trajectory")
    assert code == 0, err
    assert lake.sql("SELECT status FROM renders", training_run="both")["status"].to_pylist() == ["done"]
    for table in ("grokking_analyses", "grokking_trajectory", "grokking_spectra"):
        found = lake.sql(f"SELECT DISTINCT epoch FROM {table} ORDER BY epoch", training_run="both")["epoch"].to_pylist()
        assert found == [0, 1, 2, 3, 5], table


def test_checkpoints_that_are_all_the_same_make_no_path(lake):
    (one, *_) = runs.checkpoints(lake, RUN)
    found = products.grams(lake, Silent(), "other", [{**one, "epoch": e} for e in range(5)])
    assert pca.of_gram(pca.group_gram(found, "all")).shares is None


@pytest.mark.slow
def test_interventions_come_with_a_control_that_is_the_parent_bit_for_bit(panic, lake):
    code, out, err = panic("grokking", "intervene", RUN, "--epoch", 20, "--gain", "2:0", "--until", 50)
    assert code == 0, err
    assert "its checkpoints equal those of its parent, bit for bit" in out
    child, control = f"{RUN}-e20-k2x0", f"{RUN}-e20-control"
    assert stages.control_differs(lake, control) == []
    parent = {r["epoch"]: r["content_hash"] for r in runs.checkpoints(lake, RUN)}
    changed = {r["epoch"]: r["content_hash"] for r in runs.checkpoints(lake, child)}
    assert changed[20] == parent[20]
    assert changed[30] != parent[30]
    assert runs.lineage(lake).descendants(RUN) == sorted([child, control])
    assert lake.sql("SELECT base_run FROM grokking_outcomes", training_run=child)["base_run"][0].as_py() == RUN
    code, out, _ = panic("training", "tree")
    assert f"{child}  (from epoch 20, finished)" in out


def test_a_parent_is_not_deleted_under_its_children(panic, instance, lake):
    stages.intervene(lake, RUN, 50, Intervention(weight_decay=0.0))
    code, _, err = panic("training", "delete", RUN, "--yes")
    assert code == 2
    assert f"is the parent of {RUN}-e50-control" in err
    assert panic("training", "delete", RUN, "--tombstone", "--yes")[0] == 0
    assert runs.get(lake, RUN)["status"] == runs.TOMBSTONE
    assert runs.lineage(lake).ancestors(f"{RUN}-e50-control") == [RUN]
    assert count(lake, "checkpoints") == 0
    assert not stages.folder(RUN).exists()
    code, _, err = panic("training", "restore", RUN)
    assert code == 0, err
    assert runs.get(lake, RUN)["status"] == "finished"
    assert count(lake, "checkpoints") == 7
    assert (stages.folder(RUN) / "checkpoint_epoch_00000.safetensors").exists()

    # The delete button of the UI asks no questions: the name stays for those that started from it.
    instance.delete_dynamic_partition(SPACE, RUN)
    assert (runs.get(lake, RUN)["status"], instance.has_dynamic_partition(SPACE, RUN)) == (
        runs.TOMBSTONE,
        True,
    )
    assert count(lake, "checkpoints") == 0
    assert not stages.folder(RUN).exists()


@pytest.mark.slow
def test_the_planner_adds_epochs_and_touches_nothing_old(panic, lake):
    code, out, err = panic("grokking", "plan", RUN)
    assert code == 0, err
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in stages.folder(RUN).iterdir()}
    extra = stages.proposal(lake, RUN)
    assert extra, out
    code, out, err = panic("grokking", "plan", RUN, "--add")
    assert code == 0, err
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in before} == before
    assert set(extra) < {r["epoch"] for r in runs.checkpoints(lake, RUN)}
    assert missing.unanalysed(lake, RUN) == []


def test_a_sweep_by_command_is_paired_with_its_base(panic, lake, tmp_path):
    file = tmp_path / "pair.grokking"
    file.write_text(
        "primes: 7\nseeds: [1, 2]\ndata_seeds: 2\ntrain_fraction: 0.6\nepochs: 30\nd_model: 16\nd_mlp: 24\n"
        "checkpoints: {every: 10}\n"
    )
    code, _, err = panic("grokking", "sweep", file)
    assert code == 0, err
    rows = lake.sql("SELECT training_run, base_run FROM grokking_outcomes WHERE training_run LIKE 'pair%' ORDER BY 1")
    assert rows.to_pylist() == [
        {"training_run": "pair-p7-s1-d2", "base_run": None},
        {"training_run": "pair-p7-s2-d2", "base_run": "pair-p7-s1-d2"},
    ]
    assert {r["sweep"] for r in runs.every(lake) if r["training_run"].startswith("pair")} == {"pair"}


@pytest.mark.parametrize(
    ("count", "choice", "cards", "expected"),
    [
        (8, None, "0", "LocalCompute"),
        (8, "auto", "0", "LocalCompute"),
        (1, None, "0", "InProcessCompute"),  # nothing to run beside it
        (8, "in_process", "0", "InProcessCompute"),  # somebody chose
        (8, None, "1", "InProcessCompute"),  # with a GPU: given by the environment, and batched there
    ],
)
def test_several_runs_on_a_cpu_train_side_by_side(monkeypatch, count, choice, cards, expected):
    monkeypatch.setenv("PANIC_GPUS", cards)
    monkeypatch.delenv("PANIC_COMPUTE", raising=False)
    if choice:
        monkeypatch.setenv("PANIC_COMPUTE", choice)
    with choose.side_by_side(InProcessCompute(), count) as compute:
        assert type(compute).__name__ == expected


def test_checkpoints_of_others_are_ingested(panic, lake, tmp_path):
    folder = tmp_path / "theirs"
    folder.mkdir()
    for row in runs.checkpoints(lake, RUN):
        tensors = {n: t for n, t in load_file(row["path"]).items() if not n.startswith("adam")}
        save_file(tensors, folder / Path(row["path"]).name)
    (folder / "checkpoint_epoch_00070.safetensors").write_bytes(b"\x10" + b"\0" * 20)
    code, _, err = panic("grokking", "ingest", folder)
    assert code == 0, err
    assert count(lake, "grokking_analyses", "theirs") == 7
    (problem,) = open_problems(lake, subject="theirs")
    assert (problem["source"], problem["item"]) == (
        "grokking_checkpoints",
        str(folder / "checkpoint_epoch_00070.safetensors"),
    )
    same = """SELECT max(abs(a.concentration - b.concentration)) AS d FROM grokking_neurons a JOIN grokking_neurons b
              USING (epoch, neuron) WHERE a.training_run = 'theirs' AND b.training_run = ?"""
    assert lake.sql(same, [RUN])["d"][0].as_py() == 0


def test_costs_follow_from_measured_times_and_split_runs_by_card(panic, lake):
    (home().root / "training.yaml").write_text(
        "rates:\n  - {card: desk, price: 3600, from: 2020-01-01}\n  - {card: T4, price: 1, from: 2020-01-01}\n"
        "  - {card: storage, price: 1000, from: 2020-01-01}\n"
    )
    code, out, err = panic("training", "cost", RUN, "--early", 30)
    assert code == 0, err
    assert "no data" in out
    times = lake.sql("SELECT sum(epoch(ended_at - started_at)) AS s FROM training_times", training_run=RUN)["s"][
        0
    ].as_py()
    spent = lake.sql("SELECT sum(cost) AS c FROM costs WHERE kind = 'card'", training_run=RUN)["c"][0].as_py()
    assert spent == pytest.approx(times, rel=1e-3)
    assert not any(
        lake.sql("SELECT estimated FROM costs WHERE kind = 'card'", training_run=RUN)["estimated"].to_pylist()
    )
    assert count(lake, "costs") > 7


def test_auto_stop_waits_for_a_checkpoint(instance, lake):
    (long,) = config.parse({**TINY, "name": "long", "epochs": 100_000, "checkpoints": {"every": 20_000, "at": [40]}})
    stages.register(lake, long)
    rates = [{"card": "desk", "price": 1e6, "from": "2020-01-01"}]
    armed = settings.parse({"rates": rates, "stop": {"threshold": 0.01, "dry_run": False}})
    done = stages.train(lake, InProcessCompute(), Silent(), lambda: None, armed, [long.name])
    row = runs.get(lake, long.name)
    assert (row["status"], "reached the threshold" in row["failure"], done.rows) == ("stopped", True, 0)
    assert [r["epoch"] for r in runs.checkpoints(lake, long.name)][:2] == [0, 40]


def test_checkpoints_on_a_disk_that_is_not_shared_are_no_training(lake, tmp_path):
    class Elsewhere(InProcessCompute):
        """A worker of another machine: what it wrote is not here."""

        def stream(self, *args, **kwargs):
            for index, progress in super().stream(*args, **kwargs):
                yield index, replace(progress, saved=tuple(tmp_path / "theirs" / path.name for path in progress.saved))

    (far,) = config.parse({**TINY, "name": "far"})
    stages.register(lake, far)
    with pytest.raises(UserError, match="PANIC_HOME must be one folder"):
        stages.train(lake, Elsewhere(), Silent(), lambda: None, settings.Settings(), [far.name])
    assert runs.get(lake, far.name)["status"] == "failed"


def test_replay_and_show_say_what_the_rule_says(panic):
    code, out, _ = panic("training", "replay", RUN)
    assert code == 0
    assert "fewer than 3 points" in out
    code, out, _ = panic("training", "show", RUN)
    assert (code, "advice" in out, "7 checkpoints" in out) == (0, True, True)
    code, out, _ = panic("training", "list")
    assert (code, RUN in out, "finished" in out) == (0, True, True)
    code, _, err = panic("training", "show", RUN[:-1] + "3")
    assert code == 2
    assert f"did you mean '{RUN}'" in err


# --- sensors -----------------------------------------------------------------------------------


def tick(sensor, instance, cursor=None):
    context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"lake": LakeResource()})
    found = sensor(context)
    return found, context.cursor if isinstance(found, dg.SkipReason) else found.cursor


def test_runs_with_checkpoints_nobody_analysed_are_asked_for_once(instance, lake):
    found, _ = tick(sensors.grokking_work, instance)
    assert isinstance(found, dg.SkipReason)
    lake.remove("grokking_analyses", training_run=RUN)
    one, _ = tick(sensors.grokking_work, instance)
    two, _ = tick(sensors.grokking_work, instance)
    assert [r.partition_key for r in one.run_requests] == [RUN]
    assert one.run_requests[0].run_key == two.run_requests[0].run_key


def test_a_run_is_analysed_while_it_is_trained_and_by_one_at_a_time(instance, lake):
    def asked():
        found, _ = tick(sensors.grokking_work, instance)
        return [] if isinstance(found, dg.SkipReason) else [r.partition_key for r in found.run_requests]

    def under_way(job):
        return create_run_for_test(instance, job, status=dg.DagsterRunStatus.STARTED, tags={"dagster/partition": RUN})

    def complete():
        return checked(assets.grokking_measurements, COMPLETE, RUN)

    lake.remove("grokking_analyses", training_run=RUN)
    training = under_way("train_grokking")
    assert asked() == []  # its analyses follow
    assert not complete().passed
    assert complete().metadata["missing"].value == 7
    runs.change(lake, RUN, status="training")
    assert asked() == [RUN]
    assert complete().passed
    assert doctor.examine(open_house(instance)) == []  # nothing is wrong with that
    analysing = under_way("analyse_grokking")
    assert asked() == []
    instance.report_run_canceled(analysing)
    assert asked() == [RUN]
    runs.change(lake, RUN, status="finished")
    instance.report_run_canceled(training)
    assert asked() == [RUN]


def test_a_new_checkpoint_in_a_watched_folder_asks_for_its_analysis_unattended(instance, lake, tmp_path):
    folder = tmp_path / "watched"
    folder.mkdir()
    (home().root / "training.yaml").write_text(json.dumps({"watch": [{"family": "grokking", "url": str(folder)}]}))
    kept = [Path(row["path"]) for row in runs.checkpoints(lake, RUN)]
    asked, cursor = [], None
    for path in kept[:2]:
        (folder / path.name).write_bytes(path.read_bytes())
        _, cursor = tick(checkpoint_files, instance, cursor)  # seen, and waits to stand still
        found, cursor = tick(checkpoint_files, instance, cursor)
        assert [(e.asset_key.to_user_string(), e.partition) for e in found.asset_events] == [
            ("grokking_checkpoints", "watched")
        ]
        work, _ = tick(sensors.grokking_work, instance)
        asked += [(r.partition_key, r.run_key) for r in work.run_requests]
    assert [name for name, _ in asked] == ["watched", "watched"]
    assert asked[0] != asked[1]


def test_a_dropped_file_is_registered_and_its_training_asked_for(instance, lake, tmp_path, monkeypatch):
    monkeypatch.setenv("PANIC_EXPERIMENTS", str(tmp_path))
    (tmp_path / "new.grokking").write_text("primes: 7\nseeds: 3\ndata_seeds: 4\nepochs: 10\n")
    (tmp_path / "bad.grokking").write_text("primes: 8\nseeds: 3\ndata_seeds: 4\n")
    found, cursor = tick(dropped_files, instance)
    assert [(r.job_name, r.partition_key) for r in found.run_requests] == [("train_grokking", "new-p7-s3-d4")]
    assert instance.has_dynamic_partition(SPACE, "new-p7-s3-d4")
    again, _ = tick(dropped_files, instance, cursor)
    assert isinstance(again, dg.SkipReason)


def test_a_control_that_differs_is_found(lake):
    assert stages.control_differs(lake, RUN) is None
    parent = runs.checkpoints(lake, RUN)
    fake = f"{RUN}-e0-control"
    lake.replace(
        "training_runs",
        [{**runs.get(lake, RUN), "training_run": fake, "parent_run": RUN, "parent_epoch": 0}],
        training_run=fake,
    )
    lake.replace(
        "checkpoints",
        [{**r, "training_run": fake, "content_hash": "x" if r["epoch"] == 40 else r["content_hash"]} for r in parent],
        training_run=fake,
    )
    assert stages.control_differs(lake, fake) == [40]


# --- renders -----------------------------------------------------------------------------------


def test_a_render_is_drawn_once_finished_when_interrupted_and_renewed_when_outdated(panic, instance, lake):
    code, _, err = panic("grokking", "animate", RUN, "embedding", "--format", "gif")
    assert code == 0, err
    (row,) = lake.sql("SELECT * FROM renders", training_run=RUN).to_pylist()
    assert (row["status"], row["frames_done"]) == ("done", 7)
    event = instance.get_latest_materialization_event(dg.AssetKey("grokking_renders"))
    name = f"{RUN}-embedding.gif"
    links = event.asset_materialization.metadata["animations"].value
    assert links == f"- [{name}](/panic/files/renders/{row['render']}/{name})"
    written = Path(row["path"]).stat().st_mtime_ns
    panic("grokking", "animate", RUN, "embedding", "--format", "gif")
    assert Path(row["path"]).stat().st_mtime_ns == written

    # Interrupted: three frames are there, and stay.
    render = renders.request(lake, RUN, "ring", {"k": "2"}, "gif")
    frames = renders.folder(render) / "frames"
    frames.mkdir(parents=True)
    from PIL import Image

    for i in range(3):
        Image.new("RGB", (960, 720), "red").save(frames / f"frame_{i:05d}.png")
    renders.perform(lake, Silent(), RUN)
    done = renders.get(lake, RUN, render)
    with Image.open(done["path"]) as picture:
        first = np.asarray(picture.convert("RGB"))
        assert picture.n_frames >= 2
    assert tuple(first[0, 0]) == (255, 0, 0)

    # Outdated: a checkpoint less, and the same request is another render.
    rows = [r for r in runs.checkpoints(lake, RUN) if r["epoch"] != 60]
    lake.replace("checkpoints", rows, training_run=RUN)
    assert {r["view"] for r in renders.outdated(lake, RUN)} == {"embedding", "ring"}
    code, out, _ = panic("training", "show", RUN)
    assert (code, out.count("done, outdated")) == (0, 2)
    assert renders.request(lake, RUN, "ring", {"k": "2"}, "gif") != render
    renders.perform(lake, Silent(), RUN)
    assert renders.outdated(lake, RUN) == []


def test_renders_can_be_cancelled_and_say_why_they_failed(lake):
    queued = renders.request(lake, RUN, "spectrum", {}, "mp4")
    renders.cancel(lake, RUN, queued)
    renders.perform(lake, Silent(), RUN)
    assert renders.get(lake, RUN, queued)["status"] == "cancelled"
    with pytest.raises(UserError, match="not queued or running"):
        renders.cancel(lake, RUN, queued)
    wrong = renders.request(lake, RUN, "ring", {"k": "9"}, "html")
    assert renders.perform(lake, Silent(), RUN).problems
    failed = renders.get(lake, RUN, wrong)
    assert (failed["status"], "it must be 1 to 3" in failed["failure"]) == ("failed", True)
    assert renders.request(lake, RUN, "spectrum", {}, "mp4") == queued
    renders.perform(lake, Silent(), RUN)
    assert Path(renders.get(lake, RUN, queued)["path"]).stat().st_size > 1000
    for view, options, sentence in (("rings", {}, "did you mean 'ring'"), ("spaces", {"k": "1"}, "no option 'k'")):
        with pytest.raises(UserError, match=sentence):
            renders.request(lake, RUN, view, options, "html")


def test_a_running_render_is_seen_at_work_and_can_be_cancelled(lake):
    render = renders.request(lake, RUN, "spectrum", {}, "gif")
    seen = []

    class Impatient:
        """Looks at the render while its first frame is there, and cancels it."""

        def stage(self, name, total, unit):
            def advance(count):
                if not seen:
                    seen.append(renders.get(lake, RUN, render))
                    renders.cancel(lake, RUN, render)

            return contextlib.nullcontext(advance)

    renders.perform(lake, Impatient(), RUN)
    assert (seen[0]["status"], seen[0]["frames"]) == ("running", 7)
    assert renders.get(lake, RUN, render)["status"] == "cancelled"
    frames = sorted((renders.folder(render) / "frames").glob("*.png"))
    before = {f: f.stat().st_mtime_ns for f in frames}
    assert len(frames) == 7
    assert renders.request(lake, RUN, "spectrum", {}, "gif") == render  # asked for again: nothing is drawn twice
    times = {}

    class Watching:
        def stage(self, name, total, unit):
            return contextlib.nullcontext(lambda count: times.update({f: f.stat().st_mtime_ns for f in frames}))

    renders.perform(lake, Watching(), RUN)
    assert (renders.get(lake, RUN, render)["status"], times) == ("done", before)


def test_deleting_a_run_along_the_graph_leaves_nothing(instance, lake):
    render = renders.request(lake, RUN, "spectrum", {}, "html")
    renders.perform(lake, Silent(), RUN)
    assert renders.folder(render).exists()
    instance.delete_dynamic_partition(SPACE, RUN)  # what the delete button of the UI does
    assert not renders.folder(render).exists()
    assert not stages.folder(RUN).exists()
    assert not instance.has_dynamic_partition(SPACE, RUN)
    for table in (*training_tables.TABLES, *grokking_tables.TABLES):
        assert not list(lake.partitions(table.name, training_run=RUN)), table.name
    assert doctor.examine(open_house(instance)) == []
    assert removal.restore(open_house(instance), RUN).key == RUN
    assert (stages.folder(RUN) / "checkpoint_epoch_00000.safetensors").exists()


def change(lake, table, statement, **where):
    """Replace a table's rows of the run by what a query over them gives."""
    lake.rewrite(table, statement, (), training_run=RUN, **where)


def test_the_doctor_finds_and_repairs_what_is_wrong_with_runs(panic, instance, lake):
    assert doctor.examine(open_house(instance)) == []
    kept = (
        "checkpoints",
        "convergence",
        "grokking_losses",
        "grokking_neurons",
        "grokking_spectra",
        "grokking_lissajous",
    )
    columns = {t: ", ".join(c for c in TABLES[t].names if c != "computed_at") for t in kept}

    def stored():
        return {
            t: sorted(map(str, lake.sql(f"SELECT {columns[t]} FROM {t}", training_run=RUN).to_pylist())) for t in kept
        }

    before = stored()
    change(lake, "checkpoints", "SELECT * REPLACE (current AND epoch <> 20 AS current) FROM checkpoints")
    change(lake, "convergence", "SELECT * REPLACE (epoch + 1000 AS epoch) FROM convergence")
    change(lake, "grokking_losses", "SELECT * FROM grokking_losses WHERE epoch <> 30")
    change(lake, "grokking_neurons", "SELECT * FROM grokking_neurons WHERE epoch <> 40")
    change(lake, "grokking_spectra", "SELECT * REPLACE (fraction / 2 AS fraction) FROM grokking_spectra")
    change(lake, "grokking_lissajous", "SELECT * FROM grokking_lissajous UNION ALL FROM grokking_lissajous")
    orphan = {
        **runs.get(lake, RUN),
        "training_run": "child",
        "parent_run": "gone",
        "parent_epoch": 3,
        "status": "failed",
    }
    lake.replace("training_runs", [orphan], training_run="child")
    instance.add_dynamic_partitions(SPACE, ["ghost"])
    renders.folder("of-nobody").mkdir(parents=True)
    stages.folder("stranger").mkdir()

    found = doctor.examine(open_house(instance))
    for sentence in (
        "1 epochs at which the current version of the checkpoint is not",
        "verdicts on epochs at which the metric has no value",
        "1 runs whose losses skip or repeat epochs",
        "1 checkpoints that are marked as analysed but lack",
        "spectra whose shares do not add up to 1",
        "rows of grokking_lissajous repeat the key",
        "1 training runs whose parent has neither a row nor a tombstone",
        "Dagster has the key ghost, but there is no training run ghost",
        "training run child has rows, but Dagster has no key for it",
        "holds an animation that does not belong to a run",
        "is not registered; `panic grokking ingest` registers it",
    ):
        assert any(sentence in f.sentence for f in found), sentence

    said = "\n".join(doctor.repair(open_house(instance), found))
    for words in ("tombstone of gone", "gave training run child its key in Dagster back", "removed the key ghost"):
        assert words in said
    assert list(doctor.recompute(lake)) == [("analyse_grokking", RUN)]
    code, out, err = panic("grokking", "analyse", RUN, "--threshold", 0.4)
    assert (code, f"{RUN}: no second descent" in out) == (0, True), out + err
    assert stored() == before
    paths = lake.sql("SELECT DISTINCT threshold, hysteresis FROM grokking_neuron_paths", training_run=RUN).to_pylist()
    assert paths == [{"threshold": 0.4, "hysteresis": 0.1}]
    left = doctor.examine(open_house(instance))
    assert [(f.kind, f.sentence.split("/")[-1]) for f in left] == [
        (
            "stale",
            "stranger holds the files of a training run that is not registered; `panic grokking ingest` registers it",
        )
    ]


def test_a_deletion_that_was_interrupted_is_finished_with_its_files(instance, lake):
    interrupted(lambda: removal.delete(open_house(instance), RUN))
    assert any("was interrupted" in f.sentence for f in doctor.examine(open_house(instance)))
    list(doctor.repair(open_house(instance), doctor.examine(open_house(instance))))
    assert not stages.folder(RUN).exists()
    assert doctor.examine(open_house(instance)) == []
    removal.restore(open_house(instance), RUN)
    assert (stages.folder(RUN) / "checkpoint_epoch_00000.safetensors").exists()


def test_an_unfinished_run_is_not_extended_and_a_taken_name_is_refused(lake, panic, tmp_path):
    runs.change(lake, RUN, status="training")
    with pytest.raises(UserError, match="is training; checkpoints are added"):
        stages.add_checkpoints(lake, None, Silent(), RUN, [5])
    config = json.loads(runs.get(lake, RUN)["config"])
    file = tmp_path / "tiny.grokking"
    file.write_text("primes: 7\nseeds: 1\ndata_seeds: 2\nepochs: 61\n")
    code, _, err = panic("grokking", "train", file)
    assert code == 2
    assert "already exists with different" in err
    assert json.loads(runs.get(lake, RUN)["config"]) == config


def test_the_notebook_runs_top_to_bottom_and_shows_its_pictures(lake):
    import nbformat
    from nbclient import NotebookClient

    from panic_assets.settings import PROJECT

    notebook = nbformat.read(PROJECT / "notebooks" / "grokking.ipynb", as_version=4)
    done = NotebookClient(notebook, timeout=500, kernel_name="python3").execute()
    shown = [
        o
        for cell in done.cells
        for o in cell.get("outputs", [])
        if "application/vnd.plotly.v1+json" in o.get("data", {})
    ]
    assert len(shown) == 7
