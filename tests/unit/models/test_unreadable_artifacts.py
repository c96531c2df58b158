"""An artifact whose files are whole but not what this version of the lab makes is refused in a sentence that says what to do."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from neonblue_lab.artifacts import Artifact, ArtifactStore
from neonblue_lab.artifacts.served import Served
from neonblue_lab.errors import Corrupt
from neonblue_lab.events.simulator import simulate
from neonblue_lab.lab import Lab
from neonblue_lab.models.behaviour import artifact as behaviour
from neonblue_lab.models.event_labels import artifact as event_labels
from neonblue_lab.models.outcome import artifact as outcome
from neonblue_lab.models.trends import book as trends
from neonblue_lab.topics.archive import write_archive

Write = Callable[[Path], object]


def text(name: str, content: str) -> Write:
    return lambda folder: (folder / name).write_text(content, encoding="utf-8")


def former_classifier(folder: Path) -> None:
    """The layout of classifiers that had one scikit-learn pipeline a label."""
    state = {"learned": ["priority"], "constant": {}, "threshold": 0.7}
    (folder / "classifier.json").write_text(json.dumps(state))
    (folder / "priority.skops").write_bytes(b"PK")


def without_tuning(folder: Path) -> None:
    np.savez(folder / "kinds.npz", allow_pickle=False, tokens=np.array(["a"]))


def numbers_of_something_else(folder: Path) -> None:
    (folder / "behaviour.json").write_text("{}")
    np.savez_compressed(folder / "behaviour.npz", allow_pickle=False, contexts=np.arange(9))


def books_without_rows(folder: Path) -> None:
    (folder / "models.json").write_text(json.dumps({"format": trends.FORMAT, "models": [{"metric": "rate"}]}))
    for name in ("series", "backtests", "members", "shifts", "holidays", "skipped"):
        pl.DataFrame({"x": [1]}).write_parquet(folder / f"{name}.parquet")


FOREIGN = {
    "a classifier of a former layout": (event_labels.NAME, event_labels.load, former_classifier),
    "a classifier without its tuning": (event_labels.NAME, event_labels.load, without_tuning),
    "behaviour without its numbers": (behaviour.NAME, behaviour.load, text("behaviour.json", "{}")),
    "behaviour of something else": (behaviour.NAME, behaviour.load, numbers_of_something_else),
    "outcomes that are a list": (outcome.NAME, partial(outcome.load, embed=None), text("predictor.json", "[]")),
    "outcomes that are no JSON": (outcome.NAME, partial(outcome.load, embed=None), text("predictor.json", '{"counts"')),
    "outcomes without parts": (outcome.NAME, partial(outcome.load, embed=None), text("predictor.json", '{"texts": 0}')),
    "trends without series": (trends.NAME, trends.load, books_without_rows),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_what_cannot_be_read_is_said_with_what_to_do(case: str, tmp_path: Path) -> None:
    name, load, write = FOREIGN[case]
    store = ArtifactStore(tmp_path)
    facts: dict[str, Any] = {"parameters": {}, "metrics": {}, "data_versions": {}, "seed": None, "card": "# card"}
    store.promote(name, store.publish(name, write, **facts).version)
    assert store.verify(name).ok
    loader: Callable[[Artifact], object] = load  # type: ignore[assignment]
    with pytest.raises(Corrupt, match=rf"(?s){name}.*(anew|publish it again)"):
        Served(store, name, loader, made_by="20_event_classifier").get()


def test_behaviour_that_cannot_be_read_does_not_keep_a_new_one_from_being_learned(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_archive(tmp_path / "topics", simulate(experiments=3, users=150, events=1_500, seed=3).batches())
    lab = Lab.open(tmp_path)
    lab.replay()
    facts: dict[str, Any] = {"parameters": {}, "metrics": {}, "data_versions": {}, "seed": None, "card": "# card"}
    former = lab.artifacts.publish(behaviour.NAME, text("behaviour.json", "{}"), **facts)
    lab.artifacts.promote(behaviour.NAME, former.version)
    artifact, _ = lab.models.train_behaviour()
    assert artifact.version == former.version + 1
    assert any("Segments get new IDs" in said for said in caplog.messages)
    assert lab.models.predict_user_behavior("somebody").version == artifact.version
