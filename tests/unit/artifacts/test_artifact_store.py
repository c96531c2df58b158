"""Publishing, finding, promoting and rolling back, as one process sees it."""

import hashlib
import json
import stat
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from neonblue_lab.artifacts import Artifact, ArtifactStore
from neonblue_lab.errors import BadInput, Corrupt, NotFound

Write = Callable[[Path], None]


def two_files(folder: Path) -> None:
    (folder / "weights").mkdir()
    (folder / "weights" / "layer.bin").write_bytes(b"abc")
    (folder / "labels.json").write_text("[]")


def publish(store: ArtifactStore, name: str = "classifier", write: Write = two_files, **changes: Any) -> Artifact:
    facts: Mapping[str, Any] = {
        "parameters": {"depth": 3},
        "metrics": {"accuracy": 0.9},
        "data_versions": {"events": 12},
        "seed": 7,
        "card": "# Classifier\nSays what an event is.",
    }
    return store.publish(name, write, **{**facts, **changes})


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


def test_manifest_says_what_is_needed_to_trust_and_repeat(store: ArtifactStore) -> None:
    manifest = publish(store, parameters={"layers": (4, 2), "nested": {"a": [None, True]}}).manifest
    assert manifest.files.keys() == {"card.md", "labels.json", "weights/layer.bin"}
    # SHA-256 of "abc": FIPS 180-2, appendix B.1.
    assert manifest.files["weights/layer.bin"].sha256 == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    assert manifest.files["weights/layer.bin"].size == 3
    assert manifest.parameters == {"layers": [4, 2], "nested": {"a": [None, True]}}
    assert (manifest.metrics, manifest.data_versions, manifest.seed) == ({"accuracy": 0.9}, {"events": 12}, 7)
    assert manifest.libraries["numpy"] == np.__version__
    assert manifest.created_at.utcoffset() is not None


def test_manifest_carries_the_hash_of_itself(store: ArtifactStore) -> None:
    path = publish(store).path / "manifest.json"
    document = json.loads(path.read_bytes())
    claimed = document.pop("sha256")
    without = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    assert hashlib.sha256(without.encode()).hexdigest() == claimed


def test_numpy_numbers_are_kept_as_plain_numbers(store: ArtifactStore) -> None:
    artifact = publish(store, metrics={"mae": np.float32(0.5)}, data_versions={"t": np.int64(3)}, seed=np.int64(4))
    assert (artifact.manifest.metrics, artifact.manifest.data_versions) == ({"mae": 0.5}, {"t": 3})
    assert artifact.manifest.seed == 4


def test_versions_count_up_and_publishing_never_makes_a_champion(store: ArtifactStore) -> None:
    assert [publish(store).version for _ in range(3)] == [1, 2, 3]
    assert [artifact.alias for artifact in store.list()] == [None, None, None]
    with pytest.raises(NotFound, match=r"classifier has no champion.*1, 2, 3"):
        store.get("classifier")


def test_files_are_read_only_and_reachable_by_name(store: ArtifactStore) -> None:
    publish(store)
    artifact = store.get("classifier", 1)
    assert artifact.file("weights/layer.bin").read_bytes() == b"abc"
    assert artifact.card.startswith("# Classifier")
    files = [path for path in artifact.path.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o444}
    assert len(files) == 4


@pytest.mark.parametrize("asked", ["../../2/card.md", "/etc/passwd", "weights", "weights/../card.md", ""])
def test_a_file_outside_the_manifest_cannot_be_asked_for(store: ArtifactStore, asked: str) -> None:
    with pytest.raises(NotFound, match=r"It has: card.md, labels.json, weights/layer.bin"):
        publish(store).file(asked)


def test_champion_and_challenger(store: ArtifactStore) -> None:
    for _ in range(3):
        publish(store)
    assert store.promote("classifier", 2).alias == "champion"
    assert [artifact.alias for artifact in store.list()] == [None, "champion", "challenger"]
    assert store.get("classifier").version == 2
    assert store.get("classifier", "latest").version == store.get("classifier", "challenger").version == 3
    store.promote("classifier", 3)
    assert [artifact.alias for artifact in store.list()] == [None, None, "champion"]
    with pytest.raises(NotFound, match="has no challenger"):
        store.get("classifier", "challenger")


def test_roll_back_returns_to_the_champion_before_and_keeps_the_log(store: ArtifactStore) -> None:
    for version in (1, 2, 3):
        publish(store)
        store.promote("classifier", version)
    assert store.rollback("classifier").version == 2
    assert store.rollback("classifier").version == 1
    with pytest.raises(NotFound, match="no champion before version 1"):
        store.rollback("classifier")
    champion = store.champion("classifier")
    assert champion is not None
    assert [(change.action, change.version) for change in champion.log] == [
        ("promote", 1),
        ("promote", 2),
        ("promote", 3),
        ("roll_back", 2),
        ("roll_back", 1),
    ]


def test_promoting_the_champion_changes_nothing(store: ArtifactStore) -> None:
    publish(store)
    store.promote("classifier", 1)
    pointer = (store.root / "classifier" / "champion.json").read_bytes()
    store.promote("classifier", 1)
    assert (store.root / "classifier" / "champion.json").read_bytes() == pointer


