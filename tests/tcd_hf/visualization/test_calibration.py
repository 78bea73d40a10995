import numpy as np
import pytest
import torch

from tcd_hf.modeling.calibration import CalibrationLoss
from tcd_hf.modeling.outputs import TCDVideoFeatures
from tcd_hf.processing.video_reading import VideoReadError
from tcd_hf.visualization import plot_calibration_cycle
from tcd_hf.visualization.calibration import Cycle, calibration_cycle
from tcd_hf.visualization.style import GREEN
from tests.tcd_hf.conftest import NUM_FRAMES, make_tiny_model, make_tiny_processor


def random_clip(seed=0, frames=6, dim=8):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.ones(frames, dtype=torch.bool)
    mask[2] = False
    return *(torch.randn(frames, dim, generator=generator) for _ in range(2)), mask


def cycle_of(frames, windows, mask, temperature, frame_mask=None):
    given = {"frame_embeds": frames, "ocr_embeds": windows, "fused_ocr_embeds": windows, "ocr_mask": mask.long()}
    if frame_mask is not None:
        given["frame_mask"] = frame_mask.long()
    return calibration_cycle(TCDVideoFeatures(**{name: part[None] for name, part in given.items()}), temperature)


class TestCycle:
    def test_by_hand(self):
        axes = torch.eye(3)
        windows = axes[[1, 0, 2]]  # the text of frame 0 is in window 1, and so on; window 2 shows none
        mask = torch.tensor([True, True, False])
        cycle = cycle_of(axes, windows, mask, temperature=0.01)
        torch.testing.assert_close(cycle.there[:2], torch.tensor([[0.0, 1, 0], [1, 0, 0]]))
        torch.testing.assert_close(cycle.there[2], torch.tensor([0.5, 0.5, 0]))  # nothing resembles it
        torch.testing.assert_close(cycle.landings, torch.tensor([0, 1, 0.5]))  # between the two it is sent to

    def test_soft_landings_are_not_where_a_frame_returns_to(self):
        back = torch.tensor([[0.4, 0.3, 0.3], [0.2, 0.5, 0.3], [0.6, 0.2, 0.2]])
        cycle = Cycle(torch.eye(3), back, back @ torch.arange(3.0), torch.ones(3, dtype=torch.bool))
        assert cycle.nearest == [0, 1, 0] and cycle.num_home == 2
        torch.testing.assert_close(cycle.landings, torch.tensor([0.9, 1.1, 0.6]))

    @pytest.mark.parametrize("temperature", [0.05, 0.5])
    def test_is_what_the_loss_walks(self, temperature):
        frames, windows, mask = random_clip()
        cycle = cycle_of(frames, windows, mask, temperature)
        normal = torch.nn.functional.normalize
        units = normal(frames, dim=-1)[None], normal(windows, dim=-1)[None]
        from_frames = CalibrationLoss().cycle_error(*units, torch.ones(1, 6, dtype=bool), mask[None], temperature)
        mine = (cycle.landings - torch.arange(6)).square().mean()
        assert mine > 0.1  # frames do move
        torch.testing.assert_close(from_frames, mine[None])

    def test_repeated_frames_walk_no_cycle(self):
        frames, windows, mask = random_clip(seed=2)
        counts = torch.tensor([True, True, False, True, False, True])
        cycle = cycle_of(frames, windows, mask, 0.3, counts)
        assert cycle.places == [0, 1, 3, 5] and (cycle.back[:, [2, 4]] == 0).all()
        normal = torch.nn.functional.normalize
        units = normal(frames, dim=-1)[None], normal(windows, dim=-1)[None]
        expected = CalibrationLoss().cycle_error(*units, counts[None], mask[None], 0.3)
        mine = (cycle.landings - torch.arange(6)).square()[counts].mean()
        torch.testing.assert_close(mine[None], expected)
        assert cycle.num_home == sum(cycle.nearest[place] == place for place in (0, 1, 3, 5))

    def test_against_a_slow_walk(self):
        frames, windows, mask = random_clip(seed=1)
        frames, windows = frames.numpy(), windows.numpy()
        cycle = cycle_of(torch.tensor(frames), torch.tensor(windows), mask, temperature=0.2)
        for start in range(6):
            there = [np.exp(cosine(frames[start], windows[w]) / 0.2) if mask[w] else 0.0 for w in range(6)]
            there = np.array(there) / sum(there)
            found = sum(share * windows[w] / np.linalg.norm(windows[w]) for w, share in enumerate(there))
            back = np.exp([cosine(found, frame) / 0.2 for frame in frames])
            back /= back.sum()
            np.testing.assert_allclose(cycle.there[start], there, atol=1e-6)
            np.testing.assert_allclose(cycle.back[start], back, atol=1e-6)
            assert cycle.landings[start].item() == pytest.approx((back * np.arange(6)).sum(), abs=1e-5)


def cosine(first, second) -> float:
    return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))


