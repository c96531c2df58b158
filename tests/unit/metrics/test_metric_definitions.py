"""metrics.yaml: what is right is read, what is wrong is named with file and metric."""

from pathlib import Path

import pytest

from neonblue_lab.errors import BadInput, NotFound
from neonblue_lab.metrics.definitions import Metric, load_metrics
from neonblue_lab.settings import CHECKOUT


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "metrics.yaml"


def test_the_shipped_file_defines_what_it_describes() -> None:
    metrics = load_metrics(CHECKOUT / "data" / "metrics.yaml")

    assert metrics["conversion"] == Metric(
        name="conversion", kind="proportion", event="conversion", description=metrics["conversion"].description
    )
    assert (metrics["revenue_per_user"].event, metrics["revenue_per_user"].of) == ("purchase", "value")
    assert metrics["page_load_ms"].better == "lower"
    assert metrics["click_rate"].event is None
    assert all(metric.name == name and metric.description for name, metric in metrics.items())


@pytest.mark.parametrize(
    ("definition", "reason"),
    [
        ("{}", "kind: Field required"),
        ("{kind: ratio}", "kind: Input should be 'proportion' or 'mean'"),
        ("{kind: mean, event: purchase}", "`of: value` or `of: count` belongs to a mean"),
        ("{kind: mean, of: value}", "`of: value` or `of: count` belongs to a mean"),
        ("{kind: proportion, event: c, of: count}", "`of: value` or `of: count` belongs to a mean"),
        ("{kind: mean, event: p, of: median}", "of: Input should be 'value' or 'count'"),
        ("{kind: proportion, better: up}", "better: Input should be 'higher' or 'lower'"),
        ("{kind: proportion, events: c}", "events: Extra inputs are not permitted"),
        ("{kind: proportion, event: ''}", "event: String should have at least 1 character"),
        ("{kind: proportion, name: other}", "name"),
        ("{1: proportion}", "keywords must be strings"),
        ("[proportion]", "its definition is not a mapping"),
        ("proportion", "its definition is not a mapping"),
    ],
)
def test_a_wrong_definition_is_named_with_file_and_metric(file: Path, definition: str, reason: str) -> None:
    file.write_text(f"metrics:\n  good: {{kind: mean}}\n  sales: {definition}\n")

    with pytest.raises(BadInput) as error:
        load_metrics(file)

    message = str(error.value)
    assert message.startswith(f"{file}: metric sales: ")
    assert reason in message


@pytest.mark.parametrize("text", ["", "metrics:", "metrics: [a, b]", "- a", "sales: {kind: mean}"])
def test_a_file_without_metrics_says_what_is_missing(file: Path, text: str) -> None:
    file.write_text(text)

    with pytest.raises(BadInput, match="the key `metrics`") as error:
        load_metrics(file)
    assert str(file) in str(error.value)


@pytest.mark.parametrize("content", [b"metrics: {a", b"metrics: \xff\xfe", b"a: !!python/object/apply:os.getcwd []"])
def test_what_is_not_yaml_is_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)

    with pytest.raises(BadInput, match="is not YAML") as error:
        load_metrics(file)
    assert str(file) in str(error.value)


def test_a_metric_defined_twice_is_refused(file: Path) -> None:
    file.write_text("metrics:\n  sales: {kind: mean}\n  sales: {kind: proportion}\n")

    with pytest.raises(BadInput, match="sales is there twice"):
        load_metrics(file)


def test_a_name_that_is_no_text_is_refused(file: Path) -> None:
    file.write_text("metrics:\n  1: {kind: mean}\n")

    with pytest.raises(BadInput, match="metric 1: name"):
        load_metrics(file)


def test_a_missing_file_is_not_found(file: Path) -> None:
    with pytest.raises(NotFound, match="no metrics file"):
        load_metrics(file)
