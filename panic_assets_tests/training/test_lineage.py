import pytest
from hypothesis import given
from hypothesis import strategies as st

from panic_assets.errors import UserError
from panic_assets.training.lineage import Lineage, Parent


def family():
    return Lineage(
        {"base": None, "a": Parent("base", 10), "b": Parent("base", 20), "a1": Parent("a", 5), "other": None}
    )


def test_ancestors_and_descendants():
    tree = family()
    assert tree.ancestors("a1") == ["a", "base"]
    assert tree.descendants("base") == ["a", "a1", "b"]
    assert tree.descendants("other") == []
    assert tree.roots() == ["base", "other"]
    assert tree.parent("a1") == Parent("a", 5)


def test_cycles_and_missing_parents_are_refused():
    with pytest.raises(UserError, match="descend from itself"):
        Lineage({"a": Parent("b", 1), "b": Parent("a", 1)})
    with pytest.raises(UserError, match="descend from itself: a -> a"):
        Lineage({"a": Parent("a", 1)})
    with pytest.raises(UserError, match="'bsae', which is not registered; did you mean 'base'"):
        Lineage({"base": None, "a": Parent("bsae", 1)})


def test_a_new_run_must_start_from_a_checkpoint_that_exists():
    tree = family().with_run("c", Parent("b", 7), epochs_of_parent=[5, 7])
    assert tree.ancestors("c") == ["b", "base"]
    with pytest.raises(UserError, match="no checkpoint at epoch 8; the nearest is at 7"):
        family().with_run("c", Parent("b", 8), epochs_of_parent=[7, 1])
    with pytest.raises(UserError, match="another parent"):
        family().with_run("a", None)


def test_deleting_a_parent_is_blocked_or_leaves_a_tombstone():
    tree = family()
    assert tree.on_delete("a1") == "remove"
    assert tree.on_delete("a", "tombstone") == "tombstone"
    with pytest.raises(UserError, match="parent of a1"):
        tree.on_delete("a")
    with pytest.raises(UserError, match="did you mean 'other'"):
        tree.on_delete("othr")


@given(st.lists(st.integers(0, 100), max_size=40))
def test_ancestors_and_descendants_are_each_others_inverse(draws):
    # Run i's parent is any earlier run, or none: always a forest.
    runs = {"0": None}
    for i, d in enumerate(draws, start=1):
        runs[str(i)] = None if d % (i + 1) == i else Parent(str(d % (i + 1)), 0)
    tree = Lineage(runs)
    for run in runs:
        assert {d for d in runs if run in tree.ancestors(d)} == set(tree.descendants(run))
        assert len(tree.descendants(run)) == len(set(tree.descendants(run)))
