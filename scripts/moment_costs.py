"""What long videos cost: memory, processor time, disk, decoding, what a kill loses. Parts of `benchmark_moments.py`.

* `memory`: peak of a process that indexes a video of 1280x720 at 25 fps with an OCR engine that takes 0.2 s a batch,
  over that for a video of one minute. All repeat a short piece, copied as packets.
* `cpu`: processor seconds per hour of video of all but OCR and decoding, of one video of three hours and of several of
  20 minutes. One thread and PyAV, so that decoding is in nobody else's time; opening a file and the scan of its packets
  are counted, the first file of a process is not.
* `disk`: bytes per hour at width 512, of cards with one to eight texts and, with `--data`, of real clips one after the
  other, again and again. Groups of columns are weighed by writing each alone.
* `decoding`: full-size video at the times at which the captioner samples, on one core, per reader: PyAV a long file,
  decord short ones of as many frames as it is given.
* `kills`: an hour, indexed in one go and again, killed (SIGKILL) at random moments and resumed each time.
"""

import argparse
import inspect
import json
import os
import pickle
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from types import FunctionType
from unittest import mock

import numpy as np
from moment_videos import Collection, Texts, arrange, read_clips

from tcd_hf.processing.video_decoders import LOOK_AHEAD_BYTES
from tcd_hf.processing.video_reading import Video
from tcd_hf.reading.segments import DEFAULT_SEGMENT_SECONDS, cut_into_segments

