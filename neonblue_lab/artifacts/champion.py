"""The champion of a name: a pointer to one version, with the log of every change, so that it can be taken back."""

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from neonblue_lab.artifacts.sealed import seal, unseal
from neonblue_lab.errors import Corrupt

CHAMPION = "champion.json"


class Change(BaseModel):
    """One change of the champion: to which version, how, and when (UTC)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: Literal["promote", "roll_back"]
    version: int
    at: datetime


class Champion(BaseModel):
    """The champion of `name`, and the changes that led to it, oldest first. The log only grows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: int
    log: tuple[Change, ...]

    @property
    def previous(self) -> int | None:
        """The version that a roll-back returns to; None when there was no champion before this one."""
        standing = _standing(self.log)
        return standing[-2] if len(standing) > 1 else None

    def sealed(self) -> bytes:
        """The bytes of `champion.json`."""
        return seal(self.model_dump(mode="json"))

    @classmethod
    def read(cls, folder: Path) -> "Champion | None":
        """The champion of the artifact name whose versions lie in `folder`; None when none was promoted yet.

        Raises:
            Corrupt: the pointer was changed by something else than this package.
        """
        path = folder / CHAMPION
        if not path.exists():
            return None
        try:
            champion = cls.model_validate(unseal(path))
        except ValidationError as error:
            raise Corrupt(f"{path} is not a champion pointer: {error}.") from error
        if champion.name != folder.name or _standing(champion.log)[-1:] != [champion.version]:
            raise Corrupt(f"{path} contradicts itself or its folder. Promote a version again after removing the file.")
        return champion


def changed(name: str, champion: Champion | None, change: Change) -> Champion:
    """The champion after one more change."""
    log = champion.log if champion else ()
    return Champion(name=name, version=change.version, log=(*log, change))


def _standing(log: tuple[Change, ...]) -> list[int]:
    """The champions in force, oldest first: a promotion adds one on top, a roll-back takes the topmost away."""
    standing: list[int] = []
    for change in log:
        if change.action == "promote":
            standing.append(change.version)
        else:
            standing = standing[:-1]
    return standing
