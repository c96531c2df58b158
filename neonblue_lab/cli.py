"""The command line: each command opens a lab, calls it, and prints what it answers for a person or, with --json, a machine.

Heavy libraries are imported by the commands that need them, so that `neonblue --help` answers at once.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neonblue_lab import __version__
from neonblue_lab.errors import BadInput, NeonBlueError

if TYPE_CHECKING:
    from neonblue_lab.artifacts.artifact import Artifact
    from neonblue_lab.lab import Lab
    from neonblue_lab.pipelines.runs import StepError

DONE, FAILED, USAGE, NOTHING_TO_DO = 0, 1, 2, 3
INTERRUPTED = 130

app = typer.Typer(
    name="neonblue",
    help="The research workbench for A/B experimentation: topics to lake to notebooks to artifacts to tools.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
lake_app = typer.Typer(help="Look at the lake.", no_args_is_help=True)
models_app = typer.Typer(help="Artifacts: list, show, verify, promote, roll back.", no_args_is_help=True)
app.add_typer(lake_app, name="lake")
app.add_typer(models_app, name="models")

Home = Annotated[
    Path | None,
    typer.Option(
        "--home", help="The data folder. Default: $NEONBLUE_HOME, else data/ of the checkout.", show_default=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
Version = Annotated[str, typer.Option(help="A number, `champion`, `challenger` or `latest`.")]
Alpha = Annotated[float, typer.Option(help="1 - coverage of the intervals.")]


@app.callback(invoke_without_command=True)
def _about(version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False) -> None:
    if version:
        print(f"neonblue-lab {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line and leave with its exit code: 0 done, 1 failed, 2 wrong usage or bad input, 3 nothing to do."""
    try:
        code = app(standalone_mode=False)
    except NeonBlueError as error:
        _complain(type(error).__name__, f"neonblue: {error}")
        sys.exit(error.exit_code)
    except typer.TyperException as error:  # wrong usage, or the help where a command is missing
        message = error.format_message()
        _complain(
            "BadUsage",
            message if "\n" in message else f"neonblue: {message.rstrip('.')}. Add --help to see what there is.",
        )
        sys.exit(error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    if code == INTERRUPTED:
        print("neonblue: interrupted; what was committed stays.", file=sys.stderr)
    sys.exit(code if isinstance(code, int) else DONE)


def _complain(kind: str, message: str) -> None:
    """What is wrong, on stderr; with --json also as a document on stdout."""
    if "--json" in sys.argv[1:]:
        _print_json({"error": {"kind": kind, "message": message.removeprefix("neonblue: ")}})
    print(message, file=sys.stderr)


# --- topics to lake ---------------------------------------------------------------------------------------------------


@app.command()
def simulate(
    out: Annotated[Path, typer.Option(help="Folder of the topic archives to write.")],
    experiments: Annotated[int, typer.Option(min=1, help="Number of experiments.")] = 24,
    users: Annotated[int, typer.Option(min=10, help="Number of users.")] = 20_000,
    events: Annotated[int, typer.Option(min=1000, help="Number of records over all topics.")] = 200_000,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 1,
    days: Annotated[int, typer.Option(min=14, help="Days of traffic.")] = 56,
    start: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="First day.")] = datetime(2026, 1, 5),
    as_json: Json = False,
) -> None:
    """Write simulated topic archives with a known truth (truth.json)."""
    from neonblue_lab.events.simulator import simulate as run
    from neonblue_lab.topics.archive import write_archive

    _must_be_new(out)
    simulation = run(
        experiments=experiments, users=users, events=events, seed=seed, days=days, start=date(*start.timetuple()[:3])
    )
    with _progress("simulating", events) as advance:
        records = write_archive(out, _counted(simulation.batches(), advance))
    _write_json(out / "truth.json", simulation.truth)
    _answer(
        {"out": str(out), "topics": records, "truth": str(out / "truth.json")},
        as_json,
        f"{sum(records.values()):,} simulated records under {out}, by topic: {_listed(records)}; "
        f"the truth is in {out / 'truth.json'}.\nNext: neonblue replay --from {out}",
    )