PARTS = ("memory", "cpu", "disk", "decoding", "kills")
BATCH_SECONDS = 0.2  # of the slow engine
OPENING = ("__init__", "_open", "_scan", "_packets")  # of a decoder: no decoding
FPS = 25
BITS_PER_PIXEL = 0.11
SHORT_FILES = 20  # that decord decodes


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options that make the parts smaller."""
    parser.add_argument("--size", type=_size, default=(1280, 720), metavar="WxH", help="of memory and decoding, pixels")
    parser.add_argument("--piece", type=float, default=20, help="seconds of the piece that their videos repeat")
    parser.add_argument(
        "--memory-minutes", type=float, nargs="+", default=[1, 10, 180], help="lengths of the videos of memory"
    )
    parser.add_argument("--decoding-minutes", type=float, default=10, help="minutes of the video that is decoded")
    parser.add_argument("--cpu-videos", type=int, default=3, help="shorter videos whose processor time is compared")
    parser.add_argument("--cpu-minutes", type=float, default=20, help="their minutes")
    parser.add_argument("--hour", type=float, default=60, help="minutes of the video of disk and kills")
    parser.add_argument("--width", type=int, default=512, help="of the model of disk")
    parser.add_argument("--kills", type=int, default=5, help="how often to kill the indexing process")


def measure(part: str, args: argparse.Namespace, folder: Path) -> dict:
    """The numbers of one part."""
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "memory": measure_memory,
        "cpu": measure_cpu,
        "disk": measure_disk,
        "decoding": measure_decoding,
        "kills": measure_kills,
    }[part](args, folder)


# videos -------------------------------------------------------------------------------------------------------------
def cards_of(minutes: float, seed: int) -> Collection:
    """One video of cards with one to eight texts each."""
    cards, _ = arrange(minutes, [], Texts(seed).filler, random.Random(seed))
    return Collection([cards], [])


def write_scene(path: Path, size: tuple[int, int], seconds: float) -> None:
    """A video with a moving camera, grain and moving text, H.264 (libx264, veryfast), 25 fps, 2.5 Mbit/s at 720p."""
    import av
    from PIL import Image, ImageDraw, ImageFont

    width, height = size
    rng = np.random.default_rng(0)
    scene = sum(  # detail of all sizes
        np.asarray(
            Image.fromarray(rng.integers(0, 256, (9 * scale, 32 * scale, 3), np.uint8)).resize(
                (2 * width, height), Image.Resampling.BICUBIC
            ),
            np.float32,
        )
        / (2 * scale**0.5)
        for scale in (1, 4, 16, 64)
    )
    scene = (scene * (235 / scene.max())).astype(np.int16)
    grain = [rng.normal(0, 4, (height, width, 1)).astype(np.int16) for _ in range(8)]
    font = ImageFont.load_default(max(8, height // 12))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast"})
        stream.bit_rate = round(BITS_PER_PIXEL * FPS * width * height)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(round(FPS * seconds)):
            left = abs((2 * number) % (2 * width) - width)  # to and fro
            pixels = (scene[:, left : left + width] + grain[number % len(grain)]).clip(0, 255).astype(np.uint8)
            image = Image.fromarray(pixels)
            draw = ImageDraw.Draw(image)
            for line in range(4):
                place = ((number * (line + 1)) % width, height * (line + 0.5) / 4)
                draw.text(place, f"Line {line} of {number // (2 * FPS)}", "white", font)
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode())


def repeat_video(piece: Path, path: Path, times: int) -> None:
    """A video that shows another several times over, by copying its packets: nothing is encoded."""
    import av

    with av.open(str(path), "w") as target:
        stream = None
        length = 0
        for number in range(times):
            with av.open(str(piece)) as source:
                origin = source.streams.video[0]
                stream = stream or target.add_stream_from_template(origin)
                length = length or round(origin.frames / origin.average_rate / origin.time_base)
                for packet in source.demux(origin):
                    if packet.dts is None:
                        continue  # the empty one at the end
                    packet.pts, packet.dts = packet.pts + number * length, packet.dts + number * length
                    packet.stream = stream
                    target.mux(packet)


# memory -------------------------------------------------------------------------------------------------------------
class SlowReader:
    """An OCR engine that takes its time and always reads the same."""

    def __init__(self, seconds: float):
        self.seconds = seconds

    def __call__(self, images: list[np.ndarray]) -> list[list[tuple]]:
        time.sleep(self.seconds)
        return [[("Always the same", 0.9, (0.1, 0.1, 0.5, 0.2))] for _ in images]


def measure_memory(args: argparse.Namespace, folder: Path) -> dict:
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


def child_memory(args: argparse.Namespace, path: str, folder: str) -> dict:
    index = make_index(args, Path(folder), SlowReader(BATCH_SECONDS))
    start = time.perf_counter()
    report = index.add([path], workers=0, on_video=lambda path: None)
    return {
        "peak_gb": peak_memory() / 1e9,
        "seconds": round(time.perf_counter() - start, 1),
        "skipped": [video.cause for video in report.skipped],
    }


def peak_memory() -> int:
    """Bytes that this process has held at most."""
    try:  # not ru_maxrss, which on Linux begins with what the parent held
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# processor time -----------------------------------------------------------------------------------------------------
def measure_cpu(args: argparse.Namespace, folder: Path) -> dict:
    result = {}
    groups = {"shorter": [args.cpu_minutes] * args.cpu_videos, "long": [args.long]}
    for name, lengths in groups.items():
        cards = [cards_of(minutes, args.seed + number).videos[0] for number, minutes in enumerate([1, *lengths])]
        collection = Collection(cards, [])
        paths = collection.write(folder / name)
        (folder / f"{name}.pickle").write_bytes(pickle.dumps(collection.reader()))
        options = {"paths": list(map(str, paths)), "reader": str(folder / f"{name}.pickle")}
        run = ask_child("cpu", args, folder=str(folder / f"index {name}"), **options)
        hours = sum(lengths) / 60
        result[name] = {
            "minutes": lengths,
            **{kind: seconds / hours for kind, seconds in run.items()},
        }
    result["ratio"] = result["long"]["rest"] / result["shorter"]["rest"]
    return result


def child_cpu(args: argparse.Namespace, folder: str, paths: list[str], reader: str) -> dict:
    import torch

    torch.set_num_threads(1)
    engine = pickle.loads(Path(reader).read_bytes())
    index = make_index(args, Path(folder), engine)
    index.processor.video_backend = "pyav"
    index.add(paths[:1], workers=0, on_video=lambda path: None)
    with measured_decoding(type(engine)) as meter:
        start = time.process_time()
        index.add(paths[1:], workers=0, on_video=lambda path: None)
        total = time.process_time() - start
    return {"rest": total - meter.seconds, "ocr_and_decoding": meter.seconds}


class CpuMeter:
    """Adds up the processor seconds of this process inside certain functions."""

    def __init__(self):
        self.seconds = 0.0
        self._depth = 0

    def counted(self, function: Callable) -> Callable:
        """The function, its time counted; of a generator, that of each step."""

        def call(*args, **kwargs):
            with self:
                result = function(*args, **kwargs)
            return self._steps(result) if inspect.isgeneratorfunction(function) else result

        return call

    def _steps(self, generator: Iterator) -> Iterator:
        while True:
            with self:
                item = next(generator, self)
            if item is self:
                return
            yield item

    def __enter__(self):
        if self._depth == 0:
            self._start = time.process_time()
        self._depth += 1

    def __exit__(self, *exc_info):
        self._depth -= 1
        if self._depth == 0:
            self.seconds += time.process_time() - self._start


@contextmanager
def measured_decoding(engine_class: type) -> Iterator[CpuMeter]:
    """Counts the engine and what decoders do once they are open."""
    from tcd_hf.processing import video_decoders

    meter = CpuMeter()
    places = [(engine_class, "__call__")]
    for owner in (video_decoders.PyAVDecoder, video_decoders.DecordDecoder):
        names = [name for name, value in vars(owner).items() if isinstance(value, FunctionType)]
        places += [(owner, name) for name in names if name not in OPENING]
    with ExitStack() as patches:
        for owner, name in places:
            patches.enter_context(mock.patch.object(owner, name, meter.counted(getattr(owner, name))))
        yield meter


# disk ---------------------------------------------------------------------------------------------------------------
def measure_disk(args: argparse.Namespace, folder: Path) -> list[dict]:
    collections = {"cards": cards_of(args.hour, args.seed)}
    if args.data:
        clips, rng = list(read_clips(args.data, args.readings, args.model).values()), random.Random(args.seed)
        cards, _ = arrange(args.hour, [], lambda: rng.choice(clips), rng)
        collections["real clips, one after the other"] = Collection([cards], [])
    return [{"shown": name, **weigh_index(collection, args, folder / name)} for name, collection in collections.items()]


def weigh_index(collection: Collection, args: argparse.Namespace, folder: Path) -> dict:
    """What an index of one video of cards weighs, and how much text it shows."""
    (path,) = collection.write(folder / "videos")
    index = make_index(args, folder, collection.reader(), make=lambda: wide_model(args))
    index.add([path], workers=0, on_video=lambda path: None)
    index.compact()
    pictures = [card.readings[picture] for card in collection.videos[0] for picture in card.ticks]
    shown = sum(len(text) for readings in pictures for text, *_ in readings)
    hours = collection.seconds / 3600
    shares = weigh(index, folder / "columns")
    total = index.stats().bytes_on_disk
    return {
        "minutes": args.hour,
        "width": args.width,
        "rows": index._storage.videos.count_rows(),
        "characters_on_screen": shown / len(pictures),
        "megabytes_per_hour": total / 1e6 / hours,
        "shares_megabytes_per_hour": {name: size / 1e6 / hours for name, size in shares.items()},
    }


def weigh(index, folder: Path) -> dict[str, int]:
    """Bytes of groups of columns, each written alone; of the full-text index and the terms' statistics as they are."""
    import lancedb

    from tcd_hf.index.schema import COARSE_COLUMN, FEATURES_COLUMN

    rows = index._storage.videos.to_arrow()
    groups = {"features": [FEATURES_COLUMN, COARSE_COLUMN], "captions": ["captions"]}
    groups["terms"] = [name for name in ("texts", "terms", "term_counts", "term_text") if name in rows.column_names]
    named = {name for names in groups.values() for name in names}
    groups["other columns"] = [name for name in rows.column_names if name not in named]
    database = lancedb.connect(folder)
    sizes = {}
    for number, (name, columns) in enumerate(groups.items()):
        database.create_table(f"group{number}", rows.select(columns).replace_schema_metadata(None))
        sizes[name] = _bytes(folder / f"group{number}.lance" / "data")
    videos = Path(index.uri) / "videos.lance"
    sizes["full-text index"] = _bytes(videos / "_indices")
    sizes["statistics of terms"] = _bytes(Path(index.uri) / "lexical_statistics.lance")
    return sizes


