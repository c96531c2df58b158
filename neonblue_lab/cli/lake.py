"""The lake: what it holds, what was rejected, and keeping it in order."""

import typer

from neonblue_lab.cli import dead_letters, upkeep
from neonblue_lab.cli.options import Home, Json, open_lab
from neonblue_lab.cli.output import answer, table

app = typer.Typer(help="Look at the lake, and keep it in order.", no_args_is_help=True)


@app.command()
def status(home: Home = None, as_json: Json = False) -> None:
    """Version, rows, files and bytes of each table."""
    lab = open_lab(home)
    tables = lab.lake.status()
    answer(
        {"tables": {name: vars(status) for name, status in tables.items()}},
        as_json,
        table(
            ["table", "version", "rows", "files", "MB"],
            [
                [name, str(t.version), f"{t.rows:,}", f"{t.files:,}", f"{t.bytes / 1e6:,.1f}"]
                for name, t in tables.items()
            ],
        )
        if tables
        else f"The lake at {lab.settings.lake} is empty: `neonblue replay --from ...` fills it.",
    )


for command in (upkeep.compact, upkeep.vacuum, upkeep.retention):
    app.command()(command)
app.add_typer(dead_letters.app, name="dead-letters")
