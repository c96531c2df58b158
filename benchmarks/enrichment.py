"""How much longer does a replay take for saying what events mean, and what does each group of fields cost?

The same archives are replayed with and without enrichment, in turn: the events of `replay.py`, all of one size with few
distinct properties, and simulated topics, whose events differ. Without it, the groups are stored as nulls. Then one batch is
enriched again and again, group by group.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import polars as pl
from replay import FEWEST, TOPIC, write_topic
from timing import in_child, interleaved, print_table, seconds

from neonblue_lab.events.enrichment import BY_RULE, ENRICHMENT_SCHEMA, Enricher
from neonblue_lab.lake.lake import Lake

BATCH = 100_000
REPEATED = 7
LIMIT = 0.40
"""Of the time of a replay without it: what enrichment may add."""


NOTHING, RULES = "without", "by rule"


class Nothing:
    """Says nothing of any event."""

    name = NOTHING

    def enrich(self, events: pl.DataFrame) -> pl.DataFrame:
        return pl.DataFrame(
            [
                pl.repeat(None, events.height, dtype=kind, eager=True).alias(name)
                for name, kind in ENRICHMENT_SCHEMA.items()
            ]
        )


def enricher(who: str) -> Enricher:
    """Nothing, the rules, or the models that are promoted in a data folder."""
    if who == NOTHING:
        return Nothing()
    if who == RULES:
        return BY_RULE
    from neonblue_lab.lab import Lab
    from neonblue_lab.models.enriching import promoted

    return promoted(Lab.open(who).artifacts)


def replayed(archive: Path, who: str, home: Path) -> tuple[float, Lake]:
    """Replay an archive into a new lake: the seconds, and the lake."""
    from neonblue_lab.lake.ingest import replay
    from neonblue_lab.topics.sources import open_source

    lake, says = Lake(home), enricher(who)
    return seconds(lambda: replay(lake, open_source(str(archive)), enricher=says)), lake


def replay_seconds(archive: Path, who: str) -> float:
    with TemporaryDirectory() as folder:
        return replayed(archive, who, Path(folder) / "lake")[0]


def event_bytes(archive: Path, who: str) -> float:
    """What an event takes in the table `events`, after small files are merged."""
    from neonblue_lab.lake.upkeep import compact

    with TemporaryDirectory() as folder:
        _, lake = replayed(archive, who, Path(folder) / "lake")
        compact(lake, ["events"])
        table = lake.status()["events"]
        return table.bytes / table.rows


def simulate_topics(folder: Path, events: int) -> float:
    """Simulate topics and write them as an archive."""
    from neonblue_lab.events.simulator import simulate
    from neonblue_lab.topics.archive import write_archive

    batches = simulate(experiments=8, events=events, users=events // 10).batches()
    return seconds(lambda: write_archive(folder, batches))


def replay_rows(what: str, records: int, archive: Path, runs: int, home: str | None) -> list[list[str]]:
    """The rows of an archive, out of the medians."""
    who = [NOTHING, RULES, *([home] if home else [])]
    found = interleaved(runs, *(partial(in_child, replay_seconds, archive, one) for one in who))
    took = [median(run.seconds for run in runs_of_one) for runs_of_one in found]
    sizes = [in_child(event_bytes, archive, one).seconds for one in who]
    return [
        [
            f"{what}, {'with models' if one == home else one}",
            f"{records / time:,.0f}/s",
            f"{time / took[0] - 1:+.0%}" if one != NOTHING else "",
            f"{size:.1f}",
        ]
        for one, time, size in zip(who, took, sizes, strict=True)
    ]


def group_rows(archive: Path, topic: str) -> list[list[str]]:
    """What each part of enrichment takes for one batch of a topic."""
    from neonblue_lab.events import enrichment, prose, sentiment
    from neonblue_lab.events.classification import classify
    from neonblue_lab.events.parsing import EventParser
    from neonblue_lab.events.quality import quality
    from neonblue_lab.events.records import RecordBatch
    from neonblue_lab.topics.sources import open_source

    source = open_source(str(archive))
    starts, ends = source.beginning_offsets(topic), source.end_offsets(topic)
    records = pl.concat(batch.frame for batch in source.read({topic: starts}, {topic: ends})).head(BATCH)
    parser = EventParser()
    parsed = parser.parse(RecordBatch(topic, records))
    events = parsed.events.hstack(parsed.arrivals)
    properties = events["properties"].drop_nulls().unique()
    texts = prose.prose(properties)
    parts: dict[str, Callable[[], object]] = {
        "parsing, for comparison": lambda: parser.parse(RecordBatch(topic, records)),
        "all groups": lambda: enrichment.BY_RULE.enrich(events),
        "labels": lambda: classify(events),
        "journey stage": lambda: enrichment.stages_by_rule(events),
        f"keywords of {properties.len():,} distinct properties": lambda: prose.keywords(properties),
        "prose, its keys and its sentiment": lambda: (
            prose.text_keys(prose.prose(properties)),
            sentiment.sentiment(texts),
        ),
        "quality": lambda: quality(events),
    }
    return [[topic, what, f"{1e9 * best(work) / events.height:,.0f} ns"] for what, work in parts.items()]


def best(work: Callable[[], object]) -> float:
    return min(seconds(work) for _ in range(REPEATED))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--records", type=int, default=300_000, help="of each archive (default: %(default)s)")
    parser.add_argument(
        "--runs", type=int, default=5, help="of each, interleaved; medians count (default: %(default)s)"
    )
    parser.add_argument("--home", help="a data folder: also with the models that are promoted there")
    options = parser.parse_args()
    if options.records < FEWEST or options.runs < 1:
        parser.error(f"--records must be at least {FEWEST:,} and --runs at least 1")
    records, runs = options.records, options.runs
    with TemporaryDirectory() as name:
        even, varied = Path(name) / "even", Path(name) / "varied"
        even.mkdir()
        in_child(write_topic, even, records)
        in_child(simulate_topics, varied, records)
        rows = [
            *replay_rows("events of one size", records, even / "archive", runs, options.home),
            *replay_rows("simulated topics", records, varied, runs, options.home),
        ]
        print_table([f"{records:,} records", "rate", f"added time (limit {LIMIT:+.0%})", "bytes an event"], rows)
        print()
        print_table(
            [f"a batch of at most {BATCH:,} records", "work", "an event"],
            [*group_rows(even / "archive", TOPIC), *group_rows(varied, TOPIC)],
        )


if __name__ == "__main__":
    main()
