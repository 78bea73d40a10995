"""A small index with its server in this process: coded clips, one with a hostile name, and files beside them."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from tcd_hf.index.video_index import VideoIndex
from tests.clips import coded_frame, write_clip
from tests.tcd_hf.conftest import CodeReader, make_tiny_model, make_tiny_processor

collect_ignore_glob = [] if find_spec("gradio") and find_spec("prometheus_client") else ["test_*.py"]

FPS = 5
HOSTILE_NAME = "<img src=x onerror=hacked=1> & 'quote'.mp4"
HOSTILE_TEXTS = ["<script>hacked=1</script> kiosk", '"><b onmouseover=hacked=1> kiosk']
TEXTS = {1: ["TESCO express", "1.30 only"], 2: ["DEPARTURES hall", "Gate B4"], 3: ["STAR WARS"], 4: HOSTILE_TEXTS}
SCHEDULE = {  # the code shown in each second
    "shop.mp4": [8, 8, 1, 1],
    "airport.mp4": [2, 2, 16, 16],
    "toys.mp4": [32, 3, 32, 32],
    "sea.mp4": [64] * 4,
    HOSTILE_NAME: [128, 4, 128, 128],
}


def make_clip(path: Path, codes: list[int]) -> Path:
    """A clip that shows each code for a second; every frame is a key frame, so that browsers seek exactly."""
    frames = [coded_frame(code, size=(128, 96)) for code in codes for _ in range(FPS)]
    return write_clip(path, frames, fps=FPS, keyframe_interval=1)


def make_index(folder: Path, schedule: dict[str, list[int]] = SCHEDULE, **options) -> VideoIndex:
    """An index of clips in `folder/videos`, in the order of the schedule. `options` go to `VideoIndex.create`."""
    videos = folder / "videos"
    videos.mkdir()
    clips = [make_clip(videos / name, codes) for name, codes in schedule.items()]
    model, processor = make_tiny_model(), make_tiny_processor(CodeReader(TEXTS))
    index = VideoIndex.create(folder / "index", model, processor, cache_dir=folder / "cache", **options)
    if clips:
        index.add(clips, workers=0)
    return index


# Three minutes, the code shown in each second: DEPARTURES hall at 62-65, 100-102 and 171-174 s. In segments of 10 s a
# window has 2.5 s, and the first and the last time lie over a cut between two of them.
LONG = [8] * 30 + [1] * 3 + [8] * 29 + [2] * 3 + [16] * 35 + [2] * 2 + [16] * 69 + [2] * 3 + [16] * 6


@contextmanager
def serving(app) -> Iterator[SimpleNamespace]:
    """Runs an application on a free port; yields its `url`, `port` and `get(path, **headers)`, which sends a path as it
    is, no dot removed and no character encoded."""
    import uvicorn

    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", log_config=None)  # as it is served
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]

    def ask(path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> SimpleNamespace:
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        connection._validate_path = lambda path: None  # what a client of good manners would not send
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        result = SimpleNamespace(status=answer.status, headers=answer.headers, body=answer.read())
        connection.close()
        return result

    yield SimpleNamespace(url=f"http://127.0.0.1:{port}", port=port, get=ask)
    server.should_exit = True
    thread.join(timeout=20)


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Iterator[SimpleNamespace]:
    """A running server; also `folder`, `index` and `path(name)` of a clip."""
    from tcd_hf.app import adding
    from tcd_hf.app.server import build_app

    folder = tmp_path_factory.mktemp("site")
    index = make_index(folder)
    make_clip(folder / "videos" / "private.mp4", [256] * 4)  # beside the others, not indexed
    (folder / "allowed").mkdir()
    workers, adding.WORKERS = adding.WORKERS, 0
    app = build_app(index, uploads=folder / "uploads", allow_add=[folder / "allowed"], max_upload_mb=1, max_uploads=8)
    with serving(app) as server:
        server.folder, server.index = folder, index
        server.path = lambda name: folder / "videos" / name
        yield server
    adding.WORKERS = workers


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    from tests.tcd_hf.app.browsing import ARGUMENTS, CHROMIUM

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """Opens the page of a server; at the end, nothing may have been asked of another one, nor have gone wrong."""
    from tests.tcd_hf.app.browsing import DESKTOP

    opened, asked, wrong = [], [], []

    def visit(url, size=DESKTOP):
        page = browser.new_page(viewport=size)
        page.own = url
        opened.append(page)
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.set_default_timeout(20_000)
        page.goto(url)
        page.wait_for_selector("#query input")
        return page

    yield visit
    for page in opened:
        assert all(url.startswith((page.own, "data:", "blob:")) for url in asked)
        page.close()
    assert len(asked) > 10
    assert wrong == []