def test_a_version_that_was_changed_is_not_promoted(store: ArtifactStore) -> None:
    publish(store)
    publish(store)
    store.promote("classifier", 1)
    damaged = store.root / "classifier" / "2" / "labels.json"
    damaged.unlink()
    with pytest.raises(Corrupt, match=r"2/labels.json is missing"):
        store.promote("classifier", 2)
    assert store.get("classifier").version == 1


def test_what_is_not_there_is_answered_with_what_is(store: ArtifactStore) -> None:
    with pytest.raises(NotFound, match="It has: none yet"):
        store.get("trend")
    publish(store)
    publish(store, "trend")
    with pytest.raises(NotFound, match="It has: classifier, trend"):
        store.get("index", "latest")
    with pytest.raises(NotFound, match=r"no version 9\. It has: 1"):
        store.promote("classifier", 9)
    with pytest.raises(NotFound, match="no champion to roll back from"):
        store.rollback("classifier")
    with pytest.raises(BadInput, match="'newest'"):
        store.get("classifier", "newest")  # type: ignore[arg-type]


def test_a_champion_whose_folder_is_gone_is_said_so(store: ArtifactStore) -> None:
    publish(store)
    publish(store)
    store.promote("classifier", 2)
    (store.root / "classifier" / "2").rename(store.root / "elsewhere")
    with pytest.raises(Corrupt, match="version 2, is gone"):
        store.get("classifier")
    assert store.promote("classifier", 1).alias == "champion"


@pytest.mark.parametrize("name", ["", "Model", "../up", "a/b", "1st", ".hidden", "a-b", "a" * 101, "modèle"])
def test_names_that_are_no_names(store: ArtifactStore, name: str) -> None:
    with pytest.raises(BadInput, match="lower-case letters"):
        publish(store, name)
    with pytest.raises(BadInput, match="lower-case letters"):
        store.get(name)
    assert not store.root.exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"card": "  "}, "model card"),
        ({"kind": "A model"}, "no kind"),
        ({"metrics": {"loss": float("nan")}}, r"metrics\['loss'\] is nan"),
        ({"metrics": {"loss": "low"}}, r"metrics\['loss'\]"),
        ({"parameters": {"when": {"x": [Path()]}}}, r"parameters\['when'\]\['x'\]\[0\] is a pathlib"),
        ({"parameters": {"rate": float("inf")}}, r"parameters\['rate'\] is inf"),
        ({"parameters": {"by": {1: 2}}}, "keys must be text"),
        ({"data_versions": {"events": -1}}, r"data_versions\['events'\]"),
        ({"seed": 1.5}, "seed is 1.5"),
    ],
)
def test_facts_that_cannot_be_kept_are_refused_before_anything_is_written(
    store: ArtifactStore, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        publish(store, **changes)
    assert not store.root.exists()


def test_a_writer_that_fails_leaves_nothing(store: ArtifactStore) -> None:
    def write(folder: Path) -> None:
        two_files(folder)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        publish(store, write=write)
    assert list((store.root / "classifier").iterdir()) == []
    assert store.list() == []
    assert publish(store).version == 1


def test_a_copied_version_is_not_taken_for_another(store: ArtifactStore) -> None:
    artifact = publish(store)
    artifact.path.rename(artifact.path.with_name("5"))
    report = store.verify("classifier", 5)
    assert not report.ok
    assert "moved or copied" in report.problems[0]


class Champions(RuleBasedStateMachine):
    """The champion behaves as the top of a stack, whatever the order of calls."""

    tmp: Path

    @initialize()
    def begin(self) -> None:
        self.store = ArtifactStore(Path(tempfile.mkdtemp(dir=type(self).tmp)))
        self.stack: list[int] = []
        self.published = 0
        self.publish()

    @precondition(lambda self: self.published < 4)
    @rule()
    def publish(self) -> None:
        self.published += 1
        assert publish(self.store, write=lambda folder: (folder / "x").touch()).version == self.published

    @rule(data=st.data())
    def promote(self, data: st.DataObject) -> None:
        version = data.draw(st.integers(1, self.published))
        self.store.promote("classifier", version)
        if self.stack[-1:] != [version]:
            self.stack.append(version)

    @rule()
    def roll_back(self) -> None:
        if len(self.stack) > 1:
            self.stack.pop()
            assert self.store.rollback("classifier").version == self.stack[-1]
        else:
            with pytest.raises(NotFound):
                self.store.rollback("classifier")

    @invariant()
    def champion_is_the_top(self) -> None:
        if self.stack:
            assert self.store.get("classifier").version == self.stack[-1]
        newest = self.store.get("classifier", "latest")
        champion = self.stack[-1] if self.stack else None
        expected = None if champion is None else "champion" if champion == newest.version else "challenger"
        assert newest.alias == expected


def test_champions_behave_as_a_stack(tmp_path: Path) -> None:
    Champions.tmp = tmp_path
    run_state_machine_as_test(Champions, settings=settings(max_examples=15, stateful_step_count=12, deadline=None))
