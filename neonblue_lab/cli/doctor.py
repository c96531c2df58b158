"""The doctor: everything that can be wrong with a workbench, looked at in one go."""

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from neonblue_lab.cli.options import Home, Json, open_lab
from neonblue_lab.cli.output import DONE, FAILED, print_json, table

if TYPE_CHECKING:
    from neonblue_lab.cli.checks import Finding

_COLOURS = {"ok": "green", "warning": "yellow", "problem": "bold red"}


def doctor(
    source: Annotated[
        str | None, typer.Option("--from", help="Also look at this source: an archive folder or kafka://host:port.")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> int:
    """Check packages, disk, lake, sources, sinks, artifacts and runs, and say what to do. Exit code 1: there is a problem."""
    from neonblue_lab.cli import checks

    lab = open_lab(home)
    looked_at: dict[str, checks.Check] = {
        "python": checks.python,
        "home": partial(checks.home, lab.settings.home),
        "lake": partial(checks.tables, lab.lake),
        "files": partial(checks.small_files, lab.lake),
        "replays": partial(checks.unfinished, lab.lake),
        "gaps": partial(checks.gaps, lab.lake),
        "dead letters": partial(checks.dead_letters, lab),
        "sinks": partial(checks.sinks, lab),
        "artifacts": partial(checks.artifacts, lab.artifacts),
        "runs": partial(checks.last_run, lab.settings),
    }
    if source:
        looked_at["source"] = partial(checks.source, lab, source)
    found = list(checks.findings(looked_at))
    healthy = all(finding.status != "problem" for finding in found)
    if as_json:
        print_json({"ok": healthy, "checks": [vars(finding) for finding in found]})
    else:
        _show(found)
    return DONE if healthy else FAILED


def _show(found: "list[Finding]") -> None:
    """A line for each finding; on a terminal in colours and no wider than it is."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        print(
            table(
                ["status", "check", "found"], [[f.status, f.name, " ".join(" ".join(_said(f)).split())] for f in found]
            )
        )
        return
    lines = Table.grid(padding=(0, 2))
    for finding in found:
        message, *advice = _said(finding)
        told = Text.assemble(message, *((f"\n{line}", "dim") for line in advice))
        lines.add_row(Text(finding.status, _COLOURS[finding.status]), Text(finding.name), told)
    console.print(lines)


def _said(finding: "Finding") -> list[str]:
    return [finding.message] if finding.advice is None else [finding.message, f"-> {finding.advice}"]
