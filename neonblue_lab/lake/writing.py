"""Rows to Parquet files of a Delta table, on the disk before the commit that names them."""

import time
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from uuid import uuid4

import orjson
import polars as pl
from deltalake.transaction import AddAction

from neonblue_lab.files import sync

ROW_GROUP = 100_000
_BOUNDED = (pl.Int32, pl.Int64, pl.Datetime, pl.Date)


def write_files(folder: Path, frame: pl.DataFrame, partition_by: str | None) -> list[AddAction]:
    """Write rows as one Parquet file for each value of the column `partition_by`, flushed to the disk.

    Nothing refers to the files until the actions are committed: what a crash leaves behind is an orphan that nobody reads.

    Returns:
        One action for each file, with the number of its rows and the bounds of its integer and time columns, by which
        readers pass over files.
    """
    return [write_file(folder, rows, values) for values, rows in _parts(frame, partition_by)]


def _parts(frame: pl.DataFrame, partition_by: str | None) -> Iterator[tuple[dict[str, str | None], pl.DataFrame]]:
    if frame.is_empty():
        return
    if partition_by is None:
        yield {}, frame
        return
    parts = frame.partition_by(partition_by, include_key=False, maintain_order=True, as_dict=True)
    for (value,), rows in parts.items():
        yield {partition_by: None if value is None else str(value)}, rows


def write_file(folder: Path, rows: pl.DataFrame | pl.LazyFrame, values: Mapping[str, str | None]) -> AddAction:
    """Write rows as one Parquet file of the table in `folder`, flushed to the disk; a lazy frame goes through in parts.

    Args:
        folder: the table's.
        rows: in the table's columns without the one that it is partitioned by.
        values: partition column -> its value as text.
    """
    within = "/".join(
        f"{name}={'__HIVE_DEFAULT_PARTITION__' if value is None else value}" for name, value in values.items()
    )
    place = folder / within
    is_new = not place.exists()
    place.mkdir(parents=True, exist_ok=True)
    file = place / f"part-{uuid4()}.zstd.parquet"
    try:
        rows.lazy().sink_parquet(
            file, compression="zstd", compression_level=1, row_group_size=ROW_GROUP, statistics=_bounds_within(rows)
        )
        sync(file)
        sync(place)
        if is_new:
            sync(folder)
        written = rows.lazy() if isinstance(rows, pl.DataFrame) else pl.scan_parquet(file, glob=False)
        statistics = orjson.dumps(_statistics(written)).decode()
    except BaseException:
        file.unlink(missing_ok=True)  # on a full disk, each attempt would leave the next one less room
        raise
    return AddAction(
        file.relative_to(folder).as_posix(),
        file.stat().st_size,
        dict(values),
        time.time_ns() // 1_000_000,
        True,
        statistics,
    )


def _bounds_within(rows: pl.DataFrame | pl.LazyFrame) -> dict[str, bool]:
    """What a file says of each of its row groups; of a single one, the action says the bounds by which it is passed over."""
    several = isinstance(rows, pl.LazyFrame) or rows.height > ROW_GROUP
    return {"min": several, "max": several, "distinct_count": False, "null_count": True}


def _statistics(rows: pl.LazyFrame) -> dict[str, object]:
    """File statistics in the form of Delta's protocol (Per-file Statistics)."""
    names = [name for name, kind in rows.collect_schema().items() if kind in _BOUNDED]
    measures = {
        "minValues": pl.col(names).min(),
        "maxValues": pl.col(names).max(),
        "nullCount": pl.col(names).null_count(),
    }
    found = rows.select(
        pl.len(), *(measure.name.prefix(f"{kind}.") for kind, measure in measures.items() if names)
    ).collect(engine="streaming")
    values = found.row(0, named=True)
    bounds = {kind: {name: _bound(values[f"{kind}.{name}"]) for name in names} for kind in measures}
    return {"numRecords": values["len"]} | {
        kind: {name: value for name, value in of.items() if value is not None} for kind, of in bounds.items()
    }


def _bound(value: object) -> object:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return value.isoformat() if isinstance(value, date) else value
