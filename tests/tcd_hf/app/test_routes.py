import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from tcd_hf.app.library import Clip, ClipError
from tcd_hf.app.matching import matching_in_windows
from tcd_hf.app.pictures import window_at
from tcd_hf.app.rendering import MAX_ROWS, render_clip, render_examples, render_hits
from tcd_hf.index.moments import Moment
from tcd_hf.index.schema import video_id
from tcd_hf.processing.text_tracks import TextTrack
from tcd_hf.processing.window_ocr import WindowCaption
from tests.clips import read_code
from tests.tcd_hf.app.conftest import HOSTILE_NAME, make_clip
from tests.tcd_hf.conftest import NUM_FRAMES


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


def test_the_captions_of_a_clip_by_window(site):
    page = site.get(f"/clip/{id_of(site, 'shop.mp4')}?query=Tesco+store&start=2.02").body.decode()
    assert page.count('class="window') == NUM_FRAMES - 1 + 1  # two without text are one row; and the list of them
    assert page.count("<mark>TESCO express</mark> 1.30 only") == 2
    assert page.count('0:00:00.0–0:00:02.0</span><span class="read">no text<') == 1
    assert re.findall(r'class="window text match best" data-start="(.+?)"', page) == ["2.000"]
    assert re.findall('<span class="(.+?)" style="(.+?)"></span>', page) == [
        ("match", "left:50.000%;width:50.000%"),
        ("playhead", "left:50.500%"),
    ]
    assert 'data-start="2.020" src="video/' in page
    assert "<figcaption>the frame with the matching text, outlined</figcaption>" in page
    assert page.count('data-shown="a frame of this time"') == 1
    page = site.get(f"/clip/{id_of(site, 'shop.mp4')}?query=nothing+of+it&start=2.02").body.decode()
    assert "<figcaption>a frame of this time</figcaption>" in page
    assert 'data-shown="the frame' not in page
    assert "<mark>" not in page


def caption(start, *texts):
    tracks = [TextTrack(text, 0.9, start, start + 2, (0, 0, 1, 1), box_time=start + 1) for text in texts]
    return WindowCaption(start, start + 2, " ".join(texts), tracks)


def rows_of(page):
    return re.findall(r'class="time">(.+?)</span><span class="read">(.+?)</span>', page)


def test_windows_without_text_are_folded_but_for_the_one_that_is_opened():
    texts = {3: ["sale"], 4: ["sale"]}
    captions = [caption(2.0 * place, *texts.get(place, [])) for place in range(8)]
    clip = Clip("0" * 24, "/v/a.mp4", "hash", 1, 1, 16.0, True)
    assert rows_of(render_clip(clip, captions, 12.5, "sale")) == [
        ("0:00:00.0–0:00:06.0", "no text"),
        ("0:00:06.0–0:00:08.0", "<mark>sale</mark>"),
        ("0:00:08.0–0:00:10.0", "<mark>sale</mark>"),
        ("0:00:10.0–0:00:12.0", "no text"),
        ("0:00:12.0–0:00:14.0", "no text"),
        ("0:00:14.0–0:00:16.0", "no text"),
    ]
    assert len(rows_of(render_clip(clip, captions, 0.0, "sale"))) == 5


def test_an_hour_is_shown_by_the_rows_around_the_moment_and_the_strip_by_its_pixels():
    captions = [caption(2.0 * place, *([] if place % 2 else [f"text {place}"])) for place in range(1800)]
    clip = Clip("0" * 24, "/v/hour.mp4", "hash", 1, 1, 3600.0, True)
    page = render_clip(clip, captions, 1800.0, '"text 900"')
    rows = rows_of(page)
    assert len(rows) == MAX_ROWS
    assert (rows[0][0], rows[-1][0]) == ("0:25:00.0–0:25:02.0", "0:34:58.0–0:35:00.0")
    assert rows[150] == ("0:30:00.0–0:30:02.0", "<mark>text 900</mark>")
    assert "Shown is 0:25:00.0–0:35:00.0: the 300 rows around this moment, of 1,800." in page
    assert 'class="match" style="left:50.000%;width:0.139%"' in page  # a cell of 5 s, of 720
    assert rows_of(render_clip(clip, captions, 0.0, ""))[0][0] == "0:00:00.0–0:00:02.0"
    assert rows_of(render_clip(clip, captions, 3599.0, ""))[-1][0] == "0:59:58.0–1:00:00.0"
    assert len(rows_of(render_clip(clip, captions, 3599.0, ""))) == MAX_ROWS


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
    captions = [caption(0.0, text) for text in ("sale today", "sale", "sale over")]
    assert matching_in_windows(query, captions) == marked


def test_the_window_of_a_time():
    captions = [caption(start) for start in (0.0, 2.0, 4.0, 10.0)]
    times = {-1.0: 0, 0.0: 0, 1.9: 0, 1.9995: 1, 2.0: 1, 5.9: 2, 7.0: 2, 10.0: 3, 1e9: 3}  # 6-10 s: without a frame
    assert {time: window_at(captions, time) for time in times} == times


def test_a_clip_removed_between_two_looks_is_told_calmly():
    with pytest.raises(ClipError, match="no longer in the index"):
        window_at([], 1.0)


def test_a_clip_without_text_has_no_score_of_its_text(site):
    from tcd_hf.app.library import Library

    library = Library(site.index)
    hits = {hit.path: hit for hit in library.search("kiosk", "full", 50, None)}
    clips = {clip.title: clip for clip in library.first_clips(50)}

    def shown(name):
        return render_hits("kiosk", [hits[clips[name].path]], {clips[name].id: clips[name]}, 1)

    assert "no text was read in this clip</span>" in shown("sea.mp4")
    labels = re.findall('class="label">(.+?)<.+?class="number">(.+?)<', shown("sea.mp4"))
    assert [label for label, _ in labels] == ["picture", "no text", "both", "spelling"]
    assert [number for _, number in labels][1] == "–"
    assert "matched by what is seen or meant" in shown("shop.mp4")
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
            page = site.get(f"/clip/{clip_id}?query=tesco&start=0")
            assert page.status == 200
            assert message in page.body.decode()
            assert "TESCO express" in page.body.decode()  # what was read is there all the same
            assert "<video" not in page.body.decode()
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
        render_clip(clip, library.captions(clip), 1.0, query),
        render_clip(clip, library.captions(clip), 1.0, query, problem="<u>lost</u>"),
        render_hits(query, [replace(hits[0], path=clip.path, moments=[HOSTILE])], {clip.id: clip}, 1),
        render_examples(['<b onclick="x">']),
    ]
    assert "&lt;script&gt;" in pages[0]
    assert "&lt;script&gt;" in pages[1]
    for page in pages:
        seen = Tags()
        seen.feed(page)
        assert seen.tags <= OUR_TAGS
        assert not [name for name in seen.attributes if name.startswith("on") or "hacked" in name]


HOSTILE = Moment(1.0, 2.0, 0.5, ["<script>hacked=1</script>", '"><b onmouseover=hacked=1>'])
OUR_TAGS = set("p ol li button span img mark article header h2 h3 bdi div figure video figcaption b".split())  # noqa: SIM905


class Tags(HTMLParser):
    """The tags and the names of attributes in a page, as a browser reads them."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes = set(), set()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attributes)
