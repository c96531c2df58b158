"""What can be wrong with a workbench, and what to do about it: one function a subject, each yielding findings."""

import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote

import polars as pl
from deltalake.exceptions import DeltaError

from neonblue_lab import __version__
from neonblue_lab.cli.output import listed
from neonblue_lab.cli.small_files import mergeable_files
from neonblue_lab.cli.wording import counted, lasting, size
from neonblue_lab.errors import NeonBlueError
from neonblue_lab.events.classification import CHROMADB
from neonblue_lab.lake.gaps import accepted_gaps
from neonblue_lab.lake.tables import raw_table
from neonblue_lab.pipelines.runs import RunResult, load_runs

if TYPE_CHECKING:
    from neonblue_lab.artifacts import ArtifactStore
    from neonblue_lab.lab import Lab
    from neonblue_lab.lake.lake import Lake
    from neonblue_lab.settings import Settings

Status = Literal["ok", "warning", "problem"]
DISTRIBUTION = "neonblue-lab"
LITTLE_SPACE = 2 << 30
NO_SPACE = 200 << 20
MANY_FILES = 1_000
_REQUIREMENT = re.compile(
    r"""(?P<name>[A-Za-z0-9._-]+) (?:\[[^]]*\])? == (?P<version>[^\s;]+) (?:.* extra\ ==\ ['"](?P<extra>\w+)['"])?""",
    re.VERBOSE,
)
_EXTRAS = {
    "fast": "a faster Kafka client",
    "postgres": "PostgreSQL as a sink",
    "chdb": "ClickHouse within the process",
    "minilm": "the weights of text embeddings",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what was looked at.
        status: `warning` can wait, `problem` cannot.
        message: what was found.
        advice: what to do about it; None where there is nothing to do.
    """

    name: str
    status: Status
    message: str
    advice: str | None = None


Check = Callable[[], Iterator[Finding]]


def findings(checks: Mapping[str, Check]) -> Iterator[Finding]:
    """Run every check, whatever became of those before it: one that breaks is itself a problem."""
    for name, check in checks.items():
        try:
            yield from check()
        except NeonBlueError as error:
            yield Finding(name, "problem", str(error))
        except Exception as error:  # noqa: BLE001 - whatever is broken, the checks behind it are still run
            yield Finding(
                name, "problem", f"{type(error).__name__}: {error}", "The check itself could not be finished."
            )


def python() -> Iterator[Finding]:
    """The interpreter, and the packages at the versions that this release was tested with."""
    installed = {_plain(d.name): d.version for d in metadata.distributions()}
    pins = [pin for text in metadata.requires(DISTRIBUTION) or () if (pin := _REQUIREMENT.fullmatch(text))]
    needed = {_plain(pin["name"]): pin["version"] for pin in pins if pin["extra"] is None}
    missing = sorted(name for name in needed if name not in installed)
    other = sorted(f"{n} {installed[n]} ({v})" for n, v in needed.items() if n in installed and installed[n] != v)
    here = f"neonblue-lab {__version__} on Python {platform.python_version()}"
    if missing:
        yield Finding("python", "problem", f"{here}; not installed: {', '.join(missing)}.", _INSTALL)
    elif other:
        yield Finding("python", "warning", f"{here}; not the versions tested with: {', '.join(other)}.", _INSTALL)
    else:
        yield Finding("python", "ok", f"{here}; {len(needed)} packages at the versions tested with.")
    extras = {extra: _plain(pin["name"]) in installed for pin in pins if (extra := pin["extra"]) in _EXTRAS}
    there = [extra for extra, is_there in extras.items() if is_there]
    absent = [f"{extra} ({_EXTRAS[extra]})" for extra, is_there in extras.items() if not is_there]
    message = f"Installed: {', '.join(there) or 'none'}. Not installed: {', '.join(absent) or 'none'}."
    yield Finding("extras", "ok", message, "Where wanted: pip install 'neonblue-lab[...]'." if absent else None)


def home(folder: Path) -> Iterator[Finding]:
    """Whether the data folder, or the one that it would be made in, takes a file, and how much more fits."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"x")
            file.flush()
    except OSError as error:
        yield Finding("home", "problem", f"{folder} cannot be written: {error.strerror}.", _OWN_HOME)
    else:
        made = "" if folder.exists() else "; the first replay makes it"
        yield Finding("home", "ok", f"{folder} can be written{made}.")
    free = shutil.disk_usage(there).free
    advice = (
        "Make room, or name a data folder on another disk (--home); `neonblue lake vacuum --dry-run` tells what goes."
    )
    if free < NO_SPACE:
        yield Finding("disk", "problem", f"{size(free)} free.", advice)
    elif free < LITTLE_SPACE:
        yield Finding("disk", "warning", f"{size(free)} free.", advice)
    else:
        yield Finding("disk", "ok", f"{size(free)} free.")


def tables(lake: "Lake") -> Iterator[Finding]:
    """Every table opens, and every file that makes it up is there, whole."""
    rows = taken = 0
    names = lake.names()
    for name in names:
        try:
            table = lake.open(name)
            actions = pl.DataFrame(table.get_add_actions(flatten=True))
            broken = _broken(lake.path / name, actions)
        except (NeonBlueError, DeltaError, OSError) as error:
            yield Finding(f"lake: {name}", "problem", f"It cannot be opened: {error}", _REBUILD)
            continue
        rows, taken = rows + int(actions["num_records"].sum()), taken + int(actions["size_bytes"].sum())
        if broken:
            message = f"{len(broken)} of {actions.height} files are missing or cut off, such as {broken[0]}."
            yield Finding(f"lake: {name}", "problem", message, _REBUILD)
    if names:
        yield Finding("lake", "ok", f"{len(names)} tables, {rows:,} rows, {size(taken)}.")
    else:
        yield Finding("lake", "ok", f"The lake at {lake.path} is empty.", "`neonblue replay --from ...` fills it.")


def _broken(folder: Path, actions: pl.DataFrame) -> list[Path]:
    files = ((folder / unquote(path), length) for path, length in actions.select("path", "size_bytes").iter_rows())
    return [file for file, length in files if not file.exists() or file.stat().st_size != length]


def small_files(lake: "Lake") -> Iterator[Finding]:
    """Whether so many files are small that reading gets slow."""
    mergeable = mergeable_files(lake)
    if (files := sum(mergeable.values())) >= MANY_FILES:
        worst = max(mergeable, key=lambda name: mergeable[name])
        message = f"{files:,} are small, {mergeable[worst]:,} of them in {worst}: reading gets slow."
        yield Finding("files", "warning", message, "`neonblue lake compact` merges them.")
    else:
        yield Finding("files", "ok", f"{files:,} small ones that could be merged.")


def unfinished(lake: "Lake") -> Iterator[Finding]:
    """Whether events were derived from all raw records: a replay that was killed leaves some to the next one."""
    behind = {
        f"{topic}-{partition}": stored - derived
        for topic in lake.topics()
        for partition, stored, derived in _marks(lake, topic)
        if derived < stored
    }
    if behind:
        message = f"{sum(behind.values()):,} records are stored from which nothing was derived: {listed(behind)}."
        advice = "`neonblue replay` finishes them first; a replay or follower that is running now is doing so."
        yield Finding("replays", "warning", message, advice)
    else:
        yield Finding("replays", "ok", "None was left unfinished.")


def _marks(lake: "Lake", topic: str) -> Iterator[tuple[int, int, int]]:
    """Partition, its next offset in the raw table, and its next offset in `events`.

    The raw table is opened first: what a running replay does meanwhile brings `events` forward, not the raw one.
    """
    raw = lake.open(raw_table(topic))
    files = pl.DataFrame(raw.get_add_actions(flatten=True))
    last = -1 if files.is_empty() else files.select(pl.col("max.partition").max()).item()
    events = lake.open("events")
    for partition in range(last + 1):
        mark = f"{topic}/{partition}"
        yield partition, raw.transaction_version(mark) or 0, events.transaction_version(mark) or 0


def gaps(lake: "Lake") -> Iterator[Finding]:
    """How many offsets were passed over because a user chose to go on without them."""
    found = accepted_gaps(lake)
    if found.is_empty():
        yield Finding("gaps", "ok", "None.")
        return
    offsets = found.select((pl.col("next") - pl.col("first")).sum()).item()
    message = f"{counted(offsets, 'offset')} were passed over in {counted(found.height, 'gap')}."
    yield Finding("gaps", "warning", message, "`neonblue lake gaps` lists them: what lay there is not in the lake.")


def dead_letters(lab: "Lab") -> Iterator[Finding]:
    """How many records were rejected and wait for a fix."""
    if "dead_letters" not in lab.lake.names():
        return
    letters = lab.dead_letters()
    if letters.is_empty():
        yield Finding("dead letters", "ok", "None.")
        return
    reasons = letters.group_by("error").len().sort("len", "error", descending=[True, False])
    message = f"{letters.height:,}, {reasons['len'][0]:,} of them for: {reasons['error'][0]}"
    advice = "`neonblue lake dead-letters` lists them; after a fix, `neonblue lake dead-letters replay`."
    yield Finding("dead letters", "warning", message, advice)


def source(lab: "Lab", location: str) -> Iterator[Finding]:
    """Whether a source of records answers, is the one that the lake was filled from, and how far the lake is behind."""
    planned = lab.plan(location)
    behind = sum(part.lag for part in planned.partitions)
    message = f"{location} answers; the lake lacks {counted(behind, 'record')} of it."
    yield Finding("source", "ok", message, "`neonblue replay` brings it up to date." if behind else None)


def sinks(lab: "Lab") -> Iterator[Finding]:
    """Whether each configured store answers, and what it lacks."""
    with lab.deliverer() as deliverer:
        health, backlog = deliverer.health(), deliverer.backlog()
    if not health:
        yield Finding("sinks", "ok", "No store is configured.")
    for store, state in health.items():
        told = f"{state.message.rstrip('.')}."
        lacking = [entry for entry in backlog if entry.store == store and entry.commits]
        if lacking:
            oldest = max(entry.oldest_seconds or 0.0 for entry in lacking)
            told += f" It lacks rows of {', '.join(sorted({e.table for e in lacking}))}, for {lasting(oldest)}."
        if not state.ok and store != CHROMADB:  # the index is no service: one that is not made yet is just behind
            advice = "What it lacks stays in the lake: `neonblue sync` when it is back."
            yield Finding(store, "problem", told, advice)
        elif lacking:
            yield Finding(store, "warning", told, "`neonblue sync` delivers them.")
        else:
            yield Finding(store, "ok", f"{told} It has everything." if state.ok else told)


def artifacts(store: "ArtifactStore") -> Iterator[Finding]:
    """Every file of every artifact is as it was published, and every name has a champion."""
    listed = store.list()
    broken = 0
    for artifact in listed:
        for problem in store.verify(artifact.name, artifact.version).problems[:1]:
            broken += 1
            advice = f"Publish it again, or `neonblue models rollback {artifact.name}`."
            yield Finding(f"artifact: {artifact.name} {artifact.version}", "problem", problem, advice)
    for name in sorted({artifact.name for artifact in listed} - {a.name for a in listed if a.alias == "champion"}):
        newest = max(a.version for a in listed if a.name == name)
        advice = f"`neonblue models promote {name} {newest}` serves the newest."
        yield Finding(f"artifact: {name}", "warning", "It has no champion: tools cannot serve it.", advice)
    if not listed:
        yield Finding("artifacts", "ok", "None yet.", "`neonblue run nightly` makes them.")
    elif not broken:
        yield Finding("artifacts", "ok", f"{len(listed)} versions, every file as it was published.")


def last_run(settings: "Settings") -> Iterator[Finding]:
    """How the newest run of each pipeline ended."""
    newest: dict[str, RunResult] = {}
    for run in load_runs(settings):
        newest.setdefault(run.pipeline or "a pipeline", run)
    if not newest:
        yield Finding("runs", "ok", "No pipeline was run yet.", "`neonblue run nightly`")
    for pipeline, run in sorted(newest.items()):
        told = f"{run.started_at:%Y-%m-%d %H:%M} UTC: {run.status.replace('_', ' ')}."
        if run.status in ("failed", "interrupted"):
            message = " ".join([told, *filter(None, [run.note]), *_failed_steps(run)])
            yield Finding(f"run: {pipeline}", "warning", message, f"See {run.index}, then run it again.")
        else:
            yield Finding(f"run: {pipeline}", "ok", told)


def _failed_steps(run: "RunResult") -> list[str]:
    return [f"{step.name}: {step.error.name}." for step in run.steps if step.error is not None]


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


_INSTALL = "Install the pinned versions: pip install -r requirements.lock."
_OWN_HOME = "Name a data folder of your own: --home DIR, or NEONBLUE_HOME."
_REBUILD = (
    "Put its files back from a copy. Without one: move the lake aside and replay the topics into a new one; what was "
    "derived is derived again."
)
