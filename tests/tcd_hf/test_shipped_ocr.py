import pytest

from tcd_hf.data.shipped_ocr import ocr_in_seconds, read_kwai_ocr, read_vitevqa_ocr
from tcd_hf.processing.window_ocr import WindowOCRCaptioner

CORNERS = [10, 10, 60, 10, 60, 20, 10, 20, 0.9, 1]
KWAI = {
    "1": {"recommend_box": CORNERS[:8], "score": "0.5", "text": "EXIT  12", "tracks": {"30": CORNERS, "9": CORNERS}},
    "0": {"recommend_box": CORNERS[:8], "score": 0.75, "text": "TESCO", "tracks": {"0": CORNERS, "1": CORNERS}},
    "2": {"recommend_box": CORNERS[:8], "score": 0.9, "text": " ", "tracks": {"0": CORNERS}},
}
KWAI_READ = [
    {"text": "TESCO", "confidence": 0.75, "start_frame": 0, "end_frame": 2},
    {"text": "EXIT 12", "confidence": 0.5, "start_frame": 9, "end_frame": 31},
]


def reading(text, start_frame, end_frame):
    return {"text": text, "confidence": None, "start_frame": start_frame, "end_frame": end_frame}


def test_kwai_ocr():
    assert read_kwai_ocr(KWAI) == KWAI_READ
    assert read_kwai_ocr({}) == []


def test_vitevqa_ocr_joins_frames():
    item = {"points": CORNERS[:8]}
    content = {
        "10": [{"ocr": "now", **item}],
        "2": [{"ocr": "now", **item}, {"ocr": "then", **item}, {"ocr": "now", **item}],
        "3": [{"ocr": "now", **item}, {"ocr": "", **item}],
        "4": [],
    }
    assert read_vitevqa_ocr(content) == [reading("now", 2, 4), reading("then", 2, 3), reading("now", 10, 11)]


def test_ocr_lands_in_the_windows_that_show_it():
    texts = ocr_in_seconds(KWAI_READ, fps=10)
    assert texts == [(0.0, 0.2, "TESCO"), (0.9, 3.1, "EXIT 12")]
    captions = WindowOCRCaptioner(engine=None, num_windows=4).caption_texts(texts, duration=4.0)
    assert [caption.text for caption in captions] == ["TESCO EXIT 12", "EXIT 12", "EXIT 12", "EXIT 12"]
    with pytest.raises(ValueError, match="fps must be positive"):
        ocr_in_seconds(KWAI_READ, fps=0)
