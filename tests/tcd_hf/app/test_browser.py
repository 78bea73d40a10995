"""The page in a real browser, headless. Skipped, loudly, where there is no Chromium: `apt-get install chromium`.

    TCD_HF_SCREENSHOTS=docs/screenshots pytest -m slow tests/tcd_hf/app/test_browser.py

writes the screenshots of the docs.
"""

import io
import os
import re
import threading
from pathlib import Path

import pytest
from PIL import Image

from tcd_hf.index.video_index import VideoIndex
from tcd_hf.reading.files import VIDEO_EXTENSIONS
from tests.tcd_hf.app.browsing import (
    DESKTOP,
    PHONE,
    READ_CODE,
    begin_of,
    expect,
    player_time,
    save,
    search,
    shown_hit,
    wait_for_pictures,
    wait_for_player,
)
from tests.tcd_hf.app.conftest import HOSTILE_NAME, HOSTILE_TEXTS, LONG, SCHEDULE, make_clip, make_index, serving
from tests.tcd_hf.app.scenes import write_scenes, write_tour
from tests.tcd_hf.conftest import make_tiny_model, make_tiny_processor
from tests.tcd_hf.deadly import DeadlyReader


def test_search_click_and_see_the_text_at_its_second(site, visit):
    page = visit(site.url)
    search(page, "departures gate b4")
    expect(page.locator(".hit").first).to_contain_text("airport.mp4")
    wait_for_player(page, 0)
    shown_hit(page, "shop.mp4").click()
    expect(page.locator("#clip h2")).to_have_text("shop.mp4")

    search(page, "the store TESCO express")
    expect(page.locator(".hit").first).to_contain_text("shop.mp4")
    first = page.locator(".hit").first
    expect(first.locator("mark")).to_have_text("TESCO express")
    expect(first.locator(".time")).to_have_text("0:00:02.0–0:00:04.0")
    assert first.locator(".bar .label").all_text_contents() == ["picture", "text", "both", "spelling"]
    page.wait_for_function("() => document.querySelector('.hit img').naturalWidth === 128")

    shown_hit(page, "toys.mp4").click()
    expect(page.locator("#clip h2")).to_have_text("toys.mp4")
    first.click()
    expect(page.locator("#clip h2")).to_have_text("shop.mp4")
    expect(first).to_have_attribute("aria-pressed", "true")
    wait_for_player(page, 2)
    assert page.evaluate(READ_CODE) == 1  # the frame with the text, in the player
    page.wait_for_function("() => document.querySelector('.evidence').naturalWidth === 128")
    outlined = page.evaluate(
        """() => { const picture = document.querySelector(".evidence"), canvas = document.createElement("canvas");
        canvas.width = 128; canvas.height = 96; const pen = canvas.getContext("2d"); pen.drawImage(picture, 0, 0);
        let yellow = 0; const pixels = pen.getImageData(0, 0, 128, 40).data;
        for (let i = 0; i < pixels.length; i += 4) yellow += pixels[i] - pixels[i + 2] > 60; return yellow }"""
    )
    assert outlined > 100  # most of the outline of a box of 102 x 14 pixels

    rows = page.locator("#clip .cue")
    expect(rows.locator(".words")).to_have_text(["TESCO express", "1.30 only"])
    expect(rows.nth(0).locator(".time")).to_have_text("0:00:02.0–0:00:04.0")
    expect(rows.nth(0)).to_have_class("cue now")
    expect(page.locator("#clip .mark")).to_have_attribute("aria-current", "true")
    caption = page.locator("#clip figcaption").last
    expect(caption).to_have_text("the frame with the matching text, outlined")
    timeline = page.locator("#clip .timeline").bounding_box()
    page.mouse.click(timeline["x"] + 1, timeline["y"] + 5)
    page.wait_for_function("() => document.querySelector('#clip video').currentTime < 0.2")
    assert player_time(page, 0) < 0.2
    assert page.evaluate(READ_CODE) == 8
    expect(caption).to_have_text("a frame of this time")
    expect(rows.nth(0)).to_have_class("cue")
    rows.nth(1).click()
    wait_for_player(page, 2)
    expect(rows.nth(1)).to_have_class("cue now")
    assert page.evaluate(READ_CODE) == 1


