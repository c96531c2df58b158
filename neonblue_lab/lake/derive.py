"""Events and changes to rows of the derived tables: what they say about experiments, assignments and metric totals."""

from datetime import UTC, datetime

import duckdb
import orjson
import polars as pl

from neonblue_lab.events.enrichment import Enricher
from neonblue_lab.events.records import RecordBatch
from neonblue_lab.events.schema import EXPERIMENT_LIFECYCLE, EXPOSURE, METRIC_TOTAL
from neonblue_lab.lake.history import current, moment, text, versions
from neonblue_lab.lake.tables import DERIVED, VARIANTS

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
_PERIOD = ("period_start", "period_end")
_TOTAL = orjson.dumps(
    dict.fromkeys(("metric", "kind", "segment", *_PERIOD, "source"), "VARCHAR")
    | dict.fromkeys(("n", "mean", "variance"), "DOUBLE")
).decode()


def _as_table(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(pl.col(column).cast(dtype) for column, dtype in DERIVED[name].schema.items())


_REGISTERED = f"""
    SELECT {text("experiment_id")} AS experiment_id, {", ".join(f"{text(name)} AS {name}" for name in _TEXTS)},
        {", ".join(f"{moment(name)} AS {name}" for name in _TIMES)},
        json_keys(row) AS stated, committed_at AS changed_at
    FROM {current("changes", "experiments")}
    QUALIFY row_number() OVER (PARTITION BY {text("experiment_id")} ORDER BY position DESC, key) = 1"""
_REGISTERED_VARIANTS = f"""
    SELECT experiment_id, list({{
            'variant_id': {text("variant_id")}, 'name': {text("name")}, 'description': {text("description")},
            'allocation': try_cast({text("allocation")} AS DOUBLE)
        }} ORDER BY try_cast({text("position")} AS DOUBLE), {text("variant_id")}) FILTER (WHERE position_end IS NULL) AS variants,
        true AS varied, max(coalesce(ended_at, committed_at)) AS varied_at
    FROM (SELECT *, {text("experiment_id")} AS experiment_id FROM {versions("changes", "variants")})
    GROUP BY experiment_id"""
_EVER_REGISTERED = (
    f"""SELECT DISTINCT {text("experiment_id")} AS experiment_id FROM {versions("changes", "experiments")}"""
)


def _query(sql: str, **relations: pl.DataFrame) -> pl.DataFrame:
    """The result of a query over frames by their names."""
    with duckdb.connect(config={"enable_external_access": "false"}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, frame in relations.items():
            connection.register(name, frame.to_arrow())
        return pl.DataFrame(connection.sql(sql).to_arrow_table())


def with_properties(events: pl.DataFrame, structure: str, times: tuple[str, ...] = ()) -> pl.DataFrame:
    """The events with their properties as columns, `times` read by the engine that validated them.

    Type mismatches are null: validation has judged what matters.
    """
    as_times = ", ".join(f"try_cast({name} AS TIMESTAMPTZ) AS {name}" for name in times)
    sql = f"""SELECT * EXCLUDE (properties) {f"REPLACE ({as_times})" if times else ""}
        FROM (SELECT * EXCLUDE (p), unnest(p) FROM (SELECT *, json_transform(properties, '{structure}') AS p FROM events))"""
    return _query(sql, events=events)


def event_rows(events: pl.DataFrame, arrivals: pl.DataFrame, enricher: Enricher) -> pl.DataFrame:
    """Rows for `events`: one for each event id of the batch, the first record of each, and what they mean.

    Args:
        events: columns of EVENT_SCHEMA.
        arrivals: columns of ARRIVAL_SCHEMA, a row for each of `events`.
        enricher: who says what they mean.
    """
    first = events.hstack(arrivals).unique(subset="event_id", keep="first", maintain_order=True)
    rows = first.with_columns(event_date=pl.col("timestamp").dt.date())
    return _as_table("events", rows.hstack(enricher.enrich(first)))


def assignment_rows(events: pl.DataFrame) -> pl.DataFrame:
    """Rows for `assignments`: the first exposure of each user to each variant within the batch."""
    exposures = events.filter(pl.col("event_type") == EXPOSURE)
    keys = ["experiment_id", "user_id", "variant_id"]
    firsts = exposures.group_by(keys, maintain_order=True).agg(first_exposed_at=pl.col("timestamp").min())
    return _as_table("assignments", firsts)


def lifecycle_rows(events: pl.DataFrame) -> pl.DataFrame:
    """Rows for `lifecycle`: the events that define or change an experiment."""
    return _as_table("lifecycle", events.filter(pl.col("event_type").is_in(EXPERIMENT_LIFECYCLE)))


def metric_total_rows(events: pl.DataFrame) -> pl.DataFrame:
    """Rows for `metric_totals`: the aggregates that a topic already carries. A total without a kind is a mean."""
    totals = events.filter(pl.col("event_type") == METRIC_TOTAL)
    if totals.is_empty():
        return pl.DataFrame(schema=DERIVED["metric_totals"].schema)
    columns = with_properties(totals, _TOTAL, _PERIOD).with_columns(
        pl.col("kind").fill_null("mean"), as_of=pl.col("timestamp")
    )
    return _as_table("metric_totals", columns)


def experiment_rows(lifecycle: pl.DataFrame, changes: pl.DataFrame) -> pl.DataFrame:
    """The whole of `experiments`: each field as the registry holds it, else as the latest event that carries it says.

    The registry is what `changes` of its tables make it. A column that its row has wins over events, null or not; so do its
    variants once it had one of that experiment. What is gone from it is gone, whatever events there were.

    Args:
        lifecycle: every event that defines or changes an experiment. Repeated event ids count once; of events at the same
            time the one with the higher offset is the later.
        changes: every change to the tables `experiments` and `variants`.
    """
    arrival = ["topic", "partition", "offset"]
    once = lifecycle.sort(arrival).unique(subset="event_id", keep="first", maintain_order=True)
    stated = with_properties(once, _DEFINITION, _TIMES).sort("timestamp", *arrival).with_columns(updated_at="timestamp")
    fields = [name for name in DERIVED["experiments"].schema if name != "experiment_id"]
    latest = stated.group_by("experiment_id").agg(pl.col(name).drop_nulls().last() for name in fields)
    if not changes.is_empty():
        latest = _as_registered(latest, changes)
    return _as_table("experiments", latest.sort("experiment_id"))


def _as_registered(told: pl.DataFrame, changes: pl.DataFrame) -> pl.DataFrame:
    """Experiments as events tell of them, put right by the registry."""
    rows = _query(_REGISTERED, changes=changes)
    variants = _query(_REGISTERED_VARIANTS, changes=changes)
    gone = _query(_EVER_REGISTERED, changes=changes).join(rows, on="experiment_id", how="anti")
    joined = told.join(rows, on="experiment_id", how="full", coalesce=True, suffix="_registered")
    joined = joined.join(variants, on="experiment_id", how="full", coalesce=True, suffix="_registered")
    fields = {
        name: pl.when(pl.col("stated").list.contains(pl.lit(name))).then(f"{name}_registered").otherwise(name)
        for name in (*_TEXTS, *_TIMES)
    }
    return joined.join(gone, on="experiment_id", how="anti").with_columns(
        **fields,
        variants=pl.when("varied")
        .then(pl.col("variants_registered").cast(VARIANTS).fill_null([]))
        .otherwise("variants"),
        updated_at=pl.max_horizontal("updated_at", "changed_at", "varied_at"),
    )


def dead_letter_rows(batch: RecordBatch, rejects: pl.DataFrame) -> pl.DataFrame:
    """Rows for `dead_letters`: the records that were rejected, byte for byte, with the reason and the time of rejection."""
    letters = batch.frame.join(rejects, on=["partition", "offset"], how="inner", maintain_order="left")
    return _as_table("dead_letters", letters.with_columns(failed_at=pl.lit(datetime.now(UTC))))
