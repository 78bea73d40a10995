"""Indexes damaged files among whole ones, and tells what became of each: added, named, lost or doubled.

    python -m scripts.benchmarks.survival --seed 0 --count 270

The files are those of `scripts.damaged_media`. First the whole ones are indexed alone, then all together, in an order
of chance, each time by `VideoIndex.add` with its default settings in a process of its own, by an OCR engine that costs
next to nothing. What is required:

- the process ends with status 0, and each file is added or named with a cause, once;
- the whole ones are added, with the rows that they have alone;
- no file takes more than 60 s of processor time, counted from one file that is done to the next, so that each is
  charged with what others cost that are read at the same time;
- no process that reads takes more than 1 GB beyond what whole files take.

Prints Markdown; the exit status is 1 if something of that does not hold. Measures by psutil and, for the peak of
memory, by Linux's `/proc`: elsewhere it is left out.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil  # comes with accelerate

from scripts.benchmarks.machine import describe_machine, in_words, table, verdict
from scripts.benchmarks.processes import start_module
from scripts.benchmarks.videos.cards import CardReader, lines
from scripts.damaged_media import damaged_files, render_clips

MAX_CPU_SECONDS = 60.0
MAX_BYTES = 10**9  # beyond what whole files take
WATCH_SECONDS = 0.05
COLUMNS = ["id", "path", "segment", "duration", "caption_text"]


def main(argv: list[str] | None = None) -> int:
    """Runs the benchmark; returns the exit status."""
    args = _parse(argv)
    if args.child:
        return run_child(args)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        report = {"machine": describe_machine("av", "decord2"), **survive(folder, args.seed, args.count, args.workers)}
    print(to_markdown(report))
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0 if all(report["holds"].values()) else 1


def survive(folder: Path, seed: int, count: int, workers: int | None) -> dict[str, Any]:
    """Writes the files, indexes them and compares."""
    clips = render_clips()
    kinds = dict.fromkeys(clips, "whole")
    for name, content in clips.items():
        write(folder / "whole" / name, content)
    for file in damaged_files(clips, seed, count):
        write(folder / "damaged" / file.name, file.content)
        kinds[file.name] = file.kind
    alone = measure(folder, ["whole"], seed, workers)
    together = measure(folder, ["whole", "damaged"], seed, workers)
    tally = {kind: Counter() for kind in dict.fromkeys(kinds.values())}
    added, named = (Counter(Path(path).name for path in together[group]) for group in ("added", "skipped"))
    for name, kind in kinds.items():
        times = added[name] + named[name]
        tally[kind].update(tried=1, added=added[name] > 0, named=named[name] > 0, lost=times == 0, doubled=times > 1)
    rows = {row["id"]: row for row in together["rows"]}
    peak, base = together["peak_bytes"], alone["peak_bytes"]
    holds = {
        "status 0": together["status"] == alone["status"] == 0,
        "none lost": not any(counts["lost"] for counts in tally.values()),
        "none doubled": not any(counts["doubled"] for counts in tally.values()) and len(rows) == len(together["rows"]),
        "rows of what is added, and of nothing else": {row["path"] for row in rows.values()} == set(together["added"]),
        "whole files as alone": bool(alone["rows"]) and all(rows.get(row["id"]) == row for row in alone["rows"]),
        f"{MAX_CPU_SECONDS:g} s of CPU": max(together["cpu_seconds"].values(), default=0.0) <= MAX_CPU_SECONDS,
    }
    if peak is not None:
        holds["1 GB of memory"] = peak - base <= MAX_BYTES
    keys = ("status", "seconds", "cpu_seconds", "peak_bytes", "skipped")
    measured = {name: {key: run[key] for key in keys} for name, run in (("alone", alone), ("together", together))}
    return {"seed": seed, "workers": workers, "tally": tally, "holds": holds, **measured}


def write(path: Path, content: bytes) -> None:
    """Writes a file, in a folder that is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


# measuring ------------------------------------------------------------------------------------------------------------
def measure(folder: Path, parts: Sequence[str], seed: int, workers: int | None) -> dict[str, Any]:
    """Indexes the files of some folders in a process of its own; what became of them, and what it cost."""
    paths = sorted(path for part in parts for path in (folder / part).iterdir())
    random.Random(seed).shuffle(paths)
    out = folder / f"{'-'.join(parts)}.run"
    write(out / "paths.json", json.dumps(list(map(str, paths))).encode())
    options = [] if workers is None else ["--workers", workers]
    begin, cpu_seconds, ended = time.monotonic(), {}, Event()
    with start_module("scripts.benchmarks.survival", "--child", out, *options) as child:
        watched = Watched(child.pid)
        thread = Thread(target=watched.watch, args=(ended,), daemon=True)
        thread.start()
        before = None
        for line in child.stdout or ():
            spent = watched.cpu_seconds
            if before is not None and line != "ready\n":
                cpu_seconds[line.strip()] = round(spent - before, 2)
            before = spent
        status = child.wait()
        ended.set()
        thread.join()
    done = out / "report.json"
    report = json.loads(done.read_text(encoding="utf-8")) if done.exists() else {"added": [], "skipped": {}}
    return {
        "status": status,
        "seconds": round(time.monotonic() - begin, 1),
        "cpu_seconds": cpu_seconds,
        "peak_bytes": watched.peak_bytes,
        **report,
        "rows": read_rows(out / "index"),
    }


