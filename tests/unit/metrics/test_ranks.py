"""Where the exact ranks of a quantile's interval lie: near enough to those that are fetched around."""

import numpy as np
import pytest

from neonblue_lab.metrics.ranks import REACH
from neonblue_lab.stats.quantiles import quantile_ranks


@pytest.mark.parametrize("share", [0.0005, 0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9995])
def test_exact_ranks_are_near_the_approximate_ones(share: float) -> None:
    n = np.concatenate([np.arange(1, 3_001), np.arange(3_001, 60_001, 97), [1e5, 1e6, 1e7, 1e8]]).astype(float)
    exact = quantile_ranks(n, share)
    half = 1.959963984540054 * np.sqrt(n * share * (1 - share))

    for middle, ranks in ((n * share - half, exact.low), (n * share + half, exact.high)):
        known = (ranks >= 1) & (ranks <= n)
        first = np.maximum(np.floor(middle) - REACH, 1)
        assert (ranks[known] >= first[known]).all()
        assert (ranks[known] <= first[known] + 2 * REACH).all()
