"""The chance that one text beats another, learned from texts that were tried against each other.

A text's appeal is the logit of its click rate beyond what its experiment and picture give it: a Gaussian process over texts
(Rasmussen & Williams 2006, sections 2.2 and 2.7) with a wide prior on the level of each experiment and picture, so that
little but comparisons within one counts, and a noise of 1 / clicks, so that rates of few clicks count for little. The chance is
the logistic function of the difference of two appeals, by one temperature from folds that were left out.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit

from neonblue_lab.errors import BadInput, Corrupt
from neonblue_lab.models.outcome import text_features
from neonblue_lab.models.outcome.kernel import WITH_NEURAL, WITHOUT_NEURAL, Kernel, Matrix
from neonblue_lab.models.outcome.views import Embed, Reader, Views, remembered
from neonblue_lab.models.training.calibration import Temperature
from neonblue_lab.models.training.scores import accuracy, brier
from neonblue_lab.models.training.splits import components, grouped_folds

__all__ = ["FEWEST_PAIRS", "MOST_ARMS", "Embed", "PairModel"]

Floats = NDArray[np.float64]

FEWEST_PAIRS = 30
"""Fewer teach nothing."""
MOST_ARMS = 12_000
"""Of a history with more, the latest are learned from: memory grows with their square (0.6 GB a matrix)."""
_LEVEL = 1.0
"""Prior variance of an experiment's and picture's own level: twice what was found at Upworthy. Wider (5), so that nothing
between experiments counts, did worse, narrower (0.5) no better."""
_FOLDS = 3
_AT_ONCE = 500
_STATE, _ARRAYS = "pair_model.json", "pair_model.npz"


class PairModel:
    """Answers which of two texts will be clicked more often. Made by `fit` or `load`.

    Attributes:
        facts: JSON: pairs, arms, arms_left_out, experiments, texts that it was fitted on, temperature, and accuracy and
            Brier score on folds of them that were left out (the temperature was chosen there: slightly flattering).
    """

    def __init__(
        self,
        reader: Reader,
        known: Views,
        weights: NDArray[np.float32],
        usual: Floats,
        facts: dict[str, Any],
    ) -> None:
        """
        Args:
            reader: looks at texts.
            known: the texts that were learned from.
            weights: of each of them in the appeal of another.
            usual: how unlike each of them is to the nearest of other experiments, ascending.
            facts: see the class.
        """
        self._reader, self._known, self._weights, self._usual = reader, known, weights, usual
        self._kernel = _kernel(reader)
        self.facts = facts

    @property
    def neural(self) -> bool:
        """Whether a neural embedder's vectors are part of it. Without them it is right about two points less often."""
        return self._reader.neural > 0

    @property
    def temperature(self) -> float:
        """What a difference of appeal is divided by."""
        return float(self.facts["temperature"])

    @classmethod
    def fit(cls, pairs: pl.DataFrame, texts: Sequence[str] = (), *, embed: Embed | None = None, seed: int = 0) -> Self:
        """Learn from pairs.

        Args:
            pairs: as of `pairs.pairs`.
            texts: more texts of the same kind, of which no outcome is known (introductions, say): they teach which words
                go together.
            embed: texts to vectors of norm 1; None fits without a neural embedder.
            seed: of everything random.

        Raises:
            BadInput: fewer than FEWEST_PAIRS pairs, pairs of too few experiments, or texts with too few words in common.
        """
        if pairs.height < FEWEST_PAIRS:
            raise BadInput(f"{pairs.height} pairs of texts are too few to learn from: {FEWEST_PAIRS} at least.")
        arms = _arms(pairs)
        group = components(arms["experiment_id"], arms["text"])
        if len(np.unique(group)) < _FOLDS:
            raise BadInput(f"The {pairs.height} pairs are of fewer than {_FOLDS} unrelated experiments: wait for more.")
        distinct = arms["text"].unique(maintain_order=True)
        once = None if embed is None else remembered(embed)
        reader = Reader.fit(distinct.to_list(), texts, embed=once, seed=seed)
        known = reader.read(distinct.to_list())
        reader = Reader.from_arrays(reader.to_arrays(), embed)  # what is asked later is not remembered
        place = {text: row for row, text in enumerate(distinct)}
        row = np.array([place[text] for text in arms["text"]])
        first, second = _positions(pairs, arms)
        among = (first >= 0) & (second >= 0)
        first, second, won = first[among], second[among], pairs["z"].to_numpy()[among] > 0
        difference = np.empty(len(first))
        for split in grouped_folds(group, folds=_FOLDS, seed=seed):
            # Words too are learned without the texts left out: those that a reader has learned from are surer than new ones.
            seen = arms["text"][split.train].unique(maintain_order=True).to_list()
            apart = Reader.fit(seen, texts, embed=once, seed=seed).read(distinct.to_list())
            appeal = _Learning(arms, _kernel(reader), apart, row).left_out(split.train)
            held = np.isin(first, split.test)
            difference[held] = appeal[first[held]] - appeal[second[held]]
        temperature = Temperature.fit(expit(difference), won)
        stated = temperature.apply(expit(difference))
        facts = {
            "pairs": len(first),
            "arms": arms.height,
            "arms_left_out": _count_arms(pairs) - arms.height,
            "experiments": arms["experiment_id"].n_unique(),
            "texts": len(distinct),
            "neural": reader.neural > 0,
            "temperature": temperature.temperature,
            "accuracy_left_out": accuracy(won, stated > 0.5),
            "brier_left_out": brier(won, stated),
            "seed": seed,
        }
        learning = _Learning(arms, _kernel(reader), known, row)
        weights = np.bincount(row, learning.weights(np.arange(arms.height)), len(distinct)).astype(np.float32)
        of_text = np.zeros(len(distinct), np.int64)
        of_text[row] = group
        return cls(reader, known, weights, np.sort(_unlike(known.meaning, known.meaning, of_text, of_text)), facts)

    def appeal(self, texts: Sequence[str]) -> Floats:
        """How a text does against others on the logit scale: differences are logits of `chance`; 0 is like no other text."""
        distinct = sorted(set(texts))
        found: dict[str, float] = {}
        for start in range(0, len(distinct), _AT_ONCE):
            part = distinct[start : start + _AT_ONCE]
            values = self._kernel.whole(self._reader.read(part), self._known) @ self._weights
            found |= dict(zip(part, values.astype(np.float64) / self.temperature, strict=True))
        return np.array([found[text] for text in texts], np.float64)

    def chance(self, a: Sequence[str], b: Sequence[str]) -> Floats:
        """Probability that a[i] is clicked more often than b[i], both shown alike; chance(b, a) is 1 - chance(a, b).

        Raises:
            BadInput: not as many texts in `a` as in `b`, or a single text instead of a list of them.
        """
        if isinstance(a, str) or isinstance(b, str) or len(a) != len(b):
            raise BadInput(
                "chance() takes two lists of texts of one length: the first of one against the first of the other."
            )
        appeal = self.appeal([*a, *b])
        difference = appeal[: len(a)] - appeal[len(a) :]
        wins = 1 - expit(-np.abs(difference))
        return np.asarray(
            np.where(difference > 0, wins, 1 - wins)
        )  # 1 - (1 - wins) is wins: both directions add up to 1 exactly

    def rank(self, texts: Sequence[str]) -> pl.DataFrame:
        """Variants of one text, the most promising first.

        Returns:
            position (in `texts`), text, chance (mean probability of beating another of them; one half for a single
            text), novelty.
        """
        appeal = self.appeal(texts)
        beats = expit(appeal[:, None] - appeal[None, :])
        others = max(len(texts) - 1, 1)
        chance = (beats.sum(axis=1) - 0.5) / others if len(texts) > 1 else np.full(len(texts), 0.5)
        return pl.DataFrame(
            {"position": np.arange(len(texts)), "text": list(texts), "chance": chance, "novelty": self.novelty(texts)},
            schema={"position": pl.Int64, "text": pl.String, "chance": pl.Float64, "novelty": pl.Float64},
        ).sort("chance", descending=True, maintain_order=True)

    def novelty(self, texts: Sequence[str]) -> Floats:
        """How unlike anything learned from each text is: 0 familiar, 1 unlike all.

        It is the share of the texts learned from whose nearest text of another experiment was nearer (by cosine of
        meaning) than this one's nearest. Above about 0.95 the chance is a guess.
        """
        known = self._known.meaning
        parts = [list(texts[start : start + _AT_ONCE]) for start in range(0, len(texts), _AT_ONCE)]
        unlike = [1 - (self._reader.read(part).meaning @ known.T).max(axis=1) for part in parts]
        found = np.concatenate(unlike) if unlike else np.empty(0)
        return np.asarray(np.searchsorted(self._usual, found - 1e-6) / len(self._usual))

    def explain(self, a: str, b: str) -> pl.DataFrame:
        """What speaks for a (contribution above 0) and for b (below).

        Returns:
            feature: one of `text_features.NAMES`, or "wording" (its words) or "meaning"; a, b: the feature's values, null
            for these two; contribution, on the logit scale: they add up to the logit of chance(a, b). Largest first.
        """
        both = self._reader.read([a, b])
        other = {"wording": 0.0, "meaning": 0.0}
        for name, part in self._kernel.parts(both, self._known):
            if name in other:
                appeal = part.astype(np.float64) @ self._weights
                other[name] += float(appeal[0] - appeal[1]) / self.temperature
        hand = both.hand.astype(np.float64)
        slopes = self._kernel.hand / hand.shape[1] * (self._weights @ self._known.hand.astype(np.float64))
        values = text_features.features([a, b])
        writing = (hand[0] - hand[1]) * slopes / self.temperature
        return pl.DataFrame(
            {
                "feature": [*text_features.NAMES, *other],
                "a": [*values[0], None, None],
                "b": [*values[1], None, None],
                "contribution": [*writing, *other.values()],
            }
        ).sort(pl.col("contribution").abs(), descending=True, maintain_order=True)

    def save(self, folder: Path) -> None:
        """Write the model into an existing folder: arrays as npz, facts as JSON; nothing pickled."""
        arrays: dict[str, Any] = {f"reader.{name}": array for name, array in self._reader.to_arrays().items()}
        arrays |= {f"known.{name}": array for name, array in self._known.to_arrays().items()}
        np.savez_compressed(folder / _ARRAYS, weights=self._weights, usual=self._usual, **arrays)
        (folder / _STATE).write_text(json.dumps(self.facts, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, *, embed: Embed | None = None) -> Self:
        """The model that `save` wrote; the same chances.

        Raises:
            BadInput: it was fitted with a neural embedder, and `embed` is None.
            Corrupt: the files do not fit each other.
        """
        facts = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        with np.load(folder / _ARRAYS, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        known = Views.from_arrays(_under("known.", arrays))
        if len(known) != len(arrays["weights"]) or len(known) != facts["texts"]:
            raise Corrupt(f"{folder / _ARRAYS} does not belong to {folder / _STATE}. Fit the model anew.")
        reader = Reader.from_arrays(_under("reader.", arrays), embed)
        return cls(reader, known, arrays["weights"], arrays["usual"], facts)


class _Learning:
    """The equations of the appeal, on all arms or on some of them."""

    def __init__(self, arms: pl.DataFrame, kernel: Kernel, known: Views, row: NDArray[np.int64]) -> None:
        clicks, impressions = (arms[name].to_numpy().astype(np.float64) for name in ("clicks", "impressions"))
        self._rate = np.log((clicks + 0.5) / (impressions - clicks + 0.5))
        self._noise = 1 / (clicks + 0.5) + 1 / (impressions - clicks + 0.5) + kernel.noise
        self._group = arms.select(pl.struct("experiment_id", "context").rank("dense")).to_series().to_numpy()
        self._likeness: Matrix = kernel.whole(known, known)[np.ix_(row, row)]

    def weights(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Of each of these arms in the appeal of any text, when only they are learned from."""
        from scipy.linalg import cho_factor, cho_solve

        covariance = self._likeness[np.ix_(rows, rows)]
        group = self._group[rows]
        covariance += np.float32(_LEVEL) * (group[:, None] == group[None, :])
        covariance[np.diag_indices_from(covariance)] += self._noise[rows].astype(np.float32)
        factor = cho_factor(covariance, lower=True, overwrite_a=True, check_finite=False)
        rate = self._rate[rows]
        return np.asarray(cho_solve(factor, (rate - rate.mean()).astype(np.float32), check_finite=False), np.float32)

    def left_out(self, rows: NDArray[np.int64]) -> Floats:
        """The appeal of all arms, learned from some."""
        return np.asarray(self._likeness[:, rows] @ self.weights(rows), np.float64)


def _kernel(reader: Reader) -> Kernel:
    return WITH_NEURAL if reader.neural else WITHOUT_NEURAL


def _sides(pairs: pl.DataFrame) -> pl.DataFrame:
    """Both texts of each pair as rows: first all a, then all b."""
    keys = ("experiment_id", "context", "time")
    return pl.concat(
        [
            pairs.select(*keys, text=f"text_{side}", impressions=f"impressions_{side}", clicks=f"clicks_{side}")
            for side in ("a", "b")
        ]
    )


def _arms(pairs: pl.DataFrame) -> pl.DataFrame:
    """The arms that the pairs are made of, each once; of too many the latest."""
    arms = _sides(pairs).unique(["experiment_id", "context", "text"], keep="first", maintain_order=True)
    if arms.height <= MOST_ARMS:
        return arms
    return arms.sort("time", descending=True, maintain_order=True).head(MOST_ARMS)


def _count_arms(pairs: pl.DataFrame) -> int:
    return _sides(pairs).select("experiment_id", "context", "text").n_unique()


def _positions(pairs: pl.DataFrame, arms: pl.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where in `arms` the a and the b of each pair are; -1 where they are not."""
    key = ["experiment_id", "context", "text"]
    found = _sides(pairs).join(arms.select(*key).with_row_index("arm"), on=key, how="left", maintain_order="left")
    position = found["arm"].cast(pl.Int64).fill_null(-1).to_numpy()
    return position[: pairs.height], position[pairs.height :]


def _unlike(left: Matrix, right: Matrix, of_left: NDArray[np.int64], of_right: NDArray[np.int64]) -> Floats:
    """1 - cosine of each left vector to the nearest right vector of another group."""
    nearest = np.empty(len(left))
    for start in range(0, len(left), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        cosine = left[part] @ right.T
        cosine[of_left[part, None] == of_right[None, :]] = -1
        nearest[part] = cosine.max(axis=1)
    return 1 - nearest


def _under(prefix: str, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
