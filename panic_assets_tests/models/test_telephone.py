"""The typesetter and the optical reader are a true telephone game: real reading errors, real fixed points, blank captions."""

from pathlib import Path

import numpy as np
import pytest

from panic_assets.models.load import load
from panic_assets.models.protocol import UNSEEDED
from panic_assets.registry import registry
from panic_assets.tables import open_lake
from panic_assets_tests.trajectories.world import definition, perform

pytest.importorskip(
    "cv2", reason="the optical reader needs OpenCV, which needs the system's libGL", exc_type=ImportError
)

PROMPT = "a small red cat sleeping in the morning light"


def test_what_is_set_can_be_read_and_not_without_mistakes() -> None:
    [page] = load(registry.get("Typesetter")).generate([PROMPT], [1])
    assert page.size == (192, 192)
    [text] = load(registry.get("OpticalReader")).generate([page], [1])
    letters = text.replace(" ", "")
    assert letters.startswith("asmallredcat")
    assert text != PROMPT


def test_a_page_depends_on_text_and_seed_and_on_nothing_else() -> None:
    typesetter = load(registry.get("Typesetter"))
    together = typesetter.generate([PROMPT, "two boats", PROMPT], [1, 1, 2], 96)
    alone = [typesetter.generate([text], [seed], 96)[0] for text, seed in ((PROMPT, 1), ("two boats", 1), (PROMPT, 2))]
    assert [p.tobytes() for p in together] == [p.tobytes() for p in alone]
    assert len({p.tobytes() for p in together}) == 3
    fresh = typesetter.generate([PROMPT] * 2, [UNSEEDED] * 2)
    assert fresh[0].tobytes() != fresh[1].tobytes()


def test_texts_of_any_kind_are_set_and_an_empty_page_reads_blank() -> None:
    typesetter, reader = load(registry.get("Typesetter")), load(registry.get("OpticalReader"))
    pages = typesetter.generate(["", "word " * 2000, "عربى \U0001f600 \x07", "A" * 500], [1] * 4)
    assert all(page.size == (192, 192) for page in pages)
    assert reader.generate(pages[:1], [1]) == [""]
    assert np.asarray(pages[1]).std() > 10


def test_runs_come_to_rest_where_nothing_is_misread_any_more(tmp_path: Path) -> None:
    lake = open_lake(tmp_path / "lake")
    networks = [["Typesetter", "OpticalReader"], ["RoughTypesetter", "OpticalReader"]]
    perform(
        lake, definition(networks=networks, prompts=[PROMPT, "two boats"], seeds=[1, 2], max_length=24, image_size=None)
    )
    stops = lake.sql("SELECT network, stop_reason FROM runs").to_pylist()
    rested = [r for r in stops if r["network"] == "Typesetter-OpticalReader" and r["stop_reason"] == "loop"]
    assert len(rested) >= 3
    counted = lake.sql(
        "SELECT count(*) AS n, count(DISTINCT output_text) AS different FROM invocations WHERE type = 'text'"
    )
    [row] = counted.to_pylist()
    assert 4 < row["different"] < row["n"]
