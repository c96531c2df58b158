"""What is served: base rates with the interval that their history allows, and what has been shown to beat them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from neonblue_lab.models.outcome.familiarity import Familiarity
from neonblue_lab.models.outcome.history import FEATURES, outcome_codes
from neonblue_lab.models.outcome.pair_model import Embed, PairModel
from neonblue_lab.models.outcome.report import OutcomeReport, evaluate, evaluate_texts
from neonblue_lab.models.outcome.tabular import Floats, TabularModel, base_rates, counted
from neonblue_lab.models.training.drift import Profile
from neonblue_lab.models.training.splits import codes

UNFAMILIAR_TEXT = 0.95
"""Quantile of novelty from which on a text is unlike anything seen."""


@dataclass(frozen=True, eq=False)
class OutcomePredictor:
    """Answers how a configured experiment may end.

    Attributes:
        counts: how many past experiments had each of OUTCOMES.
        configuration: model of the configuration; None where it does not beat base rates.
        texts: model of which of two texts draws more; None where there were too few, or it does not beat a coin.
        familiarity: what the history has seen.
        profile: of the history's features, to tell drift.
        notes: what the report found, in sentences.
    """

    counts: tuple[int, ...]
    configuration: TabularModel | None
    texts: PairModel | None
    familiarity: Familiarity
    profile: Profile
    notes: tuple[str, ...]

    @property
    def experiments(self) -> int:
        """Finished experiments that it was learned from."""
        return sum(self.counts)

    @property
    def base(self) -> Floats:
        """Base rates of OUTCOMES."""
        return base_rates(self.counts)

    def probabilities(self, row: pl.DataFrame) -> Floats:
        """Probability of each of OUTCOMES for one experiment (columns of FEATURES)."""
        if self.configuration is None:
            return self.base
        return np.asarray(self.configuration.probabilities(row)[0])

    def support(self, row: pl.DataFrame) -> int:
        """How many past experiments stand behind the answer: all for base rates, else those of the same type."""
        if self.configuration is None:
            return self.experiments
        return self.familiarity.count("experiment_type", row["experiment_type"][0])

    def text_chances(self, control: str, variants: Sequence[str]) -> Floats | None:
        """Probability that each variant's text draws more than the control's; None without a model of texts."""
        if self.texts is None:
            return None
        return self.texts.chance(list(variants), [control] * len(variants))


def train(
    rows: pl.DataFrame, pairs: pl.DataFrame, *, embed: Embed | None, seed: int
) -> tuple[OutcomePredictor, OutcomeReport]:
    """Measure what history can tell, and learn from all of it what has been shown to be worth it.

    Args:
        rows: columns of HISTORY_SCHEMA, one at least.
        pairs: as of `pairs.pairs`, may be empty.
        embed: texts to vectors for the model of texts; None trains it without.
        seed: of everything random.
    """
    report = evaluate(rows, seed=seed)
    scores, said = evaluate_texts(pairs, embed=embed, seed=seed)
    report = report.with_texts(scores, said)
    predictor = OutcomePredictor(
        counts=tuple(counted(outcome_codes(rows["outcome"])).tolist()),
        configuration=TabularModel.fit(rows, codes(rows["content"]), seed=seed) if report.beats_base_rate else None,
        texts=PairModel.fit(pairs, embed=embed, seed=seed) if scores.get("beats_even") else None,
        familiarity=Familiarity.of(rows),
        profile=Profile.of(rows.select(*FEATURES)),
        notes=report.notes,
    )
    return predictor, report
