"""How far an event classifier can be believed: on events of kinds it has seen, and on whole kinds that it has not.

The first is easy and flatters: an event's content gives its type away. The second, leave-one-type-out, is the question that
the classifier exists for, and its figures are the honest ones.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from neonblue_lab.errors import BadInput
from neonblue_lab.events.classification import LABELS, classify_by_topic
from neonblue_lab.models.event_classifier import THRESHOLD, check_threshold, fit_label, label_texts, predict_label
from neonblue_lab.models.event_features import features

HELD_OUT_USERS = "held-out users"
UNSEEN_TYPES = "unseen event types"
PROTOCOLS = (HELD_OUT_USERS, UNSEEN_TYPES)
THRESHOLDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)

_OUTCOMES = {
    "protocol": pl.String(),
    "label": pl.String(),
    "event_type": pl.String(),
    "actual": pl.String(),
    "predicted": pl.String(),
    "confidence": pl.Float64(),
    "majority": pl.String(),
    "topic_rule": pl.String(),
    "count": pl.Int64(),
    "weight": pl.Float64(),
}
_BY = ["protocol", "label"]


def _share(condition: pl.Expr) -> pl.Expr:
    """Weighted share of rows; null where the weights are 0."""
    total = pl.col("weight").sum()
    return pl.when(total > 0).then((condition.cast(pl.Float64) * pl.col("weight")).sum() / total)


_RIGHT = pl.col("predicted") == pl.col("actual")


@dataclass(frozen=True)
class ClassifierReport:
    """Predictions on events that the predicting model had not seen, and every view of them.

    In the protocol "held-out users" all events of a quarter of the users (of the experiments, where an event has no user) are
    predicted by a model of the others; each event counts once. In "unseen event types" the events of each type are
    predicted by a model that has seen no event of the type; each *type* counts once, however many events it has.

    Baselines: `majority` is the training part's most frequent value; `topic_rule` is the default of the event's topic, which
    the classifier never sees and which holds wherever it abstains.

    Attributes:
        outcomes: columns protocol, label, event_type, actual, predicted, confidence, majority, topic_rule, count (events)
            and weight (see above).
        notes: what could not be measured, in sentences: columns protocol, label, reason.
        threshold: the confidence below which the classifier abstains.
        events: the number of events given.
    """

    outcomes: pl.DataFrame
    notes: pl.DataFrame
    threshold: float
    events: int

    @property
    def summary(self) -> pl.DataFrame:
        """One row for each protocol x label, null with a reason where it could not be measured: accuracy; the accuracies of the
        baselines; coverage (share answered at the threshold), accuracy_answered (on those) and accuracy_with_rule (the
        topic's rule answers the rest: what a user gets); events, event_types, reason."""
        answered = pl.col("confidence") >= self.threshold
        measured = self.outcomes.group_by(_BY).agg(
            accuracy=_share(_RIGHT),
            majority=_share(pl.col("majority") == pl.col("actual")),
            topic_rule=_share(pl.col("topic_rule") == pl.col("actual")),
            coverage=_share(answered),
            accuracy_answered=_share(answered & _RIGHT) / _positive(_share(answered)),
            accuracy_with_rule=_share(
                pl.when(answered).then(_RIGHT).otherwise(pl.col("topic_rule") == pl.col("actual"))
            ),
            events=pl.col("count").sum(),
            event_types=pl.col("event_type").n_unique(),
        )
        reasons = self.notes.group_by(_BY).agg(reason=pl.col("reason").str.join(" "))
        grid = pl.DataFrame([(p, name) for p in PROTOCOLS for name in LABELS], schema=_BY, orient="row")
        return grid.join(measured, on=_BY, how="left", maintain_order="left").join(
            reasons, on=_BY, how="left", maintain_order="left"
        )

    @property
    def per_class(self) -> pl.DataFrame:
        """protocol, label, value, events, precision, recall, f1, of weighted events; a value never predicted has null
        precision, one that never occurs null recall."""
        hit = pl.col("weight").filter(_RIGHT).sum()
        actual = self.outcomes.group_by(*_BY, value="actual").agg(
            events=pl.col("count").sum(), recall=hit / _positive(pl.col("weight").sum())
        )
        predicted = self.outcomes.group_by(*_BY, value="predicted").agg(
            precision=hit / _positive(pl.col("weight").sum())
        )
        both = actual.join(predicted, on=[*_BY, "value"], how="full", coalesce=True)
        precision, recall = pl.col("precision"), pl.col("recall")
        return both.select(
            *_BY,
            "value",
            pl.col("events").fill_null(0),
            "precision",
            "recall",
            f1=pl.when(precision + recall > 0).then(2 * precision * recall / (precision + recall)).otherwise(0.0),
        ).sort(*_BY, "value")

    @property
    def per_type(self) -> pl.DataFrame:
        """protocol, label, event_type, events, accuracy, confidence (mean), topic_rule (its accuracy): where it fails."""
        return (
            self.outcomes.group_by(*_BY, "event_type")
            .agg(
                events=pl.col("count").sum(),
                accuracy=_share(_RIGHT),
                confidence=(pl.col("confidence") * pl.col("weight")).sum() / pl.col("weight").sum(),
                topic_rule=_share(pl.col("topic_rule") == pl.col("actual")),
            )
            .sort(*_BY, "event_type")
        )

    def confusion(self, label: str, *, protocol: str = UNSEEN_TYPES) -> pl.DataFrame:
        """actual, predicted, count (events), share (of the actual value's weight; sums to 1 for each actual value)."""
        chosen = self._of(label, protocol)
        return (
            chosen.group_by("actual", "predicted")
            .agg(count=pl.col("count").sum(), weight=pl.col("weight").sum())
            .with_columns(share=pl.col("weight") / pl.col("weight").sum().over("actual"))
            .drop("weight")
            .sort("actual", "predicted")
        )

    def reliability(self, label: str, *, protocol: str = UNSEEN_TYPES) -> pl.DataFrame:
        """confidence (mean of a tenth of the scale), accuracy there, count (events): calibrated if both agree."""
        chosen = self._of(label, protocol)
        return (
            chosen.with_columns(bin=(pl.col("confidence") * 10).floor().clip(0, 9))
            .group_by("bin")
            .agg(
                confidence=(pl.col("confidence") * pl.col("weight")).sum() / pl.col("weight").sum(),
                accuracy=_share(_RIGHT),
                count=pl.col("count").sum(),
            )
            .sort("bin")
            .drop("bin")
        )

    def abstention(self, label: str, *, protocol: str = UNSEEN_TYPES) -> pl.DataFrame:
        """threshold, coverage (share answered), accuracy (of what is answered; null where nothing is), accuracy_with_rule
        (the topic's rule answers the rest)."""
        chosen = self._of(label, protocol)
        answered = pl.col("confidence") >= pl.col("threshold")
        return (
            chosen.join(pl.DataFrame({"threshold": THRESHOLDS}), how="cross")
            .group_by("threshold")
            .agg(
                coverage=_share(answered),
                accuracy=_share(answered & _RIGHT) / _positive(_share(answered)),
                accuracy_with_rule=_share(
                    pl.when(answered).then(_RIGHT).otherwise(pl.col("topic_rule") == pl.col("actual"))
                ),
            )
            .sort("threshold")
        )

    @property
    def metrics(self) -> dict[str, float]:
        """The summary's measured figures by name, e.g. `unseen_priority_accuracy`: what an artifact's manifest keeps."""
        short = {HELD_OUT_USERS: "held_out", UNSEEN_TYPES: "unseen"}
        names = ("accuracy", "majority", "topic_rule", "coverage", "accuracy_with_rule")
        return {
            f"{short[row['protocol']]}_{row['label']}_{name}": row[name]
            for row in self.summary.iter_rows(named=True)
            for name in names
            if row[name] is not None
        }

    def _of(self, label: str, protocol: str) -> pl.DataFrame:
        if label not in LABELS or protocol not in PROTOCOLS:
            raise BadInput(
                f"No report on {label!r} under {protocol!r}: labels are {', '.join(LABELS)}, protocols {PROTOCOLS}."
            )
        return self.outcomes.filter(pl.col("label") == label, pl.col("protocol") == protocol)


def evaluate(
    events: pl.DataFrame, labels: pl.DataFrame, *, seed: int, held_out: float = 0.25, threshold: float = THRESHOLD
) -> ClassifierReport:
    """Measure classifiers of these events on events that they have not seen (see `ClassifierReport`).

    Args:
        events: columns of CONTENT, and event_type, topic and event_id.
        labels: columns of LABEL_SCHEMA, one row an event in the same order.
        seed: of the split and of the estimators.
        held_out: the share of users (experiments) whose events are held out.
        threshold: the confidence below which the classifier abstains.

    Returns:
        The report. What these events cannot tell (a label with one value, a type whose absence leaves one value) is null
        in its summary and a sentence in its notes.

    Raises:
        BadInput: columns, labels or options that cannot be used.
    """
    check_threshold(threshold)
    if not 0 < held_out < 1:
        raise BadInput(f"held_out {held_out} is not a share of users: it lies between 0 and 1.")
    missing = [name for name in ("event_id", "event_type", "topic") if name not in events.columns]
    if missing:
        raise BadInput(f"A classifier cannot be measured: column(s) {', '.join(missing)} missing from the events.")
    examples = label_texts(labels, events.height).with_columns(
        features(events),
        events["event_type"],
        _held_out(events, held_out, seed),
        *(column.alias(f"rule:{column.name}") for column in label_texts(classify_by_topic(events), events.height)),
    )
    outcomes, notes = [], []
    for label in LABELS:
        counted = examples.group_by("document", label, "event_type", "held_out", topic_rule=f"rule:{label}").len(
            "count"
        )
        for protocol, folds in ((HELD_OUT_USERS, _by_user(counted)), (UNSEEN_TYPES, _by_type(counted))):
            for name, train, test in folds:
                reason = _cannot_measure(train, test, label)
                if reason:
                    notes.append({"protocol": protocol, "label": label, "reason": f"{name}: {reason}"})
                else:
                    outcomes.append(_predict(train, test, label, protocol, seed))
    return ClassifierReport(
        outcomes=pl.concat(outcomes) if outcomes else pl.DataFrame(schema=_OUTCOMES),
        notes=pl.DataFrame(notes, schema={"protocol": pl.String, "label": pl.String, "reason": pl.String}),
        threshold=threshold,
        events=events.height,
    )


def _held_out(events: pl.DataFrame, share: float, seed: int) -> pl.Series:
    """True for all events of a random share of users (of experiments, of events where there is neither)."""
    owner = events.select(owner=pl.coalesce("user_id", "experiment_id", "event_id"))["owner"]
    owners = owner.unique().sort()
    chosen = owners.filter(pl.Series(np.random.default_rng(seed).random(len(owners)) < share))
    return owner.is_in(chosen.implode()).alias("held_out")


_Fold = tuple[str, pl.DataFrame, pl.DataFrame]


def _by_user(examples: pl.DataFrame) -> Iterator[_Fold]:
    yield "all users", examples.filter(~pl.col("held_out")), examples.filter("held_out")


def _by_type(examples: pl.DataFrame) -> Iterator[_Fold]:
    for event_type in examples["event_type"].unique().sort():
        unseen = pl.col("event_type") == event_type
        yield f"without {event_type}", examples.filter(~unseen), examples.filter(unseen)


def _cannot_measure(train: pl.DataFrame, test: pl.DataFrame, label: str) -> str | None:
    if test.is_empty():
        return "no event is held out."
    if train.is_empty():
        return "no event is left to learn from."
    if train[label].n_unique() == 1:
        return f"every event left to learn from has {label} {train[label][0]}, so there is nothing to tell apart."
    return None


def _predict(train: pl.DataFrame, test: pl.DataFrame, label: str, protocol: str, seed: int) -> pl.DataFrame:
    pipeline = fit_label(train.group_by("document", label).agg(pl.col("count").sum()), label, seed)
    distinct = test["document"].unique().sort()
    value, confidence = predict_label(pipeline, distinct)
    majority = train.group_by(label).agg(pl.col("count").sum()).sort("count", label, descending=[True, False])[label][0]
    weight = pl.col("count") if protocol == HELD_OUT_USERS else pl.col("count") / pl.col("count").sum()
    answers = pl.DataFrame({"document": distinct, "predicted": value, "confidence": confidence})
    return (
        test.join(answers, on="document", how="left")
        .with_columns(
            protocol=pl.lit(protocol),
            label=pl.lit(label),
            actual=pl.col(label),
            majority=pl.lit(majority),
            weight=weight,
        )
        .group_by(*(name for name in _OUTCOMES if name not in ("count", "weight")))
        .agg(pl.col("count").sum(), pl.col("weight").sum())
        .select(pl.col(name).cast(dtype) for name, dtype in _OUTCOMES.items())
        .sort("event_type", "actual", "predicted", "confidence", "topic_rule")
    )


def _positive(total: pl.Expr) -> pl.Expr:
    """For division: null instead of 0."""
    return pl.when(total > 0).then(total)
