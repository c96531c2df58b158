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


@app.command()
def gaps(home: Home = None, as_json: Json = False) -> None:
    """Offsets that were gone, or left out, when their time came, and that a user chose to go on without."""
    from neonblue_lab.lake.gaps import accepted_gaps

    rows = accepted_gaps(open_lab(home).lake).to_dicts()
    cells = [
        [
            r["topic"],
            *(f"{n:,}" for n in (r["partition"], r["first"], r["next"], r["next"] - r["first"])),
            f"{r['accepted_at']:%Y-%m-%d %H:%M}",
        ]
        for r in rows
    ]
    text = table(["topic", "partition", "from", "to", "offsets", "accepted"], cells)
    answer({"gaps": rows}, as_json, text if rows else "No gaps.")


for command in (upkeep.compact, upkeep.vacuum, upkeep.retention):
    app.command()(command)
app.add_typer(dead_letters.app, name="dead-letters")
