"""Tables with one row a user, on DuckDB and on ClickHouse's engine, against numpy over the same numbers."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, NoReturn

import ibis
import ibis.expr.types as ir
import numpy as np
import polars as pl
import pytest

from neonblue_lab.errors import BadInput
from neonblue_lab.metrics import user_tables
from neonblue_lab.metrics.statistics import STATISTICS_SCHEMA
from neonblue_lab.metrics.user_tables import UserMetric, user_statistics
from neonblue_lab.stats.quantiles import quantile_of_sorted

METRICS = {
    "revenue": UserMetric("mean", "y"),
    "paid": UserMetric("proportion", "paid"),
    "per_visit": UserMetric("ratio", "y", d="d"),
    "adjusted": UserMetric("mean", "y", x="x"),
    "adjusted_ratio": UserMetric("ratio", "y", d="d", x="x", w="w"),
    "p90": UserMetric("quantile", "y", quantile=0.9),
    "p05": UserMetric("quantile", "x", quantile=0.05),
}

TableOf = Callable[[pl.DataFrame], ir.Table]


@pytest.fixture(scope="module")
def clickhouse(unavailable: Callable[[str], NoReturn]) -> Iterator[Any]:
    try:
        import chdb  # noqa: F401
    except ImportError:
        unavailable("ClickHouse's engine is not installed: pip install 'neonblue-lab[chdb]'")
    import clickhouse_connect

    with closing(clickhouse_connect.get_client(interface="chdb")) as client:
        yield ibis.clickhouse.from_connection(client)


@pytest.fixture(params=["duckdb", "clickhouse"])
def table_of(request: pytest.FixtureRequest) -> TableOf:
    """Makes a table of a frame in an engine."""
    if request.param == "duckdb":
        connected = ibis.duckdb.connect()

        def in_duckdb(frame: pl.DataFrame) -> ir.Table:
            connected.con.register("users_arrow", frame.to_arrow())
            connected.con.execute("CREATE OR REPLACE TABLE users AS FROM users_arrow")
            return connected.table("users")

        return in_duckdb
    client = request.getfixturevalue("clickhouse")

    def in_clickhouse(frame: pl.DataFrame) -> ir.Table:
        kinds = {pl.String(): "String", pl.Float64(): "Nullable(Float64)", pl.Int64(): "Int64", pl.Boolean(): "Bool"}
        columns = ", ".join(f"`{name}` {kinds[dtype]}" for name, dtype in frame.schema.items())
        client.con.command("DROP TABLE IF EXISTS users")
        client.con.command(f"CREATE TABLE users ({columns}) ENGINE = MergeTree ORDER BY tuple()")
        client.con.insert_arrow("users", frame.to_arrow())
        return client.table("users")

    return in_clickhouse


def simulated_users(centre: float = 0.0, nulls: float = 0.0, seed: int = 5) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    n = 6_000
    x = random.gamma(2.0, 10.0, n)
    d = random.integers(1, 9, n)
    frame = pl.DataFrame(
        {
            "experiment_id": random.choice(["first", "second"], n, p=[0.7, 0.3]),
            "variant_id": random.choice(["a", "b", "c"], n),
            "y": centre + 0.6 * x + random.gamma(1.0, 5.0, n) * d,
            "d": d,
            "x": centre + x,
            "w": random.integers(0, 5, n).astype(float),
            "paid": random.random(n) < 0.1,
        }
    )
    missing = {c: random.random(n) < nulls for c in ("y", "x")}
    return frame.with_columns(pl.when(~pl.Series(gone)).then(pl.col(c)).alias(c) for c, gone in missing.items())


def check(got: pl.DataFrame, frame: pl.DataFrame, metrics: dict[str, UserMetric], rel: float = 1e-9) -> None:
    """Every number of every row against numpy."""
    assert dict(got.schema) == STATISTICS_SCHEMA
    assert got.height == frame.select("experiment_id", "variant_id").n_unique() * len(metrics)
    for row in got.iter_rows(named=True):
        metric = metrics[row["metric"]]
        own = frame.filter(pl.col("experiment_id") == row["experiment_id"], pl.col("variant_id") == row["variant_id"])
        arm = own.select(pl.col(c).cast(pl.Float64).alias(n) for n, c in metric.columns.items()).drop_nulls()
        numbers: dict[str, float] = {"n": arm.height}
        if metric.quantile is not None:
            found = quantile_of_sorted(np.sort(arm["y"].to_numpy()), [arm.height], metric.quantile)
            numbers |= {"mean": found.value[0], "low": found.low[0], "high": found.high[0]}
            numbers |= {"spacing_se": found.standard_error[0], "variance": arm.height * found.standard_error[0] ** 2}
        else:
            matrix = np.atleast_2d(np.cov((arm.to_numpy() - arm.mean().to_numpy()).T))
            for i, a in enumerate(arm.columns):
                numbers[f"mean_{a}"] = float(arm[a].to_numpy().mean())
                for j, b in enumerate(arm.columns[i:], i):
                    numbers[f"var_{a}" if a == b else f"cov_{a}{b}"] = matrix[i, j]
            numbers |= {"mean": numbers["mean_y"], "variance": numbers["var_y"]}
            if metric.kind == "ratio":
                numbers["mean"] = ratio = numbers["mean_y"] / numbers["mean_d"]
                numbers["variance"] = np.var((arm["y"] - ratio * arm["d"]).to_numpy(), ddof=1) / numbers["mean_d"] ** 2
        known = {n: v for n, v in row.items() if v is not None and n in {*numbers, "low", "high", *STATISTICS_SCHEMA}}
        assert known.keys() - {"experiment_id", "metric", "kind", "variant_id"} == numbers.keys()
        for name, number in numbers.items():
            assert row[name] == pytest.approx(number, rel=rel, abs=1e-12), (row["metric"], name)


def test_every_kind(table_of: TableOf) -> None:
    frame = simulated_users()

    check(user_statistics(table_of(frame), METRICS), frame, METRICS)


def test_users_without_a_number_are_not_counted(table_of: TableOf) -> None:
    frame = simulated_users(nulls=0.1)

    check(user_statistics(table_of(frame), METRICS), frame, METRICS)


def test_numbers_far_from_zero_keep_their_variance(table_of: TableOf) -> None:
    frame = simulated_users(centre=1e9)

    check(user_statistics(table_of(frame), METRICS), frame, METRICS, rel=1e-7)


@pytest.mark.parametrize("first", [1e12, -1e12])
def test_the_first_rows_may_be_like_no_other(table_of: TableOf, first: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one scan guesses from them is then far off, and the other way gives the same numbers."""
    monkeypatch.setattr(user_tables, "_FIRST_ROWS", 10)
    frame = simulated_users().with_columns(y=pl.when(pl.int_range(pl.len()) < 10).then(first).otherwise("y"))
    frame = frame.with_columns(
        experiment_id=pl.when(pl.col("y").abs() > 1e9).then(pl.lit("odd")).otherwise("experiment_id")
    )
    frame = frame.with_columns(
        variant_id=pl.when(pl.col("experiment_id") == "odd").then(pl.lit("a")).otherwise("variant_id")
    )
    metrics = {name: METRICS[name] for name in ("revenue", "adjusted", "p90")}

    got = user_statistics(table_of(frame), metrics)

    of_others = pl.col("experiment_id") != "odd"
    check(got.filter(of_others), frame.filter(of_others), metrics)
    odd = got.filter(~of_others, pl.col("metric") == "revenue")
    assert odd.select("n", "mean", "variance").row(0) == (10, first, 0.0)


