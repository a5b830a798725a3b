"""One person is one rater, however the name is typed."""

import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from panic_assets.errors import UserError
from panic_assets.finetunes.ab.raters import LONGEST, rater_name

INVISIBLE = st.sampled_from("\u200b\u200c\u200d\u2060\ufeff\u00ad\u034f\u3164\ufe0f\u202e\U000e0041\U000e0101")
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


def stored(typed: str) -> str:
    try:
        return rater_name(typed)
    except UserError:
        assume(False)
        raise


@given(NAMES, INVISIBLE, st.data())
def test_what_cannot_be_seen_makes_nobody_else(typed, unseen, data):
    at = data.draw(st.integers(0, len(typed)))
    assert stored(typed[:at] + unseen + typed[at:]) == stored(typed)


@given(NAMES, st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_how_a_letter_is_encoded_makes_nobody_else(typed, form):
    assert stored(unicodedata.normalize(form, typed)) == stored(typed)


@given(st.text(st.characters(max_codepoint=0x24F, categories=["L", "N", "Zs"]), min_size=1, max_size=20))
def test_capitals_make_nobody_else(typed):
    turned = typed.swapcase()
    assume(turned.casefold() == typed.casefold())
    assert stored(turned) == stored(typed) == stored(f"  {typed.casefold()} ")


@given(NAMES)
def test_a_stored_name_stays_what_it_is_and_shows_all_that_it_has(typed):
    name = stored(typed)
    assert rater_name(name) == name
    assert 0 < len(name) <= LONGEST
    assert not any(unicodedata.category(c).startswith("C") for c in name)
    assert name == " ".join(name.split())


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        (" Ann\u200b  LEE ", "ann lee"),
        ("Ａｎｎ", "ann"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("E\u0301va", "éva"),
        ("ann\tlee\n", "ann lee"),
        ("李\ufe00", "李"),
    ],
)
def test_names(typed, name):
    assert rater_name(typed) == name


@pytest.mark.parametrize("typed", ["", "  ", "\u200b\u3164", "\u2800", "\x00\n"])
def test_a_name_that_shows_nothing_is_refused(typed):
    with pytest.raises(UserError, match="rater is blank"):
        rater_name(typed)


def test_a_name_has_a_limit():
    assert rater_name("a" * LONGEST) == "a" * LONGEST
    with pytest.raises(UserError, match="rater has 81 characters; a name has at most 80"):
        rater_name("a" * (LONGEST + 1))
    with pytest.raises(UserError, match="at most 80"):
        rater_name("\ufdfa" * 30)
