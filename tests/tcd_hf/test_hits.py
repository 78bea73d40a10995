import numpy as np
import pytest

from tcd_hf.index.hits import EvidenceFinder, Hit, evidence_boxes, matching_texts
from tcd_hf.index.moments import Moment
from tcd_hf.processing.caption_drawing import BOX_COLOR
from tcd_hf.processing.text_tracks import TextTrack
from tcd_hf.processing.video_reading import VideoReadError
from tests.clips import coded_frames, read_code, write_clip


@pytest.mark.parametrize(
    ("query", "texts", "expected"),
    [
        (
            "the store TESCO express",
            ["Let's all stay safe", "CLUBCARD", "TESCO", "tesco express"],
            ["tesco express", "TESCO"],
        ),
        ("PARKNG in the street", ["the", "PARKING", "in the"], ["PARKING"]),  # a slip; "the" and "in" prove nothing
        ("the who", ["the who"], ["the who"]),  # unless there is nothing else
        ("gate b4 at 17:27", ["17:27", "17:28", "B4", "B5"], ["17:27", "B4"]),  # digits must be right
        ("broccoli for £1.30", ["£1.50", "£1.30"], ["£1.30"]),
        ("harbour cafe", ["HARBOURCAFE OPEN"], ["HARBOURCAFE OPEN"]),  # a lost space
        ("出口在左边", ["出口"], ["出口"]),
        ("a chimpanzee", ["BBC", "news"], []),
        ("lodz", ["ŁÓDŹ Fabryczna"], ["ŁÓDŹ Fabryczna"]),  # accents, width and look-alike letters
        ("ABC café", ["ＡＢＣ", "CAFE"], ["CAFE", "ＡＢＣ"]),
        ("茶", ["红酒", "绿茶"], ["绿茶"]),
        ("左边在哪", ["在", "左边"], ["左边"]),  # one letter of a sentence proves nothing
        ("24小时营业", ["24", "营业 25 小时"], ["营业 25 小时", "24"]),
        ("서울 지도", ["서울역에서", "지"], ["서울역에서"]),
        ("на юг", ["банан"], []),
    ],
)
def test_evidence_is_what_the_query_names_best_first(query, texts, expected):
    assert matching_texts(query, texts) == expected


CARDS = ["CHECK IN", "CHECK OUT", "SIGN IN", "SIGN UP", "LOG IN", "LOG OUT", "WAY IN", "WAY OUT"]


@pytest.mark.parametrize("card", CARDS)
def test_filler_words_tell_texts_apart_that_share_a_telling_word(card):
    for texts in (CARDS, CARDS[::-1]):
        found = matching_texts(f"the {card.lower()}", texts)
        assert found[0] == card
        assert len(found) == 2 and found[1].split()[0] == card.split()[0]  # "in" alone is no evidence


def test_of_texts_that_count_the_same_those_without_other_words_go_first():
    texts = ["LOG OUT LOG IN", "log in again", "LOG", "LOG IN"]
    assert matching_texts("log in", texts) == ["LOG IN", "LOG OUT LOG IN", "log in again", "LOG"]


def test_required_phrases_are_evidence_with_all_texts_they_run_over():
    texts = ["desk number 5", "CHECK", "!", "IN", "check-in", "IN"]  # signs alone are no text
    assert matching_texts("the in", texts) == ["IN", "check-in"]
    assert matching_texts("check in desk", texts, phrases=["check in"]) == ["CHECK", "IN", "check-in", "desk number 5"]
    assert matching_texts("in check", texts, limit=1, phrases=["in check"]) == ["IN"]
    assert matching_texts("desk", texts, phrases=["way out"]) == ["desk number 5"]


def test_a_phrase_that_stands_there_twice():
    assert matching_texts("x", ["Way out", "WAY OUT", "way in"], phrases=["way out"]) == ["Way out", "WAY OUT"]


def test_a_finder_is_asked_window_after_window():
    find = EvidenceFinder("gate b4")
    assert find(["GATE", "B4"]) == ["GATE", "B4"]
    assert find(["B4", "B5"]) == ["B4"]
    assert find([]) == []
    texts = [f"gate {number}" for number in range(7)]
    assert (find(texts), find(texts, limit=None)) == (texts[:5], texts)


def test_evidence_is_limited_and_without_repeats():
    assert matching_texts("stop", ["STOP", "STOP", "stop it", "don't stop"], limit=2) == ["STOP", "stop it"]


