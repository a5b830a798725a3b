"""Everything from the UI alone: a real `panic ui`, asked over HTTP what its pages ask, and looked at in Chromium.

One UI serves the whole file, and is killed at its end. Two experiments enter, one typed into the launchpad and one dropped
as a file, and the daemon performs both; the dropped one is then deleted while the browser looks at the other.
"""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from panic_assets_tests.end_to_end.running_ui import REPOSITORY, Ui, ended_by_ctrl_c, ended_in_the_background, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TYPED = {
    "name": "typed",
    "networks": [["DummyT2I", "DummyI2T"]],
    "prompts": ["a cat", "a dog"],
    "seeds": [-1, 1],
    "embedding_models": ["DummyText"],
    "max_length": 10,
}
DROPPED = {
    "networks": [["DummyT2I2", "DummyI2T2"]],
    "prompts": ["a cat", "a dog"],
    "seed_count": 2,
    "embedding_models": ["DummyText2"],
    "max_length": 10,
}
"""Its name is the file's."""
CHAIN = ("experiments", "invocations", "embeddings", "persistence_diagrams")

LAUNCH = """mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } }
  ... on RunConfigValidationInvalid { errors { message } } ... on PythonError { message } } }"""
RUNS = """query ($filter: RunsFilter) { runsOrError(filter: $filter) { ... on Runs { results {
  runId jobName status creationTime assetSelection { path } tags { key value } } } } }"""
FAILURES = """query ($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events {
  ... on ExecutionStepFailureEvent { failureMetadata { description } error { message } } } } } }"""
MATERIALISED = """query ($asset: AssetKeyInput!, $partition: String!) { assetNodeOrError(assetKey: $asset) {
  ... on AssetNode { partitionKeys assetMaterializations(partitions: [$partition]) { runId }
    assetChecksOrError { ... on AssetChecks { checks { name } } } } } }"""
CHECK = """query ($asset: AssetKeyInput!, $check: String!, $partition: String!) {
  assetCheckExecutions(assetKey: $asset, checkName: $check, partition: $partition, limit: 5) {
    status evaluation { success description } } }"""
TICKS = """query ($sensor: SensorSelector!) { sensorOrError(sensorSelector: $sensor) { ... on Sensor {
  sensorState { ticks(limit: 100) { status timestamp logEvents { events { message } } } } } } }"""
BACKFILLS = """{ partitionBackfillsOrError { ... on PartitionBackfills { results { id status } } } }"""
PROCESS = """query ($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events { __typename
  ... on ExecutionStepStartEvent { stepKey } ... on EngineEvent { message } } } } }"""
TERMINATE = """mutation ($id: String!) { terminateRun(runId: $id) { __typename } }"""
DELETE = """mutation ($repository: RepositorySelector!, $keys: [String!]!) {
  deleteDynamicPartitions(repositorySelector: $repository, partitionsDefName: "experiment", partitionKeys: $keys,
    wipeMaterializations: true) { __typename ... on UnsupportedOperationError { message }
    ... on PythonError { message } } }"""
"""What the button "Delete" of the partitions dialog sends, with its box for materialisations ticked."""


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    with running(tmp_path_factory.mktemp("ui")) as started:
        yield started


@pytest.fixture(scope="module")
def performed(ui: Ui) -> Ui:
    """Both experiments have entered, and the daemon has carried both out by itself."""
    (ui.dropped / "dropped.json").write_text(json.dumps(DROPPED))
    (ui.dropped / "wrong.json").write_text(json.dumps({**DROPPED, "max_length": 0}))
    run = _launch(ui, "register_experiment", {"ops": {"register": {"config": TYPED}}})
    ui.until("the registration", lambda: _status(ui, run) == "SUCCESS")
    for name in ("typed", "dropped"):
        ui.until(f"the diagrams of {name}", lambda name=name: _materialised(ui, "persistence_diagrams", name))
    ui.until("the last run to end", lambda: all(r["status"] in ENDED for r in _runs(ui)))
    # Experiments that enter in one tick are asked for by a backfill. Dagster complains of one whose keys go meanwhile.
    ui.until("the last backfill to end", lambda: not _open_backfills(ui))
    return ui


