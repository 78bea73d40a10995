"""Memory of reading a dense screen recording for hours: every frame shows other lines, of all lengths.

    python -m scripts.benchmarks.ocr.memory [--runtime openvino] [--reads 4000] [--cpu-seconds 600]

An hour has about 4,000 frames to read. Rendered frames, 1280x720, with 20 to 45 lines in 11 to 28 pixels each, are read
one after the other by one reader a segment of 30, as a video's are, until there were so many or the time is over.
Prints a Markdown table: resident memory of the process after so many reads. One thread.
"""

import argparse
import random
import time

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from scripts.benchmarks.machine import READERS, describe_machine, in_words, table
from tcd_hf.processing.frame_skipping import Stretch
from tcd_hf.processing.ocr_engines import RapidOCREngine
from tcd_hf.processing.ocr_runtimes import RUNTIMES

SIZE = 1280, 720
SEGMENT = 30  # frames read of one segment
EVERY = 20  # frames read, after which memory is looked at
LETTERS = "etaoinshrdlucmfwypvbgkETAOINSHRDLU0123456789"


def dense_frame(rng: random.Random) -> np.ndarray:
    """A screen full of lines of made-up words, `(720, 1280, 3)` RGB uint8."""
    dark = rng.random() < 0.5
    image = Image.new("RGB", SIZE, "#1e1e1e" if dark else "white")
    draw = ImageDraw.Draw(image)
    top = 4
    while top < SIZE[1] - 30:
        height = rng.randint(11, 28)
        words = ["".join(rng.choices(LETTERS, k=rng.randint(1, 12))) for _ in range(rng.randint(1, 24))]
        place = (rng.choice((8, 40, 80, 300)), top)
        draw.text(place, " ".join(words), fill="#d0d0d0" if dark else "#202020", font=ImageFont.load_default(height))
        top += round(height * 1.4)
    return np.asarray(image)


def resident_megabytes() -> float:
    """What the process holds in memory now."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096 / 1e6


def main(argv: list[str] | None = None) -> int:
    """Runs the benchmark; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", choices=list(RUNTIMES), default="onnxruntime", help="(default: %(default)s)")
    parser.add_argument("--reads", type=int, default=4000, help="frames to read, at most (default: %(default)s)")
    parser.add_argument("--cpu-seconds", type=float, default=600, help="processor's, at most (default: %(default)s)")
    args = parser.parse_args(argv)
    rng = random.Random(0)
    engine = RapidOCREngine(num_threads=1, runtime=args.runtime)
    rows = [["frames read", "boxes", "CPU s", "resident MB"]]
    boxes, shown = 0, 1
    start = time.process_time()
    for number in range(args.reads):
        if number % SEGMENT == 0:
            reader = engine.video_reader(0.0)
        frame = dense_frame(rng)
        (readings,) = reader([Stretch(float(number), frame, [float(number)], after_cut=number % SEGMENT == 0)])
        boxes += len(readings)
        spent = time.process_time() - start
        last = spent > args.cpu_seconds or number + 1 == args.reads
        if number + 1 == shown or last:
            rows.append([str(number + 1), f"{boxes:,}", f"{spent:.0f}", f"{resident_megabytes():.0f}"])
            print(*rows[-1], flush=True)
            shown = shown + EVERY if shown > 1 else EVERY
        if last:
            break
    print(f"\n{in_words(describe_machine(*READERS))}. {args.runtime}.\n\n{table(rows)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
