"""Suites, what prompts say, and how deeply epochs are tested."""

import copy
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from panic_assets.errors import UserError
from panic_assets.finetunes.captions import prompts
from panic_assets.finetunes.drawing import depth, suites, synthetic
from panic_assets.finetunes.pictures import measures

SUITE = suites.default()
GOOD = {
    "suite": "s",
    "version": 1,
    "seeds": [1, 2, 3],
    "prompts": [{"id": "a", "category": "colour", "text": "pink hair (#ff69b4), green background (#00FF00)"}],
}


def changed(**prompt):
    raw = copy.deepcopy(GOOD)
    raw["prompts"][0].update(prompt)
    return raw


def test_default_suite_is_fifteen_diverse_prompts():
    suite = suites.default()
    assert len(suite.prompts) == 15
    assert {p.category for p in suite.prompts} == set(suites.CATEGORIES)
    assert {p.category for p in suite.prompts[:5]} == set(suites.CATEGORIES)
    assert all(len(p.seeds) >= 3 for p in suite.prompts)
    for prompt in suite.prompts:
        assert {"background", "hair", "skin", "clothes"} <= set(prompt.colours), prompt.id
        measured = prompt.text[: prompt.text.rindex("(#") + 9]
        pieces = re.findall(r"#|[0-9a-f](?=[0-9a-f]*\))|[a-z]+|[0-9]|[^\sa-z0-9]", measured)
        assert len(pieces) <= 75, f"{prompt.id}: what is measured must be within what CLIP reads"
        assert measures.inseparable(prompt.colours) == set(), prompt.id
        assert prompt.expression is not None
        assert prompt.negative
        assert (prompt.category == "accessory") == bool(prompt.accessories), prompt.id
        drawn = synthetic.upscaled(synthetic.portrait(prompt.colours, prompt.accessories, prompt.expression), 240)
        score = measures.measure(drawn, prompt.colours, prompt.accessories).colour
        assert score is not None
        assert score > 95, f"a portrait drawn as asked scores well: {prompt.id} {score}"


def test_what_a_prompt_says():
    text = (
        "pixel art, portrait of lad, hair (#C06148), wearing gray hat with multicolored (red gold and white) logo, "
        "dark brown eyes (#b27f60), medium male skin tone ( #b27f60 ), checkered brick background (#c06148), slight smile"
    )
    assert prompts.colours(text) == {
        "hair": "#c06148",
        "eyes": "#b27f60",
        "skin": "#b27f60",
        "background": "#c06148",
    }
    assert prompts.accessories(text) == ("hat",)
    assert prompts.expression(text) == "smile"
    spans = [text[one.start : one.end] for one in prompts.labelled(text)]
    assert spans[0] == "hair (#C06148)"
    assert spans[-1] == "checkered brick background (#c06148)"
    assert prompts.colours("red flower in hair (#ff0000)") == {"flower": "#ff0000"}
    assert prompts.colours("palette: #ff0000, #00ff00") == {}
    assert prompts.colours("a portrait") == {}, "nothing said, nothing assumed"
    assert prompts.expression("a portrait") is None


@given(st.text(max_size=80))
def test_any_text_can_be_read(text):
    for one in prompts.labelled(text):
        assert text[one.start : one.end].endswith(")")
        assert one.colour in text.lower()


def test_json_round_trip_and_hash():
    suite = suites.default()
    again = suites.from_json(suite.json)
    assert again == suite
    assert again.hash == suite.hash
    assert suites.parse(changed(text="pink hair (#ff69b5)"), "x").hash != suites.parse(GOOD, "x").hash
    assert suites.parse({**GOOD, "generation": {"steps": 20}}, "x").hash != suites.parse(GOOD, "x").hash


