"""The README's pictures, taken from the running product on data simulated for them: `make screenshots`."""

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, expect

from neonblue_lab.pipelines.runs import INDEX_FILE
from neonblue_lab.settings import CHECKOUT
from tests.services.browser import chromium
from tests.services.jupyter import ERRORS, JupyterLab
from tests.services.workbench import run_nightly

IMAGES = Path(__file__).parent / "images"
WIDTH, HEIGHT = 1400, 1040
MARGIN = 16
# Shows one text in place of another wherever a page has it.
REPLACE = """([hidden, shown]) => {
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) texts.currentNode.data = texts.currentNode.data.replaceAll(hidden, shown);
}"""


def main() -> None:
    """Write `tour.png`, `runs.png`, `report.png` and `readout.png` into docs/images/."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        home = Path(folder) / "data"
        run = run_nightly(home, experiments=24, users=20_000, events=200_000)

        page = open_page(browser, home / "runs" / INDEX_FILE)
        take(page, "runs", home, down_to=page.locator("details.run").first)
        page = open_page(browser, home / "runs" / run.run_id / "scorecard.html")
        take(page, "report", home, down_to=page.locator(".picture").first)
        page = open_page(browser, home / "runs" / run.run_id / "readout.html")
        take(page, "readout", home, down_to=page.locator(".picture").first)

        notebooks = Path(shutil.copytree(CHECKOUT / "notebooks", Path(folder) / "notebooks"))
        with JupyterLab(notebooks, home) as lab:
            page = open_page(browser)
            lab.run_all(page, "00_tour.ipynb")
            expect(page.locator(ERRORS)).to_have_count(0)
            page.keyboard.press("Control+b")  # Closes the side bar.
            expect(page.locator("#jp-left-stack")).to_be_hidden()
            page.get_by_role("heading", name="2. The programme").evaluate("heading => heading.scrollIntoView()")
            take(page, "tour", home)


def open_page(browser: Browser, file: Path | None = None) -> Page:
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
    if file is not None:
        page.goto(file.as_uri())
    return page


def take(page: Page, name: str, home: Path, *, down_to: Locator | None = None) -> None:
    """Write the picture of what is in view, or of the page from its top down to the end of an element."""
    page.evaluate(
        REPLACE, [str(home), "data"]
    )  # The default data folder; where the simulated one lay is of no interest.
    if down_to is None:
        page.screenshot(path=IMAGES / f"{name}.png")
        return
    box = down_to.bounding_box()
    assert box is not None
    clip = {"x": 0, "y": 0, "width": WIDTH, "height": box["y"] + box["height"] + MARGIN}
    page.screenshot(path=IMAGES / f"{name}.png", full_page=True, clip=clip)


if __name__ == "__main__":
    main()
