"""Every command and snippet of README.md and docs/ is run, or, where that takes too much, at least parsed.

A page is a session: its blocks run from top to bottom, in a folder of their own, with one namespace. A ```text block
right below code shows what that code prints; elsewhere, what some command above printed; comment lines below a
statement show what that statement prints. With `TCD_HF_REFRESH_DOCS=1` what a page shows is brought up to date:

    TCD_HF_REFRESH_DOCS=1 pytest -m slow tests/docs/test_snippets.py
"""

import contextlib
import hashlib
import importlib.util
import io
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState

from tests.docs.commands import make_smaller, parse_command, run_command, why_not_run
from tests.docs.output import find_difference, refresh
from tests.docs.pages import LANGUAGES, PAGES, ROOT, Block, read_blocks, split_commands, split_statements
from tests.towers import save_towers

REFRESH = "TCD_HF_REFRESH_DOCS" in os.environ
WITH_CODE = [page for page in PAGES if any(block.language in ("python", "bash") for block in read_blocks(page))]

# What lies in the folder of a page before it begins: the demo's clip of that name, or this text.
CLIPS = ("cafe.mp4", "station.mp4", "traffic.mp4", "market.mp4", "football.mp4", "sunset.mp4")
MY_CLIPS = {f"my_clips/{name}": name for name in CLIPS}
FILES = {
    "README.md": {},
    "quickstart.md": {},
    "measured.md": {},
    "how_it_works.md": {name: name for name in CLIPS},
    "search_at_scale.md": {**MY_CLIPS, "queries.txt": "mangoes on sale\na car\n"},
}
SERVED_AT = "http://127.0.0.1:7860"  # by `tcd-hf serve`, as pages write it
NEEDS = {
    "README.md": ["gradio", "prometheus_client"],
    "serve.md": ["gradio", "prometheus_client"],
    "measured.md": ["font_lato", "faker"],
    "search_at_scale.md": ["sentence_transformers"],
    "train_and_reproduce.md": ["font_lato", "faker", "mteb", "matplotlib"],
}


def of_pages(*languages):
    return [
        pytest.param(page, block, id=f"{page.name}:{block.line}")
        for page in PAGES
        for block in read_blocks(page)
        if block.language in languages
    ]


def test_pages_are_found():
    assert {page.name for page in WITH_CODE} >= {"README.md", "quickstart.md", "search_at_scale.md"}
    blocks = [block for page in PAGES for block in read_blocks(page)]
    assert len([block for block in blocks if block.language == "bash"]) > 10
    for name in {*FILES, *NEEDS}:
        assert name in [page.name for page in WITH_CODE], f"{name} has no code, and needs nothing."


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_can_be_tested(page):
    for block in read_blocks(page):
        where = f"{page.name}:{block.line}"
        assert block.language in LANGUAGES, f"{where}: a block of {block.language!r}; known are {LANGUAGES}."
        if block.language == "python":
            compile(block.text, where, "exec")


@pytest.mark.parametrize(("page", "block"), of_pages("bash"))
def test_every_command_parses(page, block):
    commands = split_commands(block.text)
    assert commands
    for command in commands:
        parse_command(command)


@pytest.fixture(scope="session")
def drawn_clips(tmp_path_factory) -> Path:
    from tcd_hf.demo import render_demo_clips

    return render_demo_clips(tmp_path_factory.mktemp("drawn"))[0].parent


@pytest.fixture(scope="session")
def small_models(tmp_path_factory) -> Path:
    """A folder of encoders of random weights, where a page names some of the Hub."""
    from tests.tcd_hf.conftest import make_tiny_model, make_tiny_processor

    folder = tmp_path_factory.mktemp("small") / "small-clip"
    make_tiny_model().backbone.save_pretrained(folder)
    processor = make_tiny_processor()
    processor.tokenizer.save_pretrained(folder)
    processor.image_processor.save_pretrained(folder)
    texts, images = save_towers(folder.parent)
    texts.rename(folder.parent / "small-text")
    images.rename(folder.parent / "small-image")
    return folder.parent


@pytest.fixture(scope="session")
def read_once():
    """Every picture is computed on once: pages read the same clips, and reading is what takes the time."""
    from rapidocr.inference_engine.onnxruntime import OrtInferSession

    known, run = {}, OrtInferSession.__call__

    def run_or_recall(session, batch):
        key = (id(session), batch.shape, hashlib.blake2b(np.ascontiguousarray(batch), digest_size=16).digest())
        if key not in known:
            known[key] = run(session, batch)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OrtInferSession, "__call__", run_or_recall)
        yield