@pytest.fixture(scope="module")
def deleted(performed: Ui) -> float:
    """The dropped experiment was deleted with the UI's button. The time of the sensor tick before."""
    before = _ticks(performed, "automation")[0]["timestamp"]
    answer = performed.ask(DELETE, repository=REPOSITORY, keys=["dropped"])["deleteDynamicPartitions"]
    assert answer == {"__typename": "DeleteDynamicPartitionsSuccess"}
    return before


ENDED = ("SUCCESS", "FAILURE", "CANCELED")


def test_both_experiments_are_performed_by_the_daemon(performed):
    counts = """SELECT experiment, (SELECT count(*) FROM runs r WHERE r.experiment = e.experiment AND stop_reason = 'length'),
        (SELECT count(*) FROM invocations i WHERE i.experiment = e.experiment),
        (SELECT count(*) FROM embeddings v WHERE v.experiment = e.experiment),
        (SELECT count(DISTINCT run_id) FROM persistence_summary s WHERE s.experiment = e.experiment)
        FROM experiments e ORDER BY experiment"""
    assert performed.sql(counts) == [("dropped", 4, 40, 20, 4), ("typed", 4, 40, 20, 4)]
    nearest = """SELECT output_text FROM embeddings_DummyText JOIN invocations USING (invocation_id)
        ORDER BY array_cosine_distance(vector, (SELECT vector FROM embeddings_DummyText LIMIT 1)) LIMIT 1"""
    assert performed.sql(nearest)[0][0]


def test_the_daemon_asked_once_for_each_stage_and_nothing_failed(performed):
    runs = _runs(performed)
    assert {r["status"] for r in runs} == {"SUCCESS"}
    for asset in CHAIN[1:]:
        asked = [r["partition"] for r in runs if asset in r["assets"]]
        assert sorted(asked) == ["dropped", "typed"], asset


@pytest.mark.parametrize("asset", CHAIN[1:])
def test_checks_ran_and_passed(performed, asset):
    """In the same run as the asset, for its partition."""
    checks = [c["name"] for c in _node(performed, asset, "typed")["assetChecksOrError"]["checks"]]
    assert "complete" in checks
    for check in checks:
        found = performed.ask(CHECK, asset={"path": [asset]}, check=check, partition="typed")["assetCheckExecutions"]
        assert [(f["status"], f["evaluation"]["success"]) for f in found] == [("SUCCEEDED", True)], (check, found)


def test_a_file_that_is_refused_says_why_in_the_sensors_log(performed):
    said = [event["message"] for tick in _ticks(performed, "dropped_files") for event in tick["logEvents"]["events"]]
    assert any("wrong.json is refused: max_length is 0; it must be" in message for message in said), said
    assert performed.sql("SELECT count(*) FROM experiments WHERE experiment = 'wrong'") == [(0,)]


def test_what_the_launchpad_refuses_is_said_in_one_sentence(performed):
    """A field it does not know is refused before anything starts; a value that does not fit, by the run."""
    answer = performed.ask(
        LAUNCH, params=_params("register_experiment", {"ops": {"register": {"config": {"nom": "x"}}}})
    )
    assert answer["launchRun"]["__typename"] == "RunConfigValidationInvalid"
    wrong = {**TYPED, "name": "wrong", "networks": [["DummyT2I", "DumyI2T"]]}
    run = _launch(performed, "register_experiment", {"ops": {"register": {"config": wrong}}})
    performed.until("the refusal", lambda: _status(performed, run) == "FAILURE")
    said = [e for e in performed.ask(FAILURES, id=run)["logsForRun"]["events"] if e]
    assert "names 'DumyI2T', which is not a generator in the registry; did you mean 'DummyI2T'?" in json.dumps(
        said
    ).replace('\\"', '"')
    assert "wrong" not in _node(performed, "experiments", "wrong")["partitionKeys"]


def test_clusters_are_made_with_the_materialise_button(performed):
    run = _launch(performed, "__ASSET_JOB", {}, assets=["clusters"], tags={"dagster/partition": "DummyText"})
    performed.until("the clusters", lambda: _status(performed, run) in ENDED)
    assert _status(performed, run) == "SUCCESS"
    rows = performed.sql("SELECT embedding_model, vectors, experiments FROM clusterings")
    assert rows == [("DummyText", 20, ["typed"])]
    assert performed.sql("SELECT count(*) FROM cluster_members WHERE experiment = 'typed'") == [(20,)]


