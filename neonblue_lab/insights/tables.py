"""A readout as tables: its comparisons in the columns that charts take, and its numbers one by one, each with its method."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import polars as pl

from neonblue_lab.insights.evidence import EVIDENCE_SCHEMA
from neonblue_lab.insights.readout import Readout
from neonblue_lab.insights.scorecard import ROWS_SCHEMA
from neonblue_lab.metrics.definitions import Metric

_NUMBERS = {**ROWS_SCHEMA, **EVIDENCE_SCHEMA, "always_p_adjusted": pl.Float64()}


def comparisons(said: Readout, experiment: Mapping[str, Any], metrics: Mapping[str, Metric]) -> pl.DataFrame:
    """The rows of a readout, those of the primary metric first and among them the variant to ship.

    Args:
        said: the readout.
        experiment: the row of `experiments` that it is about.
        metrics: definitions by name; a metric without one counts as better when higher.

    Returns:
        The columns of `scorecard.ROWS_SCHEMA` and `evidence.EVIDENCE_SCHEMA` (the two ends of each interval as `_low` and
        `_high`), always_p_adjusted, and of definitions name (the variant's), better, guardrail and margin.
    """
    names = {v["variant_id"]: v["name"] or v["variant_id"] for v in experiment["variants"]}
    rows = []
    for row in said.rows:
        ends = {
            f"{name.removesuffix('_ci')}_{side}": end
            for name, pair in row.items()
            if name.endswith("_ci")
            for side, end in zip(("low", "high"), pair, strict=True)
        }
        metric = metrics.get(row["metric"])
        defined = {
            "name": names[row["variant_id"]],
            "better": metric.better if metric else "higher",
            "guardrail": metric is not None and metric.guardrail,
            "margin": metric.margin if metric else None,
        }
        rows.append(row | ends | defined)
    schema = _NUMBERS | {"name": pl.String(), "better": pl.String(), "guardrail": pl.Boolean(), "margin": pl.Float64()}
    frame = pl.DataFrame(rows, schema=schema)
    primary, shipped = pl.col("metric") == said.primary_metric, pl.col("variant_id").eq_missing(said.variant_id)
    return frame.sort(~primary, ~(primary & shipped), maintain_order=True)


@dataclass(frozen=True)
class Readings:
    """A table to read, shown with its texts in full.

    Attributes:
        frame: reading, a column for each variant, method.
    """

    frame: pl.DataFrame

    def _repr_html_(self) -> str:
        """The method stands small below what was read by it."""
        left, number = "text-align:left", "text-align:left;white-space:nowrap"
        head = "".join(f"<th style='{number}'>{escape(name)}</th>" for name in self.frame.columns[:-1])
        rows = [
            f"<td style='{left};min-width:18em'>{escape(reading)}<br><small style='opacity:.7'>{escape(method)}</small></td>"
            + "".join(f"<td style='{number}'>{escape(text)}</td>" for text in written)
            for reading, *written, method in self.frame.iter_rows()
        ]
        return f"<table><thead><tr>{head}</tr></thead><tbody><tr>{'</tr><tr>'.join(rows)}</tr></tbody></table>"


def readings(compared: pl.DataFrame, methods: Mapping[str, str], *, alpha: float = 0.05) -> Readings:
    """What can be read off the comparisons on one metric, and by which method; readings that no variant has are left out.

    Args:
        compared: rows of `comparisons` on one metric; of none, nothing is read.
        methods: as of the readout.
        alpha: 1 - coverage of the intervals; for the words.
    """
    rows = compared.to_dicts()
    test = "; ".join(methods[kind] for kind in compared["kind"].unique())
    coverage = f"{1 - alpha:.0%} interval"
    wanted: list[tuple[str, Callable[[Mapping[str, Any]], str | None], str]] = [
        (f"Lift, read once ({coverage})", _interval("lift", "+.1%"), methods["lift"]),
        ("p-value, read once", _number("p_adjusted", ".2g"), f"{test}; {methods['p_adjusted']}"),
        (f"Lift, read any day ({coverage})", _interval("always", "+.1%", point="lift"), methods["always_valid"]),
        (
            "p-value, read any day",
            _number("always_p_adjusted", ".2g"),
            f"{methods['always_p_value']}; {methods['always_p_adjusted']}",
        ),
        (f"Difference with CUPED ({coverage})", _interval("cuped", "+.4g", point="cuped_difference"), methods["cuped"]),
        ("Variance that CUPED removes", _share("cuped_gain"), methods["cuped"]),
        ("Chance to beat the control", _share("chance_to_beat"), methods["chance_to_beat"]),
        ("Expected loss if shipped", _number("expected_loss", ".3g"), methods["expected_loss"]),
        (f"Lift to expect ({coverage})", _interval("shrunk", "+.1%", point="shrunk_lift"), methods["shrunk_lift"]),
        ("Chance that its sign is wrong", _share("false_sign_rate"), methods["false_sign_rate"]),
        ("Lift that would be found", _number("detectable_lift", ".1%"), methods["detectable_lift"]),
    ]
    alike = compared["name"].is_duplicated().any()
    columns = compared["variant_id" if alike else "name"].to_list()
    found = []
    for reading, write, method in wanted:
        written = [write(row) for row in rows]
        if any(text is not None for text in written):
            found.append([reading, *(text or "not known" for text in written), method])
    return Readings(pl.DataFrame(found, schema=["reading", *columns, "method"], orient="row"))


def _number(column: str, form: str) -> Callable[[Mapping[str, Any]], str | None]:
    return lambda row: None if row[column] is None else format(row[column], form)


def _share(column: str) -> Callable[[Mapping[str, Any]], str | None]:
    """A share; one so near to 0 or 1 that it would be rounded to it says so."""

    def write(row: Mapping[str, Any]) -> str | None:
        share = row[column]
        if share is None:
            return None
        return "< 0.1%" if share < 0.001 else "> 99.9%" if share > 0.999 else f"{share:.1%}"

    return write


def _interval(stem: str, form: str, point: str | None = None) -> Callable[[Mapping[str, Any]], str | None]:
    def write(row: Mapping[str, Any]) -> str | None:
        value, low, high = row[point or stem], row[f"{stem}_low"], row[f"{stem}_high"]
        if value is None or low is None or high is None:
            return None
        return f"{value:{form}} ({low:{form}} to {high:{form}})"

    return write
