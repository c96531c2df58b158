"""Does the event classifier label event types that it has never seen, and is its confidence worth anything there?

Each event type is left out in turn, with all that the classifier chooses for itself (thresholds too) chosen without it; then
pairs of types, so that no type is known by its twin; then users, of types that are known. It sees neither type nor topic: the
topic rule does. Simulated topics alone, and beside them those that the importers make of public data sets.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl
from timing import DATASETS, print_table, seconds

from neonblue_lab.events.classification import LABELS, classify
from neonblue_lab.events.importers import IMPORTERS
from neonblue_lab.events.parsing import EventParser
from neonblue_lab.events.records import RecordBatch
from neonblue_lab.events.simulator import simulate
from neonblue_lab.models.event_labels.classifier import fit
from neonblue_lab.models.event_labels.evaluation import evaluate
from neonblue_lab.models.event_labels.report import HELD_OUT_USERS, PROTOCOLS, ClassifierReport

IMPORTED = {
    "upworthy": "upworthy_exploratory.parquet",
    "eshop": "eshop_clothing_2008.parquet",
    "landing-page": "landing_page_ab.parquet",
    "asos": "asos_digital_experiments.parquet",
}
HEADER = (
    *("topics", "test", "label", "macro-F1", "topic rule", "unknown topic", "majority"),
    *("then topic rule", "answered", "right of these", "confidence", "accuracy"),
)
SEED = 1


def parsed(batches: Iterator[RecordBatch], at_most: int) -> pl.DataFrame:
    """The events of batches, at most so many of each type, the first ones."""
    parser, parts = EventParser(), []
    for batch in batches:
        parts.append(parser.parse(batch).events)
        if sum(part.height for part in parts) > 20 * at_most:
            break
    events = pl.concat(parts).unique("event_id", maintain_order=True)
    return events.filter(pl.int_range(pl.len()).over("event_type") < at_most)


def imported(at_most: int) -> Iterator[pl.DataFrame]:
    """The events of each public data set that is there; stderr says which are not."""
    for name, file in IMPORTED.items():
        path: Path = DATASETS / file
        if path.exists():
            yield parsed(IMPORTERS[name].batches(path), at_most)
        else:
            print(f"{file} is not in {DATASETS}: topics of {name} are left out.", file=sys.stderr)


def rows(name: str, report: ClassifierReport) -> Iterator[list[str]]:
    """One line a protocol and label."""
    for protocol in PROTOCOLS:
        scores = {(row["model"], row["metric"]): row for row in report.scores(protocol).iter_rows(named=True)}
        for row in report.summary.filter(protocol=protocol).iter_rows(named=True):
            label = row["label"]
            ours = scores["classifier", label]
            rivals = ("topic rule", "rule of unknown topics", "majority", "classifier, then topic rule")
            yield [
                *(name, protocol, label, f"{ours['value']:.3f} ({ours['low']:.3f} to {ours['high']:.3f})"),
                *(f"{scores[rival, label]['value']:.3f}" for rival in rivals),
                f"{row['coverage']:.0%}",
                "" if row["accuracy_answered"] is None else f"{row['accuracy_answered']:.0%}",
                f"{row['confidence']:.2f}",
                f"{row['accuracy']:.2f}",
            ]


def table(*, events: int = 1_000) -> list[dict[str, Any]]:
    """What the benchmark finds: a row for each topics, test and label, by the names of HEADER.

    Args:
        events: of each type and source, at most.
    """
    found, _ = measure(events)
    return [dict(zip(HEADER, line, strict=True)) for line in found]


def measure(at_most: int) -> tuple[list[list[str]], str]:
    """The lines, and what it cost."""
    everything = parsed(simulate(experiments=60, users=20_000, events=150_000, seed=SEED).batches(), 10_000)
    simulated = everything.filter(pl.int_range(pl.len()).over("event_type") < at_most)
    subjects = {"simulated": simulated, "and imported": pl.concat([simulated, *imported(at_most)])}
    lines: list[list[str]] = []
    cost = []
    for name, events in subjects.items():
        labels = classify(events)
        reports: list[ClassifierReport] = []
        took = seconds(lambda: reports.append(evaluate(events, labels, seed=SEED)))  # noqa: B023
        lines += rows(name, reports[0])
        cost.append(f"{name}: {events.height:,} events measured in {took:.1f} s")
    classifier = fit(simulated, classify(simulated))
    spent = median(seconds(lambda: classifier.predict(everything)) for _ in range(5))
    return lines, f"{'; '.join(cost)}; {everything.height / spent:,.0f} events a second labelled."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000, help="of each type and source, at most")
    options = parser.parse_args()
    lines, cost = measure(options.events)
    print_table(HEADER, lines)
    print(cost)
    known = [line for line in lines if line[1] == HELD_OUT_USERS]
    least = min(float(line[3].split()[0]) for line in known)
    print(f"Least macro-F1 on known types: {least:.3f}, over {len(LABELS)} labels.")


if __name__ == "__main__":
    main()
