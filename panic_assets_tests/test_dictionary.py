"""The data dictionary in docs/ is the schemas', and it says what DuckDB says."""

import re
from datetime import UTC, datetime

import duckdb
import pytest

from panic_assets import dictionary
from panic_assets.lake import catalogue
from panic_assets.lake.schema import Column
from panic_assets.tables import TABLES, VIEWS, open_lake

SAMPLES = {
    "string": "x",
    "int32": 1,
    "int64": 1,
    "float32": 1.0,
    "float64": 1.0,
    "bool": True,
    "timestamp": datetime(2024, 1, 1, tzinfo=UTC),
    "binary": b"x",
    "vector": [1.0] * 384,
    "strings": ["x"],
}
"""A value of every type a column may have."""


def _sample(column: Column) -> object:
    return "MiniLM" if column.name == "embedding_model" else (column.allowed or (SAMPLES[column.type],))[0]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A catalogue of a lake with one row in every table, all of it through Parquet."""
    folder = tmp_path_factory.mktemp("dictionary")
    lake = open_lake(folder / "lake")
    for table in TABLES.values():
        row = {column.name: _sample(column) for column in table.columns}
        lake.replace(table.name, [row], **{name: row[name] for name in table.partitioned_by})
    catalogue.build(lake, folder / "panic.duckdb")
    with duckdb.connect(str(folder / "panic.duckdb"), read_only=True) as connection:
        yield connection


def _written() -> dict[str, list[tuple[str, str]]]:
    """Table or view -> its columns and types, as docs/data_dictionary.md has them."""
    sections = re.split(r"^### (\w+)$", dictionary.PATH.read_text(encoding="utf-8"), flags=re.MULTILINE)
    names, bodies = sections[1::2], sections[2::2]
    return {
        name: re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", body, flags=re.MULTILINE)
        for name, body in zip(names, bodies, strict=True)
    }


def test_the_file_is_up_to_date():
    assert dictionary.PATH.read_text(encoding="utf-8") == dictionary.markdown(), (
        "docs/data_dictionary.md is out of date; make it again with `python -m panic_assets.dictionary`"
    )


def test_every_table_and_view_is_in_it():
    assert set(_written()) == {*TABLES, *VIEWS}


@pytest.mark.parametrize("name", [*TABLES, *VIEWS])
def test_types_are_those_of_the_catalogue(built, name):
    assert _written()[name] == dictionary.described(built, name)


def test_the_catalogue_has_nothing_else(built):
    there = {row[0] for row in built.execute("SELECT table_name FROM information_schema.tables").fetchall()}
    fixed = {
        catalogue.vector_view(t.name, "MiniLM")
        for t in TABLES.values()
        if t.vector and "embedding_model" in t.partitioned_by
    }
    assert there == {*TABLES, *VIEWS, *fixed, "catalogue"}


def test_fixed_size_vectors_are_as_long_as_it_says(built):
    text = dictionary.PATH.read_text(encoding="utf-8")
    (size,) = set(re.findall(r"`embeddings_MiniLM` \(`(FLOAT\[\d+\])`\)", text))
    assert dict(dictionary.described(built, "embeddings_MiniLM"))["vector"] == size
