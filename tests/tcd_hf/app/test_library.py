import io
import os
import shutil
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tcd_hf.app import frames
from tcd_hf.app import library as library_module
from tcd_hf.app.library import ClipError, Library, is_example, sql_filter
from tcd_hf.app.pictures import Thumbnails
from tcd_hf.index.schema import video_id
from tcd_hf.index.video_index import VideoIndex
from tests.clips import read_code
from tests.tcd_hf.app.conftest import HOSTILE_NAME, LONG, make_clip, make_index
from tests.tcd_hf.conftest import NUM_FRAMES, count_calls

SHORT = ("shop.mp4", "sea.mp4")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    schedule = {"shop.mp4": [8, 8, 1, 1], "short.mp4": [2, 16], "it's 100%_\\.mp4": [64] * 3, HOSTILE_NAME: [4]}
    return Library(make_index(tmp_path_factory.mktemp("library"), schedule))


def names(hits):
    return {os.path.basename(hit.path) for hit in hits}


def found(library, **options):
    return names(library.search("kiosk", "full", 10, sql_filter(**options)))


def test_filters_let_the_right_videos_through(library):
    everything = found(library)
    assert everything == {"shop.mp4", "short.mp4", "it's 100%_\\.mp4", HOSTILE_NAME}
    assert found(library, min_seconds=3) == {"shop.mp4", "it's 100%_\\.mp4"}
    assert found(library, max_seconds=2.0) == {"short.mp4", HOSTILE_NAME}
    assert found(library, min_seconds=1.5, max_seconds=3.5) == {"short.mp4", "it's 100%_\\.mp4"}
    assert found(library, only_with_text=True) == everything - {"it's 100%_\\.mp4"}
    assert found(library, path_contains="SHO") == {"shop.mp4", "short.mp4"}


def test_texts_of_one_source_alone_are_searched(tmp_path):
    library = Library(make_index(tmp_path, {"shop.mp4": [8, 8, 1, 1], "sea.mp4": [64] * 3}))
    sea = tmp_path / "videos" / "sea.mp4"
    library.index.add([sea], workers=0, texts={sea: [(0.0, 1.0, "a kiosk by the sea")]})
    assert found(library, text_from="given") == {"sea.mp4"}
    assert found(library, text_from="ocr") == {"shop.mp4"}
    assert found(library, text_from="subtitle") == set()


def test_time_between_what_follows(long):
    query, clip = '"tesco express" >> "departures hall"', long.first_clips(1)[0]  # at 30-33 and 62-65 seconds
    assert len(long.search(query, "full", 10, None, within=30)) == len(long.moments(query, clip, within=30)) == 1
    assert long.search(query, "full", 10, None, within=20) == long.moments(query, clip, within=20) == []


@pytest.mark.parametrize("part", ["it's", "%", "_\\", "100%_\\.mp4", "'"])
def test_what_is_syntax_elsewhere_is_text_in_a_filter(library, part):
    assert "it's 100%_\\.mp4" in found(library, path_contains=part) <= {"it's 100%_\\.mp4", HOSTILE_NAME}


@pytest.mark.parametrize("part", ["' OR '1'='1", "x') OR true --", "'; DROP TABLE videos; --", "\\' OR 1=1 --", "%%%"])
def test_no_path_breaks_out_of_a_filter(library, part):
    assert found(library, path_contains=part) == set()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_seconds": float("nan")}, "shortest duration .* got nan"),
        ({"max_seconds": float("inf")}, "longest duration .* got inf"),
        ({"min_seconds": -1}, "got -1"),
        ({"min_seconds": 5, "max_seconds": 4}, "above the longest"),
        ({"min_seconds": "abc"}, "got abc"),
        ({"max_seconds": [1]}, "got"),
        ({"max_seconds": 10**400}, "from 0 on"),
        ({"path_contains": "a\0b"}, "cannot be printed"),
        ({"path_contains": "\ud800"}, "cannot be printed"),
        ({"path_contains": ["p"]}, "must be a text"),
        ({"text_from": "' OR '1'='1"}, "one of ocr, subtitle, given"),
        ({"text_from": ["ocr"]}, "one of ocr, subtitle, given"),
    ],
)
def test_filters_that_mean_nothing_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        sql_filter(**options)


def test_example_queries_are_texts_of_the_index(tmp_path):
    library = Library(make_index(tmp_path, {"shop.mp4": [1], "shop2.mp4": [1, 1], "air.mp4": [2], "sea.mp4": [64]}))
    assert library.example_queries() == ["TESCO express", "DEPARTURES hall"]
    assert library.example_queries(1) == ["TESCO express"]


