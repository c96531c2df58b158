"""What a replay was asked to do: its options, read and checked against each other."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from neonblue_lab.errors import BadInput

if TYPE_CHECKING:
    from neonblue_lab.topics.selection import Selection

LINGER_SECONDS = 1.0


@dataclass(frozen=True)
class Asked:
    """What a replay was asked to do: the options, read."""

    location: str
    topics: tuple[str, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None
    offsets: tuple[str, ...] = ()
    max_records: int | None = None
    dry_run: bool = False
    follow: bool = False
    group: str | None = None
    linger: float | None = None
    metrics_port: int | None = None
    client: str | None = None
    accept_gap: bool = False
    sync: bool = False
    log_format: Literal["text", "json"] = "text"

    @property
    def live(self) -> bool:
        """Whether the source is read as records arrive; its end is not known beforehand."""
        return self.follow or self.from_stdin

    @property
    def selection(self) -> "Selection | None":
        """What to read of the source; None for everything that is new."""
        from neonblue_lab.topics.selection import Selection, parse_offsets

        if not self._bounds:
            return None
        return Selection(self.since, self.until, parse_offsets(self.offsets), self.max_records)

    @property
    def _bounds(self) -> list[str]:
        bounds = {
            "--since": self.since,
            "--until": self.until,
            "--offsets": self.offsets or None,
            "--max-records": self.max_records,
        }
        return [option for option, value in bounds.items() if value is not None]

    def check(self) -> None:
        """Raise BadInput for options that make no sense together."""
        dry_run = ["--dry-run"] if self.dry_run else []
        if self.follow:
            _refuse(
                [*self._bounds, *dry_run], "does not go with --follow, which goes on where the lake is, without end"
            )
        elif self.from_stdin:
            _refuse([*self._bounds, *dry_run], "does not go with --from -: what comes on stdin can be read only once")
        if not self.follow:
            _refuse(
                [option for option, value in self._following.items() if value is not None], "only goes with --follow"
            )
        if self.from_stdin and len(self.topics or ()) != 1:
            raise BadInput(
                "--from - reads the records of one topic: name it, as in `neonblue replay user_events --from -`."
            )
        if not self._from_kafka:
            kafka_only = {"--group": self.group, "--client": self.client}
            _refuse([option for option, value in kafka_only.items() if value], "only goes with --from kafka://...")
        if self.dry_run and self.sync:
            _refuse(["--sync"], "does not go with --dry-run, which delivers nothing")

    @property
    def from_stdin(self) -> bool:
        """Whether records come on standard input."""
        from neonblue_lab.topics.sources import STDIN

        return self.location == STDIN

    @property
    def _from_kafka(self) -> bool:
        from neonblue_lab.topics.sources import KAFKA_SCHEME

        return self.location.startswith(KAFKA_SCHEME)

    @property
    def _following(self) -> dict[str, object]:
        return {"--group": self.group, "--linger": self.linger, "--metrics-port": self.metrics_port}


def _refuse(options: list[str], why: str) -> None:
    if options:
        raise BadInput(f"{options[0]} {why}.")
