"""Every kind of metric on DuckDB and on ClickHouse's engine, against the definition applied user by user in plain Python."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any, NoReturn

import numpy as np
import polars as pl
import pytest
from scipy.stats import binom, norm

from neonblue_lab.lake.lake import Lake
from neonblue_lab.lake.tables import DERIVED
from neonblue_lab.metrics.definitions import Measure, Metric
from neonblue_lab.metrics.statistics import STATISTICS_SCHEMA, collect, statistics_sql
from neonblue_lab.metrics.values import columns
from neonblue_lab.sinks.clickhouse_ddl import clickhouse_type
from neonblue_lab.warehouse.warehouse import Warehouse

START = datetime(2026, 3, 2, tzinfo=UTC)
ENDS = {"x": None, "y": START + timedelta(days=20)}
EVENTS = ("conversion", "purchase", "page_load", "visit")

Event = dict[str, Any]


def simulated_events(random: np.random.Generator) -> tuple[list[Event], list[Event]]:
    """Exposures and events: some users in two variants, some without events, properties of all types and none."""
    exposures, events = [], []
    for number in range(400):
        user = f"u{number}"
        for experiment in ("x", "y"):
            exposed_at = START + timedelta(days=float(random.uniform(0, 25)))
            for variant in random.choice(["a", "b"], size=1 + (random.random() < 0.05), replace=False):
                exposures.append(
                    {
                        "experiment_id": experiment,
                        "user_id": user,
                        "variant_id": str(variant),
                        "first_exposed_at": exposed_at,
                    }
                )
        for _ in range(random.poisson(6) * (number % 10 != 0)):
            price, quantity = float(random.lognormal(3, 1)), int(random.integers(1, 5))
            properties: dict[str, Any] = {
                "price": random.choice([price, f"{price:.3f}", "free", None]),
                "quantity": quantity,
            }
            properties |= {"device": random.choice(["ios", "android", "web", 7]), "cart": {"items": quantity * 2}}
            properties |= {"utm-source": "mail"} if random.random() < 0.5 else {}
            properties |= {"member": bool(random.random() < 0.5)} if random.random() < 0.8 else {}
            text = json.dumps({k: v.item() if isinstance(v, np.generic) else v for k, v in properties.items()})
            events.append(
                {
                    "event_type": str(random.choice(EVENTS)),
                    "user_id": user if random.random() < 0.98 else None,
                    "timestamp": START + timedelta(days=float(random.uniform(-10, 40))),
                    "value": float(random.lognormal(2, 1.5)) if random.random() < 0.9 else None,
                    "properties": text if random.random() < 0.95 else None,
                }
            )
    return exposures, events


def frame(table: str, rows: list[Event]) -> pl.DataFrame:
    """Rows in a table's columns; what a row does not state is null."""
    schema = DERIVED[table].schema
    return pl.DataFrame([dict.fromkeys(schema) | row for row in rows], schema=schema)


class Chdb:
    """ClickHouse's engine in this process, as an engine of metrics."""

    dialect = "clickhouse"

    def __init__(self, client: Any) -> None:
        self._client = client

    def sql(self, query: str) -> pl.DataFrame:
        return pl.DataFrame(self._client.query_arrow(query))

    def fill(self, name: str, rows: pl.DataFrame, nullable: tuple[str, ...]) -> None:
        kinds = (f"`{c}` {clickhouse_type(t, nullable=c in nullable)}" for c, t in rows.schema.items())
        self._client.command(f"CREATE TABLE {name} ({', '.join(kinds)}) ENGINE = MergeTree ORDER BY tuple()")
        self._client.insert_arrow(name, rows.to_arrow())


@pytest.fixture(scope="module")
def simulated() -> tuple[list[Event], list[Event]]:
    return simulated_events(np.random.default_rng(20260302))