class Watched:
    """A process and those it starts: what they have cost so far.

    Attributes:
        cpu_seconds (`float`): of all together, those that have ended included.
        peak_bytes (`int`, *optional*): most memory that one of those it started, or if it started none itself, has
            taken; `None` where the system does not tell.
    """

    def __init__(self, pid: int):
        self.process = psutil.Process(pid)
        self.cpu_seconds = 0.0
        self._peaks: dict[int, int] = {}

    def watch(self, ended: Event) -> None:
        """Looks again and again, until it is over."""
        while not ended.wait(WATCH_SECONDS):
            try:
                self._look()
            except (psutil.Error, OSError):  # one has ended meanwhile
                continue

    def _look(self) -> None:
        own = self.process.cpu_times()
        seconds = own.user + own.system + own.children_user + own.children_system
        for process in (started := self.process.children(recursive=True)):
            times = process.cpu_times()
            seconds += times.user + times.system
        self.cpu_seconds = max(self.cpu_seconds, seconds)
        for process in (self.process, *started):
            peak = peak_bytes(process.pid)
            if peak is not None:  # the last one counts: until a process runs its own program, it has its parent's
                self._peaks[process.pid] = peak

    @property
    def peak_bytes(self) -> int | None:
        started = [peak for pid, peak in self._peaks.items() if pid != self.process.pid]
        return max(started or self._peaks.values(), default=None)


def peak_bytes(pid: int) -> int | None:
    """The most memory that a process has taken, `None` where Linux is not there to tell."""
    try:
        lines_ = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines_ if line.startswith("VmHWM:")), None)


def read_rows(folder: Path) -> list[dict]:
    """What an index says of its videos, none where there is no index."""
    from tcd_hf import IndexMismatchError, VideoIndex

    try:
        return VideoIndex.open(folder).read(COLUMNS).to_pylist()
    except IndexMismatchError:
        return []


def run_child(args: argparse.Namespace) -> int:
    """What the started process does."""
    from tcd_hf import VideoIndex, load_mini

    model, processor = load_mini()
    processor.ocr_engine, processor.ocr_options = make_engine(), None
    index = VideoIndex.create(args.child / "index", model, processor, cache_dir=args.child / "cache")
    paths = json.loads((args.child / "paths.json").read_text(encoding="utf-8"))
    print("ready", flush=True)
    report = index.add(paths, workers=args.workers, on_video=lambda path: print(path, flush=True))
    skipped = {video.path: video.cause for video in report.skipped}
    about = {"added": report.added, "skipped": skipped}
    (args.child / "report.json").write_text(json.dumps(about), encoding="utf-8")
    return 0


def make_engine() -> CardReader:
    """Reads a text on each picture of the whole clips, and none elsewhere."""
    from scripts.damaged_media.clips import CLIPS, PICTURES

    return CardReader(
        {
            card: [lines([f"platform {card}", f"train {picture}"]) for picture in range(PICTURES)]
            for card in range(len(CLIPS))
        }
    )


# report ---------------------------------------------------------------------------------------------------------------
def to_markdown(report: Mapping) -> str:
    """The report as Markdown."""
    groups = ("tried", "added", "named", "lost", "doubled")
    totals: Counter = sum(report["tally"].values(), Counter())
    rows = [["kind", *groups]]
    rows += [[kind, *(counts[group] for group in groups)] for kind, counts in report["tally"].items()]
    rows += [["**all**", *(totals[group] for group in groups)]]
    alone, together = report["alone"], report["together"]
    slowest = max(together["cpu_seconds"].items(), key=lambda item: item[1], default=("none", 0.0))
    cost = f"{together['seconds']:.0f} s; most CPU: {slowest[1]:.1f} s ({Path(slowest[0]).name})"
    if together["peak_bytes"]:
        peaks = [round(run["peak_bytes"] / 10**6) for run in (together, alone)]
        cost += f"; peak of a process that reads: {peaks[0]} MB, of whole files alone {peaks[1]} MB"
    verdicts = ", ".join(f"{name}: {verdict(holds)}" for name, holds in report["holds"].items())
    return f"{in_words(report['machine'])}.\n\n{table(rows, align='lrrrrr')}\n\n{cost}.\n\n{verdicts}."


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the damage, and of the order (default: 0)")
    parser.add_argument("--count", type=int, default=270, help="damaged files (default: 270)")
    parser.add_argument("--workers", type=int, help="processes that read (default: as of `VideoIndex.add`)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="write files and indexes here, and leave them")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.count < 1:
        parser.error(f"--count must be at least 1, got {args.count}")
    if args.workers is not None and args.workers < 0:
        parser.error(f"--workers must be at least 0, got {args.workers}")
    return args


if __name__ == "__main__":
    sys.exit(main())