@pytest.fixture(scope="module")
def long_site(tmp_path_factory):
    """A server of a video of three minutes, see `LONG`, and of a short one."""
    from tcd_hf.app.server import build_app

    index = make_index(tmp_path_factory.mktemp("long"), {"long.mp4": LONG, "shop.mp4": [8, 1]}, segment_seconds=10)
    with serving(build_app(index)) as server:
        yield server


def test_a_long_video_opens_at_the_moment_and_its_other_moments_are_buttons(long_site, visit):
    page = visit(long_site.url)
    search(page, "departures hall")
    hits = page.locator(".hit")
    expect(hits.first).to_contain_text("long.mp4")
    expect(page.locator(".count")).to_have_text("2 of 2 videos, best first")
    other = page.locator("li:nth-child(1) > .moments > .moment")
    expect(other).to_have_count(2)
    assert other.locator("mark").all_text_contents() == ["DEPARTURES hall"] * 2
    begins = [begin_of(button) for button in (hits.first, other.nth(0), other.nth(1))]
    assert sorted(begins) == pytest.approx([62, 100, 171], abs=0.6)

    assert player_time(page) == pytest.approx(begins[0], abs=0.06)
    assert page.evaluate(READ_CODE) == 2
    page.wait_for_function("() => document.querySelector('.evidence').naturalWidth === 128")
    expect(page.locator("#clip .cue.now .words")).to_have_text(["DEPARTURES hall", "Gate B4"])
    texts = page.locator("#clip .cue .words").all_text_contents()
    assert texts == ["TESCO express", "1.30 only", *["DEPARTURES hall", "Gate B4"] * 3]
    expect(page.locator("#clip .timeline .mark")).to_have_count(3)
    expect(page.locator("#clip .timeline .text")).to_have_count(4)

    hits.first.focus()
    for number in (0, 1):
        page.keyboard.press("Tab")
        expect(other.nth(number)).to_be_focused()
        page.keyboard.press("Enter")
        begin = begins[number + 1]
        page.wait_for_function(
            "begin => Math.abs((document.querySelector('#clip video')?.currentTime ?? 0) - begin) < 0.1", arg=begin
        )
        assert player_time(page) == pytest.approx(begin, abs=0.06)
        assert page.evaluate(READ_CODE) == 2
        expect(hits.first).to_have_attribute("aria-pressed", "true")
        expect(other.nth(number)).to_have_class("moment now")

    timeline = page.locator("#clip .timeline").bounding_box()
    page.mouse.click(timeline["x"] + timeline["width"] * 31.5 / 180, timeline["y"] + 5)
    page.wait_for_function("() => Math.abs(document.querySelector('#clip video').currentTime - 31.5) < 0.5")
    assert player_time(page) == pytest.approx(31.5, abs=0.5)
    assert page.evaluate(READ_CODE) == 1
    expect(page.locator("#clip figcaption").last).to_have_text("a frame of this time")
    playhead = page.evaluate("parseFloat(document.querySelector('.playhead').style.left)")
    assert playhead == pytest.approx(100 * 31.5 / 180, abs=0.5)
    save(page, "long")


def test_a_long_video_on_a_phone_and_a_query_of_exclusions_only(long_site, visit):
    page = visit(long_site.url, PHONE)
    search(page, '"departures hall" -tesco')
    expect(page.locator(".moment")).to_have_count(2)
    page.wait_for_selector("#clip video")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    save(page, "long-phone")
    search(page, "-departures")
    expect(page.locator("#results")).to_contain_text("only says what to leave out")
    expect(page.locator("#clip")).to_be_empty()


def test_an_example_is_searched_for(site, visit):
    page = visit(site.url)
    page.get_by_role("button", name="DEPARTURES hall").click()
    expect(page.locator("#query input")).to_have_value("DEPARTURES hall")
    expect(page.locator(".hit").first).to_contain_text("airport.mp4")