def wide_model(args: argparse.Namespace):
    """An untrained model of the width, with tiny towers, and the package's own processor."""
    import torch
    from transformers import CLIPConfig

    from tcd_hf import TCDConfig, TCDModel
    from tcd_hf.loading import load_processor

    processor = load_processor(args.model)
    tower = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1}
    tokenizer = processor.tokenizer
    text = {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    black = np.zeros((processor.num_frames, 32, 32, 3), np.uint8)
    video = processor.process_frames(black, [""] * processor.num_frames, return_tensors="np")
    side = video["pixel_values_videos"].shape[-1]
    vision = {**tower, "image_size": side, "patch_size": side // 2}
    backbone = CLIPConfig(text_config={**tower, **text}, vision_config=vision, projection_dim=args.width)
    torch.manual_seed(0)
    return TCDModel(TCDConfig(backbone_config=backbone, num_frames=processor.num_frames)).eval(), processor


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


# decoding -----------------------------------------------------------------------------------------------------------
def measure_decoding(args: argparse.Namespace, folder: Path) -> dict:
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


def child_decoding(args: argparse.Namespace, path: str, times: int, reader: str) -> dict:
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
    """At which a video's segments are read, in seconds."""
    from tcd_hf.processing.window_ocr import WindowOCRCaptioner

    sample = WindowOCRCaptioner(engine=None).sample_times
    segments = cut_into_segments(video.duration, video.frame_times, DEFAULT_SEGMENT_SECONDS)
    return [segment.start + moment for segment in segments for moment in sample(segment.duration)]


# kills --------------------------------------------------------------------------------------------------------------
class CountingReader:
    """An OCR engine that notes each frame it reads in a file, which outlives a kill, and takes its time."""

    def __init__(self, reader, file: Path, seconds: float):
        self.reader, self.file, self.seconds = reader, file, seconds

    def __call__(self, images: list[np.ndarray]) -> list[list[tuple]]:
        with self.file.open("ab", buffering=0) as file:
            file.write(b"." * len(images))
        time.sleep(self.seconds * len(images))
        return self.reader(images)


def measure_kills(args: argparse.Namespace, folder: Path) -> dict:
    from benchmark_index import compare_tables

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


def child_kills(args: argparse.Namespace, folder: str, path: str, reader: str) -> dict:
    calls = Path(folder) / "calls"
    calls.parent.mkdir(parents=True, exist_ok=True)
    calls.touch()
    before = calls.stat().st_size
    engine = CountingReader(pickle.loads(Path(reader).read_bytes()), calls, seconds=0.01)
    index = make_index(args, Path(folder), engine, exist_ok=True)

    def on_progress(progress) -> None:
        print("progress", progress.seconds, calls.stat().st_size - before, flush=True)

    print("ready", flush=True)
    index.add([path], workers=0, on_video=lambda path: None, on_progress=on_progress)
    return {}


# children -----------------------------------------------------------------------------------------------------------
def make_index(args: argparse.Namespace, folder: Path, engine, exist_ok: bool = False, make=None):
    """An index in a folder with a cache of its own."""
    from tcd_hf import VideoIndex, load

    model, processor = make() if make else load(args.model, device="auto")
    processor.ocr_engine, processor.ocr_options = engine, None
    return VideoIndex.create(folder / "index", model, processor, exist_ok=exist_ok, cache_dir=folder / "cache")


@contextmanager
def start_child(task: str, args: argparse.Namespace, **options) -> Iterator[subprocess.Popen]:
    """A process of this script that does a task; it is given one thread where time is counted."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"} if task in ("cpu", "decoding") else None
    request = json.dumps({"task": task, "model": args.model, "options": options})
    command = [sys.executable, __file__, request]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def ask_child(task: str, args: argparse.Namespace, **options) -> dict:
    """What a task answers."""
    with start_child(task, args, **options) as child:
        output = child.stdout.read()
        if child.wait():
            raise RuntimeError(f"The part {task!r} failed with status {child.returncode}.")
    return json.loads(output.splitlines()[-1])


def run_child(request: str) -> None:
    """What the started process does."""
    request = json.loads(request)
    tasks = {"memory": child_memory, "cpu": child_cpu, "decoding": child_decoding, "kills": child_kills}
    result = tasks[request["task"]](argparse.Namespace(model=request["model"]), **request["options"])
    print(json.dumps(result), flush=True)


# tables -------------------------------------------------------------------------------------------------------------
def to_markdown(part: str, result: dict) -> str:
    """The table of one part."""
    return "\n".join(
        {
            "memory": memory_table,
            "cpu": cpu_table,
            "disk": disk_table,
            "decoding": decoding_table,
            "kills": kills_table,
        }[part](result)
    )


def memory_table(result: dict) -> list[str]:
    lines = [
        f"Peak memory of indexing, {_pixels(result)} at {FPS} fps, OCR of {result['seconds_a_batch']} s a batch. "
        "Required: at most + 0.5 GB.",
        "",
        "| video | file | peak | over the first | time |",
        "|---|---|---|---|---|",
    ]
    for run in result["runs"]:
        lines.append(
            f"| {run['minutes']:g} min | {run['megabytes_of_file']} MB | {run['peak_gb']:.2f} GB | "
            f"{run['over_first']:+.2f} GB | {run['seconds']} s |"
        )
    return lines


def cpu_table(result: dict) -> list[str]:
    lines = [
        "Processor seconds per hour of video, one thread. Required of the long video: at most 1.1 times the others'.",
        "",
        "| videos | all but OCR and decoding | OCR and decoding |",
        "|---|---|---|",
    ]
    for name in ("shorter", "long"):
        run = result[name]
        videos = f"{len(run['minutes'])} of {run['minutes'][0]:g} min"
        lines.append(f"| {videos} | {run['rest']:.1f} | {run['ocr_and_decoding']:.1f} |")
    return [*lines, f"| ratio | {result['ratio']:.2f} | |"]


def disk_table(results: list[dict]) -> list[str]:
    first = results[0]
    lines = [
        f"Disk per hour of video at width {first['width']}, MB, of a video of {first['minutes']:g} min. Required: at "
        "most 8.5.",
        "",
        "| shown | characters on screen | rows | "
        + " | ".join(first["shares_megabytes_per_hour"])
        + " | whole index |",
        "|---" * (len(first["shares_megabytes_per_hour"]) + 4) + "|",
    ]
    for result in results:
        shares = " | ".join(f"{size:.2f}" for size in result["shares_megabytes_per_hour"].values())
        lines.append(
            f"| {result['shown']} | {result['characters_on_screen']:.0f} | {result['rows']} | {shares} | "
            f"{result['megabytes_per_hour']:.2f} |"
        )
    return lines


def decoding_table(result: dict) -> list[str]:
    lines = [
        f"Decoding {result['minutes']:g} min of {_pixels(result)} at {FPS} fps, H.264 of "
        f"{result['megabits_per_second']} Mbit/s (moving camera, grain and text), at the captioner's times on one "
        "core. Required: 10 times real time.",
        "",
        "| reader | files | frames wanted | s | CPU s | times real time | peak memory |",
        "|---|---|---|---|---|---|---|",
    ]
    for reader, run in result["readers"].items():
        lines.append(
            f"| {reader} | {run['files']} | {run['frames_wanted']} | {run['seconds']:.1f} | {run['cpu_seconds']:.1f} | "
            f"{run['times_real_time']:.1f} | {run['peak_gb']:.2f} GB |"
        )
    return lines


def kills_table(result: dict) -> list[str]:
    moments = ", ".join(f"{run['moment']:g} s" for run in result["runs"])
    comparison = result["comparison"]
    within = result["calls_of_all_runs"] <= result["calls_allowed"]
    return [
        f"A video of {result['minutes']:g} min in {result['segments']} segments, killed {result['kills']} times (at "
        f"{moments}) and resumed each time. Tables are {'equal' if comparison['equal'] else 'NOT EQUAL'}.",
        "",
        "| frames read | |",
        "|---|---|",
        f"| uninterrupted | {result['calls_uninterrupted']} |",
        f"| allowed: a segment ({result['calls_of_a_segment']}) more a kill | {result['calls_allowed']} |",
        f"| all runs | {result['calls_of_all_runs']}, {'holds' if within else 'FAILS'} |",
    ]


def _pixels(result: dict) -> str:
    return "x".join(map(str, result["size"]))


def _size(text: str) -> tuple[int, int]:
    width, height = text.split("x")
    return int(width), int(height)


if __name__ == "__main__":
    import moment_costs  # by its name: an index knows an engine by its class, whose name is then the same everywhere

    moment_costs.run_child(sys.argv[1])
