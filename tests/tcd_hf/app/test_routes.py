import io
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from urllib.parse import urlencode

import numpy as np
import pytest
from PIL import Image

from tcd_hf.app.clip_view import MAX_CUES, MAX_MOMENTS, render_clip, render_moments, render_transcript
from tcd_hf.app.html_parts import moment_attributes
from tcd_hf.app.library import Clip, ClipError, Library
from tcd_hf.app.matching import matching_in_windows
from tcd_hf.app.page import answer_query
from tcd_hf.app.pictures import window_at
from tcd_hf.app.rendering import render_examples, render_hits
from tcd_hf.index.hits import Hit
from tcd_hf.index.moments import Moment
from tcd_hf.index.schema import video_id
from tcd_hf.processing.window_ocr import WindowCaption
from tcd_hf.reading.text_files import Cue
from tests.clips import read_code
from tests.tcd_hf.app.conftest import HOSTILE_NAME, make_clip


def picture(answer):
    assert answer.status == 200
    assert answer.headers["content-type"] == "image/jpeg"
    return np.asarray(Image.open(io.BytesIO(answer.body)))


def id_of(site, name):
    return video_id(site.path(name).as_posix())


def test_a_video_is_sent_whole_or_in_part(site):
    content = site.path("shop.mp4").read_bytes()
    url = f"/video/{id_of(site, 'shop.mp4')}"
    whole = site.get(url)
    assert (whole.status, whole.body) == (200, content)
    assert whole.headers["content-type"] == "video/mp4"
    assert whole.headers["accept-ranges"] == "bytes"
    assert whole.headers["x-content-type-options"] == "nosniff"
    part = site.get(url, Range="bytes=100-199")
    assert (part.status, part.body) == (206, content[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(content)}"
    assert site.get(url, Range="bytes=-10").body == content[-10:]
    assert site.get(url, Range=f"bytes={len(content)}-").status == 416
    head = site.get(url, "HEAD")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(content)))


def test_what_is_no_video_by_its_name_is_never_run_by_a_browser(site):
    page = make_clip(site.folder / "clip.mp4", [5]).rename(site.folder / "page.html")
    site.index.add(page, workers=0)
    try:
        answer = site.get(f"/video/{video_id(page.as_posix())}")
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/octet-stream"
    finally:
        site.index.remove(page)


@pytest.mark.parametrize(
    ("time", "code"), [("0.5", 8), ("2.1", 1), ("3.9", 1), ("-1", 8), ("4.0", 1), ("1e99", 8), ("nan", 8)]
)
def test_thumbnails_show_the_window_around_a_time(site, time, code):
    shown = picture(site.get(f"/thumbnail/{id_of(site, 'shop.mp4')}?t={time}"))
    assert shown.shape == (96, 128, 3)
    assert read_code(shown) == code


def test_the_evidence_shows_the_frame_with_the_text_outlined(site):
    url = f"/evidence/{id_of(site, 'shop.mp4')}?query=tesco&start=2.0"
    shown = picture(site.get(url)).astype(int)
    plain = picture(site.get(url.replace("tesco", "nothing+of+the+kind"))).astype(int)
    assert read_code(plain) == 1
    different = np.abs(shown - plain).max(axis=-1) > 60
    columns = np.nonzero(different[9:26])[1]  # the box is 0.1-0.9 by 0.1-0.25 of 128 x 96
    assert (columns.min(), columns.max()) == pytest.approx((12.8, 115.2), abs=3)
    assert not different[70:].any()  # only the matching text, not the one below


def test_where_no_text_matches_the_frame_of_the_very_time_is_shown(site):
    url = f"/evidence/{id_of(site, 'airport.mp4')}?query=sushi&start="
    assert [read_code(picture(site.get(f"{url}{seconds}"))) for seconds in (0.0, 1.9, 2.0, 4.0, -1, 1e9)] == [
        *(2, 2, 16, 16),
        *(2, 2),
    ]


def get_part(site, part, name, query):
    answer = site.get(f"/{part}/{id_of(site, name)}?{urlencode(query)}")
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    return answer.body.decode()


