"""What is known of experiments: the programme's scorecard, one readout, search by meaning, forecasts."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from neonblue_lab.cli.options import Alpha, Home, Json, open_lab
from neonblue_lab.cli.output import answer, print_json, table
from neonblue_lab.errors import BadInput

if TYPE_CHECKING:
    from neonblue_lab.stats.power import Reading


def scorecard(
    metric: Annotated[list[str] | None, typer.Option(help="Restrict to this metric; may be repeated.")] = None,
    alpha: Alpha = 0.05,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """The whole programme: every variant against its control, and the checks of every experiment."""
    card = open_lab(home).experiments.scorecard(metrics=metric, alpha=alpha)
    if as_json:
        print_json(card.to_dict())
    else:
        print(card)


def analyze(
    experiment: Annotated[str, typer.Argument(help="Experiment id.")],
    alpha: Alpha = 0.05,
    details: Annotated[
        bool, typer.Option("--details", help="Also what its days, its segments and the time since exposure say.")
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """One experiment: a verdict, its reasons and the numbers."""
    experiments = open_lab(home).experiments
    readout = experiments.analyze(experiment, alpha=alpha)
    document, text = readout.model_dump(mode="json"), str(readout)
    if details:
        document["findings"] = experiments.details(experiment, alpha=alpha).findings
        # What breaks a split is among the reasons already.
        further = [finding for finding in document["findings"] if finding not in readout.reasons]
        text += "\n\nIn detail:\n" + ("\n".join(f"  - {finding}" for finding in further) or "  Nothing further.")
    answer(document, as_json, text)


def plan(
    metric: Annotated[str, typer.Argument(help="The metric that decides.")],
    lift: Annotated[float, typer.Option(help="Relative change that is to be found: 0.05 is +5 %.")],
    power: Annotated[float, typer.Option(help="Probability of finding it.")] = 0.8,
    alpha: Annotated[float, typer.Option(help="Rate of false alarms that is accepted.")] = 0.05,
    variants: Annotated[int, typer.Option(help="Variants beside the control.")] = 1,
    share: Annotated[float, typer.Option(help="Share of the users who take part.")] = 1.0,
    reading: Annotated[
        str, typer.Option(help="How it is read: fixed (once), always-valid, obrien-fleming or pocock.")
    ] = "fixed",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """How long an experiment has to run to find a lift, from the lake's own past and traffic."""
    planned = open_lab(home).experiments.plan(
        metric,
        lift=lift,
        power=power,
        alpha=alpha,
        variants=variants,
        share=share,
        reading=cast("Reading", reading),
    )
    answer(planned.to_dict(), as_json, str(planned))


def predict(
    config: Annotated[
        Path,
        typer.Argument(
            help="YAML or JSON file of an experiment as it is planned: `variants` (each with name, description, allocation; the "
            "control first), and what is known of name, hypothesis, experiment_type, industry, user_segment, primary_metric, "
            "lift (0.05 is +5 %), power, planned_size, planned_days, share."
        ),
    ],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """How a planned experiment may end: outcome, lifts, size, duration, risks, and what has worked before."""
    prediction = open_lab(home).predict_outcome(_mapping(config))
    answer(prediction.model_dump(mode="json"), as_json, str(prediction))


def _mapping(file: Path) -> dict[str, Any]:
    """What a YAML file says; JSON is YAML."""
    import yaml

    try:
        said = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"{file} cannot be read: {error}.") from error
    if not isinstance(said, dict):
        raise BadInput(f"{file} holds no configuration: it must be a mapping such as `variants: [...]`.")
    return said


def search(
    text: Annotated[str, typer.Argument(help="What to look for, in words.")],
    limit: Annotated[int, typer.Option(min=1, max=100, help="Number of results.")] = 10,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Experiments near a text in meaning (vector) and wording (lexical); the score is 0.6 of the one and 0.4 of the other."""
    hits = open_lab(home).knowledge.index.search(text, limit=limit)
    results = [asdict(hit) for hit in hits]
    rows = [
        [
            f"{h.score:.3f}",
            f"{h.vector:.3f}",
            f"{h.lexical:.3f}",
            h.experiment_id,
            " / ".join(h.document.splitlines())[:90],
        ]
        for h in hits
    ]
    text = table(["score", "vector", "lexical", "experiment", "text"], rows) if rows else "Nothing found."
    answer({"results": results}, as_json, text)


def forecast(
    experiment: Annotated[str, typer.Argument(help="Experiment id, or `programme` for the whole of it.")] = "programme",
    metric: Annotated[str | None, typer.Option(help="Metric; the model's first unless given.")] = None,
    days: Annotated[int, typer.Option(min=1, max=366, help="How far ahead.")] = 14,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Forecast a metric's series with intervals."""
    found = open_lab(home).models.forecast(experiment, metric, days_ahead=days)
    rows = [[f"{r.timestamp:%Y-%m-%d}", f"{r.mean:,.4g}", f"{r.low:,.4g}", f"{r.high:,.4g}"] for r in found.rows]
    text = table(["day", found.metric, "low", "high"], rows) + (f"\n{found.note}" if found.note else "")
    answer(found.model_dump(mode="json"), as_json, text)
