"""Videos of hours in a real browser: the timeline with its moments, the transcript, and how a long file is played."""

import re
from types import SimpleNamespace

import pytest

from tcd_hf.app.server import build_app
from tests.tcd_hf.app.browsing import (
    PHONE,
    READ_CODE,
    expect,
    player_time,
    save,
    search,
    shown_hit,
    wait_for_pictures,
)
from tests.tcd_hf.app.conftest import make_index, serving
from tests.tcd_hf.app.long_videos import write_hours

STARTS = (0, 692, 1424, 2896, 3588)  # seconds of the hour at which it shows DEPARTURES hall, for 12
LATE = 3 * 3600 - 600  # the same in the three hours
THREE_HOURS = [(8, 4000), (1, 20), (8, LATE - 4020), (2, 12), (16, 588)]


def schedule_of_an_hour() -> list[tuple[int, int]]:
    """Five times DEPARTURES hall, and TESCO express a minute after each but the last."""
    schedule, now = [], 0
    for start in STARTS:
        schedule += [(8, start - now), (2, 12)]
        now = start + 12
        if start != STARTS[-1]:
            schedule += [(16, 60), (1, 20)]
            now += 80
    return schedule


class Meter:
    """ASGI middleware that notes the status and the first byte of what is sent of videos, and counts the bytes."""

    def __init__(self, app):
        self.app, self.statuses, self.begins, self.num_bytes = app, [], [], 0

    async def __call__(self, scope, receive, send):
        async def counted(message):
            if message["type"] == "http.response.start":
                self.statuses.append(message["status"])
                content_range = dict(message["headers"]).get(b"content-range", b"bytes 0-").decode()
                self.begins.append(int(re.match(r"bytes (\d+)-", content_range)[1]))
            self.num_bytes += len(message.get("body", b""))
            await send(message)

        of_video = scope["type"] == "http" and scope["path"].startswith("/video/")
        await self.app(scope, receive, counted if of_video else send)


@pytest.fixture(scope="module")
def hours(tmp_path_factory):
    """A server of an hour and of three hours; also `meter`, and `sizes` of the files in bytes."""
    folder = tmp_path_factory.mktemp("hours")
    index = make_index(folder, {}, segment_seconds=600)
    videos = [
        write_hours(folder / "hour.mp4", schedule_of_an_hour()),
        write_hours(folder / "three hours.mp4", THREE_HOURS, is_large=True),
    ]
    index.add(videos, workers=0)
    meter = Meter(build_app(index))
    with serving(meter) as server:
        sizes = [video.stat().st_size for video in videos]
        yield SimpleNamespace(url=server.url, get=server.get, meter=meter, sizes=sizes, index=index, videos=videos)


def open_hour(page, query="departures hall"):
    search(page, query)
    shown_hit(page, "hour.mp4").click()
    expect(page.locator("#clip h2")).to_have_text("hour.mp4")
    expect(page.locator(".mark").first).to_be_visible()


def wait_for_time(page, seconds):
    page.wait_for_function(
        "seconds => { const video = document.querySelector('#clip video');"
        " return video.readyState >= 2 && !video.seeking && Math.abs(video.currentTime - seconds) < 0.5 }",
        arg=seconds,
    )


def test_five_moments_of_an_hour_are_marked_and_a_click_goes_there(hours, visit):
    page = visit(hours.url)
    open_hour(page)
    marks, items = page.locator(".timeline .mark"), page.locator(".all-moments .moment")
    expect(marks).to_have_count(5)
    expect(items).to_have_count(5)
    timeline = page.locator(".timeline").bounding_box()
    for number, start in enumerate(STARTS):
        box = marks.nth(number).bounding_box()
        assert box["x"] - timeline["x"] == pytest.approx(timeline["width"] * start / 3600, abs=3)
        assert box["width"] >= 8  # pixels, to be seen and hit
    expect(items.nth(3).locator(".time")).to_have_text("0:48:16.0–0:48:28.0")
    assert items.locator("mark").all_text_contents() == ["DEPARTURES hall"] * 5

    marks.nth(2).click()
    wait_for_time(page, STARTS[2])
    assert page.evaluate(READ_CODE) == 2
    expect(marks.nth(2)).to_have_attribute("aria-current", "true")
    expect(items.nth(2)).to_have_class("moment now")
    expect(page.locator("#clip figcaption").last).to_have_text("the frame with the matching text, outlined")
    now = page.locator("#transcript .cue.now").first
    expect(now.locator(".words")).to_have_text("DEPARTURES hall")
    expect(now).to_be_in_viewport()  # the transcript goes along
    playhead = page.evaluate("parseFloat(document.querySelector('.playhead').style.left)")
    assert playhead == pytest.approx(100 * STARTS[2] / 3600, abs=0.1)

    items.nth(4).click()
    wait_for_time(page, STARTS[4])
    assert page.evaluate(READ_CODE) == 2
    expect(marks.nth(2)).not_to_have_attribute("aria-current", "true")
    wait_for_pictures(page)
    save(page, "hour")