def test_keyboard_alone(site, visit):
    page = visit(site.url)
    page.wait_for_selector(".example")
    page.locator("#query input").focus()
    page.keyboard.type("star wars")
    page.keyboard.press("Enter")
    expect(page.locator(".hit").first).to_contain_text("toys.mp4")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('li:nth-child(2) > .hit')"):
            break
    second = page.locator(".hit").nth(1)
    expect(second).to_be_focused()
    page.keyboard.press("Space")
    expect(second).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#clip h2")).to_have_text("toys.mp4")
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.mark')"):
            break
    page.keyboard.press("Enter")
    wait_for_player(page, 1)
    for _ in range(6):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('#find')"):
            break
    page.keyboard.type("star")
    expect(page.locator(".cue")).to_have_count(1)


def test_readable_on_a_phone(site, visit):
    page = visit(site.url, PHONE)
    page.locator("#filters button").first.click()
    search(page, "kiosk")
    page.wait_for_selector("#clip video")
    for tab in ("Add videos", "Search"):
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        page.get_by_role("tab", name=tab).click()
    wide = page.evaluate(
        "() => [...document.querySelectorAll('.hit, .media, .timeline, .all-moments, .cues')]"
        ".filter(part => part.getBoundingClientRect().right > innerWidth || part.getBoundingClientRect().width < 250)"
        ".map(part => part.className)"
    )
    assert wide == []
    page.locator(".hit").last.click()
    page.wait_for_function("() => document.querySelector('#clip').getBoundingClientRect().top < 400")
    page.get_by_role("button", name="Back to the results").click()
    expect(page.locator(".hit").last).to_be_focused()
    expect(page.locator(".hit").last).to_be_in_viewport()


@pytest.mark.parametrize("width", [390, 660, 760, 1024, 1250, 1600])
def test_bars_are_seen_at_every_width(site, visit, width):
    page = visit(site.url, {"width": width, "height": 900})
    search(page, "kiosk")
    page.wait_for_selector(".bar")
    tracks = page.evaluate("() => [...document.querySelectorAll('.track')].map(part => part.clientWidth)")
    assert len(tracks) == 4 * len(SCHEDULE)
    assert min(tracks) >= 24  # pixels
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_names_and_texts_are_shown_not_run(site, visit):
    page = visit(site.url)
    search(page, "<img src=x onerror=hacked=1> kiosk")
    shown_hit(page, HOSTILE_NAME).click()
    expect(page.locator("#clip h2")).to_have_text(HOSTILE_NAME)
    wait_for_player(page, 1)
    expect(page.locator("#clip .cue mark")).to_have_text(HOSTILE_TEXTS)
    expect(page.locator("#clip .mark")).to_have_attribute("title", re.compile(re.escape(HOSTILE_TEXTS[1])))
    page.locator("#clip .cue mark").last.hover()
    assert page.evaluate("typeof hacked") == "undefined"


def test_filters_and_calm_messages(site, visit):
    page = visit(site.url)
    expect(page.locator("#results")).to_contain_text("What are you looking for?")
    search(page, "kiosk")
    page.wait_for_selector("#clip video")
    search(page, "   ")
    expect(page.locator("#results")).to_contain_text("What are you looking for?")
    expect(page.locator("#clip")).to_be_empty()
    page.locator("#filters button").first.click()
    page.get_by_label("Path contains").fill("airport")
    search(page, "anything at all")
    expect(page.locator(".hit")).to_have_count(1)
    page.get_by_label("Path contains").fill("' OR '1'='1")
    search(page, "anything at all")
    expect(page.locator("#results")).to_contain_text("No video found")
    page.get_by_label("Path contains").fill("")
    page.get_by_label("Shortest (s)").fill("9")
    page.get_by_label("Longest (s)").fill("3")
    search(page, "anything at all")
    expect(page.locator("#results")).to_contain_text("9.0 s, is above the longest, 3.0 s")
    page.get_by_label("a >> b within (s)").fill("soon")
    search(page, "anything at all")
    expect(page.locator("#results")).to_contain_text("within must be a number of seconds from 0 on, got 'soon'")
    page.get_by_label("a >> b within (s)").fill("")
    page.get_by_label("Shortest (s)").fill("long")
    search(page, "anything at all")
    expect(page.locator("#results")).to_contain_text("a number of seconds from 0 on, got long")
    page.get_by_label("Shortest (s)").fill("")
    search(page, "anything at all")
    expect(page.locator("#results")).to_contain_text("No video found")