@pytest.mark.parametrize(
    ("text", "confidence", "expected"),
    [
        ("TESCO express", 0.9, True),
        ("17:45 Lindenberg", 1.0, True),
        ("Let's go", 1.0, True),
        ("TESCO express", 0.89, False),
        ("TESCO", 1.0, False),
        ("VISA VISA", 1.0, False),
        ("*Low Price", 1.0, False),
        ("12 34 x 5", 1.0, False),
        ("a b", 1.0, False),
        ("a text that goes on and on and on", 1.0, False),
    ],
)
def test_what_makes_an_example(text, confidence, expected):
    assert is_example(text, confidence) is expected


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """Of 180 s in segments of 10 s, the last after a short clip was added."""
    schedule = {"long.mp4": LONG, "shop.mp4": [8, 1]}
    return Library(make_index(tmp_path_factory.mktemp("long"), schedule, segment_seconds=10))


def test_what_is_counted_and_listed_is_files(long):
    assert long.index.stats().segments == 18 + 1
    assert len(long) == 2
    clips = long.first_clips(10)
    assert [clip.title for clip in clips] == ["long.mp4", "shop.mp4"]
    assert [clip.has_text for clip in clips] == [True, True]  # not of its first segment
    assert [clip.duration for clip in clips] == [180, 2]
    assert long.first_clips(1) == clips[:1]
    assert long.clips([clip.id for clip in clips]) == {clip.id: clip for clip in clips}
    with pytest.raises(ClipError, match="not in the index"):
        long.clip(f"{clips[0].id}-1")  # the row of a segment


def test_clips_are_listed_however_long_their_paths_are(tmp_path):
    index = make_index(tmp_path, {"shop.mp4": [1], "sea.mp4": [64]})
    deep = tmp_path.joinpath(*["x" * 200] * 15)
    deep.mkdir(parents=True)
    # together more than a filter may have, in characters
    copies = [shutil.copyfile(tmp_path / "videos" / name, deep / f"{i}-{name}") for i in range(20) for name in SHORT]
    index.add(copies, workers=0)
    clips = Library(index).first_clips(1000)
    assert len(clips) == len(copies) + 2 and sum(len(clip.path) for clip in clips) > 100_000
    assert {clip.has_text for clip in clips if "shop" in clip.title} == {True}
    assert {clip.has_text for clip in clips if "sea" in clip.title} == {False}


def test_damage_is_told_where_moments_are_asked_for(tmp_path):
    index = make_index(tmp_path, {"shop.mp4": [1]})
    library, (clip,) = Library(index), Library(index).first_clips(1)
    assert library.moments("kiosk >> ", clip) == []  # a query that cannot be searched for
    data = next((tmp_path / "index" / "videos.lance" / "data").glob("*.lance"))
    data.write_bytes(b"\0" * data.stat().st_size)
    damaged = Library(VideoIndex.open(tmp_path / "index", index.model, index.processor))
    with pytest.raises(ClipError, match="is damaged"):
        damaged.moments("kiosk", clip)


def test_captions_of_all_segments_in_the_order_of_time(long):
    clip = long.first_clips(1)[0]
    captions = long.captions(clip)
    assert [caption.start for caption in captions] == [2.5 * place for place in range(72)]
    shown = [caption.start for caption in captions if "DEPARTURES" in caption.text]
    assert shown == [60, 62.5, 100, 170, 172.5]
    assert [caption.start for caption in long.captions(clip, around=63)] == [60, 62.5, 65, 67.5]
    assert [caption.start for caption in long.captions(clip, around=70)] == [2.5 * place for place in range(24, 32)]
    assert long.captions(clip, around=-1) == long.captions(clip, around=float("nan")) == captions


def test_a_search_gives_moments_and_reads_the_syntax_of_queries(long):
    hit = long.search("departures hall", "two-stage", 1, None)[0]
    assert hit.path.endswith("long.mp4")
    times = sorted((moment.start, moment.end) for moment in [hit, *hit.moments])
    assert times == [pytest.approx((start, end), abs=0.8) for start, end in ((62, 65), (100, 102), (171, 174))]
    assert [hit.path[-8:] for hit in long.search('"tesco express"', "two-stage", 5, None)] == ["shop.mp4", "long.mp4"]
    assert long.search('"departures express"', "full", 5, None) == []
    for hit in long.search("tesco -departures", "full", 5, None):
        assert "DEPARTURES hall" not in hit.evidence
    with pytest.raises(ValueError, match="only says what to leave out"):
        long.search("-departures", "two-stage", 5, None)


def test_examples_of_one_long_clip_are_of_several_segments(long):
    assert long.example_queries() == ["TESCO express", "DEPARTURES hall"]


def test_thumbnails_of_a_long_clip_are_of_every_second_and_not_drawn_ahead(long, tmp_path):
    thumbnails = Thumbnails(long, tmp_path)
    clip, shop = long.first_clips(2)
    assert (thumbnails.num_pieces(clip), thumbnails.num_pieces(shop)) == (720, 8)
    for seconds in (0.0, 62.4, 63.6, 101.0, 173.0, 179.9):
        shown = read_code(np.asarray(Image.open(io.BytesIO(thumbnails.get(clip, seconds)))))
        assert shown == LONG[int(seconds)]
    thumbnails.draw_ahead(threading.Event())
    drawn = Counter(file.name[:16] for file in tmp_path.rglob("*.jpg"))
    assert drawn == {clip.content_hash[:16]: 6, shop.content_hash[:16]: NUM_FRAMES}


