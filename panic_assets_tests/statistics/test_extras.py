"""A missing extra is named in one sentence. (What an installed package says is tested with its wheel.)"""

import importlib

import pytest

from panic_assets.errors import UserError
from panic_assets.extras import extra, require
from panic_assets.settings import PROJECT

SENTENCE = rf"^no_such_thing is not installed; `pip install -e '{PROJECT}\[ray\]'` brings it$"


def test_a_missing_extra_is_said():
    with pytest.raises(UserError, match=SENTENCE), extra("ray"):
        importlib.import_module("no_such_thing.inside")


def test_one_that_is_only_looked_for_is_said_in_the_same_words():
    require("ray", "json")
    with pytest.raises(UserError, match=SENTENCE):
        require("ray", "no_such_thing")