def test_lost_and_broken_clips(site, visit):
    lost, broken = (make_clip(site.folder / f"{name}.mp4", [6, 1]) for name in ("lost", "broken"))
    site.index.add([lost, broken], workers=0)
    try:
        page = visit(site.url)
        lost.unlink()
        search(page, "the store TESCO express")
        shown_hit(page, "lost.mp4").click()
        expect(page.locator("#clip")).to_contain_text("no longer where it was")
        expect(page.locator("#clip .cue").first).to_contain_text("TESCO express")
        expect(page.locator("#clip .mark")).to_have_count(1)
        page.locator("#clip .mark").click()  # with no player, to no effect
        page.route("**/video/**", lambda route: route.fulfill(body=b"no video", content_type="video/mp4"))
        page.route("**/evidence/**", lambda route: route.fulfill(status=404))
        shown_hit(page, "broken.mp4").click()
        expect(page.get_by_text("This browser cannot play the file")).to_be_visible()
        expect(page.get_by_text("This frame cannot be read")).to_be_visible()
    finally:
        site.index.remove([lost, broken])


def test_upload_and_add_by_path(site, visit, tmp_path):
    good, bad = make_clip(tmp_path / "uploaded.mp4", [3, 3]), tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    make_clip(site.folder / "allowed" / "by path.mp4", [2])
    try:
        page = visit(site.url)
        page.get_by_role("tab", name="Add videos").click()
        offered = page.get_attribute("#upload-files", "accept").split(",")
        assert set(offered) == {"video/*", *VIDEO_EXTENSIONS}
        page.set_input_files("#upload-files", [good, bad])
        report = page.locator("#report")
        expect(report).to_contain_text("1 added, 1 could not be read")
        expect(report).to_contain_text("bad.mp4")
        assert os.listdir(site.folder / "uploads") == ["uploaded.mp4"]
        page.get_by_label("File or folder on the server").fill("/etc")
        page.get_by_role("button", name="Add", exact=True).click()
        expect(report).to_contain_text("Only what lies in")
        page.get_by_label("File or folder on the server").fill("by path.mp4")
        page.get_by_role("button", name="Add", exact=True).click()
        expect(report).to_contain_text("1 added")
        page.get_by_role("tab", name="Search").click()
        search(page, "star wars")
        shown_hit(page, "uploaded.mp4").click()
        expect(page.locator("#clip h2")).to_have_text("uploaded.mp4")
    finally:
        site.index.remove([site.folder / "uploads", site.folder / "allowed"])
        (site.folder / "uploads" / "uploaded.mp4").unlink()


def test_adding_is_cancelled(visit, tmp_path, monkeypatch):
    from tcd_hf.app import adding
    from tcd_hf.app.server import build_app

    monkeypatch.setattr(adding, "WORKERS", 1)
    make_clip(tmp_path / "clip.mp4", [3])
    processor = make_tiny_processor(DeadlyReader(hangs_at=3))
    index = VideoIndex.create(tmp_path / "index", make_tiny_model(), processor, cache_dir=tmp_path)
    with serving(build_app(index, allow_add=[tmp_path])) as server:
        page = visit(server.url)
        page.get_by_role("tab", name="Add videos").click()
        cancel = page.get_by_role("button", name="Cancel")
        expect(cancel).to_be_hidden()
        page.get_by_label("File or folder on the server").fill("clip.mp4")
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.locator("#report")).to_contain_text("0 of 1 done")
        cancel.click()
        expect(page.locator("#report")).to_contain_text("1 left when it was cancelled")
        expect(cancel).to_be_hidden()


