"""Which runtime computes, and that each reads the same."""

import importlib.util
import sys

import pytest

from tcd_hf.processing.ocr_engines import get_engine
from tcd_hf.processing.ocr_runtimes import RUNTIMES, available_runtimes, chosen_runtime
from tests.clips import text_frame


def test_what_is_asked_for_is_taken():
    assert [chosen_runtime(name) for name in RUNTIMES] == list(RUNTIMES)
    assert chosen_runtime(None) in available_runtimes()


def test_unknown_runtimes_are_refused():
    with pytest.raises(ValueError, match="'onnxruntime' or 'openvino', got 'tensorrt'"):
        get_engine("rapidocr", runtime="tensorrt")


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed")
def test_openvino_reads_the_same():
    sign = text_frame("OPEN CAFE", (320, 180), position=(0.5, 0.25), font_size=40)
    options = {"limit_side_len": 320, "num_threads": 1}
    (one,), (other,) = (get_engine("rapidocr", runtime=name, **options)([sign])[0] for name in RUNTIMES)
    assert one.text == other.text == "OPEN CAFE"
    assert one.confidence == pytest.approx(other.confidence, abs=0.02)  # bfloat16 where the processor has it
    assert one.box == pytest.approx(other.box, abs=0.02)


def test_a_runtime_that_is_missing_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ImportError, match=r"tcd-hf\[openvino\]"):
        get_engine("rapidocr", runtime="openvino", box_threshold=0.33).models()
