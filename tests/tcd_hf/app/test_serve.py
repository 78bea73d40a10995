import sys
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from tcd_hf.app import server
from tcd_hf.app.server import build_app, own_names
from tcd_hf.cli.main import app
from tests.tcd_hf.app.conftest import make_index
from tests.tcd_hf.conftest import load_script


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Runs `tcd-hf serve` without serving; what it would have served is in `told`."""
    index, told = make_index(tmp_path, {"shop.mp4": [1]}), SimpleNamespace()
    monkeypatch.setattr("tcd_hf.cli.serve.open_index", lambda uri, *options: index)
    monkeypatch.setattr(server, "serve_app", lambda app, host, port: vars(told).update(app=app, host=host, port=port))

    def run(*options):
        result = CliRunner().invoke(app, ["serve", "--index", "my.index", *map(str, options)])
        return result, told

    return run


def test_it_listens_on_the_loopback_address_and_adds_nothing_unless_told(serve):
    result, told = serve()
    assert result.exit_code == 0
    assert (told.host, told.port) == ("127.0.0.1", 7860)
    assert "my.index, 1 videos: http://127.0.0.1:7860" in result.stdout
    assert "/upload/{name}" not in [getattr(route, "path", "") for route in told.app.routes]


def test_its_options_reach_the_server(serve, tmp_path):
    (tmp_path / "in").mkdir()
    result, _ = serve("--host", "::1", "--port", 8000, "--uploads", tmp_path / "up", "--allow-add", tmp_path / "in")
    assert result.exit_code == 0
    assert "http://[::1]:8000" in result.stdout
    assert (tmp_path / "up").is_dir()
    assert own_names("0.0.0.0")[0] == "0.0.0.0"
    assert len(own_names("0.0.0.0")) == 3
    assert own_names("127.0.0.1") == ["127.0.0.1"]


def test_errors_of_use(serve, tmp_path):
    result, _ = serve("--allow-add", tmp_path / "gone")
    assert result.exit_code == 1
    assert "There is no folder" in result.stderr
    assert serve("--port", 0)[0].exit_code == 2
    assert serve("--max-upload-mb", 0)[0].exit_code == 2


def test_without_gradio_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(ImportError, match=r"pip install 'tcd-hf\[app\]'"):
        build_app(make_index(tmp_path, {}))


@pytest.mark.parametrize("options", [["--queries", "0"], ["--chromium", "/no/such/browser"], []])
def test_the_benchmark_refuses_what_it_cannot_do(options, capsys):
    index = ["--index", "my.index"] if options else []
    with pytest.raises(SystemExit) as status:
        load_script("benchmark_app").main([*index, *options])
    assert status.value.code == 2
    assert (options[0] if options else "--index") in capsys.readouterr().err
