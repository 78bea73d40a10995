"""What was tried on the server, and what each attempt got. The table of docs/serve.md is checked against this list."""

import json
import logging
import os
import re
import shutil
import socket
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from tcd_hf.index.schema import video_id
from tests.tcd_hf.app.conftest import make_clip, serving

DOCS = Path(__file__).parents[3] / "docs" / "serve.md"
SECRET = b"a secret that nobody may read"


def gradio_question(**changes):
    return {"data": ["kiosk"], "fn_index": 0, "session_hash": "x", **changes}


def file_data(path, **fields):
    return gradio_question(data=[{"path": path, "meta": {"_type": "gradio.FileData"}, **fields}])


JSON = {"Content_Type": "application/json"}
CROSS = {"Origin": "http://evil.example"}

# What is tried, how it is called in the docs, and the status it gets. `{...}` stands for something of the site.
PATHS = [
    ("`..` in the path of a video", "/video/../../../../etc/passwd", 404),
    ("`..`, percent-encoded", "/video/%2e%2e%2f%2e%2e%2fetc%2fpasswd", 404),
    ("`..`, percent-encoded twice", "/video/%252e%252e%252fetc%252fpasswd", 404),
    ("`..` with backslashes", "/video/..\\..\\etc\\passwd", 404),
    ("`..` after the id of a clip", "/video/{id}/../../secret.txt", 404),
    ("an absolute path", "/video//etc/passwd", 404),
    ("an absolute path of a clip of the index", "/video/{clip}", 404),
    ("a null byte after the id of a clip", "/video/{id}%00.txt", 404),
    ("SQL in the place of an id", "/video/{sql}", 404),
    ("a clip beside those of the index, by the id it would have", "/video/{private}", 404),
    ("that clip's thumbnail", "/thumbnail/{private}", 404),
    ("that clip's frame", "/evidence/{private}", 404),
    ("that clip's player", "/clip/{private}", 404),
    ("that clip's moments", "/moments/{private}", 404),
    ("that clip's transcript", "/transcript/{private}", 404),
    ("SQL in the place of an id of a transcript", "/transcript/{sql}", 404),
    ("a symlink put in the place of a clip", "/video/{linked}", 404),
    ("the thumbnail of a symlink put in the place of a clip", "/thumbnail/{linked}", 404),
    ("a file of the same size put in the place of a clip", "/video/{swapped}", 404),
    ("a path in the place of a number of seconds", "/thumbnail/{id}?t=../../etc/passwd", 422),
    ("moments of a clip for a query of 1001 characters", "/moments/{id}?query={long}", 200),
    ("the transcript of a clip, filtered for 1001 characters", "/transcript/{id}?filter={long}", 422),
    ("the frame of a clip, outlined for a query of 1001 characters", "/evidence/{id}?query={long}", 200),
    ("Gradio's file route: an absolute path", "/gradio_api/file=/etc/passwd", 404),
    ("Gradio's file route: a clip of the index", "/gradio_api/file={clip}", 404),
    ("Gradio's file route: a clip beside those of the index", "/gradio_api/file={other}", 404),
    ("Gradio's file route: the index's own files", "/gradio_api/file={manifest}", 404),
    ("Gradio's file route: `..`", "/gradio_api/file=../../../../etc/passwd", 404),
    ("Gradio's file route: percent-encoded", "/gradio_api/%66ile=%2fetc%2fpasswd", 404),
    ("Gradio's file route: a null byte", "/gradio_api/file=/etc/passwd%00.mp4", 404),
    ("Gradio's file route: a URL", "/gradio_api/file=http://127.0.0.1:1/x", 404),
    ("Gradio's older file route", "/gradio_api/file//etc/passwd", 404),
    ("Gradio's proxy", "/gradio_api/proxy=http://127.0.0.1:1/x", 404),
    ("Gradio's description of itself, `/openapi.json`", "/openapi.json", 404),
    ("Gradio's description of its API", "/gradio_api/openapi.json", 404),
    ("Gradio's documentation", "/docs", 404),
    ("the server's counters, unless they are asked for (`--metrics`)", "/metrics", 404),
    ("`..` in Gradio's static files", "/static/../../../../../../etc/passwd", 403),
    ("`..` in Gradio's assets, percent-encoded", "/assets/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd", 403),
    ("the folder of uploads, by name", "/upload/secret.txt", 404),
]


