"""From checkpoints on disk to reports, through the lake: resumable, bound to what was measured, the truth found."""

import contextlib
import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors.numpy import save_file

from panic_assets.compute.in_process import InProcessCompute
from panic_assets.errors import UserError
from panic_assets.finetunes import config, missing, stages, versions
from panic_assets.finetunes.drawing import suites, synthetic
from panic_assets.finetunes.pictures import measures
from panic_assets.finetunes.pictures.colour import encode
from panic_assets.finetunes.tables import TABLES
from panic_assets.finetunes.verdicts import manual, report
from panic_assets.lake import invariants
from panic_assets.models.load import load
from panic_assets.models.preflight import inspect
from panic_assets.problems import open_problems
from panic_assets.registry import registry
from panic_assets.tables import open_lake
from panic_assets.training import runs
from panic_assets.training.settings import Settings
from panic_assets.training.stages import converge, register_checkpoints
from panic_assets_tests.finetunes.captioned import SOUND, folder_of
from panic_assets_tests.finetunes.drawing import tiny_lora
from panic_assets_tests.models import tiny

pytestmark = pytest.mark.slow

START = datetime(2026, 1, 1, tzinfo=UTC)


class Quiet:
    """A watcher that counts."""

    def __init__(self):
        self.done = {}

    @contextlib.contextmanager
    def stage(self, name, total, unit):
        def advance(count):
            self.done[name] = self.done.get(name, 0) + count

        yield advance


def small_suite(version=1, **changes):
    raw = {
        "suite": "small",
        "version": version,
        "seeds": [1, 2, 3],
        "generation": {"size": 96},
        "prompts": [{"id": p.id, "category": p.category, "text": p.text} for p in suites.default().prompts],
    }
    return {**raw, **changes}


def setup(tmp_path, lake, name="tune", best=3, count=4, **fields):
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(fields.pop("suite_raw", small_suite())))
    raw = {"name": name, "folder": f"ckpt-{name}", "base": "Synthetic", "epochs": 10, "suite": "suite.yaml", **fields}
    tune = config.parse(raw, tmp_path)
    synthetic.checkpoints(Path(tune.folder), name, count, best)
    stages.register(lake, tune)
    register_checkpoints(lake, name, settle_seconds=0)
    return tune


def run_all(lake, name, levels=None):
    """Draws, measures and summarises; returns how much of each was done."""
    watcher, compute = Quiet(), InProcessCompute()
    stages.draw(lake, compute, watcher, lambda: None, name, levels)
    stages.measure(lake, compute, watcher, lambda: None, name)
    stages.summarise(lake, name)
    return watcher.done


@pytest.fixture
def lake(tmp_path):
    return open_lake(tmp_path / "lake")


@pytest.fixture(scope="module")
def tested(tmp_path_factory):
    """One fine-tune of ten epochs by the default plan, tested, judged and reported."""
    root = tmp_path_factory.mktemp("tested")
    lake = open_lake(root / "lake")
    setup(root, lake, best=7, count=10)
    done = run_all(lake, "tune")
    converge(lake, "tune", Settings())
    stages.write_reports(lake, Quiet(), "tune")
    return lake, done


def rows(lake, query, name="tune"):
    return lake.sql(query, training_run=name).to_pylist()


def test_the_plan_draws_fifty_prompts(tested):
    lake, done = tested
    assert done == {"drawing": 150, "measuring": 150}, "50 prompts of 3 seeds"
    by_epoch = rows(lake, "SELECT epoch, count(DISTINCT prompt) AS n FROM prompt_test_results GROUP BY 1 ORDER BY 1")
    assert [r["n"] for r in by_epoch] == [1, 1, 1, 1, 5, 1, 15, 5, 5, 15]
    assert missing.missing(lake, "tune") == {"test_images": 0, "prompt_test_results": 0, "attribute_answers": 0}


def test_the_known_best_epoch_is_found(tested):
    lake, _ = tested
    choices = {r["level"]: r for r in rows(lake, "SELECT * FROM epoch_choices")}
    deciding = next(r for r in choices.values() if r["deciding"])
    assert deciding["level"] == "medium"
    assert deciding["recommendation"] == "stop, epoch 7 is best"
    assert deciding["confidence"] > 0.9
    assert deciding["marked"]
    assert choices["full"]["epochs"] == 2
    page = rows(lake, "SELECT html FROM finetune_reports WHERE report = 'run'")[0]["html"]
    assert "stop, epoch 7 is best" in page


