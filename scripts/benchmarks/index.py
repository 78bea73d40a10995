"""Measures indexing on a folder of clips: files per second, where the time goes, and what a kill costs.

    python -m scripts.benchmarks.index --data FOLDER --json index.json

1. All clips in one process, step by step: where the time goes.
2. All clips by `VideoIndex.add` with `--workers` processes, in a process of its own.
3. The same again into another index, without what the first one cached, killed (SIGKILL) at `--kills` random moments
   and started again each time. The final table must equal the uninterrupted one: rows, captions, features. A moment is
   drawn as a number of files that are done, and a part of the time that the next one takes.

With `--readings`, OCR readings come from a file, and cost the seconds they took when they were recorded: those are
added to the first measurement, and left out of the others, whose times are those of everything else.

Prints Markdown. Without the folder it says so and ends with status 0; with status 1 if the tables differ.
"""

import argparse
import json
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import numpy as np

from scripts.benchmarks.machine import READERS, Clock, describe_machine, in_words, table
from scripts.benchmarks.processes import start_module

MAX_DIFFERENCE = 1e-3  # of a feature: float16 rounds at 5e-4


def main(argv: list[str] | None = None) -> int:
    """Runs the benchmark; returns the exit status."""
    args = _parse(argv)
    if not args.data.is_dir():
        print(f"Skipped: there is no folder {args.data}. It is a local data set that is not distributed.")
        return 0
    if args.child:
        run_child(args)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        report = {
            "machine": describe_machine(*READERS),
            "workers": args.workers,
            "commit_every": args.commit_every,
            "recorded_readings": args.readings is not None,
            "steps": measure_steps(args, folder / "steps"),
            "uninterrupted": run_uninterrupted(args, folder / "whole"),
        }
        report["killed"] = run_killed(args, folder / "killed", report["uninterrupted"])
        report["comparison"] = compare_tables(folder / "whole" / "index", folder / "killed" / "index")
    print(to_markdown(report))
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0 if report["comparison"]["equal"] and report["killed"]["kills"] == args.kills else 1


def measure_steps(args: argparse.Namespace, folder: Path) -> dict:
    """Seconds of each step of the work on all clips, done one after the other in this process."""
    index, engine = make_index(args, folder)
    paths = find_clips(args.data)
    with measured_steps(engine) as clock:
        report = index.add(paths, workers=0)
        clock.switch("other")
    clock.seconds["OCR"] = engine.seconds  # instead of those of looking them up, where they were recorded
    total = sum(clock.seconds.values())
    return {
        "files": len(paths),
        "skipped": len(report.skipped),
        "seconds_of_video": round(index.stats().seconds_of_video, 1),
        "bytes_per_video": index.stats().bytes_on_disk // max(1, len(index)),
        "frames_read": engine.frames,
        "seconds": round(total, 2),
        "files_per_second": round(len(paths) / total, 4),
        "by_step": {name: round(clock.seconds[name], 2) for name in ("decode", "OCR", "encode", "write", "other")},
    }


@contextmanager
def measured_steps(engine) -> Iterator[Clock]:
    """Times the functions of the index that make up each step."""
    from tcd_hf.index import encoding
    from tcd_hf.index.storage import IndexStorage
    from tcd_hf.processing.processing_tcd import TCDProcessor
    from tcd_hf.reading import video_reader

    writing = ("append", "upsert", "maintain", "save_statistics", "update_errors")
    steps = {
        "decode": [(TCDProcessor, "read_video"), (video_reader, "open_video")],
        "OCR": [(type(engine), "recall")],
        "encode": [(TCDProcessor, "__call__"), (encoding, "compute_features")],
        "write": [(encoding, "rows_from"), *((IndexStorage, name) for name in writing)],
    }
    with ExitStack() as patches:
        clock = Clock()
        for step, places in steps.items():
            for owner, name in places:
                patches.enter_context(mock.patch.object(owner, name, clock.timed(step, getattr(owner, name))))
        yield clock


