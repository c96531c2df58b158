"""Whether outcomes can be predicted at all: the model beside base rates, on experiments that it had not learned from."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from neonblue_lab.errors import BadInput
from neonblue_lab.metrics.outcome import WIN
from neonblue_lab.models.outcome.history import FEATURES, OUTCOMES, outcome_codes
from neonblue_lab.models.outcome.pair_model import Embed, PairModel
from neonblue_lab.models.outcome.tabular import Floats, TabularModel, base_rates, counted
from neonblue_lab.models.training.calibration import reliability
from neonblue_lab.models.training.leaks import check, duplicates
from neonblue_lab.models.training.scores import Score, log_losses, mean_score, squared_errors
from neonblue_lab.models.training.splits import Split, codes, components, grouped_folds, temporal

MODEL, SAME_TYPE, BASE = "configuration", "rate of its type", "base rate"
"""What is compared: the tabular model, the win rate of the experiment's type drawn to the programme's, the programme's."""

GAIN = "log loss against the base rate's"

GROUPED, TEMPORAL = "other experiments", "later experiments"
"""Protocols: five folds, experiments that show the same kept together; the last quarter, predicted from what was over."""

FEWEST = 40
"""Finished experiments below which nothing but base rates is stated."""

FEWEST_PAIRS = 200
"""Pairs of texts below which texts teach nothing."""

PREDICTIONS: dict[str, pl.DataType] = {
    "protocol": pl.String(),
    "model": pl.String(),
    "experiment_id": pl.String(),
    "experiment_type": pl.String(),
    "group": pl.Int64(),
    "outcome": pl.String(),
    **dict.fromkeys(OUTCOMES, pl.Float64()),
}

SCORES: dict[str, pl.DataType] = {
    **dict.fromkeys(("protocol", "model", "metric"), pl.String()),
    **dict.fromkeys(("value", "low", "high"), pl.Float64()),
    "rows": pl.Int64(),
}

_SHARE = 0.25
_TYPE_WEIGHT = 10.0
"""A type's own rate counts as much as the programme's once it has so many experiments."""


@dataclass(frozen=True, eq=False)
class OutcomeReport:
    """What was measured.

    Attributes:
        predictions: columns of PREDICTIONS: every held-out experiment, by protocol and model.
        scores: columns of SCORES.
        experiments: finished ones that were learned from.
        beats_base_rate: whether the model is better than base rates by more than chance; else base rates are served.
        texts: scores of the text model on later pairs (pairs, accuracy, brier, with intervals), empty where there is none.
        notes: sentences on what could not be measured, and on what was found.
    """

    predictions: pl.DataFrame
    scores: pl.DataFrame
    experiments: int
    beats_base_rate: bool
    texts: dict[str, Any]
    notes: tuple[str, ...]

    def reliability(self, *, model: str = MODEL, protocol: str = GROUPED, outcome: str = WIN) -> pl.DataFrame:
        """Stated probability of an outcome beside how often it came, as of `calibration.reliability`, five groups at most.
        Empty where nothing was measured."""
        rows = self.predictions.filter(protocol=protocol, model=model)
        if rows.is_empty():
            return pl.DataFrame(
                schema=dict.fromkeys(("predicted", "observed", "low", "high"), pl.Float64) | {"count": pl.Int64}
            )
        return reliability(rows[outcome], (rows["outcome"] == outcome).cast(pl.Float64), bins=5)

    @property
    def measured(self) -> bool:
        """Whether there was history enough to measure anything."""
        return not self.scores.is_empty()

    def held_out(self, protocol: str = GROUPED) -> pl.DataFrame:
        """Scores by one protocol: model, metric, value, low, high. The gain over base rates is measured on the same experiments,
        so that its interval is far narrower than those of the two scores."""
        return self.scores.filter(protocol=protocol).select("model", "metric", "value", "low", "high")

    def with_texts(self, scores: dict[str, Any], said: str) -> "OutcomeReport":
        """The same report with what `evaluate_texts` found."""
        return replace(self, texts=scores, notes=(*self.notes, said))

    @property
    def metrics(self) -> dict[str, float | int | None]:
        """The headline figures, for the manifest."""
        found = {
            f"{row['model']}, {row['metric']}, {row['protocol']}".replace(" ", "_"): row["value"]
            for row in self.scores.iter_rows(named=True)
        }
        return {"experiments": self.experiments, **found, **{f"texts_{k}": v for k, v in self.texts.items()}}


