"""Artifacts: list, show, verify, promote, roll back; labels of events that people corrected."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from neonblue_lab.cli.options import Home, Json, open_lab
from neonblue_lab.cli.output import answer, table
from neonblue_lab.errors import BadInput

if TYPE_CHECKING:
    from neonblue_lab.artifacts.artifact import Artifact

app = typer.Typer(
    help="Artifacts: list, show, verify, promote, roll back. Ask for a user's behaviour; correct labels.",
    no_args_is_help=True,
)
Version = Annotated[str, typer.Option(help="A number, `champion`, `challenger` or `latest`.")]


@app.command("list")
def list_(home: Home = None, as_json: Json = False) -> None:
    """All versions of all artifacts."""
    artifacts = open_lab(home).artifacts.list()
    rows = [[a.name, str(a.version), a.alias or "", f"{a.manifest.created_at:%Y-%m-%d %H:%M}"] for a in artifacts]
    answer(
        [_described(artifact) for artifact in artifacts],
        as_json,
        table(["name", "version", "alias", "created"], rows)
        if rows
        else "No artifacts yet: `neonblue run nightly` makes them.",
    )


@app.command()
def show(name: str, version: Version = "champion", home: Home = None, as_json: Json = False) -> None:
    """An artifact's card and manifest."""
    artifact = open_lab(home).artifacts.get(name, _version(version))
    manifest = artifact.manifest.model_dump(mode="json")
    answer(_described(artifact) | {"manifest": manifest, "card": artifact.card}, as_json, artifact.card)


@app.command()
def verify(name: str, version: Version = "champion", home: Home = None, as_json: Json = False) -> None:
    """Compare every file of an artifact with its recorded hash."""
    artifact = open_lab(home).artifacts.get(name, _version(version))
    answer(
        {"name": name, "version": artifact.version, "verified": True},
        as_json,
        f"{name} version {artifact.version}: every file is as it was published.",
    )


@app.command()
def promote(name: str, version: int, home: Home = None, as_json: Json = False) -> None:
    """Make a version the champion that tools serve."""
    store = open_lab(home).artifacts
    store.promote(name, version)
    answer(_described(store.get(name)), as_json, f"{name} version {version} is the champion.")


@app.command()
def rollback(name: str, home: Home = None, as_json: Json = False) -> None:
    """Go back to the champion before this one."""
    store = open_lab(home).artifacts
    store.rollback(name)
    champion = store.get(name)
    answer(_described(champion), as_json, f"{name} version {champion.version} is the champion again.")


@app.command()
def correct(
    labels: Annotated[
        list[str],
        typer.Argument(
            help="What is right, such as `priority=high target_servers=postgres+clickhouse`; of data_type, priority, "
            "target_servers, processing_strategy, retention_policy."
        ),
    ],
    author: Annotated[str, typer.Option(help="Who says so.")],
    event_id: Annotated[str | None, typer.Option(help="The event whose labels are wrong.")] = None,
    event_type: Annotated[str | None, typer.Option(help="The event type whose labels are wrong.")] = None,
    note: Annotated[str, typer.Option(help="Why.")] = "",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Correct labels of one event, or of all events of a type: the next training learns from it."""
    pairs = [text.partition("=") for text in labels]
    if unclear := [text for text, (_, mark, value) in zip(labels, pairs, strict=True) if not mark or not value]:
        raise BadInput(f"{unclear[0]!r} is no correction: it looks like priority=high.")
    stored = open_lab(home).models.correct(
        event_id=event_id, event_type=event_type, author=author, note=note, **{name: value for name, _, value in pairs}
    )
    said = ", ".join(f"{row['label']} is {row['value']}" for row in stored.iter_rows(named=True))
    answer(
        stored.to_dicts(), as_json, f"Stored for {event_id or event_type}: {said}. The next training learns from it."
    )


@app.command()
def corrections(home: Home = None, as_json: Json = False) -> None:
    """Labels that people corrected, the latest of each event or type."""
    found = open_lab(home).models.corrections().to_dicts()
    names = ["made_at", "scope", "target", "label", "value", "author", "note"]
    rows = [row | {"target": row["event_id"] or row["event_type"], "note": row["note"] or ""} for row in found]
    lines = [[f"{row['made_at']:%Y-%m-%d %H:%M}", *(str(row[name]) for name in names[1:])] for row in rows]
    answer(found, as_json, table(names, lines) if lines else "Nobody has corrected any label.")


@app.command()
def behavior(
    user_id: Annotated[str, typer.Argument(help="Whose; of a user who is not known it says what holds for all.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Where a user is in their journey, whether they will convert, and what they do next."""
    found = open_lab(home).models.predict_user_behavior(user_id)
    answer(found.model_dump(mode="json"), as_json, str(found))


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
