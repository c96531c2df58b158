"""What a search found and what experiments came to: drawn from little, in order, and with the words that are needed."""

from typing import Any

import polars as pl
import pytest

from neonblue_lab.errors import BadInput
from neonblue_lab.plots import likeness_chart, outcomes_chart

HITS = pl.DataFrame(
    {
        "label": [
            "One-page checkout",
            "Wallet button\nWallet buttons above the card form for all users of the shop",
            None,
        ],
        "meaning": [0.4, 0.2, -0.05],
        "words": [0.2, 0.3, 0.0],
        "note": ["win", None, "flat"],
    }
)
EXPERIMENTS = pl.DataFrame(
    {
        "group": ["checkout"] * 3 + ["pricing", None],
        "outcome": ["win", "loss", "win", "flat", "something else"],
    }
)


def test_scores_are_told_with_their_notes(texts: Any) -> None:
    shown = texts(likeness_chart(HITS, title="Why these?"))
    for text in ("Why these?", "One-page checkout", "(no label)", "0.6 · win", "near in meaning", "alike in wording"):
        assert text in shown
    assert "0.5" in shown
    assert "no probability" in shown


def test_outcomes_are_counted(texts: Any) -> None:
    shown = texts(outcomes_chart(EXPERIMENTS, by="type"))
    for text in ("by type", "5 experiments; of 4 that are over and sound, 2 won", "checkout", "pricing", "unknown"):
        assert text in shown


@pytest.mark.parametrize("rows", [1, 3])
def test_few_rows_are_enough(texts: Any, rows: int) -> None:
    assert texts(likeness_chart(HITS.drop("note").head(rows), title="t"))
    assert texts(outcomes_chart(EXPERIMENTS.head(rows), by="type"))


def test_nothing_to_show_is_said() -> None:
    for draw in (
        lambda: likeness_chart(HITS.clear(), title="t"),
        lambda: outcomes_chart(EXPERIMENTS.clear(), by="type"),
    ):
        with pytest.raises(BadInput, match="has nothing to show"):
            draw()
