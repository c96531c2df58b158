"""Records that are no events: look at them, and replay them after a fix."""

from typing import Annotated

import typer

from neonblue_lab.cli.options import Home, Json, open_lab
from neonblue_lab.cli.output import DONE, NOTHING_TO_DO, answer
from neonblue_lab.errors import BadInput

SHOWN = 20

app = typer.Typer(help="Records that are no events, with the reason.", invoke_without_command=True)
Topic = Annotated[str | None, typer.Option(help="Only of this topic.")]
Reason = Annotated[str | None, typer.Option(help="Only those whose reason contains this text.")]


@app.callback()
def list_(
    context: typer.Context,
    topic: Topic = None,
    reason: Reason = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows to show.")] = SHOWN,
    home: Home = None,
    as_json: Json = False,
) -> None:
    if context.invoked_subcommand:
        if topic or reason or home or as_json or limit != SHOWN:
            raise BadInput(f"Options of {context.invoked_subcommand} stand after its name.")
        return
    frame = open_lab(home).dead_letters(topic=topic, reason=reason, limit=limit)
    rows = [row | {"value": row["value"].decode("utf-8", "backslashreplace")} for row in frame.to_dicts()]
    lines = [f"{r['topic']}-{r['partition']}-{r['offset']}  {r['error']}  {r['value'][:80]!r}" for r in rows]
    answer({"dead_letters": rows}, as_json, "\n".join(lines) or "No dead letters.")


@app.command()
def replay(topic: Topic = None, reason: Reason = None, home: Home = None, as_json: Json = False) -> int:
    """Read them again after a fix: those that are events now become so, exactly once, and leave the list."""
    report = open_lab(home).replay_dead_letters(topic=topic, reason=reason)
    answer(report.to_dict(), as_json, str(report))
    return NOTHING_TO_DO if report.nothing_to_do else DONE
