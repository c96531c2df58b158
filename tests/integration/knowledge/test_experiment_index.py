"""The index as an artifact: complete, immutable, searched by several at once, and silent on the network."""

import gc
import hashlib
import socket
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from neonblue_lab.artifacts import Artifact, ArtifactStore
from neonblue_lab.errors import BadInput, NeonBlueError, NotFound, NothingToDo
from neonblue_lab.knowledge import index as index_module
from neonblue_lab.knowledge.documents import DOCUMENT_SCHEMA
from neonblue_lab.knowledge.embedding import Embedder
from neonblue_lab.knowledge.index import ExperimentIndex
from neonblue_lab.knowledge.index_building import build_index
from neonblue_lab.knowledge.lexical import Lexical
from neonblue_lab.knowledge.minilm import MiniLM

EXPERIMENTS = [
    ("checkout", "One-page checkout\nFewer steps lose fewer buyers", "checkout", 0.24, "win", datetime(2026, 1, 5, tzinfo=UTC)),
    ("payment", "Wallet payment button\nPaying with one tap sells more", "checkout", 0.02, "flat", datetime(2026, 4, 6, tzinfo=UTC)),
    ("welcome", "Shorter welcome tour\nNew users finish registration", "onboarding", -0.1, "loss", None),
    ("search", "Typo-tolerant search box\nShoppers find what they look for", "search", None, "unknown", None),
]  # fmt: skip


class Axes:
    """Every text is a random direction fixed by its hash."""

    name = "axes"
    dimensions = 16

    def embed(self, texts: list[str]) -> np.ndarray:
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) for text in texts]
        vectors = np.array([np.random.default_rng(seed).normal(size=16) for seed in seeds]).reshape(len(texts), 16)
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def frame(rows: list[dict[str, object]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=DOCUMENT_SCHEMA)


def numbered(n: int) -> pl.DataFrame:
    return frame([{"experiment_id": f"e{i}", "document": f"text {i}", "outcome": "flat"} for i in range(n)])


def publish(tmp_path: Path, documents: pl.DataFrame, embedder: Embedder) -> Artifact:
    store = ArtifactStore(tmp_path / "artifacts")
    build_index(store, documents, embedder, data_versions={"experiments": 3})
    return store.get(index_module.NAME, "latest")


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., ExperimentIndex]]:
    """Builds an index and opens it; closes it at the end."""
    indexes = []

    def build(documents: pl.DataFrame, embedder: Embedder) -> ExperimentIndex:
        indexes.append(ExperimentIndex.open(publish(tmp_path, documents, embedder), embedder))
        return indexes[-1]

    yield build
    for index in indexes:
        index.close()


@pytest.fixture
def experiments(opened: Callable[..., ExperimentIndex], minilm: MiniLM) -> ExperimentIndex:
    names = ("experiment_id", "document", "experiment_type", "lift", "outcome", "timestamp")
    return opened(frame([dict(zip(names, row, strict=True)) for row in EXPERIMENTS]), minilm)


def ids(hits: list[index_module.SearchHit]) -> list[str]:
    return [hit.experiment_id for hit in hits]


def test_search_by_meaning(experiments: ExperimentIndex, minilm: MiniLM) -> None:
    hits = experiments.search("people abandon their cart before buying", limit=2)
    assert len(hits) == 2
    assert hits[0].experiment_id == "checkout"
    assert hits[0].score > hits[1].score
    asked, found = minilm.embed(["people abandon their cart before buying", hits[0].document])
    assert hits[0].vector == pytest.approx(float(asked @ found), abs=1e-5)
    words = Lexical.fit([document for _, document, *_ in EXPERIMENTS]).scores("people abandon their cart before buying")
    assert hits[0].lexical == pytest.approx(float(words[0]), abs=1e-6)
    assert hits[0].score == pytest.approx(0.6 * hits[0].vector + 0.4 * hits[0].lexical, abs=1e-6)
    assert hits[0].metadata == {
        "experiment_type": "checkout", "timestamp": "2026-01-05T00:00:00Z", "lift": 0.24, "outcome": "win"
    }  # fmt: skip
    assert ids(experiments.search("sign up", limit=1)) == ["welcome"]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"experiment_type": "checkout"}, {"checkout", "payment"}),
        ({"lift": {">=": 0.2}}, {"checkout"}),
        ({"lift": {"<=": 0.1}}, {"payment", "welcome"}),
        ({"lift": {">=": 0.0, "<=": 0.1}, "experiment_type": "checkout"}, {"payment"}),
        ({"timestamp": {">=": "2026-04-01"}}, {"payment"}),
        ({"outcome": "unknown"}, {"search"}),
        ({"industry": "media"}, set()),
    ],
)
def test_filters_are_met_by_every_result(
    experiments: ExperimentIndex, where: dict[str, object], expected: set[str]
) -> None:
    assert set(ids(experiments.search("anything", where=where))) == expected


