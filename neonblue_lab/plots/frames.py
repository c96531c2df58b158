"""What a chart function asks of the frame that it is given."""

from collections.abc import Mapping, Sequence
from typing import Literal

import polars as pl

from neonblue_lab.errors import BadInput

Kind = Literal["number", "text", "time"]
_TYPES: Mapping[Kind, pl.DataType] = {
    "number": pl.Float64(),
    "text": pl.String(),
    "time": pl.Datetime("us", "UTC"),
}


def take(
    frame: pl.DataFrame, chart: str, columns: Mapping[str, Kind], *, optional: Mapping[str, Kind] | None = None
) -> pl.DataFrame:
    """The named columns of `frame` as Float64, String or UTC time; optional ones that it lacks are null.

    Numbers that are not finite become null. Times without a zone are taken as UTC.

    Raises:
        BadInput: `frame` lacks a column, has one of another kind, or has no rows.
    """
    optional = optional or {}
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise BadInput(
            f"{chart} needs the columns {', '.join(columns)}: {', '.join(missing)} is missing. "
            f"The frame has {', '.join(frame.columns) or 'none'}."
        )
    if frame.is_empty():
        raise BadInput(f"{chart} has nothing to show: the frame has no rows.")
    return frame.select(_converted(frame, chart, column, kind) for column, kind in {**columns, **optional}.items())


def drop_incomplete(frame: pl.DataFrame, chart: str, columns: Sequence[str]) -> pl.DataFrame:
    """The rows that have a value in each of `columns`.

    Raises:
        BadInput: there are none.
    """
    complete = frame.drop_nulls(columns)
    if complete.is_empty():
        raise BadInput(f"{chart} has nothing to show: no row has a value in each of {', '.join(columns)}.")
    return complete


def _converted(frame: pl.DataFrame, chart: str, column: str, kind: Kind) -> pl.Expr:
    target = _TYPES[kind]
    if column not in frame.columns:
        return pl.lit(None, target).alias(column)
    dtype = frame.schema[column]
    expression = pl.col(column)
    if dtype == pl.Null:
        return expression.cast(target)
    if kind == "number" and dtype.is_numeric():
        number = expression.cast(target)
        return pl.when(number.is_finite()).then(number).alias(column)
    if kind == "text" and (dtype in (pl.String, pl.Categorical, pl.Enum, pl.Boolean) or dtype.is_integer()):
        return expression.cast(target)
    if kind == "time" and dtype == pl.Date:
        return expression.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if kind == "time" and isinstance(dtype, pl.Datetime):
        zoned = expression.dt.replace_time_zone("UTC") if dtype.time_zone is None else expression
        return zoned.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    raise BadInput(f"{chart} needs a {kind} in the column {column}; it holds {dtype}.")
