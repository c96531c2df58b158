"""What an experiment came to: worked out by hand for each kind, whatever the order of its comparisons."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neonblue_lab.metrics.definitions import Metric
from neonblue_lab.metrics.outcome import OUTCOMES, decided, stands_at

WAIT = {"wait": Metric(name="wait", kind="mean", better="lower")}
Arm = tuple[float | None, float | None]


def came_to(arms: list[Arm], metric: str = "clicks") -> tuple[str, float | None]:
    """The outcome, and the difference of the comparison that decided; an arm is (difference, adjusted p)."""
    frame = pl.DataFrame(
        [("e", metric, difference, p) for difference, p in arms],
        schema={"experiment_id": pl.String, "metric": pl.String, "difference": pl.Float64, "p_adjusted": pl.Float64},
        orient="row",
    )
    (row,) = decided(frame, WAIT).to_dicts()
    return row["outcome"], row["difference"]


@pytest.mark.parametrize(
    ("arms", "outcome", "difference"),
    [
        ([(0.2, 0.01)], "win", 0.2),
        ([(0.2, 0.05)], "flat", 0.2),
        ([(-0.2, 0.01)], "loss", -0.2),
        ([(0.2, None)], "unknown", 0.2),
        ([(None, None)], "unknown", None),
        ([(0.1, 0.01), (0.3, 0.4)], "win", 0.1),  # the larger one is not clear
        ([(0.1, 0.01), (0.2, 0.02), (-0.5, 0.001)], "win", 0.2),
        ([(0.3, 0.4), (-0.1, 0.01)], "loss", -0.1),  # nothing is clearly better, and one is clearly worse
        ([(-0.3, 0.01), (-0.1, 0.01)], "loss", -0.1),
        ([(0.0, 0.01)], "flat", 0.0),
        ([(0.9, None), (0.1, 0.6)], "flat", 0.1),
    ],
)
def test_each_kind(arms: list[Arm], outcome: str, difference: float | None) -> None:
    assert came_to(arms) == (outcome, difference)
    assert came_to(arms[::-1]) == (outcome, difference)


def test_less_is_better_where_the_metric_says_so() -> None:
    assert came_to([(0.2, 0.01)], "wait") == ("loss", 0.2)
    assert came_to([(-0.2, 0.01), (-0.3, 0.02), (0.4, 0.01)], "wait") == ("win", -0.3)


numbers = st.floats(-1, 1, allow_subnormal=False)


@given(st.lists(st.tuples(numbers, st.none() | st.floats(0, 1)), min_size=1, max_size=6))
def test_a_mirrored_experiment_wins_where_it_lost(arms: list[Arm]) -> None:
    outcome, _ = came_to(arms)
    mirrored, _ = came_to([(-difference, p) for difference, p in arms if difference is not None])
    better, worse = (any(s * d > 0 and p is not None and p < 0.05 for d, p in arms if d is not None) for s in (1, -1))
    assert (outcome == "win", mirrored == "win") == (better, worse)
    assert {outcome, mirrored} <= set(OUTCOMES)


def test_what_is_told_of_it() -> None:
    frame = pl.DataFrame(
        {
            "experiment_id": ["broken", "running", "won", "unmeasured", "unstated"],
            "status": ["running", "running", "completed", "completed", None],
            "outcome": ["win", "win", "win", None, "flat"],
        }
    )
    told = frame.select(stands_at(["broken"])).to_series().to_list()
    assert told == ["broken split", "running", "win", "unknown", "flat"]
