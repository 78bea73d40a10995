"""Presets: fewer frames, or each in full size; what the user says of the engine comes first."""

import numpy as np
import pytest
from PIL import Image

from tcd_hf.processing.ocr_engines import RapidOCREngine
from tcd_hf.processing.ocr_presets import OCR_PRESETS, ocr_preset
from tcd_hf.processing.text_detection import Boxes
from tcd_hf.processing.window_ocr import WindowOCRCaptioner

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (18, 400, 3), dtype=np.uint8))
PANORAMA = np.asarray(NOISE.resize((4000, 180)))
MOVING = [PANORAMA[:, 100 * step : 100 * step + 320] for step in range(24)]


def frames_read(preset: str) -> int:
    """How many of 24 frames, 2 a second, of a picture that keeps moving."""
    read = []
    engine = lambda images: [read.append(image) or [] for image in images]  # noqa: E731
    WindowOCRCaptioner(engine, num_windows=2, preset=preset)(np.stack(MOVING), fps=2.0)
    return len(read)


def test_fast_reads_half_of_the_frames():
    # one frame a second of 12 (the first sample .75 s later), and one every 2 s
    assert [frames_read(preset) for preset in ("thorough", "balanced", "fast")] == [12, 12, 6]


def test_presets_are_options_of_the_engine_beneath_those_that_are_given():
    engine = RapidOCREngine(**ocr_preset("thorough").engine_options)
    assert engine.between_side_len is None and engine.look_side_len is None and not engine.reuse_unchanged
    for preset in OCR_PRESETS:
        assert WindowOCRCaptioner(preset=preset, engine_options={"full_size_every": 7}).preset == preset


def test_thorough_finds_what_only_the_full_size_shows(monkeypatch):
    """The second frame of a scene is looked at in the smaller size by the other presets."""
    looked = []
    find = "tcd_hf.processing.text_detection.TextDetector.find"
    nothing = Boxes(np.zeros((0, 4, 2), np.float32), np.zeros(0, bool))
    monkeypatch.setattr(find, lambda self, image, size: looked.append(max(size)) or nothing)
    for preset in ("balanced", "thorough"):
        options = {"engine_options": {"look_side_len": None}, "num_windows": 1, "preset": preset}
        WindowOCRCaptioner(**options)(np.stack(MOVING[:6]), fps=2.0)
        looked.append(None)
    balanced, thorough = looked[: looked.index(None)], looked[looked.index(None) + 1 : -1]
    assert len(set(thorough)) == 1 and min(balanced) < max(balanced) <= thorough[0]
    assert len(balanced) == len(thorough) == 3


@pytest.mark.parametrize("name", ["quick", None, ["fast"]])
def test_others_are_refused(name):
    with pytest.raises(ValueError, match=r"'fast', 'balanced', 'thorough', got"):
        WindowOCRCaptioner(engine=None, preset=name)
