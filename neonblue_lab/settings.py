"""Where things lie: the data folder (`home`) and the checkout with its notebooks and pipelines."""

import os
from dataclasses import dataclass
from pathlib import Path

from neonblue_lab.errors import BadInput

VERSION = "0.1.0"
HOME_VARIABLE = "NEONBLUE_HOME"
RECORD_MIME = "application/vnd.neonblue.record+json"
"""MIME type under which a notebook records what it learned, and from which a pipeline run collects it."""
CHECKOUT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Settings:
    """The folders of one workbench.

    Attributes:
        home: the data folder; everything that is made lies below it.
    """

    home: Path

    @classmethod
    def find(cls, home: str | os.PathLike[str] | None = None) -> "Settings":
        """Take `home` if given, else the environment variable NEONBLUE_HOME, else `data/` of the checkout."""
        chosen = Path(home or os.environ.get(HOME_VARIABLE) or CHECKOUT / "data").expanduser().resolve()
        if chosen.exists() and not chosen.is_dir():
            raise BadInput(f"{chosen} is not a folder: --home (or {HOME_VARIABLE}) must name the data folder.")
        return cls(chosen)

    @property
    def lake(self) -> Path:
        return self.home / "lake"

    @property
    def topics(self) -> Path:
        return self.home / "topics"

    @property
    def artifacts(self) -> Path:
        return self.home / "artifacts"

    @property
    def sinks(self) -> Path:
        """What each store outside the lake has had."""
        return self.home / "sinks"

    @property
    def runs(self) -> Path:
        return self.home / "runs"

    @property
    def metrics_file(self) -> Path:
        """`metrics.yaml` of the data folder, or the one shipped with the checkout where the folder has none."""
        own = self.home / "metrics.yaml"
        return own if own.exists() else CHECKOUT / "data" / "metrics.yaml"

    @property
    def notebooks(self) -> Path:
        return CHECKOUT / "notebooks"

    @property
    def pipelines(self) -> Path:
        return CHECKOUT / "pipelines"