def test_an_opened_clip_asks_for_its_parts(site):
    page = get_part(site, "clip", "shop.mp4", {"query": "a&b"})
    assert "<p>0:00:04.0 long</p>" in page
    assert f'src="video/{id_of(site, "shop.mp4")}?v=' in page
    for part in ("moments", "transcript"):
        assert f'data-part="{part}/{id_of(site, "shop.mp4")}?query=a%26b&amp;v=' in page


def test_the_time_between_two_parts_of_a_query_goes_along(site):
    query = {"query": '"over kiosk" >> "1.30 only"', "within": "2.5"}
    page = get_part(site, "clip", "shop.mp4", query)
    assert page.count("&amp;within=2.5&amp;v=") == 2  # to open it again, and its moments
    assert "within" not in get_part(site, "clip", "shop.mp4", {**query, "within": "60"})
    assert site.get(f"/moments/{id_of(site, 'shop.mp4')}?query=x&within=-1").status == 422
    (hit,) = site.index.search("tesco", top_k=1)
    clip = Clip(video_id(hit.path), hit.path, "hash", 1, 1, 4.0, True)
    assert "query=tesco&amp;within=5&amp;v=" in render_hits("tesco", [hit], {clip.id: clip}, 1, within=5.0)


def test_texts_that_were_not_read_in_the_picture_say_so():
    boxes = [{"text": text, "time": 1.0, "source": source} for text, source in (("a", "ocr"), ("b", "subtitle"))]
    page = render_moments(HOUR, [Moment(0.0, 2.0, 1.0, ["a", "b"], boxes)], [], "x")
    assert '<mark>a</mark><mark>b</mark><span class="source">subtitle</span>' in page


def test_a_text_that_means_the_query_says_so_and_is_looked_for_in_the_picture():
    box = {"text": 'way "out"', "time": 1.0, "source": "ocr", "match": "means"}
    page = render_moments(HOUR, [Moment(0.0, 2.0, 1.0, ['way "out"'], [box])], [], "leaving")
    assert '<mark>way &quot;out&quot;</mark><span class="source">by meaning</span>' in page
    assert "query=%22way++out+%22&amp;start=1.000" in page


def test_of_a_moment_by_meaning_all_texts_are_outlined(site):
    boxes = [{"text": text, "time": 2.0, "match": "means"} for text in ("TESCO express", "1.30 only")]
    moment = Moment(2.0, 3.0, 0.5, [box["text"] for box in boxes], boxes)
    clip = Clip(id_of(site, "shop.mp4"), site.path("shop.mp4").as_posix(), "hash", 1, 1, 4.0, True)
    address = unescape(re.search('data-picture="([^"]+)"', moment_attributes(clip, "a shop", moment))[1])
    shown = picture(site.get(f"/{address}")).astype(int)
    plain = picture(site.get(f"/evidence/{clip.id}?start=2.0")).astype(int)
    different = (np.abs(shown - plain).max(axis=-1) > 60).sum(axis=1)
    assert different[28:30].max() > 95 and different[41:44].max() > 95  # the second box: 0.3 to 0.45 of 96 pixels
    assert different[50:64].any()  # its label, for whose place above the box that of the first is


def test_weak_matches_are_folded_and_say_nothing():
    hits = [Hit(f"{name}.mp4", score, 0.1, 0.2, 0.3, 0.0, 0.0, 1.0, is_weak=score < 0.1) for name, score in RANKED]
    clips = {video_id(hit.path): Clip(video_id(hit.path), hit.path, "hash", 1, 1, 4.0, True) for hit in hits}
    page = render_hits("x", hits, clips, 9, tells_weak=True)
    strong, weak = page.split('<details class="weak">')
    assert "a.mp4" in strong and "matched by what is seen or meant" in strong
    assert "b.mp4" in weak and '<span class="rank">2</span>' in weak and "below 0.1" in weak
    assert "no text in it names or means this" in weak and "seen or meant" not in weak
    assert "<details" not in render_hits("x", hits[:1], clips, 9)
    only = render_hits("x", hits[1:], clips, 9)
    assert "Nothing matches well." in only and '<details class="weak" open>' in only