@pytest.fixture(scope="module")
def ground(site):
    """Files that attackers are after, and clips that were exchanged after they were indexed."""
    (site.folder / "secret.txt").write_bytes(SECRET)
    clips = site.folder / "traps"
    clips.mkdir()
    names = {name: make_clip(clips / f"{name}.mp4", [500 + place]) for place, name in enumerate(("linked", "swapped"))}
    site.index.add(names.values(), workers=0)
    size = names["linked"].stat().st_size
    target = site.folder / "target.mp4"
    target.write_bytes(SECRET.ljust(size))  # of the same size, to make it hard
    names["linked"].unlink()
    names["linked"].symlink_to(target)
    names["swapped"].write_bytes(SECRET.ljust(names["swapped"].stat().st_size))
    shop = site.path("shop.mp4").as_posix()
    yield {
        "id": video_id(shop),
        "clip": shop,
        "other": site.path("private.mp4").as_posix(),
        "private": video_id(site.path("private.mp4").as_posix()),
        "sql": quote("' OR '1'='1"),
        "linked": video_id(names["linked"].as_posix()),
        "long": "x" * 1001,
        "swapped": video_id(names["swapped"].as_posix()),
        "manifest": next((site.folder / "index").rglob("*.manifest")).as_posix(),
    }
    site.index.remove(clips)
    shutil.rmtree(clips)


@pytest.mark.parametrize(("name", "path", "status"), PATHS, ids=[path for _, path, _ in PATHS])
def test_no_path_leads_to_other_files(site, ground, name, path, status):
    answer = site.get(path.format(**ground))
    assert answer.status == status
    assert SECRET not in answer.body
    assert b"root:" not in answer.body


QUESTIONS = [
    ("a question that names a local file as its input", file_data("/etc/passwd"), 400),
    ("a question that names a URL to be fetched", file_data("http://127.0.0.1:1/x"), 400),
    (
        "a question that hides a local file among other inputs",
        gradio_question(data=[[{"a": file_data("/etc/passwd")}]]),
        400,
    ),
    ("a question longer than 1 MB", gradio_question(data=["x" * (1 << 20)]), 413),
]


@pytest.mark.parametrize("route", ["run/predict", "queue/join", "call/search", "api/predict", "run/search"])
@pytest.mark.parametrize(("name", "question", "status"), QUESTIONS, ids=[name for name, _, _ in QUESTIONS])
def test_no_question_brings_a_file_in(site, route, name, question, status):
    body = json.dumps(question).replace("gradio", "\\u0067radio").encode()  # so that no search for the word is enough
    assert site.get(f"/gradio_api/{route}", "POST", body, **JSON).status == status


POST = json.dumps(gradio_question()).encode()
SENDERS = [
    ("a name made to point here (DNS rebinding)", ("GET", "/", None), {"Host": "evil.example"}, 421),
    ("DNS rebinding, with a port", ("GET", "/config", None), {"Host": "evil.example:7860"}, 421),
    ("DNS rebinding, by a name that looks like localhost", ("GET", "/", None), {"Host": "localhost.evil.example"}, 421),
    ("no name at all", ("GET", "/", None), {"Host": ""}, 421),
    ("a question from a page of another site", ("POST", "/gradio_api/run/predict", POST), {**JSON, **CROSS}, 403),
    (
        "a plain form from a page of another site",
        ("POST", "/gradio_api/run/predict", POST),
        {"Content_Type": "text/plain", **CROSS},
        403,
    ),
    ("a page from another port of this machine", ("GET", "/config", None), {"Origin": "http://127.0.0.1:1"}, 403),
    ("a page from a file on the disk", ("GET", "/config", None), {"Origin": "null"}, 403),
    ("an origin that is no address, `http://[`", ("GET", "/config", None), {"Origin": "http://["}, 403),
    ("what a page of another site asks before it asks (preflight)", ("OPTIONS", "/config", None), CROSS, 403),
    ("a video in a page of another site", ("GET", "/video/{id}", None), {"Sec_Fetch_Site": "cross-site"}, 403),
    ("an upload from a page of another site", ("PUT", "/upload/a.mp4", b"x"), CROSS, 403),
    ("an upload through Gradio's route", ("POST", "/gradio_api/upload", b"{}"), {}, 404),
    ("Gradio's component functions", ("POST", "/gradio_api/component_server", b"{}"), JSON, 404),
    ("an upload called `../../evil.mp4`, percent-encoded", ("PUT", "/upload/..%2f..%2fevil.mp4", b"x"), {}, 404),
    ("an upload called `page.html`", ("PUT", "/upload/page.html", b"x"), {}, 415),
    ("an empty upload", ("PUT", "/upload/empty.mp4", b""), {}, 400),
    ("an upload above the size limit", ("PUT", "/upload/large.mp4", bytes(1_000_001)), {}, 413),
]