def evaluate(rows: pl.DataFrame, *, seed: int) -> OutcomeReport:
    """Measure tabular models of this history on experiments that they had not learned from.

    Args:
        rows: columns of HISTORY_SCHEMA.
        seed: of folds, models and intervals.
    """
    empty = pl.DataFrame(schema=PREDICTIONS), pl.DataFrame(schema=SCORES)
    reason = too_little(rows)
    if reason:
        return OutcomeReport(*empty, rows.height, False, {}, (reason,))
    group = codes(rows["content"])
    notes = []
    grouped = grouped_folds(group, folds=5, seed=seed)
    for split in grouped:
        check(split, groups={"content": group})
    found = [_predictions(rows, group, split, GROUPED, seed) for split in grouped]
    later = _later(rows)
    if later is None:
        notes.append(
            "There are too few experiments before and after any one day to predict later ones from earlier ones."
        )
    else:
        found.append(_predictions(rows, group, later, TEMPORAL, seed))
        same = duplicates(later, rows.select(*FEATURES))
        if same:
            notes.append(
                f"{same} of {len(later.test)} later experiments have exactly the configuration of an earlier one."
            )
    predictions = pl.concat(found)
    gain = _gain(predictions.filter(protocol=GROUPED), MODEL, seed)
    beats = gain.high < 0
    notes.append(
        f"The configuration {'tells' if beats else 'does not tell'} more of the outcome than the base rates do: log loss "
        f"{gain.value:+.4f} ({gain.low:+.4f} to {gain.high:+.4f}) against them on {gain.n} experiments."
    )
    return OutcomeReport(predictions, _scores(predictions, seed), rows.height, beats, {}, tuple(notes))


def too_little(rows: pl.DataFrame) -> str | None:
    """Why nothing but base rates can be learned from this history; None where more can."""
    if rows.height < FEWEST:
        return (
            f"{rows.height} finished experiments have an outcome: fewer than the {FEWEST} from which anything but base rates "
            "is learned."
        )
    if rows["outcome"].n_unique() == 1:
        return f"All {rows.height} finished experiments ended {rows['outcome'][0]}: there is nothing to tell apart."
    if rows["content"].n_unique() < 10:
        return "Fewer than ten different experiments are in the history: the others repeat them."
    return None


def evaluate_texts(pairs: pl.DataFrame, *, embed: Embed | None, seed: int) -> tuple[dict[str, Any], str]:
    """Measure a model of texts on the last fifth of pairs, those of experiments or texts that were learned from left out.

    Returns:
        pairs (tested), accuracy, accuracy_low, accuracy_high, brier, brier_low, brier_high (against which text drew more;
        0.25 is what always saying one half gets), and beats_even; and a sentence. Empty where there are too few pairs.
    """
    dated = pairs.drop_nulls("time")
    if dated.height < FEWEST_PAIRS:
        undated = f" ({pairs.height - dated.height} more have no date)" if dated.height < pairs.height else ""
        return (
            {},
            f"{dated.height} pairs of texts were tried against each other{undated}: fewer than {FEWEST_PAIRS} teach nothing of "
            "texts.",
        )
    group = components(
        np.r_[codes(dated["experiment_id"]), codes(dated["experiment_id"])],
        pl.concat([dated["text_a"], dated["text_b"]]),
    )[: dated.height]
    try:
        split = temporal(dated["time"], share=0.2, groups=group)
    except BadInput as error:
        return {}, f"What texts teach could not be measured on later pairs, so that they are not used: {error}"
    check(split, groups={"text or experiment": group}, times=dated["time"])
    train, test = dated[split.train], dated[split.test]
    if train.height < FEWEST_PAIRS:
        return (
            {},
            f"Only {train.height} pairs of texts lie before the last fifth: too few to learn from and to measure on.",
        )
    try:
        model = PairModel.fit(train, embed=embed, seed=seed)
    except BadInput as error:
        return {}, f"Texts teach nothing yet: {error}"
    stated = model.chance(test["text_a"].to_list(), test["text_b"].to_list())
    first = (test["z"] > 0).cast(pl.Float64).to_numpy()
    held = group[split.test]
    right = mean_score((stated > 0.5) == (first > 0.5), held, seed=seed)
    off = mean_score(squared_errors(first, stated), held, seed=seed)
    beats = off.high < 0.25
    scores = {
        "pairs": right.n,
        "accuracy": right.value,
        "accuracy_low": right.low,
        "accuracy_high": right.high,
        "brier": off.value,
        "brier_low": off.low,
        "brier_high": off.high,
        "beats_even": beats,
    }
    return scores, (
        f"Of {right.n:,} later pairs of texts it names the one that drew more in {right.value:.1%} ({right.low:.1%} to "
        f"{right.high:.1%})"
        + ("." if beats else ": no better than a coin by more than chance, so that texts are not used.")
    )


