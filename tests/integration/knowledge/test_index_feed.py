"""The index of experiments follows the lake: made anew when the experiments have changed, and only then."""

from pathlib import Path

import polars as pl
import pytest

from neonblue_lab.events.simulator import simulate
from neonblue_lab.knowledge.minilm import MiniLM
from neonblue_lab.lab import Lab
from neonblue_lab.topics.archive import write_archive


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    home = tmp_path / "home"
    write_archive(home / "topics", simulate(experiments=5, users=400, events=4_000, seed=3).batches())
    lab = Lab.open(home)
    lab.replay()
    return lab


def define_another(lab: Lab) -> None:
    """One more experiment, and the others as they are."""
    held = lab.lake.read("experiments")
    gift = dict.fromkeys(held.columns) | {"experiment_id": "gift", "name": "Gift wrapping at checkout"}
    rows = pl.concat([held, pl.DataFrame([gift], schema=held.schema)])
    lab.lake.commit(lab.lake.open("experiments"), rows, mode="overwrite")


def test_the_index_is_made_anew_when_the_experiments_have_changed(lab: Lab, minilm: MiniLM) -> None:
    report = lab.sync(["chromadb"])
    assert (report.ok, report.rows) == (True, {"chromadb": 5})
    first = lab.knowledge.index.artifact
    assert first.manifest.data_versions["experiments"] == lab.lake.versions()["experiments"]
    assert lab.sync(["chromadb"]).nothing_to_do

    lab.lake.commit(lab.lake.open("experiments"), lab.lake.read("experiments"), mode="overwrite")  # the same rows
    assert lab.sync(["chromadb"]).nothing_to_do
    assert lab.knowledge.index.artifact.version == first.version

    define_another(lab)
    with lab.deliverer(["chromadb"]) as deliverer:
        (behind,) = deliverer.backlog()
        assert (behind.lane, behind.commits) == ("experiments", 1)
        assert deliverer.run(flush=False).rows == {"chromadb": 0}  # an index is not made anew for each batch
        assert deliverer.run().rows == {"chromadb": 6}
        assert deliverer.health()["chromadb"].ok
    assert lab.knowledge.index.artifact.version == first.version + 1
    assert lab.knowledge.index.search("wrapping presents")[0].experiment_id == "gift"


def test_a_lab_that_is_pinned_to_a_version_publishes_the_newest(lab: Lab, minilm: MiniLM) -> None:
    pinned = Lab.open(lab.settings.home, data_version=f"experiments@{lab.lake.versions()['experiments']}")
    define_another(lab)
    assert pinned.sync(["chromadb"]).rows == {"chromadb": 6}
    assert pinned.sync(["chromadb"]).nothing_to_do
