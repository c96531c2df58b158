"""A changed byte anywhere in the store is noticed, and its file is named."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neonblue_lab.artifacts import ArtifactStore
from neonblue_lab.errors import Corrupt, NeonBlueError

FILES = ("model/1/manifest.json", "model/1/card.md", "model/1/weights/a.bin", "model/champion.json")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    def write(folder: Path) -> None:
        (folder / "weights").mkdir()
        (folder / "weights" / "a.bin").write_bytes(bytes(range(256)))

    store = ArtifactStore(tmp_path_factory.mktemp("store"))
    store.publish("model", write, parameters={"é": 1}, metrics={"m": 0.1}, data_versions={}, seed=1, card="# Card")
    store.promote("model", 1)
    for file in FILES:
        (store.root / file).chmod(0o644)
    return store


@given(file=st.sampled_from(FILES), position=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
@settings(max_examples=300, deadline=None)
def test_any_changed_byte_is_noticed(store: ArtifactStore, file: str, position: float, flip: int) -> None:
    path = store.root / file
    original = path.read_bytes()
    changed = bytearray(original)
    changed[int(position * len(original))] ^= flip
    path.write_bytes(changed)
    try:
        with pytest.raises(Corrupt, match=Path(file).name):
            store.get("model")
    finally:
        path.write_bytes(original)
    assert store.get("model").version == 1


@given(file=st.sampled_from(FILES), content=st.binary(max_size=40))
@settings(max_examples=100, deadline=None)
def test_any_other_content_is_noticed(store: ArtifactStore, file: str, content: bytes) -> None:
    path = store.root / file
    original = path.read_bytes()
    path.write_bytes(content)
    try:
        with pytest.raises(Corrupt, match=Path(file).name):
            store.get("model")
    finally:
        path.write_bytes(original)


@pytest.mark.parametrize("content", ["[]", "null", "3", '{"version": NaN}', '{"sha256": "x"}', "{" * 3])
def test_json_of_another_shape_is_noticed(store: ArtifactStore, content: str) -> None:
    for file in ("model/1/manifest.json", "model/champion.json"):
        path = store.root / file
        original = path.read_bytes()
        path.write_text(content)
        try:
            with pytest.raises(NeonBlueError, match=path.name):
                store.list()
        finally:
            path.write_bytes(original)


def test_added_missing_and_linked_files_are_all_reported(store: ArtifactStore) -> None:
    folder = store.root / "model" / "1"
    weights, aside = folder / "weights" / "a.bin", store.root / "aside"
    weights.rename(aside)
    weights.symlink_to(aside)
    (folder / "note.txt").touch()
    card = (folder / "card.md").read_bytes()
    (folder / "card.md").unlink()
    try:
        report = store.verify("model", 1)
    finally:
        weights.unlink()
        aside.rename(weights)
        (folder / "note.txt").unlink()
        (folder / "card.md").write_bytes(card)
    assert [problem.removeprefix(f"{folder}/") for problem in report.problems] == [
        "note.txt was added after publishing.",
        "card.md is missing.",
        "weights/a.bin is no longer a regular file.",
    ]
    assert store.verify("model", 1).ok