def _later(rows: pl.DataFrame) -> Split | None:
    """The last quarter to start, predicted from experiments that were over by then."""
    started, known = rows["started_at"], rows["known_at"]
    if started[0] == started[-1]:
        return None
    cut = started[min(rows.height - 1, round(rows.height * (1 - _SHARE)))]
    known_by_then = (known < cut).to_numpy()
    test = np.flatnonzero((started >= cut).to_numpy())
    group = codes(rows["content"])
    train = np.flatnonzero(known_by_then)
    test = test[~np.isin(group[test], group[train])]
    if len(train) < FEWEST // 2 or len(test) < 10 or rows["outcome"][train].n_unique() < 2:
        return None
    split = Split(f"from {cut:%Y-%m-%d}", train, test)
    # Of a training row its end counts, when its outcome was known; of a test row its start.
    moment = pl.select(pl.when(pl.Series(known_by_then)).then(known).otherwise(started)).to_series()
    check(split, groups={"content": group}, times=moment)
    return split


def _predictions(rows: pl.DataFrame, group: np.ndarray, split: Split, protocol: str, seed: int) -> pl.DataFrame:
    train, test = rows[split.train], rows[split.test]
    stated = {
        MODEL: TabularModel.fit(train, group[split.train], seed=seed).probabilities(test),
        SAME_TYPE: _rates_of_types(train, test),
        BASE: np.tile(base_rates(counted(outcome_codes(train["outcome"]))), (test.height, 1)),
    }
    frames = [
        test.select(
            pl.lit(protocol).alias("protocol"),
            pl.lit(model).alias("model"),
            "experiment_id",
            "experiment_type",
            pl.Series("group", group[split.test]),
            "outcome",
            *(pl.Series(outcome, values[:, position]) for position, outcome in enumerate(OUTCOMES)),
        )
        for model, values in stated.items()
    ]
    return pl.concat(frames)


def _rates_of_types(train: pl.DataFrame, test: pl.DataFrame) -> Floats:
    """Rates of the experiment's type, as if it had `_TYPE_WEIGHT` more experiments like the programme's."""
    overall = base_rates(counted(outcome_codes(train["outcome"])))
    of_types = train.group_by("experiment_type").agg(
        (pl.col("outcome") == outcome).sum().alias(outcome) for outcome in OUTCOMES
    )
    counts = (
        test.select("experiment_type")
        .join(of_types, on="experiment_type", how="left", maintain_order="left", nulls_equal=True)
        .select(pl.col(*OUTCOMES).fill_null(0))
        .to_numpy()
        .astype(np.float64)
    )
    drawn = counts + _TYPE_WEIGHT * overall
    return np.asarray(drawn / drawn.sum(axis=1, keepdims=True))


def _losses(predictions: pl.DataFrame) -> Floats:
    return log_losses(outcome_codes(predictions["outcome"]), predictions.select(OUTCOMES).to_numpy())


def _gain(predictions: pl.DataFrame, model: str, seed: int) -> Score:
    """Log loss of a model less that of base rates on the same experiments: below 0 is better."""
    ours, base = (predictions.filter(model=name).sort("experiment_id") for name in (model, BASE))
    return mean_score(_losses(ours) - _losses(base), ours["group"], seed=seed)


def _scores(predictions: pl.DataFrame, seed: int) -> pl.DataFrame:
    found = []
    for (protocol, model), rows in predictions.group_by("protocol", "model", maintain_order=True):
        won, stated = (rows["outcome"] == WIN).cast(pl.Float64).to_numpy(), rows[WIN].to_numpy()
        measured = {
            GAIN: _gain(predictions.filter(protocol=protocol), str(model), seed),
            "log loss": mean_score(_losses(rows), rows["group"], seed=seed),
            "Brier score of a win": mean_score(squared_errors(won, stated), rows["group"], seed=seed),
        }
        found += [(protocol, model, metric, s.value, s.low, s.high, s.n) for metric, s in measured.items()]
    return pl.DataFrame(found, schema=SCORES, orient="row")