class TestPlot:
    @pytest.fixture(autouse=True)
    def matplotlib(self):
        return pytest.importorskip("matplotlib", reason="needs the extra tcd-hf[plot]")

    def test_shows_frames_captions_and_arrows(self, clips, code_reader, tmp_path):
        from matplotlib.patches import FancyArrowPatch

        model, processor = make_tiny_model(), make_tiny_processor(code_reader)
        path = tmp_path / "new" / "cycle.png"
        figure = plot_calibration_cycle(model, processor, clips["shop.mp4"], path)
        assert path.read_bytes().startswith(b"\x89PNG")
        captions, cycle, frames = figure.axes
        assert len(frames.images) == NUM_FRAMES
        assert [text.get_text() for text in frames.texts] == [f"0:00:0{second}.5" for second in range(4)]
        assert captions.texts[0].get_text() == "–" and "TESCO" in captions.texts[3].get_text()
        arrows = [patch for patch in cycle.patches if isinstance(patch, FancyArrowPatch)]
        assert NUM_FRAMES < len(arrows) <= 2 * NUM_FRAMES  # one from each frame, and at least one back
        names = [text.get_text() for text in cycle.texts]
        assert {"$v_{1}$", "$v_{4}$", "$o_{3}$", "$o_{4}$"} <= set(names)
        assert "$o_{1}$" not in names  # a window without text is no place to go
        assert figure.get_suptitle().startswith("shop.mp4: ")

    def test_tells_where_each_frame_returns_to_and_lands(self, clips, code_reader, monkeypatch):
        back = torch.tensor([[0.4, 0.1, 0.1, 0.4], [0.1, 0.1, 0.7, 0.1], [0, 0.1, 0.9, 0], [0.2, 0.2, 0.2, 0.4]])
        cycle = Cycle(torch.eye(4)[[2, 2, 3, 3]], back, back @ torch.arange(4.0), torch.ones(4, dtype=torch.bool))
        monkeypatch.setattr("tcd_hf.visualization.calibration.calibration_cycle", lambda *args: cycle)
        figure = plot_calibration_cycle(make_tiny_model(), make_tiny_processor(code_reader), clips["shop.mp4"])
        axes = figure.axes[1]
        rows = {text.get_text(): text.get_position()[1] for text in axes.texts if text.get_position()[0] < -0.5}
        noted = {
            name: [text.get_text() for text in axes.texts if text.get_position()[1] == row][:NUM_FRAMES]
            for name, row in rows.items()
        }
        assert noted["soft landing"] == ["2.5", "2.8", "2.9", "2.8"]  # the first returns to itself all the same
        assert noted["returns to"] == ["$v_{1}$", "$v_{3}$", "$v_{3}$", "$v_{4}$"]
        green = [line.get_xdata()[0] for line in axes.lines if line.get_markeredgecolor() == GREEN]
        assert green == [0, 2, 3]
        title = "shop.mp4: 3 of 4 frames return to themselves, mean squared distance of soft landings 1.1"
        assert figure.get_suptitle().replace("\n", " ") == title

    def test_a_clip_without_text_has_no_cycle(self, clips, code_reader):
        with pytest.raises(ValueError, match=r"two windows with text or more, sea\.mp4 has 0"):
            plot_calibration_cycle(make_tiny_model(), make_tiny_processor(code_reader), clips["sea.mp4"])

    def test_a_model_that_does_not_read(self, clips, code_reader):
        with pytest.raises(ValueError, match="does not read OCR"):
            plot_calibration_cycle(make_tiny_model(use_ocr=False), make_tiny_processor(code_reader), clips["shop.mp4"])

    def test_a_lost_clip(self, tmp_path, code_reader):
        with pytest.raises(VideoReadError, match=r"lost\.mp4"):
            plot_calibration_cycle(make_tiny_model(), make_tiny_processor(code_reader), tmp_path / "lost.mp4")

    def test_leaves_the_model_as_it_was(self, clips, code_reader):
        model = make_tiny_model().train()
        processor = make_tiny_processor(code_reader)
        first, second = (plot_calibration_cycle(model, processor, clips["shop.mp4"]) for _ in range(2))
        assert model.training
        assert first.get_suptitle() == second.get_suptitle()  # dropout was off


@pytest.mark.usefixtures("wide_terminal")
class TestCommand:
    @pytest.fixture(autouse=True)
    def needs_matplotlib(self):
        pytest.importorskip("matplotlib", reason="needs the extra tcd-hf[plot]")

    def test_draws_either_picture(self, run, clips, tmp_path):
        assert run("plot", "calibration", clips["shop.mp4"], "--out", tmp_path / "cycle.png").exit_code == 0
        similarity = ("plot", "windows", clips["shop.mp4"], "--out", tmp_path / "windows.svg", "--query", "tesco")
        assert run(*similarity).exit_code == 0
        for name in ("cycle.png", "windows.svg"):
            assert (tmp_path / name).stat().st_size > 1000

    def test_mistakes(self, run, clips, tmp_path):
        refused = run("plot", "calibration", clips["sea.mp4"], "--out", tmp_path / "cycle.png")
        assert refused.exit_code == 1 and "two windows with text" in refused.stderr
        refused = run("plot", "windows", clips["sea.mp4"], "--out", tmp_path / "windows.png", "--query", " ")
        assert refused.exit_code == 2 and "--query is empty" in refused.stderr
