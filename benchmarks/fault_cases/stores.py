"""ClickHouse and PostgreSQL as stores to be fed and to fail, and what a reader of each finds there."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import clickhouse_connect
import psycopg

from benchmarks.fault_cases.scene import NotHere
from tests.services.clickhouse_http import ClickHouseServer, ClickHouseUnavailable
from tests.services.known_topic import Audit, Rows
from tests.services.postgres import Postgres, PostgresUnavailable

EVERYTHING_TO_BOTH = """\
routes:
- {lane: experimental, table: events, when: {data_type: experiment},
   primary: postgres, secondary: [clickhouse], priority: high, strategy: real_time}
- {lane: others, table: events, primary: clickhouse, secondary: [postgres], priority: low, strategy: stream}
- {lane: experiments, table: experiments, primary: postgres, secondary: [clickhouse], priority: high, strategy: stream}
- {lane: changes, table: changes, primary: postgres, secondary: [clickhouse], priority: high, strategy: stream}
- {lane: assignments, table: assignments, primary: clickhouse, secondary: [postgres], priority: high, strategy: stream}
- {lane: totals, table: metric_totals, primary: clickhouse, secondary: [postgres], priority: medium, strategy: stream}
- {lane: documents, table: documents, primary: postgres, secondary: [clickhouse], priority: medium, strategy: stream}
stream_rows: 500
stream_seconds: 0.5
"""
"""A policy by which each store gets every row, so that each can be compared with the whole log."""

# Table -> what is asked of a store; the rows are those of `KnownTopic.due`.
CLICKHOUSE = {
    "events": "SELECT event_id, event_type, toUnixTimestamp64Milli(timestamp) FROM neonblue.events_current",
    "assignments": "SELECT experiment_id, user_id, variant_id, toUnixTimestamp64Milli(first_exposed_at) "
    "FROM neonblue.assignments_current",
    "metric_totals": "SELECT event_id, metric FROM neonblue.metric_totals_current",
    "experiments": "SELECT experiment_id FROM neonblue.experiments_current",
}
POSTGRES = {
    "events": "SELECT event_id, event_type, floor(extract(epoch FROM timestamp) * 1000)::bigint FROM neonblue.events",
    "assignments": "SELECT experiment_id, user_id, variant_id, floor(extract(epoch FROM first_exposed_at) * 1000)::bigint "
    "FROM neonblue.assignments",
    "metric_totals": "SELECT event_id, metric FROM neonblue.metric_totals",
    "experiments": "SELECT experiment_id FROM neonblue.experiments",
}


@dataclass(frozen=True)
class Stores:
    """Both stores, running and empty at first."""

    clickhouse: ClickHouseServer
    postgres: Postgres

    @property
    def environment(self) -> dict[str, str]:
        """What a command needs to find them."""
        return {"NEONBLUE_CLICKHOUSE_URL": self.clickhouse.url, "NEONBLUE_POSTGRES_URL": self.postgres.url}

    def audit(self, due: Mapping[str, Rows]) -> list[Audit]:
        """Compare each with what is due."""
        with clickhouse_connect.get_client(dsn=self.clickhouse.url) as client:
            in_clickhouse = {table: Counter(client.query(sql).result_rows) for table, sql in CLICKHOUSE.items()}
        with psycopg.connect(self.postgres.url) as connection:
            in_postgres = {table: Counter(connection.execute(sql).fetchall()) for table, sql in POSTGRES.items()}
        return [Audit.of(due, in_clickhouse), Audit.of(due, in_postgres)]


@contextmanager
def stores_for(home: Path) -> Iterator[Stores]:
    """Both stores, and in the data folder the policy that feeds them everything.

    Raises:
        NotHere: one of them cannot be had here.
    """
    try:
        servers = ClickHouseServer(), Postgres()
    except (ClickHouseUnavailable, PostgresUnavailable) as reason:
        raise NotHere(str(reason)) from reason
    home.mkdir(parents=True, exist_ok=True)
    (home / "sinks.yaml").write_text(EVERYTHING_TO_BOTH)
    with servers[0] as clickhouse, servers[1] as postgres:
        yield Stores(clickhouse, postgres)
