"""Models on the Hub, with a Hub that is a server of this machine, or none at all."""

import logging
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import constants

from tcd_hf import load
from tcd_hf.checkpoints import MINI
from tcd_hf.data.question_rewriting import QuestionRewriter
from tcd_hf.hub import pinned, split_revision
from tcd_hf.index.video_index import VideoIndex
from tcd_hf.loading import load_processor
from tests.tcd_hf.conftest import invoke
from tests.tcd_hf.test_question_rewriting import PAIRS, save_model

COMMIT = "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of models; `fill(name)` puts the package's model there, or that of a folder."""
    folder = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))

    def fill(name: str, model: Path = Path(MINI)) -> Path:
        repository = folder / f"models--{name.replace('/', '--')}"
        shutil.copytree(model, repository / "snapshots" / COMMIT)
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(COMMIT)
        return repository / "snapshots" / COMMIT

    return fill


def point_to(monkeypatch, endpoint: str) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.partition("/{repo_id}")
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", "".join([endpoint, *template[1:]]))


@pytest.fixture
def no_hub(monkeypatch, cache):
    """Where the Hub would be, a port that is closed."""
    point_to(monkeypatch, "http://127.0.0.1:1")


@pytest.fixture
def empty_hub(monkeypatch, cache):
    """A Hub that has nothing; with what it was asked for."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        do_GET = do_HEAD

        def log_message(self, *details):
            pass

    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    point_to(monkeypatch, f"http://127.0.0.1:{server.server_port}")
    yield SimpleNamespace(asked=asked)
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("no_hub")
class TestWithoutNetwork:
    @pytest.mark.parametrize("door", [load, load_processor])
    def test_a_model_that_is_not_in_the_cache_is_an_error_with_its_cause(self, door, caplog):
        message = r"from 'org/name': the Hub at http://127\.0\.0\.1:1 does not answer \(.+\): see to the network\. Give"
        with pytest.raises(ValueError, match=message):
            door("org/name")
        assert caplog.records == []  # nothing was announced, or tried again

    @pytest.mark.parametrize("name", ["org/name", f"org/name@{COMMIT}"])
    def test_one_in_the_cache_is_taken_from_there(self, cache, caplog, name):
        cache("org/name")
        model, _ = load(name)
        assert model.name_or_path == name
        assert [record.getMessage().partition(" does not answer")[0] for record in caplog.records] == [
            "the Hub at http://127.0.0.1:1"
        ]

    def test_a_processor_needs_no_weights_there(self, cache):
        (cache("org/name") / "model.safetensors").unlink()
        assert load_processor("org/name").num_frames == load_processor(MINI).num_frames

    @pytest.mark.parametrize("name", ["org/name", f"org/name@{COMMIT}"])
    def test_what_writes_sentences_takes_its_model_from_there(self, cache, name, tmp_path):
        save_model(tmp_path / "model")
        cache("org/name", tmp_path / "model")
        (sentence,) = QuestionRewriter(name, tmp_path / "sentences.jsonl", max_new_tokens=6)(PAIRS[:1])
        assert sentence

    def test_what_writes_sentences_and_publishes_says_so_too(self, tmp_path):
        with pytest.raises(ValueError, match="does not answer"):
            QuestionRewriter("org/name", tmp_path / "sentences.jsonl")([("who is it?", "Ada")])
        done = invoke("push", MINI, "--repo-id", "me/mine")
        assert done.exit_code == 1 and done.stderr.startswith("error: the Hub at http://127.0.0.1:1 does not answer")


def test_a_command_without_network_says_so_in_one_line(tmp_path):
    """In a process of its own, as the libraries know a Hub, with all they would say."""
    code = "from tcd_hf.cli.main import app; app()"
    words = ["search", "x", "--videos", str(MINI), "--model", "org/name", "--revision", "main"]
    (tmp_path / "a.mp4").write_bytes(b"no video")
    words[3] = str(tmp_path)
    hub = {"HF_ENDPOINT": "http://127.0.0.1:1", "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code, *words], env={**os.environ, **hub}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: Cannot load a model from 'org/name': the Hub at http://127.0.0.1:1 does not answer")


class TestWithANetwork:
    def test_a_download_is_named_before_it_begins(self, empty_hub, caplog):
        for door in (load, load_processor):
            caplog.clear()
            with pytest.raises(ValueError, match="Cannot load a model from 'org/name'"):
                door("org/name", revision="v1")
            said = [record.getMessage() for record in caplog.records if record.name == "tcd_hf.hub"]
            assert said == ["Downloading the model 'org/name@v1' from the Hub."]

    def test_it_is_not_named_where_the_cache_has_it(self, empty_hub, cache, caplog):
        cache("org/name")
        caplog.set_level(logging.WARNING, "tcd_hf.hub")
        load("org/name", revision=COMMIT)
        assert not [record for record in caplog.records if record.name == "tcd_hf.hub"]

    def test_files_are_asked_for_at_the_revision(self, empty_hub):
        for name, options in (
            ("org/name@v1", {}),
            ("org/name", {"revision": "v1"}),
            ("org/name@v1", {"revision": "v1"}),
        ):
            empty_hub.asked.clear()
            with pytest.raises(ValueError, match="Cannot load"):
                load(name, **options)
            assert "/org/name/resolve/v1/config.json" in empty_hub.asked


def test_names_and_revisions(tmp_path):
    assert pinned("org/name", None) == "org/name"
    assert split_revision(pinned("org/name", "v1")) == ("org/name", "v1")
    assert split_revision("org/name") == ("org/name", None)
    folder = tmp_path / "run@2"
    folder.mkdir()
    assert split_revision(str(folder)) == (str(folder), None)
    with pytest.raises(ValueError, match=r"is a folder, which has no revision 'v1'"):
        load(folder, revision="v1")
    with pytest.raises(ValueError, match=r"'org/name@v1' names a revision, and 'v2' is another"):
        load("org/name@v1", revision="v2")
    for name, options in (("tcd-mini@v1", {}), ("tcd-mini", {"revision": "v1"})):
        with pytest.raises(ValueError, match=r"'tcd-mini' is inside the package, and has no revision 'v1'"):
            load(name, **options)
    with pytest.raises(ValueError, match=r"'org/name@' names no revision"):
        load("org/name@")
    with pytest.raises(ValueError, match=r"revision of 'org/name' is empty"):
        load("org/name", revision="")


def test_an_index_keeps_the_revision_of_its_model(cache, tmp_path):
    cache("org/name")
    made = VideoIndex.create(tmp_path / "index", *load("org/name", revision=COMMIT))
    assert made.metadata.model_name == f"org/name@{COMMIT}"
    opened = VideoIndex.open(tmp_path / "index")
    assert opened.model.name_or_path == f"org/name@{COMMIT}"


@pytest.mark.parametrize("verb", [["search", "x", "--videos", "."], ["evaluate", "--data", ".", "--out", "a.json"]])
def test_a_revision_needs_a_model(verb):
    done = invoke(*verb, "--revision", "v1")
    assert done.exit_code == 2 and "give --model too" in done.stderr.replace("\n", " ")
