"""Numbers in few characters."""

import pytest

from neonblue_lab.cli.wording import brief, counted, lasting, size


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0"), (7.25, "7.25"), (999, "999"), (999.6, "1k"), (1234, "1.23k"), (182_400, "182k"), (999_600, "1M"), (2.5e9, "2.5G"), (3e12, "3,000G")],
)  # fmt: skip
def test_counts(count: float, said: str) -> None:
    assert brief(count) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-3, "0.0 s"), (0.44, "0.4 s"), (12.2, "12 s"), (119, "119 s"), (185, "3 min"), (5 * 3600, "5 h"), (9 * 86400, "9 d")],
)  # fmt: skip
def test_times(seconds: float, said: str) -> None:
    assert lasting(seconds) == said


@pytest.mark.parametrize(
    ("count", "said"), [(812, "812 bytes"), (34_000, "34 kB"), (999_600, "1 MB"), (1.24e9, "1.2 GB")]
)
def test_sizes(count: float, said: str) -> None:
    assert size(count) == said


def test_one_and_many() -> None:
    assert [counted(n, "dead letter") for n in (0, 1, 1200)] == [
        "0 dead letters",
        "1 dead letter",
        "1,200 dead letters",
    ]
