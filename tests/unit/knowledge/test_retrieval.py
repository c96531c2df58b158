"""Two scores become one order: against a plain sort, and candidates against scoring all."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from neonblue_lab.knowledge.retrieval import best, combined, likeliest

parts = st.lists(
    st.tuples(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0]), st.sampled_from([0.0, 0.5, 1.0])), max_size=12
)


@given(parts, st.integers(1, 15))
def test_the_best_are_those_of_a_plain_sort(scored: list[tuple[float, float]], limit: int) -> None:
    positions = np.arange(len(scored))[::-1] * 3
    vector, lexical = np.array(scored, float).reshape(-1, 2).T
    found = best(positions, vector, lexical, limit)
    plain = sorted(zip(-(0.6 * vector + 0.4 * lexical), positions, strict=True))[:limit]
    assert found.positions.tolist() == [position for _, position in plain]
    np.testing.assert_allclose(found.scores, [-score for score, _ in plain])
    np.testing.assert_allclose(found.scores, combined(found.vector, found.lexical))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(1, 40), st.data())
def test_candidates_hold_both_parts_best(lexical: list[float], count: int, data: st.DataObject) -> None:
    everything = np.arange(len(lexical))
    allowed = np.array(sorted(data.draw(st.sets(st.sampled_from(everything.tolist())))), np.int64)
    near = allowed[: count // 2]
    scores = np.array(lexical)
    found = likeliest(near, scores, allowed, count)
    assert set(near) <= set(found) <= set(allowed)
    top = sorted(scores[allowed])[::-1][:count]
    assert sum(scores[found] >= (top[-1] if top else 2)) >= len(top)
    assert len(set(found)) == len(found) <= len(near) + count
