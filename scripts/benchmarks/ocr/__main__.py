"""Reads annotated real clips in several ways that take turns: what is found, and what it costs.

    python -m scripts.benchmarks.ocr --data FOLDER [--before CHECKOUT] [--presets balanced fast] [--json ocr.json]

FOLDER holds `clips/` and `annotations.json`, a list of `{"video": path, "has_text": bool, "visible_text": [str, ...],
"captions": [3]}`, of which captions 1 and 2 name the text. Each way is a process of its own that adds the clips to an
index, one after the other, all ways the same clip in turn; OCR runs on one thread, and seconds are the processor's.

A string counts as found where, without case, punctuation and spaces, it is part of the caption of one window: also
inside a longer string, "2" in "2019". With `--all-clips` the clips that are not annotated are read too, so that search
has the whole gallery. With `--whole`, `tcd-hf index` reads the annotated clips once more, by every checkout in turn and
with all cores.

Prints Markdown tables. Without the folder it says so and ends with status 0.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

from scripts.benchmarks.machine import READERS, describe_machine, in_words, table
from scripts.benchmarks.processes import ROOT
from scripts.benchmarks.startup import COMMAND, STEP, Checkout, run
from tcd_hf.processing.text_tracks import spelling

PARTS = ("decode", "look", "detect", "recognise", "around the networks", "merge", "other")
PRESETS = ("fast", "balanced", "thorough")
BEFORE = "before"


class Contender:
    """A way of reading, in a process of its own."""

    def __init__(self, checkout: Checkout, reading: dict):
        request = {"folder": str(checkout.index), "reading": reading}
        command = [sys.executable, "-c", STEP, str(Path(__file__).with_name("contender.py")), json.dumps(request)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, env=checkout.environment, cwd="/", **pipes)

    def __enter__(self):
        self._line()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def ask(self, question):
        """The answer to a clip's path, or to queries."""
        print(json.dumps(question), file=self.process.stdin, flush=True)
        return json.loads(self._line())

    def _line(self) -> str:
        if line := self.process.stdout.readline():
            return line
        raise SystemExit(f"A way of reading has ended with status {self.process.wait()}; its errors are above.")


def main(argv: list[str] | None = None) -> int:
    """Runs the benchmark; returns the exit status."""
    args = _parse(argv)
    if not (args.data / "annotations.json").is_file():
        print(f"Skipped: there is no {args.data / 'annotations.json'} on this machine.")
        return 0
    clips = [clip for clip in json.loads((args.data / "annotations.json").read_text("utf-8")) if args.wanted(clip)]
    report = {"machine": describe_machine(*READERS, "openvino")}
    with tempfile.TemporaryDirectory() as folder:
        report["ways"] = compare(args, clips, Path(folder))
        if args.whole:
            report["whole"] = measure_whole(args, clips, Path(folder))
    print(to_markdown(report))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


def compare(args: argparse.Namespace, clips: list[dict], folder: Path) -> dict[str, dict]:
    """What every way reads in the clips and what that costs, and how its search ranks them."""
    ways = {name: (ROOT, {"ocr_preset": name, "ocr_options": {"num_threads": 1}}) for name in args.presets}
    for runtime in args.runtimes:
        options = {"num_threads": 1, "runtime": runtime}
        ways[f"balanced, {runtime}"] = (ROOT, {"ocr_preset": "balanced", "ocr_options": options})
    if args.before:
        ways = {BEFORE: (args.before, {"ocr_options": {"num_threads": 1}}), **ways}
    paths = {clip["video"]: str((args.data / clip["video"]).resolve()) for clip in clips}
    others = sorted({str(path.resolve()) for path in (args.data / "clips").glob("*.mp4")} - set(paths.values()))
    queries = [[text, paths[clip["video"]]] for clip in clips if clip["has_text"] for text in clip["captions"][:2]]
    sums = {name: Sums() for name in ways}
    with ExitStack() as stack:
        contenders = {
            name: stack.enter_context(Contender(Checkout(root, folder / str(number)), reading))
            for number, (name, (root, reading)) in enumerate(ways.items())
        }
        for clip in clips:
            for name, contender in contenders.items():
                sums[name].add(clip, contender.ask(paths[clip["video"]]))
            found = ", ".join(f"{name} {len(each.found)}" for name, each in sums.items())
            print(f"{clip['video']}: strings found so far: {found}", file=sys.stderr)
        for path in others if args.all_clips else ():
            for contender in contenders.values():
                contender.ask(path)
        ranks = {name: contender.ask({"queries": queries}) for name, contender in contenders.items() if queries}
    return {name: {**each.to_dict(), "ranks": ranks.get(name, [])} for name, each in sums.items()}


class Sums:
    """What one way has read so far."""

    def __init__(self):
        self.strings: list[list[str]] = []
        self.found: list[list[str]] = []
        self.found_folded: list[list[str]] = []
        self.seconds, self.counts = Counter(), Counter()
        self.without_text = Counter()
        self.peak_megabytes = 0.0

    def add(self, clip: dict, answer: dict) -> None:
        """Adds what was read in an annotated clip."""
        strings = [[clip["video"], text] for text in clip["visible_text"]]
        self.strings += strings
        self.found += [each for each in strings if is_found(each[1], answer["captions"])]
        folded = [fold_accents(caption) for caption in answer["captions"]]
        self.found_folded += [each for each in strings if is_found(fold_accents(each[1]), folded)]
        self.seconds.update(answer["seconds"], video=answer["seconds_of_video"])
        self.counts.update(answer["counts"], tracks=answer["tracks"])
        self.peak_megabytes = answer["peak_megabytes"]
        if not clip["has_text"]:
            seconds = captioner_seconds(answer["seconds"])
            words = len(" ".join(answer["captions"]).split())
            self.without_text.update(seconds=seconds, video=answer["seconds_of_video"], words=words)

    def to_dict(self) -> dict:
        """The sums as JSON types."""
        return {
            "strings": len(self.strings),
            "found": len(self.found),
            "found_without_accents": len(self.found_folded),
            "missed": [each for each in self.strings if each not in self.found],
            "seconds": dict(self.seconds),
            "counts": dict(self.counts),
            "clips_without_text": dict(self.without_text),
            "peak_megabytes": round(self.peak_megabytes),
        }