def run_uninterrupted(args: argparse.Namespace, folder: Path) -> dict:
    """Indexes everything in one go, in a process of its own."""
    files = len(find_clips(args.data))
    with start_child(args, folder) as child:
        start = time.perf_counter()
        wait_for(child, files)
        if child.wait():
            raise RuntimeError(f"Indexing failed with status {child.returncode}.")
        seconds = time.perf_counter() - start
    return {"seconds": round(seconds, 2), "files": files, "files_per_second": round(files / seconds, 4)}


def run_killed(args: argparse.Namespace, folder: Path, whole: dict) -> dict:
    """Indexes everything, killed at random moments of the work and resumed each time."""
    generator = random.Random(args.seed)
    runs = []
    for progress in sorted(generator.uniform(0, whole["files"] - 1) for _ in range(args.kills)):
        with start_child(args, folder) as child:
            wait_for(child, int(progress))
            time.sleep(progress % 1 * whole["seconds"] / whole["files"])
            child.kill()
            killed = child.wait() < 0
        runs.append({"files_done": round(progress, 2), "killed": killed, "committed": count_rows(folder / "index")})
    last = run_uninterrupted(args, folder)
    return {"kills": sum(run["killed"] for run in runs), "runs": runs, "seconds_of_last_run": last["seconds"]}


def wait_for(child: subprocess.Popen, num_files: int) -> None:
    """Waits until so many files are done, those that earlier runs had committed among them."""
    for _ in range(num_files):
        if not child.stdout.readline():
            raise RuntimeError(f"Indexing ended early (status {child.wait()}).")


@contextmanager
def start_child(args: argparse.Namespace, folder: Path):
    """A process of this script that indexes into `folder`; it is about to begin with the first video."""
    options = ["--child", folder, "--data", args.data, "--workers", args.workers, "--commit-every", args.commit_every]
    for option in ("model", "readings"):
        if value := getattr(args, option):
            options += [f"--{option}", value]
    child = start_module("scripts.benchmarks.index", *options)
    try:
        if child.stdout.readline() != "ready\n":
            raise RuntimeError(f"Indexing did not begin (status {child.wait()}).")
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def run_child(args: argparse.Namespace) -> None:
    """What the started process does."""
    from tcd_hf.index import ingest

    index, _ = make_index(args, args.child)
    paths = find_clips(args.data)
    ingest.ROWS_PER_COMMIT = args.commit_every
    print("ready", flush=True)
    index.add(paths, workers=args.workers, on_video=lambda path: print("done", flush=True))


def make_index(args: argparse.Namespace, folder: Path):
    """An index in a folder, or the one that is there, with a cache of its own; and its OCR engine."""
    from scripts.benchmarks.ocr.timed_engine import TimedEngine
    from tcd_hf import VideoIndex, load
    from tcd_hf.processing.ocr_engines import get_engine

    model, processor = load(args.model, device="auto")
    engine = TimedEngine(get_engine(processor.ocr_engine, **(processor.ocr_options or {})), args.readings)
    processor.ocr_engine, processor.ocr_options = engine, None
    options = {"exist_ok": True, "cache_dir": folder / "cache", "feature_type": "float16"}  # to be compared
    return VideoIndex.create(folder / "index", model, processor, **options), engine


def find_clips(data: Path) -> list[str]:
    from tcd_hf.reading.files import find_videos

    return find_videos([data])


def count_rows(folder: Path) -> int:
    """Segments in an index; 0 where a kill came before there was one."""
    from tcd_hf import IndexMismatchError, VideoIndex

    try:
        return VideoIndex.open(folder).stats().segments
    except IndexMismatchError:
        return 0


