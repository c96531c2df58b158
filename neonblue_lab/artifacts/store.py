"""The store: publishes versions, finds them again, and says which one is the champion."""

import errno
import os
import platform
import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from neonblue_lab.artifacts import contents, provenance
from neonblue_lab.artifacts.artifact import Alias, Artifact, Verification, verify
from neonblue_lab.artifacts.champion import CHAMPION, Champion, Change, changed
from neonblue_lab.artifacts.manifest import (
    CARD,
    MANIFEST,
    Manifest,
    plain_metrics,
    plain_parameters,
    plain_seed,
    plain_versions,
)
from neonblue_lab.artifacts.staging import staging, sweep
from neonblue_lab.errors import BadInput, Corrupt, NotFound
from neonblue_lab.files import exclusive, replace_file, sync, sync_tree
from neonblue_lab.settings import CHECKOUT

_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_LOCK = ".champion.lock"

Version = int | Literal["champion", "challenger", "latest"]


class ArtifactStore:
    """Versions of artifacts as folders `<root>/<name>/<version>`, 1, 2, 3, ...

    A version appears complete, by one rename, and never changes afterwards. Any number of processes may publish,
    promote and read at once; one that is killed leaves at most a hidden staging folder, which the next publisher
    of that name removes. Reading writes nothing, so a store on a read-only disk can be served.
    POSIX only: it relies on flock and on renaming a folder being atomic.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def publish(
        self,
        name: str,
        write: Callable[[Path], None],
        *,
        parameters: Mapping[str, Any],
        metrics: Mapping[str, float | None],
        data_versions: Mapping[str, int],
        seed: int | None,
        card: str,
        kind: str = "model",
        plain_pickles: Collection[str] = (),
    ) -> Artifact:
        """Publish what `write` writes as the next version of `name`. The champion stays what it is.

        Args:
            name: lower-case letters, digits and `_`, beginning with a letter.
            write: fills the empty folder that it is given; subfolders are welcome.
            parameters: what the maker was called with; JSON values.
            metrics: what was measured; None for what could not be.
            data_versions: lake table -> version that was read.
            seed: of every random choice, None when there was none.
            card: the model card, Markdown: what it is for, how good it is, when not to believe it.
            kind: a word for what it is, of the same form as a name.
            plain_pickles: patterns of files that a library insists on keeping as pickles of plain data (a Chroma
                index has `*/index_metadata.pickle`); each is checked to hold no instruction that can run code.

        Returns:
            The published artifact.

        Raises:
            BadInput: an argument or a written file is not acceptable; nothing is published.
        """
        _check_word("name", name)
        _check_word("kind", kind)
        if not card.strip():
            raise BadInput(f"{name} needs a model card: what it is for, how good it is, when not to believe it.")
        facts: dict[str, Any] = {
            "name": name,
            "kind": kind,
            "parameters": plain_parameters(parameters),
            "metrics": plain_metrics(metrics),
            "data_versions": plain_versions(data_versions),
            "seed": plain_seed(seed),
        }
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        with staging(folder) as content:
            write(content)
            contents.refuse_unsafe(content, plain_pickles=plain_pickles)
            (content / CARD).write_text(card, encoding="utf-8")
            facts |= {
                "created_at": datetime.now(UTC),
                "python": platform.python_version(),
                "platform": platform.platform(),
                "libraries": provenance.imported_libraries(),
                "git": provenance.git_state(CHECKOUT),
                "files": contents.records(content),
            }
            contents.make_read_only(content)
            sync_tree(content)
            version = self._place(content, facts)
        sync(self.root)
        return self._artifact(name, version)

    def _place(self, content: Path, facts: Mapping[str, Any]) -> int:
        """Rename `content` to the next free version. The rename is the lock: it fails where a version already is."""
        folder = self.root / facts["name"]
        while True:
            version = max(_versions(folder), default=0) + 1
            manifest = content / MANIFEST
            manifest.unlink(missing_ok=True)
            manifest.write_bytes(Manifest(version=version, **facts).sealed())
            manifest.chmod(contents.READ_ONLY)
            sync(manifest)
            sync(content)
            try:
                os.rename(content, folder / str(version))
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            else:
                sync(folder)
                return version

    def get(self, name: str, version: Version = "champion") -> Artifact:
        """An artifact, every file of which was just checked against its hash.

        Args:
            name: of the artifact.
            version: a number, "champion" (the promoted one), "latest" (the newest), or "challenger" (the newest, when
                newer than the champion).

        Raises:
            NotFound: there is no such name or version; the message says what there is.
            Corrupt: a file is not as it was published; the message names it.
        """
        artifact_version = self._resolve(name, version)
        report = self.verify(name, artifact_version)
        if not report.ok:
            more = f" ({len(report.problems) - 1} more problems.)" if len(report.problems) > 1 else ""
            raise Corrupt(
                f"{name} version {artifact_version} cannot be trusted: {report.problems[0]}{more} "
                "Publish it again, or use another version."
            )
        return self._artifact(name, artifact_version)

    def verify(self, name: str, version: Version = "champion") -> Verification:
        """Check every file of a version against its hash, and report all that is wrong.

        Raises:
            NotFound: there is no such name or version.
        """
        return verify(self.root / name / str(self._resolve(name, version)))

    def champion(self, name: str) -> Champion | None:
        """Which version of `name` is the champion, with the log of its promotions; None before the first.

        Raises:
            NotFound: there is no such name.
            Corrupt: the pointer was tampered with.
        """
        self.versions(name)
        return Champion.read(self.root / name)

    def versions(self, name: str) -> tuple[int, ...]:
        """The versions of `name`, ascending.

        Raises:
            NotFound: there is none; the message says which names there are.
        """
        _check_word("name", name)
        versions = _versions(self.root / name)
        if not versions:
            names = ", ".join(self._names()) or "none yet"
            raise NotFound(f"No artifact {name!r} in {self.root}. It has: {names}.")
        return versions

    def promote(self, name: str, version: int) -> Artifact:
        """Make `version` the champion, after checking its files. Promoting the champion changes nothing.

        Raises:
            NotFound: there is no such name or version.
            Corrupt: a file is not as it was published; the champion stays what it was.
        """
        self._resolve(name, version)
        with exclusive(self.root / name / _LOCK):
            champion = self.champion(name)
            if champion is None or champion.version != version:
                self._change(name, champion, "promote", version)
            else:
                self.get(name, version)
        return self._artifact(name, version)

    def rollback(self, name: str) -> Artifact:
        """Make the champion before the present one champion again, after checking its files.

        Raises:
            NotFound: there is no such name, or no earlier champion.
            Corrupt: the earlier champion's files are not as published; the champion stays what it was.
        """
        self.versions(name)
        with exclusive(self.root / name / _LOCK):
            champion = self.champion(name)
            if champion is None:
                raise NotFound(f"{name} has no champion to roll back from: promote a version first.")
            if champion.previous is None:
                raise NotFound(
                    f"{name} had no champion before version {champion.version}: promote another version instead."
                )
            self._change(name, champion, "roll_back", champion.previous)
        return self._artifact(name, champion.previous)

    def _change(
        self, name: str, champion: Champion | None, action: Literal["promote", "roll_back"], version: int
    ) -> None:
        self.get(name, version)
        change = Change(action=action, version=version, at=datetime.now(UTC))
        replace_file(self.root / name / CHAMPION, changed(name, champion, change).sealed())

    def _resolve(self, name: str, version: Version) -> int:
        versions = self.versions(name)
        if isinstance(version, int):
            wanted = version if version in versions else None
        elif version == "latest":
            wanted = versions[-1]
        elif version in ("champion", "challenger"):
            champion = Champion.read(self.root / name)
            if champion and champion.version not in versions:
                raise Corrupt(
                    f"The champion of {name}, version {champion.version}, is gone from {self.root / name}. "
                    f"It has: {', '.join(map(str, versions))}. Promote one of these."
                )
            wanted = next((v for v in versions if _alias(v, versions, champion) == version), None)
        else:
            raise BadInput(f"Version {version!r} of {name}: give a number, 'champion', 'challenger' or 'latest'.")
        if wanted is not None:
            return wanted
        present = ", ".join(map(str, versions))
        if isinstance(version, int):
            raise NotFound(f"{name} has no version {version}. It has: {present}.")
        raise NotFound(f"{name} has no {version}. It has the versions {present}: ask for one, or promote one.")

    def _artifact(self, name: str, version: int) -> Artifact:
        folder = self.root / name
        alias = _alias(version, _versions(folder), Champion.read(folder))
        path = folder / str(version)
        return Artifact(name=name, version=version, path=path, manifest=Manifest.read(path), alias=alias)

    def _names(self) -> tuple[str, ...]:
        if not self.root.is_dir():
            return ()
        folders = sorted(self.root.iterdir())
        return tuple(folder.name for folder in folders if _NAME.fullmatch(folder.name) and _versions(folder))

    # Last, because its name hides the type `list` from the annotations below it.
    def list(self) -> list[Artifact]:
        """All versions of all names, sorted by name and version, without hashing their files.

        Raises:
            Corrupt: a manifest or a champion pointer was changed.
        """
        return [self._artifact(name, version) for name in self._names() for version in _versions(self.root / name)]


def _check_word(what: str, word: str) -> None:
    if not _NAME.fullmatch(word):
        raise BadInput(
            f"{word!r} is no {what} for an artifact: use lower-case letters, digits and _, beginning with a letter."
        )


def _versions(folder: Path) -> tuple[int, ...]:
    if not folder.is_dir():
        return ()
    with os.scandir(folder) as entries:
        found = (int(e.name) for e in entries if _VERSION.fullmatch(e.name) and e.is_dir(follow_symlinks=False))
        return tuple(sorted(found))


def _alias(version: int, versions: tuple[int, ...], champion: Champion | None) -> Alias | None:
    if champion is None:
        return None
    if version == champion.version:
        return "champion"
    return "challenger" if version == versions[-1] and version > champion.version else None
