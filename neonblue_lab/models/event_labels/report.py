"""How far an event classifier can be believed: on events of kinds it has seen, and on whole kinds that it has not.

The first is easy and flatters: an event's content gives its type away. The second, leave-one-type-out, is the question
that the classifier exists for, and its figures are the honest ones.
"""

from dataclasses import dataclass

import polars as pl

from neonblue_lab.errors import BadInput
from neonblue_lab.events.classification import LABELS

HELD_OUT_USERS = "held-out users"
UNSEEN_TYPES = "unseen event types"
PROTOCOLS = (HELD_OUT_USERS, UNSEEN_TYPES)
THRESHOLDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)

OUTCOMES = {
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


def _positive(total: pl.Expr) -> pl.Expr:
    """For division: null instead of 0."""
    return pl.when(total > 0).then(total)


_RIGHT = pl.col("predicted") == pl.col("actual")


@dataclass(frozen=True)
class ClassifierReport:
    """Predictions on events that the predicting model had not seen, and every view of them.

    In the protocol "held-out users" all events of a quarter of the users (of the experiments, where an event has no
    user) are predicted by a model of the others; each event counts once. In "unseen event types" the events of each
    type are predicted by a model that has seen no event of the type; each *type* counts once, however many events it
    has.

    Baselines: `majority` is the training part's most frequent value; `topic_rule` is the default of the event's topic,
    which the classifier never sees and which holds wherever it abstains.

    Attributes:
        outcomes: columns protocol, label, event_type, actual, predicted, confidence, majority, topic_rule, count
            (events) and weight (see above).
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
        """One row for each protocol and label; null, with a reason, where it could not be measured.

        Columns protocol, label, accuracy, majority and topic_rule (the baselines' accuracies), coverage (share answered
        at the threshold), accuracy_answered (of those), accuracy_with_rule (the topic's rule answers the rest: what a
        user gets), events, event_types, reason.
        """
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
        """One row for each protocol, label and value: events, precision, recall, f1, of weighted events.

        A value that is never predicted has no precision, one that never occurs no recall: null.
        """
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
        """Where it fails: for each protocol, label and event type the events, accuracy, mean confidence, and the
        accuracy of the topic rule."""
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
        """What a higher threshold buys: threshold, coverage, accuracy, accuracy_with_rule.

        Coverage is the share answered, accuracy that of the answers (null where there is none); with the rule, the
        topic's default answers the rest.
        """
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
    def metrics(self) -> dict[str, float | None]:
        """What an artifact's manifest keeps of the summary, e.g. `unseen_priority_accuracy`; None: not measured."""
        kept = {
            UNSEEN_TYPES: ("unseen", ("accuracy", "topic_rule", "accuracy_with_rule")),
            HELD_OUT_USERS: ("held_out", ("accuracy", "majority")),
        }
        return {
            f"{kept[row['protocol']][0]}_{row['label']}_{name}": row[name]
            for row in self.summary.iter_rows(named=True)
            for name in kept[row["protocol"]][1]
        }

    def hardest(self, label: str) -> str:
        """The protocol that asks most of the label's classifier among those that could be measured: unseen event types,
        else held-out users.

        Raises:
            BadInput: neither could be measured.
        """
        for protocol in (UNSEEN_TYPES, HELD_OUT_USERS):
            if not self._of(label, protocol).is_empty():
                return protocol
        reasons = " ".join(self.notes.filter(label=label)["reason"])
        raise BadInput(f"The classifier of {label} could not be measured. {reasons}")

    def _of(self, label: str, protocol: str) -> pl.DataFrame:
        if label not in LABELS or protocol not in PROTOCOLS:
            raise BadInput(
                f"No report on {label!r} under {protocol!r}: labels are {', '.join(LABELS)}, protocols {PROTOCOLS}."
            )
        return self.outcomes.filter(pl.col("label") == label, pl.col("protocol") == protocol)
