"""The spine in the lake: registering, watching, judging, pricing, telling. No training happens here."""

import http.server
import json
import os
import threading
from datetime import UTC, datetime, timedelta

import dagster as dg
import numpy as np
import pytest
from safetensors.numpy import save_file

from panic_assets.errors import UserError
from panic_assets.instance.home import open_instance
from panic_assets.lake import invariants
from panic_assets.problems import open_problems
from panic_assets.resources import LakeResource
from panic_assets.settings import home
from panic_assets.tables import open_lake
from panic_assets.training import notify, runs, sensors, settings, stages
from panic_assets.training.lineage import Parent
from panic_assets.training.series import Measurement

SERIES = (6, 7, 7, 7, 6.7, 7.3, 7, 6, 6, 6)


@pytest.fixture
def lake(tmp_path, monkeypatch):
    monkeypatch.setenv("PANIC_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PANIC_TRAINING", raising=False)
    return open_lake(home().lake)


def add(lake, name="r", folder="/nowhere", **changes):
    given = {"config": {"targets": {"score": 0.15}}, "folder": str(folder), "planned_epochs": 12, **changes}
    return runs.register(lake, runs.NewRun(name, "finetune", **given))


def measured(lake, name, values, epochs=None):
    rows = [
        Measurement(name, e, "score", float(v), "up", "1", f"hash{e}")
        for e, v in zip(epochs or range(1, len(values) + 1), values, strict=True)
    ]
    stages.store_metrics(lake, name, "test", rows)


def test_registering_twice_changes_nothing_and_a_taken_name_is_refused(lake):
    assert add(lake)
    assert not add(lake)
    with pytest.raises(UserError, match="different targets"):
        add(lake, config={"targets": {"score": 1}})
    with pytest.raises(UserError, match="did you mean 'r'"):
        runs.get(lake, "R1")
    with pytest.raises(UserError, match=r"run name 'a\.\.\.b'"):
        add(lake, "a...b")
    with pytest.raises(UserError, match="no training run 'q'"):
        add(lake, "child", parent=Parent("q", 1))
    with pytest.raises(UserError, match="no checkpoint at epoch 3"):
        add(lake, "child", parent=Parent("r", 3))


def test_convergence_and_advice_are_the_rule_s(lake):
    add(lake)
    measured(lake, "r", SERIES)
    assert stages.converge(lake, "r", settings.Settings()).problems == []
    states = lake.sql("SELECT state FROM convergence ORDER BY epoch", training_run="r")["state"].to_pylist()
    assert states == ["continue"] * 3 + ["plateau"] * 2 + ["continue", "optimal"] + ["degrading"] * 3
    (advice,) = lake.sql("SELECT * FROM advice", training_run="r").to_pylist()
    assert (advice["recommendation"], advice["best_epoch"], advice["saves_epochs"]) == ("stop", 6, 2)
    assert (advice["risk"], advice["risk_runs"]) == (None, 0)
    for table in ("metrics", "convergence", "advice", "training_runs"):
        assert invariants.findings(lake, table, training_run="r") == []


def test_the_risk_is_what_finished_runs_of_the_family_gave_away(lake):
    for name, values in (("late bloomer".replace(" ", "-"), (7, 7, 7, 9)), ("early", (7, 7, 7, 6.9))):
        add(lake, name)
        measured(lake, name, values)
        runs.change(lake, name, status="finished")
    add(lake)
    measured(lake, "r", (7, 7, 7))
    stages.converge(lake, "r", settings.Settings())
    (advice,) = lake.sql("SELECT * FROM advice", training_run="r").to_pylist()
    assert (advice["risk"], advice["risk_runs"]) == (0.5, 2)


def test_a_missing_target_means_no_advice(lake):
    add(lake, config={"targets": {"score": 0.1, "hands": 0.1}})
    measured(lake, "r", (1, 2, 3))
    assert stages.converge(lake, "r", settings.Settings()).problems == [
        "there is no advice, because target metric hands has no values"
    ]
    assert lake.manifest("advice", training_run="r") is None


