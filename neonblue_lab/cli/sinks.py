"""Stores outside the lake: bring them up to date."""

from typing import Annotated

import typer

from neonblue_lab.cli.options import Home, Json, open_lab
from neonblue_lab.cli.output import DONE, FAILED, NOTHING_TO_DO, answer
from neonblue_lab.cli.progress import counter


def sync(
    sink: Annotated[
        list[str] | None,
        typer.Option(help="postgres, clickhouse or chromadb; repeatable. Default: all that are configured."),
    ] = None,
    anew: Annotated[
        bool, typer.Option("--anew", help="Deliver everything again, as after a store was emptied or put back.")
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> int:
    """Deliver to the stores outside the lake what they lack. Run again, it delivers only what is new."""
    lab = open_lab(home)
    with counter("delivering", None) as advance:
        report = lab.sync(sink or None, anew=anew, observer=lambda _store, _lane, rows, _seconds, _ok: advance(rows))
    answer(report.to_dict(), as_json, str(report))
    if not report.ok:
        return FAILED
    return NOTHING_TO_DO if report.nothing_to_do else DONE
