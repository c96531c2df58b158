"""`Lab.sync`: the stores of the environment, brought up to date from one data folder."""

from pathlib import Path

import pytest

from neonblue_lab.errors import BadInput, Conflict
from neonblue_lab.events.simulator import simulate
from neonblue_lab.lab import Lab
from neonblue_lab.sinks.ledger import Ledger
from neonblue_lab.topics.archive import write_archive
from tests.integration.sinks.conftest import Store


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    home = tmp_path / "home"
    write_archive(home / "topics", simulate(experiments=5, users=400, events=4_000, seed=3).batches())
    lab = Lab.open(home)
    lab.replay()
    return lab


def test_the_stores_of_the_environment_are_fed(lab: Lab, postgres_store: Store) -> None:
    told: list[tuple[str, str, int, bool]] = []
    report = lab.sync(
        ["postgres"], observer=lambda store, lane, rows, seconds, ok: told.append((store, lane, rows, ok))
    )
    assert report.ok
    assert report.rows["postgres"] == sum(rows for _, _, rows, _ in told) > 0
    assert len(postgres_store.read("experiments")) == 5
    assert lab.sync(["postgres"]).nothing_to_do
    again = lab.sync(["postgres"], anew=True)
    assert again.rows == report.rows
    assert len(postgres_store.read("experiments")) == 5


def test_another_process_at_the_same_store_is_a_conflict(lab: Lab, postgres_store: Store) -> None:
    held = Ledger(lab.settings.sinks, "postgres", postgres_store.sink.address)
    with held.held(), pytest.raises(Conflict, match="Another process feeds"):
        lab.sync(["postgres"])
    assert lab.sync(["postgres"]).ok


def test_an_unknown_store_is_refused(lab: Lab) -> None:
    with pytest.raises(BadInput, match="There is no sink mysql"):
        lab.sync(["mysql"])