def test_each_source_replaces_its_own_metrics(lake):
    add(lake)
    measured(lake, "r", (1, 2, 3))
    stages.store_metrics(lake, "r", "people", [Measurement("r", 1, "manual", 5.0, "up", "1", "x")])
    measured(lake, "r", (4, 5))
    rows = lake.sql("SELECT metric, count(*) AS n FROM metrics GROUP BY ALL ORDER BY ALL", training_run="r")
    assert rows.to_pylist() == [{"metric": "manual", "n": 1}, {"metric": "score", "n": 2}]


# --- cost --------------------------------------------------------------------------------------


def checkpoint_files(folder, epochs, start, hours=1.0):
    folder.mkdir(parents=True, exist_ok=True)
    for i, epoch in enumerate(epochs):
        path = folder / f"r-{epoch:06d}.safetensors"
        save_file({"w": np.full(2, float(epoch))}, path)
        at = (start + timedelta(hours=hours * i)).timestamp()
        os.utime(path, (at, at))


def test_costs_by_file_times_are_estimated_and_split_at_a_rate_change(lake, tmp_path):
    june = datetime(2026, 6, 1, tzinfo=UTC)
    checkpoint_files(tmp_path / "f", (1, 2, 3), june - timedelta(hours=1.5))
    add(lake, folder=tmp_path / "f", card="A40", budget=50.0)
    stages.register_checkpoints(lake, "r", settle_seconds=0)
    given = settings.parse(
        {
            "rates": [
                {"card": "A40", "price": 1.0, "from": "2026-01-01", "until": "2026-06-01"},
                {"card": "A40", "price": 2.0, "from": "2026-06-01"},
            ]
        }
    )
    assert stages.price(lake, "r", given).problems == []
    rows = lake.sql("SELECT epoch, hours, rate, cost, estimated FROM costs ORDER BY started_at", training_run="r")
    assert [(r["epoch"], round(r["hours"], 6), r["rate"]) for r in rows.to_pylist()] == [
        (1, 1.0, 1.0),
        (2, 1.0, 1.0),
        (3, 0.5, 1.0),
        (3, 0.5, 2.0),
    ]
    assert all(rows["estimated"].to_pylist())
    now = stages.outlook_of(lake, "r", given)
    assert now.spent == pytest.approx(3.5)
    assert now.projected == pytest.approx(3.5 + 9 * 1.25)
    assert invariants.findings(lake, "costs", training_run="r") == []


def test_without_a_card_or_a_rate_there_is_no_cost_and_it_says_so(lake):
    add(lake)
    assert stages.price(lake, "r", settings.Settings()).problems == ["there is no cost, because the run names no card"]
    add(lake, "s", card="A40")
    measured(lake, "s", (1,))
    assert stages.outlook_of(lake, "s", settings.Settings()).projected is None


# --- the checkpoint sensor ---------------------------------------------------------------------


def test_the_sensor_registers_unattended_once_and_marks_what_is_stale(lake, tmp_path):
    folder = tmp_path / "out"
    checkpoint_files(folder, (1, 2), datetime.now(UTC) - timedelta(hours=9))
    (folder / "r-000003.safetensors").write_bytes(b"\x08")
    home().root.mkdir(exist_ok=True)
    (home().root / "training.yaml").write_text(
        json.dumps({"watch": [{"family": "finetune", "url": str(folder), "epochs": 4}]})
    )
    with open_instance(home()) as instance:

        def tick(cursor):
            context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"lake": LakeResource()})
            found = sensors.checkpoint_files(context)
            return found, context.cursor if isinstance(found, dg.SkipReason) else found.cursor

        first, cursor = tick(None)
        assert isinstance(first, dg.SkipReason)
        assert "3 files are waiting" in first.skip_message
        second, cursor = tick(cursor)
        (event,) = second.asset_events
        assert event.asset_key == dg.AssetKey("finetune_checkpoints")
        assert (event.partition, event.tags["dagster/data_version"]) == ("r", stages.checkpoints_version(lake, "r"))
        assert instance.get_dynamic_partitions("finetune_run") == ["r"]
        assert runs.get(lake, "r")["status"] == "watched"
        assert [r["epoch"] for r in runs.checkpoints(lake, "r")] == [1, 2]
        problems = lake.sql("SELECT problem FROM problems")["problem"].to_pylist()
        assert problems == ["1 bytes are too few for a safetensors file; copy it again"]
        for lost in (cursor, None, None):  # restarts, with and without what the sensor remembered
            third, _ = tick(lost)
            assert isinstance(third, dg.SkipReason)
        save_file({"w": np.full(2, 9.0)}, folder / "r-000002.safetensors")
        _, cursor = tick(cursor)
        again, _ = tick(cursor)
        assert again.asset_events[0].tags["dagster/data_version"] != event.tags["dagster/data_version"]
        assert [(r["epoch"], r["version"]) for r in runs.checkpoints(lake, "r")] == [(1, 1), (2, 2)]


