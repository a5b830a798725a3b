"""The doctor knows fine-tunes: what is broken or missing is found, and made again by their own job."""

import json

import pytest

from panic_assets.checks import COMPLETE, checks_of
from panic_assets.doctor import doctor
from panic_assets.finetunes import assets, stages
from panic_assets.finetunes.captions import rules as captions
from panic_assets.finetunes.tables import TABLES
from panic_assets.house import open_house
from panic_assets.instance.hook import without_hook
from panic_assets.training import runs
from panic_assets_tests.checked import checked
from panic_assets_tests.finetunes.captioned import SOUND, folder_of
from panic_assets_tests.finetunes.conftest import RUN

pytestmark = pytest.mark.slow

PICTURES = "SELECT epoch, prompt, seed, image_hash FROM test_images ORDER BY ALL"
RESULTS = "SELECT epoch, prompt, seed, image_hash, colour FROM prompt_test_results ORDER BY ALL"
PER_CHECKPOINT = [table.name for table in TABLES if "checkpoint" in table.partitioned_by]


def stored(lake):
    return [lake.sql(query, training_run=RUN).to_pylist() for query in (PICTURES, RESULTS)]


def one_checkpoint(lake) -> str:
    return lake.sql("SELECT checkpoint FROM test_images WHERE epoch = 2", training_run=RUN)["checkpoint"][0].as_py()


def truncate(lake) -> str:
    where = {"training_run": RUN, "checkpoint": one_checkpoint(lake)}
    (file,) = lake.manifest("test_images", **where).files
    path = lake.folder("test_images", **where) / file.name
    path.write_bytes(path.read_bytes()[:100])
    return f"file {file.name} of test_images"


def remove_all(lake) -> str:
    checkpoint = one_checkpoint(lake)
    for table in PER_CHECKPOINT:
        lake.remove(table, training_run=RUN, checkpoint=checkpoint)
    return "training run tune lacks 15 of 75 pictures"


def forget_results(lake) -> str:
    lake.remove("prompt_test_results", training_run=RUN, checkpoint=one_checkpoint(lake))
    return "training run tune lacks 15 of 75 measurements"


@pytest.mark.parametrize("damage", [truncate, remove_all, forget_results])
def test_what_is_damaged_is_found_and_made_again(panic, instance, home_lake, damage):
    assert doctor.examine(open_house(instance)) == []
    before = stored(home_lake)
    sentence = damage(home_lake)
    code, out, _ = panic("doctor", "--format", "json")
    found = json.loads(out)
    assert (code, found["healthy"]) == (1, False)
    assert any(sentence in f["sentence"] for f in found["findings"]), out
    code, out, err = panic("doctor", "--fix")
    assert code == 0, out + err
    assert stored(home_lake) == before
    assert doctor.examine(open_house(instance)) == []
    assert checked(assets.test_images, COMPLETE, RUN).passed
    assert "healthy" in panic("doctor")[1]


def test_the_captions_of_a_run_are_checked(instance, home_lake, tmp_path):
    stages.check_captions(home_lake, RUN, folder_of(tmp_path, [SOUND]), captions.Rules(), run=RUN)
    assert {k.name for k in checks_of(assets.captions).check_keys} == {
        COMPLETE, "captions_valid", "caption_findings_valid",
    }  # fmt: skip
    assert checked(assets.captions, "captions_valid", RUN).passed
    home_lake.rewrite("captions", "FROM captions UNION ALL FROM captions", (), caption_set=RUN)
    told = checked(assets.captions, "captions_valid", RUN)
    assert not told.passed
    assert "repeat the key" in told.description


@pytest.fixture
def loop(home_lake, instance) -> str:
    """A run of another family beside the fine-tune."""
    new = runs.NewRun("other", "grokking", {}, "/nowhere", status="watched")
    runs.register(home_lake, new)
    instance.add_dynamic_partitions("grokking_run", ["other"])
    return "other"


def test_a_run_of_one_family_is_no_missing_partition_of_another(instance, loop):
    from panic_assets.definitions import ASSETS

    for asset in ASSETS:
        keys = set(asset.partitions_def.get_partition_keys(dynamic_partitions_store=instance))
        assert keys != {RUN, loop}, asset.key
        assert keys & {RUN, loop} == (
            {RUN} if asset.partitions_def.name == "finetune_run"
            else {loop} if asset.partitions_def.name == "grokking_run"
            else set()
        ), asset.key  # fmt: skip
    assert doctor.examine(open_house(instance)) == []


def test_a_key_in_the_space_of_another_family_goes_without_the_rows(instance, home_lake, loop):
    """A home that is older than the families' own spaces has the keys of all runs in `training_run`."""
    before = stored(home_lake)
    for space, key in (("training_run", RUN), ("training_run", loop), ("grokking_run", RUN)):
        instance.add_dynamic_partitions(space, [key])
    with_keys = open_house(instance)
    found = doctor.examine(with_keys)
    assert sorted(f.sentence for f in found) == [
        "Dagster has the key other in the space training_run, but training run other belongs to another space",
        "Dagster has the key tune in the space grokking_run, but training run tune belongs to another space",
        "Dagster has the key tune in the space training_run, but training run tune belongs to another space",
    ]
    list(doctor.repair(with_keys, found))
    assert doctor.examine(with_keys) == []
    assert instance.get_dynamic_partitions("finetune_run") == [RUN]
    assert stored(home_lake) == before
    instance.add_dynamic_partitions("grokking_run", [RUN])
    instance.delete_dynamic_partition("grokking_run", RUN)  # the delete button of the UI
    assert stored(home_lake) == before


def test_rows_of_a_run_that_nobody_registered_are_said_once_and_go(instance, home_lake):
    home_lake.remove("training_runs", training_run=RUN)
    with without_hook():
        instance.delete_dynamic_partition("finetune_run", RUN)
    house = open_house(instance)
    found = doctor.examine(house)
    assert sum("training run tune has rows, but Dagster has no key for it" in f.sentence for f in found) == 1
    list(doctor.repair(house, found))
    assert doctor.examine(house) == []
    assert [name for name in home_lake.tables for _ in home_lake.partitions(name)] == []


def test_what_is_sound_is_left_alone(instance, home_lake):
    before = stored(home_lake)
    assert list(doctor.repair(open_house(instance), [])) == []
    assert stored(home_lake) == before
