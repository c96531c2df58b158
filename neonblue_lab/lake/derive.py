"""Events to rows of the derived tables: what a batch of events says about experiments, assignments and metric totals."""

from datetime import UTC, datetime

import duckdb
import orjson
import polars as pl

from neonblue_lab.events.records import RecordBatch
from neonblue_lab.events.schema import EXPERIMENT_LIFECYCLE, EXPOSURE, METRIC_TOTAL
from neonblue_lab.lake.tables import DERIVED

_TEXTS = ("name", "hypothesis", "experiment_type", "industry", "user_segment", "status", "primary_metric")
_TIMES = ("started_at", "ended_at", "created_at")
_DEFINITION = orjson.dumps(
    dict.fromkeys((*_TEXTS, *_TIMES), "VARCHAR")
    | {
        "variants": [
            {"variant_id": "VARCHAR", "name": "VARCHAR", "description": "VARCHAR", "allocation": "DOUBLE"},
        ],
        "derived": ["VARCHAR"],
    }
).decode()
_TOTAL = orjson.dumps(
    dict.fromkeys(("metric", "kind", "segment", "period_start", "period_end", "source"), "VARCHAR")
    | {"n": "BIGINT", "mean": "DOUBLE", "variance": "DOUBLE"}
).decode()


def _as_table(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(pl.col(column).cast(dtype) for column, dtype in DERIVED[name].schema.items())


def _properties(events: pl.DataFrame, structure: str) -> pl.DataFrame:
    """The events with their properties as columns. Type mismatches are null: validation has judged what matters."""
    with duckdb.connect(config={"enable_external_access": "false"}) as connection:
        connection.register("events", events.to_arrow())
        connection.execute("SET TimeZone = 'UTC'")
        sql = f"SELECT * EXCLUDE (properties, p), unnest(p) FROM (SELECT *, json_transform(properties, '{structure}') AS p FROM events)"
        return pl.DataFrame(connection.sql(sql).to_arrow_table())


def _as_times(names: tuple[str, ...]) -> list[pl.Expr]:
    return [pl.col(name).str.to_datetime(time_unit="us", time_zone="UTC", strict=True) for name in names]


def event_rows(events: pl.DataFrame) -> pl.DataFrame:
    """Rows for `events`: one for each event id of the batch, the first record of each."""
    first = events.unique(subset="event_id", keep="first", maintain_order=True)
    return _as_table("events", first.with_columns(event_date=pl.col("timestamp").dt.date()))


def assignment_rows(events: pl.DataFrame) -> pl.DataFrame:
    """Rows for `assignments`: the first exposure of each user to each variant within the batch."""
    exposures = events.filter(pl.col("event_type") == EXPOSURE)
    keys = ["experiment_id", "user_id", "variant_id"]
    firsts = exposures.group_by(keys, maintain_order=True).agg(first_exposed_at=pl.col("timestamp").min())
    return _as_table("assignments", firsts)


def metric_total_rows(events: pl.DataFrame) -> pl.DataFrame:
    """Rows for `metric_totals`: the aggregates that a topic already carries. A total without a kind is a mean."""
    totals = events.filter(pl.col("event_type") == METRIC_TOTAL)
    if totals.is_empty():
        return pl.DataFrame(schema=DERIVED["metric_totals"].schema)
    columns = _properties(totals, _TOTAL).with_columns(
        pl.col("kind").fill_null("mean"), *_as_times(("period_start", "period_end")), as_of=pl.col("timestamp")
    )
    return _as_table("metric_totals", columns)


def lifecycle_events(events: pl.DataFrame) -> pl.DataFrame:
    """The events that define or change an experiment."""
    return events.filter(pl.col("event_type").is_in(EXPERIMENT_LIFECYCLE))


def experiment_rows(current: pl.DataFrame, lifecycle: pl.DataFrame) -> pl.DataFrame:
    """The whole of `experiments` after some lifecycle events: each field as the latest event that carries it says.

    Args:
        current: the table's rows so far.
        lifecycle: at least one event.
    """
    stated = _properties(lifecycle, _DEFINITION).with_columns(*_as_times(_TIMES), updated_at=pl.col("timestamp"))
    states = pl.concat([current, _as_table("experiments", stated)]).sort("updated_at", maintain_order=True)
    fields = [name for name in DERIVED["experiments"].schema if name != "experiment_id"]
    latest = states.group_by("experiment_id").agg(pl.col(name).drop_nulls().last() for name in fields)
    return _as_table("experiments", latest.sort("experiment_id"))


def dead_letter_rows(batch: RecordBatch, rejects: pl.DataFrame) -> pl.DataFrame:
    """Rows for `dead_letters`: the records that were rejected, byte for byte, with the reason and the time of rejection."""
    letters = batch.frame.join(rejects, on=["partition", "offset"], how="inner", maintain_order="left")
    return _as_table("dead_letters", letters.with_columns(failed_at=pl.lit(datetime.now(UTC))))
