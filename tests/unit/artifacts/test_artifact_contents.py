"""What a publisher may not put into an artifact."""

import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from neonblue_lab.artifacts import Artifact, ArtifactStore
from neonblue_lab.errors import BadInput

Write = Callable[[Path], object]


def publish(tmp_path: Path, write: Write, plain_pickles: tuple[str, ...] = ()) -> Artifact:
    def write_one(folder: Path) -> None:
        write(folder)

    return ArtifactStore(tmp_path / "artifacts").publish(
        "model",
        write_one,
        parameters={},
        metrics={},
        data_versions={},
        seed=None,
        card="# Model",
        plain_pickles=plain_pickles,
    )


def zip_with_pickle(folder: Path) -> None:
    with zipfile.ZipFile(folder / "weights.bin", "w") as archive:
        archive.writestr("archive/data.pkl", b"whatever")


REFUSED: dict[str, tuple[Write, str]] = {
    "nothing": (lambda folder: None, "no file"),
    "an empty folder": (lambda folder: (folder / "empty").mkdir(), "no file"),
    "its own manifest": (lambda folder: (folder / "manifest.json").touch(), "written by the store"),
    "its own card": (lambda folder: (folder / "card.md").touch(), "written by the store"),
    "pkl": (lambda folder: (folder / "model.pkl").touch(), "model.pkl is a pickle"),
    "pickle": (lambda folder: (folder / "MODEL.PICKLE").touch(), "is a pickle"),
    "joblib": (lambda folder: (folder / "model.joblib").touch(), "is a pickle"),
    "a pickle by another name": (
        lambda folder: (folder / "model.json").write_bytes(pickle.dumps({"a": 1})),
        "model.json is a pickle",
    ),
    "a zip with a pickle": (zip_with_pickle, "weights.bin holds the pickle archive/data.pkl"),
    "an array of objects": (
        lambda folder: np.save(folder / "x.npy", np.array([{}], dtype=object), allow_pickle=True),
        "x.npy cannot be loaded with allow_pickle=False",
    ),
    "an archive with an array of objects": (
        lambda folder: np.savez(folder / "x.npz", a=np.arange(3), b=np.array([None], dtype=object)),
        "x.npz cannot be loaded with allow_pickle=False",
    ),
    "a broken archive": (lambda folder: (folder / "x.npz").write_bytes(b"PK\x03\x04"), "x.npz cannot be loaded"),
    "a link to a file": (lambda folder: (folder / "x").symlink_to("/etc/hostname"), "x is a link"),
    "a link to a folder": (lambda folder: (folder / "x").symlink_to("/etc"), "x is a link"),
    "a dangling link": (lambda folder: (folder / "x").symlink_to("nowhere"), "x is a link"),
    "a pipe": (lambda folder: os.mkfifo(folder / "x"), "pipe"),
    "a name that is not UTF-8": (
        lambda folder: Path(os.fsdecode(os.fsencode(folder) + b"/\xff")).touch(),
        "not UTF-8",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path: Path, case: str) -> None:
    write, says = REFUSED[case]
    with pytest.raises(BadInput, match=says):
        publish(tmp_path, write)
    assert list((tmp_path / "artifacts" / "model").iterdir()) == []


def test_a_hard_link_to_a_file_outside_is_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.touch()
    with pytest.raises(BadInput, match="hard link"):
        publish(tmp_path, lambda folder: (folder / "x").hardlink_to(outside))


def test_arrays_of_numbers_are_welcome(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        np.savez(folder / "weights.npz", w=np.eye(3), empty=np.zeros((0, 4)), names=np.array(["a", "b"]))
        np.save(folder / "bias.npy", np.arange(3))

    artifact = publish(tmp_path, write)
    assert np.load(artifact.file("weights.npz"), allow_pickle=False)["w"].sum() == 3


def test_a_named_pickle_of_plain_data_is_welcome(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        (folder / "part").mkdir()
        (folder / "part" / "metadata.pickle").write_bytes(pickle.dumps({"labels": [1, 2.5, "x", None]}))

    assert publish(tmp_path, write, plain_pickles=("*/metadata.pickle",)).version == 1


@pytest.mark.parametrize("thing", [OrderedDict(a=1), os.system, slice(1, 2)])
def test_a_named_pickle_that_can_act_is_refused(tmp_path: Path, thing: object) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        content = pickle.dumps(thing, protocol)
        with pytest.raises(BadInput, match="can run code"):
            publish(
                tmp_path,
                lambda folder, content=content: (folder / "x.pickle").write_bytes(content),  # type: ignore[misc]
                plain_pickles=("x.pickle",),
            )


def test_a_named_pickle_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is none"):
        publish(tmp_path, lambda folder: (folder / "x.pickle").write_bytes(b"}{"), plain_pickles=("*",))
