"""Reading a downloaded table and saying what is wrong with it."""

from collections.abc import Collection, Mapping
from pathlib import Path

import polars as pl

from neonblue_lab.errors import BadInput


def read_table(
    file: Path,
    columns: Mapping[str, pl.DataType],
    *,
    nullable: Collection[str] = (),
    aliases: Mapping[str, str] | None = None,
) -> pl.DataFrame:
    """Read `columns` of a Parquet or CSV file (separated by commas or semicolons) with the given types.

    Args:
        nullable: columns that may have empty cells.
        aliases: other names under which the source publishes a column, to the name in `columns`.

    Raises:
        BadInput: the file is neither, a column is missing, or a cell does not convert.
    """
    frame = _read(file)
    frame = frame.rename({old: new for old, new in (aliases or {}).items() if old in frame.columns})
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise BadInput(
            f"{file} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; "
            f"it has {', '.join(frame.columns)}. Is it the right file?"
        )
    try:
        frame = frame.select(_converted(frame, name, kind) for name, kind in columns.items())
    except pl.exceptions.PolarsError as error:
        reason = str(error).partition("\n")[0]
        raise BadInput(f"{file}: a column has values of another type than expected: {reason}.") from error
    for name in columns:
        if name not in nullable and frame[name].null_count():
            row = frame[name].is_null().arg_true()[0]
            raise BadInput(f"{file}: column {name} is empty in row {row + 1}, but every row needs it.")
    if frame.is_empty():
        raise BadInput(f"{file} has no rows.")
    return frame


def _read(file: Path) -> pl.DataFrame:
    if not file.is_file():
        raise BadInput(f"{file} is {'a folder' if file.is_dir() else 'not there'}: name the data set's file.")
    try:
        with file.open("rb") as opened:
            head = opened.read(4096)
        if head.startswith(b"PAR1"):
            return pl.read_parquet(file)
        first = head.partition(b"\n")[0]
        separator = ";" if first.count(b";") > first.count(b",") else ","
        return pl.read_csv(file, separator=separator, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).partition("\n")[0]
        raise BadInput(f"{file} can be read neither as Parquet nor as CSV: {reason}.") from error


def _converted(frame: pl.DataFrame, name: str, kind: pl.DataType) -> pl.Expr:
    if isinstance(kind, pl.Datetime) and frame.schema[name] == pl.String:
        return pl.col(name).str.to_datetime(time_unit="us")
    return pl.col(name).cast(kind)
