"""Which of two headlines will be clicked more often: is the model of texts right, and does it know how sure it may be?

Upworthy tests without the weeks of broken randomisation; arms of one test, picture and headline added up; every two
headlines of a test under one picture are a pair. Two protocols: five folds by what tests share a headline with each
other, and the weeks from 201448 on predicted from those before, tests that share a headline with them left out. All that
is learned, words and calibration included, is learned from the training part.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit
from timing import dataset, give_up, print_table

from neonblue_lab.errors import Unavailable
from neonblue_lab.models.outcome import text_features
from neonblue_lab.models.outcome.pair_model import Embed, PairModel
from neonblue_lab.models.outcome.pairs import DECISIVE, pairs
from neonblue_lab.models.outcome.views import remembered
from neonblue_lab.models.training.calibration import reliability
from neonblue_lab.models.training.leaks import check
from neonblue_lab.models.training.scores import Score, auc, mean_score, squared_errors
from neonblue_lab.models.training.splits import Split, components, grouped_folds, temporal

Floats = NDArray[np.float64]
Model = Callable[[pl.DataFrame, pl.DataFrame], Floats]
"""Training pairs, test pairs -> the chance of each test pair's first headline."""

BROKEN_WEEKS = (201325, 201402)
LATER = 201448
SEED = 1
GROUPED, TEMPORAL = "5 folds", "later weeks"
LONGER, HAND, COUNTED, LEXICAL, NEURAL = (
    "longer headline wins",
    "hand features",
    "TF-IDF",
    "without MiniLM",
    "with MiniLM",
)
REFERENCE = {
    (GROUPED, LONGER): (0.527, 0.555, 0.527, 0.250),
    (GROUPED, HAND): (0.568, 0.643, 0.600, 0.242),
    (GROUPED, COUNTED): (0.576, 0.641, 0.611, 0.241),
    (GROUPED, LEXICAL): (0.605, 0.704, 0.647, 0.233),
    (GROUPED, NEURAL): (0.613, 0.720, 0.661, 0.230),
    (TEMPORAL, LONGER): (0.525, 0.516, 0.526, None),
    (TEMPORAL, HAND): (0.567, 0.673, 0.601, None),
    (TEMPORAL, COUNTED): (0.574, 0.640, 0.614, None),
    (TEMPORAL, LEXICAL): (0.614, 0.727, 0.663, None),
    (TEMPORAL, NEURAL): (0.628, 0.760, 0.680, None),
}
"""Other people's models by the same protocols: accuracy on all pairs and on decisive ones, AUC, Brier score."""


@dataclass(frozen=True)
class Result:
    """How one model does by one protocol.

    Attributes:
        all_pairs, decisive: accuracy, on all pairs and on those with |z| > DECISIVE, with 95 % intervals by component.
        auc: each pair asked in both directions.
        brier: on all pairs, with its interval.
        worst_decile: the largest distance between stated and observed in ten groups of like statements, each pair asked
            in both directions.
        decile_error: standard error of what is observed in such a group, were pairs independent.
        seconds: of fitting and predicting.
    """

    protocol: str
    model: str
    all_pairs: Score
    decisive: Score
    auc: float
    brier: Score
    worst_decile: float
    decile_error: float
    seconds: float