def test_the_blind_spot_is_named_and_nothing_else(tested):
    lake, _ = tested
    named = rows(lake, "SELECT measure, value, cells FROM weak_areas WHERE weak AND scope = 'all epochs'")
    assert [(r["measure"], r["value"]) for r in named] == [("hair", "blue")]
    issues = rows(lake, "SELECT state FROM epoch_issues WHERE issue = 'blue hair' ORDER BY epoch")
    assert [r["state"] for r in issues] == ["new"] + ["persisting"] * (len(issues) - 1)


def test_the_spine_reads_the_metrics(tested):
    lake, _ = tested
    colour = rows(lake, "SELECT epoch, value, direction, measured FROM metrics WHERE metric = 'colour' ORDER BY epoch")
    assert [r["epoch"] for r in colour] == list(range(1, 11))
    assert len({r["measured"] for r in colour}) == 10
    states = rows(lake, "SELECT epoch, state, best_epoch FROM convergence WHERE metric = 'colour' ORDER BY epoch")
    assert states[-1]["best_epoch"] in (6, 7, 8)
    assert states[-1]["state"] == "degrading"
    medium = rows(lake, "SELECT epoch FROM metrics WHERE metric = 'colour.medium' ORDER BY epoch")
    assert [r["epoch"] for r in medium] == [5, 7, 8, 9, 10]


def test_every_rule_of_every_table_holds(tested):
    lake, _ = tested
    for table in TABLES:
        assert invariants.findings(lake, table.name) == [], table.name


def test_every_row_names_what_it_measured(tested):
    lake, _ = tested
    images = {(r["checkpoint"], r["prompt"], r["seed"]): r for r in rows(lake, "SELECT * FROM test_images")}
    hashes = {r["epoch"]: r["content_hash"] for r in runs.checkpoints(lake, "tune")}
    for r in rows(lake, "SELECT * FROM prompt_test_results"):
        image = images[r["checkpoint"], r["prompt"], r["seed"]]
        assert r["image_hash"] == measures.content_hash(image["image"])
        assert r["checkpoint_hash"] == hashes[r["epoch"]]
        assert r["metric_version"] == versions.METRIC_VERSION


class Page(HTMLParser):
    """Ids, links, full values and outside references of a page."""

    def __init__(self, html):
        super().__init__()
        self.ids, self.links, self.values, self.outside, self.scripts = set(), [], [], [], 0
        self._row, self.by_row = None, {}
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if "id" in attrs:
            self.ids.add(attrs["id"])
            self._row = attrs["id"]
        if tag == "script":
            self.scripts += 1
        if attrs.get("href", "").startswith("#"):
            self.links.append(attrs["href"][1:])
        for name in ("src", "href"):
            value = attrs.get(name, "")
            if value and not value.startswith(("data:image/", "#")):
                self.outside.append(value)
        if "data-value" in attrs:
            self.values.append(attrs["data-value"])
            self.by_row.setdefault(self._row, []).append(attrs["data-value"])


def test_reports_are_whole_and_their_numbers_the_databases(tested):
    lake, _ = tested
    pages = rows(lake, "SELECT * FROM finetune_reports ORDER BY epoch NULLS FIRST")
    assert [p["report"] for p in pages] == ["run", *(f"epoch {e}" for e in range(1, 11))]
    for p in pages:
        page = Page(p["html"])
        assert page.outside == [], "opens offline"
        assert page.scripts == 0
        assert set(page.links) <= page.ids, "every statement links to a row that is there"
        averages = rows(lake, "SELECT * FROM epoch_averages")
        shown = 0
        for a in averages:
            held = page.by_row.get(report.row_id("epoch_averages", a))
            if held is not None:
                interval = ("low", "high") if a["low"] is not None else ("low",)
                assert held == [repr(a[k]) for k in ("mean", *interval, "prompts", "cells")]
                shown += 1
        assert shown == (len(averages) if p["epoch"] is None else sum(a["epoch"] == p["epoch"] for a in averages))
        for c in rows(lake, "SELECT * FROM prompt_test_results WHERE epoch = " + str(p["epoch"] or 7)):
            keys = ("colour", "mark", "background", "hair", "skin", "clothes", "grid", "sharpness")
            assert page.by_row[report.row_id("prompt_test_results", c)] == [repr(c[k]) for k in keys]


