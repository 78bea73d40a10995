"""Reads clips into an index by one way of reading, and says what was read and what it cost: what `__main__.py` starts.

A file of its own, run by the package of any checkout: it takes only what older ones have too. The one argument is JSON:
`{"folder": of the index, "reading": {attribute of the processor: value}}`. Each line of standard input is a clip, and
is answered by a line of JSON; `{"queries": [[text, clip], ...]}` is answered by the rank of each query's clip.

Seconds are those of the processor, whatever else the machine does. A part has those of its own thread; what threads of
a decoder do beside it is "decode" too. The networks run on one thread.
"""

import importlib
import json
import os
import resource
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tcd_hf import VideoIndex, load_mini
from tcd_hf.processing import window_ocr
from tcd_hf.processing.video_reading import open_video

NETWORKS = (("onnxruntime", "InferenceSession", "run"), ("openvino", "InferRequest", "infer"))


class Parts:
    """Processor seconds of this thread by part, each belonging to the innermost; and what the networks were given."""

    def __init__(self):
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.counts: Counter[str] = Counter()
        self._part, self._since = "other", time.thread_time()

    def switch(self, part: str) -> str:
        """Begins a part; returns the one before."""
        before, now = self._part, time.thread_time()
        self.seconds[before] += now - self._since
        self._part, self._since = part, now
        return before

    def timed(self, part: str, function: Callable) -> Callable:
        """A function whose time is that of a part."""

        def call(*args, **kwargs):
            before = self.switch(part)
            try:
                return function(*args, **kwargs)
            finally:
                self.switch(before)

        return call

    def timed_items(self, part: str, items) -> Iterator:
        """An iterator whose time is that of a part."""
        items = iter(items)
        done = object()
        while (item := self.timed(part, next)(items, done)) is not done:
            yield item

    def timed_network(self, run: Callable) -> Callable:
        """A network's call: it detects where what comes out is a picture, and recognises else."""

        def call(*args, **kwargs):
            before = self.switch("networks")
            outputs = run(*args, **kwargs)
            shape = np.shape(next(iter(outputs.values())) if hasattr(outputs, "values") else outputs[0])
            self._part = "detect" if len(shape) == 4 else "recognise"
            self.counts["looks" if len(shape) == 4 else "boxes"] += shape[0]
            self.switch(before)
            return outputs

        return call


def install(parts: Parts) -> None:
    """Puts clocks where the parts begin and end."""
    split, captioner = window_ocr.split_into_stretches, window_ocr.WindowOCRCaptioner

    def stretches(frames, *args, **kwargs):
        for stretch in parts.timed_items("look", split(parts.timed_items("decode", frames), *args, **kwargs)):
            parts.counts["frames"] += 1
            yield stretch

    window_ocr.split_into_stretches = stretches
    captioner._read = parts.timed("around the networks", captioner._read)
    captioner._captions = parts.timed("merge", captioner._captions)
    for module, owner, name in NETWORKS:
        try:
            place = getattr(importlib.import_module(module), owner)
        except ImportError:
            continue
        setattr(place, name, parts.timed_network(getattr(place, name)))


def main() -> None:
    request = json.loads(sys.argv[-1])
    parts = Parts()
    install(parts)
    model, processor = load_mini()
    for name, value in request["reading"].items():
        setattr(processor, name, value)
    folder = Path(request["folder"])
    index = VideoIndex.create(folder / "index", model, processor, cache_dir=folder / "cache")
    window_ocr.get_engine(processor.ocr_engine, **processor.ocr_options)([np.zeros((64, 64, 3), np.uint8)])
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        answer = ranks(index, asked["queries"]) if isinstance(asked, dict) else read_clip(index, asked, parts)
        print(json.dumps(answer, ensure_ascii=False), flush=True)


def read_clip(index: VideoIndex, path: str, parts: Parts) -> dict:
    """Adds a clip to the index."""
    with open_video(path) as video:
        duration = video.duration
    parts.switch("other")
    parts.seconds.clear()
    parts.counts.clear()
    begin = time.process_time()
    index.add([path], workers=0)
    total = time.process_time() - begin
    parts.switch("other")
    seconds = dict(parts.seconds)
    seconds["decode"] = seconds.get("decode", 0.0) + total - sum(seconds.values())
    captions = index.captions[index.paths.index(os.path.abspath(path))]
    return {
        "seconds_of_video": duration,
        "seconds": seconds,
        "counts": dict(parts.counts),
        "captions": [caption.text for caption in captions],
        "tracks": sum(len(caption.tracks) for caption in captions),
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def ranks(index: VideoIndex, queries: list) -> list[int]:
    """Of each query's clip, from 1 on."""
    columns = {path: column for column, path in enumerate(index.paths)}
    scores = index.score([text for text, _ in queries]).score
    wanted = np.array([columns[os.path.abspath(path)] for _, path in queries])
    return (1 + (scores > np.take_along_axis(scores, wanted[:, None], 1)).sum(axis=1)).tolist()


if __name__ == "__main__":
    main()
