"""Times the search page in a browser: until it is ready, from a query to painted results, and jumps in hours.

    python -m scripts.benchmarks.app --index my.index
    python -m scripts.benchmarks.app --hours 20 --json times.json

`--hours` makes an index of so many videos of an hour and one of three, see `app_index.py`, and also times jumps in
the long one: from a click, with another video open, until its frame is painted, and within the open video from the
click on a text of the transcript.

Starts `tcd-hf serve` in a process of its own, with an empty cache, and a headless Chromium. Queries are texts read in
videos of the index. A time runs from the key press of Enter until the browser has painted the list, and until it has
painted the thumbnails in view too. `cold` are the first queries after the start, whose thumbnails are drawn while one
waits; for the others the server has drawn those of short clips, which it does by itself while nobody searches. Those of
long ones are drawn when first seen, whenever that is.

Needs the extra `[app]`, playwright and Chromium (`apt-get install chromium`).
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

import numpy as np
import psutil  # comes with accelerate

from scripts.benchmarks.machine import describe_machine, in_words, table

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
ARGUMENTS += ["--disable-sync", "--no-first-run", "--disable-quic"]
VIEWPORT = {"width": 1400, "height": 900}
PAGE_LOADS = 5
COLD_QUERIES = 5
JUMPS = 10
# From the key press on, looks once per painted frame. The list is a new one when its first hit is for another query.
WATCH = """() => {
  const first = () => document.querySelector("#results .hit")?.dataset.clip;
  document.querySelector("#query input").addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    const begin = performance.now(), before = first();
    window.times = {};
    const seen = (image) => { const place = image.getBoundingClientRect();
      return place.bottom > 0 && place.top < innerHeight; };
    const look = () => {
      const now = performance.now() - begin;
      if (first() && first() !== before) {
        times.list ??= now;
        const images = [...document.querySelectorAll(".hit img")].filter(seen);
        if (images.every((image) => image.complete && image.naturalWidth)) { times.thumbnails = now; return; }
      }
      requestAnimationFrame(look);
    };
    requestAnimationFrame(() => requestAnimationFrame(look));
  }, true);
}"""


# A hit is open, and so is all that is shown of it.
IS_OPEN = """(place) => {
  const hit = document.querySelector(`li:nth-child(${place}) > .hit`), clip = document.querySelector(".clip");
  return clip?.dataset.clip === hit.dataset.clip && clip.querySelector(".mark") && clip.querySelector(".cue")
    && clip.querySelector("video").readyState >= 2;
}"""
# From a click on, until the player shows the frame of that time. `before` is the player of the video that was open.
JUMP = """([selector, start, isOther]) => new Promise((resolve, reject) => {
  const player = () => document.querySelector("#clip video"), before = player();
  const begin = performance.now();
  document.querySelector(selector).click();
  const look = () => {
    const video = player();
    const isThere = video && (!isOther || video !== before) && video.readyState >= 2 && !video.seeking
      && Math.abs(video.currentTime - start) < 0.5;
    if (performance.now() - begin > 30000) {
      reject(new Error(`the player is at ${video?.currentTime} s, not ${start}: ready ${video?.readyState}, `
        + `seeking ${video?.seeking}, the same ${video === before}`));
    }
    requestAnimationFrame(isThere ? () => resolve(performance.now() - begin) : look);
  };
  look();
})"""


def main(argv: list[str] | None = None) -> int:
    """Prints the times; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--index", help="an index that `tcd-hf index` made")
    source.add_argument("--hours", type=int, help="make one, of so many videos of an hour and one of three")
    parser.add_argument("--queries", type=int, default=40, help="searches that are timed (default: 40)")
    parser.add_argument("--chromium", default=CHROMIUM, help=f"the browser (default: {CHROMIUM})")
    parser.add_argument("--json", type=Path, help="also write the times here, milliseconds")
    args = parser.parse_args(argv)
    if args.queries < 1:
        parser.error(f"--queries must be at least 1, got {args.queries}")
    if args.hours is not None and args.hours < 1:
        parser.error(f"--hours must be at least 1, got {args.hours}")
    if not os.path.exists(args.chromium):
        parser.error(f"there is no browser {args.chromium}: apt-get install chromium, or name another with --chromium")
    from playwright.sync_api import sync_playwright

    jumps: dict[str, list[float]] = {}
    with ExitStack() as stack:
        cache = stack.enter_context(tempfile.TemporaryDirectory())
        uri, queries, late = args.index, [], []
        if args.hours:
            uri, queries, late = make_hours(Path(stack.enter_context(tempfile.TemporaryDirectory())), args)
        texts, num_thumbnails = read_queries(uri, args.queries)
        queries = queries or texts
        machine = describe_machine("gradio", "lancedb", "playwright")
        server = stack.enter_context(serving(uri, cache))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=args.chromium, args=ARGUMENTS)
        page = open_page(browser, server.url)[0]
        cold = [time_query(page, f"{query} ") for query in queries[:COLD_QUERIES]]
        begin = time.monotonic()
        while len(list(Path(cache).glob("thumbnails/*/*.jpg"))) < num_thumbnails and time.monotonic() - begin < 300:
            time.sleep(0.5)
        warm = [time_query(page, query) for query in queries]
        if late:
            jumps = time_jumps(page, late)
        ready = [open_page(browser, server.url)[1] for _ in range(PAGE_LOADS)]
        browser.close()
    times = {"page ready": ready}
    for name, rows in (("cold", cold), ("warm", warm)):
        times[f"{name}: list painted"] = [row["list"] for row in rows]
        times[f"{name}: thumbnails painted"] = [row["thumbnails"] for row in rows]
    times.update(jumps)
    print(f"{in_words(machine)}; load {os.getloadavg()[0]:.1f} after. Server up in {server.seconds:.1f} s.\n")
    rows = [["milliseconds", "n", "min", "p50", "p95", "max"]]
    for name, values in times.items():
        rows.append([name, len(values), *(f"{each:.0f}" for each in np.percentile(values, [0, 50, 95, 100]))])
    print(table(rows, align="lrrrrr"))
    if args.json:
        args.json.write_text(json.dumps({"machine": machine, **times}, indent=2) + "\n", encoding="utf-8")
    return 0