def test_a_message_says_what_is_weak_and_shows_pictures_and_the_report(tested, monkeypatch, tmp_path):
    lake, _ = tested
    monkeypatch.setenv("PANIC_HOME", str(tmp_path))
    told = stages.briefing(lake, "tune")
    assert "epoch 7" in told.sentences[0]
    assert told.sentences[1].startswith("Weak areas: ")
    assert "blue" in told.sentences[1]
    with Image.open(io.BytesIO(told.picture)) as picture:
        assert picture.size == (10 * 96, 96)
    assert Path(told.link).read_text().startswith("<!")


def test_every_cell_is_compared_with_the_earliest_that_drew_it(tested):
    lake, _ = tested
    whole = stages.material(lake, "tune")

    def against(epoch):
        page = report.html(stages.of_epoch(whole, epoch), "")
        found = re.findall(
            r"<figcaption title=[^>]*>(\S+), seed (\d+), against ([^;]+); mean difference ([\d.]+)<", page
        )
        assert all(float(difference) > 0 for *_, difference in found)
        return {(prompt, int(seed)): name for prompt, seed, name, _ in found}

    prompts = [p.id for p in suites.default().prompts]
    assert against(1) == {}, "nothing was drawn before"
    medium = {(p, s): "epoch 1" if p == prompts[0] else "epoch 5" for p in prompts[:5] for s in (1, 2, 3)}
    assert against(7) == medium
    assert against(10) == medium | {(p, s): "epoch 7" for p in prompts[5:] for s in (1, 2, 3)}
    assert against(None) == {(p, s): name for (p, s), name in medium.items() if s == 1}, "one seed a prompt, epoch 7"


def test_a_baseline_of_ones_own_choice(tested):
    lake, _ = tested
    found = missing.plan(lake, "tune")
    chosen = replace(found, config={**found.config, "baseline": {"run": "tune", "epoch": 10}})
    whole = replace(stages.material(lake, "tune"), baseline=stages.reports._baseline(lake, chosen, []))
    page = report.html(stages.of_epoch(whole, 7), "")
    assert "Epoch 7 against tune epoch 10" in page
    assert page.count("against tune epoch 10; mean difference") == 45


def test_cost_so_far_is_the_sum_of_the_rows(tested):
    lake, _ = tested
    whole = stages.material(lake, "tune")
    whole = stages.of_epoch(whole, 1)
    assert "The cost is not known" in report.html(whole, "")
    row = {"kind": "training", "card": "A40", "rate": 0.5, "estimated": False, "started_at": START}
    paid = [{**row, "epoch": n, "hours": n / 2, "cost": n / 4} for n in (1, 2)]
    page = report.html(replace(whole, costs=paid), "")
    assert "<strong>0.75</strong>" in page
    assert Page(page).by_row[report.row_id("costs", paid[1])] == ["1.0", "0.5", "0.5"]


def test_a_heat_map_is_ciede2000_pixel_by_pixel():
    first, second = np.zeros((2, 8, 8, 3), dtype=np.uint8)
    first[:] = second[:] = (0, 255, 0)
    second[:, 3] = (0, 0xC5, 0x30)
    heat = report.heat(first, second)
    assert heat.shape == (8, 8)
    assert heat[:, 3] == pytest.approx(13.9, abs=0.05)
    assert np.delete(heat, 3, axis=1).max() == 0


def test_learnings_stand_on_rows(tested):
    lake, _ = tested
    said = report.learnings(stages.material(lake, "tune"))
    assert any("epoch 7 is best" in s.text for s in said)
    assert any("blue hair" in s.text for s in said)
    page = Page(rows(lake, "SELECT html FROM finetune_reports WHERE report = 'run'")[0]["html"])
    assert {s.row for s in said} <= page.ids


def test_regeneration_is_byte_stable_but_for_the_time(tested):
    lake, _ = tested
    before = {r["report"]: r for r in rows(lake, "SELECT * FROM finetune_reports")}
    assert stages.write_reports(lake, Quiet(), "tune").rows == 0
    assert {r["report"]: r for r in rows(lake, "SELECT * FROM finetune_reports")} == before
    m = stages.of_epoch(stages.material(lake, "tune"), 5)
    one, two = report.html(m, "2026-01-01"), report.html(m, "2027-12-31")
    assert one != two
    assert one.replace("2026-01-01", "") == two.replace("2027-12-31", "")


