import json

import numpy as np
import pytest

from tcd_hf.visualization import plot_training
from tcd_hf.visualization.training import read_training_log
from tests.tcd_hf.conftest import invoke


def write_log(path, steps=40, validation=True):
    lines = []
    for step in range(1, steps + 1):
        lines.append({"step": step, "epoch": 1, "loss": 8.0 / step, "contrastive_loss": 4.0 / step, "grad_norm": 1.0})
        if validation and step % 20 == 0:
            lines.append({"step": step, "validation/t2v_R@1": step / 100, "validation/t2v_R@1/text": 0.5})
            lines[-1]["validation/t2v_R@10"] = 0.9
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


class TestLog:
    def test_numbers_by_name(self, tmp_path):
        series = read_training_log(write_log(tmp_path / "training_log.jsonl"))
        steps, losses = series["loss"]
        assert steps.tolist() == list(range(1, 41)) and losses[:2].tolist() == [8, 4]
        assert [part.tolist() for part in series["validation/t2v_R@1"]] == [[20, 40], [0.2, 0.4]]

    def test_a_folder_and_a_line_half_written(self, tmp_path):
        with write_log(tmp_path / "training_log.jsonl").open("a") as log:
            log.write('{"step": 41, "lo')
        assert read_training_log(tmp_path)["loss"][0][-1] == 40

    @pytest.mark.parametrize("line", ["no json\n", "[1]\n", '{"loss": 1}\n'])
    def test_no_log(self, tmp_path, line):
        path = tmp_path / "notes.txt"
        path.write_text('{"step": 1, "loss": 2}\n' + line)
        with pytest.raises(ValueError, match=r"Line 2 of .*notes\.txt"):
            read_training_log(path)


class TestPlot:
    @pytest.fixture(autouse=True)
    def matplotlib(self):
        return pytest.importorskip("matplotlib", reason="needs the extra tcd-hf[plot]")

    def test_losses_and_recall(self, tmp_path):
        figure = plot_training(write_log(tmp_path / "log.jsonl"), tmp_path / "plots" / "run.pdf", title="A run")
        assert (tmp_path / "plots" / "run.pdf").read_bytes().startswith(b"%PDF")
        losses, recalls = figure.axes
        labels = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in figure.axes]
        assert labels == [["all, weighted", "contrastive"], ["all queries", "text"]]
        np.testing.assert_allclose(losses.lines[0].get_ydata(), 8 / np.arange(1, 41))
        assert recalls.lines[0].get_xdata().tolist() == [20, 40]
        assert recalls.lines[0].get_ydata().tolist() == [0.2, 0.4]

    def test_curves_are_means_of_neighbours(self, tmp_path):
        def smooth(losses):
            lines = [{"step": step, "loss": loss} for step, loss in enumerate(losses, start=1)]
            (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
            return plot_training(tmp_path / "log.jsonl").axes[0].lines[1].get_ydata()

        curve = smooth([float(step**2) for step in range(60)])  # 5 % of 60: 3 at a time
        assert curve[1] == pytest.approx((0 + 1 + 4) / 3) and curve[0] == pytest.approx(1 / 2)
        assert curve[59] == pytest.approx((58**2 + 59**2) / 2)
        assert smooth([3.0]).tolist() == [pytest.approx(3.0)]

    def test_without_validation(self, tmp_path):
        assert len(plot_training(write_log(tmp_path / "log.jsonl", validation=False)).axes) == 1

    @pytest.mark.parametrize(("last", "scale"), [(0.5, "log"), (0.0, "linear"), (-0.5, "linear")])
    def test_a_loss_that_has_no_logarithm_is_drawn_too(self, tmp_path, last, scale):
        lines = [{"step": step, "loss": loss} for step, loss in enumerate((2.0, 1.0, last), start=1)]
        (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (losses,) = plot_training(tmp_path / "log.jsonl").axes
        assert losses.get_yscale() == scale
        low, high = losses.get_ylim()
        assert low <= last and high >= 2

    def test_nothing_to_draw(self, tmp_path):
        (tmp_path / "log.jsonl").write_text("")
        with pytest.raises(ValueError, match="tells of no loss"):
            plot_training(tmp_path / "log.jsonl")

    def test_command(self, tmp_path):
        write_log(tmp_path / "training_log.jsonl")
        done = invoke("plot", "training", tmp_path, "--out", tmp_path / "run.png", "--title", "mine")
        assert done.exit_code == 0, done.stderr
        assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")
        refused = invoke("plot", "training", tmp_path / "lost.jsonl", "--out", tmp_path / "other.png")
        assert refused.exit_code == 1 and "lost.jsonl" in refused.stderr and not (tmp_path / "other.png").exists()
