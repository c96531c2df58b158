"""Options that many commands share, and the lab that they open."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from neonblue_lab.lab import Lab
    from neonblue_lab.settings import Settings

Home = Annotated[
    Path | None,
    typer.Option(
        "--home", help="The data folder. Default: $NEONBLUE_HOME, else data/ of the checkout.", show_default=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
Alpha = Annotated[float, typer.Option(help="1 - coverage of the intervals.")]


def open_settings(home: Path | None) -> "Settings":
    """The folders of the data folder that --home names."""
    from neonblue_lab.settings import Settings

    return Settings.find(home)


def open_lab(home: Path | None) -> "Lab":
    """The lab of the data folder that --home names."""
    from neonblue_lab.lab import Lab

    return Lab.open(home)
