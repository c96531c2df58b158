"""Topic archives: made by simulation or from public data, and put on a Kafka cluster."""

from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neonblue_lab.cli.options import Json
from neonblue_lab.cli.output import answer, listed, write_json
from neonblue_lab.cli.progress import counter
from neonblue_lab.errors import BadInput

if TYPE_CHECKING:
    from neonblue_lab.events.records import RecordBatch


def simulate(
    out: Annotated[Path, typer.Option(help="Folder of the topic archives to write.")],
    experiments: Annotated[int, typer.Option(min=1, help="Number of experiments.")] = 24,
    users: Annotated[int, typer.Option(min=10, help="Number of users.")] = 20_000,
    events: Annotated[int, typer.Option(min=1000, help="Number of records over all topics.")] = 200_000,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 1,
    days: Annotated[int, typer.Option(min=14, help="Days of traffic.")] = 56,
    start: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="First day.")] = datetime(2026, 1, 5),
    as_json: Json = False,
) -> None:
    """Write simulated topic archives with a known truth (truth.json)."""
    from neonblue_lab.events.simulator import simulate as run
    from neonblue_lab.topics.archive import write_archive

    _must_be_new(out)
    simulation = run(
        experiments=experiments, users=users, events=events, seed=seed, days=days, start=date(*start.timetuple()[:3])
    )
    with counter("simulating", events) as advance:
        records = write_archive(out, _counted(simulation.batches(), advance))
    write_json(out / "truth.json", simulation.truth)
    answer(
        {"out": str(out), "topics": records, "truth": str(out / "truth.json")},
        as_json,
        f"{sum(records.values()):,} simulated records under {out}, by topic: {listed(records)}; "
        f"the truth is in {out / 'truth.json'}.\nNext: neonblue replay --from {out}",
    )


def import_(
    source: Annotated[str, typer.Argument(help="upworthy, asos, landing-page, eshop or documents.")],
    file: Annotated[Path, typer.Argument(help="The data set's file; for documents also a folder of .md, .txt, .html.")],
    out: Annotated[Path, typer.Option(help="Folder of the topic archives; an archive that is there is continued.")],
    clean: Annotated[
        bool,
        typer.Option(
            "--clean",
            help="landing-page only: drop rows whose group and page disagree, and keep each user's first row.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Turn a public data set, or a folder of documents, into topic archives."""
    from neonblue_lab.events.importers import IMPORTERS
    from neonblue_lab.topics.archive import write_archive

    if source not in IMPORTERS:
        raise BadInput(f"There is no importer {source}; there are {', '.join(IMPORTERS)}.")
    batches = IMPORTERS[source].batches(file, clean=clean)
    continued = out.is_dir() and any(out.iterdir())
    with counter(f"importing {source}", None) as advance:
        records = write_archive(out, _counted(batches, advance))
    answer(
        {"out": str(out), "topics": records, "continued": continued},
        as_json,
        f"{sum(records.values()):,} records {'appended to the archive' if continued else 'written'} under {out}, by topic: "
        f"{listed(records)}.\nNext: neonblue replay --from {out}",
    )


def produce(
    archive: Annotated[Path, typer.Argument(help="Archive folder.")],
    to: Annotated[str, typer.Option(help="kafka://host:port")],
    append: Annotated[bool, typer.Option("--append", help="Produce to topics that already have records.")] = False,
    as_json: Json = False,
) -> None:
    """Put an archive's records on a Kafka cluster: same partitions, keys, values, headers and timestamps."""
    from neonblue_lab.topics.archive import ArchiveSource
    from neonblue_lab.topics.kafka import produce as run

    source = ArchiveSource(archive)
    total = sum(sum(source.end_offsets(topic).values()) for topic in source.topics())
    with counter("producing", total) as advance:
        records = run(source, to, append=append, on_written=lambda _, count: advance(count))
    answer({"topics": records}, as_json, f"{sum(records.values()):,} records produced to {to}.")


def _must_be_new(folder: Path) -> None:
    if folder.is_file():
        raise BadInput(f"{folder} is a file: --out names a folder.")
    if folder.exists() and any(folder.iterdir()):
        raise BadInput(f"{folder} is not empty: simulated topics want a folder of their own.")


def _counted(batches: "Iterator[RecordBatch]", advance: Callable[[int], None]) -> "Iterator[RecordBatch]":
    for batch in batches:
        yield batch
        advance(batch.frame.height)