@app.command("import")
def import_(
    source: Annotated[str, typer.Argument(help="upworthy, asos, landing-page or eshop.")],
    file: Annotated[Path, typer.Argument(help="The data set's file.")],
    out: Annotated[Path, typer.Option(help="Folder of the topic archives; an archive that is there is continued.")],
    clean: Annotated[
        bool,
        typer.Option(
            "--clean",
            help="landing-page only: drop rows whose group and page disagree, and keep each user's first row.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Turn a public data set into topic archives."""
    from neonblue_lab.events.importers import IMPORTERS
    from neonblue_lab.topics.archive import write_archive

    if source not in IMPORTERS:
        raise BadInput(f"There is no importer {source}; there are {', '.join(IMPORTERS)}.")
    batches = IMPORTERS[source].batches(file, clean=clean)
    continued = out.is_dir() and any(out.iterdir())
    with _progress(f"importing {source}", None) as advance:
        records = write_archive(out, _counted(batches, advance))
    _answer(
        {"out": str(out), "topics": records, "continued": continued},
        as_json,
        f"{sum(records.values()):,} records {'appended to the archive' if continued else 'written'} under {out}, by topic: "
        f"{_listed(records)}.\nNext: neonblue replay --from {out}",
    )


@app.command()
def replay(
    topics: Annotated[list[str] | None, typer.Argument(help="Topics; all that the source has unless named.")] = None,
    source: Annotated[
        str | None,
        typer.Option("--from", help="An archive folder or kafka://host:port. Default: topics/ of the data folder."),
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> int:
    """Bring the lake up to the end of a source's topics, exactly once. Run again, it adds only what is new."""
    lab = _lab(home)
    location = source or str(lab.settings.topics)
    with _topic_progress() as on_progress:
        report = lab.replay(location, topics or None, on_progress=on_progress)
    _answer(report.to_dict(), as_json, str(report))
    return NOTHING_TO_DO if report.nothing_to_do else DONE


@app.command()
def produce(
    archive: Annotated[Path, typer.Argument(help="Archive folder.")],
    to: Annotated[str, typer.Option(help="kafka://host:port")],
    append: Annotated[bool, typer.Option("--append", help="Produce to topics that already have records.")] = False,
    as_json: Json = False,
) -> None:
    """Put an archive's records on a Kafka cluster: same partitions, keys, values, headers and timestamps."""
    from neonblue_lab.topics.archive import ArchiveSource
    from neonblue_lab.topics.kafka import produce as run

    source = ArchiveSource(archive)
    total = sum(sum(source.end_offsets(topic).values()) for topic in source.topics())
    with _progress("producing", total) as advance:
        records = run(source, to, append=append, on_written=lambda _, count: advance(count))
    _answer({"topics": records}, as_json, f"{sum(records.values()):,} records produced to {to}.")


@lake_app.command("status")
def lake_status(home: Home = None, as_json: Json = False) -> None:
    """Version, rows, files and bytes of each table."""
    lab = _lab(home)
    tables = lab.lake.status()
    _answer(
        {"tables": {name: vars(status) for name, status in tables.items()}},
        as_json,
        _table(
            ["table", "version", "rows", "files", "MB"],
            [
                [name, str(t.version), f"{t.rows:,}", f"{t.files:,}", f"{t.bytes / 1e6:,.1f}"]
                for name, t in tables.items()
            ],
        )
        if tables
        else f"The lake at {lab.settings.lake} is empty: `neonblue replay --from ...` fills it.",
    )


@lake_app.command("dead-letters")
def dead_letters(
    topic: Annotated[str | None, typer.Option(help="Only this topic.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows to show.")] = 20,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Records that are no events, with the reason."""
    frame = _lab(home).dead_letters(topic=topic, limit=limit)
    rows = [row | {"value": row["value"].decode("utf-8", "backslashreplace")} for row in frame.to_dicts()]
    lines = [f"{r['topic']}-{r['partition']}-{r['offset']}  {r['error']}  {r['value'][:80]!r}" for r in rows]
    _answer({"dead_letters": rows}, as_json, "\n".join(lines) or "No dead letters.")


# --- experiments ------------------------------------------------------------------------------------------------------


@app.command()
def scorecard(
    metric: Annotated[list[str] | None, typer.Option(help="Restrict to this metric; may be repeated.")] = None,
    alpha: Alpha = 0.05,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """The whole programme: every variant against its control, and the checks of every experiment."""
    card = _lab(home).experiments.scorecard(metrics=metric, alpha=alpha)
    if as_json:
        _print_json(card.to_dict())
    else:
        print(card)


@app.command()
def analyze(
    experiment: Annotated[str, typer.Argument(help="Experiment id.")],
    alpha: Alpha = 0.05,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """One experiment: a verdict, its reasons and the numbers."""
    readout = _lab(home).experiments.analyze(experiment, alpha=alpha)
    _answer(readout.model_dump(mode="json"), as_json, str(readout))


@app.command()
def search(
    text: Annotated[str, typer.Argument(help="What to look for, in words.")],
    limit: Annotated[int, typer.Option(min=1, max=100, help="Number of results.")] = 10,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Experiments whose texts mean something near."""
    hits = _lab(home).knowledge.index.search(text, limit=limit)
    results = [
        {"experiment_id": h.experiment_id, "score": h.score, "document": h.document, "metadata": dict(h.metadata)}
        for h in hits
    ]
    lines = [f"{h.score:.3f}  {h.experiment_id}  {' / '.join(h.document.splitlines())[:110]}" for h in hits]
    _answer({"results": results}, as_json, "\n".join(lines) or "Nothing found.")


@app.command()
def forecast(
    experiment: Annotated[str, typer.Argument(help="Experiment id, or `programme` for the whole of it.")] = "programme",
    metric: Annotated[str | None, typer.Option(help="Metric; the model's first unless given.")] = None,
    days: Annotated[int, typer.Option(min=1, max=366, help="How far ahead.")] = 14,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Forecast a metric's series with intervals."""
    found = _lab(home).models.forecast(experiment, metric, days_ahead=days)
    rows = [[f"{r.timestamp:%Y-%m-%d}", f"{r.mean:,.4g}", f"{r.low:,.4g}", f"{r.high:,.4g}"] for r in found.rows]
    text = _table(["day", found.metric, "low", "high"], rows) + (f"\n{found.note}" if found.note else "")
    _answer(found.model_dump(mode="json"), as_json, text)


# --- artifacts --------------------------------------------------------------------------------------------------------


@models_app.command("list")
def models_list(home: Home = None, as_json: Json = False) -> None:
    """All versions of all artifacts."""
    artifacts = _lab(home).artifacts.list()
    rows = [[a.name, str(a.version), a.alias or "", f"{a.manifest.created_at:%Y-%m-%d %H:%M}"] for a in artifacts]
    _answer(
        [_described(artifact) for artifact in artifacts],
        as_json,
        _table(["name", "version", "alias", "created"], rows)
        if rows
        else "No artifacts yet: `neonblue run nightly` makes them.",
    )


@models_app.command("show")
def models_show(
    name: str,
    version: Version = "champion",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """An artifact's card and manifest."""
    artifact = _lab(home).artifacts.get(name, _version(version))
    manifest = artifact.manifest.model_dump(mode="json")
    _answer(_described(artifact) | {"manifest": manifest, "card": artifact.card}, as_json, artifact.card)


@models_app.command("verify")
def models_verify(
    name: str,
    version: Version = "champion",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Compare every file of an artifact with its recorded hash."""
    artifact = _lab(home).artifacts.get(name, _version(version))
    _answer(
        {"name": name, "version": artifact.version, "verified": True},
        as_json,
        f"{name} version {artifact.version}: every file is as it was published.",
    )


@models_app.command("promote")
def models_promote(name: str, version: int, home: Home = None, as_json: Json = False) -> None:
    """Make a version the champion that tools serve."""
    store = _lab(home).artifacts
    store.promote(name, version)
    _answer(_described(store.get(name)), as_json, f"{name} version {version} is the champion.")


@models_app.command("rollback")
def models_rollback(name: str, home: Home = None, as_json: Json = False) -> None:
    """Go back to the champion before this one."""
    store = _lab(home).artifacts
    store.rollback(name)
    champion = store.get(name)
    _answer(_described(champion), as_json, f"{name} version {champion.version} is the champion again.")


# --- pipelines and serving --------------------------------------------------------------------------------------------


@app.command()
def run(
    pipeline: Annotated[str, typer.Argument(help="Name of a file in pipelines/, without .yaml.")],
    parameter: Annotated[
        list[str] | None, typer.Option("-p", "--parameter", help="step.parameter=value; may be repeated.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Run all steps even where nothing has changed.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> int:
    """Run a pipeline's notebooks, with reports."""
    from neonblue_lab.pipelines.parameters import parse_overrides
    from neonblue_lab.pipelines.runner import run_pipeline

    result = run_pipeline(
        _settings(home), pipeline, overrides=parse_overrides(parameter or []), force=force, on_progress=_tell_step
    )
    rows = [[s.name, s.status, f"{s.seconds:.1f} s" if s.seconds is not None else ""] for s in result.steps]
    failures = [line for s in result.steps if s.error for line in _failure(s.name, s.error)]
    text = [_table(["step", "status", "time"], rows), *failures, f"{result.run_id}: {result.status}"]
    _answer(result.model_dump(mode="json"), as_json, "\n".join([*text, f"Reports: {result.index}"]))
    return {"succeeded": DONE, "nothing_to_do": NOTHING_TO_DO}.get(result.status, FAILED)


@app.command()
def runs(
    limit: Annotated[int, typer.Option(min=1, help="Number of runs, the newest first.")] = 20,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """History of pipeline runs."""
    from neonblue_lab.pipelines.index import write_index
    from neonblue_lab.pipelines.runs import load_runs

    settings = _settings(home)
    found = load_runs(settings)[:limit]
    if found:
        write_index(settings)  # a run that was killed could not say so on the page itself
    rows = [
        [
            r.run_id,
            r.pipeline,
            r.status,
            f"{(r.finished_at - r.started_at).total_seconds():.0f} s" if r.finished_at else "",
        ]
        for r in found
    ]
    _answer(
        [r.model_dump(mode="json") for r in found],
        as_json,
        _table(["run", "pipeline", "status", "time"], rows) if rows else "No runs yet: `neonblue run nightly`.",
    )


@app.command()
def serve(
    http: Annotated[
        str | None, typer.Option(help="HOST:PORT for streamable HTTP on this machine; stdio unless given.")
    ] = None,
    home: Home = None,
) -> None:
    """Serve the lab to MCP clients."""
    from neonblue_lab.serving.server import serve as start

    start(_settings(home), http=http)


# --- helpers ----------------------------------------------------------------------------------------------------------


def _settings(home: Path | None) -> Any:
    from neonblue_lab.settings import Settings

    return Settings.find(home)


def _lab(home: Path | None) -> "Lab":
    from neonblue_lab.lab import Lab

    return Lab.open(home)


def _version(text: str) -> Any:
    if text in ("champion", "challenger", "latest"):
        return text
    if not text.isdecimal():
        raise BadInput(f"--version {text}: a number, `champion`, `challenger` or `latest`.")
    return int(text)


def _described(artifact: "Artifact") -> dict[str, Any]:
    return {
        "name": artifact.name,
        "version": artifact.version,
        "alias": artifact.alias,
        "created_at": artifact.manifest.created_at,
        "metrics": artifact.manifest.metrics,
    }


def _must_be_new(folder: Path) -> None:
    if folder.is_file():
        raise BadInput(f"{folder} is a file: --out names a folder.")
    if folder.exists() and any(folder.iterdir()):
        raise BadInput(f"{folder} is not empty: simulated topics want a folder of their own.")


def _answer(document: Any, as_json: bool, text: str) -> None:
    if as_json:
        _print_json(document)
    else:
        print(text)


def _json(document: Any) -> bytes:
    import orjson

    def default(value: Any) -> Any:
        if isinstance(value, bytes):
            return value.decode("utf-8", "backslashreplace")
        if isinstance(value, Path):
            return str(value)
        if hasattr(value, "item"):
            return value.item()
        raise TypeError(f"{type(value).__name__} has no JSON form")

    return orjson.dumps(document, default=default, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY)


def _print_json(document: Any) -> None:
    sys.stdout.buffer.write(_json(document) + b"\n")
    sys.stdout.buffer.flush()


def _write_json(file: Path, document: Any) -> None:
    file.write_bytes(_json(document) + b"\n")


def _listed(records: dict[str, int]) -> str:
    return ", ".join(f"{topic} {count:,}" for topic, count in records.items())


def _table(header: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    numeric = [all(row[i][:1].isdigit() or row[i][:1] == "-" for row in rows) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in [header, *rows]
    )


@contextmanager
def _progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr where that is a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)


def _counted(batches: Iterator[Any], advance: Callable[[int], None]) -> Iterator[Any]:
    for batch in batches:
        yield batch
        advance(batch.frame.height)


@contextmanager
def _topic_progress() -> Iterator[Callable[[str, Any], None]]:
    """One progress bar a topic on stderr where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bars:

        def tell(topic: str, progress: Any) -> None:
            if topic not in tasks:
                tasks[topic] = bars.add_task(topic, total=progress.expected)
            bars.update(tasks[topic], completed=progress.records, total=progress.expected)

        yield tell


def _failure(step: str, error: "StepError") -> list[str]:
    where = f" in cell [{error.cell.number}] `{error.cell.line}`" if error.cell else ""
    seen = [f"  the notebook as far as it came: {error.notebook}"] if error.notebook else []
    return [f"{step} failed{where}: {error.name}: {error.message}", *seen]


def _tell_step(progress: Any) -> None:
    """One line on stderr each time a step starts."""
    if progress.status == "running" and progress.cell == 0:
        print(f"{progress.step} ...", file=sys.stderr, flush=True)
