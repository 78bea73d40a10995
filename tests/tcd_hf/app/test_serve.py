import inspect
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from scripts.benchmarks import app as benchmark_app
from tcd_hf.app import server
from tcd_hf.app.library import Library
from tcd_hf.app.limits import Limits
from tcd_hf.app.pictures import Thumbnails
from tcd_hf.app.server import build_app, listen, own_names
from tcd_hf.cli.main import app
from tcd_hf.cli.serve import serve as serve_command
from tcd_hf.index.storage import IndexStorage
from tcd_hf.reading import fingerprints
from tests.tcd_hf.app.conftest import make_index, serving
from tests.tcd_hf.conftest import count_calls

with listen("127.0.0.1", 0) as free:
    FREE_PORT = free.getsockname()[1]
try:
    listen("::1", 0).close()
    IPV6 = "::1"
except ValueError:
    IPV6 = None


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Runs `tcd-hf serve` without serving; what it would have served is in `told`."""
    index, told = make_index(tmp_path, {"shop.mp4": [1]}), SimpleNamespace(opened=0)

    def open_indexes(uris, *options, **named):
        told.opened, told.named = told.opened + 1, named
        return index

    def serve_app(app, listener, limits):
        told.app, told.address, told.limits = app, listener.getsockname()[:2], limits
        listener.close()

    monkeypatch.setattr("tcd_hf.cli.serve.open_indexes", open_indexes)
    monkeypatch.setattr(server, "serve_app", serve_app)

    def run(*options):
        port = [] if "--port" in options else ["--port", FREE_PORT]
        result = CliRunner().invoke(app, ["serve", "--index", "my.index", *map(str, [*port, *options])])
        return result, told

    return run


def test_every_option_of_uploads_hosts_and_the_device(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(server, "build_app", lambda index, **options: options)
    options = ["--max-upload-mb", 7, "--max-uploads", 3, "--allow-host", "a.example", "--allow-host", "b.example"]
    result, told = serve(
        "--uploads", tmp_path / "up", *options, "--device", "cpu", "--max-connections", 5, "--workers", 3, "--metrics"
    )
    assert result.exit_code == 0, result.output
    assert told.limits == Limits(connections=5)
    assert (told.app["max_upload_mb"], told.app["max_uploads"]) == (7, 3)
    assert told.app["hosts"] == [*own_names("127.0.0.1"), "a.example", "b.example"]
    assert told.named == {"device": "cpu"}
    assert (told.app["search_processes"], told.app["with_metrics"]) == (3, True)


def test_it_opens_the_index_and_hashes_the_weights_once(tmp_path, monkeypatch):
    index = make_index(tmp_path, {"shop.mp4": [1]})
    monkeypatch.setattr("tcd_hf.loading.load", lambda name, device: (index.model, index.processor))
    monkeypatch.setattr(server, "serve_app", lambda app, listener, limits: listener.close())
    opened = count_calls(monkeypatch, IndexStorage, "open")
    hashed = count_calls(monkeypatch, fingerprints, "hash_weights")
    options = ["--index", index.uri, "--model", "tiny", "--port", FREE_PORT, "--allow-add", tmp_path]
    result = CliRunner().invoke(app, ["serve", *map(str, options)])
    assert result.exit_code == 0, result.output
    assert (len(opened), len(hashed)) == (1, 1)


def test_it_listens_on_the_loopback_address_and_adds_nothing_unless_told(serve):
    result, told = serve()
    assert result.exit_code == 0
    assert told.address == ("127.0.0.1", FREE_PORT)
    assert f"my.index, 1 videos: http://127.0.0.1:{FREE_PORT}" in result.stdout
    assert inspect.signature(serve_command).parameters["port"].default == 7860
    assert "/upload/{name}" not in [getattr(route, "path", "") for route in told.app.routes]


def test_its_options_reach_the_server(serve, tmp_path):
    (tmp_path / "in").mkdir()
    result, told = serve("--host", IPV6 or "127.0.0.1", "--uploads", tmp_path / "up", "--allow-add", tmp_path / "in")
    assert result.exit_code == 0
    if IPV6:
        assert told.address == ("::1", FREE_PORT)
        assert f"http://[::1]:{FREE_PORT}" in result.stdout
    assert (tmp_path / "up").is_dir()
    assert own_names("0.0.0.0")[0] == "0.0.0.0"
    assert len(own_names("0.0.0.0")) == 3
    assert own_names("127.0.0.1") == ["127.0.0.1"]


def test_errors_of_use(serve, tmp_path):
    result, _ = serve("--allow-add", tmp_path / "gone")
    assert result.exit_code == 1
    assert "There is no folder" in result.stderr
    (tmp_path / "file").write_bytes(b"x")
    result, _ = serve("--uploads", tmp_path / "file")
    assert result.exit_code == 1
    assert "Uploads need a folder" in result.stderr
    assert serve("--port", 0)[0].exit_code == 2
    assert serve("--max-upload-mb", 0)[0].exit_code == serve("--workers", 0)[0].exit_code == 2


def test_a_busy_port_and_a_wrong_address_are_told_before_a_model_is_loaded(serve):
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        result, told = serve("--port", port)
    assert result.exit_code == 1
    assert f"Cannot listen on port {port} of 127.0.0.1: Address already in use. Choose another --port" in result.stderr
    for host in ("999.1.1.1", "a..b"):
        result, told = serve("--host", host)
        assert result.exit_code == 1
        assert f"There is no address '{host}': choose another --host" in result.stderr
    assert (result.stdout, told.opened) == ("", 0)


def test_the_server_ends_only_after_its_warm_up(tmp_path, monkeypatch):
    """Native code that still runs when Python ends brings it down."""
    done, begun = [], threading.Event()

    def slow_search(*args):
        begun.set()
        time.sleep(0.5)
        done.append("search")

    monkeypatch.setattr(Library, "try_search", slow_search)
    monkeypatch.setattr(Thumbnails, "draw", lambda *args: done.append("draw"))
    with serving(build_app(make_index(tmp_path, {"shop.mp4": [1]}))):
        assert begun.wait(10)
    assert done == ["search"]
    assert "warm-up" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.slow
def test_control_c_ends_calmly_while_the_server_warms_up(tmp_path):
    code = (
        "import sys; from pathlib import Path; from tcd_hf.app.server import build_app, listen, serve_app\n"
        "from tests.tcd_hf.app.conftest import make_index\n"
        "app = build_app(make_index(Path(sys.argv[1]), {f'{n}.mp4': [n] * 20 for n in range(1, 9)}))\n"
        "print('ready', flush=True); serve_app(app, listen('127.0.0.1', 0))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], cwd=Path(__file__).parents[3], stdout=-1, stderr=-1, text=True
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[1].splitlines()
    assert all(line.startswith("Videos are read in this process") for line in told)  # as the index was made here
    assert process.returncode == 0


def test_without_gradio_it_says_what_to_install(tmp_path, monkeypatch):
    index = make_index(tmp_path, {})
    for name in ("prometheus_client", "gradio"):
        with monkeypatch.context() as without:
            without.setitem(sys.modules, name, None)
            with pytest.raises(ImportError, match=rf"needs {name}: pip install 'tcd-hf\[app\]'"):
                build_app(index)


@pytest.mark.parametrize("options", [["--queries", "0"], ["--chromium", "/no/such/browser"], []])
def test_the_benchmark_refuses_what_it_cannot_do(options, capsys):
    index = ["--index", "my.index"] if options else []
    with pytest.raises(SystemExit) as status:
        benchmark_app.main([*index, *options])
    assert status.value.code == 2
    assert (options[0] if options else "--index") in capsys.readouterr().err