def load(sample: int | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The pairs of all tests, or of `sample` tests drawn, and what was ever written.

    Returns:
        Pairs with the `component` of each; and experiment_id, time, text of all headlines and introductions.
    """
    rows = pl.read_parquet(dataset("upworthy_exploratory.parquet")).rename(
        {"clickability_test_id": "experiment_id", "eyecatcher_id": "context", "test_week": "time", "headline": "text"}
    )
    kept = rows.filter(~pl.col("time").is_between(*BROKEN_WEEKS))
    found = pairs(kept)
    if sample is not None:
        tests = found["experiment_id"].unique(maintain_order=True)
        drawn = tests.sample(min(sample, tests.len()), seed=SEED)
        found = found.filter(pl.col("experiment_id").is_in(drawn.implode()))
    both = pl.concat([found.select("experiment_id", text="text_a"), found.select("experiment_id", text="text_b")])
    group = components(both["experiment_id"], both["text"])[: found.height]
    texts = pl.concat(
        rows.select("experiment_id", "time", text=column)
        for column in ("text", pl.col("lede").str.replace_all("<[^>]+>", " "), "excerpt")
    )
    return found.with_columns(component=pl.Series(group)), texts.drop_nulls().unique(maintain_order=True)


def splits(found: pl.DataFrame) -> dict[str, list[Split]]:
    """The splits of each protocol, checked for leaks."""
    group = found["component"].to_numpy()
    protocols = {
        GROUPED: grouped_folds(group, folds=5, seed=SEED),
        TEMPORAL: [temporal(found["time"], at=LATER, groups=group)],
    }
    for name, parts in protocols.items():
        for split in parts:
            check(
                split,
                groups={"test": found["experiment_id"], "component": group},
                times=found["time"] if name == TEMPORAL else None,
            )
    return protocols


def longer(train: pl.DataFrame, test: pl.DataFrame) -> Floats:
    """The longer headline wins, as surely as it did in training."""

    def side(frame: pl.DataFrame) -> Floats:
        lengths = [np.array(frame[column].str.len_chars(), np.float64) for column in ("text_a", "text_b")]
        return np.sign(lengths[0] - lengths[1])

    right = float(np.mean((side(train) == np.sign(train["z"].to_numpy()))[side(train) != 0]))
    return np.where(side(test) == 0, 0.5, np.where(side(test) > 0, right, 1 - right))


def hand_features(train: pl.DataFrame, test: pl.DataFrame) -> Floats:
    """Logistic regression on differences of hand-made features."""
    scale = text_features.features(train["text_a"].to_list()).std(axis=0) + 1e-9

    def differences(frame: pl.DataFrame) -> Floats:
        a, b = (text_features.features(frame[column].to_list()) for column in ("text_a", "text_b"))
        return (a - b) / scale

    return _logistic(differences(train), train, differences(test), 0.01)


def counted_words(train: pl.DataFrame, test: pl.DataFrame) -> Floats:
    """Logistic regression on differences of TF-IDF of words."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    counter = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    counter.fit(pl.concat([train["text_a"], train["text_b"]]).unique(maintain_order=True).to_list())

    def differences(frame: pl.DataFrame) -> Any:
        return counter.transform(frame["text_a"].to_list()) - counter.transform(frame["text_b"].to_list())

    return _logistic(differences(train), train, differences(test), 0.5)


def _logistic(x: Any, train: pl.DataFrame, new: Any, strength: float) -> Floats:
    from sklearn.linear_model import LogisticRegression

    won = train["z"].to_numpy() > 0
    model = LogisticRegression(C=strength, fit_intercept=False, max_iter=1000).fit(x, won)
    return np.asarray(expit(model.decision_function(new)))


def pair_model(texts: pl.DataFrame, embed: Embed | None) -> Model:
    """Ours. Words' company is learned from whatever was written by the end of training, tests to be predicted left out."""

    def model(train: pl.DataFrame, test: pl.DataFrame) -> Floats:
        known = texts.filter(pl.col("time") <= train["time"].max()).join(
            test, on="experiment_id", how="anti", maintain_order="left"
        )
        fitted = PairModel.fit(train, known["text"].to_list(), embed=embed, seed=SEED)
        return fitted.chance(test["text_a"].to_list(), test["text_b"].to_list())

    return model


def result(protocol: str, name: str, model: Model, parts: Sequence[Split], found: pl.DataFrame) -> Result:
    """One model by one protocol."""
    start = time.perf_counter()
    stated = np.concatenate([model(found[split.train], found[split.test]) for split in parts])
    took = time.perf_counter() - start
    tested = found[np.concatenate([split.test for split in parts])]
    group, z = tested["component"].to_numpy(), tested["z"].to_numpy()
    won = (z > 0).astype(np.float64)
    right = np.where(stated == 0.5, 0.5, (stated > 0.5) == (won > 0.5))
    decisive = np.abs(z) > DECISIVE
    both_ways = np.concatenate([stated, 1 - stated]), np.concatenate([won, 1 - won])
    groups = reliability(*both_ways)
    return Result(
        protocol=protocol,
        model=name,
        all_pairs=mean_score(right, group, seed=SEED),
        decisive=mean_score(right[decisive], group[decisive], seed=SEED),
        auc=auc(both_ways[1], both_ways[0]),
        brier=mean_score(squared_errors(won, stated), group, seed=SEED),
        worst_decile=float((groups["predicted"] - groups["observed"]).abs().max()),
        decile_error=float(0.5 / np.sqrt(len(stated) / 5)),
        seconds=took,
    )


def table(
    embed: Embed | None, progress: Callable[[Result], None] = lambda _: None, sample: int | None = None
) -> list[Result]:
    """All models by both protocols; those with a neural embedder only where `embed` is given."""
    found, texts = load(sample)
    models: dict[str, Model] = {
        LONGER: longer,
        HAND: hand_features,
        COUNTED: counted_words,
        LEXICAL: pair_model(texts, None),
    }
    if embed is not None:
        models[NEURAL] = pair_model(texts, embed)
    results = []
    for protocol, parts in splits(found).items():
        for name, model in models.items():
            results.append(result(protocol, name, model, parts, found))
            progress(results[-1])
    return results


def printed(result: Result) -> tuple[str, ...]:
    """A row of the table."""
    reference = REFERENCE[result.protocol, result.model]
    given = " / ".join("-" if value is None else f"{value:.3f}" for value in reference)
    return (
        result.protocol,
        result.model,
        str(result.all_pairs),
        str(result.decisive),
        f"{result.auc:.3f}",
        str(result.brier),
        f"{100 * result.worst_decile:.1f} (s.e. {100 * result.decile_error:.1f})",
        given,
        f"{result.seconds:.0f}",
    )


HEADER = (
    "protocol",
    "model",
    "all pairs",
    f"z over {DECISIVE}",
    "AUC",
    "Brier",
    "worst decile, points",
    "reference: all / z / AUC / Brier",
    "s",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--without-neural", action="store_true", help="leave out the rows with MiniLM")
    parser.add_argument("--sample", type=int, help="draw so many tests")
    options = parser.parse_args()
    embed: Embed | None = None
    if not options.without_neural:
        from neonblue_lab.knowledge.minilm import MiniLM

        try:
            embed = remembered(MiniLM().embed)
        except Unavailable as error:
            give_up(str(error))
    results = table(
        embed, lambda one: print(f"{one.protocol}, {one.model}: {one.seconds:.0f} s", file=sys.stderr), options.sample
    )
    print_table(HEADER, map(printed, results))


if __name__ == "__main__":
    main()
