"""One published version, and what a check of its files found."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from neonblue_lab.artifacts.contents import record, walk
from neonblue_lab.artifacts.manifest import CARD, MANIFEST, Manifest
from neonblue_lab.errors import Corrupt, NotFound

Alias = Literal["champion", "challenger"]


class NoSuchFile(NotFound):
    """An artifact has no file of that name."""


@dataclass(frozen=True)
class Artifact:
    """A version of an artifact, as it lies on the disk. Its files never change.

    Attributes:
        name, version: what it is called.
        path: its folder.
        manifest: what it is made of and from.
        alias: "champion" for the promoted version; "challenger" for the newest one, when newer than the champion.
    """

    name: str
    version: int
    path: Path
    manifest: Manifest
    alias: Alias | None

    def file(self, name: str) -> Path:
        """The path of one of its files, `name` being as in the manifest (`weights/layer1.npz`).

        Raises:
            NoSuchFile: the manifest lists no such file.
        """
        if name not in self.manifest.files:
            raise NoSuchFile(
                f"{self.name} version {self.version} has no file {name!r}. It has: {', '.join(self.manifest.files)}."
            )
        return self.path / name

    @property
    def card(self) -> str:
        """The model card, Markdown."""
        return self.file(CARD).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Verification:
    """What a check of one version found.

    Attributes:
        name, version: of the artifact.
        files: how many files its manifest lists.
        bytes: their total size as listed.
        problems: one sentence for each thing that is not as published, naming the file; empty when all is well.
    """

    name: str
    version: int
    files: int
    bytes: int
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.problems


def verify(folder: Path) -> Verification:
    """Hash every file in `folder` (.../<name>/<version>) and compare with its manifest."""
    name, version = folder.parent.name, int(folder.name)
    try:
        manifest = Manifest.read(folder)
    except Corrupt as error:
        return Verification(name, version, files=0, bytes=0, problems=(str(error),))
    found = {below: entry.is_file(follow_symlinks=False) for below, entry in walk(folder)}
    problems = [
        f"{folder / below} was added after publishing."
        for below in sorted(found.keys() - manifest.files.keys() - {MANIFEST})
    ]
    for below, published in manifest.files.items():
        path = folder / below
        if below not in found:
            problems.append(f"{path} is missing.")
        elif not found[below]:
            problems.append(f"{path} is no longer a regular file.")
        elif record(path) != published:
            problems.append(f"{path} was changed after publishing: its hash does not match the manifest.")
    size = sum(file.size for file in manifest.files.values())
    return Verification(name, version, len(manifest.files), size, tuple(problems))