def measure_whole(args: argparse.Namespace, clips: list[dict], folder: Path) -> dict[str, list[float]]:
    """Seconds that `tcd-hf index` takes for the clips, in two rounds; the checkouts take turns."""
    trees = {BEFORE: args.before, "after": ROOT} if args.before else {"after": ROOT}
    paths = [str((args.data / clip["video"]).resolve()) for clip in clips]
    times: dict[str, list[float]] = {name: [] for name in trees}
    for number in range(2):
        for name, root in trees.items():
            place = folder / f"whole-{name}-{number}"
            begin = time.perf_counter()
            run(
                [*COMMAND, "index", *paths, "--index", f"{place}.index", "--cache-dir", f"{place}.cache"],
                Checkout(root, place),
            )
            times[name].append(time.perf_counter() - begin)
    return times


def is_found(text: str, captions: Iterable[str]) -> bool:
    """Whether one caption holds the text, letters and digits compared, case folded and in Unicode's NFKC."""
    wanted = spelling(unicodedata.normalize("NFKC", text))
    return any(wanted in spelling(unicodedata.normalize("NFKC", caption)) for caption in captions)


def fold_accents(text: str) -> str:
    """The text without accents."""
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(character for character in decomposed if not unicodedata.combining(character))


# report --------------------------------------------------------------------------------------------------------------
def to_markdown(report: Mapping) -> str:
    """The report as Markdown: what is found, what it costs by part, and the whole of `tcd-hf index`."""
    ways = report["ways"]
    first = next(iter(ways.values()))
    head = ["read by", "strings found", "without accents", "words where there is no text", "R@1", "R@10"]
    rows = [[*head, f"CPU of the captioner, times {next(iter(ways))}", "the same where there is no text", "peak MB"]]
    for name, way in ways.items():
        ranks, nothing = way["ranks"], way["clips_without_text"]
        rows.append(
            [
                name,
                f"{way['found']} of {way['strings']}",
                way["found_without_accents"],
                nothing.get("words", 0),
                *(f"{sum(rank <= k for rank in ranks) / max(1, len(ranks)):.3f}" for k in (1, 10)),
                f"{cpu(way) / cpu(first):.3f}",
                f"{nothing['seconds'] / first['clips_without_text']['seconds']:.3f}" if nothing else "",
                way["peak_megabytes"],
            ]
        )
    costs = [["CPU s per s of video", *PARTS, "captioner", "frames", "looks", "boxes", "tracks"]]
    for name, way in ways.items():
        video, counts = way["seconds"]["video"], way["counts"]
        seconds = [*(way["seconds"].get(part, 0.0) for part in PARTS), cpu(way)]
        numbers = [counts.get(count, 0) / video for count in ("frames", "looks", "boxes", "tracks")]
        costs.append([name, *(f"{each / video:.3f}" for each in seconds), *(f"{each:.2f}" for each in numbers)])
    blocks = [
        f"{in_words(report['machine'])}. {first['seconds']['video']:.0f} s of annotated video; one thread.",
        table(rows, align="l" + "r" * 8),
        table(costs, align="l" + "r" * (len(PARTS) + 5)),
    ]
    for name, times in report.get("whole", {}).items():
        speeds = ", ".join(f"{first['seconds']['video'] / seconds:.2f}" for seconds in times)
        blocks.append(f"`tcd-hf index` of the same clips, {name}: {speeds} s of video per second.")
    return "\n\n".join(blocks)


def cpu(way: Mapping) -> float:
    """Processor seconds of the captioner in all clips."""
    return captioner_seconds(way["seconds"])


def captioner_seconds(seconds: Mapping) -> float:
    """The sum of all parts but "other", which is the model's and the index's."""
    return sum(seconds.get(part, 0.0) for part in PARTS if part != "other")


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with annotations.json and clips/")
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="root of another checkout, to compare with")
    parser.add_argument("--presets", nargs="*", choices=PRESETS, default=list(PRESETS), help="(default: all)")
    parser.add_argument("--runtimes", nargs="*", default=[], help="read by the balanced preset on these runtimes too")
    parser.add_argument("--only", metavar="A-B", default="", help="annotated clips from v002 to v042, say: 2-42")
    parser.add_argument("--all-clips", action="store_true", help="search among all clips of the folder")
    parser.add_argument("--whole", action="store_true", help="time `tcd-hf index` too")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    args = parser.parse_args(argv)
    if args.before and not (args.before / "tcd_hf" / "__init__.py").is_file():
        parser.error(f"{args.before} is no checkout: there is no {args.before / 'tcd_hf'}")
    args.before = args.before and args.before.resolve()
    first, _, last = args.only.partition("-")
    if args.only and not (first.isdigit() and last.isdigit()):
        parser.error(f"--only takes two numbers, such as 2-42, got {args.only!r}")
    numbers = range(int(first), int(last) + 1) if args.only else None
    args.wanted = lambda clip: numbers is None or int(Path(clip["video"]).stem[1:]) in numbers
    return args


if __name__ == "__main__":
    raise SystemExit(main())
