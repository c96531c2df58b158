"""How far an event classifier can be believed: on events of kinds it has seen, and on whole kinds that it has not.

The first is easy and flatters: an event's content gives its type away. The second, leave-one-type-out, is the question
that the classifier exists for, and its figures are the honest ones.
"""

from dataclasses import dataclass, field
from functools import cached_property

import polars as pl

from neonblue_lab.errors import BadInput
from neonblue_lab.events.classification import LABELS
from neonblue_lab.models.event_labels.corrections import AGREEMENT
from neonblue_lab.models.training.scores import bootstrap, macro_f1

HELD_OUT_USERS = "held-out users"
UNSEEN_TYPES = "unseen event types"
UNSEEN_PAIRS = "unseen pairs of types"
PROTOCOLS = (HELD_OUT_USERS, UNSEEN_TYPES, UNSEEN_PAIRS)

OUTCOMES = {
    "protocol": pl.String(),
    "label": pl.String(),
    "event_type": pl.String(),
    "actual": pl.String(),
    "predicted": pl.String(),
    "confidence": pl.Float64(),
    "answered": pl.Boolean(),
    "nearest": pl.String(),
    "majority": pl.String(),
    "topic_rule": pl.String(),
    "unknown_rule": pl.String(),
    "count": pl.Int64(),
    "weight": pl.Float64(),
}
_BY = ["protocol", "label"]
RESAMPLES = 500
ANSWERS = ("actual", "predicted", "topic_rule", "unknown_rule", "majority")
RIVALS = {
    "classifier": pl.col("predicted"),
    "classifier, then topic rule": pl.when("answered").then("predicted").otherwise("topic_rule"),
    "topic rule": pl.col("topic_rule"),
    "rule of unknown topics": pl.col("unknown_rule"),
    "majority": pl.col("majority"),
}
"""What is measured side by side. The classifier sees neither type nor topic; the topic rule sees the topic."""


def _share(condition: pl.Expr) -> pl.Expr:
    """Weighted share of rows; null where the weights are 0."""
    total = pl.col("weight").sum()
    return pl.when(total > 0).then((condition.cast(pl.Float64) * pl.col("weight")).sum() / total)


def _positive(total: pl.Expr) -> pl.Expr:
    """For division: null instead of 0."""
    return pl.when(total > 0).then(total)


_RIGHT = pl.col("predicted") == pl.col("actual")
_RULE_RIGHT = pl.col("topic_rule") == pl.col("actual")


