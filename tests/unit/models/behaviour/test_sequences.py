import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neonblue_lab.errors import BadInput
from neonblue_lab.models.behaviour.sequences import UNKNOWN, Sequences, encode

lists = st.lists(st.lists(st.integers(-1, 5), max_size=7), max_size=6)


def as_lists(sequences: Sequences) -> list[list[int]]:
    return [part.tolist() for part in sequences]


@given(lists)
def test_sequences_hold_what_they_were_made_of(wanted: list[list[int]]) -> None:
    sequences = Sequences.of(wanted)

    assert as_lists(sequences) == wanted
    assert sequences.lengths.tolist() == [len(part) for part in wanted]
    codes, owner = sequences.flat()
    assert codes.tolist() == [code for part in wanted for code in part]
    assert owner.tolist() == [number for number, part in enumerate(wanted) for _ in part]


@given(lists, st.integers(0, 3))
def test_targets_follow_what_came_before_them_in_their_own_sequence(wanted: list[list[int]], first: int) -> None:
    contexts, targets = Sequences.of(wanted).targets(first)

    expected = [(part[:at], part[at]) for part in wanted for at in range(first, len(part))]
    assert list(zip(as_lists(contexts), targets.tolist(), strict=True)) == expected


@given(lists)
def test_prefixes_end_with_each_action(wanted: list[list[int]]) -> None:
    expected = [part[: at + 1] for part in wanted for at in range(len(part))]

    assert as_lists(Sequences.of(wanted).prefixes()) == expected


@given(lists, st.integers(1, 4))
def test_actions_ago(wanted: list[list[int]], back: int) -> None:
    sequences = Sequences.of(wanted)

    assert sequences.ago(back, before=9).tolist() == [part[-back] if len(part) >= back else 9 for part in wanted]


@given(lists)
def test_flat_codes_of_chosen_sequences_are_theirs_alone(wanted: list[list[int]]) -> None:
    chosen = Sequences.of(wanted).take(slice(1, None, 2))

    assert chosen.flat()[0].tolist() == [code for part in wanted[1::2] for code in part]


def test_rows_become_sequences_by_runs_of_their_key() -> None:
    sequences = Sequences.of_rows(["b", "b", "a"], [4, 5, 6])

    assert as_lists(sequences) == [[4, 5], [6]]
    with pytest.raises(BadInput, match="next to each other"):
        Sequences.of_rows(["b", "a", "b"], [4, 5, 6])


def test_sequences_that_lie_outside_their_values_are_refused() -> None:
    values = np.array([1, 2, 3])
    with pytest.raises(BadInput, match="Sequence 1 is 2 to 4 of 3 values"):
        Sequences(values, np.array([0, 2]), np.array([1, 4]))
    with pytest.raises(BadInput, match="A code is -2"):
        Sequences.of([[-2]])


def test_actions_get_their_place_in_the_vocabulary() -> None:
    assert encode(["cart", "view", "fly"], ["view", "cart"]).tolist() == [1, 0, UNKNOWN]
    assert encode(["view"], []).tolist() == [UNKNOWN]
    assert encode([], ["view"]).tolist() == []
