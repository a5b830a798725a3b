"""The family on the graph: tested, reported, deleted; by command, job and sensor; votes in a real browser."""

import http.client
import json
import shutil
import socket
import threading
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest
import uvicorn
import yaml
from dagster._core.test_utils import create_run_for_test

from panic_assets.checks import COMPLETE
from panic_assets.cli.performing import materialise
from panic_assets.definitions import SENSORS, build
from panic_assets.errors import UserError
from panic_assets.finetunes import assets, checks, jobs, missing, sensors, stages, tables
from panic_assets.finetunes.ab import voting
from panic_assets.finetunes.captions import rules as captions
from panic_assets.finetunes.drawing import synthetic
from panic_assets.finetunes.verdicts.manual import Mark
from panic_assets.house import open_house
from panic_assets.lake import invariants
from panic_assets.resources import LakeResource
from panic_assets.settings import home
from panic_assets.tables import open_lake
from panic_assets.training import removal, runs
from panic_assets.web import listening
from panic_assets_tests.checked import checked
from panic_assets_tests.finetunes.captioned import SOUND, folder_of
from panic_assets_tests.finetunes.conftest import RUN, small_suite, write_tune

pytestmark = pytest.mark.slow

(dropped_files,) = [sensor for sensor in SENSORS if sensor.name == "dropped_files"]


def rows(lake, query, name=RUN):
    return lake.sql(query, training_run=name).to_pylist()


def test_the_job_tests_judges_and_reports(instance, home_lake):
    assert missing.missing(home_lake, RUN) == {"test_images": 0, "prompt_test_results": 0, "attribute_answers": 0}
    deciding = rows(home_lake, "SELECT * FROM epoch_choices WHERE deciding")[0]
    assert deciding["recommendation"] == "stop, epoch 3 is best"
    assert rows(home_lake, "SELECT best_epoch FROM advice") == [{"best_epoch": 3}], (
        "the spine was asked after the metrics"
    )
    page = rows(home_lake, "SELECT html FROM finetune_reports WHERE report = 'run'")[0]["html"]
    assert "Convergence rule after epoch 5" in page, "the report came after the advice"
    for table in tables.TABLES:
        assert invariants.findings(home_lake, table.name) == [], table.name
    event = instance.get_latest_materialization_event(dg.AssetKey("finetune_reports"))
    metadata = event.asset_materialization.metadata
    assert "stop, epoch 3 is best" in metadata["report"].value
    assert metadata["recommendation"].value == "stop, epoch 3 is best"
    pictures = instance.get_latest_materialization_event(dg.AssetKey("test_images")).asset_materialization.metadata
    assert pictures["pictures"].value.startswith(
        "![the first picture of each of the latest epochs](data:image/jpeg;base64,"
    )
    assert len(pictures["pictures"].value) < 50_000


def same_pictures():
    check = checks.pictures_are_what_was_measured
    return check.op.compute_fn.decorated_fn(SimpleNamespace(partition_key=RUN), LakeResource())


def test_the_checks_pass_and_notice(instance, home_lake):
    asked = [
        dg.AssetCheckKey(dg.AssetKey(asset), name)
        for asset, name in (
            ("test_images", COMPLETE),
            ("image_metrics", COMPLETE),
            ("image_metrics", "pictures_are_what_was_measured"),
            ("captions", "captions_valid"),
        )
    ]
    ran = instance.event_log_storage.get_latest_asset_check_execution_by_key(asked)
    assert set(ran) >= set(asked), "the job ran them"
    assert checked(assets.test_images, COMPLETE, RUN).passed
    assert same_pictures().passed
    stored = rows(home_lake, "SELECT * FROM test_images WHERE epoch = 2")
    spoiled = [{**r, "image": b"other"} if i == 0 else r for i, r in enumerate(stored)]
    home_lake.replace("test_images", spoiled, training_run=RUN, checkpoint=stored[0]["checkpoint"])
    found = same_pictures()
    assert not found.passed
    assert found.metadata["changed"].value == 1
    home_lake.replace("test_images", stored[3:], training_run=RUN, checkpoint=stored[0]["checkpoint"])
    left = checked(assets.test_images, COMPLETE, RUN)
    assert not left.passed
    assert left.description == "tune lacks 3 of 75 pictures"


def sensed(sensor, instance, cursor=None):
    context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"lake": LakeResource()})
    return sensor(context), context