def test_a_hit_becomes_plain_json_types():
    box = {"text": "x", "start": 1.0, "end": 1.5, "box": [0.1, 0.2, 0.3, 0.4], "time": 1.2}
    hit = Hit("a.mp4", 0.5, 0.1, 0.2, 0.3, 0.4, 1.0, 2.0, ["x"], [box], [Moment(5.0, 6.0, 0.2, ["y"], [box])])
    assert hit.to_dict() == {
        "path": "a.mp4",
        "score": 0.5,
        "text_video": 0.1,
        "text_ocr": 0.2,
        "text_hybrid": 0.3,
        "lexical": 0.4,
        "start": 1.0,
        "end": 2.0,
        "evidence": ["x"],
        "boxes": [box],
        "moments": [{"start": 5.0, "end": 6.0, "score": 0.2, "evidence": ["y"], "boxes": [box]}],
        "text_window": None,
        "is_weak": False,
    }


def test_boxes_are_those_of_the_evidence_the_most_salient_of_equal_texts():
    tracks = [
        TextTrack(text, 0.9, start, start + 1, (start / 10, 0.0, 1.0, 1.0), box_time=start + 0.5)
        for start, text in enumerate(["STOP", "no exit", "STOP"])
    ]
    found = evidence_boxes(["no exit", "STOP"], tracks)
    assert found == [
        {
            "text": "no exit",
            "start": 1,
            "end": 2,
            "box": [0.1, 0.0, 1.0, 1.0],
            "time": 1.5,
            "source": "ocr",
            "match": "spells",
        },
        {
            "text": "STOP",
            "start": 0,
            "end": 1,
            "box": [0.0, 0.0, 1.0, 1.0],
            "time": 0.5,
            "source": "ocr",
            "match": "spells",
        },
    ]
    assert evidence_boxes([], tracks) == []


class TestDraw:
    @pytest.fixture
    def clip(self, tmp_path):
        return write_clip(tmp_path / "a.mp4", coded_frames(40, size=(640, 480)), fps=10)  # 4 s; frame n is on at n / 10

    @staticmethod
    def hit(path, boxes=()) -> Hit:
        found = [{"text": "x", "start": 0.0, "end": 4.0, "box": box, "time": time} for box, time in boxes]
        return Hit(str(path), 0.5, 0.1, 0.2, 0.3, 0.4, 1.0, 2.0, ["x"] * len(found), found)

    def test_without_boxes_the_middle_of_the_best_window(self, clip):
        drawn = self.hit(clip).draw()
        assert drawn.mode == "RGB" and drawn.size == (640, 480)  # never enlarged
        assert read_code(np.asarray(drawn)) == 15

    def test_the_frame_of_most_boxes_and_those_boxes_alone(self, clip):
        corner = [0.02, 0.45, 0.06, 0.5]
        boxes = [([0.5, 0.5, 0.9, 0.9], 3.02), (corner, 2.14), ([0.1, 0.45, 0.14, 0.5], 2.14)]
        hit = self.hit(clip, boxes)
        assert hit.shown_time == 2.14
        drawn = np.asarray(hit.draw())
        boxed = (drawn == BOX_COLOR).all(-1)
        assert boxed[round(0.45 * 479), 14:36].all() and boxed[round(0.45 * 479), 66:88].all()
        assert not boxed[240:, 200:].any()  # the box of the other frame
        plain = self.hit(clip, [([0.0, 0.0, 0.01, 0.01], 2.14)]).draw()
        assert read_code(np.asarray(plain)) == 21

    def test_of_equally_good_frames_the_first_boxs(self, clip):
        assert self.hit(clip, [([0, 0, 1, 1], 3.0), ([0, 0, 1, 1], 1.0)]).shown_time == 3.0

    def test_the_longer_side_is_bounded(self, clip):
        assert self.hit(clip).draw(max_side=160).size == (160, 120)

    def test_a_name_is_no_size(self, clip):
        with pytest.raises(TypeError, match=r"got 'hit\.png'.*draw\(\)\.save"):
            self.hit(clip).draw("hit.png")

    def test_decord_which_may_end_the_process_is_not_asked(self, clip, no_decord):
        assert read_code(np.asarray(self.hit(clip).draw())) == 15

    def test_a_lost_or_broken_file(self, clip, tmp_path):
        (tmp_path / "broken.mp4").write_bytes(b"no video")
        for name in ("lost.mp4", "broken.mp4"):
            with pytest.raises(VideoReadError, match=name):
                self.hit(tmp_path / name).draw()