@pytest.mark.parametrize("constant", [0.0, 1.0, 0.1, 1e9 / 3, -7e-5])
def test_a_column_that_is_the_same_for_all_has_no_variance(table_of: TableOf, constant: float) -> None:
    frame = simulated_users().with_columns(y=pl.lit(constant))

    got = user_statistics(table_of(frame), {"same": UserMetric("mean", "y"), "before": UserMetric("mean", "y", x="x")})

    assert set(got["variance"]) == {0.0}
    assert got["mean"].to_list() == pytest.approx([constant] * got.height, rel=1e-13)


def test_one_user_and_one_experiment(table_of: TableOf) -> None:
    frame = pl.DataFrame({"variant_id": ["a", "b", "b"], "y": [3.0, 1.0, 2.0], "x": [1.0, 1.0, 5.0]})
    metrics = {"mean": UserMetric("mean", "y", x="x"), "median": UserMetric("quantile", "y", quantile=0.5)}

    got = user_statistics(table_of(frame), metrics, experiment_id="only")

    columns = ("experiment_id", "metric", "variant_id", "n", "mean", "variance", "cov_yx", "low")
    assert got.select(columns).rows() == [
        ("only", "mean", "a", 1, 3.0, None, None, None),
        ("only", "mean", "b", 2, 1.5, 0.5, 2.0, None),
        ("only", "median", "a", 1, 3.0, None, None, None),
        ("only", "median", "b", 2, 1.0, None, None, None),
    ]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"kind": "mean", "y": "y", "d": "d"}, "belongs to a ratio"),
        ({"kind": "ratio", "y": "y"}, "belongs to a ratio, which needs it"),
        ({"kind": "ratio", "y": "y", "d": "d", "x": "x"}, "The covariates of a ratio are two"),
        ({"kind": "mean", "y": "y", "w": "x"}, "The covariates of a ratio are two"),
        ({"kind": "quantile", "y": "y"}, "A quantile needs `quantile`"),
        ({"kind": "quantile", "y": "y", "x": "x", "quantile": 0.5}, "`y` alone"),
        ({"kind": "quantile", "y": "y", "quantile": 1.5}, "quantile is 1.5"),
    ],
)
def test_a_metric_that_cannot_be_is_refused(arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        UserMetric(**arguments)


def test_a_table_that_does_not_fit_is_refused() -> None:
    connected = ibis.duckdb.connect()
    connected.con.execute("CREATE TABLE users AS SELECT 'a' AS variant_id, 1.0 AS y")
    rows = connected.table("users")

    with pytest.raises(BadInput, match="which experiment it is of"):
        user_statistics(rows, {"m": UserMetric("mean", "y")})
    with pytest.raises(BadInput, match="m needs a column z, which is not there: there are variant_id, y"):
        user_statistics(rows, {"m": UserMetric("mean", "z")}, experiment_id="e")
    with pytest.raises(BadInput, match="No metric"):
        user_statistics(rows, {}, experiment_id="e")
