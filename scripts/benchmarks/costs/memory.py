"""Peak memory of a process that indexes one video, by its length."""

import argparse
import time
from pathlib import Path

import numpy as np

from scripts.benchmarks.costs.children import ask_child, make_index, peak_memory
from scripts.benchmarks.machine import table
from scripts.benchmarks.videos.scenes import FPS, repeat_video, write_scene

BATCH_SECONDS = 0.2  # of the slow engine


class SlowReader:
    """An OCR engine that takes its time and always reads the same."""

    def __init__(self, seconds: float):
        self.seconds = seconds

    def __call__(self, images: list[np.ndarray]) -> list[list[tuple]]:
        time.sleep(self.seconds)
        return [[("Always the same", 0.9, (0.1, 0.1, 0.5, 0.2))] for _ in images]


def measure(args: argparse.Namespace, folder: Path) -> dict:
    """Indexes a video of each length, each in a process of its own."""
    piece = folder / "piece.mp4"
    write_scene(piece, args.size, args.piece)
    runs = []
    for minutes in args.memory_minutes:
        path = folder / f"{minutes:g}.mp4"
        repeat_video(piece, path, max(1, round(60 * minutes / args.piece)))
        run = ask_child("memory", args, path=str(path), folder=str(folder / f"index {minutes:g}"))
        runs.append({"minutes": minutes, "megabytes_of_file": round(path.stat().st_size / 1e6, 1), **run})
        path.unlink()
    for run in runs:
        run["over_first"] = run["peak_gb"] - runs[0]["peak_gb"]
    return {"size": list(args.size), "seconds_a_batch": BATCH_SECONDS, "runs": runs}


def child(args: argparse.Namespace, path: str, folder: str) -> dict:
    """Indexes a video: what it held at most, and how long it took."""
    index = make_index(args, Path(folder), SlowReader(BATCH_SECONDS))
    start = time.perf_counter()
    report = index.add([path], workers=0, on_video=lambda path: None)
    return {
        "peak_gb": peak_memory() / 1e9,
        "seconds": round(time.perf_counter() - start, 1),
        "skipped": [video.cause for video in report.skipped],
    }


def to_markdown(result: dict) -> str:
    """What `measure` gives, as Markdown."""
    rows = [["video", "file", "peak", "over the first", "time"]]
    for run in result["runs"]:
        memory = f"{run['peak_gb']:.2f} GB", f"{run['over_first']:+.2f} GB"
        rows.append([f"{run['minutes']:g} min", f"{run['megabytes_of_file']} MB", *memory, f"{run['seconds']} s"])
    size = "x".join(map(str, result["size"]))
    about = f"Peak memory of indexing, {size} at {FPS} fps, OCR of {result['seconds_a_batch']} s a batch."
    return f"{about} Required: at most + 0.5 GB.\n\n{table(rows)}"