def test_that_a_hit_without_text_matches_is_said_of_probabilities_alone(site, monkeypatch):
    def shown(mode="full"):
        return answer_query(Library(site.index), "zzxqv", mode, 5, None)

    neutral, matched = "what fits best here", "matched by what is seen or meant"
    assert neutral in shown() and matched not in shown()  # a model that is not calibrated
    monkeypatch.setattr(site.index.model.config, "search_calibration", {"bias": 2.0, "lexical": 6.0})
    monkeypatch.setattr(site.index, "_retriever", None)
    for mode in ("two-stage", "full"):
        assert matched in shown(mode) and neutral not in shown(mode)
    assert neutral in shown("coarse") and matched not in shown("coarse")
    monkeypatch.setattr(site.index, "lexical_weight", 0.4)
    monkeypatch.setattr(site.index, "_retriever", None)
    assert neutral in shown() and matched not in shown()


def test_the_moments_of_a_clip_on_its_timeline_and_as_a_list(site):
    page = get_part(site, "moments", "shop.mp4", {"query": "Tesco store"})
    assert "<h3>1 moment in this video</h3>" in page
    assert re.findall(r'class="mark" tabindex="0" data-start="(.+?)" data-end="(.+?)"', page) == [("2.000", "4.000")]
    assert 'aria-label="0:00:02.0–0:00:04.0 TESCO express"' in page
    assert re.findall(r'class="text" style="(.+?)"', page) == ["left:50.000%;width:50.000%"]
    assert re.findall(r'<img src="thumbnail/.+?[?]t=(.+?)&amp;', page) == ["2.250"]  # where the text is seen best
    assert page.count("<mark>TESCO express</mark>") == 1
    long = {"query": " ".join(["Tesco store", *["x" * 9] * 200])}  # what is too long is cut, as where one searches
    assert get_part(site, "moments", "shop.mp4", long) == get_part(
        site, "moments", "shop.mp4", {"query": long["query"][:1000]}
    )
    seen = get_part(site, "moments", "sea.mp4", {"query": "waves"})
    assert "1 moment in this video" in seen
    assert "what fits best" in seen
    for query in ("", "-tesco"):  # told where one searches
        assert "<h3>No moment in this video</h3>" in get_part(site, "moments", "shop.mp4", {"query": query})


def test_the_transcript_of_a_clip_and_a_filter_of_it(site):
    assert cues_of(get_part(site, "transcript", "shop.mp4", {"query": "Tesco store"})) == [
        ("0:00:02.0–0:00:04.0", "<mark>TESCO express</mark>"),
        ("0:00:02.0–0:00:04.0", "1.30 only"),
    ]
    found = get_part(site, "transcript", "shop.mp4", {"filter": "  ÉXPRESS!"})
    assert cues_of(found) == [("0:00:02.0–0:00:04.0", "TESCO express")]
    assert "1 text</p>" in found
    assert "No such text was read" in get_part(site, "transcript", "shop.mp4", {"filter": "kiosk"})
    assert "No such text was read" in get_part(site, "transcript", "sea.mp4", {})


def cues_of(page):
    return re.findall(r'class="time">(.+?)</span><span class="words">(.+?)</span>', page)


RANKED = [("a", 0.6), ("b", 0.05)]
HOUR = Clip("0" * 24, "/v/hour.mp4", "hash", 1, 1, 3600.0, True)


