import warnings

import pytest

from tcd_hf.visualization.style import FONTS, LINES, new_figure

matplotlib = pytest.importorskip("matplotlib", reason="needs the extra tcd-hf[plot]")


def test_style_ends_with_the_figure(tmp_path):
    before = dict(matplotlib.rcParams)
    with new_figure(2, 1, tmp_path / "deep" / "a.png") as figure:
        assert matplotlib.rcParams["text.parse_math"] is False
        figure.add_subplot().set_title("$5 and $6")
    assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "deep" / "a.png").read_bytes().startswith(b"\x89PNG")
    assert figure.get_size_inches().tolist() == [2, 1]


def test_nothing_is_written_where_drawing_fails(tmp_path):
    with pytest.raises(RuntimeError), new_figure(2, 1, tmp_path / "a.png"):
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_an_ending_that_is_no_picture(tmp_path):
    with pytest.raises(ValueError, match="txt"), new_figure(2, 1, tmp_path / "a.txt"):
        pass


def test_only_fonts_that_are_installed_are_asked_for(tmp_path):
    with warnings.catch_warnings(), new_figure(2, 1, tmp_path / "a.png") as figure:
        warnings.simplefilter("error")
        assert matplotlib.rcParams["font.family"][0] == FONTS[0]
        figure.add_subplot().set_title("plain")


def test_lines_differ():
    assert len(set(LINES)) == len(LINES) == 28
    assert len({colour for colour, _ in LINES[:7]}) == 7