def test_a_file_is_shown_only_while_it_is_what_was_indexed(tmp_path, monkeypatch):
    library = Library(make_index(tmp_path, {"shop.mp4": [1, 8], "sea.mp4": [64, 64]}))
    shop, sea = library.first_clips(10)
    library.check(shop)

    copy = tmp_path / "copy.mp4"
    shutil.copyfile(shop.path, copy)
    os.replace(copy, shop.path)  # other stamps, the same content
    hashed = count_calls(monkeypatch, library_module, "hash_file")
    library.check(shop)
    library.check(shop)
    assert len(hashed) == 1

    content = bytearray(Path(shop.path).read_bytes())
    content[-1] ^= 1
    Path(shop.path).write_bytes(content)  # the same size, other content
    with pytest.raises(ClipError, match="changed"):
        library.check(shop)

    os.unlink(shop.path)
    with pytest.raises(ClipError, match="no longer where it was"):
        library.check(shop)
    os.symlink(sea.path, shop.path)
    with pytest.raises(ClipError, match="changed"):
        library.check(shop)
    os.unlink(shop.path)
    os.mkfifo(shop.path)  # would hang whoever reads it
    with pytest.raises(ClipError, match="changed"):
        library.check(shop)


def test_clips_are_found_by_their_ids_alone(library):
    clip = library.first_clips(1)[0]
    clip_id = clip.id
    assert clip_id == video_id(clip.path)
    assert library.clip(clip_id) == clip
    assert library.clips([clip_id, video_id("/other")]) == {clip_id: clip}
    assert library.clips([]) == {}
    assert library.captions(clip)[0].start == 0
    assert [clip.has_text for clip in library.first_clips(4)] == [True, True, False, True]
    for other in (video_id("/etc/passwd"), "", "' OR '1'='1", clip_id.upper() + "'", clip_id + "\0", clip.path):
        with pytest.raises(ClipError, match="not in the index"):
            library.clip(other)


def test_moments_and_the_transcript_of_a_clip(long):
    clip = long.first_clips(1)[0]
    assert [round(moment.start) for moment in long.moments("departures hall", clip)] == [62, 100, 171]
    assert long.moments("-departures", clip) == long.moments(" ", clip) == []
    transcript = long.transcript(clip)
    assert [cue.text for cue in transcript.filter("dePÄRTures hall!")] == ["DEPARTURES hall"] * 3
    assert transcript.filter(" ") == list(transcript.cues)
    assert long.transcript(clip) is transcript  # kept


def test_a_transcript_is_that_of_the_index_as_it_is_now(tmp_path):
    library = Library(make_index(tmp_path, {"shop.mp4": [1, 8], "airport.mp4": [2, 8]}))
    clip = library.first_clips(1)[0]
    assert [cue.text for cue in library.transcript(clip).cues] == ["TESCO express", "1.30 only"]
    library.index.remove(clip.path)
    assert library.transcript(clip).cues == []
    assert library.moments("tesco", clip) == []


def test_several_search_while_videos_are_added(tmp_path):
    index = make_index(tmp_path, {"shop.mp4": [1, 1], "airport.mp4": [2, 2]})
    library, errors = Library(index), []
    other = type(index).open(index.uri, index.model, index.processor, cache_dir=tmp_path / "cache")
    stop = threading.Event()

    def search():
        try:
            while not stop.is_set():
                hits = library.search("TESCO express", "two-stage", 10, None)
                assert hits[0].path.endswith("shop.mp4")
                assert len(library.clips(video_id(hit.path) for hit in hits)) == len(hits)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(5):
        other.add(make_clip(tmp_path / f"{number}.mp4", [300 + number]), workers=0)
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(library) == len(library.search("TESCO express", "full", 10, None)) == 7


@pytest.mark.parametrize("moment", ["before it is opened", "after it was opened"])
def test_a_file_that_is_replaced_leaves_no_thumbnails_under_the_old_hash(tmp_path, monkeypatch, moment):
    library = Library(make_index(tmp_path, {"clip.mp4": [8, 1]}))
    (clip,) = library.first_clips(1)
    path, other = Path(clip.path), make_clip(tmp_path / "other.mp4", [16, 2])
    content, open_video = path.read_bytes(), frames.open_video

    def replaced(*args, **options):
        if moment == "before it is opened":
            os.replace(other, path)
            return open_video(*args, **options)
        video = open_video(*args, **options)
        os.replace(other, path)
        return video

    thumbnails = Thumbnails(library, tmp_path / "thumbnails")
    with monkeypatch.context() as patch:
        patch.setattr(frames, "open_video", replaced)
        with pytest.raises(ClipError, match="has changed since it was indexed"):
            thumbnails.get(clip, 0.5)
    assert not list(thumbnails.folder.rglob("*.jpg"))
    path.write_bytes(content)
    shown = Image.open(io.BytesIO(thumbnails.get(clip, 0.5)))
    assert read_code(np.asarray(shown)) == 8
