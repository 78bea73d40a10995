"""The built-in engine on the frames of a video: what is looked at, what is read, and small text alone in a frame."""

from dataclasses import replace

import numpy as np
import pytest

from tcd_hf.processing.frame_skipping import Stretch
from tcd_hf.processing.ocr_engines import RapidOCREngine, get_engine
from tcd_hf.processing.text_detection import Boxes
from tcd_hf.processing.window_ocr import WindowOCRCaptioner
from tests.clips import text_frame

SIZE = (320, 180)
OPTIONS = {"limit_side_len": 384, "between_side_len": 320, "look_side_len": 160, "num_threads": 1}
SIGN = text_frame("OPEN CAFE", SIZE, position=(0.5, 0.25), font_size=40)
TWO_SIGNS = text_frame("BUS 42", background=SIGN, position=(0.5, 0.75))
BLANK = np.full_like(SIGN, 255)


@pytest.fixture
def work(monkeypatch):
    """What the models are given: ("look" | "find" | "part" of a frame, longer side) and ("read", number of boxes)."""
    models, done = RapidOCREngine(**OPTIONS).models(), []
    find, look, read = models.detector.find, models.detector.probabilities, models.recogniser.read

    def counted_find(image, size):
        found = find(image, size)
        assert done[-1] == ("look", max(size))  # it looks itself
        done[-1] = ("find" if image.shape == SIGN.shape else "part", max(size))
        return found

    def counted_look(image, size):
        done.append(("look", max(size)))
        return look(image, size)

    def counted_read(image, quads):
        done.append(("read", len(quads)))
        return read(image, quads)

    monkeypatch.setattr(models.detector, "find", counted_find)
    monkeypatch.setattr(models.detector, "probabilities", counted_look)
    monkeypatch.setattr(models.recogniser, "read", counted_read)
    return done


def stretches(*frames, cuts=(0,)):
    return [Stretch(float(i), frame, [float(i)], after_cut=i in cuts) for i, frame in enumerate(frames)]


def texts(readings):
    return [[reading.text for reading in of_frame] for of_frame in readings]


def test_sizes_take_turns_and_begin_anew_with_each_scene(work):
    reader = RapidOCREngine(**OPTIONS, full_size_every=3).video_reader()
    shown = [text_frame(f"OPEN {n}", SIZE) for n in range(6)]
    read = texts(reader(stretches(*shown, cuts=(0, 5))))
    assert read == [[f"OPEN {n}"] for n in range(6)]
    assert [side for kind, side in work if kind == "find"] == [384, 320, 320, 384, 320, 384]
    assert [side for kind, side in work if kind == "look"] == [160, 160]  # at the cuts: text was seen in the others


def test_frames_without_text_are_left_early(work):
    reader = RapidOCREngine(**OPTIONS).video_reader()
    assert texts(reader(stretches(BLANK, BLANK, SIGN, BLANK, BLANK))) == [[], [], ["OPEN CAFE"], [], []]
    assert [side for kind, side in work if kind == "find"] == [384, 320, 384]  # the last, whether it is really gone
    work.clear()
    reader = RapidOCREngine(**{**OPTIONS, "look_side_len": None}).video_reader()
    assert texts(reader(stretches(BLANK, SIGN))) == [[], ["OPEN CAFE"]]
    assert [kind for kind, _ in work] == ["find", "read", "find", "read"]


def test_text_that_the_smaller_size_misses_is_looked_for_in_full_size(work, monkeypatch):
    engine = RapidOCREngine(**OPTIONS)
    detector = engine.models().detector
    find = detector.find
    monkeypatch.setattr(
        detector,
        "find",
        lambda image, size: Boxes(*(part[: 0 if max(size) == 320 else None] for part in find(image, size))),
    )
    shown = [text_frame(f"OPEN {n}", SIZE) for n in range(3)]
    assert texts(engine.video_reader()(stretches(*shown))) == [["OPEN 0"], ["OPEN 1"], ["OPEN 2"]]


def test_the_same_size_is_not_looked_at_twice(work):
    engine = RapidOCREngine(**{**OPTIONS, "between_side_len": None})
    assert texts(engine.video_reader()(stretches(SIGN, BLANK))) == [["OPEN CAFE"], []]
    assert [side for kind, side in work if kind == "find"] == [384, 384]


def test_unchanged_boxes_are_not_read_again(work):
    engine = RapidOCREngine(**OPTIONS)
    read = engine.video_reader()(stretches(SIGN, TWO_SIGNS, TWO_SIGNS))
    assert [sorted(found) for found in texts(read)] == [["OPEN CAFE"], ["BUS 42", "OPEN CAFE"], ["BUS 42", "OPEN CAFE"]]
    after_glance = work.index(("find", 384))
    assert sum(number for kind, number in work[after_glance:] if kind == "read") == 2
    work.clear()
    engine = RapidOCREngine(**OPTIONS, reuse_unchanged=False)
    assert texts(engine.video_reader()(stretches(SIGN, TWO_SIGNS, TWO_SIGNS)))[2] == ["OPEN CAFE", "BUS 42"]
    after_glance = work.index(("find", 384))
    assert sum(number for kind, number in work[after_glance:] if kind == "read") == 5