def test_the_delete_button_takes_rows_and_materialisations_along(performed, deleted):
    stored = "SELECT count(*) FROM {} WHERE experiment = '{}'"
    for table in ("experiments", "runs", "invocations", "embeddings", "persistence_bars", "persistence_summary"):
        assert performed.sql(stored.format(table, "dropped")) == [(0,)], table
        assert performed.sql(stored.format(table, "typed"))[0][0] > 0, table
    for asset in CHAIN:
        assert _node(performed, asset, "dropped")["partitionKeys"] == ["typed"]
        assert not _materialised(performed, asset, "dropped")
        assert _materialised(performed, asset, "typed")


def test_the_pages_in_a_browser(performed, deleted, tmp_path):
    with _page(performed) as (page, complaints):
        page.goto(f"{performed.url}/asset-groups", wait_until="domcontentloaded")
        page.get_by_text("trajectories", exact=True).first.wait_for()
        group = "/locations/panic_assets/asset-groups/trajectories/lineage"
        page.goto(performed.url + group, wait_until="domcontentloaded")
        for asset in (*CHAIN, "clusters"):
            page.get_by_text(asset, exact=True).first.wait_for()
        page.get_by_text("100% filled").first.wait_for()
        page.screenshot(path=tmp_path / "graph.png")

        page.goto(f"{performed.url}/assets/invocations?view=partitions&partition=typed", wait_until="domcontentloaded")
        page.get_by_text("Latest materialization").wait_for()
        page.get_by_text("Materialized (1)").wait_for()
        pictures = page.locator("tr", has_text="pictures").get_by_text("Show Markdown")
        pictures.wait_for()
        page.screenshot(path=tmp_path / "partition.png")
        pictures.click()
        picture = page.locator("img[src^='data:image/']")
        picture.wait_for()
        assert picture.evaluate("image => [image.complete, image.naturalHeight]") == [True, 96]
        page.screenshot(path=tmp_path / "pictures.png")

        page.goto(f"{performed.url}/assets/embeddings?view=checks", wait_until="domcontentloaded")
        page.get_by_text("embeddings_valid").first.wait_for()
        page.get_by_text("Passed").first.wait_for()
    assert complaints == []
    assert all((tmp_path / name).stat().st_size > 20_000 for name in ("graph.png", "partition.png", "pictures.png"))


def test_what_is_deleted_stays_deleted(performed, deleted):
    """The daemon's automation has looked again since, and so has the sensor that watches the file, still there."""
    for sensor in ("automation", "dropped_files"):
        performed.until(
            f"a tick of {sensor}", lambda s=sensor: sum(t["timestamp"] > deleted for t in _ticks(performed, s)) > 1
        )
    assert _node(performed, "experiments", "dropped")["partitionKeys"] == ["typed"]
    assert [r for r in _runs(performed) if r["partition"] == "dropped" and r["creationTime"] > deleted] == []


def test_nothing_broke_on_the_way(performed, deleted):
    for sensor in ("automation", "dropped_files"):
        assert {t["status"] for t in _ticks(performed, sensor)} <= {"SUCCESS", "SKIPPED", "STARTED"}
    log = performed.log.read_text(errors="replace")
    assert "Traceback" not in log, log[log.index("Traceback") :][:6000]
    for noise in ("superseded", " - DEBUG - ", "nanobind"):
        assert noise not in log, log


def test_the_slot_of_a_killed_worker_passes_to_its_retry(performed, deleted):
    """The pool has one slot: while the dead run held it, the step of the retry would wait."""
    long = {**DROPPED, "seed_count": None, "seeds": [-1] * 8, "max_length": 30_000, "image_size": 16}
    (performed.dropped / "long.json").write_text(json.dumps({k: v for k, v in long.items() if v is not None}))
    first = performed.until("the walk to start", lambda: _walking(performed))
    worker = next(p for p in performed.processes() if p.pid == _worker(performed, first))
    worker.kill()
    again = performed.until("the step of the retry", lambda: _walking(performed, besides=first))
    assert _status(performed, first) == "FAILURE"
    performed.ask(TERMINATE, id=again)
    performed.until("the retry to be cancelled", lambda: _status(performed, again) in ENDED)


def test_a_background_job_ends_its_children_too(tmp_path):
    ended_in_the_background(tmp_path)


