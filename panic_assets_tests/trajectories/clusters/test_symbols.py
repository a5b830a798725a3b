"""Symbol sequences by hand."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from panic_assets.trajectories.clusters.symbols import bigrams, classes, dwells, milestones, repetition, transitions

A, B, C = 0, 1, 2


def spell(text):
    return np.array([" ABC".index(letter) - 1 for letter in text])


FACT = spell("AAAAABBBAACCCCBBBBAA")  # A5 B3 A2 C4 B4 A2


def test_the_fact():
    found = dwells(FACT)
    assert found.length.tolist() == [5, 3, 2, 4, 4, 2]
    assert found.symbol.tolist() == [A, B, A, C, B, A]
    assert found.start.tolist() == [0, 5, 8, 10, 14, 18]
    assert found.censored.tolist() == [True, False, False, False, False, True]
    assert transitions([FACT]) == {(A, B): 1, (B, A): 2, (A, C): 1, (C, B): 1}


def test_nothing_happens_between_two_runs():
    assert transitions([spell("AA"), spell("BB")]) == {}
    assert bigrams([spell("AA"), spell("BB")]) == {(A, A): 1, (B, B): 1}


def test_outliers_are_on_the_way_and_no_state():
    assert milestones(spell("  A  B A ")).tolist() == [-1, -1, A, A, A, B, B, A, A]
    assert transitions([spell(" A  A B ")]) == {(A, B): 1}
    assert bigrams([spell(" A  B")]) == {(A, A): 2, (A, B): 1}
    assert transitions([spell("   ")]) == bigrams([spell("")]) == {}


def test_absorbing_and_recurrent_sets():
    found = classes([spell("ABABAB"), spell("CCAB")])
    assert found.recurrent == [[A, B]]
    assert found.transient == [C]
    assert found.absorbing == []
    assert classes([spell("ABCCC"), spell("AB BC")]).absorbing == [C]
    assert classes([spell("ABA"), spell("CC")]).recurrent == [[A, B], [C]]
    assert classes([]).recurrent == []


@given(st.lists(st.integers(-1, 3), max_size=40))
def test_dwells_rebuild_the_sequence(labels):
    found = dwells(np.array(labels, dtype=np.int64))
    assert np.repeat(found.symbol, found.length).tolist() == labels
    assert (found.length > 0).all()
    assert (np.diff(found.symbol) != 0).all()
    sequences = [np.array(labels, dtype=np.int64)]
    moves = sum(count for (i, j), count in bigrams(sequences).items() if i != j)
    assert moves == sum(transitions(sequences).values())


def test_first_exact_repeat_at_the_same_position_of_the_network():
    found = repetition(list("abcdcd"), 2)
    assert (found.first, found.again, found.length) == (2, 4, 2)
    assert repetition(list("xaby"), 2) is None
    assert repetition(list("ab") + list("ba"), 2) is None  # equal, but at the other position
    assert repetition(list("aa"), 2) is None
    assert repetition(list("aa"), 1).length == 1
    assert repetition([], 3) is None