@pytest.mark.parametrize(("name", "question", "headers", "status"), SENDERS, ids=[name for name, *_ in SENDERS])
def test_only_pages_of_this_server_may_ask(site, ground, name, question, headers, status):
    method, path, body = question
    answer = site.get(path.format(**ground), method, body, **headers)
    assert answer.status == status
    assert answer.headers.get("Access-Control-Allow-Origin") is None
    assert not list((site.folder / "uploads").iterdir())
    assert not (site.folder / "evil.mp4").exists()


def test_the_table_of_the_docs_says_what_was_tried():
    tried = [(name, status) for name, _, status in PATHS] + [(name, status) for name, _, status in QUESTIONS]
    tried += [(name, status) for name, *_, status in SENDERS]
    table = DOCS.read_text(encoding="utf-8").partition("| Tried | Got |")[2]
    rows = re.findall(r"^\| (.+?) \| (\d{3}) ", table, re.MULTILINE)
    assert [(name, int(status)) for name, status in rows] == tried


def test_an_upload_that_is_broken_off_leaves_nothing_and_no_traceback(site, caplog):
    logger, folder = logging.getLogger("uvicorn.error"), site.folder / "uploads"
    logger.addHandler(caplog.handler)
    with socket.create_connection(("127.0.0.1", site.port)) as connection:
        connection.sendall(b"PUT /upload/broken.mp4 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\n")
        connection.sendall(bytes(70_000))
        wait_until(lambda: list(folder.iterdir()))
    wait_until(lambda: not list(folder.iterdir()))
    time.sleep(0.2)
    logger.removeHandler(caplog.handler)
    assert caplog.text == ""


def wait_until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_link_from_elsewhere_opens_the_page(site):
    headers = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    answer = site.get("/", **headers)
    assert answer.status == 200
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    for host in (f"localhost:{site.port}", "[::1]:80", "192.168.0.7", "LOCALHOST"):
        assert site.get("/theme.css", Host=host).status == 200


def test_the_page_tells_nothing_of_the_index_before_a_search(site, ground):
    for path in ("/", "/config", "/gradio_api/info"):
        answer = site.get(path)
        assert answer.status == 200
        assert str(site.folder / "index").encode() not in answer.body
        assert str(site.folder / "videos").encode() not in answer.body


def test_names_that_the_server_answers_to():
    from tcd_hf.app.guard import Guard

    async def anything(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"fine"})

    with serving(Guard(anything, hosts=["Videos.example"])) as server:
        assert server.get("/", Host="videos.example").body == b"fine"
        assert server.get("/", Host="videos.example", Origin="http://videos.example").body == b"fine"
        assert server.get("/", Host="videos.example:8000", Origin="https://videos.example:8000").body == b"fine"
        assert server.get("/", Host="other.example").status == 421
        assert server.get("/", Host="videos.example", Origin="http://other.example").status == 403
        assert server.get("/", "POST", b'{"a": [1, {"path": "x"}]}').body == b"fine"
        assert server.get("/", "POST", b"[" * 100_000).status == 400


def test_an_upload_is_kept_under_a_plain_new_name(site):
    folder = site.folder / "uploads"
    try:
        for name, expected in [
            (quote("a b.MP4"), "a b.mp4"),
            (quote("a b.mp4"), "a b-2.mp4"),
            (quote("<img src=x>.mkv"), "_img src_x_.mkv"),
            (quote("..\\..\\evil.mp4"), "evil.mp4"),
            (quote(".hidden.mp4"), "hidden.mp4"),
            (quote("é" * 200 + ".webm"), "é" * 60 + ".webm"),
        ]:
            answer = site.get(f"/upload/{name}", "PUT", b"video")
            assert json.loads(answer.body) == {"name": expected}
            assert (folder / expected).read_bytes() == b"video"
        site.get("/upload/x.mp4", "PUT", b"x"), site.get("/upload/y.mp4", "PUT", b"y")
        assert site.get("/upload/z.mp4", "PUT", b"z").status == 507  # 8 are there
        assert len(os.listdir(folder)) == 8
    finally:
        for file in folder.iterdir():
            file.unlink()
