"""Files that people write: whatever is in one, it gives a configuration or one sentence."""

import os
import random
from pathlib import Path

import pytest

from benchmarks.mutations import mutations
from panic_assets.errors import LONGEST_SHOWN, UserError, cut, shown
from panic_assets.reading import DEEPEST, LARGEST, parse_json, parse_yaml, read_yaml
from panic_assets.training import settings
from panic_assets_tests.written import KINDS, TRAINING


@pytest.mark.parametrize("kind", KINDS)
def test_a_spoilt_file_gives_a_configuration_or_a_sentence(kind: str, tmp_path: Path) -> None:
    """`benchmarks/` asks the same of more files."""
    text, name, read = KINDS[kind]
    path = tmp_path / name
    path.write_text(text)
    read(path)  # As it is, it is good.
    refused = []
    for number, data in enumerate(mutations(text.encode(), random.Random(kind), count=60)):
        path.write_bytes(data)
        try:
            read(path)
        except UserError as error:
            refused.append(str(error).replace(str(tmp_path), ""))
        except BaseException as error:
            raise AssertionError(f"mutation {number} is not refused in a sentence: {data[:500]!r}") from error
    assert len(refused) > 10
    assert max(map(len, refused)) < 1000
    "".join(refused).encode()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: 1\nb: 2026-13-45", "line 2: '2026-13-45' cannot be read as timestamp"),
        ("a: " + "9" * 5000, "line 1: '999"),
        ('a: !!int "abc"', "line 1: 'abc' cannot be read as int"),
        ("a: " + "[" * 100_000, f"line 1: it is nested more than {DEEPEST} deep"),
        ("a: " + "[" * 60 + "]" * 60, f"line 1: it is nested more than {DEEPEST} deep"),
        ("\n" + "{a: " * 500, f"line 2: it is nested more than {DEEPEST} deep"),
        ('a: "\\ud800"', "line 1: the text '\\\\ud800' holds half of a character"),
        ('a: "\\0"', "line 1: the text '\\\\x00' holds the character NUL"),
        ('a: "\\UFFFFFFFF"', "line 1"),
        ("a: &x [1]\nb: *x", "line 2: \\*x repeats another value; aliases are not accepted"),
        ("a: 1\nb: 2\na: 3", "line 3: 'a' is given twice in one mapping"),
        ("a: !!python/object:os.system {}", "could not determine a constructor"),
        ("a: " + "x" * LARGEST, "at most 1,000,000 are read"),
    ],
    ids=lambda value: value[:24],
)
def test_what_is_wrong_with_yaml_is_said_with_its_line(text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as told:
        parse_yaml(text, "file.yaml")
    assert str(told.value).startswith("file.yaml ")
    assert len(str(told.value)) < 500


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"a": "\\ud800"}', "holds half of a character"),
        ('{"a": 1, "a": 2}', "'a' is given twice"),
        ("[" * 100_000, "nested more than"),
        ("[" * 60 + "]" * 60, "nested more than"),
        ('{"a": ' + "9" * 5000 + "}", "is not valid JSON"),
        ('{"a":\n1,}', "line 2"),
    ],
    ids=lambda value: value[:24],
)
def test_json_is_held_to_the_same(text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        parse_json(text, "file.json")


def test_a_rare_character_written_in_two_halves_is_one_in_yaml_as_in_json() -> None:
    assert parse_yaml('"\\ud83d\\ude00"', "x") == parse_json('"\\ud83d\\ude00"', "x") == "\N{GRINNING FACE}"


def test_the_field_on_is_a_name_and_no_truth_value(tmp_path: Path) -> None:
    """YAML 1.1 reads the key `on` as true: `stop: {on: projected}` was taken for `on: spent`."""
    assert parse_yaml("{on: projected, dry_run: off}", "x") == {"on": "projected", "dry_run": False}
    (tmp_path / "training.yaml").write_text(TRAINING)
    stop = settings.parse(read_yaml(tmp_path / "training.yaml")).stop
    assert stop is not None
    assert stop.on == "projected"


def test_files_that_are_none_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")  # Opening it would wait for ever.
    (tmp_path / "large.yaml").write_bytes(b"a" * (LARGEST + 1))
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    (tmp_path / "latin.yaml").write_bytes("n\xe4me: x".encode("latin-1"))
    for name, sentence in (
        ("pipe.yaml", "is not a file"),
        (".", "is not a file"),
        ("large.yaml", "has 1,000,001 bytes; at most 1,000,000 are read"),
        ("loop.yaml", "cannot be read: "),
        ("none.yaml", "cannot be read: No such file"),
        ("latin.yaml", "it is not UTF-8 text"),
    ):
        with pytest.raises(UserError, match=sentence):
            read_yaml(tmp_path / name)


def test_a_message_prints_a_short_piece_of_a_value() -> None:
    assert shown("a  b") == "'a  b'"
    assert shown({"b": [1, 2]}) == "{'b': [1, 2]}"
    deep: list[object] = ["x"] * 1000
    for _ in range(40):
        deep = [deep] * 4
    for value in ("a" * 10**6, 16**9999, deep, {n: n for n in range(10**5)}, b"x" * 10**6, "\ud800"):
        assert len(shown(value)) <= LONGEST_SHOWN
        shown(value).encode()
    assert cut(" a\n b ") == "a b"
    assert len(cut("a b " * 10**5)) <= LONGEST_SHOWN
