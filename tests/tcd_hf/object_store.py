"""An object store in a process of its own, spoken to by S3's protocol, and a bad line to it.

Run as a file it is the store: moto's, on a free port of this machine that it prints, until its standard input ends.
"""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

HOST = "127.0.0.1"
BUCKET = "shelf"


def serve() -> None:
    """Serves until nobody is left who started it."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    app, turn = DomainDispatcherApplication(create_backend_app), threading.Lock()

    def one_at_a_time(environment, start_response):
        # moto looks whether there is a file and then writes it: between the two another must not, as in a real store.
        with turn:
            return list(app(environment, start_response))

    server = make_server(HOST, 0, one_at_a_time, threaded=True)
    print(server.port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


@contextlib.contextmanager
def running_store() -> Iterator[int]:
    """The port of a store that runs."""
    command = [sys.executable, __file__]
    quiet = {"stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **quiet)
    try:
        port = process.stdout.readline()
        assert port, "the store did not start"
        yield int(port)
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


def environment_of(port: int) -> dict[str, str]:
    """What leads there, as people set it, and how often LanceDB and botocore ask again."""
    return {
        "AWS_ENDPOINT_URL": f"http://{HOST}:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": "sesame-open",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def make_bucket(port: int, name: str = BUCKET) -> None:
    with socket.create_connection((HOST, port)) as line:
        line.sendall(f"PUT /{name} HTTP/1.0\r\nHost: {HOST}\r\nContent-Length: 0\r\n\r\n".encode())
        assert b" 200 " in line.recv(1000)


class Request:
    """What somebody asks of the store: `"PUT"` and `"/shelf/a.index/videos.lance/..."`; `is_new` of a file that is not
    to take the place of another."""

    def __init__(self, head: bytes):
        self.method, self.path = [*head.decode("latin").split(" "), "", ""][:2]
        self.is_new = b"if-none-match: *" in head.lower()


# What becomes of a request: as usual; it never arrives; it arrives, and its answer is lost; half of the answer comes;
# all of it comes late.
Fault = str  # "" | "drop" | "lose" | "half" | "slow"


class BadLine:
    """A line to a store on which some requests go wrong: a proxy in threads of this process.

    Attributes:
        fault (`Callable[[Request], Fault]`): what becomes of each request, by itself.
        requests (`list[str]`): what was asked, as `"GET /shelf/..."`, and the bytes of the answers, in `bytes_sent`.
    """

    SECONDS = 3.0  # that a slow answer is late

    def __init__(self, port: int):
        self.fault: Callable[[Request], Fault] = lambda request: ""
        self.requests: list[str] = []
        self.bytes_sent = 0
        self._store = port
        self._door = socket.create_server((HOST, 0))
        self.port = self._door.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        self._door.close()

    def _listen(self) -> None:
        while True:
            try:
                line, _ = self._door.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(line,), daemon=True).start()

    def _carry(self, line: socket.socket) -> None:
        """One request and its answer: the store closes the line after each."""
        with line, socket.create_connection((HOST, self._store)) as store, contextlib.ExitStack() as end:
            end.enter_context(contextlib.suppress(OSError))
            for each in (line, store):
                end.callback(each.shutdown, socket.SHUT_RDWR)  # to close it is not enough while a thread reads it
            head = line.recv(1 << 16)
            if not head:
                return
            request = Request(head)
            fault = self.fault(request)
            self.requests.append(f"{request.method} {request.path}")
            if fault == "drop":
                return
            store.sendall(head)
            threading.Thread(target=self._pass_on, args=(line, store), daemon=True).start()
            if fault == "slow":
                time.sleep(self.SECONDS)
            answer = b""
            while piece := store.recv(1 << 16):
                answer += piece
                if answer.startswith(b"HTTP/1.1 100"):
                    line.sendall(answer)
                    answer = b""
            if fault != "lose":
                answer = answer[: len(answer) // 2] if fault == "half" else answer
                self.bytes_sent += len(answer)
                line.sendall(answer)

    def _pass_on(self, line: socket.socket, store: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := line.recv(1 << 16):
                store.sendall(piece)


if __name__ == "__main__":
    serve()
