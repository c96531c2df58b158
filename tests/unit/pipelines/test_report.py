"""A report is for reading: text and pictures first, whole without a network, honest about a failure."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from neonblue_lab.pipelines.report import render_report
from neonblue_lab.pipelines.runs import FailedCell, RunResult, StepError, StepResult
from neonblue_lab.settings import RECORD_MIME

SVG = """<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"><g aria-label="Title text 'Lift &amp; risk'"/></svg>"""
PNG = "iVBORw0KGgo="


def code(source: str, count: int | None, *outputs: Any) -> nbformat.NotebookNode:
    return new_code_cell(source, execution_count=count, outputs=list(outputs))


def data(**kinds: Any) -> Any:
    return new_output("display_data", data=kinds.pop("data", {}))


def report(*cells: nbformat.NotebookNode, error: StepError | None = None) -> str:
    status = "failed" if error else "succeeded"
    folder = Path("runs/x")
    step = StepResult(
        name="scorecard",
        status=status,
        notebook=folder / "scorecard.ipynb",
        report=folder / "scorecard.html",
        seconds=2.0,
        recorded={"experiments": 4873},
        error=error,
    )
    run = RunResult(
        run_id="x", pipeline="nightly", status="running", started_at=datetime(2026, 3, 2, tzinfo=UTC), index=Path("i")
    )
    return render_report(new_notebook(cells=list(cells)), run=run, step=step, parameters={"home": "<home>"})


def test_the_title_is_the_notebooks_own() -> None:
    page = report(new_markdown_cell("# Which experiments *won*\n\nAn introduction."), code("x = 1", 1))
    assert page.count("<h1") == 1
    assert "<title>Which experiments *won* · nightly</title>" in page
    assert page.index("An introduction.") < page.index("What it recorded") < page.index('data-number="1"')
    assert "<h1>scorecard</h1>" in report(code("x = 1", 1))


def test_pictures_are_in_the_page_and_nothing_is_loaded() -> None:
    page = report(
        code("a", 1, data(data={"image/svg+xml": SVG, "text/plain": "alt.Chart(...)"})),
        code("b", 2, data(data={"image/png": PNG, "text/plain": "figure"})),
        code("c", 3, data(data={"text/html": "<table class='dataframe'><tr><td>1</td></tr></table>"})),
    )
    assert 'alt="Lift &amp; risk"' in page
    assert "data:image/svg+xml;base64," in page
    assert f"data:image/png;base64,{PNG}" in page
    assert "alt.Chart" not in page
    assert "<td>1</td>" in page
    assert not re.search(r"https?://|<script|<link|@import|url\(", page)
    assert "default-src 'none'" in page


def test_code_is_folded_and_messages_are_too() -> None:
    page = report(code("total = 41 + 1", 7, new_output("stream", name="stderr", text="be careful <now>")))
    assert 'class="code" data-number="7"' in page
    assert 'id="show-code"' in page
    assert re.search(r'<details class="messages">.*be careful &lt;now&gt;', page, re.DOTALL)


def test_recorded_values_are_on_top_and_not_repeated() -> None:
    page = report(code("lab.record()", 1, data(data={RECORD_MIME: {"experiments": 4873}, "text/plain": "recorded!"})))
    assert "4,873" in page
    assert "recorded!" not in page
    assert "&lt;home&gt;" in page


def test_a_failure_is_on_top_and_leads_to_its_cell() -> None:
    failing = new_output("error", ename="ValueError", evalue="5 < 6", traceback=["\x1b[31mValueError\x1b[0m: 5 < 6"])
    error = StepError(
        cell=FailedCell(number=2, line="check()"), name="ValueError", message="5 < 6", notebook=Path("x.ipynb")
    )
    page = report(code("fine()", 1), code("  ", None), code("check()", 2, failing), code("never()", None), error=error)
    assert '<a href="#failing-cell">[2]</a>' in page
    cell = page[page.index('class="cell failing"') :]
    assert page.count('id="failing-cell"') == 1
    assert cell.index("check") < cell.index("ansi-red-fg") < cell.index("never")
