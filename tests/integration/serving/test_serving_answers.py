"""What a client is told: every tool and resource, against the lab itself and the simulation's truth."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError

from neonblue_lab.artifacts import ArtifactStore
from neonblue_lab.knowledge.index import NAME as INDEX
from neonblue_lab.lab import Lab
from neonblue_lab.models.trends.book import NAME as TRENDS
from neonblue_lab.serving.desk import Desk
from neonblue_lab.serving.server import build_server

TOOLS = {
    "list_experiments",
    "analyze_experiment_performance",
    "semantic_experiment_search",
    "predict_experiment_trends",
    "generate_analytics_insights",
}
Talk = Callable[[Any, Callable[[Client], Any]], Any]
Call = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def lab(home: Path) -> Lab:
    return Lab.open(home)


@pytest.fixture(scope="module")
def server(home: Path) -> Any:
    return build_server(Desk(home))


@pytest.fixture
def call(server: Any, talk: Talk) -> Call:
    """`call(tool, **arguments)`: the structured answer; fails where the server answers with an error."""

    def ask(name: str, **arguments: Any) -> dict[str, Any]:
        result = talk(server, lambda client: client.call_tool(name, arguments))
        assert not result.is_error, result.content[0].text
        return dict(result.structured_content)

    return ask


@pytest.fixture
def refused(server: Any, talk: Talk) -> Callable[..., str]:
    """`refused(tool, **arguments)`: the text of the error that the server answers with."""

    def ask(name: str, **arguments: Any) -> str:
        result = talk(server, lambda client: client.call_tool(name, arguments))
        assert result.is_error
        return str(result.content[0].text)

    return ask


@pytest.fixture
def read(server: Any, talk: Talk) -> Callable[[str], str]:
    return lambda uri: str(talk(server, lambda client: client.read_resource(uri)).contents[0].text)


def test_the_server_says_what_it_is_and_what_each_tool_takes_and_returns(server: Any, talk: Talk) -> None:
    async def meet(client: Client) -> Any:
        return client.server_info, client.instructions, (await client.list_tools()).tools

    info, instructions, tools = talk(server, meet)

    assert (info.name, info.version) == ("neonblue-lab", "0.1.0")
    assert {tool.name for tool in tools} == TOOLS
    for tool in tools:
        assert tool.name in instructions
        assert tool.description
        assert tool.annotations.read_only_hint
        assert tool.annotations.idempotent_hint
        assert tool.input_schema["additionalProperties"] is False
        assert "lab" not in tool.input_schema["properties"]
        assert all(argument.get("description") for argument in tool.input_schema["properties"].values())
        assert {"data_version", "artifacts"} <= set(tool.output_schema["required"])


def test_pages_of_the_list_hold_every_experiment_once(call: Call, truth: dict[str, Any]) -> None:
    seen, offset = [], 0
    while offset is not None:
        page = call("list_experiments", limit=3, offset=offset)
        assert page["total"] == len(truth["experiments"])
        seen += [experiment["experiment_id"] for experiment in page["experiments"]]
        offset = page["next_offset"]

    assert sorted(seen) == sorted(experiment["experiment_id"] for experiment in truth["experiments"])


def test_the_list_is_restricted_by_status_and_by_words_in_any_case(call: Call, truth: dict[str, Any]) -> None:
    running = {e["experiment_id"] for e in truth["experiments"] if e["status"] == "running"}
    first = truth["experiments"][0]
    words = " ".join(reversed(first["name"].upper().split()))

    assert {e["experiment_id"] for e in call("list_experiments", status="running")["experiments"]} == running
    assert first["experiment_id"] in {e["experiment_id"] for e in call("list_experiments", query=words)["experiments"]}
    assert call("list_experiments", query="no-such-word")["total"] == 0


def test_a_performance_is_the_labs_readout(call: Call, lab: Lab, truth: dict[str, Any]) -> None:
    for experiment in truth["experiments"]:
        answer = call("analyze_experiment_performance", experiment_id=experiment["experiment_id"])
        readout = lab.experiments.analyze(experiment["experiment_id"])

        assert answer["data_version"] == readout.data_version
        assert answer["verdict"] == readout.verdict
        assert answer["reasons"] == readout.reasons
        assert [variant["variant_id"] for variant in answer["experiment"]["variants"]] == experiment["variants"]
        assert [row["p_adjusted"] for row in answer["rows"]] == pytest.approx(
            [row["p_adjusted"] for row in readout.rows]
        )
        treated = [row["variant_id"] for row in answer["statistical_significance"]]
        assert treated == experiment["variants"][1:] == [row["variant_id"] for row in answer["confidence_interval"]]
        for interval, stated in zip(answer["confidence_interval"], answer["statistical_significance"], strict=True):
            low, high = interval["difference_ci"]
            assert low < interval["difference"] < high
            assert (low > 0 or high < 0) == (stated["p_value"] < 0.05)


def test_the_broken_split_fails_the_sample_ratio_check_and_no_other_does(call: Call, truth: dict[str, Any]) -> None:
    for experiment in truth["experiments"]:
        answer = call("analyze_experiment_performance", experiment_id=experiment["experiment_id"])

        broken = experiment["kind"] == "broken_split"
        assert answer["sample_ratio"]["passed"] is not broken
        assert (answer["verdict"] == "do not trust") is broken


def test_a_performance_tells_of_similar_experiments(call: Call, truth: dict[str, Any]) -> None:
    wanted = truth["experiments"][0]["experiment_id"]
    answer = call("analyze_experiment_performance", experiment_id=wanted)

    similar = answer["similar_experiment_insights"]
    scores = [one["score"] for one in similar["experiments"]]
    assert len(scores) == 5
    assert scores == sorted(scores, reverse=True)
    assert wanted not in [one["experiment_id"] for one in similar["experiments"]]
    assert similar["insights"][0].startswith("Of 5 similar experiments: ")
    assert answer["artifacts"] == [{"name": INDEX, "version": 1, "data_version": answer["data_version"]}]


def test_an_experiments_own_hypothesis_finds_it(call: Call, lab: Lab) -> None:
    for row in lab.experiments.list().iter_rows(named=True):
        answer = call("semantic_experiment_search", query=f"{row['name']}. {row['hypothesis']}", limit=3)

        assert answer["search_results"][0]["experiment_id"] == row["experiment_id"]
        assert row["experiment_id"] in answer["interpretation"]
        assert answer["artifacts"][0]["name"] == INDEX
        found = {hit["experiment_id"] for hit in answer["search_results"]}
        assert not found & {one["experiment_id"] for one in answer["similar_experiments"]}


def test_a_search_is_restricted_by_filters(call: Call, refused: Callable[..., str]) -> None:
    answer = call("semantic_experiment_search", query="buyers", filters={"sample_size": {">=": 300}, "outcome": "flat"})
    none = call("semantic_experiment_search", query="buyers", filters={"lift": {">=": 50}})

    assert answer["search_results"]
    for hit in answer["search_results"]:
        assert hit["metadata"]["sample_size"] >= 300
        assert hit["metadata"]["outcome"] == "flat"
    assert none["search_results"] == []
    assert "Loosen the filters" in none["recommendations"][0]
    assert "no field 'country' to filter by. They have: name," in refused(
        "semantic_experiment_search", query="buyers", filters={"country": "NZ"}
    )


def test_a_trend_is_the_labs_forecast(call: Call, lab: Lab) -> None:
    answer = call(
        "predict_experiment_trends", experiment_id="programme", metric="conversion_count_per_day", days_ahead=7
    )

    expected = lab.models.forecast("programme", "conversion_count_per_day", days_ahead=7)
    assert [row["mean"] for row in answer["forecast"]] == [row.mean for row in expected.rows]
    assert len(answer["forecast"]) == 7
    assert all(row["low"] <= row["mean"] <= row["high"] for row in answer["forecast"])
    assert answer["last_value"] == expected.history[-1].value
    assert answer["accuracy"]["mase"] == expected.metrics["mase"]
    assert [(used["name"], used["version"]) for used in answer["artifacts"]] == [(TRENDS, 1)]


def test_analytics_count_what_was_simulated(call: Call, truth: dict[str, Any]) -> None:
    answer = call("generate_analytics_insights", metrics=["events", "experiments"], dimensions=["topic"])

    counted = {row["topic"]: row["events"] for row in answer["raw_analytics"]["rows"]}
    assert counted == {topic: counts["distinct_event_ids"] for topic, counts in truth["topics"].items()}
    totals = {total["metric"]: total["value"] for total in answer["performance_metrics"]}
    assert totals == {"events": sum(counted.values()), "experiments": len(truth["experiments"])}


def test_analytics_by_variant_are_the_scorecards(call: Call, lab: Lab) -> None:
    answer = call("generate_analytics_insights", metrics=["conversion_rate"], dimensions=["experiment", "variant"])

    measured = {(row["experiment"], row["variant"]): row["conversion_rate"] for row in answer["raw_analytics"]["rows"]}
    for row in lab.experiments.scorecard(metrics=["conversion"]).rows.iter_rows(named=True):
        assert measured[row["experiment_id"], row["variant_id"]] == pytest.approx(row["mean_variant"], rel=1e-12)
        assert measured[row["experiment_id"], row["control_id"]] == pytest.approx(row["mean_control"], rel=1e-12)


def test_resources_hold_experiments_and_model_cards(
    read: Callable[[str], str], lab: Lab, truth: dict[str, Any]
) -> None:
    first = truth["experiments"][0]
    one = json.loads(read(f"experiment://{first['experiment_id']}"))
    listed = json.loads(read("experiments://list"))
    models = json.loads(read("models://list"))

    assert one["experiment"]["name"] == first["name"]
    assert one["data_version"] == lab.warehouse.data_version
    assert listed["total"] == len(truth["experiments"])
    assert [(model["name"], model["version"], model["alias"]) for model in models["artifacts"]] == [
        (INDEX, 1, "champion"),
        (TRENDS, 1, "champion"),
    ]
    assert read(f"model://{TRENDS}") == lab.artifacts.get(TRENDS).card


def test_what_cannot_be_answered_is_said_in_a_sentence_that_helps(refused: Callable[..., str]) -> None:
    known = "sim3-exp-001"
    assert f"Did you mean {known}" in refused("analyze_experiment_performance", experiment_id="sim3-exp-0001")
    assert "no metric 'clicks'; there are events, users" in refused("generate_analytics_insights", metrics=["clicks"])
    assert "there are finished, running" in refused("list_experiments", status="paused")
    assert "No trend for experiment 'x'" in refused("predict_experiment_trends", experiment_id="x")
    assert "It has: conversion" in refused("predict_experiment_trends", experiment_id="programme", metric="x")
    assert "give a text" in refused("semantic_experiment_search", query=" ")
    # A mistyped argument is not dropped, and a wrong type is named.
    assert "limt\n  Extra inputs are not permitted" in refused("list_experiments", limt=3)
    assert "limit\n  Input should be a valid integer" in refused("list_experiments", limit="many")
    assert "since\n  Input should be a valid date" in refused(
        "generate_analytics_insights", metrics=["users"], since="soon"
    )


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("experiment://sim3-exp-0001", "Did you mean sim3-exp-001"),
        ("model://unheard_of", "It has: experiments_index, metric_trends."),
    ],
)
def test_a_resource_that_is_not_there_says_what_is(server: Any, talk: Talk, uri: str, said: str) -> None:
    async def ask(client: Client) -> str:
        with pytest.raises(MCPError) as error:
            await client.read_resource(uri)
        return str(error.value)

    assert said in talk(server, ask)


def test_a_missing_artifact_is_an_answer_that_names_the_notebook(
    own_home: Path, talk: Talk, truth: dict[str, Any]
) -> None:
    store = ArtifactStore(Lab.open(own_home).settings.artifacts)
    for name in (INDEX, TRENDS):
        (store.root / name).rename(store.root.parent / name)
    wanted = truth["experiments"][0]["experiment_id"]

    async def ask(client: Client) -> Any:
        search = await client.call_tool("semantic_experiment_search", {"query": "checkout"})
        trend = await client.call_tool("predict_experiment_trends", {"experiment_id": "programme"})
        performance = await client.call_tool("analyze_experiment_performance", {"experiment_id": wanted})
        return search, trend, performance

    search, trend, performance = talk(build_server(Desk(own_home)), ask)

    assert search.is_error
    assert "notebooks/30_experiment_knowledge.ipynb makes it: `neonblue run nightly`" in search.content[0].text
    assert trend.is_error
    assert "notebooks/50_trends.ipynb makes it: `neonblue run nightly`" in trend.content[0].text
    # A performance needs no index: the numbers are there, and the neighbours say why they are not.
    assert not performance.is_error
    similar = performance.structured_content["similar_experiment_insights"]
    assert similar["experiments"] == []
    assert "30_experiment_knowledge" in similar["insights"][0]


def test_an_empty_lab_answers(tmp_path: Path, talk: Talk) -> None:
    async def ask(client: Client) -> Any:
        listed = await client.call_tool("list_experiments", {})
        measured = await client.call_tool("generate_analytics_insights", {"metrics": ["events"]})
        return listed.structured_content, measured.structured_content

    listed, measured = talk(build_server(Desk(tmp_path)), ask)

    assert listed["experiments"] == []
    assert measured["raw_analytics"]["rows"] == [{"events": 0}]
    assert list(tmp_path.iterdir()) == []


def test_asking_writes_nothing(own_home: Path, talk: Talk, truth: dict[str, Any]) -> None:
    def contents() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in own_home.rglob("*")}

    async def ask(client: Client) -> None:
        await client.call_tool("list_experiments", {})
        await client.call_tool(
            "analyze_experiment_performance", {"experiment_id": truth["experiments"][0]["experiment_id"]}
        )
        await client.call_tool("semantic_experiment_search", {"query": "a text never seen before"})
        await client.call_tool("predict_experiment_trends", {"experiment_id": "programme"})
        await client.call_tool("generate_analytics_insights", {"metrics": ["users"], "dimensions": ["day"]})

    before = contents()
    talk(build_server(Desk(own_home)), ask)

    assert contents() == before
