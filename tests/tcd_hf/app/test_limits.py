"""What a connection may take, tried on a server in a process of its own."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tcd_hf.app.limits import Limits

ROOT = Path(__file__).parents[3]
MAX_CONNECTIONS, SECONDS, BODY_BYTES = 40, 2.0, 1000
SERVE = f"""
import sys
from pathlib import Path
from tcd_hf.app.limits import Limits
from tcd_hf.app.server import build_app, listen, serve_app
from tests.tcd_hf.app.conftest import make_index
folder = Path(sys.argv[1])
app = build_app(make_index(folder, {{"shop.mp4": [8, 1]}}), uploads=folder / "uploads")
listener = listen("0.0.0.0", 0)
print(listener.getsockname()[1], flush=True)
serve_app(app, listener, Limits({MAX_CONNECTIONS}, {SECONDS}, {SECONDS}, {BODY_BYTES}))
"""
UPLOAD = b"PUT /upload/a.mp4 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\n"
QUESTION = b"POST /gradio_api/run/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\n{"
HALVES = [b"", b"GET / HTTP/1.1\r\nHost: loc", QUESTION, UPLOAD, UPLOAD + bytes(100)]


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[tuple[int, Path]]:
    """The port, and the folder of uploads."""
    folder = tmp_path_factory.mktemp("limits")
    process = subprocess.Popen([sys.executable, "-c", SERVE, folder], cwd=ROOT, stdout=-1, text=True)
    assert process.stdout is not None
    port = int(process.stdout.readline())
    assert ask(port).status == 200  # it is up
    yield port, folder / "uploads"
    process.terminate()
    assert process.wait(60) is not None


def ask(port: int, source: str = "127.0.0.1", path: str = "/robots.txt"):
    connection = HTTPConnection("127.0.0.1", port, timeout=60, source_address=(source, 0))
    connection.request("GET", path, headers={"Host": "localhost"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def connect(port: int, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60, source_address=(source, 0))


@contextmanager
def half_sent(port: int, sources: list[str]) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(connect(port, source)) for source in sources]
        for number, each in enumerate(sockets):
            with suppress(OSError):  # on a machine that is busy the first may be closed already
                each.sendall(HALVES[number % len(HALVES)])
        yield sockets


def read_to_the_end(connection: socket.socket) -> bytes:
    """What the server sends until it closes the connection."""
    parts = []
    with suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def test_half_sent_questions_are_closed_and_others_are_served_meanwhile(server):
    port, uploads = server
    with half_sent(port, [f"127.0.1.{1 + number % 10}" for number in range(300)]) as waiting:
        assert ask(port).status == 200
        assert ask(port, path="/config").status == 200
        for connection in waiting:
            assert b"HTTP/1.1 2" not in read_to_the_end(connection)  # it returns: the server closed it
    assert wait_for(lambda: not list(uploads.iterdir()))


def test_one_address_has_so_many_connections_and_another_is_served(server):
    port, _ = server
    with half_sent(port, ["127.0.0.3"] * MAX_CONNECTIONS):
        refused = ask(port, "127.0.0.3")
        assert (refused.status, refused.headers["Retry-After"]) == (503, "10")
        assert ask(port, "127.0.0.2").status == 200
    assert wait_for(lambda: ask(port, "127.0.0.3").status == 200)  # those that are closed count no more


def wait_for(condition, seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_a_body_that_goes_on_may_take_its_time_and_one_that_trickles_may_not(server):
    port, uploads = server
    with connect(port) as steady, connect(port) as trickling:
        for connection in (steady, trickling):
            connection.sendall(UPLOAD.replace(b"900000", b"16000"))
        for _ in range(8):  # half a second each: twice as long as a body may be silent
            steady.sendall(bytes(2000))
            with suppress(OSError):  # closed already
                trickling.sendall(b"x")
            time.sleep(SECONDS / 4)
        steady.shutdown(socket.SHUT_WR)
        assert b'{"name":"a.mp4"}' in read_to_the_end(steady)
        assert b"200" not in read_to_the_end(trickling)
    assert [file.stat().st_size for file in uploads.iterdir()] == [16000]


def test_questions_one_after_the_other_on_one_connection(server):
    port, _ = server
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.connect()
    line = connection.sock
    for _ in range(5):  # longer together than one may take
        time.sleep(SECONDS / 4)
        connection.request("GET", "/robots.txt", headers={"Host": "localhost"})
        answer = connection.getresponse()
        assert answer.status == 200 and answer.read()
        assert connection.sock is line
    line.sendall(b"GET /robots.txt HTTP/1.1\r\n")
    time.sleep(SECONDS / 4)
    line.sendall(b"Host: loc")
    assert read_to_the_end(line) == b""
    connection.close()


def test_the_limits_that_the_docs_state():
    text = " ".join((ROOT / "docs" / "serve.md").read_text(encoding="utf-8").split())
    limits = Limits()
    assert f"`--max-connections N` | {limits.connections} |" in text
    assert f"headers within {limits.header_seconds:g} seconds" in text
    assert f"{limits.body_bytes:,} bytes of it every {limits.body_seconds:g} seconds" in text
