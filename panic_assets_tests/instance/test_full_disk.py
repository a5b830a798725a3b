"""A disk that fills up under Dagster's records: one sentence, and with room the same command does its work."""

import subprocess
from pathlib import Path

import pytest
import sqlalchemy as db

from panic_assets.errors import UserError
from panic_assets.instance import storage
from panic_assets_tests.cli.files import write
from panic_assets_tests.conftest import Panic


def test_a_full_database_is_said_in_a_sentence(tmp_path: Path) -> None:
    assert storage.PATIENCE_SECONDS  # Whoever imports the storage has its listeners.
    engine = db.create_engine(f"sqlite:///{tmp_path / 'runs.db'}")
    with engine.connect() as connection:
        connection.execute(db.text("PRAGMA max_page_count = 2"))
        connection.execute(db.text("CREATE TABLE t (x)"))
        with pytest.raises(
            UserError, match=r"SQLite cannot write .*runs\.db \(database or disk is full\); what is stored"
        ):
            connection.execute(db.text("INSERT INTO t VALUES (zeroblob(100000))"))
    engine.dispose()


@pytest.mark.parametrize("kilobytes", [60, 200])
def test_a_home_without_room_is_registered_in_once_there_is(
    small_disk: Path, panic: Panic, clean_environment: pytest.MonkeyPatch, tmp_path: Path, kilobytes: int
) -> None:
    clean_environment.setenv("PANIC_HOME", str(small_disk))
    path = write(tmp_path)
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", str(small_disk)], check=True)
    code, _, err = panic("experiment", "add", path)
    assert code == 2
    said = " ".join(err.split())
    assert said.startswith("Error: ")
    assert "make room" in said

    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    code, _, err = panic("experiment", "add", path)
    assert code == 0, err
    assert "cats" in panic("experiment", "list")[1]