@pytest.mark.parametrize(("confidence", "expected"), [(0.95, ["OPEN CAFE"]), (0.85, [])])
def test_a_box_that_the_detector_is_not_sure_of_must_be_read_surely(monkeypatch, confidence, expected):
    engine = RapidOCREngine(**OPTIONS)
    models = engine.models()
    read = models.recogniser.read
    monkeypatch.setattr(
        models.recogniser,
        "read",
        lambda image, quads: [replace(reading, confidence=confidence) for reading in read(image, quads)],
    )
    assert texts(engine([SIGN])) == texts(engine.video_reader()(stretches(SIGN))) == [["OPEN CAFE"]]
    monkeypatch.setattr(models.detector, "threshold", 1.0)
    reader = RapidOCREngine(**{**OPTIONS, "look_side_len": None}).video_reader()
    assert texts(engine([SIGN])) == texts(reader(stretches(SIGN))) == [expected]


@pytest.mark.parametrize(
    ("options", "expected"), [({}, 0.4), ({"box_threshold": 0.36}, 0.36), ({"params": {"Det.box_thresh": 0.28}}, 0.28)]
)
def test_boxes_are_found_from_three_quarters_of_the_threshold_on(options, expected):
    detector = RapidOCREngine(num_threads=1, **options).models().detector
    assert detector.threshold == pytest.approx(expected)
    assert detector.detector.postprocess_op.box_thresh == pytest.approx(0.75 * expected)


def test_a_glance_and_the_mean_of_frames_take_sure_boxes_alone(monkeypatch):
    engine = RapidOCREngine(**OPTIONS)
    assert texts(engine.video_reader()(stretches(SIGN))) == [["OPEN CAFE"]]
    monkeypatch.setattr(engine.models().detector, "threshold", 1.0)
    reader = engine.video_reader()
    assert texts(reader(stretches(SIGN, SIGN, SIGN))) == [[], [], []]  # left early, at a glance
    assert reader.read_standing() == []


def test_low_boxes_are_not_read(work):
    reader = RapidOCREngine(**OPTIONS).video_reader(min_text_height=0.5)
    assert texts(reader(stretches(SIGN))) == [[]]
    assert sum(number for kind, number in work if kind == "read") == 0


def test_a_reader_does_not_depend_on_others():
    engine = RapidOCREngine(**OPTIONS)
    parts = stretches(SIGN, TWO_SIGNS, BLANK, TWO_SIGNS)
    whole, reader = engine.video_reader()(parts), engine.video_reader()
    assert reader(parts[:1]) + reader(parts[1:]) == whole  # in how many calls does not matter
    assert engine.video_reader()(parts) == whole


def test_images_by_themselves_are_read_in_full_size(work):
    engine = RapidOCREngine(**OPTIONS)
    assert texts(engine([SIGN, BLANK, SIGN])) == [["OPEN CAFE"], [], ["OPEN CAFE"]]
    assert [side for kind, side in work if kind == "find"] == [384] * 3


@pytest.mark.parametrize(
    ("size", "height", "colors"),
    [
        ((1920, 1080), 14, ("black", "white")),
        ((1920, 1080), 14, ((230, 220, 90), (120, 130, 110))),
        ((3840, 2160), 28, ("white", "black")),
    ],
)
def test_small_text_alone_in_a_frame_is_read(size, height, colors):
    color, background = colors
    style = {"font_size": height, "position": (0.31, 0.62), "color": color, "background": background}
    frame = text_frame("EXIT 24 NORTH", size, **style)
    captioner = WindowOCRCaptioner(engine_options={"num_threads": 1}, num_windows=1)
    assert captioner(frame[None], fps=1)[0].text == "EXIT 24 NORTH"


def test_corners_say_how_text_lies():
    turned = np.ascontiguousarray(np.rot90(SIGN, -1))
    (level,) = get_engine("rapidocr", **OPTIONS)([SIGN])[0]
    (downwards,) = get_engine("rapidocr", **OPTIONS)([turned])[0]
    assert level.corners is None and level.text == downwards.text == "OPEN CAFE"
    x, y = zip(*downwards.corners, strict=True)
    assert (min(x), min(y), max(x), max(y)) == pytest.approx(downwards.box)
    assert y[0] < y[1] and x[0] > x[3]  # from the top to the bottom, its head to the right


@pytest.mark.parametrize(
    "option",
    [{"between_side_len": 20}, {"look_side_len": 3.5}, {"full_size_every": 0}, {"box_threshold": 1.5}],
    ids=str,
)
def test_wrong_options(option):
    (name, value), *_ = option.items()
    with pytest.raises(ValueError, match=f"{name} must be .*{value}"):
        RapidOCREngine(**option)


def test_what_only_resembles_text_costs_no_look_at_the_whole_frame(work):
    """A small look takes a row of strokes for text; looked at closely, none of it is read."""
    strokes = BLANK.copy()
    for x in range(120, 200, 8):
        strokes[80:100, x : x + 3] = 0
    reader = RapidOCREngine(**OPTIONS).video_reader()
    assert texts(reader(stretches(strokes))) == [[]]
    assert {kind for kind, _ in work} >= {"look", "part"} and "find" not in {kind for kind, _ in work}


def test_a_block_of_small_text_is_read():
    """Lines of 14 px at 1080p are too low for the smaller size: the middle of the block is looked at as in the full."""
    frame = np.full((1080, 1920, 3), 255, np.uint8)
    for line in range(20):
        frame = text_frame(
            f"line {line} of the terms", background=frame, position=(0.3, 0.3 + 0.018 * line), font_size=14
        )
    captioner = WindowOCRCaptioner(engine_options={"num_threads": 1}, num_windows=1)
    caption = captioner(frame[None], fps=1)[0].text
    assert sum(f"line {line} of the terms" in caption for line in range(20)) >= 18