def test_text_is_escaped(tmp_path, lake):
    suite = small_suite(prompts=[{"id": "x", "category": "colour", "text": "<script>alert(1)</script> hair (#ff0000)"}])
    setup(tmp_path, lake, suite_raw=suite, depth="quick")
    run_all(lake, "tune")
    stages.store_mark(lake, "tune", manual.Mark(1, "", "<b>ann</b>", 5, 5, 5, "<img src=x>", datetime.now(UTC)))
    for epoch in (None, 2):
        page = report.html(stages.of_epoch(stages.material(lake, "tune"), epoch), "now")
        assert "<script" not in page
        assert Page(page).outside == []
        assert "<b>ann" not in page


def test_a_killed_drawing_goes_on(tmp_path, lake):
    setup(tmp_path, lake, depth="quick")

    class Dies(InProcessCompute):
        def stream(self, *args, **kwargs):
            for n, item in enumerate(super().stream(*args, **kwargs)):
                if n == 7:
                    raise KeyboardInterrupt
                yield item

    with pytest.raises(KeyboardInterrupt):
        stages.draw(lake, Dies(), Quiet(), lambda: None, "tune")
    stored = {r["image_hash"] for r in rows(lake, "SELECT image_hash FROM test_images")}
    left = sum(map(len, missing.undrawn(lake, missing.plan(lake, "tune")).values()))
    assert left == 12 - len(stored)
    assert run_all(lake, "tune")["drawing"] == left
    assert stored <= {r["image_hash"] for r in rows(lake, "SELECT image_hash FROM test_images")}
    assert "drawing" not in run_all(lake, "tune"), "nothing is drawn twice"


def test_one_bad_checkpoint_or_one_that_is_gone_stops_no_other(tmp_path, lake):
    """A sound file of something else, and a file that was deleted to save disk, used to block all testing."""
    setup(tmp_path, lake, count=4, depth="quick")
    folder = tmp_path / "ckpt-tune"
    save_file({"something": np.ones(3)}, folder / "tune-000005.safetensors")
    register_checkpoints(lake, "tune", settle_seconds=0)
    (folder / "tune-000001.safetensors").rename(tmp_path / "elsewhere")
    assert missing.missing(lake, "tune")["test_images"] > 0
    done = run_all(lake, "tune")
    drawn = {r["epoch"] for r in rows(lake, "SELECT DISTINCT epoch FROM test_images")}
    assert drawn == {2, 3, 4}
    assert done["measuring"] == done["drawing"]
    why = [r["problem"] for r in open_problems(lake, subject="tune", source="test_images")]
    assert len(why) == 2
    assert any("has no tensor `error`" in w for w in why)
    assert any("is not a file here" in w for w in why)
    stored = open_problems(lake)
    assert missing.missing(lake, "tune")["test_images"] == 0  # Nobody is asked to draw them again and again.
    run_all(lake, "tune")
    assert open_problems(lake) == stored

    (tmp_path / "elsewhere").rename(folder / "tune-000001.safetensors")
    synthetic.checkpoints(tmp_path / "other", "tune", 6)
    (tmp_path / "other" / "tune-000005.safetensors").rename(folder / "tune-000005.safetensors")
    register_checkpoints(lake, "tune", settle_seconds=0)
    run_all(lake, "tune")
    assert {r["epoch"] for r in rows(lake, "SELECT DISTINCT epoch FROM test_images")} == {1, 2, 3, 4, 5}
    assert open_problems(lake) == []


def test_deepening_reuses_cells(tmp_path, lake):
    setup(tmp_path, lake, depth="quick")
    run_all(lake, "tune")
    before = {r["image_hash"] for r in rows(lake, "SELECT image_hash FROM test_images WHERE epoch = 3")}
    done = run_all(lake, "tune", {3: "medium"})
    assert done == {"drawing": 12, "measuring": 12}
    after = {r["image_hash"] for r in rows(lake, "SELECT image_hash FROM test_images WHERE epoch = 3")}
    assert len(after) == 15
    assert before < after
    with pytest.raises(UserError, match="did you mean 'medium'"):
        run_all(lake, "tune", {3: "medum"})


