"""Evidence by meaning: which texts of a window are shown where none is spelled like the query."""

import numpy as np
import pytest
import torch

from tcd_hf.index.hits import Hit
from tcd_hf.index.meant import MeaningFinder
from tcd_hf.index.moments import Moment
from tcd_hf.processing.text_tracks import TextTrack
from tcd_hf.processing.window_ocr import WindowCaption
from tests.tcd_hf.conftest import make_tiny_model, make_tiny_processor

CALIBRATION = {"bias": -1.0, "lexical": 1.0, "means_from": 0.5}
BOX = (0.1, 0.2, 0.3, 0.4)


def track(text, count=1, start=1.0, end=2.0):
    return TextTrack(text, 0.9, start, end, BOX, count, 1.5)


def window(*tracks, start=1.0, end=2.0):
    return WindowCaption(start, end, " ".join(track.text for track in tracks), list(tracks))


@pytest.fixture
def finder():
    return MeaningFinder(make_tiny_model(search_calibration=CALIBRATION), make_tiny_processor())


def embed(finder, text):
    processor, model = finder._processor, finder._model
    with torch.no_grad():
        return model.get_text_features(**processor(text=[text], return_tensors="pt")).pooler_output[0].numpy()


def test_the_texts_nearest_in_meaning_are_the_evidence(finder):
    asked = embed(finder, "way out")  # as near as can be to itself
    (found,) = finder([Moment(1.0, 2.0, 0.4)], [asked], [[window(track("gate b4"), track("way out"))]])
    assert found.evidence[0] == "way out"
    expected = {"start": 1.0, "end": 2.0, "box": list(BOX), "time": 1.5, "source": "ocr", "match": "means"}
    assert found.boxes[0] == {"text": "way out", **expected}
    others = [text for text in ("gate b4",) if embed(finder, text) @ asked >= 0.5]
    assert found.evidence[1:] == others
    assert (found.start, found.end, found.score) == (1.0, 2.0, 0.4)


def test_a_moment_lasts_as_long_as_its_nearest_text_is_seen(finder):
    asked = embed(finder, "way out")
    windows = [
        window(track("way out", start=0.25, end=1.0), start=0.0, end=1.0),
        window(track("way out")),
        window(track("way out", start=2.0, end=2.5), start=2.0, end=3.0),
        window(track("gate b4", start=3.0, end=4.0), start=3.0, end=4.0),
    ]
    (found,) = finder([Moment(1.0, 2.0, 0.4)], [asked], [windows])
    assert (found.start, found.end, found.boxes[0]["start"]) == (0.25, 2.5, 1.0)
    (alone,) = finder([Moment(1.0, 2.0, 0.4)], [asked], [windows[1:2]])
    assert (alone.start, alone.end) == (1.0, 2.0)


def test_what_is_not_near_is_none(finder):
    asked = -embed(finder, "way out")
    moment = Moment(1.0, 2.0, 0.4)
    assert finder([moment], [asked], [[window(track("way out"))]]) == [moment]
    assert finder([moment], [asked], [[]]) == [moment]
    assert finder([], [], []) == []


def test_each_text_is_embedded_once(finder, monkeypatch):
    asked = embed(finder, "way out")
    counts = []
    encode = finder._processor.tokenizer.__class__.__call__
    monkeypatch.setattr(
        finder._processor.tokenizer.__class__,
        "__call__",
        lambda self, texts, *args, **options: counts.append(texts) or encode(self, texts, *args, **options),
    )
    hit = Hit("a.mp4", 0.5, 0.1, 0.2, 0.3, 0.0, 1.0, 2.0)
    for _ in range(2):
        finder([hit, hit], [asked, asked], [[window(track("way out"))], [window(track("way out"), track("no exit"))]])
    assert {tuple(texts) for texts in counts} == {("way out", "no exit")}


def test_a_model_without_the_line_means_nothing():
    finder = MeaningFinder(make_tiny_model(), make_tiny_processor())
    moment = Moment(1.0, 2.0, 0.4)
    assert finder([moment], [np.ones(16)], [[window(track("way out"))]]) == [moment]
    calibrated = make_tiny_model(use_ocr=False, search_calibration=CALIBRATION)
    assert MeaningFinder(calibrated, make_tiny_processor()).least is None
