"""Measures event classifiers on events that they have not seen: of other users, of whole other types, of pairs of types."""

from itertools import combinations

import numpy as np
import polars as pl

from neonblue_lab.errors import BadInput
from neonblue_lab.events.classification import LABELS, UNKNOWN, classify_by_topic
from neonblue_lab.models.event_labels.classifier import count, examples_of, label_texts, labelled
from neonblue_lab.models.event_labels.corrections import JOIN
from neonblue_lab.models.event_labels.kinds import Kinds, profile
from neonblue_lab.models.event_labels.report import (
    HELD_OUT_USERS,
    OUTCOMES,
    UNSEEN_PAIRS,
    UNSEEN_TYPES,
    ClassifierReport,
)
from neonblue_lab.models.event_labels.tuning import Evidence, Tuning, tune
from neonblue_lab.models.training import leaks
from neonblue_lab.models.training.splits import Split

MOST_PAIRS = 45
"""Pairs of event types that are left out, at most: of more, as many drawn by the seed."""


def evaluate(
    events: pl.DataFrame,
    labels: pl.DataFrame,
    *,
    seed: int,
    held_out: float = 0.25,
    weights: pl.Series | None = None,
) -> ClassifierReport:
    """Measure classifiers of these events on events that they have not seen (see `ClassifierReport`).

    All that a classifier chooses for itself, its thresholds too, is chosen without what it is measured on.

    Args:
        events: columns of CONTENT, and event_type, topic and event_id.
        labels: columns of LABEL_SCHEMA, one row an event in the same order.
        seed: of the split by users, and of the pairs where there are too many.
        held_out: the share of users (experiments) whose events are held out.
        weights: as of `classifier.fit`.

    Returns:
        The report. What these events cannot tell (a label with one value, a type whose absence leaves one value) is
        null in its summary and a sentence in its notes.

    Raises:
        BadInput: columns, labels or options that cannot be used.
    """
    if not 0 < held_out < 1:
        raise BadInput(f"held_out {held_out} is not a share of users: it lies between 0 and 1.")
    missing = [name for name in ("event_id", "event_type", "topic") if name not in events.columns]
    if missing:
        raise BadInput(f"A classifier cannot be measured: column(s) {', '.join(missing)} missing from the events.")
    rules = label_texts(classify_by_topic(events), events.height)
    examples = examples_of(events, labels, weights).with_columns(
        _held_out(events, held_out, seed),
        rule=pl.struct(rules.get_columns()),
    )
    unlike = count(examples)
    evidence = Evidence.of(unlike, profile(unlike))
    types = np.unique(evidence.event_types).tolist()
    pairs = list(combinations(types, 2))
    if len(pairs) > MOST_PAIRS:
        drawn = np.random.default_rng(seed).choice(len(pairs), MOST_PAIRS, replace=False)
        pairs = [pairs[position] for position in sorted(drawn.tolist())]
    measured = [
        _by_user(examples),
        *(_without(unlike, examples, evidence, UNSEEN_TYPES, (name,)) for name in types),
        *(_without(unlike, examples, evidence, UNSEEN_PAIRS, pair) for pair in pairs),
    ]
    outcomes = [frame for frames, _ in measured for frame in frames]
    return ClassifierReport(
        outcomes=_weighted(pl.concat(outcomes) if outcomes else pl.DataFrame(schema=OUTCOMES).drop("weight")),
        notes=pl.DataFrame(
            [note for _, notes in measured for note in notes],
            schema={"protocol": pl.String, "label": pl.String, "reason": pl.String},
        ),
        events=events.height,
        seed=seed,
    )


_Measured = tuple[list[pl.DataFrame], list[dict[str, str]]]


