"""Which runtime computes, and that each reads the same."""

import importlib.util
import sys

import numpy as np
import pytest

from tcd_hf.processing.int8_detector import calibration_frames, int8_detector
from tcd_hf.processing.ocr_engines import get_engine
from tcd_hf.processing.ocr_models import OCREngineError
from tcd_hf.processing.ocr_runtimes import INT8, RUNTIMES, available_runtimes, multiplies_int8
from tests.clips import text_frame

needs_onnx = pytest.mark.skipif(importlib.util.find_spec("onnx") is None, reason="onnx is not installed")
OPTIONS = {"limit_side_len": 320, "num_threads": 1}


def test_what_is_asked_for_is_taken_and_float32_else():
    assert [get_engine("rapidocr", runtime=name).runtime for name in RUNTIMES] == list(RUNTIMES)
    assert get_engine("rapidocr").runtime == "onnxruntime"
    assert "onnxruntime" in available_runtimes() and set(available_runtimes()) <= set(RUNTIMES)


def test_unknown_runtimes_are_refused():
    with pytest.raises(ValueError, match="'onnxruntime', 'onnxruntime-int8', 'openvino', got 'tensorrt'"):
        get_engine("rapidocr", runtime="tensorrt")


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed")
def test_openvino_reads_the_same():
    one, other = _reading("onnxruntime"), _reading("openvino")
    assert one.text == other.text == "OPEN CAFE"
    assert one.confidence == pytest.approx(other.confidence, abs=0.02)  # bfloat16 where the processor has it
    assert one.box == pytest.approx(other.box, abs=0.02)


@needs_onnx
@pytest.mark.slow  # 15 s of one core
def test_int8_is_made_once_and_reads_the_same(monkeypatch, tmp_path):
    monkeypatch.setenv("TCD_HF_CACHE", str(tmp_path))
    other = _reading(INT8)
    (file,) = (tmp_path / "detectors").iterdir()  # and nothing half made beside it
    assert file.stat().st_size < 4e6  # of 10 MB in float32
    one = _reading("onnxruntime")
    assert one.text == other.text == "OPEN CAFE"
    assert one.box == pytest.approx(other.box, abs=0.05)
    made = file.stat().st_mtime_ns
    get_engine("rapidocr", runtime=INT8, box_threshold=0.34, **OPTIONS).models()
    assert [each.stat().st_mtime_ns for each in (tmp_path / "detectors").iterdir()] == [made]


@needs_onnx
def test_a_detector_that_is_none_leaves_nothing_behind(tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(Exception, match=r"."):
        int8_detector(broken, tmp_path / "made")
    assert not list((tmp_path / "made").iterdir())


@needs_onnx
def test_int8_that_cannot_be_kept_says_so(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TCD_HF_CACHE", str(tmp_path / "file"))
    with pytest.raises(OCREngineError, match=r"int8 cannot be kept in .*file.* TCD_HF_CACHE"):
        get_engine("rapidocr", runtime=INT8, box_threshold=0.32).models()


def test_frames_to_calibrate_on_are_the_same_each_time():
    frames, again = list(calibration_frames(6)), list(calibration_frames(6))
    assert all(frame.shape == (416, 736, 3) and frame.dtype == np.uint8 for frame in frames)
    assert all((one == other).all() for one, other in zip(frames, again, strict=True))
    assert len({frame.tobytes() for frame in frames}) == 6


def test_int8_is_offered_where_it_is_exact():
    assert (INT8 in available_runtimes()) == (multiplies_int8() and importlib.util.find_spec("onnx") is not None)


def test_a_runtime_that_is_missing_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ImportError, match=r"tcd-hf\[openvino\]"):
        get_engine("rapidocr", runtime="openvino", box_threshold=0.33).models()
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setenv("TCD_HF_CACHE", str(tmp_path))
    with pytest.raises(ImportError, match=r"tcd-hf\[int8\]"):
        get_engine("rapidocr", runtime=INT8, box_threshold=0.33).models()


def _reading(runtime: str):
    sign = text_frame("OPEN CAFE", (320, 180), position=(0.5, 0.25), font_size=40)
    ((reading,),) = get_engine("rapidocr", runtime=runtime, **OPTIONS)([sign])
    return reading
