"""`neonblue predict`: a configuration in a file becomes an answer for a person or a machine."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from neonblue_lab import Lab
from neonblue_lab.errors import Unavailable
from neonblue_lab.knowledge.minilm import model_folder
from tests.services.neonblue_process import run

SIZE = ("--experiments", "10", "--users", "1500", "--events", "15000", "--seed", "3")
CONFIG = """
name: One-page checkout
experiment_type: checkout
primary_metric: conversion
variants:
  - {name: Control, description: Four steps}
  - {name: Single page, description: One page}
planned_days: 7
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("predict") / "home"
    assert run("simulate", "--out", home / "topics", *SIZE).code == 0
    assert run("replay", "--home", home).code == 0
    (home / "config.yaml").write_text(CONFIG)
    return home


@pytest.fixture(scope="module")
def trained(home: Path) -> Path:
    lab = Lab.open(home)
    artifact, report = lab.models.train_outcome(lab.experiments.history(), lab.experiments.text_arms())
    assert artifact.name == "outcome_predictor"
    assert not report.beats_base_rate
    assert lab.models.outcome_drift(lab.experiments.history())["psi"].max() == 0  # the rows that it learned from
    return home


def test_without_a_predictor_it_says_what_makes_one(home: Path) -> None:
    answer = run("predict", home / "config.yaml", "--home", home.parent / "another")
    assert answer.code == 2
    assert "notebooks/60_outcome_predictor.ipynb makes it" in answer.err


def test_the_answer_for_a_person_and_for_a_machine(trained: Path) -> None:
    told = run("predict", trained / "config.yaml", "--home", trained)
    assert told.code == 0, told.err
    for words in (
        "Most likely on conversion:",
        "Single page: beats the control with a chance of ",
        "To find +5.0% takes",
        "base rates",
    ):
        assert words in told.out

    (trained / "config.json").write_text(json.dumps(Lab.open(trained).experiments.configuration("sim3-exp-001")))
    answer = run("predict", trained / "config.json", "--home", trained, "--json")
    document = json.loads(answer.out)
    promised = {
        *("predicted_outcome", "confidence", "expected_lift", "recommended_sample_size", "estimated_duration"),
        *("risk_factors", "optimization_suggestions", "similar_experiments", "unlike_anything_seen", "basis"),
    }
    assert promised <= set(document)
    assert sum(row["probability"] for row in document["outcome_probabilities"]) == pytest.approx(1)
    assert document["basis"]["predictor"] == "outcome_predictor@1"
    assert "experiments@" in document["basis"]["data_version"]


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("variants: [{name: a}, {name: b}]\nmetrik: x", "metrik: Extra inputs are not permitted"),
        ("- a list", "holds no configuration"),
        ("variants: [a, b]", "variants.0: Input should be a mapping such as {name: "),
        ("name: 2026-01-05\nvariants: [{name: a}, {name: b}]", "it is 2026-01-05: text that looks like something else"),
        ("variants: [{name: a}, {name: b}]\nprimary_metric: nope", "There is no metric nope; there are "),
    ],
)
def test_what_cannot_be_used_is_said(trained: Path, tmp_path: Path, written: str, reason: str) -> None:
    (tmp_path / "config.yaml").write_text(written)
    answer = run("predict", tmp_path / "config.yaml", "--home", trained)
    assert answer.code == 2
    assert reason in answer.err
    assert "Traceback" not in answer.err


def test_a_file_that_is_not_there_is_said(trained: Path) -> None:
    answer = run("predict", trained / "nope.yaml", "--home", trained)
    assert answer.code == 2
    assert "nope.yaml cannot be read" in answer.err


def test_similar_experiments_are_those_of_the_index(trained: Path, unavailable: Callable[[str], NoReturn]) -> None:
    try:
        model_folder()
    except Unavailable as reason:
        unavailable(str(reason))
    lab = Lab.open(trained)
    without = lab.predict_outcome(lab.experiments.configuration("sim3-exp-002"))
    assert without.similar_experiments == []
    assert "Similar experiments could not be looked for" in " ".join(without.basis.notes)
    lab.knowledge.publish(lab.experiments.documents(), data_versions=lab.warehouse.versions)
    said = lab.predict_outcome(lab.experiments.configuration("sim3-exp-002"))
    assert said.similar_experiments[0].experiment_id == "sim3-exp-002"  # itself: it has run
    assert said.basis.index == "experiments_index@1"
