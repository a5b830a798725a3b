"""A missing extra is named in one sentence."""

import pytest

from panic_assets.errors import UserError
from panic_assets.extras import extra


def test_a_missing_extra_is_said():
    with (
        pytest.raises(
            UserError, match=r"^no_such_thing is not installed; `pip install 'panic-assets\[analysis\]'` brings it$"
        ),
        extra("analysis"),
    ):
        import no_such_thing  # noqa: F401
