"""Repairs of captions are made as a whole, can be undone byte for byte, and never take an edit along."""

from pathlib import Path

import pytest

from panic_assets.errors import UserError
from panic_assets.finetunes import stages
from panic_assets.finetunes.captions import files as caption_files
from panic_assets.finetunes.captions.rules import Rules
from panic_assets.lake.lake import Lake
from panic_assets.tables import open_lake
from panic_assets_tests.finetunes.captioned import SOUND, folder_of
from panic_assets_tests.killing import interrupted


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.setenv("PANIC_HOME", str(tmp_path / "home"))
    return open_lake(tmp_path / "home" / "lake")


def broken(folder: Path) -> Path:
    """Three captions, two of which need a repair."""
    return folder_of(
        folder,
        [
            SOUND,
            SOUND.replace("navy jacket", "navy jackett"),
            SOUND.replace("dark eyes (#2b2b2b)", "dark eyes (#d9a577)").replace("palette: ", "palette: #2b2b2b, "),
        ],
        end=b"\r\n",
    )


def test_a_repair_leaves_nothing_to_repair_and_is_undone_byte_for_byte(tmp_path: Path, lake: Lake) -> None:
    folder = broken(tmp_path)
    files = caption_files.load(folder)
    before, version = {f.path.name: f.hash for f in files}, caption_files.set_hash(files)
    batch = stages.repair_captions(lake, folder, stages.proposed_repairs(lake, folder, Rules()))
    again = caption_files.load(folder)
    assert caption_files.set_hash(again) != version
    assert all(not r.findings for r in caption_files.check(again, Rules())), "a second pass finds nothing"
    assert stages.proposed_repairs(lake, folder, Rules()) == []
    assert again[1].data.endswith(b"\r\n"), "line ends are kept"
    assert {e.name: e.after for e in batch.entries} == {f.path.name: f.hash for f in again[1:]}

    assert caption_files.batches(folder) == [batch.id]
    stages.undo_repair(lake, folder, batch.id)
    assert {f.path.name: f.hash for f in caption_files.load(folder)} == before
    assert caption_files.batches(folder) == []
    with pytest.raises(UserError, match="no repair"):
        stages.undo_repair(lake, folder, batch.id)


def test_edits_of_others_are_never_lost(tmp_path: Path, lake: Lake) -> None:
    folder = folder_of(tmp_path, [SOUND.replace("navy jacket", "navy jackett")] * 2)
    changes = stages.proposed_repairs(lake, folder, Rules())
    (folder / "001.txt").write_text("edited")
    with pytest.raises(UserError, match="changed since it was checked"):
        stages.repair_captions(lake, folder, changes)
    assert "jackett" in (folder / "000.txt").read_text(), "nothing was written"
    batch = stages.repair_captions(lake, folder, changes[:1])
    (folder / "000.txt").write_text("edited later")
    with pytest.raises(UserError, match="was edited after"):
        stages.undo_repair(lake, folder, batch.id)
    assert (folder / "000.txt").read_text() == "edited later"


def test_a_repair_that_is_carried_on_late_keeps_an_edit_that_came_between(tmp_path: Path, lake: Lake) -> None:
    folder = folder_of(tmp_path, [SOUND.replace("navy jacket", "navy jackett")] * 2)
    changes = stages.proposed_repairs(lake, folder, Rules())
    interrupted(lambda: stages.repair_captions(lake, folder, changes))
    (folder / "000.txt").write_text("edited")
    assert stages.proposed_repairs(lake, folder, Rules()) == []
    assert (folder / "000.txt").read_text() == "edited"
    assert "jackett" not in (folder / "001.txt").read_text()


def test_an_undo_trusts_nothing_that_lies_in_the_folder(tmp_path: Path, lake: Lake) -> None:
    """A data set comes from somebody else: its backups may name files elsewhere, or hold something else."""
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    (tmp_path / "data").mkdir()
    folder = folder_of(tmp_path / "data", [SOUND.replace("navy jacket", "navy jackett")])
    batch = stages.repair_captions(lake, folder, stages.proposed_repairs(lake, folder, Rules()))
    told = batch.folder(folder) / caption_files.BATCH
    honest = told.read_text()
    told.write_text(honest.replace("000.txt", "../secret.txt"))
    with pytest.raises(UserError, match="is not the name of a file"):
        stages.undo_repair(lake, folder, batch.id)
    told.write_text(honest)
    kept = batch.folder(folder) / "000.txt"
    kept.unlink()
    kept.symlink_to(secret)
    with pytest.raises(UserError, match="is a link that leads out"):
        stages.undo_repair(lake, folder, batch.id)
    kept.unlink()
    kept.write_text("something else")
    with pytest.raises(UserError, match="is gone or was changed"):
        stages.undo_repair(lake, folder, batch.id)
    assert secret.read_text() == "secret"


def test_a_picture_that_cannot_be_read_is_a_finding_and_the_other_captions_are_checked(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, [SOUND, SOUND.replace("navy jacket", "navy jackett")])
    (folder / "000.png").write_bytes(b"not a picture")
    reports = caption_files.check(caption_files.load(folder), Rules())
    assert [[f.rule for f in r.findings] for r in reports] == [["picture"], ["typo"]]
    assert "000.png cannot be read" in reports[0].findings[0].message
