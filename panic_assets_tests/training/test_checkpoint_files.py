import io
import json
import os
import struct

import fsspec
import numpy as np
import pytest
from safetensors.numpy import save, save_file

from panic_assets.errors import UserError
from panic_assets.training import checkpoints
from panic_assets.training.checkpoints import BrokenFile, Named, Pattern, last_epoch, list_folder, read_header
from panic_assets.training.watch import Cursor, Registered, Watch, tick
from panic_assets_tests.training.lies import LIES

KOHYA = Pattern("{name}-{epoch:06d}.safetensors")
PLAIN = Pattern("checkpoint_epoch_{epoch:05d}.safetensors")


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        (KOHYA, "hair-000004.safetensors", Named("hair", 4)),
        (KOHYA, "hair-1000004.safetensors", Named("hair", 1000004)),
        (KOHYA, "a.b+(c)-v2-000002-000010.safetensors", Named("a.b+(c)-v2-000002", 10)),
        (KOHYA, "hair.safetensors", Named("hair", None)),
        (KOHYA, "hair-000004.safetensors.part", None),
        (PLAIN, "checkpoint_epoch_00010.safetensors", Named(None, 10)),
        (PLAIN, "checkpoint_epoch_10.safetensors", None),
        (PLAIN, "checkpoint_epoch_00010Xsafetensors", None),
        (Pattern(r"(?P<name>\w+)_step(?P<epoch>\d+)\.safetensors"), "x_step12.safetensors", Named("x", 12)),
    ],
)
def test_names(pattern, name, expected):
    assert pattern.match(name) == expected


def test_bad_patterns_are_refused():
    for text, match in [
        ("model.safetensors", "needs"),
        (r"(?P<name>x)", "lacks"),
        (r"(?P<epoch>(", "not a regular"),
    ]:
        with pytest.raises(UserError, match=match):
            Pattern(text)


def test_the_epoch_of_the_last_file():
    assert last_epoch([1, 2, 3], {"ss_epoch": "4"}) == 4
    assert last_epoch([2, 4, 8], {}) == 10
    assert last_epoch([2], {}, planned=10) == 10
    assert last_epoch([2], {}) is None


def whole():
    return save({"a": np.ones((2, 3), np.float32), "b": np.zeros(5)}, metadata={"ss_epoch": "3"})


def test_a_sound_header():
    data = whole()
    header = read_header(io.BytesIO(data), len(data))
    assert header.tensors == {"a": ("F32", (2, 3)), "b": ("F64", (5,))}
    assert header.metadata == {"ss_epoch": "3"}


def test_every_truncation_and_every_foreign_file_is_told_apart():
    data = whole()
    for cut in range(len(data)):
        with pytest.raises(BrokenFile):
            read_header(io.BytesIO(data[:cut]), cut)
    blob = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}).encode()
    for foreign in (
        b"PK\x03\x04" + b"0" * 100,
        data + b"x",
        struct.pack("<Q", len(blob)) + blob + b"0" * 8,
        b"\0" * 64,
    ):
        with pytest.raises(BrokenFile):
            read_header(io.BytesIO(foreign), len(foreign))


class Folder:
    """A watched folder and the rows a caller would have stored."""

    def __init__(self, path, **watch):
        self.path, self.cursor, self.rows = path, Cursor(), []
        self.watch = Watch("finetune", str(path), **watch)

    def write(self, name, value=0.0, **metadata):
        save_file({"w": np.full(3, value)}, self.path / name, metadata=metadata or None)

    def look(self):
        out = tick(self.watch, Cursor.from_json(json.loads(json.dumps(self.cursor.to_json()))), self.rows)
        self.cursor = out.cursor
        for a in out.arrivals:
            c = a.checkpoint
            self.rows.append(Registered(c.run, c.epoch, a.version, c.path, c.size, c.mtime, c.content_hash))
        return out

    def arrivals(self):
        return [(a.checkpoint.run, a.checkpoint.epoch, a.version) for a in self.look().arrivals]


def test_registered_once_and_only_when_it_stood_still(tmp_path):
    folder = Folder(tmp_path)
    folder.write("hair-000001.safetensors")
    assert folder.arrivals() == []
    assert folder.arrivals() == [("hair", 1, 1)]
    assert folder.arrivals() == []
    folder.cursor = Cursor()  # a restart that lost everything but the rows
    assert folder.arrivals() == folder.arrivals() == folder.arrivals() == []


def test_a_growing_file_waits_and_a_truncated_one_is_reported_once(tmp_path):
    folder = Folder(tmp_path)
    data, path = whole(), tmp_path / "hair-000001.safetensors"
    for size in (10, 40, len(data) - 1):
        path.write_bytes(data[:size])
        out = folder.look()
        assert (out.arrivals, out.reports) == ([], [])
    (report,) = folder.look().reports  # it stood still, though incomplete
    assert "cut off" in report.why
    assert folder.look().reports == []
    path.write_bytes(data)
    assert folder.arrivals() == []
    assert folder.arrivals() == [("hair", 1, 1)]


def test_a_rewritten_file_is_a_new_version_and_a_touched_one_is_not(tmp_path):
    folder = Folder(tmp_path)
    folder.write("hair-000001.safetensors", 1.0)
    folder.look(), folder.look()
    os.utime(tmp_path / "hair-000001.safetensors", ns=(1, 1))
    assert [folder.arrivals() for _ in range(3)] == [[], [], []]
    folder.write("hair-000001.safetensors", 2.0)
    assert [folder.arrivals() for _ in range(3)] == [[], [("hair", 1, 2)], []]


