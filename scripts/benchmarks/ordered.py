"""Measures `first >> then`, on videos that all show both texts, in the right order within a minute in only one.

    python -m scripts.benchmarks.ordered --hours 20 --folder /tmp/ordered

Videos are the hours of `retrieval.py`, 120 segments of 30 s with 55 texts each. Every one also shows, for
each query, two texts of three words that nothing else says, 5 s each, at random times: in one video the second begins 0
to 55 s after the end of the first; in half of the others it is the other way round; in the rest it is later by 1 to 15
minutes. Queries are asked for in order, as they are shown, with a slip in every word of more than three letters and as
phrases; and as plain text, which says nothing of an order: chance is one in as many as there are videos.

The model is untrained, of `--dim` width, and its towers are not run: texts come as random vectors, so that only what is
read can tell the videos apart. A moment is right if it begins and ends within 2 s of what was shown. Times are for one
query, without embedding it.
"""

import argparse
import json
import sys
import time
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import torch
from transformers import BatchEncoding

from scripts.benchmarks.machine import describe_machine, in_words, table
from scripts.benchmarks.retrieval.tables import open_index
from scripts.benchmarks.synthetic_rows import (
    WINDOW_SECONDS,
    WINDOWS_PER_HOUR,
    Shown,
    SyntheticHours,
    hour_path,
    misread,
    unit,
)
from tcd_hf.index.lexical import LexicalStatistics
from tcd_hf.index.retrieval import Retriever

PAIRS = 50
WINDOWS_SHOWN = 2  # of 2.5 s
NEAR, FAR = (0, 23), (24, 360)  # windows between two texts
TOLERANCE = 2.0  # seconds
WAYS = {  # how a pair is asked for: syntax, mode, and the query
    "plain text": ("plain", "two-stage", "{first} {then}"),
    "in order": ("query", "two-stage", "{first} >> {then}"),
    "in order, every segment scored": ("query", "full", "{first} >> {then}"),
    "in order, slips": ("query", "two-stage", "{first_misread} >> {then_misread}"),
    "in order, phrases": ("query", "two-stage", '"{first}" >> "{then}"'),
}


class Pair(NamedTuple):
    """Two texts, and the video that shows them in the right order."""

    first: str
    then: str
    hour: int


class OrderedHours(SyntheticHours):
    """Videos of an hour, each with all pairs of texts."""

    name = "ordered"

    def pair(self, number: int) -> Pair:
        words = self.words[::-1][6 * number :][:6]  # which no other text has
        return Pair(" ".join(words[:3]), " ".join(words[3:]), number % self.hours)

    def places(self, number: int, hour: int) -> tuple[int, int]:
        """The windows in which the texts of a pair come up in a video."""
        rng = np.random.default_rng([8, number, hour])
        is_right = hour == number % self.hours
        is_turned = not is_right and bool(rng.integers(2))
        between = int(rng.integers(*(NEAR if is_right or is_turned else FAR)))
        begin = int(rng.integers(WINDOWS_PER_HOUR - 2 * WINDOWS_SHOWN - between))
        places = begin, begin + WINDOWS_SHOWN + between
        return places[::-1] if is_turned else places

    def shown(self, hour: int) -> list[Shown]:
        planted = [
            Shown(text, [(place, place + WINDOWS_SHOWN)])
            for number in range(PAIRS)
            for text, place in zip(self.pair(number)[:2], self.places(number, hour), strict=True)
        ]
        return super().shown(hour) + planted


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--hours", type=int, default=20, help="videos")
    parser.add_argument("--dim", type=int, default=512, help="width of the joint space")
    parser.add_argument("--workers", type=int, default=1, help="processes that make rows")
    parser.add_argument("--folder", type=Path, default=Path("ordered_benchmark"), help="tables are kept here")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    args = parser.parse_args(argv)
    if args.hours < 2:
        parser.error("--hours must be at least 2: with one video there is no choice")
    videos = OrderedHours(args.hours, args.dim)
    retriever = open_retriever(videos, args)
    results = {name: measure(retriever, videos, *way) for name, way in WAYS.items()}
    if args.json:
        report = {"hours": args.hours, "dim": args.dim, "pairs": PAIRS, "chance": 1 / args.hours, "results": results}
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(f"{in_words(describe_machine('lancedb'))}\n\n{to_markdown(results)}")
    return 0


def open_retriever(videos: OrderedHours, args: argparse.Namespace) -> Retriever:
    table, _, metadata = open_index(videos, args)
    statistics = LexicalStatistics()
    for batch in table.search().select(["term_text"]).to_batches(8192):
        statistics.add(batch)

    def process(text, return_tensors):
        return BatchEncoding({"vectors": torch.stack([vector_of(each, videos.dim) for each in text])})

    videos.model.get_text_features = lambda vectors: SimpleNamespace(pooler_output=vectors)
    return Retriever(videos.model, process, table, metadata, statistics)


def vector_of(text: str, dim: int) -> torch.Tensor:
    rng = np.random.default_rng(zlib.crc32(text.encode()))
    return torch.from_numpy(unit(rng.standard_normal(dim, np.float32)))


def measure(retriever: Retriever, videos: OrderedHours, syntax: str, mode: str, form: str) -> dict[str, float]:
    """R@1, the share of all queries with a right moment, and the milliseconds that a query takes."""
    pairs = [videos.pair(number) for number in range(PAIRS)]
    queries = [form.format(**spellings(pair, number)) for number, pair in enumerate(pairs)]
    retriever.search(queries[0], mode=mode, syntax=syntax)
    right, moments, milliseconds = [], [], []
    for number, (query, pair) in enumerate(zip(queries, pairs, strict=True)):
        clock = time.perf_counter()
        hits = retriever.search(query, mode=mode, syntax=syntax)
        milliseconds.append(1000 * (time.perf_counter() - clock))
        first, then = (WINDOW_SECONDS * place for place in videos.places(number, pair.hour))
        times = first, then + WINDOW_SECONDS * WINDOWS_SHOWN
        right.append(bool(hits) and hits[0].path == hour_path(pair.hour))
        moments.append(right[-1] and np.allclose((hits[0].start, hits[0].end), times, rtol=0, atol=TOLERANCE))
    return {"R@1": float(np.mean(right)), "moments": float(np.mean(moments)), "ms": float(np.median(milliseconds))}


def spellings(pair: Pair, number: int) -> dict[str, str]:
    rng = np.random.default_rng([9, number])
    slips = [" ".join(misread(word, rng) if len(word) > 3 else word for word in text.split()) for text in pair[:2]]
    return {"first": pair.first, "then": pair.then, "first_misread": slips[0], "then_misread": slips[1]}


def to_markdown(results: dict[str, dict[str, float]]) -> str:
    rows = [["asked for", "R@1", "right moment, of all", "ms a query"]]
    for name, result in results.items():
        rows.append([name, f"{result['R@1']:.3f}", f"{result['moments']:.3f}", f"{result['ms']:.0f}"])
    return table(rows)


if __name__ == "__main__":
    sys.exit(main())
