"""Keeping the lake in order: few files, none that nobody needs, no rows older than the policy keeps."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from neonblue_lab.cli.options import Home, Json, open_lab
from neonblue_lab.cli.output import answer
from neonblue_lab.cli.wording import counted

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
Days = Annotated[int | None, typer.Option(min=1, help="Also delete such rows; kept for ever unless given.")]


def compact(
    tables: Annotated[list[str] | None, typer.Argument(help="Tables; all unless named.")] = None,
    dry_run: DryRun = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Merge small files. Readers and replays go on meanwhile; what was merged stays on disk until a vacuum."""
    from neonblue_lab.cli.small_files import MIN_FILES, mergeable_files
    from neonblue_lab.lake import upkeep

    lake = open_lab(home).lake
    if dry_run:
        found = mergeable_files(lake, tables or None)
        lines = [f"{table}: {counted(files, 'file')} to merge." for table, files in found.items()]
        answer({"tables": found, "dry_run": True}, as_json, "\n".join(lines) or "Nothing to merge.")
        return
    report = upkeep.compact(lake, tables or None, min_files=MIN_FILES)
    answer(report.to_dict(), as_json, str(report))


def vacuum(
    window: Annotated[float, typer.Option(help="Days for which what was replaced stays readable.")] = 7,
    dry_run: DryRun = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Delete files that no version needs which a run, an artifact or a sink counts on, or that was current in the window."""
    from neonblue_lab.cli.pinned import pinned_versions
    from neonblue_lab.lake import upkeep

    lab = open_lab(home)
    keep = pinned_versions(lab)
    report = upkeep.vacuum(lab.lake, keep=keep, window=timedelta(days=window), dry_run=dry_run)
    answer(report.to_dict(), as_json, str(report))


def retention(
    raw_days: Days = None,
    dead_letter_days: Days = None,
    dry_run: DryRun = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Delete events that are older than the policy keeps their class (`retention_days` of sinks.yaml)."""
    from neonblue_lab.lake.retention import Rules
    from neonblue_lab.lake.retention import retention as run
    from neonblue_lab.sinks.policy import load_policy

    lab = open_lab(home)
    topics = lab.lake.topics()
    rules = Rules(
        events=load_policy(lab.settings.home).retention_days,
        raw=dict.fromkeys(topics, raw_days),
        dead_letters=dict.fromkeys(topics, dead_letter_days),
    )
    report = run(lab.lake, rules, now=datetime.now(UTC), dry_run=dry_run)
    answer(report.to_dict(), as_json, str(report))