@pytest.fixture(scope="module")
def duckdb_engine(simulated: tuple[list[Event], list[Event]], tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    exposures, events = simulated
    lake = Lake(tmp_path_factory.mktemp("lake"))
    lake.ensure_derived()
    stamped = [
        e | {"event_id": f"e{i}", "topic": "t", "partition": 0, "offset": i, "event_date": e["timestamp"].date()}
        for i, e in enumerate(events)
    ]
    lake.append("assignments", frame("assignments", exposures))
    lake.append("events", frame("events", stamped))
    lake.append("experiments", frame("experiments", [{"experiment_id": e, "ended_at": end} for e, end in ENDS.items()]))
    return Warehouse(lake)


@pytest.fixture(scope="module")
def clickhouse_engine(duckdb_engine: Warehouse, unavailable: Callable[[str], NoReturn]) -> Iterator[Chdb]:
    try:
        import chdb  # noqa: F401
    except ImportError:
        unavailable("ClickHouse's engine is not installed: pip install 'neonblue-lab[chdb]'")
    import clickhouse_connect

    with closing(clickhouse_connect.get_client(interface="chdb")) as client:
        engine = Chdb(client)
        nullable = (
            "user_id",
            "value",
            "properties",
            "ended_at",
            "session_id",
            "period_start",
            "period_end",
            "segment",
            "variance",
        )
        for name, columns in {
            "assignments": ["experiment_id", "user_id", "variant_id", "first_exposed_at"],
            "events": ["user_id", "event_type", "timestamp", "value", "properties"],
            "experiments": ["experiment_id", "ended_at"],
            "metric_totals": list(DERIVED["metric_totals"].schema),
        }.items():
            engine.fill(name, duckdb_engine.sql(f"SELECT * FROM {name}").select(columns), nullable)
        yield engine


# --- the definition, user by user --------------------------------------------------------------------------------------


def properties_of(event: Event) -> dict[str, Any]:
    return json.loads(event["properties"]) if event["properties"] else {}


def number_of(given: object) -> float | None:
    if isinstance(given, bool) or given is None:
        return None
    try:
        return float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


def price_times_quantity(event: Event) -> float | None:
    price = number_of(properties_of(event).get("price"))
    return None if price is None else price * properties_of(event)["quantity"] - 1.5


def on_phones(event: Event) -> bool:
    own = properties_of(event)
    return own.get("device") in ("ios", "android") and (own["cart"]["items"] > 2 or own.get("utm-source") is not None)


def not_a_member(event: Event) -> bool:
    return properties_of(event).get("member") is False


class Plain:
    """One measure in Python: which events, and what of each of them."""

    def __init__(self, event: str, of: Any = None, where: Any = None, per_user: Any = sum) -> None:
        self.event, self.of, self.where, self.per_user = event, of, where, per_user

    def number(self, events: list[Event]) -> tuple[int, float]:
        such = [e for e in events if e["event_type"] == self.event and (self.where is None or self.where(e))]
        if self.of is None:
            return len(such), float(len(such))
        values = [v for e in such if (v := self.of(e)) is not None]
        return len(values), float(self.per_user(values)) if values else 0.0


def value(event: Event) -> float | None:
    return event["value"]


CASES: list[tuple[Metric, Plain, Plain | None]] = [
    (Metric(name="m", kind="proportion", event="conversion"), Plain("conversion"), None),
    (
        Metric(
            name="m",
            kind="proportion",
            event="purchase",
            window=7,
            covariate_days=5,
            where="properties.device in ['ios', 'android'] and (properties.cart.items > 2 or properties['utm-source'] is not null)",
        ),
        Plain("purchase", where=on_phones),
        None,
    ),
    (Metric(name="m", kind="mean", event="purchase", of="value"), Plain("purchase", value), None),
    (
        Metric(name="m", kind="mean", event="purchase", of="count", where="properties.member == false"),
        Plain("purchase", where=not_a_member),
        None,
    ),
    (
        Metric(
            name="m", kind="mean", event="purchase", of="properties.price * properties.quantity - 1.5", covariate_days=9
        ),
        Plain("purchase", price_times_quantity),
        None,
    ),
    (
        Metric(name="m", kind="mean", event="page_load", of="value", per_user="max", window=[1, 8.5], cap=20),
        Plain("page_load", value, per_user=max),
        None,
    ),
    (
        Metric(name="m", kind="mean", event="purchase", of="value", cap_percentile=90, covariate_days=10),
        Plain("purchase", value),
        None,
    ),
    (
        Metric(
            name="m",
            kind="ratio",
            event="purchase",
            of="value",
            cap_percentile=97.5,
            per=Measure(event="visit", of="count", cap=3),
            covariate_days=10,
            window=10,
        ),
        Plain("purchase", value),
        Plain("visit"),
    ),
    (
        Metric(
            name="m",
            kind="ratio",
            event="purchase",
            of="value / properties.quantity",
            per=Measure(event="purchase", of="count"),
        ),
        Plain(
            "purchase",
            lambda e: e["value"] / q if e["value"] is not None and (q := properties_of(e).get("quantity")) else None,
        ),
        Plain("purchase"),
    ),
    (Metric(name="m", kind="retention", event="visit", window=[7, 14]), Plain("visit"), None),
    (Metric(name="m", kind="retention", event="visit", window=[1, 3], covariate_days=4), Plain("visit"), None),
    (Metric(name="m", kind="quantile", event="purchase", of="value", quantile=0.9), Plain("purchase", value), None),
    (
        Metric(
            name="m", kind="quantile", event="page_load", of="value", per_user="mean", quantile=0.5, users="with_event"
        ),
        Plain("page_load", value, per_user=lambda v: sum(v) / len(v)),
        None,
    ),
    (
        Metric(
            name="m",
            kind="quantile",
            event="page_load",
            of="value",
            per_user="min",
            quantile=0.95,
            users="with_event",
            window=9,
        ),
        Plain("page_load", value, per_user=min),
        None,
    ),
]


def per_user(metric: Metric, plain: Plain, per: Plain | None, data: tuple[list[Event], list[Event]]) -> pl.DataFrame:
    """experiment_id, variant_id and the columns y, d, x, w of each user who counts."""
    exposures, events = data
    seen: dict[tuple[str, str], dict[str, datetime]] = defaultdict(dict)
    for e in exposures:
        end = ENDS[e["experiment_id"]]
        if end is None or e["first_exposed_at"] <= end:
            seen[e["experiment_id"], e["user_id"]][e["variant_id"]] = e["first_exposed_at"]
    own: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        own[event["user_id"]].append(event)
    data_end = max(e["timestamp"] for e in events)
    first, last = metric.window or (0, 3_650)
    rows = []
    for (experiment, user), variants in seen.items():
        if len(variants) > 1:
            continue
        [(variant, since)] = variants.items()
        until = min(data_end, ENDS[experiment] or data_end)
        if metric.window and since + timedelta(days=last) > until:
            continue
        low, high = since + timedelta(days=first), since + timedelta(days=last)
        during = [e for e in own[user] if low <= e["timestamp"] < high and e["timestamp"] <= (ENDS[experiment] or high)]
        before = [e for e in own[user] if since - timedelta(days=metric.covariate_days or 0) <= e["timestamp"] < since]
        row = {"experiment_id": experiment, "variant_id": variant}
        parts = {"y": (plain, during), "d": (per, during), "x": (plain, before), "w": (per, before)}
        for column, (measure, among) in parts.items():
            if measure is not None:
                count, number = measure.number(among)
                row[column] = float(count > 0) if metric.kind in ("proportion", "retention") else number
                row["with_event" if column == "y" else "_"] = count > 0
        if metric.users == "exposed" or row["with_event"]:
            rows.append(row)
    table = pl.DataFrame(rows)
    for column, before, measure in (("y", "x", metric), ("d", "w", metric.per)):
        if measure is not None and measure.cap is not None:
            table = table.with_columns(
                pl.col(column, before).clip(upper_bound=measure.cap) if before in table.columns else column
            )
        if measure is not None and measure.cap_percentile is not None:
            share = measure.cap_percentile / 100
            cap = pl.col(column).sort().get((pl.len() * share - 1e-9).ceil().cast(pl.Int64) - 1).over("experiment_id")
            table = table.with_columns(
                pl.min_horizontal(c, cap).alias(c) for c in (column, before) if c in table.columns
            )
    return table


def expected(metric: Metric, users: pl.DataFrame) -> dict[tuple[str, str], dict[str, float | None]]:
    out = {}
    for (experiment, variant), arm in users.group_by("experiment_id", "variant_id"):
        n = arm.height
        numbers: dict[str, float | None] = {"n": n}
        y = arm["y"].to_numpy()
        if metric.kind == "quantile":
            assert metric.quantile
            q, ordered = metric.quantile, np.sort(y)
            below = binom(n, q)
            low = max(r for r in range(n + 1) if r == 0 or below.cdf(r - 1) <= 0.025)
            high = min(r for r in range(1, n + 2) if below.sf(r - 1) <= 0.025)
            numbers["mean"] = ordered[ceil(n * q - 1e-9) - 1]
            numbers["low"] = ordered[low - 1] if low >= 1 else None
            numbers["high"] = ordered[high - 1] if high <= n else None
            if low >= 1 and high <= n:
                z = norm.isf((1 - (below.cdf(high - 1) - below.cdf(low - 1))) / 2)
                numbers["spacing_se"] = (ordered[high - 1] - ordered[low - 1]) / (2 * z)
                numbers["variance"] = n * numbers["spacing_se"] ** 2
        else:
            names = columns(metric)
            matrix = np.cov(arm.select(*names).to_numpy().T.astype(np.longdouble).reshape(len(names), n), ddof=1)
            matrix = np.atleast_2d(matrix)
            for i, a in enumerate(names):
                numbers[f"mean_{a}"] = float(arm[a].to_numpy().mean())
                for j, b in enumerate(names[i:], i):
                    numbers[f"var_{a}" if a == b else f"cov_{a}{b}"] = float(matrix[i, j])
            if metric.kind == "ratio":
                d = arm["d"].to_numpy()
                ratio = y.mean() / d.mean()
                numbers |= {"mean": ratio, "variance": float(np.var((y - ratio * d) / d.mean(), ddof=1))}
            else:
                numbers |= {"mean": numbers["mean_y"], "variance": numbers["var_y"]}
        out[str(experiment), str(variant)] = numbers
    return out


@pytest.mark.parametrize("engine", ["duckdb", "clickhouse"])
@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0].kind}-{CASES.index(c)}")
def test_every_kind_is_what_its_definition_says_on_every_engine(
    case: tuple[Metric, Plain, Plain | None],
    engine: str,
    simulated: tuple[list[Event], list[Event]],
    request: pytest.FixtureRequest,
) -> None:
    metric, plain, per = case
    users = per_user(metric, plain, per, simulated)
    reference = expected(metric, users)
    assert min(row["n"] for row in reference.values()) > 10
    assert all(users[c].n_unique() > 1 for c in columns(metric))

    got = collect(request.getfixturevalue(f"{engine}_engine"), {"m": metric})

    assert dict(got.schema) == STATISTICS_SCHEMA
    assert set(got.select("experiment_id", "variant_id").iter_rows()) == reference.keys()
    for row in got.iter_rows(named=True):
        numbers = reference[row["experiment_id"], row["variant_id"]]
        assert row["kind"] == metric.kind
        found = {
            name: row[name]
            for name in STATISTICS_SCHEMA
            if name not in ("experiment_id", "metric", "kind", "variant_id")
        }
        assert {n for n, v in found.items() if v is not None} == {n for n, v in numbers.items() if v is not None}
        for name, number in numbers.items():
            assert found[name] == (None if number is None else pytest.approx(number, rel=1e-9, abs=0)), name