def test_unattended_from_a_dropped_file_to_a_report(instance, home_lake, tmp_path, monkeypatch):
    """A file, checkpoints that appear, and the two sensors: nobody else does anything."""
    dropped = tmp_path / "experiments"
    dropped.mkdir()
    monkeypatch.setenv("PANIC_EXPERIMENTS", str(dropped))
    write_tune(dropped, "alone", depth="quick")
    (dropped / "bad.finetune.yaml").write_text("base: Nothing")
    told, context = sensed(dropped_files, instance)
    assert "bad.finetune.yaml is refused: " in told.skip_message
    assert runs.find(home_lake, "bad") is None
    assert "alone" in instance.get_dynamic_partitions("finetune_run")
    told, again = sensed(dropped_files, instance, context.cursor)
    assert again.cursor == context.cursor, "each version of a file is tried once"

    first, context = sensed(sensors.finetune_work, instance)
    assert isinstance(first, dg.SkipReason), "files must stand still for two looks"
    second, context = sensed(sensors.finetune_work, instance, context.cursor)
    assert [r.partition_key for r in second.run_requests] == ["alone"]
    assert [e.partition for e in second.asset_events] == ["alone"]
    third, _ = sensed(sensors.finetune_work, instance, second.cursor)
    assert {r.run_key for r in third.run_requests} == {r.run_key for r in second.run_requests}, "asked for once"
    at_it = create_run_for_test(
        instance, "test_finetune", status=dg.DagsterRunStatus.STARTED, tags={"dagster/partition": "alone"}
    )
    busy, _ = sensed(sensors.finetune_work, instance, second.cursor)
    assert isinstance(busy, dg.SkipReason), "cells go one by one: each tick sees others missing"
    instance.report_run_canceled(at_it)
    materialise(instance, "test_finetune", "alone", "alone")
    assert len(rows(home_lake, "SELECT report FROM finetune_reports", "alone")) == 6
    done, context = sensed(sensors.finetune_work, instance, second.cursor)
    assert isinstance(done, dg.SkipReason)
    synthetic.checkpoints(dropped / "ckpt", "alone", 6, best=5)
    _, context = sensed(sensors.finetune_work, instance, second.cursor)
    woken, _ = sensed(sensors.finetune_work, instance, context.cursor)
    assert [r.partition_key for r in woken.run_requests] == ["alone"], "new and rewritten checkpoints are tested"


def test_what_is_done_is_not_done_again(instance, home_lake):
    before = {r["image_hash"] for r in rows(home_lake, "SELECT image_hash FROM test_images")}
    made = rows(home_lake, "SELECT report, made_at FROM finetune_reports")
    again = [dg.AssetKey(name) for name in ("test_images", "image_metrics", "finetune_reports")]
    job = build().resolve_job_def("test_finetune")
    assert job.execute_in_process(instance=instance, partition_key=RUN, asset_selection=again).success
    assert {r["image_hash"] for r in rows(home_lake, "SELECT image_hash FROM test_images")} == before
    assert rows(home_lake, "SELECT report, made_at FROM finetune_reports") == made, "nothing changed, nothing rewritten"


def test_deleting_the_run_takes_everything_with_it(instance, home_lake):
    stages.start_test(home_lake, "t", (RUN, 5), (RUN, 3))
    folder = home().root / "captions"
    folder.mkdir()
    folder_of(folder, [SOUND])
    stages.check_captions(home_lake, RUN, folder, captions.Rules(), run=RUN)
    stages.store_mark(home_lake, RUN, Mark(3, "", "ann", 8.0, 7.0, 9.0, "", datetime.now(UTC)))
    removal.delete(open_house(instance), RUN, "block")
    for table in tables.TABLES:
        left = open_lake(home().lake).sql(f"SELECT count(*) AS n FROM {table.name}")["n"][0].as_py()
        assert left == 0, table.name


def test_jobs_do_what_the_commands_do(instance, home_lake):
    def perform(name, op, **config):
        job = build().resolve_job_def(name)
        return job.execute_in_process(
            instance=instance, run_config={"ops": {op: {"config": config}}}, raise_on_error=False
        ).success

    text = yaml.safe_dump({"name": "other", "base": "Synthetic", "depth": "quick"})
    assert perform("add_finetune", "add_finetune_op", definition=text)
    assert missing.plan(home_lake, "other").suite.name == "portraits"
    assert not perform("add_finetune", "add_finetune_op", definition="base: 3")
    marks = {"reviewer": "ann", "visual": 8.0, "style": 7.0, "prompt": 9.0}
    assert perform("mark_finetune", "mark_finetune_op", run=RUN, epoch=3, **marks)
    assert rows(home_lake, "SELECT value FROM metrics WHERE metric = 'manual'") == [{"value": 8.0}]
    assert not perform("mark_finetune", "mark_finetune_op", run=RUN, epoch=3, **{**marks, "visual": 11.0})
    pair = {"a_run": RUN, "a_epoch": 5, "b_run": RUN, "b_epoch": 3}
    assert perform("start_ab_test", "start_ab_test_op", test="t", **pair)
    trial = stages.trial_rows(home_lake, "t")[0]
    vote = {"test": "t", "trial": trial["trial"], "rater": "ann", "side": "left"}
    assert perform("vote_ab_test", "vote_ab_test_op", **vote)
    assert rows(home_lake, "SELECT votes FROM ab_results") == [{"votes": 1}]
    assert not perform("repair_captions", "repair_captions_op", run=RUN)
    assert {j.name for j in jobs.JOBS} == {
        "test_finetune", "add_finetune", "mark_finetune", "start_ab_test", "vote_ab_test", "repair_captions",
    }  # fmt: skip


