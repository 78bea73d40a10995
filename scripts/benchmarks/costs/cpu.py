"""Processor seconds of indexing all but OCR and decoding, of a long video and of shorter ones."""

import argparse
import inspect
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FunctionType
from unittest import mock

from scripts.benchmarks.costs.children import ask_child, make_index
from scripts.benchmarks.machine import table
from scripts.benchmarks.videos.collection import Collection, cards_of

OPENING = ("__init__", "_open", "_take_times")  # of a decoder: no decoding


def measure(args: argparse.Namespace, folder: Path) -> dict:
    """Indexes a long video and shorter ones, each group in a process of its own."""
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


def child(args: argparse.Namespace, folder: str, paths: list[str], reader: str) -> dict:
    """Indexes videos, the first one without counting it: processor seconds of OCR and decoding, and of the rest."""
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


def to_markdown(result: dict) -> str:
    """What `measure` gives, as Markdown."""
    rows = [["videos", "all but OCR and decoding", "OCR and decoding"]]
    for name in ("shorter", "long"):
        run = result[name]
        videos = f"{len(run['minutes'])} of {run['minutes'][0]:g} min"
        rows.append([videos, f"{run['rest']:.1f}", f"{run['ocr_and_decoding']:.1f}"])
    rows.append(["ratio", f"{result['ratio']:.2f}", ""])
    about = (
        "Processor seconds per hour of video, one thread. Required of the long video: at most 1.1 times the others'."
    )
    return f"{about}\n\n{table(rows)}"