def test_similar_leaves_the_experiment_itself_out(experiments: ExperimentIndex) -> None:
    assert ids(experiments.similar("checkout", limit=1)) == ["payment"]
    assert len(experiments.similar("checkout")) == 3
    assert ids(experiments.similar("checkout", limit=1, where={"experiment_type": "search"})) == ["search"]
    with pytest.raises(NotFound, match="4 experiments, and no 'gone'"):
        experiments.similar("gone")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"text": "  "}, "nothing to search for"),
        ({"text": "a", "limit": 0}, "at least 1"),
        ({"text": "a", "where": {"colour": "red"}}, "no field 'colour'"),
    ],
)
def test_bad_questions_are_answered_with_a_sentence(
    experiments: ExperimentIndex, arguments: dict[str, object], sentence: str
) -> None:
    with pytest.raises(BadInput, match=sentence):
        experiments.search(**arguments)


def test_more_documents_than_a_batch_are_all_found(opened: Callable[..., ExperimentIndex]) -> None:
    index = opened(numbered(6_000), Axes())
    assert len(index) == 6_000
    assert [index.search(f"text {i}", limit=1)[0].experiment_id for i in (0, 4_999, 5_000, 5_999)] == [
        "e0", "e4999", "e5000", "e5999"
    ]  # fmt: skip
    assert len(set(ids(index.search("text 1", limit=500)))) == 500


@pytest.mark.parametrize(("n", "recall"), [(1, None), (2, 1.0), (300, 1.0)])
def test_artifact_says_what_it_holds(tmp_path: Path, n: int, recall: float | None) -> None:
    artifact = publish(tmp_path, numbered(n), Axes())
    assert artifact.manifest.metrics["documents"] == n
    assert artifact.manifest.metrics["recall_at_10"] == (recall and pytest.approx(recall, abs=0.02))
    assert artifact.manifest.parameters["embedder"] == "axes"
    assert artifact.manifest.data_versions == {"experiments": 3}
    assert f"{n:,} experiments" in artifact.card
    with ExperimentIndex.open(artifact, Axes()) as index:
        assert len(index.search("text 0", limit=1_000)) == n


def test_published_files_never_change(tmp_path: Path) -> None:
    artifact = publish(tmp_path, numbered(50), Axes())
    assert not [path for path in artifact.path.rglob("*") if path.suffix in (".sqlite3-wal", ".sqlite3-journal")]
    with ExperimentIndex.open(artifact, Axes()) as one, ExperimentIndex.open(artifact, Axes()) as two:
        assert one.search("text 7", limit=3) == two.search("text 7", limit=3)
    assert ArtifactStore(tmp_path / "artifacts").verify(index_module.NAME, 1).ok
    modes = {path.stat().st_mode & stat.S_IWUSR for path in artifact.path.rglob("*") if path.is_file()}
    assert modes == {0}


def test_copies_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = publish(tmp_path, numbered(5), Axes())
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(index_module.tempfile, "tempdir", str(scratch))
    index = ExperimentIndex.open(artifact, Axes())
    assert len(list(scratch.iterdir())) == 1
    index.close()
    index.close()
    assert list(scratch.iterdir()) == []
    forgotten = ExperimentIndex.open(artifact, Axes())
    assert len(forgotten) == 5
    del forgotten
    gc.collect()
    assert list(scratch.iterdir()) == []


def test_another_embedder_is_refused(tmp_path: Path, minilm: MiniLM) -> None:
    artifact = publish(tmp_path, numbered(2), Axes())
    with pytest.raises(BadInput, match="built with the embedder 'axes', not with 'all-MiniLM-L6-v2'"):
        ExperimentIndex.open(artifact, minilm)


