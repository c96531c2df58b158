"""Recall of an index against exact search: right on cases that are worked out by hand."""

import numpy as np
import pytest

from neonblue_lab.knowledge.index_building import recall

ANGLES = np.deg2rad([0, 10, 20, 30, 90])
VECTORS = np.column_stack([np.cos(ANGLES), np.sin(ANGLES)]).astype(np.float32)


@pytest.mark.parametrize(
    ("found", "share"),
    [([0, 1, 2], 1.0), ([1, 2], 1.0), ([0, 1, 3], 0.5), ([3, 4], 0.0), ([0], 0.0), ([1, 3, 2], 0.5)],
)
def test_share_of_the_exact_neighbours(found: list[int], share: float) -> None:
    assert recall([found], [0], VECTORS, 2) == share


def test_equally_near_documents_are_equally_right() -> None:
    twins = np.repeat(VECTORS[:2], 3, axis=0)
    assert recall([[1], [2]], [0, 0], twins, 1) == 1.0


def test_fewer_documents_than_neighbours() -> None:
    assert recall([[0, 1, 2]], [0], VECTORS[:3], 10) == 1.0
    assert recall([[0]], [0], VECTORS[:1], 10) is None
