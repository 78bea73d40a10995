"""A tiny model and processor, and an OCR engine that reads what coded frames stand for."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPConfig, CLIPImageProcessor, CLIPTokenizer
from typer.testing import CliRunner, Result

from tcd_hf.cli import common
from tcd_hf.cli.main import app
from tcd_hf.index.storage import IndexStorage
from tcd_hf.index.video_index import VideoIndex
from tcd_hf.modeling.configuration_tcd import TCDConfig
from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.processing.ocr_engines import TextReading
from tcd_hf.processing.processing_tcd import TCDProcessor
from tests.clips import coded_frame, read_code, write_clip
from tests.tcd_hf.object_store import BUCKET, BadLine, environment_of, make_bucket, running_store

NUM_FRAMES = 4
ROOT = Path(__file__).parents[2]


class CodeReader:
    """An OCR engine that looks the code of a frame up in a table: `{code: [texts]}`; other codes show no text."""

    images_read = 0

    def __init__(self, texts: dict[int, list[str]]):
        self.texts = texts

    def __getstate__(self):
        return {"texts": self.texts}  # what it has read so far makes no other engine of it

    def __call__(self, images: list[np.ndarray]) -> list[list[TextReading]]:
        self.images_read += len(images)
        return [
            [
                TextReading(text, 0.9, (0.1, 0.1 + 0.2 * line, 0.9, 0.25 + 0.2 * line))
                for line, text in enumerate(self.texts.get(read_code(image), []))
            ]
            for image in images
        ]


def make_tiny_model(seed: int = 0, **config_overrides) -> TCDModel:
    """A CLIP-shaped model of some thousand random weights, for the tokenizer of `make_tiny_processor`."""
    torch.manual_seed(seed)
    backbone = CLIPConfig(
        text_config={
            "vocab_size": 514,
            "hidden_size": 32,
            "intermediate_size": 37,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "bos_token_id": 512,
            "eos_token_id": 513,
        },
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 37,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 16,
            "patch_size": 8,
        },
        projection_dim=16,
    )
    return TCDModel(TCDConfig(backbone_config=backbone, num_frames=NUM_FRAMES, **config_overrides)).eval()


def make_tiny_processor(engine=None) -> TCDProcessor:
    """A processor whose tokenizer knows bytes only, hence any text."""
    alphabet = sorted(ByteLevel.alphabet())
    tokens = [*alphabet, *(character + "</w>" for character in alphabet), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[], model_max_length=77)
    image_processor = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=16)
    return TCDProcessor(image_processor, tokenizer, num_frames=NUM_FRAMES, ocr_engine=engine)


def open_storage(index: VideoIndex) -> IndexStorage:
    """The tables of an index through a handle of their own: what is stored there, and no user needs to know."""
    storage = IndexStorage(index.uri)
    storage.open()
    return storage


def assert_statistics_are_those_of_a_recount(index):
    storage = open_storage(index)
    assert storage.has_statistics()
    stored = storage.load_statistics()
    storage.save_statistics()  # counts
    counted = storage.load_statistics()
    assert stored.num_rows == counted.num_rows == len(index.read(["id"]))
    np.testing.assert_array_equal(stored.document_frequency, counted.document_frequency)


def count_calls(monkeypatch, owner, name) -> list[str]:
    """A list that grows with each call of a function or method, which does what it always does."""
    real, calls = getattr(owner, name), []

    def counted(*args, **options):
        calls.append(name)
        return real(*args, **options)

    monkeypatch.setattr(owner, name, counted)
    return calls


@pytest.fixture
def heeds_ctrl_c():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def reads_in_this_process(request, monkeypatch):
    """Where a test does not say who reads, this process does: what it reads and counts can be seen here, and the many
    tests of other things do not wait for another. `@pytest.mark.workers` leaves it to the package."""
    if request.node.get_closest_marker("workers") is None:
        for module in ("index.engines", "reading.worker_pool"):
            monkeypatch.setattr(f"tcd_hf.{module}.choose_num_workers", lambda num_files: 0)
        monkeypatch.setattr("tcd_hf.data.preparation.DEFAULT_NUM_PROC", 0)
        monkeypatch.setattr("tcd_hf.cli.ocr.WORKERS", 0)


@pytest.fixture
def code_reader() -> CodeReader:
    return CodeReader({1: ["TESCO express", "£1.30"], 2: ["DEPARTURES", "Gate B4"], 3: ["STAR WARS"]})


@pytest.fixture
def clips(tmp_path):
    """Clips of 4 s (so 1 s a window) by name: the code shown in each second."""
    folder = tmp_path / "videos"
    folder.mkdir()
    schedule = {
        "shop.mp4": [8, 8, 1, 1],
        "airport.mp4": [2, 2, 16, 16],
        "toys.mp4": [32, 3, 32, 32],
        "sea.mp4": [64] * 4,
    }
    return {
        name: write_clip(folder / name, [coded_frame(code) for code in codes for _ in range(5)], fps=5)
        for name, codes in schedule.items()
    }


def invoke(*words) -> Result:
    """Runs the command line with the models that are named; what goes to stdout and stderr is kept apart."""
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def wide_terminal(monkeypatch):
    """Lines are as long as they like, whatever terminal the suite was started from, or none."""
    for console in (common.stdout, common.stderr):
        monkeypatch.setattr(console, "_width", 200)
        monkeypatch.setattr(console, "_height", 50)


@pytest.fixture
def run(monkeypatch, tmp_path, code_reader):
    """Runs the command line with a tiny model; what goes to stdout and stderr is kept apart."""
    monkeypatch.setenv("TCD_HF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")

    def load(name, device):
        model, processor = make_tiny_model(), make_tiny_processor(code_reader)
        model.name_or_path = "tiny"
        return model, processor

    monkeypatch.setattr("tcd_hf.loading.load", load)
    return invoke


@pytest.fixture
def start(tmp_path):
    """Starts Python code in a process of its own, with words for `sys.argv`."""
    started = []

    def start(code: str, *words) -> subprocess.Popen:
        script = tmp_path / f"script{len(started)}.py"
        script.write_text(textwrap.dedent(code))
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = list(map(str, (sys.executable, script, *words)))
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            stream.close()


@pytest.fixture(scope="session")
def store_port() -> Iterator[int]:
    pytest.importorskip("moto.moto_server.werkzeug_app")
    pytest.importorskip("s3fs")
    with running_store() as port:
        make_bucket(port)
        yield port


@pytest.fixture
def store(store_port, monkeypatch, tmp_path) -> str:
    """An address in a store of S3's protocol, which the environment leads to; another one for each test."""
    for name, value in environment_of(store_port).items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{tmp_path.name}"


@pytest.fixture
def bad_line(store, store_port, monkeypatch) -> Iterator[BadLine]:
    """The line that all requests to [`store`] take from now on."""
    line = BadLine(store_port)
    for name, value in environment_of(line.port).items():
        monkeypatch.setenv(name, value)
    yield line
    line.close()
