"""Artifacts: list, show, verify, promote, roll back."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from neonblue_lab.cli.options import Home, Json, open_lab
from neonblue_lab.cli.output import answer, table
from neonblue_lab.errors import BadInput

if TYPE_CHECKING:
    from neonblue_lab.artifacts.artifact import Artifact

app = typer.Typer(help="Artifacts: list, show, verify, promote, roll back.", no_args_is_help=True)
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