def test_the_last_file_gets_its_epoch_and_foreign_files_are_reported(tmp_path):
    folder = Folder(tmp_path)
    for epoch in (1, 2, 3):
        folder.write(f"hair-{epoch:06d}.safetensors", epoch)
    folder.write("hair.safetensors", 4.0)
    folder.write("stray.safetensors", 5.0)
    (tmp_path / "notes.txt").write_text("not of interest")
    folder.look()
    out = folder.look()
    assert sorted(a.checkpoint.epoch for a in out.arrivals) == [1, 2, 3, 4]
    assert [os.path.basename(r.path) for r in out.reports] == ["stray.safetensors"]


def test_a_moved_file_is_the_same_checkpoint_at_another_path(tmp_path):
    folder = Folder(tmp_path)
    folder.write("hair-000001.safetensors", 1.0)
    folder.look(), folder.look()
    os.rename(tmp_path / "hair-000001.safetensors", tmp_path / "hair-0000001.safetensors")
    folder.look()
    (arrival,) = folder.look().arrivals
    assert (arrival.moved, arrival.version) == (True, 1)


def test_fsspec_urls_are_watched_too():
    fs = fsspec.filesystem("memory")
    with fs.open("/runs/a/checkpoint_epoch_00005.safetensors", "wb") as file:
        file.write(whole())
    watch = Watch("grokking", "memory://runs/a")
    first = tick(watch, Cursor(), [])
    (arrival,) = tick(watch, first.cursor, []).arrivals
    assert (arrival.checkpoint.run, arrival.checkpoint.epoch) == ("a", 5)
    assert list_folder("memory://runs/nowhere") == []


def test_registered_files_are_not_opened_again(tmp_path, monkeypatch):
    """What a tick over 10,000 of them takes is measured in benchmarks/."""
    folder = Folder(tmp_path)
    for i in range(100):
        folder.write(f"hair-{i:06d}.safetensors", i)
    folder.look(), folder.look()
    assert len(folder.rows) == 100
    folder.cursor = Cursor()  # after a restart too
    monkeypatch.setattr(checkpoints, "open_file", lambda path: pytest.fail(f"{path} was opened"))
    out = folder.look()
    assert (out.arrivals, out.cursor) == ([], Cursor())


def test_a_tick_reads_as_long_as_it_may_and_the_next_one_goes_on(tmp_path):
    folder = Folder(tmp_path)
    for i in range(5):
        folder.write(f"hair-{i:06d}.safetensors", i)
    cursor, seen = tick(folder.watch, Cursor(), []).cursor, []
    for left in (4, 3, 2, 1, 0):
        out = tick(folder.watch, cursor, folder.rows, seconds=0)
        (arrival,) = out.arrivals
        assert out.unread == left
        c = arrival.checkpoint
        folder.rows.append(Registered(c.run, c.epoch, 1, c.path, c.size, c.mtime, c.content_hash))
        seen.append(c.epoch)
        cursor = out.cursor
    assert seen == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_is_told_from_a_sound_one(lie):
    data, why = LIES[lie]
    with pytest.raises(BrokenFile, match=why) as told:
        read_header(io.BytesIO(data), len(data))
    assert len(str(told.value)) < 400


def test_a_header_is_bounded_before_it_is_read():
    size = checkpoints.HEADER_LIMIT + 100
    with pytest.raises(BrokenFile, match="at most 25,000,000 are read"):
        read_header(io.BytesIO(struct.pack("<Q", checkpoints.HEADER_LIMIT + 1)), size)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int8, np.uint32, np.bool_, np.complex64])
def test_every_type_that_safetensors_writes_is_known(dtype):
    data = save({"a": np.ones((2, 3), dtype), "scalar": np.ones((), dtype), "none": np.ones((0, 4), dtype)})
    assert set(read_header(io.BytesIO(data), len(data)).tensors) == {"a", "scalar", "none"}


def test_links_that_lead_nowhere_and_impossible_names_stop_no_other(tmp_path):
    folder = Folder(tmp_path)
    folder.write("hair-000001.safetensors")
    folder.write("hair-99999999999.safetensors", 1.0)
    folder.write("hair (copy)-000001.safetensors", 2.0)
    (tmp_path / "hair-000002.safetensors").symlink_to("hair-000002.safetensors")
    (tmp_path / "hair-000003.safetensors").symlink_to("nowhere")
    folder.look()
    out = folder.look()
    assert [a.checkpoint.epoch for a in out.arrivals] == [1]
    why = {os.path.basename(r.path): r.why for r in out.reports}
    assert why["hair-000002.safetensors"].startswith("it cannot be read: ")
    assert why["hair-000003.safetensors"] == "it is a link to a file that is not there"
    assert "an epoch is at most 1,000,000,000" in why["hair-99999999999.safetensors"]
    assert "would be called 'hair (copy)'" in why["hair (copy)-000001.safetensors"]
    assert folder.look().reports == []


def test_an_epoch_in_the_header_is_a_number_or_nothing():
    assert last_epoch([2], {"ss_epoch": "\u00b2"}, planned=10) == 10
    assert last_epoch([2], {"ss_epoch": "9" * 5000}, planned=10) == 10