def test_five_moments_of_an_hour_are_marked_where_they_are():
    moments = [Moment(start, start + 9, 1.0, [f"gate {start:g}"]) for start in (0.0, 900.0, 1800.0, 1850.5, 3591.0)]
    page = render_moments(HOUR, moments, [Cue(600, 1200, "departures"), Cue(3599.9, 3600, "end")], "gate")
    marks = re.findall(r'class="mark" tabindex="(.+?)" data-start="(.+?)".+?style="(.+?)"', page)
    assert marks == [
        ("0", "0.000", "left:0.000%;width:0.250%"),
        ("-1", "900.000", "left:25.000%;width:0.250%"),
        ("-1", "1800.000", "left:50.000%;width:0.250%"),
        ("-1", "1850.500", "left:51.403%;width:0.250%"),
        ("-1", "3591.000", "left:99.750%;width:0.250%"),
    ]
    texts = re.findall(r'class="text" style="(.+?)"', page)
    assert texts == ["left:16.667%;width:16.667%", "left:99.861%;width:0.139%"]  # a cell of 5 s, of 720
    times = re.search('class="scale".+?</div>', page).group()
    assert re.findall("<span>(.+?)</span>", times) == [
        *("0:00:00.0", "0:15:00.0", "0:30:00.0"),
        *("0:45:00.0", "1:00:00.0"),
    ]
    assert "<h3>5 moments in this video</h3>" in page
    assert page.count('<button type="button" class="moment"') == 5


def test_of_very_many_moments_the_best_are_shown_in_the_order_of_time():
    moments = [Moment(float(place), place + 1.0, place % 7, ["x"]) for place in range(1000)]
    page = render_moments(HOUR, moments, [], "x")
    assert f"1,000 moments in this video<small>the best {MAX_MOMENTS} are shown</small>" in page
    starts = [float(start) for start in re.findall(r'class="moment" data-start="(.+?)"', page)]
    assert starts == sorted(starts)
    assert len(starts) == MAX_MOMENTS
    assert {start % 7 for start in starts} == {5, 6}


def test_a_long_transcript_is_shown_by_the_rows_around_a_time():
    cues = [Cue(2.0 * place, 2.0 * place + 2, f"text {place}", "subtitle") for place in range(1800)]
    page = render_transcript(HOUR, cues, '"text 900"', 1800.0)
    rows = cues_of(page)
    assert len(rows) == MAX_CUES
    assert (rows[0][0], rows[-1][0]) == ("0:25:00.0–0:25:02.0", "0:34:58.0–0:35:00.0")
    assert rows[150] == ("0:30:00.0–0:30:02.0", "<mark>text 900</mark>")
    assert page.count("<mark>") == 1
    assert "300 of 1,800 texts: 0:25:00.0–0:34:58.0" in page
    assert 'class="cues" data-start="1500.000" data-end="2098.000"' in page  # others are fetched beyond
    assert page.count('class="source">subtitle<') == MAX_CUES
    assert 'data-start="0.000" data-end="598.000">' in render_transcript(HOUR, cues, "", 0.0)
    assert 'data-start="3000.000" data-end="3601.000">' in render_transcript(HOUR, cues, "", 3599.0)
    filtered = render_transcript(HOUR, cues, "")
    assert cues_of(filtered)[0][0] == "0:00:00.0–0:00:02.0"
    assert 'class="cues" >' in filtered


@pytest.mark.parametrize(
    ("query", "marked"),
    [
        ("a sale", [["sale today"], ["sale"], ["sale over"]]),
        ('"sale today"', [["sale today"], [], []]),
        ("sale -over", [["sale today"], ["sale"], []]),
        (
            '"sale today" OR over',
            [["sale today"], ["sale"], ["sale over"]],
        ),  # either word speaks, as in a search
        ('"sale today" >> over', [["sale today"], [], ["sale over"]]),
        ("over >>", [[], [], []]),
        ("-sale", [[], [], []]),
        ("", [[], [], []]),
    ],
)
def test_what_matches_is_what_the_query_asks_for(query, marked):
    assert matching_in_windows(query, [["sale today"], ["sale"], ["sale over"]]) == marked


def test_the_window_of_a_time():
    captions = [WindowCaption(start, start + 2) for start in (0.0, 2.0, 4.0, 10.0)]
    times = {-1.0: 0, 0.0: 0, 1.9: 0, 1.9995: 1, 2.0: 1, 5.9: 2, 7.0: 2, 10.0: 3, 1e9: 3}  # 6-10 s: without a frame
    assert {time: window_at(captions, time) for time in times} == times