def test_a_rewritten_checkpoint_is_tested_anew(tmp_path, lake):
    tune = setup(tmp_path, lake, depth="quick")
    run_all(lake, "tune")
    old = rows(lake, "SELECT colour FROM prompt_test_results WHERE epoch = 2")
    for path in synthetic.checkpoints(Path(tune.folder), "tune", 4):
        path.unlink()
    synthetic.checkpoints(Path(tune.folder), "tune", 4, best=2)
    register_checkpoints(lake, "tune", settle_seconds=0)
    done = run_all(lake, "tune")
    assert done["drawing"] > 0
    new = rows(lake, "SELECT colour, checkpoint_hash FROM prompt_test_results WHERE epoch = 2")
    assert len(new) == len(old) == 3
    assert np.mean([r["colour"] for r in new]) > np.mean([r["colour"] for r in old])
    hashes = {r["content_hash"] for r in runs.checkpoints(lake, "tune")}
    for table in stages.BY_CHECKPOINT:
        assert {r["checkpoint_hash"] for r in rows(lake, f"SELECT checkpoint_hash FROM {table}")} <= hashes


def test_another_version_of_the_measures_measures_everything_again(tmp_path, lake, monkeypatch):
    setup(tmp_path, lake, depth="quick", count=1)
    assert run_all(lake, "tune") == {"drawing": 3, "measuring": 3}
    monkeypatch.setattr(versions, "METRIC_VERSION", "next")
    assert run_all(lake, "tune") == {"measuring": 3}
    kept = rows(lake, "SELECT DISTINCT metric_version FROM prompt_test_results")
    assert kept == [{"metric_version": "next"}], "numbers of two versions are never averaged"


def test_a_changed_suite_is_a_new_version(tmp_path, lake):
    setup(tmp_path, lake, depth="quick")
    run_all(lake, "tune")
    changed = small_suite(seeds=[7, 8, 9])
    with pytest.raises(UserError, match="needs a new version, like 2"):
        stages.store_suite(lake, "tune", suites.parse(changed, "x"))
    assert stages.store_suite(lake, "tune", suites.parse({**changed, "version": 2}, "x"))
    run_all(lake, "tune")
    active = rows(lake, "SELECT suite_hash FROM prompt_suites WHERE active")
    assert {r["suite_hash"] for r in rows(lake, "SELECT DISTINCT suite_hash FROM epoch_averages")} == {
        active[0]["suite_hash"]
    }
    assert len(rows(lake, "SELECT DISTINCT suite_hash FROM prompt_test_results")) == 2, "old cells stay"
    assert all(r["cells"] == 3 for r in rows(lake, "SELECT cells FROM epoch_averages")), "and are not averaged in"


def test_pictures_drawn_elsewhere(tmp_path, lake):
    images = tmp_path / "drawn" / "epoch-1"
    images.mkdir(parents=True)
    prompt = suites.parse(small_suite(), "x").prompts[0]
    art = synthetic.upscaled(synthetic.portrait(prompt.colours), 96)
    for seed in (1, 2, 3):
        (images / f"{prompt.id}_{seed}.png").write_bytes(encode(art))
    (images / "stranger_1.png").write_bytes(b"x")
    (images / f"{prompt.id}_4.png").write_bytes(b"x")
    (images.parent / "epoch-99").mkdir()
    (images.parent / "epoch-99" / f"{prompt.id}_1.png").write_bytes(encode(art))
    setup(tmp_path, lake, base=None, images="drawn")
    assert missing.missing(lake, "tune")["test_images"] == 3, "pictures that appear are work for the sensor"
    done = stages.draw(lake, InProcessCompute(), Quiet(), lambda: None, "tune")
    assert done.rows == 3
    assert len(done.problems) == 3
    assert missing.missing(lake, "tune")["test_images"] == 0
    assert any("no registered checkpoint" in p for p in done.problems)
    run_all(lake, "tune")
    result = rows(lake, "SELECT colour FROM prompt_test_results")
    assert [r["colour"] for r in result] == pytest.approx([100] * 3)
    other = synthetic.upscaled(synthetic.portrait({**prompt.colours, "background": "#ff0000"}), 96)
    (images / f"{prompt.id}_1.png").write_bytes(encode(other))
    again = stages.draw(lake, InProcessCompute(), Quiet(), lambda: None, "tune")
    assert again.rows == 0
    assert any("has another picture" in p for p in again.problems), "never one run's numbers for another picture"


