"""What is read again where indexing an hour is killed and resumed."""

import argparse
import pickle
import random
import subprocess
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from scripts.benchmarks.costs.children import make_index, start_child
from scripts.benchmarks.index import compare_tables
from scripts.benchmarks.machine import table, verdict
from scripts.benchmarks.videos.collection import cards_of


class CountingReader:
    """An OCR engine that notes each frame it reads in a file, which outlives a kill, and takes its time."""

    def __init__(self, reader, file: Path, seconds: float):
        self.reader, self.file, self.seconds = reader, file, seconds

    def __call__(self, images: list[np.ndarray]) -> list[list[tuple]]:
        with self.file.open("ab", buffering=0) as file:
            file.write(b"." * len(images))
        time.sleep(self.seconds * len(images))
        return self.reader(images)


def measure(args: argparse.Namespace, folder: Path) -> dict:
    """Indexes a video in one go and, into another index, killed and resumed; compares the two."""
    collection = cards_of(args.hour, args.seed).moving()
    (path,) = collection.write(folder / "videos")
    reader = folder / "reader.pickle"
    reader.write_bytes(pickle.dumps(collection.reader()))
    options = {"path": str(path), "reader": str(reader)}

    start = time.perf_counter()
    with start_child("kills", args, folder=str(folder / "whole"), **options) as child:
        progress = list(read_progress(child))
    seconds = time.perf_counter() - start
    whole = (folder / "whole" / "calls").stat().st_size
    counts = [0, *(count for _, count in progress)]
    most = max(b - a for a, b in pairwise(counts))

    generator, runs = random.Random(args.seed), []
    for moment in sorted(generator.uniform(0, 60 * args.hour) for _ in range(args.kills)):
        with start_child("kills", args, folder=str(folder / "killed"), **options) as child:
            done = 0.0
            for done, _ in read_progress(child):
                if done >= moment - 60 * args.hour / len(progress):  # the next segment holds the moment
                    break
            time.sleep(generator.random() * seconds / len(progress))
            child.kill()
            runs.append({"moment": round(moment, 1), "done": done, "killed": child.wait() < 0})
    with start_child("kills", args, folder=str(folder / "killed"), **options) as child:
        list(read_progress(child))
    calls = (folder / "killed" / "calls").stat().st_size
    kills = sum(run["killed"] for run in runs)
    return {
        "minutes": args.hour,
        "segments": len(progress),
        "kills": kills,
        "runs": runs,
        "calls_uninterrupted": whole,
        "calls_of_a_segment": most,
        "calls_of_all_runs": calls,
        "calls_allowed": whole + kills * most,
        "comparison": compare_tables(folder / "whole" / "index", folder / "killed" / "index"),
    }


def read_progress(child: subprocess.Popen) -> Iterator[tuple[float, int]]:
    """Seconds of video that are done and frames read so far in this run, after each segment."""
    for line in child.stdout:
        if line.startswith("progress "):
            _, seconds, count = line.split()
            yield float(seconds), int(count)
    if child.wait():
        raise RuntimeError(f"Indexing failed with status {child.returncode}.")


def child(args: argparse.Namespace, folder: str, path: str, reader: str) -> dict:
    """Indexes a video, or goes on with it, and tells of its progress."""
    calls = Path(folder) / "calls"
    calls.parent.mkdir(parents=True, exist_ok=True)
    calls.touch()
    before = calls.stat().st_size
    engine = CountingReader(pickle.loads(Path(reader).read_bytes()), calls, seconds=0.01)
    index = make_index(args, Path(folder), engine, exist_ok=True, feature_type="float16")  # to be compared

    def on_progress(progress) -> None:
        print("progress", progress.seconds, calls.stat().st_size - before, flush=True)

    print("ready", flush=True)
    index.add([path], workers=0, on_video=lambda path: None, on_progress=on_progress)
    return {}


def to_markdown(result: dict) -> str:
    """What `measure` gives, as Markdown."""
    moments = ", ".join(f"{run['moment']:g} s" for run in result["runs"])
    within = result["calls_of_all_runs"] <= result["calls_allowed"]
    rows = [
        ["frames read", ""],
        ["uninterrupted", result["calls_uninterrupted"]],
        [f"allowed: a segment ({result['calls_of_a_segment']}) more a kill", result["calls_allowed"]],
        ["all runs", f"{result['calls_of_all_runs']}, {verdict(within)}"],
    ]
    about = (
        f"A video of {result['minutes']:g} min in {result['segments']} segments, killed {result['kills']} times (at "
        f"{moments}) and resumed each time. Tables are {'equal' if result['comparison']['equal'] else 'NOT EQUAL'}."
    )
    return f"{about}\n\n{table(rows)}"
