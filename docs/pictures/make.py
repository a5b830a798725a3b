"""The pictures of these pages, taken in Chromium from what the platform shows.

After `make demo`:

.venv/bin/python docs/pictures/make.py report .panic/reports/portraits-demo/report.html
.venv/bin/python docs/pictures/make.py graph http://127.0.0.1:3000        # while `panic ui` runs
"""

import shutil
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
GRAPH = "/locations/panic_assets/asset-groups/trajectories/lineage"


def report(page: Any, file: str) -> bytes:
    """A fine-tune's report, from its first line to the end of its first chart."""
    page.goto(Path(file).absolute().as_uri())
    end = page.locator("svg").first.bounding_box()
    return page.screenshot(full_page=True, clip={"x": 240, "y": 0, "width": 1120, "height": end["y"] + end["height"]})


def graph(page: Any, url: str) -> bytes:
    """The asset graph of trajectories in the Dagster UI."""
    page.goto(url + GRAPH, wait_until="domcontentloaded")
    page.get_by_text("100% filled").first.wait_for()
    page.wait_for_load_state("networkidle")
    return page.screenshot(clip={"x": 240, "y": 280, "width": 1320, "height": 440})


def main(picture: str, source: str) -> None:
    """Take a picture and keep it beside this file, with at most 128 colours so that it stays small."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1600, "height": 900})
        taken = {"report": report, "graph": graph}[picture](page, source)
        browser.close()
    image = Image.open(BytesIO(taken)).convert("RGB").quantize(128, dither=Image.Dither.NONE)
    image.save(HERE / f"{picture}.png", optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
