"""How fast full-size video is decoded at the times at which the captioner samples."""

import argparse
import os
import time
from pathlib import Path

from scripts.benchmarks.costs.children import ask_child, peak_memory
from scripts.benchmarks.machine import table
from scripts.benchmarks.videos.scenes import FPS, repeat_video, write_scene
from tcd_hf.processing.video_decoders import LOOK_AHEAD_BYTES
from tcd_hf.processing.video_reading import Video
from tcd_hf.reading.segments import DEFAULT_SEGMENT_SECONDS, cut_into_segments

SHORT_FILES = 20  # that decord decodes


def measure(args: argparse.Namespace, folder: Path) -> dict:
    """Decodes a long file by PyAV and short ones by decord, each in a process of its own."""
    piece, path = folder / "piece.mp4", folder / "long.mp4"
    write_scene(piece, args.size, args.piece)
    repeat_video(piece, path, max(1, round(60 * args.decoding_minutes / args.piece)))
    short = folder / "short.mp4"
    write_scene(short, args.size, min(args.piece, 0.9 * LOOK_AHEAD_BYTES / (3 * FPS * args.size[0] * args.size[1])))
    asked = {"pyav": {"path": str(path), "times": 1}, "decord": {"path": str(short), "times": SHORT_FILES}}
    return {
        "minutes": args.decoding_minutes,
        "size": list(args.size),
        "megabits_per_second": round(path.stat().st_size * 8e-6 / (60 * args.decoding_minutes), 2),
        "readers": {reader: ask_child("decoding", args, reader=reader, **given) for reader, given in asked.items()},
    }


def child(args: argparse.Namespace, path: str, times: int, reader: str) -> dict:
    """Decodes a file so many times on one core."""
    from tcd_hf.processing.video_reading import open_video

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    count = length = 0
    start, cpu = time.perf_counter(), time.process_time()
    for _ in range(times):
        with open_video(path, backend=reader, num_threads=1) as video:
            if video.backend != reader:
                raise RuntimeError(f"{path} was read by {video.backend}, not by {reader}.")
            count += sum(1 for _ in video.iter_frames_at(sampled_times(video), max_side=1280))
            length += video.duration
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return {
        "files": f"{times} of {length / times:.0f} s",
        "frames_wanted": count,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "times_real_time": length / seconds,
        "times_real_time_by_cpu": length / cpu,
        "peak_gb": peak_memory() / 1e9,
    }


def sampled_times(video: Video) -> list[float]:
    """Times at which a video's segments are read, in seconds."""
    from tcd_hf.processing.window_ocr import WindowOCRCaptioner

    sample = WindowOCRCaptioner(engine=None).sample_times
    segments = cut_into_segments(video.duration, video.frame_times, DEFAULT_SEGMENT_SECONDS)
    return [segment.start + moment for segment in segments for moment in sample(segment.duration)]


def to_markdown(result: dict) -> str:
    """What `measure` gives, as Markdown."""
    rows = [["reader", "files", "frames wanted", "s", "CPU s", "times real time", "peak memory"]]
    for reader, run in result["readers"].items():
        times = (f"{run[name]:.1f}" for name in ("seconds", "cpu_seconds", "times_real_time"))
        rows.append([reader, run["files"], run["frames_wanted"], *times, f"{run['peak_gb']:.2f} GB"])
    size = "x".join(map(str, result["size"]))
    about = (
        f"Decoding {result['minutes']:g} min of {size} at {FPS} fps, H.264 of {result['megabits_per_second']} Mbit/s "
        "(moving camera, grain and text), at the captioner's times on one core. Required: 10 times real time."
    )
    return f"{about}\n\n{table(rows)}"
