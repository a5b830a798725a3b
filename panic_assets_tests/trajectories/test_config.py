"""What a user may write: every refusal is one sentence with field, value and what is accepted."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from panic_assets.errors import UserError
from panic_assets.trajectories.config import FIELDS, Definition, extended, from_json, parse, read

GOOD: dict[str, Any] = {
    "name": "good",
    "networks": [["DummyT2I", "DummyI2T"]],
    "prompts": ["a red cat"],
    "seeds": [-1, -1, 0, 42],
    "embedding_models": ["DummyText"],
    "max_length": 10,
}
NOTHING = object()


def changed(**fields: Any) -> dict[str, Any]:
    return {k: v for k, v in {**GOOD, **fields}.items() if v is not NOTHING}


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"promts": ["x"]}, r"unknown field 'promts'; did you mean 'prompts'\? \(accepted: name, networks, .*precision\)"),
    ({"name": "a/b"}, r"name is 'a/b'; it must be 1 to 100 letters"),
    ({"name": ""}, r"name is ''; it must be"),
    ({"name": "x" * 101}, r"name is 'x+'; it must be 1 to 100"),
    ({"name": "a,b"}, r"name is 'a,b'"),
    ({"name": "a...b"}, r"name is 'a\.\.\.b'; it must be .* without '\.\.\.'"),
    ({"name": "a\n"}, r"name is 'a\\n'"),
    ({"name": 7}, r"name is 7; it must be"),
    ({"name": NOTHING}, r"name is None; it must be"),
    ({"networks": []}, r"networks is \[\]; it must be a list of lists of model names"),
    ({"networks": NOTHING}, r"networks is None; it must be a list"),
    ({"networks": "DummyT2I"}, r"networks is 'DummyT2I'; it must be a list"),
    ({"networks": [[]]}, r"networks\[0\] is \[\]; a network must be a list of model names"),
    ({"networks": [["DummyT2I", "DummyI2T"], "DummyT2I"]}, r"networks\[1\] is 'DummyT2I'; a network must be a list"),
    ({"networks": [["DumyT2I", "DummyI2T"]]}, r"networks\[0\] names 'DumyT2I', .*did you mean 'DummyT2I'\?"),
    ({"networks": [[["DummyT2I"], "DummyI2T"]]}, r"networks\[0\] names \['DummyT2I'\], which is not a generator in the registry"),
    ({"networks": [["DummyT2I", "DummyText"]]}, r"networks\[0\] names 'DummyText', which is not a generator in the registry"),
    ({"networks": [["DummyI2T", "DummyT2I"]]}, r"networks\[0\] starts with 'DummyI2T', which takes image; .* take text"),
    (
        {"networks": [["DummyT2I", "DummyT2I2"]]},
        r"networks\[0\]: 'DummyT2I' gives image but 'DummyT2I2', the next, takes text",
    ),
    (
        {"networks": [["DummyT2I"]]},
        r"networks\[0\]: 'DummyT2I' gives image but 'DummyT2I', the next, takes text; .* the first what the last",
    ),
    ({"networks": GOOD["networks"] * 2}, r"networks contains 'DummyT2I-DummyI2T' more than once"),
    ({"prompts": []}, r"prompts is \[\]; it must be a list of texts"),
    ({"prompts": "a cat"}, r"prompts is 'a cat'; it must be a list"),
    ({"prompts": [" \n"]}, r"prompts contains ' \\n'; each prompt must be a Unicode text that is not blank"),
    ({"prompts": [3]}, r"prompts contains 3; each prompt must be"),
    ({"prompts": ["\ud83d"]}, r"prompts contains '\\ud83d'; each prompt must be a Unicode text"),
    ({"prompts": ["a", "b", "a"]}, r"prompts contains 'a' more than once"),
    ({"seeds": []}, r"seeds is \[\]; it must be a list of seeds"),
    ({"seeds": [1, 1]}, r"seeds contains 1 more than once; each may be given once"),
    ({"seeds": [-2]}, r"seeds contains -2; a seed must be -1 \(unseeded\) or a whole number from 0 to 2\^63 - 1"),
    ({"seeds": [2**63]}, r"seeds contains 9223372036854775808; a seed must be"),
    ({"seeds": [1.0]}, r"seeds contains 1\.0; a seed must be"),
    ({"seeds": [True]}, r"seeds contains True; a seed must be"),
    ({"seeds": ["1"]}, r"seeds contains '1'; a seed must be"),
    ({"seeds": 5}, r"seeds is 5; it must be a list"),
    ({"seeds": NOTHING}, r"seeds, seed_count, num_runs: none is given; give exactly one: a list of seeds, or a number of unseeded runs"),
    ({"seed_count": 2}, r"seeds, seed_count, num_runs: seeds and seed_count are given; give exactly one"),
    ({"seeds": NOTHING, "seed_count": 0}, r"seed_count is 0; it must be a whole number from 1 to 1000000"),
    ({"embedding_models": []}, r"embedding_models is \[\]; it must be a list of names"),
    ({"embedding_models": ["DumyText"]}, r"embedding_models names 'DumyText', .*did you mean 'DummyText2?'\?"),
    ({"embedding_models": [["DummyText"]]}, r"embedding_models names \['DummyText'\], which is not an embedding model in the registry"),
    ({"embedding_models": ["DummyT2I"]}, r"embedding_models names 'DummyT2I', which is not an embedding model in the registry"),
    ({"embedding_models": ["DummyText"] * 2}, r"embedding_models contains 'DummyText' more than once"),
    ({"max_length": 0}, r"max_length is 0; it must be a whole number from 1 to 10000000"),
    ({"max_length": 2.5}, r"max_length is 2\.5; it must be a whole number"),
    ({"max_length": True}, r"max_length is True; it must be a whole number"),
    ({"max_length": "10"}, r"max_length is '10'; it must be a whole number"),
    ({"max_length": NOTHING}, r"max_length is None; it must be a whole number"),
    ({"image_size": 4}, r"image_size is 4; it must be a whole number from 8 to 4096"),
    ({"image_size": 20}, r"image_size is 20; it must be a multiple of 8 from 8 to 4096"),
    ({"image_format": "gif"}, r"image_format is 'gif'; it must be png or webp \(both lossless\), or jpeg \(lossy\)"),
    ({"image_format": ""}, r"image_format is ''; it must be png or webp"),
    ({"image_format": ["png"]}, r"image_format is \['png'\]; it must be png or webp"),
    ({"precision": "nf4"}, r"precision is 'nf4'; it must name models and their precisions, as in {Qwen3VL: nf4}"),
    ({"precision": {"Qwen3VL": "nf4"}}, r"precision names 'Qwen3VL', which is no model of this experiment"),
    ({"precision": {"DummyI2T": "nf4"}}, r"model DummyI2T cannot be held in precision 'nf4' \(it has no weights\)"),
    ({"embedding_models": ["MiniLM"], "precision": {"MiniLM": "nf4"}},
     r"model MiniLM cannot be held in precision 'nf4' \(accepted: float32, float16, bfloat16\)"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "sentence"), REFUSED, ids=[f"{i}-{next(iter(f))}" for i, (f, _) in enumerate(REFUSED)]
)
def test_refused_in_one_sentence(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as refusal:
        parse(changed(**fields))
    assert "\n" not in str(refusal.value)


def test_a_good_one_is_taken_as_it_is() -> None:
    found = parse(GOOD)
    assert found == Definition(
        name="good",
        networks=(("DummyT2I", "DummyI2T"),),
        prompts=("a red cat",),
        seeds=(-1, -1, 0, 42),
        embedding_models=("DummyText",),
        max_length=10,
        image_size=None,
        image_format="png",
    )
    assert found.runs == 4


def test_seed_count_means_unseeded_runs() -> None:
    assert parse(changed(seeds=NOTHING, seed_count=3)).seeds == (-1, -1, -1)


PROMPTS = st.lists(
    st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip), min_size=1, max_size=4, unique=True
)
GOOD_ONES = st.fixed_dictionaries(
    {
        "name": st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,30}\Z"),
        "networks": st.lists(
            st.sampled_from(["DummyT2I DummyI2T", "DummyT2I2 DummyI2T2", "DummyT2I DummyI2T DummyT2I DummyI2T2"]),
            min_size=1,
            unique=True,
        ).map(lambda names: [name.split() for name in names]),
        "prompts": PROMPTS,
        "seeds": st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=5, unique=True).map(lambda s: [-1, *s, -1]),
        "embedding_models": st.lists(
            st.sampled_from(["DummyText", "DummyText2", "DummyVision", "RandomWalk"]), min_size=1, unique=True
        ),
        "max_length": st.integers(1, 10_000_000),
    },
    optional={
        "image_size": st.none() | st.integers(1, 512).map(lambda n: 8 * n),
        "image_format": st.sampled_from(["png", "webp", "jpeg"]),
    },
)


@given(raw=GOOD_ONES)
def test_stored_and_read_back_it_is_the_same(raw: dict[str, Any]) -> None:
    found = parse(raw)
    assert from_json(found.json) == found
    assert parse(asdict(found)) == found
    assert found.runs == len(raw["networks"]) * len(raw["prompts"]) * len(raw["seeds"])


@given(raw=GOOD_ONES, junk=st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(), lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=3), x, max_size=2)), field=st.sampled_from(FIELDS))  # fmt: skip
def test_any_junk_is_taken_or_refused_in_one_sentence(raw: dict[str, Any], junk: Any, field: str) -> None:
    said = None
    try:
        found = parse({**raw, field: junk})
    except UserError as refusal:
        said = str(refusal)
    if said is None:
        assert from_json(found.json) == found
    else:
        assert field.split("_")[0] in said
        assert "\n" not in said


@given(
    raw=GOOD_ONES, more=st.sets(st.sampled_from(["DummyText", "DummyText2", "DummyVision", "RandomWalk"]), min_size=1)
)
def test_a_name_may_gain_embedding_models_and_nothing_else(raw: dict[str, Any], more: set[str]) -> None:
    old = parse(raw)
    new = parse({**raw, "embedding_models": sorted(more)})
    both = extended(old, new)
    assert both.embedding_models[: len(old.embedding_models)] == old.embedding_models
    assert set(both.embedding_models) == set(old.embedding_models) | more
    assert replace(both, embedding_models=old.embedding_models) == old
    assert extended(both, new) == both  # Asking twice changes nothing.
    assert extended(old, old) == old


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"max_length": 11}, "max_length"),
        ({"prompts": ["another"], "seeds": [1]}, "prompts, seeds"),
        ({"image_format": "webp"}, "image_format"),
    ],
)
def test_a_taken_name_is_refused_with_what_differs(fields: dict[str, Any], names: str) -> None:
    with pytest.raises(UserError, match=f"name 'good' is taken by an experiment with different {names}; .*delete good"):
        extended(parse(GOOD), parse(changed(**fields)))


def test_a_precision_is_fixed_once_its_model_is_registered() -> None:
    embedders = ["DummyText", "MiniLM"]
    half = parse(changed(embedding_models=embedders, precision={"MiniLM": "bfloat16"}))
    assert from_json(half.json) == half
    assert half.inputs.by_model["MiniLM@bfloat16"] == half.inputs.by_model["DummyText"]
    added = extended(parse(GOOD), half)
    assert added.precision == {"MiniLM": "bfloat16"}
    assert extended(added, half) == added
    assert extended(added, parse(GOOD)) == added
    with pytest.raises(UserError, match="taken by an experiment with different precision"):
        extended(added, parse(changed(embedding_models=embedders)))
    networks = [["SDXLTurbo", "Qwen3VL"]]
    plain, four = parse(changed(networks=networks)), parse(changed(networks=networks, precision={"Qwen3VL": "nf4"}))
    with pytest.raises(UserError, match="taken by an experiment with different precision"):
        extended(plain, four)


@pytest.mark.parametrize("suffix", [".json", ".yaml", ".yml", ".JSON"])
def test_files(tmp_path: Path, suffix: str) -> None:
    raw = {k: v for k, v in changed(prompts=["a 🐈 on the naïve mat", "tab\there"]).items() if k != "name"}
    path = tmp_path / f"my-experiment{suffix}"

    def dump(raw: dict[str, Any]) -> str:
        return json.dumps(raw, indent="\t") if suffix.lower() == ".json" else yaml.safe_dump(raw)

    for bom in ("", "\ufeff"):
        path.write_text(bom + dump(raw), encoding="utf-8")
        found = read(path)
        assert found.name == "my-experiment"
        assert found.prompts == ("a 🐈 on the naïve mat", "tab\there")
    path.write_text(dump({**raw, "name": "given"}))
    assert read(path).name == "given"


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("e.toml", b"", r"e\.toml is not an experiment file; its name must end in \.json, \.yaml, \.yml"),
        ("e.json", b"{", r"e\.json is not valid JSON: "),
        ("e.yaml", b"a: [", r"e\.yaml is not valid YAML: "),
        ("e.json", b"[" * 100_000, r"e\.json is not valid JSON: "),
        ("e.json", b"[]", r"e\.json must hold one mapping of the fields name, networks"),
        ("e.yaml", b"", r"e\.yaml must hold one mapping"),
        ("e.yaml", b"\xff\xfe\x00", r"e\.yaml cannot be read: "),
        ("my experiment.yaml", b"networks: []", r"name is 'my experiment'; it must be"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        read(tmp_path / name)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read: .*No such file"):
        read(tmp_path / "none.json")


def test_files_of_the_earlier_systems_are_read_as_they_are() -> None:
    earlier = {
        "name": "earlier",
        "network": ["DummyT2I", "DummyI2T"],
        "num_runs": 2,
        "prompts": ["a red cat"],
        "embedding_models": ["DummyText"],
        "max_length": 10,
    }
    found = parse(earlier)
    assert (found.networks, found.seeds) == ((("DummyT2I", "DummyI2T"),), (-1, -1))
    ours = {**earlier, "networks": [["DummyT2I", "DummyI2T"]], "seed_count": 2}
    del ours["network"], ours["num_runs"]
    assert parse(ours) == found
    with pytest.raises(UserError, match="networks, network: both are given"):
        parse({**earlier, "networks": [["DummyT2I", "DummyI2T"]]})
    with pytest.raises(UserError, match="num_runs is 'two'; it must be a whole number"):
        parse({**earlier, "num_runs": "two"})