def test_a_folder_that_cannot_be_read_stops_no_other_and_is_an_open_problem(lake, tmp_path):
    good, bad = tmp_path / "out", tmp_path / "file"
    checkpoint_files(good, (1,), datetime.now(UTC) - timedelta(hours=9))
    (good / "r-000002.safetensors").symlink_to("r-000002.safetensors")
    bad.write_text("no folder")
    home().root.mkdir(exist_ok=True)
    where = home().root / "training.yaml"
    watches = [{"family": "finetune", "url": str(url)} for url in (bad, good)]
    where.write_text(json.dumps({"watch": watches}))
    with open_instance(home()) as instance:

        def tick(cursor):
            context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"lake": LakeResource()})
            found = sensors.checkpoint_files(context)
            return found, context.cursor if isinstance(found, dg.SkipReason) else found.cursor

        _, cursor = tick(None)
        found, cursor = tick(cursor)
        assert [e.partition for e in found.asset_events] == ["r"]
        first = open_problems(lake)
        assert {(p["item"], p["subject"]) for p in first} == {
            (str(bad), None),
            (str(good / "r-000002.safetensors"), "r"),
        }
        _, cursor = tick(cursor)
        assert open_problems(lake) == first

        where.write_text("watch: [")
        tick(cursor)
        assert str(where) in {p["item"] for p in open_problems(lake)}
        where.write_text(json.dumps({"watch": watches}))
        bad.unlink()
        (good / "r-000002.safetensors").unlink()
        tick(cursor)
        assert open_problems(lake) == []
        assert invariants.findings(lake, "problems") == []


def test_bad_settings_are_refused_in_a_sentence(lake):
    for raw, sentence in [
        ({"wathc": []}, "did you mean 'watch'"),
        ({"watch": [{"url": "/x"}]}, "lacks family; every watch needs family and url"),
        ({"watch": [{"url": "/x", "family": "new"}]}, "names the family 'new'.*accepted: training, grokking, finetune"),
        ({"watch": [{"url": "/x", "family": "training"}]}, "lacks a pattern; give one"),
        ({"watch": [{"url": "/x", "family": "finetune", "epochs": 0}]}, "watch.epochs is 0"),
        ({"targets": {"finetune": {"score": "x"}}}, "targets.finetune.score is 'x'"),
        ({"stop": {"on": "spent"}}, "must have a number as threshold"),
        ({"stop": {"threshold": 1, "on": "both"}}, "stop.on is 'both'"),
        ({"rates": {"card": "x"}}, "it must be a list of mappings"),
        ([], "is not a mapping; it must be one with fields of"),
    ]:
        with pytest.raises(UserError, match=sentence):
            settings.parse(raw)
    assert settings.parse({"stop": {"threshold": 5}}).stop.dry_run
    assert settings.read() == settings.Settings() or settings.read().watches == ()


# --- notifications -----------------------------------------------------------------------------


class Receiver:
    """A local web hook that answers with the given statuses in turn, then 200."""

    def __init__(self, statuses=()):
        self.bodies, waiting = [], list(statuses)
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.bodies.append(json.loads(body))
                self.send_response(waiting.pop(0) if waiting else 200)
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"json://127.0.0.1:{self.server.server_port}/hook"


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.server.shutdown()


def told(lake, receiver, **kwargs):
    return stages.tell(lake, "r", settings.Settings(notify=(receiver.url,)), pause=0, **kwargs)


