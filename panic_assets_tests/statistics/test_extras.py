"""A missing extra is named in one sentence."""

import importlib

import pytest

from panic_assets.errors import UserError
from panic_assets.extras import extra


def test_a_missing_extra_is_said():
    sentence = r"^no_such_thing is not installed; `pip install 'panic-assets\[analysis\]'` brings it$"
    with pytest.raises(UserError, match=sentence), extra("analysis"):
        importlib.import_module("no_such_thing")
