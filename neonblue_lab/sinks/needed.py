"""Which versions of the lake must stay readable, because a store has not had their rows yet."""

from pathlib import Path

from neonblue_lab.errors import NotFound
from neonblue_lab.lake.lake import Lake
from neonblue_lab.sinks.feed import TableLog
from neonblue_lab.sinks.layout import layout_of
from neonblue_lab.sinks.ledger import Position, positions
from neonblue_lab.sinks.policy import STORES, Policy


def versions_needed(lake: Lake, folder: Path, policy: Policy) -> dict[str, set[int]]:
    """Table -> versions whose files no vacuum may remove until the stores have had them. The newest version of a table, which
    no vacuum touches, is not named.

    Args:
        lake: that the stores are fed from.
        folder: of the ledgers. A store that is given up holds the lake's files until its ledger there is removed.
        policy: which store gets what.

    Raises:
        Corrupt: a file there is not a ledger.
    """
    needed: dict[str, set[int]] = {}
    lanes = {store: [route.lane for route in policy.of_store(store)] for store in STORES}
    logs: dict[str, TableLog] = {}
    for position in positions(folder, lanes):
        try:
            log = logs.setdefault(position.table, TableLog(lake, position.table))
        except NotFound:  # the table was removed; whatever takes its place is delivered anew
            continue
        if versions := _needed_from(position, log):
            needed.setdefault(position.table, set()).update(versions)
    return needed


def _needed_from(position: Position, log: TableLog) -> set[int]:
    stretch = position.under_way
    snapshot = {stretch.through} if stretch is not None and stretch.after is None else set()
    if layout_of(position.table).is_snapshot:
        return snapshot
    begin = stretch.through if stretch is not None and stretch.after is None else position.through
    if begin is None:
        return snapshot
    # A file that a commit added is in every version from there until a commit removes it: the last of these will do.
    removals = (commit.version for commit in log.since(begin) if commit.removes)
    return snapshot | {version - 1 for version in removals if version - 1 > begin}