def test_a_clip_removed_between_two_looks_is_told_calmly():
    with pytest.raises(ClipError, match="no longer in the index"):
        window_at([], 1.0)


def test_a_clip_without_text_has_no_score_of_its_text(site):
    library = Library(site.index)
    hits = {hit.path: hit for hit in library.search("kiosk", "full", 50, None)}
    clips = {clip.title: clip for clip in library.first_clips(50)}

    def shown(name):
        return render_hits("kiosk", [hits[clips[name].path]], {clips[name].id: clips[name]}, 1)

    assert "no text was read in this clip</span>" in shown("sea.mp4")
    labels = re.findall('class="label">(.+?)<.+?class="number">(.+?)<', shown("sea.mp4"))
    assert [label for label, _ in labels] == ["picture", "no text", "both", "spelling"]
    assert [number for _, number in labels][1] == "–"
    assert "what fits best here" in shown("shop.mp4")
    assert "no text" not in shown("shop.mp4")
    titles = re.findall(r'class="bar (\w+)" title="(\w+) [-\d.]+: ', shown("shop.mp4"))
    assert titles == [(name, name) for name in ("text_video", "text_ocr", "text_hybrid", "lexical")]


def test_a_lost_and_a_changed_file_are_told_calmly(site):
    lost, changed = (make_clip(site.folder / f"{name}.mp4", [6, 1]) for name in ("lost", "changed"))
    site.index.add([lost, changed], workers=0)
    try:
        lost.unlink()
        changed.write_bytes(b"no video")
        for path, message in ((lost, "no longer where it was"), (changed, "has changed since it was indexed")):
            clip_id = video_id(path.as_posix())
            page = site.get(f"/clip/{clip_id}?query=tesco")
            assert page.status == 200
            assert message in page.body.decode()
            assert "<video" not in page.body.decode()
            for part in ("moments", "transcript"):  # what was read is there all the same
                assert "TESCO express" in site.get(f"/{part}/{clip_id}?query=tesco").body.decode()
            for route in ("video", "thumbnail", "evidence"):
                answer = site.get(f"/{route}/{clip_id}")
                assert answer.status == 404
                assert message in answer.body.decode()
    finally:
        site.index.remove([lost, changed])


def test_everything_that_comes_from_data_is_escaped(site):
    from tcd_hf.app.library import Library

    library = Library(site.index)
    query = '<i onclick="x">kiosk</i>'
    hits = library.search(query, "full", 50, None)
    clip = library.clip(id_of(site, HOSTILE_NAME))
    pages = [
        render_hits(query, hits, {clip.id: clip for clip in library.first_clips(50)}, len(library)),
        render_clip(clip, query),
        render_clip(clip, query, problem="<u>lost</u>"),
        render_moments(clip, [HOSTILE, *library.moments(query, clip)], library.transcript(clip).cues, query),
        render_transcript(clip, library.transcript(clip).cues, query, 1.0),
        render_hits(query, [replace(hits[0], path=clip.path, moments=[HOSTILE])], {clip.id: clip}, 1),
        render_examples(['<b onclick="x">']),
    ]
    assert "&lt;script&gt;" in pages[0]
    assert "&lt;script&gt;" in pages[3]
    assert "&lt;script&gt;" in pages[4]
    for page in pages:
        seen = Tags()
        seen.feed(page)
        assert seen.tags <= OUR_TAGS
        assert not [name for name in seen.attributes if name.startswith("on") or "hacked" in name]


HOSTILE = Moment(1.0, 2.0, 0.5, ["<script>hacked=1</script>", '"><b onmouseover=hacked=1>'])
OUR_TAGS = set("p ol li button span img mark article section header h2 h3 label input".split())  # noqa: SIM905
OUR_TAGS |= {"div", "figure", "video", "figcaption", "b"}


class Tags(HTMLParser):
    """The tags and the names of attributes in a page, as a browser reads them."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes = set(), set()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attributes)
