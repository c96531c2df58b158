"""A ledger is replaced whole, held by one process, and says nothing of another store."""

import subprocess
import sys
from pathlib import Path

import pytest

from neonblue_lab.errors import Conflict, Corrupt
from neonblue_lab.sinks.ledger import Ledger, Position, Stretch, positions

HOLD = """
import sys
from pathlib import Path
from neonblue_lab.sinks.ledger import Ledger
with Ledger(Path(sys.argv[1]), "postgres", "here").held():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_what_is_recorded_is_there_for_the_next(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "postgres", "here")
    position = ledger.position("decisive", "events", "rows-1")
    assert position == Position(table="events", rows="rows-1")
    with ledger.held():
        ledger.record("decisive", position.begun(Stretch(after=None, through=4)).acknowledged())
        seen = Ledger(tmp_path, "postgres", "here").position("decisive", "events", "rows-1")
        assert (seen.through, seen.under_way, seen.parts) == (None, Stretch(after=None, through=4), 1)
        ledger.note("decisive", seen.at(4))
    again = Ledger(tmp_path, "postgres", "here")
    assert again.position("decisive", "events", "rows-1") == Position(table="events", rows="rows-1", through=4)


def test_other_rows_or_another_store_begin_anew(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "postgres", "here")
    with ledger.held():
        ledger.record("decisive", Position(table="events", rows="rows-1", through=4))
    assert ledger.position("decisive", "events", "rows-2").through is None
    assert Ledger(tmp_path, "postgres", "elsewhere").position("decisive", "events", "rows-1").through is None
    with ledger.held():
        ledger.forget()
    assert Ledger(tmp_path, "postgres", "here").position("decisive", "events", "rows-1").through is None


def test_nothing_is_written_where_nothing_changed(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "postgres", "here")
    with ledger.held():
        pass
    assert not ledger.path.exists()


def test_a_second_process_is_told_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    ledger = Ledger(tmp_path, "postgres", "here")
    with pytest.raises(Conflict, match="another process is at work"), ledger.held():
        pass
    with Ledger(tmp_path, "clickhouse", "there").held():  # each store has its own
        pass
    holder.kill()
    holder.communicate()
    with ledger.held():
        pass


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "postgres.json").write_text('{"store": "here", "lanes": {"decisive": {"through": "soon"}}}')
    with pytest.raises(Corrupt, match="Remove it: everything is then delivered anew"):
        Ledger(tmp_path, "postgres", "here")


def test_the_positions_of_lanes_that_are_still_routed(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "postgres", "here")
    with ledger.held():
        for lane in ("decisive", "long_gone"):
            ledger.record(lane, Position(table="events", rows="r", through=4))
    assert [p.through for p in positions(tmp_path, {"postgres": ["decisive"], "clickhouse": ["decisive"]})] == [4]
