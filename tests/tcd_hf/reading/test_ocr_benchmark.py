"""What each runtime costs, as the library and the command say it."""

import json

import pytest
from typer.testing import CliRunner

from tcd_hf.cli.main import app
from tcd_hf.processing.ocr_runtimes import available_runtimes
from tcd_hf.reading.ocr_benchmark import PARTS, benchmark_runtimes
from tests.clips import text_clip, write_clip

QUICK = {"limit_side_len": 320, "look_side_len": 160, "num_threads": 1}


@pytest.fixture(scope="module", autouse=True)
def cache_dir(tmp_path_factory):
    """Where the detector in int8 is made, where that is a runtime of this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TCD_HF_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    frames = text_clip([("OPEN CAFE", 1.0, 3.0)], duration=3.0, size=(320, 180))
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", frames)


def test_every_runtime_is_taken_apart(clip):
    costs = list(benchmark_runtimes(clip, QUICK))
    assert [each.runtime for each in costs] == available_runtimes()
    for each in costs:
        assert each.video_seconds == pytest.approx(3.0, abs=0.2)
        # A place of the first frame with text, then that frame: blank ones are left early, and the text stands still.
        assert (each.frames, each.boxes) == (2, 2)
        assert list(each.seconds) == list(PARTS) and all(seconds > 0 for seconds in each.seconds.values())
        row = each.to_dict()
        assert row["in_all"] == pytest.approx(sum(row[part] for part in PARTS))
        assert row["detect"] == pytest.approx(each.seconds["detect"] / each.video_seconds)


def test_the_command_prints_it(clip):
    options = [option for name, value in QUICK.items() for option in ("--ocr-option", f"{name}={value}")]
    run = CliRunner().invoke(app, ["ocr", str(clip), "--benchmark", *options])
    assert run.exit_code == 0, run.output
    assert "Seconds per second of video" in run.stdout and "onnxruntime" in run.stdout
    run = CliRunner().invoke(app, ["ocr", str(clip), "--benchmark", "--json", *options])
    assert [row["runtime"] for row in json.loads(run.stdout)["runtimes"]] == available_runtimes()
