import itertools
import re
import shutil

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from panic_assets.errors import UserError
from panic_assets.graphics import animation
from panic_assets.graphics.animation import Scene

EPOCHS = (0, 10, 500)


def scene(kind="points", **changes):
    x = np.arange(4.0)
    frames = tuple((x, x * size) for size in (1.0, 2.0, -3.0))
    if kind == "path":
        frames = tuple((x[: i + 2], x[: i + 2] ** 2) for i in range(3))
    if kind == "heat":
        frames = tuple((x, size * np.arange(8).reshape(2, 4)) for size in (0.1, 0.5, 1.0))
    given = {"rows": ("a", "b")} if kind == "heat" else {}
    return Scene("title", kind, EPOCHS, frames, "across", "up", **{**given, **changes})


def test_axes_are_locked_over_all_frames():
    (x0, x1), (y0, y1) = scene().ranges
    assert (x0 < 0, x1 > 3, y0 < -9, y1 > 6) == (True,) * 4
    assert scene("bars").ranges[1][0] == 0
    assert scene("heat").ranges == ((-0.5, 3.5), (-0.5, 1.5))


@pytest.mark.parametrize("kind", ["points", "path", "bars", "heat"])
def test_the_page_is_self_contained_and_has_a_frame_an_epoch(kind):
    page = animation.html(scene(kind))
    assert not re.search(r'<(script|link|img)[^>]+(src|href)="?http', page)
    for epoch in EPOCHS:
        assert f'"name":"{epoch}"' in page
    assert '"label":"Play"' in page
    assert "epoch 500" in page


def test_the_page_plays_and_can_be_scrubbed_in_a_browser(tmp_path):
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    (tmp_path / "page.html").write_text(animation.html(scene(notes=("one", "two", "three"))), encoding="utf-8")
    asked = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.on("request", lambda r: r.url.startswith(("file:", "data:")) or asked.append(r.url))
        page.goto(f"file://{tmp_path}/page.html")
        page.wait_for_selector(".updatemenu-button")
        assert page.text_content(".gtitle") == "title   epoch 0   one"
        page.click(".updatemenu-button >> nth=0")
        shown = "document.querySelector('.gtitle').textContent.endsWith('epoch {}')"
        page.wait_for_function(shown.format("500   three"))
        assert page.evaluate("document.querySelector('.js-plotly-plot')._fullData[0].y[1]") == -3
        rail = page.locator(".slider-rail-touch-rect").bounding_box()
        page.mouse.click(rail["x"] + rail["width"] / 2, rail["y"] + rail["height"] / 2)
        page.wait_for_function(shown.format("10   two"))
        browser.close()
    assert asked == []


@pytest.mark.parametrize("kind", ["points", "path", "bars", "heat"])
def test_pictures_change_but_their_axes_do_not(kind):
    first, last = (np.asarray(animation.picture(scene(kind), i)) for i in (0, 2))
    assert first.shape == (720, 960, 3)
    assert (first != last).any()
    left = slice(0, animation.MARGIN[0] - 2)
    np.testing.assert_array_equal(first[64:600, left], last[64:600, left])


def test_the_strip_shows_uneven_spacing():
    def marker(i):
        row = np.asarray(animation.picture(scene(), i))[animation.SIZE[1] - 38].astype(int)
        red = np.flatnonzero((abs(row - animation.ACCENT).sum(axis=1)) < 30)
        return red.mean()

    at = [marker(i) for i in range(3)]
    assert (at[1] - at[0]) / (at[2] - at[0]) == pytest.approx(10 / 500, abs=0.005)


def test_only_missing_frames_are_drawn(tmp_path):
    for _ in itertools.islice(animation.draw_frames(scene(), tmp_path), 2):
        pass
    before = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    assert len(before) == 2
    assert list(animation.draw_frames(scene(), tmp_path)) == [1, 2, 3]
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert len(list(tmp_path.glob("*.png"))) == 3


def test_films_have_every_frame(tmp_path):
    list(animation.draw_frames(scene(), tmp_path))
    paths = [animation.frame_path(tmp_path, i) for i in range(3)]
    animation.gif(paths, tmp_path / "out.gif")
    with Image.open(tmp_path / "out.gif") as film:
        assert (film.n_frames, film.size) == (3, animation.SIZE)
    animation.mp4(paths, tmp_path / "out.mp4")
    count, _ = imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "out.mp4"))
    assert count == 3


def test_a_small_mark_keeps_its_colour_in_a_film_of_many_shades(tmp_path):
    shades = np.random.default_rng(0).random((30, 40))
    rows = tuple(map(str, range(30)))
    many = Scene("title", "heat", (0, 9, 20), ((np.arange(40), shades),) * 3, "across", "up", rows=rows)
    animation.picture(many, 1).save(tmp_path / "frame.png")
    animation.gif([tmp_path / "frame.png"], tmp_path / "out.gif")
    with Image.open(tmp_path / "out.gif") as film:
        strip = np.asarray(film.convert("RGB"))[animation.SIZE[1] - 38].astype(int)
    assert abs(strip - animation.ACCENT).sum(axis=1).min() < 30


def test_scenes_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match="one frame per epoch"):
        Scene("t", "points", (1, 2), (), "x", "y")
    with pytest.raises(UserError, match="1 notes for 3 frames"):
        scene(notes=("one",))


def test_ticks_are_round():
    assert animation.nice_ticks(-0.013, 0.27) == [0.0, 0.1, 0.2]
    assert animation.nice_ticks(3, 3) == [3]