def test_a_detector_is_asked_only_where_one_is_configured(tmp_path, lake):
    setup(tmp_path, lake, depth="medium", count=2)
    run_all(lake, "tune")
    assert rows(lake, "SELECT * FROM attribute_answers") == []
    assert all(r["accessories"] is None for r in rows(lake, "SELECT accessories FROM prompt_test_results"))
    setup(tmp_path, lake, name="asked", depth="medium", detector="Dummy", count=2)
    run_all(lake, "asked")
    answers = rows(lake, "SELECT kind, count(*) AS n FROM attribute_answers GROUP BY 1 ORDER BY 1", "asked")
    assert {r["kind"] for r in answers} == {"accessory", "expression", "prompt"}
    assert all(r["alignment"] is not None for r in rows(lake, "SELECT alignment FROM prompt_test_results", "asked"))
    assert missing.missing(lake, "asked")["attribute_answers"] == 0


def test_weights_that_are_missing_are_said_before_anything_is_drawn_or_asked(tmp_path, lake, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("panic_assets.models.preflight.CPU_LIMIT_GB", 100)
    setup(tmp_path, lake, base="SDXLTurbo", depth="quick", count=1)
    with pytest.raises(UserError, match=r"model SDXLTurbo needs the weights of .*panic model fetch SDXLTurbo"):
        stages.draw(lake, Unasked(), Quiet(), lambda: None, "tune")
    assert lake.sql("SELECT * FROM test_images").num_rows == 0
    setup(tmp_path, lake, name="seen", detector="Qwen3VL", depth="quick", count=1)
    stages.draw(lake, InProcessCompute(), Quiet(), lambda: None, "seen")
    with pytest.raises(UserError, match="model Qwen3VL needs the weights of "):
        stages.measure(lake, Unasked(), Quiet(), lambda: None, "seen")


class Unasked(InProcessCompute):
    """Inspects, and starts nothing else."""

    def stream(self, function, tasks, needs, resume=None):
        assert function is inspect
        return super().stream(function, tasks, needs, resume)


def test_pictures_name_how_their_base_ran_and_a_file_pins_its_precision(tmp_path, lake, monkeypatch):
    folder = tiny.build(tiny.PAINTERS, "SD15", tmp_path)
    monkeypatch.setenv("PANIC_MODEL_PATHS", f"SD15={folder}")
    raw = {"name": "tune", "folder": "ckpt", "base": "SD15", "precision": "bfloat16", "depth": "quick"}
    suite = small_suite(generation={"size": 32, "steps": 1})
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(suite))
    tune = config.parse({**raw, "suite": "suite.yaml"}, tmp_path)
    Path(tune.folder).mkdir()
    tiny_lora.kohya_lora(Path(tune.folder) / "tune-000001.safetensors", load(registry.get("SD15")).pipe)
    stages.register(lake, tune)
    register_checkpoints(lake, "tune", settle_seconds=0)
    compute = InProcessCompute()
    assert stages.draw(lake, compute, Quiet(), lambda: None, "tune").rows == 3
    (ran,) = rows(lake, "SELECT * FROM model_settings")
    assert (ran["model"], ran["precision"], ran["device"]) == ("SD15", "bfloat16", "cpu")
    assert rows(lake, "SELECT DISTINCT settings_id FROM test_images") == [{"settings_id": ran["settings_id"]}]
    # As if the rest were to be drawn on another card than the two that are there.
    lake.replace("model_settings", [{**ran, "placement": "offload"}], model="SD15")
    ((place, _),) = lake.partitions("test_images", training_run="tune")
    lake.replace("test_images", rows(lake, "SELECT * FROM test_images")[:2], **place)
    with pytest.raises(
        UserError, match=r"SD15 would run in bfloat16 here, but its rows so far .* bfloat16 \(offload\)"
    ):
        stages.draw(lake, compute, Quiet(), lambda: None, "tune")
    assert stages.draw(lake, compute, Quiet(), lambda: None, "tune", other_precision=True).rows == 1


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"base": "Synthetic", "precision": "nf4"}, "precision is 'nf4'; it needs a base model with weights"),
        ({"base": "SD15", "precision": "nf4"}, "model SD15 cannot be held in precision 'nf4'"),
    ],
)
def test_a_precision_that_a_base_cannot_have_is_refused(tmp_path, fields, sentence):
    with pytest.raises(UserError, match=sentence):
        config.parse({"name": "tune", **fields}, tmp_path)


