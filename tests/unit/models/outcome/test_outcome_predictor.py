"""A model of configurations is served where it is shown to beat base rates, and nowhere else."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

from neonblue_lab.artifacts import ArtifactStore
from neonblue_lab.knowledge.knowledge import Knowledge
from neonblue_lab.knowledge.minilm import MiniLM, is_installed
from neonblue_lab.lake.lake import Lake
from neonblue_lab.models.models import Models
from neonblue_lab.models.outcome import artifact as stored
from neonblue_lab.models.outcome.history import FEATURES, HISTORY_SCHEMA, OUTCOMES, outcome_codes
from neonblue_lab.models.outcome.pairs import ARM_COLUMNS, pairs
from neonblue_lab.models.outcome.predictor import train
from neonblue_lab.models.outcome.report import BASE, GAIN, GROUPED, MODEL, TEMPORAL, evaluate
from neonblue_lab.models.outcome.tabular import Encoder, TabularModel, base_rates
from neonblue_lab.warehouse.warehouse import Warehouse

START = datetime(2025, 1, 6, tzinfo=UTC)
CHANCES = {"checkout": (0.7, 0.2, 0.1), "copy": (0.1, 0.8, 0.1), "pricing": (0.1, 0.3, 0.6)}
"""Simulated: probability of win, flat and loss by type."""
NO_PAIRS = pairs(
    pl.DataFrame(schema=dict.fromkeys(ARM_COLUMNS[:4], pl.String) | {"impressions": pl.Int64, "clicks": pl.Int64})
)


def simulated(count: int, *, told: bool, seed: int = 1) -> pl.DataFrame:
    """A history whose outcomes follow from the type, or from nothing."""
    rng = np.random.default_rng(seed)
    kinds = rng.choice(list(CHANCES), size=count)
    outcomes = [rng.choice(OUTCOMES, p=CHANCES[kind] if told else (0.2, 0.6, 0.2)) for kind in kinds]
    rows = {
        "experiment_id": [f"e{i:04d}" for i in range(count)],
        "name": [f"Experiment {i}" for i in range(count)],
        "started_at": [START + timedelta(days=i) for i in range(count)],
        "known_at": [START + timedelta(days=i + 14) for i in range(count)],
        "content": [f"content {i}" for i in range(count)],
        "experiment_type": kinds.tolist(),
        "industry": rng.choice(["travel", "groceries"], size=count).tolist(),
        "user_segment": rng.choice(["all users", "new users"], size=count).tolist(),
        "metric": ["conversion"] * count,
        **{
            name: rng.integers(1, 9, size=count).astype(float)
            for name, dtype in FEATURES.items()
            if dtype == pl.Float64
        },
        "outcome": outcomes,
    }
    return pl.DataFrame(rows, schema=HISTORY_SCHEMA)


WORDS = [
    "garden",
    "winter",
    "river",
    "music",
    "story",
    "morning",
    "silver",
    "village",
    "letter",
    "window",
    "summer",
    "bread",
    "train",
    "island",
]


def arms(more: float) -> pl.DataFrame:
    """Simulated: texts of random words; those that ask a question draw `more` clicks, as a share."""
    rng = np.random.default_rng(4)
    rows = []
    for place in range(150):
        for asks in (True, False, bool(rng.integers(2))):
            text = " ".join(rng.choice(WORDS, size=6)) + ("?" if asks else ".")
            rate = 0.05 * (1 + more * asks)
            rows.append((f"e{place}", "", START + timedelta(days=place), text, 3000, int(rng.binomial(3000, rate))))
    return pl.DataFrame(rows, schema=list(ARM_COLUMNS), orient="row")


@pytest.fixture(scope="module")
def told() -> pl.DataFrame:
    return simulated(300, told=True)


def test_the_model_is_scikit_learns_with_the_base_rates_as_its_mean(told: pl.DataFrame) -> None:
    codes = outcome_codes(told["outcome"])
    model = TabularModel.fit(told, np.arange(told.height), seed=1)
    columns = Encoder.fit(told).transform(told)
    peer = LogisticRegression(C=model.strength, max_iter=5000, tol=1e-8).fit(columns, codes)
    ours = TabularModel.from_dict({**model.to_dict(), "temperature": 1.0}).probabilities(told)
    assert ours == pytest.approx(peer.predict_proba(columns), abs=0.01)
    assert ours.mean(axis=0) == pytest.approx(base_rates(np.bincount(codes)), abs=0.01)


def test_what_follows_from_the_type_is_learned_and_beats_base_rates(told: pl.DataFrame) -> None:
    report = evaluate(told, seed=1)
    assert report.beats_base_rate
    scores = report.scores.rows_by_key(["protocol", "model", "metric"], named=True, unique=True)
    for protocol in (GROUPED, TEMPORAL):
        gain = scores[protocol, MODEL, GAIN]
        # The truth itself would gain .29 nats: the entropy of outcomes less that within types.
        assert -0.35 < gain["value"] < -0.15
        assert gain["high"] < 0
        assert scores[protocol, BASE, GAIN]["value"] == 0
    groups = report.reliability()
    outside = (groups["predicted"] < groups["low"]) | (groups["predicted"] > groups["high"])
    assert outside.sum() <= 1
    model = TabularModel.fit(told, np.arange(told.height), seed=1)
    stated = {kind: model.probabilities(told.filter(experiment_type=kind)).mean(axis=0) for kind in CHANCES}
    for kind, chances in CHANCES.items():
        assert stated[kind] == pytest.approx(chances, abs=0.1)
    first = model.reasons(told.filter(experiment_type="checkout").head(1)).row(0, named=True)
    assert first["feature"] == "experiment_type = checkout"
    assert first["contribution"] > 0


def test_where_nothing_can_be_told_base_rates_are_served() -> None:
    predictor, report = train(simulated(200, told=False), NO_PAIRS, embed=None, seed=1)
    assert report.measured
    assert not report.beats_base_rate
    assert predictor.configuration is None
    rows = simulated(5, told=True)
    assert predictor.probabilities(rows.head(1)) == pytest.approx(base_rates(predictor.counts))
    assert predictor.support(rows.head(1)) == 200
    assert any("does not tell more" in note for note in report.notes)


@pytest.mark.parametrize(
    ("history", "reason"),
    [
        (lambda: simulated(20, told=True), "20 finished experiments have an outcome: fewer than the 40"),
        (
            lambda: simulated(60, told=True).with_columns(outcome=pl.lit("flat")),
            "All 60 finished experiments ended flat",
        ),
        (lambda: simulated(60, told=True).with_columns(content=pl.lit("same")), "Fewer than ten different experiments"),
    ],
    ids=["few", "alike", "repeated"],
)
def test_too_little_history_is_said_and_gives_base_rates(history: Callable[[], pl.DataFrame], reason: str) -> None:
    predictor, report = train(history(), NO_PAIRS, embed=None, seed=1)
    assert not report.measured
    assert report.reliability().is_empty()
    assert reason in report.notes[0]
    assert predictor.configuration is None
    assert predictor.probabilities(history()).sum() == pytest.approx(1)


def test_later_experiments_are_predicted_from_those_that_were_over(told: pl.DataFrame) -> None:
    """Every experiment runs 14 days: those of the last 14 before the cut were not over."""
    report = evaluate(told, seed=1)
    assert report.predictions.filter(protocol=TEMPORAL, model=MODEL).height == 75
    repeated = told.with_columns(
        content=pl.when(pl.col("experiment_id") == "e0299").then(pl.lit("content 0")).otherwise("content")
    )
    assert evaluate(repeated, seed=1).predictions.filter(protocol=TEMPORAL, model=MODEL).height == 74


def test_a_category_that_was_never_seen_gets_what_is_usual(told: pl.DataFrame) -> None:
    model = TabularModel.fit(told, np.arange(told.height), seed=1)
    strange = told.head(1).with_columns(experiment_type=pl.lit("holograms"))
    known = [model.probabilities(told.head(1).with_columns(experiment_type=pl.lit(kind)))[0] for kind in CHANCES]
    win = model.probabilities(strange)[0, 0]
    assert min(row[0] for row in known) < win < max(row[0] for row in known)


def test_texts_are_used_where_they_beat_a_coin_on_later_pairs_and_not_otherwise() -> None:
    history_rows = simulated(20, told=True)
    predictor, report = train(history_rows, pairs(arms(0.33)), embed=None, seed=1)
    assert predictor.texts is not None
    assert report.texts["accuracy_low"] > 0.6
    chances = predictor.text_chances("garden river music.", ["garden river music?", "garden river music."])
    assert chances is not None
    assert chances[0] > 0.7
    assert chances[1] == pytest.approx(0.5)
    nothing, report = train(history_rows, pairs(arms(0.0)), embed=None, seed=1)
    assert nothing.texts is None
    assert "no better than a coin" in report.notes[-1]


def test_a_published_predictor_comes_back_as_it_was(told: pl.DataFrame, tmp_path: Path) -> None:
    predictor, report = train(told, NO_PAIRS, embed=None, seed=1)
    store = ArtifactStore(tmp_path)
    artifact = stored.publish(store, predictor, report, data_versions={"experiments": 3}, seed=1)
    again = stored.load(store.get(stored.NAME, artifact.version), embed=None)
    assert again.probabilities(told.head(1)) == pytest.approx(predictor.probabilities(told.head(1)), abs=1e-15)
    assert again.familiarity == predictor.familiarity
    read = stored.load_report(artifact)
    assert read.scores.equals(report.scores)
    assert read.notes == report.notes
    for promise in (
        "the model of the configuration",
        "| other experiments | configuration |",
        "When not to believe it",
    ):
        assert promise in artifact.card


@pytest.mark.parametrize(
    ("day", "same_texts", "said"),
    [
        (lambda _: None, False, "have no date"),
        (lambda _: START, False, "could not be measured on later pairs"),
        (lambda place: START + timedelta(days=place), True, "could not be measured on later pairs"),
    ],
)
def test_texts_that_cannot_be_measured_later_are_no_reason_to_fail(
    day: Callable[[int], datetime | None], same_texts: bool, said: str
) -> None:
    rows = [
        (f"e{place}", "", day(place), f"Buy {arm}" if same_texts else f"Buy {arm} of {place}", 1000, 50 + arm)
        for place in range(250)
        for arm in (0, 1)
    ]
    kinds = dict.fromkeys(ARM_COLUMNS, pl.String()) | {"time": pl.Datetime("us", "UTC")}
    arms = pl.DataFrame(rows, schema=kinds | dict.fromkeys(ARM_COLUMNS[4:], pl.Int64()), orient="row")
    predictor, report = train(simulated(20, told=True), pairs(arms), embed=None, seed=1)
    assert predictor.texts is None
    assert said in report.notes[-1]


def test_a_lab_learns_texts_with_its_embedder_and_asks_with_the_very_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unavailable: Callable[[str], NoReturn]
) -> None:
    if not is_installed():
        unavailable("The weights of all-MiniLM-L6-v2 are not installed.")
    lake, store = Lake(tmp_path / "lake"), ArtifactStore(tmp_path / "artifacts")
    lake.ensure_derived()

    def models() -> Models:
        return Models(store, lake, lambda: Warehouse(lake), lambda: None, lambda: Knowledge(store, lake))

    artifact, _ = models().train_outcome(simulated(20, told=True), arms(0.33))
    assert artifact.manifest.parameters["embedder"] == MiniLM.name
    kept = lake.read("vectors").height
    assert kept >= 400
    monkeypatch.setenv("NEONBLUE_EMBEDDER", "openai")
    predictor = models().outcome_predictor()[1]
    assert predictor.texts is not None
    assert predictor.texts.neural
    chances = predictor.text_chances("bread by the river.", ["bread by the river?"])
    assert chances is not None
    assert chances[0] > 0.6
    assert lake.read("vectors").height == kept  # a question leaves nothing behind


def test_without_the_embedder_texts_are_learned_from_words_alone(tmp_path: Path) -> None:
    lake, store = Lake(tmp_path / "lake"), ArtifactStore(tmp_path / "artifacts")
    lake.ensure_derived()
    lab = Models(store, lake, lambda: Warehouse(lake), lambda: None, lambda: Knowledge(store, lake))
    artifact, _ = lab.train_outcome(simulated(20, told=True), arms(0.33), neural=False)
    assert artifact.manifest.parameters["embedder"] is None
    assert artifact.manifest.parameters["texts"] is True
    assert not lake.read("vectors").height
