import pytest

from panic_assets.errors import UserError
from panic_assets.finetunes.captions.names import inside


def test_names_stay_inside_the_data_set(tmp_path):
    folder, out = tmp_path / "set", tmp_path / "out.txt"
    folder.mkdir()
    out.write_text("x")
    (folder / "a.txt").write_text("a")
    (folder / "near.txt").symlink_to("a.txt")
    (folder / "far.txt").symlink_to(out)
    (folder / "loop.txt").symlink_to("loop.txt")
    assert inside(folder, "a.txt") == folder / "a.txt"
    assert inside(folder, "new..txt") == folder / "new..txt"
    assert inside(folder, "near.txt") == folder / "near.txt"
    for name in ("../out.txt", "/etc/passwd", "..", ".", "", "a/b.txt", "a\\b.txt", "a\0.txt", 5, None, "far.txt"):
        with pytest.raises(UserError, match="nothing was written"):
            inside(folder, name)
