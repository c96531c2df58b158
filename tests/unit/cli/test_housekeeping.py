"""A follower merges the small files that it makes, now and then."""

from pathlib import Path

import polars as pl

from neonblue_lab.cli.housekeeping import EVERY_SECONDS, MIN_FILES, Housekeeping
from neonblue_lab.lake.lake import Lake
from neonblue_lab.lake.tables import DERIVED


def test_small_files_are_merged_when_it_is_time_and_there_are_enough(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    letter = pl.DataFrame(
        [dict.fromkeys(DERIVED["dead_letters"].schema) | {"topic": "a"}], schema=DERIVED["dead_letters"].schema
    )
    now = [0.0]
    keep_house = Housekeeping(lake, clock=lambda: now[0])
    for _ in range(MIN_FILES):
        lake.commit(lake.ensure("dead_letters"), letter)
    assert keep_house() is None

    now[0] = EVERY_SECONDS
    merged = keep_house()

    assert merged is not None
    assert [(table.table, table.merged) for table in merged.tables] == [("dead_letters", MIN_FILES)]
    assert lake.read("dead_letters").height == MIN_FILES

    lake.commit(lake.ensure("dead_letters"), letter)
    now[0] = 2 * EVERY_SECONDS
    assert keep_house() is None