def _by_user(examples: pl.DataFrame) -> _Measured:
    """Of the owners that are held out, by a classifier of all others."""
    out = examples["held_out"].to_numpy()
    split = Split("held-out users", np.flatnonzero(~out), np.flatnonzero(out))
    leaks.check(split, groups={"user": examples["owner"]})
    train, test = count(examples.filter(~_OUT)), examples.filter(_OUT)
    if train.is_empty() or test.is_empty():
        return [], _notes(HELD_OUT_USERS, "no event is held out." if test.is_empty() else "no event is left.")
    kinds = profile(train)
    return _answers(test, train, kinds, tune(Evidence.of(train, kinds)), HELD_OUT_USERS, "all users")


def _without(
    unlike: pl.DataFrame, examples: pl.DataFrame, evidence: Evidence, protocol: str, event_types: tuple[str, ...]
) -> _Measured:
    """Of the event types named, by a classifier of all others."""
    name = f"without {' and '.join(event_types)}"
    left, _ = evidence.parted(*event_types)
    of_them = pl.col("event_type").is_in(event_types)
    if not len(left.event_types):
        return [], _notes(protocol, f"{name}: no event is left to learn from.")
    return _answers(examples.filter(of_them), unlike.filter(~of_them), left.kinds, tune(left), protocol, name)


def _answers(
    test: pl.DataFrame, train: pl.DataFrame, kinds: Kinds, tuning: Tuning, protocol: str, name: str
) -> _Measured:
    """What the classifier says of the test's events beside the baselines, for each label that has two values in training."""
    distinct = test["document"].unique(maintain_order=True)
    said = labelled(kinds, tuning, distinct).with_columns(document=distinct)
    placed = test.join(said, on="document", how="left", suffix=":said")
    frames, notes = [], []
    for label in LABELS:
        values = train.group_by(label).agg(pl.col("events").sum()).sort("events", label, descending=[True, False])
        if values.height == 1:
            reason = (
                f"every event left to learn from has {label} {values[label][0]}, so there is nothing to tell apart."
            )
            notes.append({"protocol": protocol, "label": label, "reason": f"{name}: {reason}"})
            continue
        least = tuning.thresholds[label]
        frames.append(
            placed.select(
                pl.lit(protocol).alias("protocol"),
                pl.lit(label).alias("label"),
                "event_type",
                actual=label,
                predicted=f"{label}:said",
                confidence=pl.col(f"{label}_confidence").round(4),
                answered=pl.lit(False) if least is None else pl.col(f"{label}_confidence") >= least,
                nearest="nearest",
                majority=pl.lit(values[label][0]),
                topic_rule=pl.col("rule").struct.field(label),
                unknown_rule=pl.lit(_UNKNOWN[label]),
            )
            .group_by(pl.all())
            .agg(count=pl.len().cast(pl.Int64))
        )
    return frames, notes


def _weighted(outcomes: pl.DataFrame) -> pl.DataFrame:
    """Like outcomes of all folds as one row. Each event counts once where users are held out; each event type, however often it was left out, in the others."""
    alike = [name for name in OUTCOMES if name not in ("count", "weight")]
    share = pl.col("count") / pl.col("count").sum().over("protocol", "label", "event_type")
    weight = pl.when(pl.col("protocol") == HELD_OUT_USERS).then(pl.col("count").cast(pl.Float64)).otherwise(share)
    return outcomes.group_by(alike).agg(pl.col("count").sum()).with_columns(weight=weight).sort(alike)


def _held_out(events: pl.DataFrame, share: float, seed: int) -> list[pl.Series]:
    """owner: the user of each event (the experiment, the event itself, where there is none); held_out: true for all events
    of a random share of them."""
    owner = events.select(owner=pl.coalesce("user_id", "experiment_id", "event_id"))["owner"]
    owners = owner.unique().sort()
    chosen = owners.filter(pl.Series(np.random.default_rng(seed).random(len(owners)) < share))
    return [owner, owner.is_in(chosen.implode()).alias("held_out")]


def _notes(protocol: str, reason: str) -> list[dict[str, str]]:
    return [{"protocol": protocol, "label": label, "reason": reason} for label in LABELS]


_OUT = pl.col("held_out")
_UNKNOWN = {
    label: JOIN.join(value) if isinstance(value, tuple) else value for label, value in UNKNOWN._asdict().items()
}
