"""Is scoring, or processing, slower than in another checkout? Both are timed in turn, in one run.

    python -m scripts.benchmarks.checkouts CHECKOUT

Scoring: the method as written, 8 texts and 50 videos; the factorised scorer and the text-gated interaction block, 64
texts and 1,000 videos; all of random features, width 512, 12 frames. Processing: 64 queries; 12 frames of 320x240 with
their captions; a file of 32 s (128x72, two frames a second), decoded, sampled and read by an OCR engine that costs
nothing.

A process of each checkout has all parts ready; they take turns, and the fastest turn of each counts. Times are the
processor's, on one thread, which other work on the machine changes less. Prints Markdown.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from scripts.benchmarks.machine import describe_machine, in_words, table
from scripts.benchmarks.processes import ROOT
from scripts.benchmarks.videos.cards import Card, write_cards

PARTS = {
    "reference": "score: TCD as written",
    "factorized": "score: TCD factorised",
    "tib": "score: text-gated interaction block",
    "text": "process: a batch of queries",
    "frames": "process: frames and captions",
    "file": "process: a file",
}
RUN = "import runpy, sys; runpy.run_path(sys.argv.pop(1), run_name='__main__')"  # whose folder is not to be imported


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("before", type=Path, metavar="CHECKOUT", help="root of the checkout to compare with")
    parser.add_argument("--turns", type=int, default=20, help="of each part in each checkout")
    args = parser.parse_args(argv)
    if not (args.before / "tcd_hf" / "__init__.py").is_file():
        parser.error(f"{args.before} is no checkout: there is no {args.before / 'tcd_hf'}")
    machine = describe_machine()
    with tempfile.TemporaryDirectory() as temporary:
        video = Path(temporary, "clip.mp4")
        write_cards(video, [Card.still([f"gate {number}"]) for number in range(4)])
        seconds = time_in_turn([args.before.resolve(), ROOT], video, args.turns)
    rows = [["ms of the processor", "before", "after", "after / before"]]
    for part, title in PARTS.items():
        before, after = (min(times) for times in seconds[part])
        rows.append([title, f"{1000 * before:.1f}", f"{1000 * after:.1f}", f"{after / before:.2f}"])
    print(f"{in_words(machine)}; the fastest of {args.turns} turns.\n\n{table(rows, align='lrrr')}")
    return 0


def time_in_turn(roots: list[Path], video: Path, turns: int) -> dict[str, list[list[float]]]:
    """Seconds of each turn of each part, by checkouts."""
    children = [start(root, video) for root in roots]
    try:
        for child, root in zip(children, roots, strict=True):
            if child.stdout.readline() != "ready\n":
                raise SystemExit(f"The checkout {root} cannot run the parts (status {child.wait()}).")
        seconds = {part: [[turn(child, part) for child in children] for _ in range(turns)] for part in PARTS}
        return {part: [list(each) for each in zip(*rounds, strict=True)] for part, rounds in seconds.items()}
    finally:
        for child in children:
            child.kill()
            child.wait()


def start(root: Path, video: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", RUN, str(Path(__file__).with_name("timed_parts.py")), str(video)]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen(command, env=environment, cwd=os.path.sep, text=True, **pipes)


def turn(child: subprocess.Popen, part: str) -> float:
    """Seconds that a process takes for a part."""
    child.stdin.write(f"{part}\n")
    child.stdin.flush()
    return float(child.stdout.readline())


if __name__ == "__main__":
    raise SystemExit(main())
