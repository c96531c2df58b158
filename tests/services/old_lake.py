"""A lake that was filled at once, rewritten as a follower of a slow topic would have left it: one commit for each record."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import DeltaTable

NAME = "{:020d}.json"
AFTER_CHECKPOINT = 50
"""Commits since the last checkpoint: half of what lies between two."""


def split_commits(table: Path, topic: str, records: Sequence[tuple[int, int]]) -> None:
    """Write a table anew, as version 0 and one version for each record in the order given.

    A version has the row that came from its record, if one did, and moves the mark of its partition. Not compacted: every
    row has a file of its own, which is the most that a follower can leave behind.

    Args:
        table: a table of the lake, which no one reads or writes meanwhile; its version 0 created it, empty.
        records: (partition, offset) of the topic's records, as they arrived.
    """
    opened = DeltaTable(table)
    partition_by = opened.metadata().partition_columns
    rows = pl.read_delta(str(table)).partition_by("partition", "offset", as_dict=True)
    log = table / "_delta_log"
    first = (log / NAME.format(0)).read_bytes()
    shutil.rmtree(table)
    log.mkdir(parents=True)
    (log / NAME.format(0)).write_bytes(first)
    for version, (partition, offset) in enumerate(records, start=1):
        actions: list[dict[str, Any]] = [{"txn": {"appId": f"{topic}/{partition}", "version": offset + 1}}]
        if (row := rows.get((partition, offset))) is not None:
            actions.append({"add": _write_row(table, row, partition_by, version)})
        actions.append({"commitInfo": {"timestamp": version, "operation": "WRITE", "operationParameters": {}}})
        (log / NAME.format(version)).write_text("\n".join(map(json.dumps, actions)))
        if version == len(records) - AFTER_CHECKPOINT:
            DeltaTable(table).create_checkpoint()


def _write_row(table: Path, row: pl.DataFrame, partition_by: Sequence[str], version: int) -> Mapping[str, Any]:
    values = {column: str(row[column].item()) for column in partition_by}
    folder = table.joinpath(*(f"{column}={value}" for column, value in values.items()))
    folder.mkdir(exist_ok=True)
    file = folder / f"part-{version:020d}.parquet"
    row.drop(partition_by).write_parquet(file, compression="uncompressed", statistics=False)
    bounds = row.select("partition", "offset").row(0, named=True)
    statistics = {"numRecords": 1, "minValues": bounds, "maxValues": bounds, "nullCount": dict.fromkeys(bounds, 0)}
    return {
        "path": file.relative_to(table).as_posix(),
        "partitionValues": values,
        "size": file.stat().st_size,
        "modificationTime": version,
        "dataChange": True,
        "stats": json.dumps(statistics),
    }
