"""Times a search in one index, and in several that hold its videos and are searched as one.

    python -m scripts.benchmarks.joint --size 10000 --parts 2 4 --folder /tmp/joint

Videos and queries are the short clips of `retrieval.py`, of `--dim` width. Each query is asked of the one index and of
its parts in turn, so that other work on the machine falls on all alike; "work" is what all threads together did for it.
The model's towers are not run: queries come as vectors, and times are those without embedding them.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lancedb
import numpy as np
import torch

from scripts.benchmarks.machine import describe_machine, in_words, table
from scripts.benchmarks.retrieval.measures import WARM_UP, stand_ins
from scripts.benchmarks.retrieval.tables import open_index
from scripts.benchmarks.synthetic_rows import SyntheticVideos
from tcd_hf.index.joint_search import JointRetriever
from tcd_hf.index.lexical import LexicalStatistics
from tcd_hf.index.retrieval import Retriever
from tcd_hf.index.row_indices import create_text_index

ROWS_AT_ONCE = 2000
ASKED: dict[str, Any] = {"top_k": 10, "recall_k": 50, "mode": "two-stage", "where": None, "moments": 3}
ASKED |= {"between": None, "syntax": "plain", "within": 60.0}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--size", type=int, default=10_000, help="videos")
    parser.add_argument("--parts", type=int, nargs="+", default=[2, 4], help="numbers of indexes")
    parser.add_argument("--dim", type=int, default=512, help="width of the joint space")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--workers", type=int, default=1, help="processes that make rows")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch")
    parser.add_argument("--folder", type=Path, default=Path("joint_benchmark"), help="tables are kept here")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    videos = SyntheticVideos(args.size, args.dim)
    queries = videos.queries(args.queries)
    whole, _, metadata = open_index(videos, args)
    makers = stand_ins(videos.model, queries)

    def retriever(of_table: Any) -> Retriever:
        statistics = LexicalStatistics()
        for batch in of_table.search().select(["term_text"]).to_batches(8192):
            statistics.add(batch)
        return Retriever(*makers, of_table, metadata, statistics)

    ways: dict[str, Callable] = {"one index": retriever(whole).search}
    for count in args.parts:
        parts = [retriever(part) for part in cut(whole, args.size, count, args.folder)]
        ways[f"{count} as one"] = joined(parts, *makers).search
    results = measure(ways, [query.text for query in queries])
    if args.json:
        report = {"size": args.size, "dim": args.dim, "threads": args.threads, "results": results}
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(f"{in_words(describe_machine('lancedb'))}; torch on {args.threads} threads\n\n{to_markdown(results)}")
    return 0


def cut(whole: Any, size: int, count: int, folder: Path) -> list[Any]:
    """Tables of equal shares of the rows, made or found complete."""
    database, tables = lancedb.connect(folder), []
    for number in range(count):
        start, stop = size * number // count, size * (number + 1) // count
        name = f"{whole.name}_{number + 1}_of_{count}"
        part = database.create_table(name, schema=whole.schema, exist_ok=True)
        if part.count_rows() < stop - start:
            for offset in range(start + part.count_rows(), stop, ROWS_AT_ONCE):
                part.add(whole.search().offset(offset).limit(min(ROWS_AT_ONCE, stop - offset)).to_arrow())
            create_text_index(part)
        tables.append(part)
    return tables


def joined(parts: list[Retriever], model: Any, processor: Any) -> JointRetriever:
    """What searches several tables as one."""

    def part(number: int, retriever: Retriever) -> SimpleNamespace:
        uri = f"part {number}"
        return SimpleNamespace(uri=uri, model=model, processor=processor, _with_retriever=lambda ask: ask(retriever))

    named: Any = [part(number, retriever) for number, retriever in enumerate(parts)]
    return JointRetriever(named, LexicalStatistics.merged([retriever.rows.statistics for retriever in parts]))


def measure(ways: dict[str, Callable], queries: list[str]) -> dict[str, dict[str, float]]:
    """Milliseconds that a query takes in the median, and works, each way; and the share of the first way's hits that it
    has, too."""
    passed: dict[str, list[float]] = {name: [] for name in ways}
    worked: dict[str, list[float]] = {name: [] for name in ways}
    same: dict[str, list[float]] = {name: [] for name in ways}
    for number, query in enumerate([*queries[:WARM_UP], *queries]):
        expected: set[str] = set()
        for name, search in ways.items():
            clock, work = time.perf_counter(), time.process_time()
            hits = search(query, *ASKED.values())
            spent = time.perf_counter() - clock, time.process_time() - work
            found = {hit.path for hit in hits}
            expected = expected or found
            if number >= WARM_UP:
                passed[name].append(1000 * spent[0])
                worked[name].append(1000 * spent[1])
                same[name].append(len(found & expected) / len(expected))
    return {
        name: {
            "p50": float(np.median(passed[name])),
            "work": float(np.median(worked[name])),
            "same": float(np.mean(same[name])),
        }
        for name in ways
    }


def to_markdown(results: dict[str, dict[str, float]]) -> str:
    base = next(iter(results.values()))
    rows = [["", "ms, p50", "of one", "ms of work", "of one", "hits of one"]]
    for name, result in results.items():
        ratios = [f"{result[key]:.0f} {result[key] / base[key]:.2f}".split() for key in ("p50", "work")]
        rows.append([name, *ratios[0], *ratios[1], f"{result['same']:.3f}"])
    return table(rows)


if __name__ == "__main__":
    sys.exit(main())
