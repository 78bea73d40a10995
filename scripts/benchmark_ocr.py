"""How much of the text in real clips does the captioner find, and what does it cost?

    python scripts/benchmark_ocr.py --data FOLDER [--json result.json]

FOLDER holds `annotations.json`, a list of `{"video": path, "visible_text": [str, ...]}`, and the clips. Each sampled
frame is read once and timed; what the captioner skips is then counted out, so that "captioner" and "every sampled
frame" share one run, one sampling and one engine.

A string counts as found where, without case, punctuation and spaces, it is part of the caption of one window.
"""

import argparse
import hashlib
import json
import sys
import time
import unicodedata
from pathlib import Path

import numpy as np

from tcd_hf.processing.ocr_engines import get_engine
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


def squeeze(text: str) -> str:
    """Letters and digits only, case folded."""
    return "".join(character for character in unicodedata.normalize("NFKC", text).casefold() if character.isalnum())


def is_found(text: str, captions: list) -> bool:
    return any(squeeze(text) in squeeze(caption.text) for caption in captions)


def measure(folder: Path, options: dict, timed: TimedEngine, skip_reference: bool = False) -> dict:
    """Reads all annotated clips by the captioner and, unless skipped, by reading every sampled frame."""
    intervals = {} if skip_reference else {"every sampled frame": {**options, "reading_interval": None}}
    totals = {name: {"found": 0, "seconds": 0.0, "frames": 0} for name in [*intervals, "captioner"]}
    strings, duration, missed = 0, 0.0, []
    for clip in json.loads((folder / "annotations.json").read_text(encoding="utf-8")):
        with open_video(folder / clip["video"]) as video:
            duration += video.duration
            strings += len(clip["visible_text"])
            for name, settings in [*intervals.items(), ("captioner", options)]:
                timed.seconds, timed.frames = 0.0, 0
                captions = WindowOCRCaptioner(timed, **settings)(video)
                found = [text for text in clip["visible_text"] if is_found(text, captions)]
                totals[name]["found"] += len(found)
                totals[name]["seconds"] += timed.seconds
                totals[name]["frames"] += timed.frames
        missed += [[clip["video"], text] for text in clip["visible_text"] if text not in found]
        print(f"{clip['video']}: {len(found)} of {len(clip['visible_text'])} found", file=sys.stderr)
    result = {"video_seconds": duration, "strings": strings, "missed": missed}
    for name, total in totals.items():
        result[name] = {
            "found": total["found"] / strings,
            "ocr_seconds_per_video_second": total["seconds"] / duration,
            "frames_per_video_second": total["frames"] / duration,
        }
    return result


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
    parser.add_argument("--skip-reference", action="store_true", help="do not read every sampled frame")
    args = parser.parse_args(argv)
    if not (args.data / "annotations.json").is_file():
        print(f"Skipped: there is no {args.data / 'annotations.json'} on this machine.")
        return 0
    engine_options = {"limit_side_len": args.limit_side_len, "enlarge": not args.no_enlarge}
    timed = TimedEngine(get_engine("rapidocr", **engine_options), args.readings)
    result = measure(args.data, {"ocr_fps": args.ocr_fps}, timed, args.skip_reference)
    for name in ("captioner", "every sampled frame"):
        if name in result:
            row = result[name]
            print(
                f"{name}: {row['found']:.3f} of {result['strings']} strings found, "
                f"{row['ocr_seconds_per_video_second']:.3f} s of OCR and {row['frames_per_video_second']:.2f} frames "
                "per second of video"
            )
    if args.json:
        args.json.write_text(json.dumps(result, indent=1, ensure_ascii=False), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
