"""Memory of reading dense frames: what is fed, and what is said of it."""

import random
import sys

import pytest

from scripts.benchmarks.ocr.memory import dense_frame, main
from tcd_hf.processing.rapidocr_engine import RapidOCREngine


def test_frames_are_dense_and_never_the_same():
    rng = random.Random(0)
    first, second = dense_frame(rng), dense_frame(rng)
    assert first.shape == second.shape == (720, 1280, 3)
    assert (first != second).any()
    assert (dense_frame(random.Random(0)) == first).all()
    assert len(RapidOCREngine(limit_side_len=736, num_threads=1)([first])[0]) > 10


@pytest.mark.skipif(sys.platform != "linux", reason="Resident memory is looked up as Linux tells it")
def test_memory_is_told_at_the_begin_and_at_the_end(capsys):
    assert main(["--reads", "2"]) == 0
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [row[1].strip() for row in rows] == ["frames read", "1", "2"]
    assert all(100 < float(row[4]) < 10_000 for row in rows[1:])  # MB
