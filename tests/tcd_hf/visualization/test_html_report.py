import base64
import re
from html.parser import HTMLParser
from io import BytesIO

import pytest
from PIL import Image

from tcd_hf.index.hits import Hit
from tcd_hf.index.moments import Moment
from tcd_hf.visualization import write_html_report
from tests.clips import coded_frames, write_clip

BOX = {"text": "<b>SALE</b>", "start": 1.0, "end": 2.0, "box": [0.1, 0.5, 0.4, 0.6], "time": 1.5}
ATTACK = '"><script>alert(1)</script><img src=x onerror=alert(1)>'


class Page(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, source: str):
        super().__init__()
        self.elements, self.text = [], ""
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "a&b <i>.mp4", coded_frames(30, size=(640, 480)), fps=10)


def hit(path, **changes) -> Hit:
    values = {"score": 0.61, "text_video": -0.2, "text_ocr": 0.987, "text_hybrid": 0.5, "lexical": 0.25}
    values |= {"start": 1.0, "end": 2.0, "evidence": ["<b>SALE</b>"], "boxes": [BOX]}
    return Hit(str(path), **{**values, **changes})


def written(tmp_path, results, **options) -> Page:
    path = tmp_path / "report.html"
    write_html_report(path, results, **options)
    return Page(path.read_text(encoding="utf-8"))


def test_a_row_shows_picture_time_scores_and_words(tmp_path, clip):
    page = written(tmp_path, [("a sale", [hit(clip)])], title="My search")
    (image,) = page.all("img")
    header, data = image["src"].split(",")
    assert header == "data:image/jpeg;base64"
    picture = Image.open(BytesIO(base64.b64decode(data)))
    assert picture.format == "JPEG" and picture.size == (480, 360)
    red, green, blue = picture.getpixel((120, 180))  # the upper edge of the box at half the height
    assert red > 150 and green > 150 and blue < 130
    words = re.sub(r"\s+", " ", page.text)
    for part in ("My search", "a sale", "a&b <i>.mp4", "0:00:01.0 to 0:00:02.0", "<b>SALE</b>"):
        assert part in words
    scores = re.findall(r"(score|picture|text|both|spelling) (-?\d\.\d{3})", words)
    expected = {"score": "0.610", "picture": "-0.200", "text": "0.987", "both": "0.500", "spelling": "0.250"}
    assert dict(scores) == expected
    fields = [span["title"] for span in page.all("span") if "title" in span]
    assert fields == ["score", "text_video", "text_ocr", "text_hybrid", "lexical"]
    widths = [span["style"] for span in page.all("span") if "style" in span]
    assert widths == ["width: 61%", "width: 0%", "width: 99%", "width: 50%", "width: 25%"]


def test_what_comes_from_outside_is_shown_as_text(tmp_path, clip):
    evil = hit(clip, evidence=[ATTACK], boxes=[{**BOX, "text": ATTACK}])
    lost = hit(tmp_path / ATTACK.replace("/", "_"))
    page = written(tmp_path, [(ATTACK, [evil, lost])], title=ATTACK)
    assert not page.all("script")
    assert len(page.all("img")) == 1 and ATTACK in page.all("img")[0]["alt"]
    assert page.text.count(ATTACK) >= 4  # two titles, the query, the words
    assert all(not name.startswith("on") for _, attributes in page.elements for name in attributes)


def test_the_page_refers_to_nothing_else(tmp_path, clip):
    page = written(tmp_path, [("a", [hit(clip)])])
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert {"script", "link", "iframe", "a", "form"}.isdisjoint({tag for tag, _ in page.elements})
    source = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "://" not in source and "url(" not in source and "@import" not in source


def test_a_lost_or_broken_clip_costs_its_picture_alone(tmp_path, clip):
    (tmp_path / "broken.mp4").write_bytes(b"junk")
    page = written(tmp_path, [("a", [hit(tmp_path / "lost.mp4"), hit(tmp_path / "broken.mp4"), hit(clip)])])
    assert len(page.all("img")) == 1
    notes = re.findall(r"No picture\. .*", page.text)
    assert len(notes) == 2 and "lost.mp4" in notes[0] and "broken.mp4" in notes[1]


def test_no_hit_and_a_model_that_does_not_read(tmp_path, clip):
    bare = hit(clip, text_ocr=None, text_hybrid=None, evidence=[], boxes=[])
    page = written(tmp_path, [("nothing", []), ("something", [bare])])
    assert page.text.count("No video matches.") == 1
    assert re.findall(r"(\w+)\s+-?\d\.\d{3}", page.text) == ["score", "picture", "spelling"]


def test_the_other_moments_of_a_hit_stand_below_its_best(tmp_path, clip):
    moments = [Moment(3725.3, 3728.0, 0.5, ["SALE", ATTACK]), Moment(10.0, 12.0, 0.4)]
    page = written(tmp_path, [("a sale", [hit(clip, moments=moments)])])
    words = re.sub(r"\s+", " ", page.text)
    assert f"0:00:01.0 to 0:00:02.0 <b>SALE</b> also 1:02:05.3 to 1:02:08.0 SALE {ATTACK} also 0:00:10.0" in words
    assert not page.all("script") and len(page.all("img")) == 1


def test_weak_matches_are_folded(tmp_path, clip):
    strong, weak = hit(clip), hit(clip, score=0.05, is_weak=True, evidence=[], boxes=[])
    page = written(tmp_path, [("a sale", [strong, weak])])
    assert [list(each) for each in page.all("details")] == [["class"]]
    assert len(page.all("img")) == 2 and "below 0.1" in page.text
    assert re.findall(r'class="rank">(\d)<', (tmp_path / "report.html").read_text()) == ["1", "2"]
    (details,) = written(tmp_path, [("a sale", [weak])]).all("details")
    assert "open" in details  # there is nothing else
    assert not written(tmp_path, [("a sale", [strong])]).all("details")


def test_a_weak_match_may_rank_before_another(tmp_path, clip):
    written(tmp_path, [("a >> b", [hit(clip, score=0.5, is_weak=True), hit(clip, score=0.4)])])
    source = (tmp_path / "report.html").read_text()
    assert re.findall(r'class="rank">(\d)<', source) == ["2", "1"]  # the weak one is folded, below


def test_what_matches_by_meaning_says_so(tmp_path, clip):
    meant = hit(clip, boxes=[{**BOX, "match": "means"}], text_window=0.7)
    page = written(tmp_path, [("cheap", [meant])])
    assert "<b>SALE</b> by meaning" in page.text and "0.700" in page.text
    assert "by meaning" not in written(tmp_path, [("a sale", [hit(clip)])]).text


def test_hits_need_their_queries(tmp_path, clip):
    for results in ([hit(clip)], [[hit(clip), hit(clip)]], ("a", [hit(clip)])):  # of one query, of two, no list
        with pytest.raises(TypeError, match=r"pairs of a query and its hits.*zip\(queries"):
            write_html_report(tmp_path / "report.html", results)
    assert not (tmp_path / "report.html").exists()


def test_a_name_that_is_no_text(tmp_path):
    page = written(tmp_path, [("a", [hit(tmp_path / "caf\udce9.mp4")])])
    assert "caf\\udce9.mp4" in page.text