def compare_tables(expected: Path, found: Path) -> dict:
    """Whether two indexes, of features as float16, hold the same rows, captions and features."""
    from tcd_hf import VideoIndex
    from tcd_hf.index.caption_vectors import CAPTION_VECTORS_COLUMN
    from tcd_hf.index.schema import COARSE_COLUMN, FEATURES_COLUMN, table_schema

    tables = []
    for folder in (expected, found):
        index = VideoIndex.open(folder)
        # The time stamp of a file that had just been written when it was read is not kept, and a checksum, and vectors
        # in int8, change with the last bit of a feature.
        left_out = ("modified", "checksum", CAPTION_VECTORS_COLUMN)
        names = [name for name in table_schema(index.metadata).names if name not in left_out]
        tables.append(index.read(names).sort_by([("path", "ascending"), ("segment", "ascending")]))
    names = tables[0].column_names
    features = [COARSE_COLUMN, FEATURES_COLUMN]
    same_rows = tables[0]["id"].equals(tables[1]["id"])
    others = [
        name for name in names if name not in features and not (same_rows and tables[0][name].equals(tables[1][name]))
    ]
    difference = max(_difference(*(table[name] for table in tables)) for name in features) if same_rows else None
    return {
        "rows": [len(table) for table in tables],
        "doubled": len(tables[1]) - len(set(tables[1]["id"].to_pylist())),
        "columns": len(names),
        "columns_that_differ": others,
        "largest_difference_of_features": difference,
        "equal": same_rows and not others and difference <= MAX_DIFFERENCE,
    }


def _difference(expected, found) -> float:
    numbers = [np.asarray(column.combine_chunks().flatten(), np.float64) for column in (expected, found)]
    return float(np.abs(numbers[0] - numbers[1]).max(initial=0.0))


def to_markdown(report: dict) -> str:
    """The report as Markdown."""
    steps, whole = report["steps"], report["uninterrupted"]
    killed, comparison = report["killed"], report["comparison"]
    recorded = report["recorded_readings"]
    rows = [["step", "s", "s per file", "share"]]
    for name, seconds in steps["by_step"].items():
        rows.append([name, f"{seconds:.1f}", f"{seconds / steps['files']:.3f}", f"{seconds / steps['seconds']:.1%}"])
    moments = ", ".join(f"{run['files_done']} ({run['committed']})" for run in killed["runs"])
    difference = comparison["largest_difference_of_features"]
    blocks = [
        f"{in_words(report['machine'])}.",
        f"{steps['files']} clips ({steps['seconds_of_video']} s of video), {steps['skipped']} skipped, "
        f"{steps['bytes_per_video']} bytes per video. In one process: {steps['seconds']} s, "
        f"{steps['files_per_second']:.3f} files/s"
        + (
            f"; the seconds of OCR are those recorded with the readings of {steps['frames_read']} frames."
            if recorded
            else f", {steps['frames_read']} frames read."
        ),
        table(rows),
        f"With {report['workers']} worker processes{' and without the seconds of OCR' if recorded else ''}: "
        f"{whole['seconds']} s, {whole['files_per_second']:.2f} files/s.",
        f"Killed {killed['kills']} times when so many files were done (committed: {report['commit_every']} at a "
        f"time): {moments}; and resumed each time: {comparison['rows'][1]} rows of {comparison['rows'][0]}, "
        f"{comparison['doubled']} doubled; "
        + (
            f"columns that differ: {', '.join(comparison['columns_that_differ']) or 'none'}; largest difference of a "
            f"feature {difference:g}. "
            if difference is not None
            else "other videos. "
        )
        + f"Tables are {'equal' if comparison['equal'] else 'NOT EQUAL'}.",
    ]
    return "\n\n".join(blocks)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of video files, searched recursively")
    parser.add_argument("--model", default="tcd-mini", help="model folder or Hub id")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that read videos")
    parser.add_argument("--readings", type=Path, help="take readings from this file and keep new ones there")
    parser.add_argument("--kills", type=int, default=5, help="how often to kill the indexing process")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--commit-every", type=int, default=8, help="videos per commit in runs 2 and 3")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    for option, least in (("workers", 0), ("kills", 0), ("commit_every", 1)):
        if getattr(args, option) < least:
            parser.error(f"--{option.replace('_', '-')} must be at least {least}, got {getattr(args, option)}")
    return args


if __name__ == "__main__":
    raise SystemExit(main())
