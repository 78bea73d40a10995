"""How much of the text in real clips does the captioner find, and what does it cost?

    python -m scripts.benchmarks.ocr --data FOLDER [--json result.json]

FOLDER holds `annotations.json`, a list of `{"video": path, "visible_text": [str, ...]}`, and the clips. Each sampled
frame is read once and timed; what the captioner skips is then counted out, so that "captioner" and "every sampled
frame" share one run, one sampling and one engine.

A string counts as found where, without case, punctuation and spaces, it is part of the caption of one window: also
inside a longer string, "2" in "2019". Seconds of OCR are those the engine takes; decoding, reducing frames and choosing
which to read are not in them.
"""

import argparse
import hashlib
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scripts.benchmarks.machine import READERS, describe_machine, in_words, table
from tcd_hf.processing.ocr_engines import get_engine, normalize_text
from tcd_hf.processing.text_tracks import spelling
from tcd_hf.processing.video_reading import open_video
from tcd_hf.processing.window_ocr import WindowOCRCaptioner


class TimedEngine:
    """Reads each frame once, remembers how long that took, and adds up the seconds of the frames it was asked for.

    Args:
        engine (`RapidOCREngine`): the engine that is timed.
        store (`Path`, *optional*): readings and their seconds are kept in this file, so that a run that stopped goes
            on where it was. It belongs to one machine and one engine.
    """

    def __init__(self, engine, store: Path | None = None):
        self.engine, self.store = engine, store
        self.known: dict[str, tuple[list, float]] = {}
        self.seconds, self.frames = 0.0, 0
        engine([np.zeros((64, 64, 3), np.uint8)])  # loading the weights is not what is measured
        if store is not None and store.exists():
            for line in store.read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                self.known[row["frame"]] = (row["readings"], row["seconds"])

    def __reduce__(self):
        return TimedEngine, (self.engine, self.store)  # what it has read so far makes no other engine of it

    def __call__(self, images: list[np.ndarray]) -> list:
        return [self._read(image) for image in images]

    def _read(self, image: np.ndarray) -> list:
        settings = f"{image.shape} {sorted(vars(self.engine).items())}"
        frame = hashlib.blake2b(image.tobytes() + settings.encode(), digest_size=20).hexdigest()
        if frame not in self.known:
            start = time.perf_counter()
            readings = [(reading.text, reading.confidence, reading.box) for reading in self.engine([image])[0]]
            self.known[frame] = (readings, time.perf_counter() - start)
            if self.store is not None:
                row = {"frame": frame, "readings": readings, "seconds": self.known[frame][1]}
                with self.store.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
        readings, seconds = self.known[frame]
        self.seconds += seconds
        self.frames += 1
        return readings


def is_found(text: str, captions: list) -> bool:
    """Whether one caption holds the text, letters and digits compared, case folded."""
    return any(spelling(normalize_text(text)) in spelling(normalize_text(caption.text)) for caption in captions)


def measure(folder: Path, options: dict, timed: TimedEngine, reference_every: int = 1) -> dict:
    """Reads all annotated clips by the captioner, each `reference_every`-th (0: none) by every sampled frame too."""
    reference = {**options, "reading_interval": None}
    rows = {name: Row() for name in ("captioner", "captioner, compared clips", "every sampled frame, compared clips")}
    missed = []
    for number, clip in enumerate(json.loads((folder / "annotations.json").read_text(encoding="utf-8"))):
        compared = reference_every and number % reference_every == 0
        with open_video(folder / clip["video"]) as video:
            if compared:
                rows["every sampled frame, compared clips"].add(
                    clip, timed, WindowOCRCaptioner(timed, **reference), video
                )
                rows["captioner, compared clips"].add(clip, timed, WindowOCRCaptioner(timed, **options), video)
            found = rows["captioner"].add(clip, timed, WindowOCRCaptioner(timed, **options), video)
        missed += [[clip["video"], text] for text in clip["visible_text"] if text not in found]
        print(f"{clip['video']}: {len(found)} of {len(clip['visible_text'])} found", file=sys.stderr)
    return {"strings": rows["captioner"].strings, "missed": missed} | {
        name: row.to_dict() for name, row in rows.items() if row.video_seconds
    }


@dataclass
class Row:
    """Sums over clips."""

    clips: int = 0
    strings: int = 0
    found: int = 0
    frames: int = 0
    ocr_seconds: float = 0.0
    video_seconds: float = 0.0

    def add(self, clip: dict, timed: TimedEngine, captioner: WindowOCRCaptioner, video) -> list[str]:
        """Adds a clip; returns the strings found in it."""
        timed.seconds, timed.frames = 0.0, 0
        captions = captioner(video)
        found = [text for text in clip["visible_text"] if is_found(text, captions)]
        self.clips += 1
        self.strings += len(clip["visible_text"])
        self.found += len(found)
        self.frames += timed.frames
        self.ocr_seconds += timed.seconds
        self.video_seconds += video.duration
        return found

    def to_dict(self) -> dict:
        return {
            "clips": self.clips,
            "strings": self.strings,
            "found": self.found / max(1, self.strings),
            "ocr_seconds_per_video_second": self.ocr_seconds / self.video_seconds,
            "frames_per_video_second": self.frames / self.video_seconds,
        }


def add_reference_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--reference-every",
        type=int,
        default=1,
        metavar="K",
        help="read every sampled frame of each K-th annotated clip, to compare costs; 0 for none",
    )


def to_markdown(result: dict) -> str:
    """The rows of `measure` as a Markdown table."""
    rows = [["read", "clips", "strings found", "s of OCR per s of video", "frames per s of video"]]
    for name, row in result.items():
        if name not in ("strings", "missed"):
            costs = f"{row['ocr_seconds_per_video_second']:.3f}", f"{row['frames_per_video_second']:.2f}"
            rows.append([name, row["clips"], f"{row['found']:.3f} of {row['strings']}", *costs])
    return table(rows)


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with annotations.json and clips")
    parser.add_argument("--json", type=Path, help="write the result to this file, missed strings included")
    parser.add_argument("--ocr-fps", type=float, default=2.0, help="frames sampled per second")
    parser.add_argument("--limit-side-len", type=int, default=1280, help="detector resolution, pixels")
    parser.add_argument("--no-enlarge", action="store_true", help="read small frames as they are")
    parser.add_argument("--readings", type=Path, help="keep readings here, to go on with after a stop")
    add_reference_option(parser)
    args = parser.parse_args(argv)
    if not (args.data / "annotations.json").is_file():
        print(f"Skipped: there is no {args.data / 'annotations.json'} on this machine.")
        return 0
    engine_options = {"limit_side_len": args.limit_side_len, "enlarge": not args.no_enlarge}
    timed = TimedEngine(get_engine("rapidocr", **engine_options), args.readings)
    result = measure(args.data, {"ocr_fps": args.ocr_fps}, timed, args.reference_every)
    print(f"{in_words(describe_machine(*READERS))}\n\n{to_markdown(result)}")
    if args.json:
        args.json.write_text(json.dumps(result, indent=1, ensure_ascii=False), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