def test_expected_adds_and_may_not_contradict():
    suite = suites.parse(
        changed(expected={"colours": {"skin": "#D9A577"}, "accessories": ["hat"], "expression": "smile"}), "x"
    )
    assert suite.prompts[0].colours == {"hair": "#ff69b4", "background": "#00ff00", "skin": "#d9a577"}
    assert suite.prompts[0].accessories == ("hat",)
    assert suite.prompts[0].expression == "smile"
    suites.parse(changed(expected={"colours": {"hair": "#FF69B4"}}), "x")
    with pytest.raises(UserError, match=r"text colours hair #ff69b4, but expected says #0000ff"):
        suites.parse(changed(expected={"colours": {"hair": "#0000ff"}}), "x")


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ([], "must be a mapping"),
        ({**GOOD, "version": 0}, "version is 0"),
        ({**GOOD, "version": True}, "version is True"),
        ({**GOOD, "prompts": []}, "at least one prompt"),
        ({**GOOD, "promts": []}, "did you mean 'prompts'"),
        ({**GOOD, "seeds": [1, 2]}, "3 or more"),
        ({**GOOD, "seeds": [1, 1, 2, 3]}, "different whole numbers"),
        ({**GOOD, "seeds": [1, 2, -3]}, "from 0"),
        ({**GOOD, "prompts": GOOD["prompts"] * 2}, "used twice"),
        ({**GOOD, "generation": {"scheduler": "DDIM"}}, "accepted: DDIMScheduler"),
        ({**GOOD, "generation": {"steps": 0}}, "steps is 0"),
        ({**GOOD, "generation": {"size": 500}}, "multiple of 8"),
        (changed(category="color"), "did you mean 'colour'"),
        (changed(id="a/b"), "id is 'a/b'"),
        (changed(text="  "), "text is"),
        (changed(expected={"colours": {"hair": "pink"}}), "must look like '#00ff00'"),
        (changed(expected={"colours": {"hare": "#ff0000"}}), "did you mean 'hair'"),
        (changed(expected={"accessories": ["hatt"]}), "did you mean 'hat'"),
        (changed(expected={"expression": "smil"}), "did you mean 'smile'"),
    ],
)
def test_bad_suites_are_refused_in_a_sentence(raw, says):
    with pytest.raises(UserError, match=says) as refusal:
        suites.parse(raw, "file")
    assert "\n" not in str(refusal.value)


def test_reading_files(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(GOOD))
    assert suites.read(path) == suites.parse(GOOD, "")
    path.write_text("suite: [")
    with pytest.raises(UserError, match="is not valid YAML: line 1: ") as refusal:
        suites.read(path)
    assert "\n" not in str(refusal.value)
    with pytest.raises(UserError, match="cannot be read"):
        suites.read(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="no prompt 'b'"):
        suites.parse(GOOD, "").prompt("b")


def test_default_depth_of_ten_epochs():
    counts = [depth.DEFAULT.count(e) for e in range(1, 11)]
    assert counts == [1, 1, 1, 1, 5, 1, 15, 5, 5, 15]
    assert sum(counts) == 50
    assert depth.DEFAULT.level(7) == "full", "named as medium and as full: the deepest"
    assert depth.DEFAULT.level(11) == "quick"


def test_depth_as_configuration():
    assert depth.parse(None) == depth.DEFAULT
    assert depth.parse("full").count(3) == 15
    own = depth.parse({"levels": {"one": 1, "all": 9}, "epochs": {"all": [2, 4]}})
    assert [own.count(e) for e in (1, 2, 3, 4)] == [1, 9, 1, 9]
    for bad, says in [
        ("ful", "did you mean 'full'"),
        ({"epochs": {"deep": [1]}}, "names 'deep'"),
        ({"epochs": {"full": [0]}}, "epochs from 1"),
        ({"levels": {"x": 0}}, "from 1"),
        ({"depth": 1}, "depth is"),
        (3, "depth is 3"),
    ]:
        with pytest.raises(UserError, match=says):
            depth.parse(bad)


@given(st.integers(0, 15), st.integers(0, 15))
def test_deepening_reuses_every_cell(first, second):
    suite = SUITE
    shallow, deep = sorted((first, second))
    have = {c.key for c in depth.cells(suite, shallow)}
    more = depth.missing(suite, deep, have)
    assert len(more) == 3 * (deep - shallow)
    assert have | {c.key for c in more} == {c.key for c in depth.cells(suite, deep)}
    assert depth.missing(suite, shallow, {c.key for c in depth.cells(suite, deep)}) == []


def test_only_shared_prompts_are_compared():
    assert depth.shared({1: {"a"}, 5: {"a", "b"}, 7: {"a", "b", "c"}}) == {"a"}
    assert depth.shared({5: {"a", "b"}, 7: {"a", "b", "c"}}) == {"a", "b"}
    assert depth.shared({}) == set()