@pytest.mark.parametrize(
    ("documents", "error", "sentence"),
    [
        (numbered(0), NothingToDo, "no experiments to index"),
        (pl.concat([numbered(2), numbered(1)]), BadInput, "e0 has several documents"),
        (numbered(1).drop("lift"), BadInput, "Documents have columns"),
    ],
)
def test_documents_that_make_no_index(
    tmp_path: Path, documents: pl.DataFrame, error: type[NeonBlueError], sentence: str
) -> None:
    store = ArtifactStore(tmp_path)
    with pytest.raises(error, match=sentence):
        build_index(store, documents, Axes(), data_versions={})
    assert store.list() == []


def test_several_threads_search_at_once(opened: Callable[..., ExperimentIndex]) -> None:
    index = opened(numbered(500), Axes())
    questions = [f"text {i}" for i in range(0, 500, 5)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: index.search(text, limit=1)[0].document, questions))
    assert found == questions


def test_nothing_is_asked_of_the_network(
    opened: Callable[..., ExperimentIndex], minilm: MiniLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError(f"connects to {arguments[1:]}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert len(opened(numbered(3), minilm).search("text")) == 3


def test_candidates_alone_find_the_same_as_scoring_all(
    opened: Callable[..., ExperimentIndex], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a large programme only the best by either part are scored, and with filters only of those that meet them."""
    documents = numbered(700).with_columns(outcome=pl.Series(["win", "flat"] * 350))
    index = opened(documents, Axes())
    questions = [("text 1 and text 2", None), ("text 33", {"outcome": "win"}), ("nothing of it", {"outcome": "flat"})]

    def found() -> list[list[tuple[str, float]]]:
        searched = [index.search(text, limit=5, where=where) for text, where in questions]
        likened = [index.similar("e7", limit=5, where=where) for where in (None, {"outcome": "win"})]
        return [[(hit.experiment_id, round(hit.score, 5)) for hit in hits] for hits in (*searched, *likened)]

    exact = found()
    monkeypatch.setattr(index_module, "EXACT_UP_TO", 0)
    assert found() == exact
    assert all(int(experiment[1:]) % 2 == 0 for experiment, _ in exact[1])
    assert index.search("text 1", where={"industry": "media"}) == []


def test_a_rare_word_is_found_though_vectors_do_not_know_it(experiments: ExperimentIndex) -> None:
    hits = experiments.search("wallet", limit=4)
    assert hits[0].experiment_id == "payment"
    assert hits[0].lexical > 0.1 > max(hit.lexical for hit in hits[1:])


def test_pairs_are_those_of_comparing_each_with_each(opened: Callable[..., ExperimentIndex]) -> None:
    twice = numbered(600).with_columns(
        document=pl.when(pl.col("experiment_id") == "e580").then(pl.lit("text 3")).otherwise("document")
    )
    index = opened(twice, Axes())
    pairs = index.pairs(limit=4)
    assert pairs.row(0)[:2] == ("e3", "e580")
    assert pairs["score"][0] == pytest.approx(1, abs=1e-5)
    one_by_one = [
        (hit.score, f"e{i}", hit.experiment_id) for i in range(0, 600, 20) for hit in index.similar(f"e{i}", limit=1)
    ]
    assert max(one_by_one)[0] <= pairs["score"][0] + 1e-6
    for first, second, score, *_ in pairs.iter_rows():
        (hit,) = [hit for hit in index.similar(first, limit=600) if hit.experiment_id == second]
        assert hit.score == pytest.approx(score, abs=1e-5)
    with pytest.raises(BadInput, match="at least 1 pair"):
        index.pairs(limit=0)


def test_a_single_experiment_has_no_pair(opened: Callable[..., ExperimentIndex]) -> None:
    index = opened(numbered(1), Axes())
    assert index.pairs().is_empty()
    assert index.similar("e0") == []


def test_an_index_of_the_former_form_is_refused_with_a_sentence(tmp_path: Path) -> None:
    artifact = publish(tmp_path, numbered(2), Axes())
    kept = {name: record for name, record in artifact.manifest.files.items() if not name.startswith("lexical/")}
    former = replace(artifact, manifest=artifact.manifest.model_copy(update={"files": kept}))
    with pytest.raises(BadInput, match="Build the index anew"):
        ExperimentIndex.open(former, Axes())
