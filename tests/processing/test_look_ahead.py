"""No decoder fills the memory while a slow OCR engine reads."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.clips import write_clip

ROOT = Path(__file__).parents[2]
SIZE, FPS, SECONDS = (640, 360), 30, 60  # 1.2 GB of frames
MOST_GROWTH = 256 << 20  # bytes; PyAV takes 0.1 GB, decord 1.4 GB if it is left alone

CODE = """
import os, sys, threading, time
import torch
from tcd_hf.processing.video_reading import open_video
from tcd_hf.processing.window_ocr import WindowOCRCaptioner

def memory():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def slow_engine(images):
    for _ in images:
        time.sleep(0.1)
        highest[0] = max(highest[0], memory())
    return [[] for _ in images]

path, backend, bounded = sys.argv[1:]
if bounded == "no":
    from tcd_hf.processing import video_decoders
    video_decoders.LOOK_AHEAD_BYTES = 1 << 40
captioner = WindowOCRCaptioner(slow_engine, num_windows=4, reading_interval=None)
highest = [memory()]
before = highest[0]
with open_video(path, backend=backend, num_threads=2) as video:
    captioner.read(video)
print(highest[0] - before)
"""


def growth(path, backend: str, bounded: str = "yes") -> int:
    """By how many bytes the memory of a process grows at most that reads a video with a slow engine."""
    command = [sys.executable, "-c", CODE, str(path), backend, bounded]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="nothing tells how much memory a process has")
def test_the_look_ahead_of_decoders_is_bounded(tmp_path):
    frames = []
    for number in range(SECONDS * FPS):
        frame = np.full((SIZE[1], SIZE[0], 3), 40, np.uint8)
        frame[100:200, (number * 7) % 500 :][:, :100] = 255 - number // 15 * 40 % 200
        frames.append(frame)
    path = write_clip(tmp_path / "clip.mp4", frames, fps=FPS, options={"preset": "ultrafast"})
    for backend in ("auto", "pyav", "decord"):
        assert growth(path, backend) < MOST_GROWTH, backend
    pytest.importorskip("decord")
    assert growth(path, "decord", bounded="no") > MOST_GROWTH  # that this test shows it