def test_captions_are_repaired_from_the_graph(instance, home_lake, tmp_path):
    folder = tmp_path / "captions"
    folder.mkdir()
    folder_of(folder, [SOUND.replace("navy jacket", "navy jackett")])
    jobs.add(
        instance,
        LakeResource(),
        jobs.tunes.parse({"name": "cap", "base": "Synthetic", "captions": "captions"}, tmp_path),
    )
    perform = build().resolve_job_def("repair_captions").execute_in_process
    before = (folder / "000.txt").read_bytes()
    assert perform(instance=instance, run_config={"ops": {"repair_captions_op": {"config": {"run": "cap"}}}}).success
    assert (folder / "000.txt").read_text().strip() == SOUND
    found = home_lake.sql("SELECT version, batch FROM captions WHERE caption_set = 'cap'").to_pylist()
    config = {"run": "cap", "undo": found[-1]["batch"]}
    assert perform(instance=instance, run_config={"ops": {"repair_captions_op": {"config": config}}}).success
    assert (folder / "000.txt").read_bytes() == before


def test_the_commands(panic, home_lake, tmp_path, monkeypatch):
    path = write_tune(tmp_path, "mine", depth="quick")
    code, out, err = panic("finetune", "add", path)
    assert code == 0, err
    assert "mine registered" in out
    assert "is registered already" in panic("finetune", "add", path)[1]
    code, out, err = panic("finetune", "watch", "mine", "--once", "--every", 0.1)
    assert code == 0, err
    assert "epoch 3 is best" in out
    code, out, _ = panic("finetune", "list")
    assert "mine" in out
    assert RUN in out
    code, out, err = panic("finetune", "test", RUN, "--epoch", 2, "--level", "ful")
    assert code == 2
    assert "did you mean 'full'" in err
    code, out, _ = panic("finetune", "weak", RUN)
    assert "blue hair" in out
    assert "weak" in out
    opened = []
    monkeypatch.setattr("typer.launch", opened.append)
    code, out, err = panic("finetune", "report", RUN, "--epoch", 3, "--to", tmp_path / "r.html", "--open")
    assert code == 0, err
    assert opened == [str(tmp_path / "r.html")]
    assert (tmp_path / "r.html").read_text().lstrip().startswith("<!doctype html>")
    assert "there is no report of epoch 9" in panic("finetune", "report", RUN, "--epoch", 9)[2]
    marks = ("--visual", 8, "--style", 7, "--prompt", 9)
    panic("finetune", "score", RUN, "--epoch", 3, "--reviewer", "ann", *marks)
    code, out, _ = panic(
        "finetune", "score", RUN, "--epoch", 3, "--reviewer", "bob", "--visual", 6, "--style", 7, "--prompt", 9
    )
    assert "differ by 2.0 in visual" in out
    assert "visual score is 11" in panic("finetune", "score", RUN, "--epoch", 3, "--reviewer", "x", "--visual", 11)[2]
    assert "no training run 'tun'; did you mean 'tune'?" in panic("finetune", "weak", "tun")[2]


