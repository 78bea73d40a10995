"""What Rust prints of a panic does not reach the terminal, and whatever else is printed does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tcd_hf.cli.panics import PanicFilter
from tests.tcd_hf.test_index_damage import Shelf

ROOT = Path(__file__).parents[2]

REPORTS = """
thread 'lancedb-tokio-worker' (28357) panicked at /root/.cargo/registry/src/bytes-1.12.1/src/bytes.rs:374:28:
range start must not be greater than end: 61572651156893 <= 3986
stack backtrace:
   0: __rustc::rust_begin_unwind
             at ./rust/library/std/src/panicking.rs:689:5
note: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.

thread '<unnamed>' panicked at src/a file.rs:667:56:
assertion `left == right` failed: of two
  left: 1
 right: 2
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace
"""
BEFORE, AFTER = "a line\n\n  another\rand one that is longer\n\n", "\nthread of a story\n  left: alone\nno end"


def filtered(pieces: list[bytes]) -> str:
    panics = PanicFilter()
    return b"".join([*map(panics.feed, pieces), panics.end()]).decode()


@pytest.mark.parametrize("length", [1, 7, 1000, 10_000])
def test_reports_are_left_out_whatever_the_pieces_are(length):
    text = (BEFORE + REPORTS + AFTER).encode()
    pieces = [text[start : start + length] for start in range(0, len(text), length)]
    assert filtered(pieces) == BEFORE + AFTER


@pytest.mark.parametrize("text", ["", "\n", "no end", "thread 'a' said", BEFORE, AFTER, "note: RUST_BACKTRACE\n"])
def test_what_is_no_report_is_handed_on(text):
    assert filtered([text.encode()]) == text
    assert filtered([bytes([byte]) for byte in text.encode()]) == text


def test_lines_are_handed_on_at_once():
    panics = PanicFilter()
    assert panics.feed(b"one\ntw") == b"one\n" and panics.feed(b"o\n") == b"two\n"


# Runs commands as `tcd-hf` does, with a tiny model.
COMMANDS = """
import contextlib, json, sys
from tcd_hf import loading
from tcd_hf.cli.main import app
from tests.tcd_hf.conftest import CodeReader, make_tiny_model, make_tiny_processor

loading.load = lambda *args: (make_tiny_model(), make_tiny_processor(CodeReader({})))
for command in json.loads(sys.argv[1]):
    with contextlib.suppress(SystemExit):
        app(command)
"""


@pytest.fixture
def damaged(tmp_path):
    """An index with a file that LanceDB panics at."""
    shelf = Shelf(tmp_path)
    shelf.fresh(compacted=True)
    manifest = min(shelf.folder.glob("videos.lance/_versions/*.manifest"))  # LanceDB counts down
    content = manifest.read_bytes()
    manifest.write_bytes(content.replace(b"string", b"3tring"))
    return shelf.folder


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_damaged_index_is_told_of_in_our_words_alone(damaged):
    verbs = [["list"], ["search", "gate b4"], ["index", "--check"], ["show", "shop.mp4"]]
    commands = [[*verb, "--index", str(damaged)] for verb in verbs]
    told = run_commands(commands)
    assert told.count("error: The index") == len(verbs) and told.count("is damaged: ") == len(verbs)
    assert not any(words in told for words in ("panicked", "RUST_BACKTRACE", "rust", ".rs:", "stack backtrace"))
    assert "panicked" in run_commands([["--debug", *commands[0]]])  # so that this test can fail


def run_commands(commands: list[list[str]]) -> str:
    """What commands print on stderr, in one process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "500"}
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps(commands)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    return done.stderr


PRINTING = """
import os, signal, subprocess, sys
from tcd_hf.cli.panics import without_panics

with without_panics():
    print("from Python", file=sys.stderr)
    subprocess.run([sys.executable, "-c", "import sys; print('from another program', file=sys.stderr)"])
    os.write(2, b"from a library\\n" + sys.argv[1].encode() + b"no end")
    if sys.argv[2:]:
        os.kill(os.getpid(), signal.SIGKILL)
os.write(2, b" afterwards")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("dies", [False, True], ids=["ends", "dies"])
def test_what_else_is_printed_is_there_even_if_the_process_dies(dies):
    command = [sys.executable, "-c", PRINTING, REPORTS, *(["dies"] if dies else [])]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
    told = ["from Python", "from another program", "from a library", "no end"] + ([] if dies else [" afterwards"])
    assert all(words in done.stderr for words in told) and "panicked" not in done.stderr
    assert len(done.stderr) == sum(map(len, told)) + 3  # ends of lines
    assert (done.returncode == 0) != dies