@dataclass(frozen=True)
class ClassifierReport:
    """Predictions on events that the predicting model had not seen, and every view of them.

    In the protocol "held-out users" all events of a quarter of the users (of the experiments, where an event has no
    user) are predicted by a model of the others; each event counts once. In "unseen event types" the events of each
    type are predicted by a model that has seen no event of the type; each *type* counts once, however many events it
    has. In "unseen pairs of types" two types are left out at once, so that a type cannot be known by its twin.

    Baselines: `majority` is the training part's most frequent value; `topic_rule` is the default of the event's topic,
    which the classifier never sees and which holds wherever it abstains; `unknown_rule` that of an unknown topic.

    Attributes:
        outcomes: columns protocol, label, event_type, actual, predicted, confidence, answered (at the threshold that the
            predicting model had chosen), nearest (the known type that the content is most like), majority, topic_rule,
            unknown_rule, count (events) and weight (see above).
        notes: what could not be measured, in sentences: columns protocol, label, reason.
        events: the number of events given.
        seed: of the intervals.
        corrections: what became of people's corrections; columns of AGREEMENT.
    """

    outcomes: pl.DataFrame
    notes: pl.DataFrame
    events: int
    seed: int
    corrections: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=AGREEMENT))

    @property
    def summary(self) -> pl.DataFrame:
        """One row for each protocol and label; null, with a reason, where it could not be measured.

        Columns protocol, label, accuracy, majority, topic_rule and unknown_rule (the baselines' accuracies), coverage
        (share answered), accuracy_answered (of those), accuracy_with_rule (the topic's rule answers the rest: what a
        user gets), confidence (mean), events, event_types, reason.
        """
        answered = pl.col("answered")
        measured = self.outcomes.group_by(_BY).agg(
            accuracy=_share(_RIGHT),
            majority=_share(pl.col("majority") == pl.col("actual")),
            topic_rule=_share(_RULE_RIGHT),
            unknown_rule=_share(pl.col("unknown_rule") == pl.col("actual")),
            coverage=_share(answered),
            accuracy_answered=_share(answered & _RIGHT) / _positive(_share(answered)),
            accuracy_with_rule=_share(pl.when(answered).then(_RIGHT).otherwise(_RULE_RIGHT)),
            confidence=(pl.col("confidence") * pl.col("weight")).sum() / _positive(pl.col("weight").sum()),
            events=pl.col("count").sum(),
            event_types=pl.col("event_type").n_unique(),
        )
        reasons = self.notes.group_by(_BY).agg(reason=pl.col("reason").str.join(" "))
        grid = pl.DataFrame([(p, name) for p in PROTOCOLS for name in LABELS], schema=_BY, orient="row")
        return grid.join(measured, on=_BY, how="left", maintain_order="left").join(
            reasons, on=_BY, how="left", maintain_order="left"
        )

    def scores(self, protocol: str = UNSEEN_TYPES) -> pl.DataFrame:
        """Macro-F1 of the classifier and its rivals, with 95 % bootstrap intervals over event types drawn whole.

        Returns:
            model (see RIVALS), metric (the label), value, low, high; nothing for a label that could not be measured.
        """
        self._of(LABELS[0], protocol)
        return self._all_scores.filter(protocol=protocol).drop("protocol")

    @cached_property
    def _all_scores(self) -> pl.DataFrame:
        rows = []
        for (protocol, label), chosen in self.outcomes.group_by(*_BY, maintain_order=True):
            texts = pl.Enum(sorted({text for name in ANSWERS for text in chosen[name].unique()}))
            for model, answer in RIVALS.items():
                alike = (
                    chosen.with_columns(answer=answer)
                    .group_by("event_type", "actual", "answer", maintain_order=True)
                    .agg(pl.col("weight").sum())
                    .with_columns(pl.col("actual", "answer").cast(texts).to_physical())
                )
                columns = (alike[name].to_numpy() for name in ("actual", "answer", "weight"))
                score = bootstrap(macro_f1, *columns, groups=alike["event_type"], resamples=RESAMPLES, seed=self.seed)
                found = {name: getattr(score, name) for name in ("value", "low", "high")}
                rows.append({"protocol": protocol, "model": model, "metric": label, **found})
        schema = dict.fromkeys(("protocol", "model", "metric"), pl.String) | dict.fromkeys(
            ("value", "low", "high"), pl.Float64
        )
        frame = pl.DataFrame(rows, schema=schema)
        return frame.sort(pl.col("metric").replace_strict({label: place for place, label in enumerate(LABELS)}))

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
        """Where it fails: for each protocol, label and event type the events, accuracy, mean confidence, the accuracy of the
        topic rule, and the type that most of its events were taken for."""
        return (
            self.outcomes.group_by(*_BY, "event_type")
            .agg(
                events=pl.col("count").sum(),
                accuracy=_share(_RIGHT),
                confidence=(pl.col("confidence") * pl.col("weight")).sum() / pl.col("weight").sum(),
                topic_rule=_share(_RULE_RIGHT),
                taken_for=pl.col("nearest").sort_by("weight", "nearest").last(),
            )
            .sort(*_BY, "event_type")
        )

    def confusion(self, label: str, *, protocol: str = UNSEEN_TYPES) -> pl.DataFrame:
        """actual, predicted, count (events), weight (of the report), share (of the actual value's weight; sums to 1 for each)."""
        chosen = self._of(label, protocol)
        return (
            chosen.group_by("actual", "predicted")
            .agg(count=pl.col("count").sum(), weight=pl.col("weight").sum())
            .with_columns(share=pl.col("weight") / pl.col("weight").sum().over("actual"))
            .sort("actual", "predicted")
        )

    def reliability(self, label: str, *, protocol: str = UNSEEN_TYPES) -> pl.DataFrame:
        """predicted (mean confidence in a tenth of the scale), observed (accuracy there), count (events): calibrated if both
        agree."""
        chosen = self._of(label, protocol)
        return (
            chosen.with_columns(bin=(pl.col("confidence") * 10).floor().clip(0, 9))
            .group_by("bin")
            .agg(
                predicted=(pl.col("confidence") * pl.col("weight")).sum() / pl.col("weight").sum(),
                observed=_share(_RIGHT),
                count=pl.col("count").sum(),
            )
            .sort("bin")
            .drop("bin")
        )

    def abstention(self, label: str, *, protocol: str = UNSEEN_TYPES) -> pl.DataFrame:
        """What abstaining buys: the surest events answered first.

        Returns:
            coverage (share answered), accuracy (of the answers), accuracy_with_rule (the topic's default answers the rest),
            threshold (the least confidence that is answered): a row without answers, then one for each confidence that
            occurs, coverage rising to 1.
        """
        chosen = self._of(label, protocol)
        weight, right, rule = pl.col("weight"), pl.col("right"), pl.col("rule")
        answered = (
            chosen.group_by(threshold="confidence")
            .agg(weight.sum(), right=(weight * _RIGHT).sum(), rule=(weight * _RULE_RIGHT).sum())
            .sort("threshold", descending=True)
            .select(
                coverage=weight.cum_sum() / weight.sum(),
                accuracy=right.cum_sum() / weight.cum_sum(),
                accuracy_with_rule=(right.cum_sum() + rule.sum() - rule.cum_sum()) / weight.sum(),
                threshold="threshold",
            )
        )
        silent = chosen.select(
            coverage=pl.lit(0.0),
            accuracy=pl.lit(None, pl.Float64),
            accuracy_with_rule=_share(_RULE_RIGHT),
            threshold=pl.lit(None, pl.Float64),
        )
        return pl.concat([silent.head(1), answered])

    @property
    def metrics(self) -> dict[str, float | None]:
        """What an artifact's manifest keeps of the summary, e.g. `unseen_priority_accuracy`; None: not measured."""
        kept = {
            UNSEEN_TYPES: ("unseen", ("accuracy", "topic_rule", "coverage", "accuracy_answered", "accuracy_with_rule")),
            HELD_OUT_USERS: ("held_out", ("accuracy", "majority")),
        }
        figures: dict[str, float | None] = {
            f"{kept[row['protocol']][0]}_{row['label']}_{name}": row[name]
            for row in self.summary.iter_rows(named=True)
            if row["protocol"] in kept
            for name in kept[row["protocol"]][1]
        }
        for protocol, (prefix, _) in kept.items():
            ours = self.scores(protocol).filter(model="classifier")
            found = dict(ours.select("metric", "value").iter_rows())
            figures |= {f"{prefix}_{label}_macro_f1": found.get(label) for label in LABELS}
        return figures

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
