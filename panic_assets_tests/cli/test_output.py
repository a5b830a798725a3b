"""Tables on the terminal: what does not fit is turned on its side."""

import pytest

from panic_assets.cli import output


@pytest.fixture
def narrow(monkeypatch, capsys):
    """Prints a table forty characters wide; what came out, line by line."""
    monkeypatch.setattr(output.console, "_width", 40)

    def printed(*arguments, **options):
        output.table(*arguments, **options)
        return [line.rstrip() for line in capsys.readouterr().out.splitlines()]

    return printed


def test_what_fits_is_a_table(narrow):
    assert "│ cats │ 1,200 │" in narrow(["name", "count"], [["cats", 1200]])


def test_one_row_that_does_not_fit_is_lines_of_name_and_value(narrow):
    lines = narrow(["name", "prompt", "count"], [["cats", "a cat on a roof that looks at the sea", 1200]], title="run")
    assert lines[:2] == ["run", "name    cats"]
    assert lines[-1] == "count   1,200"
    assert "".join(line.strip() for line in lines[2:-1]).startswith("prompt  a cat on a roof")


def test_several_rows_are_folded_while_their_headings_fit(narrow):
    lines = narrow(["name", "prompt"], [["cats", "a cat on a roof that looks at the sea"], ["dogs", "a dog"]])
    assert lines[0].startswith("┏")


def test_several_rows_whose_headings_do_not_fit_are_numbered(narrow):
    columns = [f"column_{index}" for index in range(6)]
    lines = narrow(columns, [range(6), range(6, 12)])
    assert [line for line in lines if line.startswith("row")] == ["row 1", "row 2"]
    assert lines[1] == "column_0  0"
    assert lines[-1] == "column_5  11"


def test_nothing_is_said_to_be_nothing(narrow):
    assert narrow(["name"], [], title="runs") == ["runs: none"]