def test_the_caption_commands(panic, tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    folder_of(folder, [SOUND, SOUND.replace("navy jacket", "navy jackett")])
    code, out, err = panic("finetune", "captions", folder)
    assert code == 0, err
    assert "1 findings in 1 of 2 captions" in out
    code, out, _ = panic("finetune", "captions", folder, "--repair")
    assert "+pixel art" in out
    assert "no terminal" in out
    assert "jackett" in (folder / "001.txt").read_text()
    code, out, _ = panic("finetune", "captions", folder, "--repair", "--yes")
    assert "0 findings in 0 of 2 captions" in out
    batch = out.split("--undo ")[1].split()[0]
    code, out, _ = panic("finetune", "captions", folder, "--undo", batch)
    assert "jackett" in (folder / "001.txt").read_text()
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules: [lips]")
    assert "0 findings" in panic("finetune", "captions", folder, "--rules", rules)[1]


def test_the_ab_commands(panic, home_lake):
    code, out, err = panic("finetune", "ab", "start", "t", f"{RUN}@5", f"{RUN}@3")
    assert code == 0, err
    assert "15 trials" in out
    assert "must be run@epoch" in panic("finetune", "ab", "start", "u", RUN, f"{RUN}@3")[2]
    code, out, _ = panic("finetune", "ab", "trials", "t", "--rater", "ann")
    pictures = list((home().root / "ab" / "t").glob("*.png"))
    assert len(pictures) == 30
    assert RUN not in out.replace(str(home().root), ""), "no name of a checkpoint"
    trial = stages.trial_rows(home_lake, "t")[0]["trial"]
    assert panic("finetune", "ab", "vote", "t", "--trial", trial, "--side", "left", "--rater", "ann")[0] == 0
    code, out, _ = panic("finetune", "ab", "result", "t")
    assert "1 of 15" in out
    assert "not decided yet" in out
    assert "anytime" in panic("finetune", "ab", "result", "t")[1]
    assert "t" in panic("finetune", "ab", "list")[1]


def test_labelled_pictures_give_precision_and_recall(panic, tmp_path):
    from panic_assets.finetunes.pictures.colour import encode

    for n, worn in enumerate(((), ("hat",))):
        (tmp_path / f"{n}.png").write_bytes(encode(synthetic.portrait({}, worn)))
    (tmp_path / "labels.csv").write_text("image,name,present\n0.png,hat,no\n1.png,hat,yes\n1.png,smile,no\n")
    code, out, err = panic("finetune", "detect", tmp_path / "labels.csv", "--detector", "Dummy")
    assert code == 0, err
    assert "hat" in out
    assert "smile" in out
    (tmp_path / "labels.csv").write_text("image,name,present\n0.png,hatt,no\n")
    assert "line 2" in panic("finetune", "detect", tmp_path / "labels.csv", "--detector", "Dummy")[2]


@contextmanager
def open_booth(lake, test="t"):
    """The port of a booth's server, which runs in a thread as the command runs it in its process."""
    booth = voting.Booth(lake, test)
    with listening.listen("127.0.0.1", 0) as served:
        server = uvicorn.Server(listening.configured(voting.guarded(booth)))
        thread = threading.Thread(target=server.run, args=([served],))
        thread.start()
        try:
            yield served.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


JSON = {"Content-Type": "application/json"}


def ask(port, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    connection.request(method, path, body, {**JSON, **headers})
    answer = connection.getresponse()
    return answer.status, answer.read(), {k.lower(): v for k, v in answer.getheaders()}


def test_the_booth_tells_nothing_and_obeys_nobody_else(instance, home_lake):
    stages.start_test(home_lake, "t", (RUN, 5), (RUN, 3))
    with pytest.raises(UserError, match="there is no A/B test"):
        voting.Booth(home_lake, "none")
    with open_booth(home_lake) as port:
        status, body, _ = ask(port, "GET", "/next?rater=ann")
        told = json.loads(body)
        assert set(told) == {"trial", "prompt", "first", "second", "left", "total"}
        row = next(r for r in stages.trial_rows(home_lake, "t") if r["trial"] == told["trial"])
        for secret in (RUN, row["a_image_hash"], row["b_image_hash"], "epoch", "checkpoint"):
            assert secret not in body.decode()
        assert row["seed"] not in told.values()
        assert str(row["seed"]) not in told.values()
        for name in (told["first"], told["second"]):
            status, picture, headers = ask(port, "GET", f"/picture/{name}")
            assert status == 200
            assert headers["cache-control"] == "no-store"
            assert "last-modified" not in headers
            assert b"tEXt" not in picture, "no metadata"
        cast = json.dumps({"trial": told["trial"], "rater": "ann", "side": "left"})
        assert ask(port, "POST", "/vote", cast, Origin="http://evil.example")[0] == 403
        assert ask(port, "POST", "/vote", cast, **{"Content-Type": "text/plain"})[0] == 415
        assert ask(port, "POST", "/vote", cast, Host="evil.example")[0] == 421
        assert ask(port, "GET", "/", Host="evil.example")[0] == 421
        assert ask(port, "POST", "/vote", "x" * 5000)[0] == 413
        status, body, _ = ask(port, "POST", "/vote", "not json")
        assert (status, json.loads(body)["error"]) == (
            400,
            "the vote cannot be read; it must be a JSON object with trial, rater and side",
        )
        assert ask(port, "POST", "/vote", json.dumps({"trial": told["trial"], "rater": "ann", "side": "up"}))[0] == 400
        assert rows(home_lake, "SELECT votes FROM ab_results") == [{"votes": 0}]
        assert ask(port, "POST", "/vote", cast)[0] == 200
        assert rows(home_lake, "SELECT votes FROM ab_results") == [{"votes": 1}]
        status, body, _ = ask(port, "POST", "/vote", json.dumps({**json.loads(cast), "rater": " Ann\u200b"}))
        assert (status, json.loads(body)["error"]) == (
            409,
            "the vote is not stored: ann has voted on this trial already, and the first vote counts",
        )
        assert len(rows(home_lake, "SELECT * FROM ab_votes")) == 1
        assert json.loads(ask(port, "GET", "/next?rater=ann")[1])["left"] == 14


def test_a_request_that_is_not_http_disturbs_nobody(instance, home_lake):
    stages.start_test(home_lake, "t", (RUN, 5), (RUN, 3))
    with open_booth(home_lake) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=300) as raw:
            raw.sendall(b"POST /vote HTTP/1.1\r\nHost: localhost\r\nContent-Length: abc\r\n\r\n")
            assert raw.recv(100).startswith(b"HTTP/1.1 400 ")
        assert ask(port, "GET", "/next?rater=ann")[0] == 200


def test_votes_given_at_once_all_count(instance, home_lake):
    """All connections are made before the first request is sent: they wait in the backlog together."""
    stages.start_test(home_lake, "t", (RUN, 5), (RUN, 3), votes_per_trial=18)
    trial = stages.trial_rows(home_lake, "t")[0]["trial"]
    with open_booth(home_lake) as port, ExitStack() as stack:
        voters = []
        for n in range(18):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
            stack.callback(connection.close)
            connection.connect()
            voters.append((connection, json.dumps({"trial": trial, "rater": f"rater {n}", "side": "left"})))
        for connection, cast in voters:
            connection.request("POST", "/vote", cast, JSON)
        assert [connection.getresponse().status for connection, _ in voters] == [200] * 18
    assert rows(home_lake, "SELECT votes FROM ab_results") == [{"votes": 18}]


def test_votes_in_a_real_browser(instance, home_lake, tmp_path):
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    stages.start_test(home_lake, "t", (RUN, 5), (RUN, 3))
    better = {r["trial"]: "right" if r["a_left"] else "left" for r in stages.trial_rows(home_lake, "t")}
    complaints = []
    with open_booth(home_lake) as port, sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        page = browser.new_page(viewport={"width": 1200, "height": 860})
        page.on("console", lambda m: m.type == "error" and complaints.append(m.text))
        page.on("pageerror", lambda e: complaints.append(str(e)))
        page.on(
            "request", lambda r: r.url.startswith((f"http://127.0.0.1:{port}", "data:")) or complaints.append(r.url)
        )
        page.goto(f"http://127.0.0.1:{port}/")
        page.fill("#rater", "ann")
        page.click("#who button")
        for n in range(15):
            page.wait_for_function(f"document.getElementById('progress').textContent.startsWith('Pair {n + 1} of')")
            page.wait_for_function("!document.querySelector('[data-side]').disabled")
            if n == 0:
                page.screenshot(path=str(tmp_path / "booth.png"))
                shown = page.content()
                assert RUN not in shown
                assert page.eval_on_selector("#first", "i => i.naturalWidth") == 96
            side = better[page.evaluate("trial")]
            if n % 2:
                page.keyboard.press({"left": "ArrowLeft", "right": "ArrowRight"}[side])
            else:
                page.click(f"[data-side={side}]")
        page.wait_for_selector("#done:not([hidden])")
        browser.close()
    assert complaints == []
    told = rows(home_lake, "SELECT * FROM ab_results")[0]
    assert (told["a"], told["b"], told["ties"]) == (0, 15, 0)
    assert told["e"] == pytest.approx(2**5 / 6), "five prompts, each wholly for B"
    assert told["verdict"] == "no difference shown", "five prompts cannot show one beyond doubt"
    assert Path(tmp_path / "booth.png").stat().st_size > 5000


def test_a_suite_file_changes_what_is_tested(panic, home_lake, tmp_path):
    raw = {**small_suite(2), "version": 2}
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(raw))
    assert panic("finetune", "test", RUN, "--suite", tmp_path / "two.yaml")[0] == 0
    assert missing.plan(home_lake, RUN).suite.version == 2
    assert {r["prompts"] for r in rows(home_lake, "SELECT prompts FROM epoch_averages WHERE metric = 'colour'")} == {
        1,
        2,
    }
