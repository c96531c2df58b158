"""What a person sees: the tour in JupyterLab and the pages of a nightly run, in a real browser without a network."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import nbformat
import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Route, expect

from neonblue_lab import Lab
from neonblue_lab.errors import Unavailable
from neonblue_lab.events.simulator import simulate
from neonblue_lab.knowledge.minilm import model_folder
from neonblue_lab.pipelines.runs import INDEX_FILE
from neonblue_lab.settings import CHECKOUT
from neonblue_lab.topics.archive import write_archive
from tests.services.browser import BrowserUnavailable, chromium
from tests.services.jupyter import ERRORS, PROMPTS, JupyterLab
from tests.services.workbench import nightly_home

pytestmark = pytest.mark.timeout(600)  # The first test waits for the nightly run too.

LOADED = "image => image.complete && image.naturalWidth > 0"


@pytest.fixture(scope="module")
def browser(unavailable: Callable[[str], NoReturn]) -> Iterator[Browser]:
    try:
        with chromium() as running:
            yield running
    except BrowserUnavailable as reason:
        unavailable(str(reason))


@pytest.fixture(scope="module")
def home(browser: Browser, tmp_path_factory: pytest.TempPathFactory, unavailable: Callable[[str], NoReturn]) -> Path:
    """A data folder after a nightly run."""
    try:
        model_folder()
    except Unavailable as reason:
        unavailable(str(reason))
    return nightly_home(tmp_path_factory)


class Visit:
    """A page whose every request to a server other than `allowed` is refused and remembered.

    Attributes:
        strangers: the addresses that were refused.
        complaints: errors and violations of the page's own policy, from its console.
    """

    def __init__(self, context: BrowserContext) -> None:
        self.allowed: str | None = None
        self.strangers: list[str] = []
        self.complaints: list[str] = []
        context.route(lambda address: urlsplit(address).scheme not in ("file", "data", "blob"), self._judge)
        self.page: Page = context.new_page()
        self.page.on(
            "console", lambda message: self.complaints.append(message.text) if message.type == "error" else None
        )
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _judge(self, route: Route) -> None:
        if self.allowed is not None and route.request.url.startswith(self.allowed):
            route.continue_()
        else:
            self.strangers.append(route.request.url)
            route.abort()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    with browser.new_context(viewport={"width": 1400, "height": 900}) as context:
        yield Visit(context)


def assert_visible(picture: Locator) -> None:
    """It has arrived, and takes up room on the page once scrolled to."""
    picture.scroll_into_view_if_needed()
    expect(picture).to_be_visible()
    box = picture.bounding_box()
    assert box is not None
    assert box["width"] > 300
    assert box["height"] > 100
    assert picture.evaluate(LOADED)


@pytest.fixture
def notebooks(tmp_path: Path) -> Path:
    """A copy: JupyterLab saves what it runs."""
    return Path(shutil.copytree(CHECKOUT / "notebooks", tmp_path / "notebooks"))


def test_the_tour_runs_in_jupyterlab_and_shows_its_charts(visit: Visit, notebooks: Path, home: Path) -> None:
    with JupyterLab(notebooks, home) as lab:
        visit.allowed = lab.address
        lab.run_all(visit.page, "00_tour.ipynb")
        assert visit.page.locator(ERRORS).all_text_contents() == []
        prompts = visit.page.locator(PROMPTS)
        expect(prompts).to_have_text([f"[{number}]:" for number in range(1, prompts.count() + 1)])

        charts = visit.page.locator(".jp-RenderedSVG img")
        assert charts.count() >= 4
        for chart in charts.all():
            assert_visible(chart)

        recorded = visit.page.locator(".jp-CodeCell").last.locator(".jp-OutputArea-output")
        recorded.scroll_into_view_if_needed()
        for name in ("data_version", "experiments", "verdict", "nearest"):
            expect(recorded).to_contain_text(f"{name}: ")
    assert visit.strangers == []


def test_a_cell_that_fails_is_seen(visit: Visit, notebooks: Path, tmp_path: Path) -> None:
    with JupyterLab(notebooks, tmp_path / "empty") as lab:
        visit.allowed = lab.address
        lab.run_all(visit.page, "00_tour.ipynb")
        (error,) = visit.page.locator(ERRORS).all_text_contents()
        expect(visit.page.locator(PROMPTS).last).to_have_text("[ ]:")
    assert "NotFound: The lake holds no events yet" in error


def test_a_label_is_corrected_in_a_form(visit: Visit, tmp_path: Path) -> None:
    home, notebooks = tmp_path / "home", tmp_path / "notebooks"
    write_archive(home / "topics", simulate(experiments=3, users=300, events=2_000, seed=1).batches())
    lab = Lab.open(home)
    lab.replay()
    lab.models.train_event_classifier(limit=1_000)
    (event,) = lab.models.least_sure(limit=1).iter_rows(named=True)
    value = "high" if event["priority"] != "high" else "low"
    notebooks.mkdir()
    cells = ["from neonblue_lab import Lab\nlab = Lab.open()", 'lab.models.correction_form(author="ann")']
    nbformat.write(
        nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        ),
        notebooks / "form.ipynb",
    )
    with JupyterLab(notebooks, home) as server:
        visit.allowed = server.address
        page = visit.page
        server.run_all(page, "form.ipynb")
        assert page.locator(ERRORS).all_text_contents() == []
        expect(page.get_by_label("Event", exact=True).locator("option").first).to_contain_text(event["event_id"])
        page.get_by_label("priority", exact=True).select_option(value)
        page.get_by_label("Note", exact=True).fill("seen in the form")
        page.get_by_role("button", name="Store correction").click()
        expect(page.get_by_text("The next training learns from it.")).to_be_visible()
    stored = lab.lake.read("corrections").drop("correction_id", "made_at").to_dicts()
    assert stored == [
        {
            "scope": "event",
            "event_id": event["event_id"],
            "event_type": event["event_type"],
            "label": "priority",
            "value": value,
            "author": "ann",
            "note": "seen in the form",
        }
    ]
    assert visit.strangers == []


def test_the_pages_of_a_run_can_be_read_without_a_network(visit: Visit, home: Path) -> None:
    page, index = visit.page, (home / "runs" / INDEX_FILE).as_uri()
    page.goto(index)
    expect(page.get_by_role("heading", name="Runs", exact=True)).to_be_visible()
    steps = page.locator(".step")
    names = page.locator(".step > b").all_inner_texts()
    assert "scorecard" in names
    for name in names:
        steps.filter(has=page.locator("> b", has_text=name)).get_by_role("link", name="Report").click()
        page.wait_for_url("**/*.html")
        expect(page.get_by_text("What it recorded")).to_be_visible()
        pictures = page.locator(".picture img")
        assert pictures.count() >= 1, f"{name} shows no chart"
        for picture in pictures.all():
            assert_visible(picture)
        code = page.locator(".code").first
        expect(code).to_be_hidden()
        page.get_by_text("Show code").click()
        expect(code).to_be_visible()
        page.get_by_role("link", name="All runs").click()
        page.wait_for_url(index)
    assert visit.strangers == []
    assert visit.complaints == []