@pytest.fixture
def session(request, tmp_path, tmp_path_factory, monkeypatch, drawn_clips, small_models, read_once):
    """A page about to be run: `folder`, `names` of its namespace, and `printed` so far."""
    page = request.param
    for module in NEEDS.get(page.name, []):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{page.name} needs {module}")
    for path, content in FILES.get(page.name, MY_CLIPS).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        if content in CLIPS:
            shutil.copy(drawn_clips / content, tmp_path / path)
        else:
            (tmp_path / path).write_text(content, encoding="utf-8")
    shutil.copytree(small_models, tmp_path, dirs_exist_ok=True)
    (tmp_path / "tcd_hf").symlink_to(ROOT / "tcd_hf")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "110")
    monkeypatch.setenv("TCD_HF_CACHE", str(tmp_path_factory.getbasetemp() / "captions"))
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setenv("MTEB_CACHE", str(tmp_path / "mteb"))
    AcceleratorState._reset_state(reset_partial_state=True)
    threads = torch.get_num_threads()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(served_pages(monkeypatch))
        offline_benchmarks(monkeypatch, drawn_clips)
        yield SimpleNamespace(page=page, names={}, printed=[], stale={}, server=server)
    AcceleratorState._reset_state(reset_partial_state=True)
    torch.set_num_threads(threads)


@contextlib.contextmanager
def served_pages(monkeypatch):
    """Lets `tcd-hf serve` come back, its page being served on a free port, whose address stands for the usual one."""
    if importlib.util.find_spec("gradio") is None:
        yield {}
        return
    from tcd_hf.app import server
    from tests.tcd_hf.app.conftest import serving

    with contextlib.ExitStack() as stack:
        addresses = {}

        def serve_app(app, listener, limits):
            listener.close()
            addresses[SERVED_AT] = stack.enter_context(serving(app)).url

        listen = server.listen
        monkeypatch.setattr(server, "listen", lambda host, port: listen(host, 0))
        monkeypatch.setattr(server, "serve_app", serve_app)
        yield addresses


def offline_benchmarks(monkeypatch, drawn_clips):
    """Clips of ours in the columns of the data that mteb would download."""
    if importlib.util.find_spec("mteb") is None:
        return
    from datasets import Dataset, Video

    from tcd_hf.demo import DEMO_QUERIES

    queries = {name: query for query, name in DEMO_QUERIES.items()}
    rows = {"video": [(drawn_clips / name).read_bytes() for name in queries], "caption": list(queries.values())}
    data = Dataset.from_dict(rows).cast_column("video", Video())
    monkeypatch.setattr("mteb.tasks.retrieval.eng.msr_vtt.load_dataset", lambda path, **kwargs: data)


def run_python(session, block: Block) -> list[str]:
    printed = []
    for statement, comments, line in split_statements(block):
        source = compile(statement, str(session.page), "exec")
        with contextlib.redirect_stdout(io.StringIO()) as output:
            exec(source, session.names)
        lines = output.getvalue().split("\n")
        printed += lines
        if output.getvalue() and comments:
            check(session, Block("text", "\n".join(comments), line), [f"# {each}" for each in lines if each.strip()])
    return printed


def check(session, shown: Block, printed: list[str]) -> None:
    lines = shown.text.rstrip("\n").split("\n")
    difference = find_difference(lines, printed)
    if difference and REFRESH:
        session.stale[shown.line] = (lines, refresh(lines, printed))
    elif difference:
        pytest.fail(f"{session.page.name}:{shown.line}: {difference}", pytrace=False)


def write_refreshed(session) -> None:
    lines = session.page.read_text(encoding="utf-8").split("\n")
    for first, (old, new) in session.stale.items():
        assert lines[first - 1 : first - 1 + len(old)] == old
        lines[first - 1 : first - 1 + len(old)] = new
    session.page.write_text("\n".join(lines), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(900)  # a page trains and evaluates models
@pytest.mark.parametrize("session", WITH_CODE, ids=lambda page: page.name, indirect=True)
def test_page_runs(session):
    shown_by_code = {block.shows.line for block in read_blocks(session.page) if block.shows}
    for block in read_blocks(session.page):
        printed: list[str] = []
        if block.language == "python":
            text = make_smaller(block.text)
            for usual, address in session.server.items():
                text = text.replace(usual, address)
            printed = run_python(session, Block("python", text, block.line))
        elif block.language == "bash":
            for command in split_commands(block.text):
                if not why_not_run(command):
                    printed += run_command(command).split("\n")
        elif block.language == "text" and block.line not in shown_by_code:
            check(session, block, session.printed)
        if block.shows:
            check(session, block.shows, printed)
        session.printed += printed
    write_refreshed(session)
