"""metrics.yaml: what is right is read, what is wrong is named with file, line and metric."""

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
        ("{kind: median}", "kind: Input should be 'proportion', 'mean', 'ratio', 'quantile' or 'retention'"),
        ("{kind: mean, event: purchase}", "`of: value`, `of: count` or of an expression belongs to a mean"),
        ("{kind: mean, of: value}", "`of: value`, `of: count` or of an expression belongs to a mean"),
        ("{kind: proportion, event: c, of: count}", "`of: value`, `of: count` or of an expression belongs to a mean"),
        ("{kind: mean, event: p, of: median}", "of: Value error, `median` is no part of an event"),
        ("{kind: mean, event: p, of: value +}", "of: Value error, `value +` is not an expression"),
        ("{kind: mean, event: p, of: value > 3}", "`value > 3` is no part of an event"),
        ("{kind: mean, event: p, of: value, where: value}", "where: Value error, `value` is no condition"),
        ("{kind: mean, where: value > 1}", "belong to what is computed from an `event`"),
        ("{kind: mean, window: 7}", "`window` and `covariate_days` belong to what is computed"),
        ("{kind: mean, event: p, of: count, per_user: max}", "`per_user` belongs to a number of the events"),
        ("{kind: mean, event: p, of: value, cap: 1, cap_percentile: 9}", "two answers to one question"),
        ("{kind: mean, event: p, of: value, cap: .inf}", "cap: Input should be a finite number"),
        ("{kind: mean, event: p, of: value, cap_percentile: 100}", "cap_percentile: Input should be less than 100"),
        ("{kind: mean, event: p, of: value, window: 0}", "`window` ends before it begins"),
        ("{kind: mean, event: p, of: value, window: [7, 1]}", "`window` ends before it begins"),
        ("{kind: mean, event: p, of: value, window: -1}", "window.1: Input should be greater than or equal to 0"),
        ("{kind: mean, event: p, of: value, window: true}", "window: Input should be a valid tuple"),
        ("{kind: mean, event: p, of: value, users: with_event}", "`users: with_event` belongs to a quantile"),
        ("{kind: mean, event: p, of: value, covariate_days: 0}", "covariate_days: Input should be greater than 0"),
        ("{kind: mean, event: p, of: value, margin: 2}", "margin: Input should be less than 1"),
        ("{kind: mean, event: p, of: value, per: {event: v, of: count}}", "`per`, the denominator, belongs to a ratio"),
        ("{kind: ratio, event: p, of: value}", "`per`, the denominator, belongs to a ratio, and a ratio needs it"),
        ("{kind: ratio, event: p, of: value, per: {event: v}}", "`per` needs an `event` and what of it"),
        ("{kind: ratio, event: p, of: value, per: {event: v, of: nothing}}", "per.of: Value error, `nothing`"),
        ("{kind: ratio, per: {event: v, of: count}}", "a ratio is computed from an `event`"),
        ("{kind: quantile, event: p, of: value}", "`quantile` (such as 0.9) belongs to the kind quantile"),
        ("{kind: mean, event: p, of: value, quantile: 0.5}", "`quantile` (such as 0.9) belongs to the kind quantile"),
        ("{kind: quantile, event: p, of: value, quantile: 90}", "quantile: Input should be less than 1"),
        (
            "{kind: quantile, event: p, of: value, quantile: 0.9, covariate_days: 7}",
            "a quantile has no `covariate_days`",
        ),
        ("{kind: quantile, event: p, of: value, quantile: 0.9, cap: 7}", "a quantile is not capped"),
        ("{kind: retention, event: visit}", "a retention needs a `window` that begins after exposure"),
        ("{kind: retention, event: visit, window: 7}", "a retention needs a `window` that begins after exposure"),
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
    assert message.startswith(f"{file}:3: metric sales: ")
    assert reason in message


@pytest.mark.parametrize(
    ("definition", "line"),
    [
        ("kind: mean\n    of: value\n    better: up", 5),
        ("kind: ratio\n    event: p\n    of: value\n    per:\n      event: v\n      of: value +", 8),
        ("kind: mean\n    window: 3", 2),
        ("kind: mean\n    widow: 3", 4),
        ("kind: mean\n    window:\n    - 1\n    - x", 4),
    ],
)
def test_an_error_names_the_line_of_what_is_wrong(file: Path, definition: str, line: int) -> None:
    file.write_text(f"metrics:\n  sales:\n    {definition}\n  good: {{kind: mean}}\n")

    with pytest.raises(BadInput, match=rf"metrics\.yaml:{line}: metric sales: "):
        load_metrics(file)


def test_the_examples_of_the_shipped_file_are_definitions(file: Path) -> None:
    """Those that stand in its comments, for others to copy."""
    shipped = (CHECKOUT / "data" / "metrics.yaml").read_text("utf-8").splitlines()
    start = shipped.index("# Examples")
    examples = [line.removeprefix("#") for line in shipped[start + 1 : shipped.index("metrics:")]]
    file.write_text("\n".join(["metrics:", *examples]))

    kinds = {metric.kind for metric in load_metrics(file).values()}

    assert kinds == {"proportion", "mean", "ratio", "quantile", "retention"}


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

    with pytest.raises(BadInput, match=r"metrics\.yaml:3: this is not YAML: sales is there twice"):
        load_metrics(file)


def test_a_name_that_is_no_text_is_refused(file: Path) -> None:
    file.write_text("metrics:\n  1: {kind: mean}\n")

    with pytest.raises(BadInput, match="metric 1: name"):
        load_metrics(file)


def test_a_missing_file_is_not_found(file: Path) -> None:
    with pytest.raises(NotFound, match="no metrics file"):
        load_metrics(file)