def test_a_change_of_state_is_told_once(lake, receiver):
    add(lake)
    measured(lake, "r", SERIES[:3])
    stages.converge(lake, "r", settings.Settings())
    assert told(lake, receiver).rows == 0  # `continue` is no news
    measured(lake, "r", SERIES[:4])
    stages.converge(lake, "r", settings.Settings())
    assert told(lake, receiver).rows == 1
    assert told(lake, receiver).rows == 0
    measured(lake, "r", SERIES[:5])  # still a plateau
    stages.converge(lake, "r", settings.Settings())
    assert told(lake, receiver).rows == 0
    (body,) = receiver.bodies
    assert body["title"] == "r: score is plateau at epoch 4"
    (row,) = lake.sql("SELECT * FROM notifications", training_run="r").to_pylist()
    assert (row["status"], row["before"], row["after"], row["body"] in body["message"]) == (
        "sent",
        "continue",
        "plateau",
        True,
    )


def test_a_receiver_that_fails_is_tried_again_and_fails_nothing(lake):
    add(lake)
    measured(lake, "r", SERIES)
    stages.converge(lake, "r", settings.Settings())
    flaky = Receiver([500, 500])
    assert told(lake, flaky).problems == []
    assert len(flaky.bodies) == 3
    flaky.server.shutdown()
    lake.remove("notifications", training_run="r")
    down = Receiver([500] * 3)
    assert "sent again next time" in told(lake, down).problems[0]
    assert told(lake, down).problems == []
    assert len(down.bodies) == 4
    down.server.shutdown()
    assert lake.sql("SELECT status FROM notifications", training_run="r")["status"].to_pylist() == ["sent"]


def test_nobody_to_tell_and_nonsense_addresses_do_no_harm(lake):
    add(lake)
    measured(lake, "r", SERIES)
    stages.converge(lake, "r", settings.Settings())
    assert stages.tell(lake, "r", settings.Settings()).rows == 1
    assert lake.sql("SELECT status FROM notifications", training_run="r")["status"].to_pylist() == ["no receiver"]
    for nonsense in ("not a url", "json://127.0.0.1:9/", "$NO_SUCH_VARIABLE"):
        assert notify.send(nonsense, notify.Message("t", "b"), pause=0).status == "failed"


def test_a_dead_receiver_is_tried_again_and_the_working_one_is_told_once(lake, receiver):
    add(lake)
    measured(lake, "r", SERIES)
    stages.converge(lake, "r", settings.Settings())
    both = settings.Settings(notify=(receiver.url, "json://127.0.0.1:9/", "$NO_SUCH_VARIABLE"))
    for _ in range(3):
        said = stages.tell(lake, "r", both, pause=0).problems
        assert len(said) == 2
        assert "did not reach the receiver json " in said[0]
        assert "$NO_SUCH_VARIABLE: the environment variable NO_SUCH_VARIABLE is not set" in said[1]
        assert len(receiver.bodies) == 1
    rows = lake.sql("SELECT receiver, status, problem FROM notifications", training_run="r").to_pylist()
    assert sorted(r["status"] for r in rows) == ["failed", "failed", "sent"]
    assert "127.0.0.1" not in str(rows)  # An address may hold a password.
    assert invariants.findings(lake, "notifications", training_run="r") == []


def test_a_variable_is_filled_in_when_a_message_is_sent(lake, receiver, monkeypatch):
    add(lake)
    measured(lake, "r", SERIES)
    stages.converge(lake, "r", settings.Settings())
    monkeypatch.setenv("TEAM_URL", receiver.url)
    assert stages.tell(lake, "r", settings.parse({"notify": "$TEAM_URL"}), pause=0).problems == []
    (body,) = receiver.bodies
    assert "Verdict: stop, epoch 6 is the best." in body["message"]
    assert "panic training show r" in body["message"]


def test_receivers_are_a_list_or_one_text(monkeypatch):
    assert settings.parse({"notify": "mailto://me@example.org"}).notify == ("mailto://me@example.org",)
    assert settings.parse({"notify": ["$A", "json://x/", "$A"]}).notify == ("$A", "json://x/")
    assert settings.parse({"notify": None}).notify == ()
    for raw in (1, {"mailto": "me"}, ["me@example.org"], [["json://x/"]], "", [""]):
        with pytest.raises(UserError, match="notify"):
            settings.parse({"notify": raw})
