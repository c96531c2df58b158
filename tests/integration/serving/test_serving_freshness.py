"""A server that runs for weeks: newer data and newly promoted artifacts are served from the next call on, and nobody who is
being served is disturbed."""

import gc
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client

from neonblue_lab.events.simulator import simulate
from neonblue_lab.knowledge.index import NAME as INDEX
from neonblue_lab.lab import Lab
from neonblue_lab.serving.desk import Desk
from neonblue_lab.serving.server import build_server
from neonblue_lab.topics.archive import write_archive

Talk = Callable[[Any, Callable[[Client], Any]], Any]
SEARCH = ("semantic_experiment_search", {"query": "checkout", "limit": 3})


def more_data(home: Path) -> None:
    """Eight more experiments, as another process would bring them in."""
    more = simulate(experiments=8, users=500, events=4_000, seed=4, days=42)
    write_archive(home / "topics", more.batches())
    Lab.open(home).replay(str(home / "topics"))


def another_index(home: Path) -> None:
    """Publish and promote an index of what the lake holds now, as a nightly run would."""
    lab = Lab.open(home)
    lab.knowledge.publish(lab.experiments.documents(), data_versions=lab.warehouse.versions)


def test_newer_data_and_artifacts_are_served_from_the_next_call_on(own_home: Path, talk: Talk) -> None:
    async def watch(client: Client) -> None:
        async def listed() -> dict[str, Any]:
            return dict((await client.call_tool("list_experiments", {"limit": 200})).structured_content or {})

        async def searched() -> dict[str, Any]:
            return dict((await client.call_tool(*SEARCH)).structured_content or {})

        before, first = await listed(), await searched()
        await anyio.to_thread.run_sync(more_data, own_home)
        after, second = await listed(), await searched()
        await anyio.to_thread.run_sync(another_index, own_home)
        third = await searched()
        Lab.open(own_home).artifacts.rollback(INDEX)
        fourth = await searched()

        assert (before["total"], after["total"]) == (8, 16)
        assert before["data_version"] == first["data_version"] != after["data_version"] == second["data_version"]
        assert [answer["artifacts"][0]["version"] for answer in (first, second, third, fourth)] == [1, 1, 2, 1]
        # The index says itself that it is older than the data.
        assert second["artifacts"][0]["data_version"] == first["data_version"]
        assert third["artifacts"][0]["data_version"] == third["data_version"]

    talk(build_server(Desk(own_home)), watch)


def test_many_callers_are_served_while_data_and_index_change(
    own_home: Path, tmp_path: Path, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every answer is whole and of one version of the data; the copies of former indexes go away."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    known = [row["experiment_id"] for row in Lab.open(own_home).experiments.list().to_dicts()]
    calls = [
        SEARCH,
        ("list_experiments", {}),
        ("analyze_experiment_performance", {"experiment_id": known[0]}),
        ("generate_analytics_insights", {"metrics": ["conversion_rate"], "dimensions": ["experiment", "day"]}),
        ("predict_experiment_trends", {"experiment_id": "programme"}),
    ]
    answers: list[Any] = []
    changed = threading.Event()

    def change() -> None:
        try:
            for _ in range(2):
                another_index(own_home)
            more_data(own_home)
            another_index(own_home)
        finally:
            changed.set()

    async def keep_asking(client: Client, call: tuple[str, dict[str, Any]]) -> None:
        while not changed.is_set():
            answers.append(await client.call_tool(*call))

    async def crowd(client: Client) -> Any:
        async with anyio.create_task_group() as group:
            for call in calls * 2:
                group.start_soon(keep_asking, client, call)
            await anyio.to_thread.run_sync(change)
        return (await client.call_tool(*SEARCH)).structured_content

    last = talk(build_server(Desk(own_home)), crowd)

    assert [answer.content[0].text for answer in answers if answer.is_error] == []
    assert last["artifacts"][0]["version"] == 4
    versions = {answer.structured_content["data_version"] for answer in answers}
    assert last["data_version"] == Lab.open(own_home).warehouse.data_version
    assert len(versions) >= 1
    gc.collect()
    assert len(list(scratch.glob("neonblue-index-*"))) <= 1


def test_a_call_keeps_its_data_while_newer_data_arrives(own_home: Path) -> None:
    desk = Desk(own_home)
    entered, seen = threading.Event(), []

    def next_call() -> None:
        with desk.lab() as lab:
            entered.set()
            seen.append(lab.warehouse.data_version)

    with desk.lab() as lab:
        before = lab.warehouse.data_version
        more_data(own_home)
        caller = threading.Thread(target=next_call)
        caller.start()
        assert not entered.wait(0.5)
        assert lab.warehouse.data_version == before
        assert lab.experiments.list().height == 8
    caller.join(30)

    assert seen == [Lab.open(own_home).warehouse.data_version] != [before]


def test_a_call_that_fails_leaves_its_place(own_home: Path) -> None:
    desk = Desk(own_home)
    with pytest.raises(RuntimeError, match="broken"), desk.lab():
        raise RuntimeError("broken")
    more_data(own_home)

    with desk.lab() as lab:
        assert lab.experiments.list().height == 16