def test_marks_become_metrics(tmp_path, lake):
    setup(tmp_path, lake, depth="quick", targets={"manual.style": 0.5, "colour": 2})
    run_all(lake, "tune")
    for epoch, reviewer, style in [(1, "ann", 4), (1, "bob", 6), (2, "ann", 8)]:
        stages.store_mark(lake, "tune", manual.Mark(epoch, "", reviewer, 5, style, 5, "", datetime.now(UTC)))
    stages.summarise(lake, "tune")
    style = rows(lake, "SELECT epoch, value FROM metrics WHERE metric = 'manual.style' ORDER BY epoch")
    assert [(r["epoch"], r["value"]) for r in style] == [(1, 5), (2, 8)]
    converge(lake, "tune", Settings())
    assert {r["metric"] for r in rows(lake, "SELECT metric FROM convergence")} == {"manual.style", "colour"}
    with pytest.raises(UserError, match="no checkpoint of epoch 77"):
        stages.store_mark(lake, "tune", manual.Mark(77, "", "ann", 5, 5, 5, "", datetime.now(UTC)))
    with pytest.raises(UserError, match="has no prompt"):
        stages.store_mark(lake, "tune", manual.Mark(1, "x", "ann", 5, 5, 5, "", datetime.now(UTC)))
    m = stages.material(lake, "tune")
    assert next(s for s in m.manual_spread if s["criterion"] == "style")["sd"] == pytest.approx(2**0.5)


def test_a_run_the_sensor_met_first_is_given_its_configuration(tmp_path, lake):
    runs.register(lake, runs.NewRun("tune", "finetune", {"url": "x"}, "x", status="watched"))
    done = stages.draw(lake, InProcessCompute(), Quiet(), lambda: None, "tune")
    assert "names no base model" in done.problems[0]
    setup(tmp_path, lake, depth="quick")
    assert json.loads(runs.get(lake, "tune")["config"])["base"] == "Synthetic"
    with pytest.raises(UserError, match="different depth"):
        setup(tmp_path, lake, depth="full")


def test_ab_from_trials_to_verdict(tested):
    lake, _ = tested
    count = stages.start_test(lake, "seven-vs-ten", ("tune", 10), ("tune", 7))
    assert count == 45
    shown = stages.trial_rows(lake, "seven-vs-ten")
    assert 5 < sum(r["a_left"] for r in shown) < 40
    by_hand, at = shown[:3], datetime.now(UTC)
    with lake.writer("ab_votes", training_run="tune", ab_test="seven-vs-ten") as out:
        common = {"training_run": "tune", "ab_test": "seven-vs-ten", "rater": "ann", "choice": "B", "given_at": at}
        out.add([{**common, "trial": r["trial"], "side": "right" if r["a_left"] else "left"} for r in shown[3:]])
    for row in by_hand:
        assert row in stages.open_trials(lake, "seven-vs-ten", "ann")
        stages.vote(lake, "seven-vs-ten", row["trial"], "ann", "right" if row["a_left"] else "left")
    for rater, why in (
        ("ANN ", "ann has voted on this trial already"),
        ("bob", "this trial has all the votes it needs"),
    ):
        with pytest.raises(stages.VoteRefused, match=why):
            stages.vote(lake, "seven-vs-ten", shown[0]["trial"], rater, "tie")
    told = rows(lake, "SELECT * FROM ab_results")[0]
    assert (told["a"], told["b"], told["ties"], told["blocks"]) == (0, 45, 0, 15)
    assert told["verdict"] == "use B"
    assert told["e"] >= 20
    assert stages.open_trials(lake, "seven-vs-ten", "ann") == []
    a, b = stages.trial_image(lake, shown[0], "a"), stages.trial_image(lake, shown[0], "b")
    assert (measures.content_hash(a), measures.content_hash(b)) == (shown[0]["a_image_hash"], shown[0]["b_image_hash"])
    for call, says in [
        (lambda: stages.start_test(lake, "seven-vs-ten", ("tune", 7), ("tune", 10)), "design cannot change"),
        (lambda: stages.start_test(lake, "a/b", ("tune", 7), ("tune", 10)), "test name"),
        (lambda: stages.start_test(lake, "t", ("tune", 7), ("tune", 77)), "share no drawn"),
        (lambda: stages.start_test(lake, "t", ("tune", 7), ("tune", 10), fixed_votes=46), "does not fit"),
        (lambda: stages.vote(lake, "seven-vs-ten", "x", "ann", "left"), "has no trial"),
        (lambda: stages.vote(lake, "seven-vs-ten", shown[0]["trial"], " ", "left"), "rater is blank"),
        (lambda: stages.trial_rows(lake, "seven-vs-tin"), "did you mean 'seven-vs-ten'"),
    ]:
        with pytest.raises(UserError, match=says):
            call()


