"""How lifts are scaled, coloured, written and laid out in rows: the same in every chart of a readout."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt
import polars as pl

from neonblue_lab.errors import BadInput
from neonblue_lab.plots.theme import BLUE, CONTEXT, GRID, INK, MUTED, VERMILLION

BETTER, WORSE, UNCLEAR = "better", "worse", "not clear"
COLOURS = {BETTER: BLUE, WORSE: VERMILLION, UNCLEAR: CONTEXT}

_HEADING = 30.0
_LONGEST = 40
_FAR = 4.0  # Times the extent of an ordinary row: what lies beyond is cut off, so that it does not flatten the others.
_PADDING = 0.04


def percentage(coverage: float) -> str:
    """95%, 99.9%."""
    return f"{100 * coverage:.4g}%"


def written(lift: float | None, low: float | None, high: float | None) -> str:
    """+3.1% (+0.4% to +5.8%), to as many digits as the interval gives sense to."""
    if lift is None:
        return "cannot be computed"
    if low is None or high is None:
        return _signed(lift, max(abs(lift), 1e-4))
    half = (high - low) / 2
    return f"{_signed(lift, half)} ({_signed(low, half)} to {_signed(high, half)})"


def _signed(value: float, scale: float) -> str:
    digits = min(4, max(0, 1 - math.floor(math.log10(100 * scale)))) if scale > 0 else 1
    text = f"{value:+,.{digits}%}".replace("-", "−")
    return text if text.strip("+−0.%") else text[1:]


def verdict(low: str, high: str, better: str) -> pl.Expr:
    """Whether the interval of the columns `low` and `high` leaves zero out, and on which side; the column `better` holds
    "higher" or "lower"."""
    up = pl.col(better) == "higher"
    return (
        pl.when(pl.when(up).then(pl.col(low) > 0).otherwise(pl.col(high) < 0))
        .then(pl.lit(BETTER))
        .when(pl.when(up).then(pl.col(high) < 0).otherwise(pl.col(low) > 0))
        .then(pl.lit(WORSE))
        .otherwise(pl.lit(UNCLEAR))
    )


def directions(rows: pl.DataFrame, chart: str) -> pl.DataFrame:
    """`rows` with "higher" where the column `better` says nothing.

    Raises:
        BadInput: it says anything but "higher" or "lower".
    """
    rows = rows.with_columns(pl.col("better").fill_null("higher"))
    other = rows.filter(~pl.col("better").is_in(["higher", "lower"]))
    if other.height:
        raise BadInput(f"{chart} needs higher or lower in the column better; it holds {other['better'][0]!r}.")
    return rows


def colour(column: str, verdicts: Sequence[str]) -> alt.Color:
    """Colours of verdicts, with a legend of those that occur."""
    shown = [verdict for verdict in COLOURS if verdict in verdicts]
    return alt.Color(f"{column}:N", scale=alt.Scale(domain=shown, range=[COLOURS[verdict] for verdict in shown]))


@dataclass(frozen=True)
class LiftScale:
    """The span of lifts that a chart shows: zero, and all but what lies far beyond the others."""

    least: float
    most: float

    @classmethod
    def of(cls, rows: pl.DataFrame, columns: Sequence[str], *, far: float = _FAR) -> "LiftScale":
        """The scale on which `columns` of `rows` can be read together: at most `far` times as wide as half of the rows
        need."""
        values = pl.concat([rows[column] for column in columns]).drop_nulls()
        extents = rows.select(pl.max_horizontal(pl.col(*columns).abs())).to_series().drop_nulls().sort()
        positive = extents.filter(extents > 0)
        limit = far * positive[(len(positive) - 1) // 2] if len(positive) else 0.01
        least, most = min(0.0, *values), max(0.0, *values)
        if max(-least, most) > 1.25 * limit:
            least, most = max(least, -limit), min(most, limit)
        if least == most:
            least, most = -0.01, 0.01
        room = _PADDING * (most - least)
        return cls(least - room, most + room)

    def clipped(self, rows: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
        """`rows` with `columns` inside the scale."""
        return rows.with_columns(pl.col(*columns).clip(self.least, self.most))

    @property
    def scale(self) -> alt.Scale:
        return alt.Scale(domain=[self.least, self.most], nice=False, zero=False)

    def axis(self, *, ticks: int = 6) -> alt.Axis:
        """−5%, 0%, +5%."""
        digits = max(1, math.ceil(-math.log10(self.most - self.least)) - 1)
        label = f"abs(datum.value) < 1e-12 ? '0%' : format(datum.value, '+,.{digits}~%')"
        return alt.Axis(tickCount=ticks, labelExpr=label)

    def within(self, rows: pl.DataFrame, column: str) -> pl.DataFrame:
        """The rows whose `column` lies inside."""
        return rows.filter(pl.col(column).is_between(self.least, self.most))

    def cuts(self, rows: pl.DataFrame, columns: Sequence[str]) -> bool:
        """Whether any of `columns` lies outside."""
        return bool(rows.select(pl.any_horizontal(~pl.col(*columns).is_between(self.least, self.most)).any()).item())

    def x(self, column: str, title: str) -> alt.X:
        """`column` across."""
        return alt.X(f"{column}:Q", title=title, scale=self.scale, axis=self.axis())

    def y(self, column: str, title: str | None) -> alt.Y:
        """`column` upwards."""
        return alt.Y(f"{column}:Q", title=title, scale=self.scale, axis=self.axis())

    def arrows(
        self, rows: pl.DataFrame, low: str, high: str, hue: alt.Color | alt.ColorValue, *, offset: float = 0
    ) -> list[alt.Chart]:
        """Heads at the edges where the interval of a row goes on; `rows` has its place in the column `at`."""
        beyond = {
            -90: (rows.filter(pl.col(low) < self.least), self.least),
            90: (rows.filter(pl.col(high) > self.most), self.most),
        }
        return [
            alt.Chart(cut.with_columns(edge=pl.lit(edge)))
            .mark_point(shape="triangle", angle=angle % 360, size=110, yOffset=offset)
            .encode(x=self.x("edge", ""), y=AT, color=hue)
            for angle, (cut, edge) in beyond.items()
            if cut.height
        ]

    def zero(self) -> alt.Chart:
        """The line of no effect, drawn across the rows."""
        line: alt.Chart = alt.Chart(pl.DataFrame({"none": [0.0]})).mark_rule(color=INK, strokeWidth=1)
        return line.encode(x=self.x("none", ""))


AT = alt.Y("at:Q", scale=None, axis=None, title=None)
"""The place of a row: pixels from the top."""


@dataclass(frozen=True)
class Rows:
    """Rows under headings.

    Attributes:
        frame: the rows, with their places `at`.
        headings: columns heading, note, at, top.
        height: of all, in pixels.
    """

    frame: pl.DataFrame
    headings: pl.DataFrame
    height: float

    @classmethod
    def under_headings(cls, rows: pl.DataFrame, *, step: float) -> "Rows":
        """Rows of one `heading` (columns heading, note: null for no heading) below each other, in order of appearance."""
        places, headings, y = [], [], 0.0
        for (heading, note), part in rows.group_by("heading", "note", maintain_order=True):
            if heading is not None:
                headings.append({"heading": heading, "note": note, "at": y + _HEADING * 0.55, "top": y})
                y += _HEADING
            places.append(part.with_columns(at=y + step * (pl.int_range(pl.len()) + 0.5)))
            y += step * part.height + (6 if heading is not None else 0)
        schema = {"heading": pl.String, "note": pl.String, "at": pl.Float64, "top": pl.Float64}
        return cls(pl.concat(places), pl.DataFrame(headings, schema=schema), y)

    def labels(self, label: str, aside: str) -> list[alt.Chart]:
        """Texts of the column `label` left of the rows; those of `aside` smaller below them."""
        second = pl.col(aside).str.len_chars() > 0
        one, two = alt.Chart(self.frame.filter(~second)), alt.Chart(self.frame.filter(second))
        marks = [
            one.mark_text(align="right", dx=-12).encode(text=f"{label}:N"),
            two.mark_text(align="right", dx=-12, dy=-7).encode(text=f"{label}:N"),
            two.mark_text(align="right", dx=-12, dy=8, color=MUTED, fontSize=11).encode(text=f"{aside}:N"),
        ]
        return [mark.encode(x=alt.value(0), y=AT) for mark in marks]

    def numbers(self, column: str, width: float) -> alt.Chart:
        """Texts of `column` right of the rows."""
        mark: alt.Chart = alt.Chart(self.frame).mark_text(align="left", dx=14, color=MUTED, fontSize=11)
        return mark.encode(x=alt.value(width), y=AT, text=f"{column}:N")

    def separators(self, width: float) -> alt.Chart:
        """Lines between the rows of one heading and those of the next."""
        later: alt.Chart = alt.Chart(self.headings.filter(pl.col("top") > 0)).mark_rule(color=GRID, strokeWidth=1.5)
        return later.encode(y=alt.Y("top:Q", scale=None, axis=None), x=alt.value(0), x2=alt.value(width))

    def heads(self, width: float) -> list[alt.Chart]:
        """The headings, and right of the rows their notes."""
        base = alt.Chart(self.headings).encode(y=AT)
        at = base.encode(x=alt.value(4), text="heading:N")
        return [
            at.mark_text(align="left", fontWeight="bold", limit=width, stroke="white", strokeWidth=4),
            at.mark_text(align="left", fontWeight="bold", limit=width),
            base.mark_text(align="left", dx=14, color=MUTED, fontSize=11).encode(x=alt.value(width), text="note:N"),
        ]


def shortened(text: pl.Expr) -> pl.Expr:
    """Texts that fit beside a chart, long ones cut off."""
    return pl.when(text.str.len_chars() > _LONGEST).then(text.str.head(_LONGEST - 1) + "…").otherwise(text)
