"""An executed notebook as a page to read: text, pictures and numbers; code and messages only on demand."""

import re
from collections.abc import Mapping
from copy import deepcopy
from html import unescape
from typing import Any

from markupsafe import Markup
from nbconvert.exporters import HTMLExporter
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]

from neonblue_lab.pipelines.pages import TEMPLATES, render
from neonblue_lab.pipelines.runs import RunResult, StepResult
from neonblue_lab.pipelines.step import cell_number
from neonblue_lab.settings import RECORD_MIME

_HEADING = re.compile(r"^#\s+(.+)$", re.MULTILINE)
_CHART_TITLE = re.compile(r"""aria-label="Title text '([^"]+)'""")


def render_report(notebook: NotebookNode, *, run: RunResult, step: StepResult, parameters: Mapping[str, Any]) -> str:
    """Return one HTML page that holds all it shows: no network, no scripts, readable in light and dark.

    Args:
        notebook: executed, completely or as far as it came.
        run, step: what it was part of; the step's error is shown on top, with a link to its cell.
        parameters: what the notebook was given.
    """
    shown = _prepared(notebook, step)
    heading = _HEADING.search(shown.cells[0].source) if shown.cells and shown.cells[0].cell_type == "markdown" else None
    lead, rest = deepcopy(shown), shown
    lead.cells, rest.cells = (shown.cells[:1], shown.cells[1:]) if heading else ([], shown.cells)
    return render(
        "report.html.j2",
        title=heading[1] if heading else step.name,
        own_title=heading is not None,
        run=run,
        step=step,
        parameters=dict(parameters),
        lead=_cells(lead),
        body=_cells(rest),
        code_style=_code_style(),
    )


def _prepared(notebook: NotebookNode, step: StepResult) -> NotebookNode:
    """A copy for reading: the failing cell marked, and recorded values left to the list on top."""
    shown = deepcopy(notebook)
    for index, cell in enumerate(shown.cells):
        if cell.cell_type != "code":
            continue
        cell.outputs = [output for output in cell.outputs if RECORD_MIME not in output.get("data", {})]
        if step.error and step.error.cell and cell.source.strip():
            failing = cell_number(notebook, index) == step.error.cell.number
            cell.metadata["tags"] = [*cell.metadata.get("tags", ()), *(["failing"] if failing else [])]
    return shown


def _cells(notebook: NotebookNode) -> Markup:
    exporter = HTMLExporter(  # type: ignore[no-untyped-call]
        template_name="report",
        extra_template_basedirs=[str(TEMPLATES)],
        filters={"chart_title": _chart_title},
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
        embed_images=True,
        mathjax_url="",
        require_js_url="",
        jquery_url="",
        jupyter_widgets_base_url="",
    )
    html, _ = exporter.from_notebook_node(notebook)
    return Markup(html)  # Escaped by nbconvert's templates.


def _chart_title(svg: str) -> str:
    """The title that a chart carries for screen readers, for those who cannot see the picture."""
    found = _CHART_TITLE.search(svg)
    return unescape(found[1]) if found else "Chart"


def _code_style() -> Markup:
    light = HtmlFormatter(style="default").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    plain = ".highlight { background: none !important; }"
    return Markup(f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n{plain}")