def test_the_timeline_by_the_keyboard(hours, visit):
    page = visit(hours.url)
    open_hour(page)
    toolbar = page.get_by_role("toolbar", name="Moments on the timeline, 1:00:00.0 long")
    marks = toolbar.get_by_role("button")
    expect(marks).to_have_count(5)
    assert [mark.get_attribute("tabindex") for mark in marks.all()] == ["0", "-1", "-1", "-1", "-1"]
    marks.first.focus()
    for key, place in (("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", 4), ("ArrowRight", 4)):
        page.keyboard.press(key)
        expect(marks.nth(place)).to_be_focused()
    page.keyboard.press("Enter")
    wait_for_time(page, STARTS[4])
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    wait_for_time(page, STARTS[1])
    page.keyboard.press("Tab")
    expect(page.locator(".all-moments .moment").first).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(marks.nth(1)).to_be_focused()  # where one was
    expect(toolbar.get_by_role("button", name="0:11:32.0–0:11:44.0 DEPARTURES hall")).to_be_focused()


def test_the_transcript_is_filtered_and_jumps(hours, visit):
    page = visit(hours.url)
    open_hour(page)
    rows = page.locator("#transcript .cue")
    expect(rows).to_have_count(18)
    expect(page.locator("#transcript mark")).to_have_text(["DEPARTURES hall"] * 5)
    page.get_by_label("Read in this video").fill("téscO")
    expect(rows).to_have_count(4)
    assert rows.locator(".words").all_text_contents() == ["TESCO express"] * 4
    rows.nth(1).focus()
    page.keyboard.press("Enter")
    wait_for_time(page, STARTS[1] + 72)
    assert page.evaluate(READ_CODE) == 1
    expect(rows.nth(1)).to_have_class("cue now")
    expect(page.locator("#clip figcaption").last).to_have_text("a frame of this time")
    page.get_by_label("Read in this video").fill("<b>kiosk")
    expect(page.locator("#transcript")).to_contain_text("No such text was read in this video")
    page.get_by_label("Read in this video").fill("")
    expect(rows).to_have_count(18)


def test_a_clip_that_is_open_is_not_fetched_again(hours, visit):
    page = visit(hours.url)
    open_hour(page)
    page.evaluate("document.querySelector('#clip video').dataset.same = 'yes'")
    page.locator(".hits .moment").first.click()
    start = float(page.locator(".hits .moment").first.get_attribute("data-start"))
    wait_for_time(page, start)
    assert page.evaluate("document.querySelector('#clip video').dataset.same") == "yes"


def test_an_hour_at_the_width_of_a_phone(hours, visit):
    page = visit(hours.url, PHONE)
    open_hour(page)
    expect(page.locator(".mark")).to_have_count(5)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.locator(".all-moments .moment").nth(3).click()
    wait_for_time(page, STARTS[3])
    expect(page.locator("#clip video")).to_be_in_viewport()
    page.get_by_label("Read in this video").fill("tesco")
    expect(page.locator(".cue")).to_have_count(4)
    page.locator(".cue").nth(2).click()
    expect(page.locator("#clip video")).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    save(page, "hour-phone")


def test_the_syntax_of_queries_stands_beside_the_field(hours, visit):
    page = visit(hours.url)
    expect(page.locator(".syntax")).to_contain_text('"way out" must stand there, -exit must not, door OR gate')
    open_hour(page, '"departures hall" -kiosk')
    expect(page.locator(".mark")).to_have_count(5)


def test_three_hours_are_played_by_ranges_of_bytes(hours, visit):
    size = hours.sizes[1]
    assert size > 100_000_000
    page = visit(hours.url)
    hours.meter.__init__(hours.meter.app)
    search(page, "departures hall")
    page.wait_for_selector(".hit")
    shown_hit(page, "three hours.mp4").click()
    expect(page.locator("#clip h2")).to_have_text("three hours.mp4")
    assert player_time(page) == pytest.approx(LATE, abs=0.5)
    assert page.evaluate(READ_CODE) == 2
    page.locator(".timeline").click(position={"x": page.locator(".timeline").bounding_box()["width"] / 2, "y": 5})
    page.wait_for_function("() => Math.abs(document.querySelector('#clip video').currentTime - 5400) < 30")
    page.wait_for_function("() => !document.querySelector('#clip video').seeking")
    assert page.evaluate(READ_CODE) == 8
    assert set(hours.meter.statuses) == {206}
    assert max(hours.meter.begins) > 0.7 * size  # where the moment is, before which most frames are
    assert hours.meter.num_bytes < size  # a browser buffers some 20 MB ahead at each of three places

    video = page.locator("#clip video").get_attribute("src")
    part = hours.get(f"/{video}", Range=f"bytes={size - 1000}-")
    assert (part.status, len(part.body)) == (206, 1000)
    assert part.headers["content-range"] == f"bytes {size - 1000}-{size - 1}/{size}"
    content = hours.videos[1].read_bytes()
    assert part.body == content[-1000:]
    assert re.fullmatch(rb"...\x18ftyp|....ftyp", content[:8], re.DOTALL)
