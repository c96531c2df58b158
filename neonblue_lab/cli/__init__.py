"""The command line: each command opens a lab, calls it, and prints what it answers for a person or, with --json, a machine.

One module a subject. Heavy libraries are imported by the commands that need them, so that `neonblue --help` answers at once.
"""

import sys
from typing import Annotated

import typer

from neonblue_lab import __version__
from neonblue_lab.cli import doctor, experiments, lake, models, pipelines, replay, serving, sinks, topics
from neonblue_lab.cli.output import DONE, INTERRUPTED, complain
from neonblue_lab.errors import NeonBlueError

app = typer.Typer(
    name="neonblue",
    help="The research workbench for A/B experimentation: topics to lake to notebooks to artifacts to tools.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (
    topics.simulate,
    topics.import_,
    replay.replay,
    topics.produce,
    sinks.sync,
    experiments.scorecard,
    experiments.analyze,
    experiments.plan,
    experiments.predict,
    experiments.search,
    experiments.forecast,
    pipelines.run,
    pipelines.runs,
    serving.serve,
    doctor.doctor,
):
    app.command(command.__name__.rstrip("_"))(command)
app.add_typer(lake.app, name="lake")
app.add_typer(models.app, name="models")


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
        complain(type(error).__name__, f"neonblue: {error}")
        sys.exit(error.exit_code)
    except typer.TyperException as error:  # wrong usage, or the help where a command is missing
        message = error.format_message()
        complain(
            "BadUsage",
            message if "\n" in message else f"neonblue: {message.rstrip('.')}. Add --help to see what there is.",
        )
        sys.exit(error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    if code == INTERRUPTED:
        print("neonblue: interrupted; what was committed stays.", file=sys.stderr)
    sys.exit(code if isinstance(code, int) else DONE)
