"""Which versions of the lake's tables somebody still counts on: runs, artifacts, and stores that have not had their rows."""

from collections import defaultdict
from typing import TYPE_CHECKING

from neonblue_lab.errors import BadInput
from neonblue_lab.pipelines.runs import RUN_FILE, load_runs
from neonblue_lab.sinks.needed import versions_needed
from neonblue_lab.sinks.policy import load_policy
from neonblue_lab.warehouse.warehouse import parse_data_version

if TYPE_CHECKING:
    from neonblue_lab.lab import Lab


def pinned_versions(lab: "Lab") -> dict[str, set[int]]:
    """Table -> versions that must stay readable.

    Raises:
        BadInput: a run recorded a data version that is none, its record cannot be read, or the policy cannot be used.
        Corrupt: a manifest or a ledger is not what it was.
    """
    pinned: dict[str, set[int]] = defaultdict(set)
    for run in load_runs(lab.settings):
        record = lab.settings.runs / run.run_id / RUN_FILE
        if not run.pipeline and record.exists():
            raise BadInput(
                f"{record} cannot be read: which versions the run counts on is not known. Restore it, or remove the run's "
                "folder if nobody needs to repeat it."
            )
        for recorded in run.data_versions.values():
            for table, version in parse_data_version(str(recorded)).items():
                pinned[table].add(version)
    for artifact in lab.artifacts.list():
        for table, version in artifact.manifest.data_versions.items():
            pinned[table].add(version)
    needed = versions_needed(lab.lake, lab.settings.sinks, load_policy(lab.settings.home))
    for table, versions in needed.items():
        pinned[table] |= versions
    return dict(pinned)
