"""Measures search for moments in long videos, beside SQLite FTS5 on the same readings, and what long videos cost.

    python -m scripts.benchmarks.moments --data FOLDER --readings readings.jsonl --json moments.json
    python -m scripts.benchmarks.moments --parts strings memory

Parts, each a table of its own (`--parts`; all by default):

* `sentences`: 20 videos of each of `--minutes`; each target, 8 s long, once among others, at a random second. With
  `--data` the targets show what its annotated clips show and the queries are theirs, else both are generated.
* `strings`: generated strings, searched for exactly as shown, half of them in 8 videos of an hour, half in 20 of a
  minute.
* `clips`: (with `--data`) the clips themselves among cards, as the real OCR engine read them, in 20 videos of each of
  `--minutes` from 20 on. They are read once (kept in `--readings`), and a card stands for each frame that was read: the
  index then sees videos, and its text comes from the real engine; the pictures themselves are not in them.
* `short`: texts that stand 3 s, each once in a video of three hours.
* `memory`, `cpu`, `disk`, `decoding`, `kills`: see `costs/`.

The first two are read without error, and again with slips (`--noise`, a level of `tcd_hf.data.ocr_noise`) that differ
from frame to frame.

FTS5: one row per text as it was read in one window, with the times at which it was seen; OR of the query's words; best
row by bm25, over words (unicode61, without accents) and over trigrams, of which the better one counts. Rows that hold
whole windows are shown besides. A moment is right where the shown time (FTS5: the middle of the row) lies within the
true text and 2 s around it, and the range is at most 15 s long.

Needs the extra `[train-mini]` (generated texts). Prints Markdown.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from scripts.benchmarks import costs
from scripts.benchmarks.machine import READERS, describe_machine, in_words, table
from scripts.benchmarks.sqlite_search import WAYS, Found, SQLiteSearch, rows_of_texts, rows_of_windows
from scripts.benchmarks.videos.collection import (
    Collection,
    Target,
    clip_collection,
    sentence_collection,
    short_text_collection,
    string_collection,
)
from scripts.benchmarks.videos.real_clips import read_clips

TOLERANCE, LONGEST_RANGE = 2.0, 15.0  # seconds
TOP_K = 10
SQL_IS_WEAK = 0.97  # R@1 below which being as good is not enough
OURS, SQL, SQL_WINDOWS = "this package", "FTS5, a row per text", "FTS5, a row per window"
SEARCH_PARTS = ("sentences", "strings", "clips", "short")
PARTS = (*SEARCH_PARTS, *costs.PARTS)


def main(argv: list[str] | None = None) -> int:
    """Runs the benchmark; returns the exit status."""
    args = _parse(argv)
    report = {
        "machine": describe_machine(*READERS),
        "options": {name: str(value) for name, value in vars(args).items()},
    }
    if args.folder is not None:
        args.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        for part in args.parts:
            start = time.perf_counter()
            measure = measure_search_part if part in SEARCH_PARTS else costs.measure
            report[part] = measure(part, args, Path(folder) / part)
            print(f"{part}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
            if args.json:  # after each part: a full run takes hours
                args.json.write_text(json.dumps(report, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    print(to_markdown(report))
    return 0


def measure_search_part(part: str, args: argparse.Namespace, folder: Path) -> list[dict]:
    """Searches in each collection of a part; one result each."""
    results = []
    for name, collection, noise in collections(part, args):
        moving = noise > 0
        found = measure_collection(
            collection.moving() if moving else collection, noise, args, folder / f"{name} {noise}"
        )
        results.append({"videos": name, "noise": noise, **found})
        print(f"{part}, {name}, noise {noise}: R@1 {found['recall'][OURS]['R@1']:.3f}", file=sys.stderr)
    return results


def collections(part: str, args: argparse.Namespace):
    """Yields name, collection and level of noise."""
    annotations = None
    if args.data:
        annotations = json.loads((args.data / "annotations.json").read_text(encoding="utf-8"))
    levels = [0.0, args.noise] if args.noise else [0.0]
    if part == "sentences":
        for minutes in args.minutes:
            for noise in levels:
                collection = sentence_collection(args.videos, minutes, args.seed, annotations, args.cards)
                yield f"{args.videos} of {minutes:g} min", collection, noise
    elif part == "strings":
        name = " + ".join(f"{number} of {minutes:g} min" for number, minutes in args.string_videos)
        for noise in levels:
            yield name, string_collection(args.string_videos, args.strings, args.seed), noise
    elif part == "short":
        yield f"1 of {args.long:g} min", short_text_collection(args.long, args.short_texts, 3, args.seed), 0.0
    elif annotations is None:
        print(
            "The part `clips` is left out: it needs --data, a local data set that is not distributed.", file=sys.stderr
        )
    else:
        clips = read_clips(args.data, args.readings, args.model)
        for minutes in (length for length in args.minutes if length >= args.clips_from):
            collection = clip_collection(args.videos, minutes, annotations, clips, args.seed)
            yield f"{args.videos} of {minutes:g} min, {len(clips)} real clips among them", collection, 0.0


def measure_collection(collection: Collection, noise: float, args: argparse.Namespace, folder: Path) -> dict:
    """Writes and indexes a collection, and searches in it by the index and by SQLite."""
    from tcd_hf import VideoIndex, load

    paths = collection.write(folder / "videos")
    model, processor = load(args.model, device="auto")
    processor.ocr_engine, processor.ocr_options = collection.reader(noise), None
    index = VideoIndex.create(folder / "index", model, processor, cache_dir=folder / "cache")
    start = time.perf_counter()
    added = index.add(paths, workers=args.workers, on_video=lambda path: None)
    indexing = time.perf_counter() - start
    if added.skipped:
        raise RuntimeError(f"Not indexed: {added.skipped[0].cause}")

    queries = [target.query for target in collection.targets]
    right = [paths[target.video].absolute().as_posix() for target in collection.targets]
    start = time.perf_counter()
    hits = index.search(queries, top_k=TOP_K)
    searching = time.perf_counter() - start
    found = {OURS: [[Found(hit.path, hit.shown_time, hit.end - hit.start) for hit in ranked] for ranked in hits]}
    for name, make_rows in ((SQL, rows_of_texts), (SQL_WINDOWS, rows_of_windows)):
        database = SQLiteSearch(make_rows(index.paths, index.captions))
        for way in WAYS:
            found[f"{name}, {way}"] = [database.search(query, way, TOP_K) for query in queries]
    recall = {name: judge(ranked, collection.targets, right) for name, ranked in found.items()}
    return {
        "queries": len(queries),
        "hours": round(collection.seconds / 3600, 2),
        "seconds_of_indexing": round(indexing, 1),
        "milliseconds_per_query": round(1000 * searching / len(queries), 1),
        "recall": recall,
        "wrong": mistakes(found[OURS], collection.targets, right),
    }


def judge(found: Sequence[Sequence[Found]], targets: Sequence[Target], right: Sequence[str]) -> dict:
    """How often the right video comes first, and how often the right moment of it is shown.

    Args:
        found: what each query found, best first.
        targets: the truth of each query.
        right: path of the right video of each query.

    Returns:
        `R@1` and `R@10` of videos; `moment`, right ones of those whose first video is right, `None` where none is;
        `right_second`, the same of all queries; `wrong`, the number of queries whose first video is not right.
    """
    first = [bool(ranked) and ranked[0].path == path for ranked, path in zip(found, right, strict=True)]
    among = [any(hit.path == path for hit in ranked[:TOP_K]) for ranked, path in zip(found, right, strict=True)]
    moments = [
        is_right and is_moment(ranked[0], target)
        for is_right, ranked, target in zip(first, found, targets, strict=True)
    ]
    count = len(targets)
    return {
        "R@1": sum(first) / count,
        "R@10": sum(among) / count,
        "moment": sum(moments) / sum(first) if any(first) else None,
        "right_second": sum(moments) / count,
        "wrong": count - sum(first),
    }


def is_moment(hit: Found, target: Target) -> bool:
    """Whether the shown time lies within the text, 2 s allowed, and the range is short."""
    return target.start - TOLERANCE <= hit.time <= target.end + TOLERANCE and hit.seconds <= LONGEST_RANGE


def mistakes(found: Sequence[Sequence[Found]], targets: Sequence[Target], right: Sequence[str]) -> list[dict]:
    """The queries without the right second, for a look at them."""
    return [
        {"query": target.query, "true": [path, target.start, target.end], "found": list(ranked[0]) if ranked else None}
        for ranked, target, path in zip(found, targets, right, strict=True)
        if not (ranked and ranked[0].path == path and is_moment(ranked[0], target))
    ]


def best_of_sql(recall: dict[str, dict]) -> str:
    """Which way of FTS5 over rows of one text is the better one: by R@1, then by its moments."""
    ways = [name for name in recall if name.startswith(f"{SQL}, ")]
    return max(ways, key=lambda name: (recall[name]["R@1"], recall[name]["right_second"]))


TITLES = {
    "sentences": "Sentences that name texts. Required: at most one wrong without error, and moments 0.98",
    "strings": "Strings exactly as shown. Required without error: R@1 0.98, and moments 0.98",
    "clips": "Sentences that name texts of real clips, among cards. Required: not below FTS5",
    "short": "Texts that stand 3 s in a long video. Required: the right second",
}


def to_markdown(report: dict) -> str:
    """The report as Markdown."""
    blocks = [f"{in_words(report['machine'])}."]
    for part in (part for part in PARTS if report.get(part)):
        is_search = part in SEARCH_PARTS
        blocks.append(search_table(TITLES[part], report[part]) if is_search else costs.to_markdown(part, report[part]))
    return "\n\n".join(blocks)


def search_table(title: str, results: list[dict]) -> str:
    """A row for each way to search in each collection; of FTS5 the way that counts is marked."""
    rows = [["videos", "reader", "ranked by", "R@1", "R@10", "wrong", "moment right, of right videos"]]
    rows[0].append("right second, of all")
    notes = []
    for result in results:
        reader = f"slips, level {result['noise']:g}" if result["noise"] else "no slips added"
        best = best_of_sql(result["recall"])
        for name, scores in result["recall"].items():
            shown = f"**{name}**" if name in (OURS, best) else name
            moment = "–" if scores["moment"] is None else f"{scores['moment']:.3f}"
            recalls, wrong = [f"{scores[cutoff]:.3f}" for cutoff in ("R@1", "R@10")], scores["wrong"]
            numbers = [*recalls, f"{wrong} of {result['queries']}", moment, f"{scores['right_second']:.3f}"]
            rows.append([result["videos"], reader, shown, *numbers])
        notes.append(
            f"* {result['videos']} ({reader}): {result['hours']} h indexed in {result['seconds_of_indexing']} s, "
            f"{result['milliseconds_per_query']} ms a query; {verdict(result['recall'][OURS], result['recall'][best])}"
        )
    about = (
        f"{title}. R@1 and R@10 of videos; the moment is right where the shown time lies within the text ±2 s and the "
        "range is at most 15 s."
    )
    return "\n\n".join([about, table(rows), "\n".join(notes)])


def verdict(ours: dict, sql: dict) -> str:
    """Whether FTS5 is better, in words."""
    below = [name for name in ("R@1", "right_second") if ours[name] < sql[name]]
    if below:
        return f"BELOW FTS5 in {' and '.join(below)}."
    if sql["R@1"] < SQL_IS_WEAK and ours["R@1"] <= sql["R@1"]:
        return f"not above FTS5, although that is below {SQL_IS_WEAK}."
    return "not below FTS5."


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure")
    parser.add_argument("--data", type=Path, help="folder with annotations.json and clips/; generated texts without")
    parser.add_argument(
        "--readings", type=Path, help="keep the readings of real clips here, to go on with after a stop"
    )
    parser.add_argument("--model", default="tcd-mini", help="model folder or Hub id")
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 20, 60], help="lengths of the videos")
    parser.add_argument("--videos", type=int, default=20, help="videos of each length")
    parser.add_argument("--cards", type=int, default=33, help="cards that sentences search for, without --data")
    parser.add_argument("--clips-from", type=float, default=20, help="shortest videos with real clips in them, minutes")
    parser.add_argument("--noise", type=float, default=0.1, help="level of the slips; 0 leaves that pass out")
    parser.add_argument("--strings", type=int, default=120, help="strings to search for exactly as shown")
    parser.add_argument(
        "--string-videos",
        type=_group,
        nargs="+",
        default=[(8, 60.0), (20, 1.0)],
        metavar="NxMINUTES",
        help="videos with those strings, such as 8x60 20x1",
    )
    parser.add_argument("--long", type=float, default=180, help="minutes of the long video of short and cpu")
    parser.add_argument("--short-texts", type=int, default=5, help="texts of 3 s in the long video")
    parser.add_argument("--workers", type=int, help="processes that read videos; as the index chooses if not given")
    parser.add_argument("--seed", type=int, default=0, help="of texts and moments")
    costs.add_options(parser)
    parser.add_argument("--folder", type=Path, help="where to make a folder for videos and indexes, removed at the end")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    args = parser.parse_args(argv)
    for option in ("videos", "cards", "strings", "short_texts"):
        if getattr(args, option) < 1:
            parser.error(f"--{option.replace('_', '-')} must be at least 1, got {getattr(args, option)}")
    if not 0 <= args.noise <= 1:
        parser.error(f"--noise must lie in [0, 1], got {args.noise}")
    if args.data and not (args.data / "annotations.json").is_file():
        print(f"{args.data} holds no annotations.json: generated texts are searched for instead.", file=sys.stderr)
        args.data = None
    return args


def _group(text: str) -> tuple[int, float]:
    number, minutes = text.split("x")
    return int(number), float(minutes)


if __name__ == "__main__":
    raise SystemExit(main())