def test_ctrl_c_ends_all_of_it(tmp_path):
    ended_by_ctrl_c(tmp_path)


def test_a_second_one_is_told_of_the_first(ui, panic, monkeypatch):
    monkeypatch.setenv("PANIC_HOME", str(ui.home.root))
    code, _, told = panic("ui", "--port", "0")
    assert code == 2
    assert re.fullmatch(
        rf"Error: `panic ui` runs on this home already: process (\d+) has served {ui.url} since 20\S+ \S+ UTC; open that page, or "
        r"stop it with `kill \1`",
        " ".join(told.split()),
    )


def _params(job: str, config: dict, assets: list[str] | None = None, tags: dict[str, str] | None = None) -> dict:
    selector = {**REPOSITORY, "jobName": job}
    if assets is not None:
        selector["assetSelection"] = [{"path": [asset]} for asset in assets]
    marked = [{"key": key, "value": value} for key, value in (tags or {}).items()]
    return {"selector": selector, "runConfigData": config, "mode": "default", "executionMetadata": {"tags": marked}}


def _launch(ui: Ui, job: str, config: dict, assets: list[str] | None = None, tags: dict[str, str] | None = None) -> str:
    answer = ui.ask(LAUNCH, params=_params(job, config, assets, tags))["launchRun"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    return answer["run"]["runId"]


def _open_backfills(ui: Ui) -> list[str]:
    found = ui.ask(BACKFILLS)["partitionBackfillsOrError"]["results"]
    return [b["id"] for b in found if b["status"] in ("REQUESTED", "CANCELING", "FAILING")]


def _runs(ui: Ui, **only: Any) -> list[dict]:
    found = ui.ask(RUNS, filter=only)["runsOrError"]["results"]
    for run in found:
        run["partition"] = next((t["value"] for t in run["tags"] if t["key"] == "dagster/partition"), None)
        run["assets"] = [".".join(key["path"]) for key in run["assetSelection"] or ()]
    return found


def _status(ui: Ui, run: str) -> str:
    return _runs(ui, runIds=[run])[0]["status"]


def _events(ui: Ui, run: str) -> list[dict]:
    return ui.ask(PROCESS, id=run)["logsForRun"]["events"]


def _walking(ui: Ui, besides: str | None = None) -> str | None:
    """The run that is in the step `invocations` of the experiment `long`."""
    for run in _runs(ui, statuses=["STARTED"]):
        asked = run["partition"] == "long" and run["runId"] != besides
        if asked and any(event.get("stepKey") == "invocations" for event in _events(ui, run["runId"])):
            return run["runId"]
    return None


def _worker(ui: Ui, run: str) -> int:
    """The id of the process that carries the run, as its log says."""
    said = " ".join(event.get("message", "") for event in _events(ui, run))
    return int(re.search(r"Started process for run \(pid: (\d+)\)", said)[1])  # type: ignore[index]


def _node(ui: Ui, asset: str, partition: str) -> dict:
    return ui.ask(MATERIALISED, asset={"path": [asset]}, partition=partition)["assetNodeOrError"]


def _materialised(ui: Ui, asset: str, partition: str) -> bool:
    return bool(_node(ui, asset, partition)["assetMaterializations"])


def _ticks(ui: Ui, sensor: str) -> list[dict]:
    """Latest first."""
    return ui.ask(TICKS, sensor={**REPOSITORY, "sensorName": sensor})["sensorOrError"]["sensorState"]["ticks"]


@contextmanager
def _page(ui: Ui) -> Iterator[tuple[Any, list[str]]]:
    """A page in headless Chromium, and what went wrong in it so far: errors, and requests to anywhere else."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium on this machine; `make test` installs it where it may")
    from playwright.sync_api import sync_playwright

    quiet = ["disable-gpu", "disable-quic", "no-first-run", "disable-background-networking", "disable-sync"]
    arguments = [f"--{flag}" for flag in ("no-sandbox", "disable-component-update", *quiet)]
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        try:
            page = browser.new_page(viewport={"width": 1600, "height": 1000})
            page.set_default_timeout(60_000)
            page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("request", lambda request: _local(ui, request.url) or complaints.append(request.url))
            yield page, complaints
        finally:
            browser.close()


def _local(ui: Ui, url: str) -> bool:
    return url.removeprefix("blob:").startswith((ui.url, "data:"))