def test_engines_agree_on_all_metrics_asked_for_together(duckdb_engine: Warehouse, clickhouse_engine: Chdb) -> None:
    metrics = {f"m{i}": metric.model_copy(update={"name": f"m{i}"}) for i, (metric, *_) in enumerate(CASES)}

    one, other = collect(duckdb_engine, metrics), collect(clickhouse_engine, metrics)

    assert one.height == 4 * len(CASES)
    numbers = pl.selectors.numeric()
    assert one.select(~numbers).equals(other.select(~numbers))
    a, b = one.select(numbers).to_numpy().astype(float), other.select(numbers).to_numpy().astype(float)
    assert np.array_equal(np.isnan(a), np.isnan(b))
    known = ~np.isnan(a)
    assert np.max(np.abs(a[known] - b[known]) / np.maximum(np.abs(a[known]), 1e-300)) < 1e-9


def test_the_sql_shown_is_the_sql_that_runs(duckdb_engine: Warehouse, clickhouse_engine: Chdb) -> None:
    metric = CASES[0][0]
    for engine in (duckdb_engine, clickhouse_engine):
        shown = engine.sql(statistics_sql(metric, dialect=engine.dialect, experiments=["x"]))
        assert set(shown["experiment_id"]) == {"x"}
        assert shown["n_0"].sum() == collect(engine, {"m": metric}, ["x"])["n"].sum()
