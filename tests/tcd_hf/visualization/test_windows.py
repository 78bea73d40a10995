import numpy as np
import pytest
import torch

from tcd_hf.processing.window_ocr import WindowCaption
from tcd_hf.visualization import plot_window_similarity
from tcd_hf.visualization.film_strip import DrawnClip, read_clip
from tcd_hf.visualization.windows import window_similarities
from tests.tcd_hf.conftest import NUM_FRAMES, make_tiny_model, make_tiny_processor


@pytest.fixture
def makers(code_reader):
    return make_tiny_model(), make_tiny_processor(code_reader)


def test_cosines_are_those_of_a_search(makers, clips):
    model, processor = makers
    clip = read_clip(model, processor, clips["shop.mp4"])
    frames, windows = window_similarities(model, processor, "tesco express", clip)
    with torch.no_grad():
        text = model.get_text_features(**processor(text="tesco express")).pooler_output[0]
        video = model.get_video_features(
            **processor(videos=[str(clips["shop.mp4"])])  # read anew
        )
    for window in range(NUM_FRAMES):
        expected = torch.cosine_similarity(video.fused_frame_embeds[0, window], text, dim=0).item()
        assert frames[window] == pytest.approx(expected, abs=1e-6)
        if window < 2:
            assert np.isnan(windows[window])  # the shop's texts come in second 2
        else:
            expected = torch.cosine_similarity(video.fused_ocr_embeds[0, window], text, dim=0).item()
            assert windows[window] == pytest.approx(expected, abs=1e-6)


class TestPlot:
    @pytest.fixture(autouse=True)
    def matplotlib(self):
        return pytest.importorskip("matplotlib", reason="needs the extra tcd-hf[plot]")

    def test_shades_the_best_window(self, makers, clips, tmp_path, monkeypatch):
        cosines = np.array([0.1, 0.2, 0.5, 0.0]), np.array([np.nan, np.nan, 0.2, 0.3])
        monkeypatch.setattr("tcd_hf.visualization.windows.window_similarities", lambda *args: cosines)
        figure = plot_window_similarity(*makers, "costs $5 or $6", clips["shop.mp4"], tmp_path / "windows.svg")
        _, curves, _ = figure.axes
        frames, windows = curves.lines
        np.testing.assert_array_equal(frames.get_ydata(), cosines[0])
        np.testing.assert_array_equal(windows.get_ydata(), cosines[1])
        (shade,) = curves.patches  # frames relative to .2: .3 in window 2; texts relative to .25: -.05; so .125
        assert (shade.get_x(), shade.get_width()) == (1.5, 1.0)
        assert figure.get_suptitle() == "“costs $5 or $6” in shop.mp4"
        assert (tmp_path / "windows.svg").read_bytes().startswith(b"<?xml")

    def test_a_clip_without_text_has_a_best_window_too(self, makers, clips):
        figure = plot_window_similarity(*makers, "waves", clips["sea.mp4"])
        frames, windows = figure.axes[1].lines
        assert np.isnan(windows.get_ydata()).all()
        (shade,) = figure.axes[1].patches
        assert shade.get_x() + 0.5 == frames.get_ydata().argmax()

    @pytest.mark.parametrize("query", ["TESCO express", "a sign that says TESCO express " * 5, "x" * 400])
    @pytest.mark.parametrize("spread", [1.0, 0.002])  # the smaller, the longer the numbers at the axis
    def test_nothing_is_cut_off(self, makers, monkeypatch, query, spread):
        captions = [WindowCaption(float(start), start + 1.0, "OPEN") for start in range(8)]
        clip = DrawnClip("clip.mp4", [np.zeros((48, 64, 3), np.uint8)] * 8, captions, None)
        cosines = np.linspace(-spread, spread, 8), np.linspace(spread, 0, 8)
        monkeypatch.setattr("tcd_hf.visualization.windows.read_clip", lambda *args: clip)
        monkeypatch.setattr("tcd_hf.visualization.windows.window_similarities", lambda *args: cosines)
        figure = plot_window_similarity(*makers, query, "clip.mp4")
        width, height = figure.get_size_inches()
        box = figure.get_tightbbox()  # inches
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
        title, times = figure._suptitle.get_window_extent(), figure.axes[2].texts[0].get_window_extent()
        assert title.y0 > times.y1
        assert figure.get_suptitle().endswith("..." if len(query) == 400 else "clip.mp4")

    def test_an_empty_query(self, makers, clips):
        with pytest.raises(ValueError, match="empty"):
            plot_window_similarity(*makers, " ", clips["sea.mp4"])
