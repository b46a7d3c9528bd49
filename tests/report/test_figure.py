"""Where pictures go."""

import pytest
from matplotlib.figure import Figure

from folio.errors import UserError
from folio.report.figure import check_picture_path, save_figure


def test_a_picture_replaces_the_one_before(tmp_path):
    path = tmp_path / "loss.png"
    path.write_text("old")
    save_figure(Figure(), path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [each.name for each in tmp_path.iterdir()] == ["loss.png"]


@pytest.mark.parametrize(
    ("name", "told"),
    [("a.jpg", "must end in .png"), ("absent/a.png", "there is no folder"), ("folder.png", "is a folder")],
)
def test_a_path_that_cannot_be_is_told_before_any_work(tmp_path, name, told):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError, match=told):
        check_picture_path(tmp_path / name)
    check_picture_path(tmp_path / "a.PNG")
