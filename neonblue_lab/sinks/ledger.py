"""What a store has had: one small file per store, written after the store acknowledged.

A lane stands at a version of its table. Before the first rows of more versions are sent, the ledger pins which ones: a crash
then leaves a stretch under way whose rows, cut into the same parts under the same names, are sent again.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from neonblue_lab.errors import Corrupt
from neonblue_lab.files import exclusive, replace_file


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Stretch(_Frozen):
    """Versions of a table that are delivered together.

    Attributes:
        after: the rows that the commits after this version added; None: all rows of version `through`.
        through: the last version.
    """

    after: int | None
    through: int


class Position(_Frozen):
    """Where a lane stands at a store.

    Attributes:
        table: of the lake.
        rows: fingerprint of what decides which rows are the lane's; with another one, the lane begins anew.
        through: the store has the rows of all versions up to this one; None: not yet those of any.
        under_way: what is being delivered.
        parts: how many deliveries of it the store acknowledged.
    """

    table: str
    rows: str
    through: int | None = None
    under_way: Stretch | None = None
    parts: int = 0

    def begun(self, stretch: Stretch) -> "Position":
        """With a stretch under way, no part of which is acknowledged."""
        return self.model_copy(update={"under_way": stretch, "parts": 0})

    def acknowledged(self) -> "Position":
        """With one more part acknowledged."""
        return self.model_copy(update={"parts": self.parts + 1})

    def at(self, version: int) -> "Position":
        """At a version, with nothing under way."""
        return self.model_copy(update={"through": version, "under_way": None, "parts": 0})


class _Content(_Frozen):
    store: str
    lanes: dict[str, Position]


class Ledger:
    """The positions of every lane at one store. To change them, hold it."""

    def __init__(self, folder: Path, name: str, store: str) -> None:
        """The ledger of a store as it is now.

        Args:
            folder: of all ledgers.
            name: the policy's word for the store; the file is `<name>.json`.
            store: where the store is (`Sink.address`). What the file says of one that is elsewhere does not count.

        Raises:
            Corrupt: the file is not a ledger.
        """
        self.path = folder / f"{name}.json"
        self._store = store
        self._noted = False
        self._lanes = self._read()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the ledger alone, as it is now.

        Raises:
            Conflict: another process holds it.
            Corrupt: the file is not a ledger.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(self.path.with_name(f".{self.path.name}.lock"), wait=False):
            self._lanes = self._read()
            self._noted = False
            try:
                yield
            finally:
                if self._noted:
                    self._write()

    def position(self, lane: str, table: str, rows: str) -> Position:
        """Where a lane stands; nowhere, if the fingerprint of its rows is another one than it was."""
        position = self._lanes.get(lane)
        return position if position and position.rows == rows else Position(table=table, rows=rows)

    def note(self, lane: str, position: Position) -> None:
        """Change a position, to be written at the latest when the ledger is let go: losing the change would do no harm."""
        self._lanes[lane] = position
        self._noted = True

    def record(self, lane: str, position: Position) -> None:
        """Change a position; it is on the disk when this returns."""
        self.note(lane, position)
        self._write()

    def forget(self) -> None:
        """Let every lane begin anew."""
        self._lanes = {}
        self._write()

    def _write(self) -> None:
        content = _Content(store=self._store, lanes=self._lanes)
        replace_file(self.path, content.model_dump_json(indent=1).encode())
        self._noted = False

    def _read(self) -> dict[str, Position]:
        content = _read(self.path)
        return dict(content.lanes) if content and content.store == self._store else {}


def positions(folder: Path, lanes: Mapping[str, Iterable[str]]) -> Iterator[Position]:
    """The positions of given lanes at given stores (name in the policy -> lanes), of every ledger that is there.

    Raises:
        Corrupt: a file is not a ledger.
    """
    for name, wanted in lanes.items():
        if content := _read(folder / f"{name}.json"):
            yield from (position for lane, position in content.lanes.items() if lane in set(wanted))


def _read(path: Path) -> _Content | None:
    try:
        return _Content.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise Corrupt(
            f"{path} does not say what its store has had ({error.error_count()} problems). Remove it: everything is then "
            "delivered anew, and a store that has it already keeps it once."
        ) from error
