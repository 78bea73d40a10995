"""A headless browser for tests of the page, and what they do with it. Skipped, loudly, where there is no Chromium."""

import os
import shutil
import warnings
from pathlib import Path

import pytest

__all__ = [
    "ARGUMENTS",
    "CHROMIUM",
    "DESKTOP",
    "PHONE",
    "READ_CODE",
    "begin_of",
    "expect",
    "player_time",
    "save",
    "search",
    "shown_hit",
    "wait_for_pictures",
    "wait_for_player",
]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
ARGUMENTS += ["--disable-sync", "--no-first-run", "--disable-quic"]
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1400, "height": 900}
READ_CODE = """() => {
  const video = document.querySelector("#clip video"), canvas = document.createElement("canvas");
  canvas.width = video.videoWidth; canvas.height = video.videoHeight;
  const pen = canvas.getContext("2d"); pen.drawImage(video, 0, 0);
  let code = 0;
  for (let row = 0; row < 3; row++) for (let column = 0; column < 4; column++) {
    const x = (column + 0.5) * canvas.width / 4, y = (row + 0.5) * canvas.height / 3;
    code = 2 * code + (pen.getImageData(x, y, 1, 1).data[0] > 127);
  }
  return code;
}"""

try:
    from playwright.sync_api import expect

    expect.set_options(timeout=20_000)  # milliseconds: the machine may be busy
except ImportError:
    CHROMIUM = None
if CHROMIUM is None:
    warnings.warn("The page is NOT tested in a browser: it needs playwright and Chromium.", stacklevel=1)
    pytest.skip("no playwright or no Chromium (apt-get install chromium)", allow_module_level=True)


def search(page, query):
    page.fill("#query input", query)
    page.press("#query input", "Enter")


def shown_hit(page, name):
    return page.locator(".hit").filter(has=page.get_by_text(name, exact=True))


def wait_for_player(page, seconds):
    page.wait_for_function(
        "seconds => { const video = document.querySelector('#clip video');"
        " return video && video.readyState >= 2 && !video.seeking && Math.abs(video.currentTime - seconds) < 0.05 }",
        arg=seconds,
    )


def wait_for_pictures(page):
    page.wait_for_function(
        "() => [...document.images].every(image => { const place = image.getBoundingClientRect();"
        " return !image.checkVisibility() || place.top > innerHeight || (image.complete && image.naturalWidth) })"
    )


def player_time(page, beyond=0.001):
    page.wait_for_function(
        "beyond => { const video = document.querySelector('#clip video');"
        " return video && video.readyState >= 2 && !video.seeking && video.currentTime >= beyond }",
        arg=beyond,
    )
    return page.evaluate("document.querySelector('#clip video').currentTime")


def begin_of(button):
    hours, minutes, seconds = button.locator(".time").text_content().partition("–")[0].split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)


def save(page, name):
    """Writes a screenshot to be looked at, where one is asked for."""
    if folder := os.environ.get("TCD_HF_TEST_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")