def make_hours(folder: Path, args: argparse.Namespace) -> tuple[str, list[str], list]:
    """An index of videos of hours; texts of the shorter ones, and those of the long one with their times."""
    from scripts.benchmarks.app_index import make_index

    index, targets = make_index(folder, args.hours, 2 * args.queries)
    short = [target.query for target in targets if target.video < args.hours]
    return index.uri, short, [target for target in targets if target.video == args.hours]


def read_queries(uri: str, count: int) -> tuple[list[str], int]:
    """Texts of the index, over and over if there are few, and the number of thumbnails that are drawn ahead."""
    from tcd_hf import VideoIndex
    from tcd_hf.app.library import Library
    from tcd_hf.app.pictures import Thumbnails

    library = Library(VideoIndex.open(uri))
    texts = library.example_queries(count)
    if not texts:
        raise SystemExit(f"No text was read in the videos of {uri}: there is nothing to search for.")
    queries = [texts[number % len(texts)] for number in range(count)]
    thumbnails = Thumbnails(library, Path())
    return queries, sum(len(thumbnails.pieces_ahead(clip)) for clip in thumbnails.clips_ahead())


class Server(NamedTuple):
    """One that answers: its URL, the seconds until then, those of the processor, and the number of its process."""

    url: str
    seconds: float
    cpu_seconds: float
    pid: int


@contextmanager
def serving(
    uri: str, cache: str, environment: Mapping[str, str] | None = None, options: Sequence[str] = ()
) -> Iterator[Server]:
    """`tcd-hf serve` in a process of its own.

    Args:
        uri: of an index.
        cache: folder.
        environment: all variables, in place of those of this process. It then starts in the root of the file system,
            where no module lies that Python would take before those that PYTHONPATH names.
        options: further ones of `tcd-hf serve`.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from tcd_hf.cli.main import app; app()", "serve", "--index", uri]
    begin = time.monotonic()
    command += ["--port", str(port), "--cache-dir", cache, *options]
    place = None if environment is None else os.path.sep
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment, cwd=place)
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                urlopen(f"{url}/config").close()
                break
            except OSError:
                if server.poll() is not None:
                    raise SystemExit("The server has ended.") from None
                time.sleep(0.1)
        seconds, spent = time.monotonic() - begin, psutil.Process(server.pid).cpu_times()
        yield Server(url, seconds, spent.user + spent.system, server.pid)
    finally:
        server.terminate()
        server.wait()


def open_page(browser, url: str):
    """A page in a fresh profile, and the milliseconds until one can type and the examples are there."""
    page = browser.new_context(viewport=VIEWPORT).new_page()
    begin = time.perf_counter()
    page.goto(url)
    page.wait_for_selector("#query input")
    page.wait_for_selector(".example")
    milliseconds = 1000 * (time.perf_counter() - begin)
    page.evaluate(WATCH)
    return page, milliseconds


def time_query(page, query: str) -> dict[str, float]:
    """Milliseconds until the list, and until the thumbnails in view, were painted."""
    page.fill("#query input", query)
    page.press("#query input", "Enter")
    page.wait_for_function("() => window.times?.thumbnails")
    times = page.evaluate("window.times")
    page.wait_for_timeout(1000)  # the video beside the list is opened meanwhile, as while a reader looks at it
    return times


def time_jumps(page, targets: list) -> dict[str, list[float]]:
    """Milliseconds until the frame of a moment of the long video is painted: when it is opened, and when it is open."""
    opened, jumped = [], []
    for target in targets[:JUMPS]:
        time_query(page, target.query)
        page.wait_for_function("() => document.querySelectorAll('.hit').length > 1")
        starts = page.evaluate("() => [...document.querySelectorAll('.hit')].map((hit) => Number(hit.dataset.start))")
        place = starts.index(target.start) if target.start in starts else -1
        if place < 0:
            continue
        other = 2 if place == 0 else 1
        page.click(f"li:nth-child({other}) > .hit")
        page.wait_for_function(IS_OPEN, arg=other)
        opened.append(page.evaluate(JUMP, [f"li:nth-child({place + 1}) > .hit", target.start, True]))
        page.wait_for_function(IS_OPEN, arg=place + 1)
        cue = page.locator("#transcript .cue:not(.now)").last
        cue.evaluate("(cue) => { cue.id = 'elsewhere'; }")
        jumped.append(page.evaluate(JUMP, ["#elsewhere", float(cue.get_attribute("data-start")), False]))
    return {"3 hours: opened at a moment": opened, "3 hours: jump within": jumped}


if __name__ == "__main__":
    sys.exit(main())