def test_captions_of_a_run(tmp_path, lake):
    from panic_assets.finetunes.captions import files, rules

    folder = tmp_path / "captions"
    folder.mkdir()
    folder_of(folder, [SOUND, SOUND.replace("navy jacket", "navy jackett")])
    setup(tmp_path, lake, captions="captions", depth="quick")
    assert stages.check_run_captions(lake, "tune").rows == 1
    assert stages.check_run_captions(lake, "tune").rows == 1
    versions = lake.sql("SELECT DISTINCT version FROM captions")["version"].to_pylist()
    assert versions == [1], "checking again records nothing new"
    changes = files.repairs(files.load(folder), rules.Rules())
    batch = stages.repair_captions(lake, folder, changes)
    stages.check_captions(lake, "tune", folder, rules.Rules(), run="tune", batch=batch.id)
    found = lake.sql("SELECT version, count(*) AS n FROM caption_findings GROUP BY 1").to_pylist()
    assert found == [{"version": 1, "n": 1}]
    texts = lake.sql("SELECT version, batch FROM captions WHERE file = '001.txt' ORDER BY version").to_pylist()
    assert texts == [{"version": 1, "batch": None}, {"version": 2, "batch": batch.id}]
    for table in ("captions", "caption_findings"):
        assert invariants.findings(lake, table) == []


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ({"bse": "x"}, "did you mean 'base'"),
        ({"base": None}, "neither a base model"),
        ({"base": "Synthetc"}, "did you mean 'Synthetic'"),
        ({"base": "MiniLM"}, "accepted: Synthetic"),
        ({"depth": "deep"}, "names 'deep'"),
        ({"detector": "x"}, "detector is"),
        ({"epochs": 0}, "epochs is 0"),
        ({"scale": -1}, "scale is -1"),
        ({"baseline": {"run": "x"}}, "must name a checkpoint"),
        ({"detector": ["Jina"]}, "detector is ['Jina']"),
        ({"detector": "BLIP2"}, "accepted: Jina, Nomic, SigLIP2, CLIP, Dummy, Qwen25VL"),
        ({"detector": "Qwen3VL", "alignment": "MiniLM"}, "alignment is 'MiniLM'"),
        ({"parent": "x"}, "must name a checkpoint"),
        ({"targets": {"colour": "x"}}, "tolerance"),
        ({"image_pattern": "{x}"}, "unknown {x}"),
        ({"suite": "none.yaml"}, "cannot be read"),
        ({"name": " "}, "name is ' '"),
    ],
)
def test_bad_fine_tunes_are_refused(raw, says, tmp_path):
    with pytest.raises(UserError, match=re.escape(says)):
        config.parse({"name": "t", "base": "Synthetic", **raw}, tmp_path)


def test_the_example_is_valid(monkeypatch, tmp_path):
    monkeypatch.setenv("PANIC_HOME", str(tmp_path))
    tune = config.read(Path(__file__).parents[2] / "experiments" / "examples" / "portraits.finetune.yaml")
    assert tune.name == "portraits-demo"
    assert tune.folder == str(tmp_path.resolve() / "training" / "portraits-demo")
    from panic_assets.finetunes.drawing import depth

    assert [depth.parse(tune.stored["depth"]).count(e) for e in range(1, 11)] == [1, 1, 1, 1, 5, 1, 15, 5, 5, 15]