def test_a_slow_greeting_does_not_take_the_place_of_an_answer(visit, tmp_path, monkeypatch):
    from tcd_hf.app.library import Library
    from tcd_hf.app.server import build_app

    answered = threading.Event()

    def example_queries(library):
        answered.wait(20)
        return ["kiosk"]

    monkeypatch.setattr(Library, "example_queries", example_queries)
    with serving(build_app(make_index(tmp_path, {"clip.mp4": [1, 1]}))) as server:
        page = visit(server.url)
        search(page, "kiosk")
        expect(page.locator(".hit")).to_have_count(1)
        answered.set()
        expect(page.locator(".example")).to_have_count(1)
        expect(page.locator(".hit")).to_have_count(1)


def test_an_empty_index_and_adding_switched_off(visit, tmp_path):
    from tcd_hf.app.server import build_app

    with serving(build_app(make_index(tmp_path, {}))) as server:
        page = visit(server.url)
        expect(page.locator("#examples")).to_contain_text("The index is empty")
        search(page, "anything")
        expect(page.locator("#results")).to_contain_text("The index is empty")
        page.get_by_role("tab", name="Add videos").click()
        expect(page.get_by_text("Adding videos is off")).to_be_visible()
        assert server.get("/upload/a.mp4", "PUT", b"x").status in (404, 405)


@pytest.mark.slow
@pytest.mark.timeout(1800)  # it reads an hour
def test_screenshots(visit, tmp_path):
    """With the checkpoint of the package and its reading, over painted clips: the pictures of README and docs."""
    pytest.importorskip("font_lato")
    from tcd_hf import load_mini
    from tcd_hf.app.server import build_app

    folder = Path(os.environ.get("TCD_HF_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    model, processor = load_mini()
    processor.ocr_options = {"limit_side_len": 640}  # pixels, as wide as the clips
    index = VideoIndex.create(tmp_path / "index", model, processor, cache_dir=tmp_path / "cache")
    index.add(write_scenes(tmp_path / "clips"), workers=0)
    with serving(build_app(index)) as server:
        for name, size, query, clip, shown, text in (
            ("search", DESKTOP, "a train to Lindenberg at 17:45", "evening_platform.mp4", (1.5, 6), "17:45 Lindenberg"),
            ("phone", PHONE, "a shop that is open until 10 pm", "old_town_walk.mp4", (1, 3.5), "open 7 am to 10 pm"),
        ):
            page = visit(server.url, size)
            search(page, query)
            expect(page.locator("#clip h2")).to_have_text(clip)
            assert page.locator(".hit").first.locator("mark").all_text_contents() == [text]
            photograph(page, folder / f"{name}.png")
            opened_at = page.evaluate("document.querySelector('#clip video').currentTime")
            assert shown[0] - processor.reading_interval <= opened_at < shown[1]
        index.add(write_tour(tmp_path / "clips" / "city_tour.mp4"), workers=0)
        for name, size in (("hour", DESKTOP), ("hour-phone", PHONE)):
            page = visit(server.url, size)
            search(page, '"harbour cafe"')
            shown_hit(page, "city_tour.mp4").click()
            expect(page.locator("#clip h2")).to_have_text("city_tour.mp4")
            expect(page.locator("#clip .timeline .mark")).to_have_count(5)
            assert page.locator("#clip .mark").first.get_attribute("title").endswith("HARBOUR CAFE")
            page.locator("#clip .mark").nth(2).click()
            expect(page.locator("#clip .mark").nth(2)).to_have_attribute("aria-current", "true")
            photograph(page, folder / f"{name}.png")


def photograph(page, path):
    """Writes a screenshot in 256 colours: of pages that hold pictures, others would be large."""
    page.wait_for_function("() => document.querySelector('#clip video')?.readyState >= 2")
    page.wait_for_selector(".cue")
    page.evaluate("document.activeElement.blur()")
    wait_for_pictures(page)
    page.wait_for_timeout(2000)  # until the player's controls have settled
    with Image.open(io.BytesIO(page.screenshot())) as picture:
        picture.convert("RGB").quantize(256, kmeans=3).save(path, optimize=True)
    assert path.stat().st_size < 300_000
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
