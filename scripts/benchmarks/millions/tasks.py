"""What processes of their own do: build one index, and search by it. Each answers by a line of JSON."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from scripts.benchmarks.costs.children import peak_memory
from scripts.benchmarks.millions.rows import LargeHours
from scripts.benchmarks.millions.searches import search, statistics
from scripts.benchmarks.millions.tables import EXACT, bytes_of, exact_neighbours, name_of, open_table
from scripts.benchmarks.processes import start_module
from scripts.benchmarks.retrieval.measures import time_each
from tcd_hf.index.row_indices import parts_to_search

__all__ = ["KINDS", "ask"]

KINDS = ("IvfPq", "IvfRq", "HnswSq", "IvfSq")  # of LanceDB, by the names of its classes
PROBES = (10, 20, 50, 100)  # parts of an index that a search looks into
WIDTHS = (100, 200, 400, 800)  # of the search in a graph: vectors that are followed at once
REFINED = (1, 2)  # so many times the vectors asked for are compared as they are


def ask(task: str, **options) -> dict:
    """What a task answers, in a process of its own."""
    child = start_module("scripts.benchmarks.millions.tasks", json.dumps({"task": task, **options}))
    output = child.communicate()[0]
    if child.returncode:
        raise RuntimeError(f"The task {task!r} failed with status {child.returncode}.")
    return json.loads(output.splitlines()[-1])


def coarse(
    folder: Path,
    hours: LargeHours,
    count: int,
    kind: str,
    partitions: int | None = None,
    breadths: Sequence[int] | None = None,
) -> dict:
    """Builds an approximate index and searches by it with several settings, the cheapest first."""
    from lancedb import index

    table = open_table(folder, hours.hours)
    for old in table.list_indices():
        if old.columns == ["coarse"]:
            table.drop_index(old.name)
    before = bytes_of(folder / f"{name_of(hours.hours)}.lance" / "_indices")
    held, clock, work = peak_memory(), time.perf_counter(), time.process_time()
    table.create_index("coarse", config=getattr(index, kind)(distance_type="cosine", num_partitions=partitions))
    built = {"seconds": time.perf_counter() - clock, "cpu_seconds": time.process_time() - work}
    built["bytes"] = bytes_of(folder / f"{name_of(hours.hours)}.lance" / "_indices") - before
    built["peak_gb"], built["held_before_gb"] = peak_memory() / 1e9, held / 1e9
    built["rows_seconds"] = seconds_to_read_rows(folder, hours)
    return built | {"kind": kind, "searches": search_coarse(folder, hours, count, kind, breadths)}


def seconds_to_read_rows(folder: Path, hours: LargeHours) -> float:
    """What the first search waits for: which video each row is of."""
    from tcd_hf.index.recall import Recall

    clock = time.perf_counter()
    recall = Recall(open_table(folder, hours.hours), memory_budget=0)
    if len(recall.paths) != hours.hours:
        raise RuntimeError(f"The table is of {len(recall.paths)} videos, not of {hours.hours}.")
    return time.perf_counter() - clock


def search_coarse(
    folder: Path, hours: LargeHours, count: int, kind: str, breadths: Sequence[int] | None = None
) -> list[dict]:
    """Share of the exact neighbours that are found, and milliseconds a query, by settings."""
    queries = np.stack([query.vector for query in hours.queries(count)])
    exact = exact_neighbours(folder, hours, queries)
    table = open_table(folder, hours.hours)
    row_ids = table.search().select(["_rowid"]).to_arrow()["_rowid"].to_numpy()
    results = []
    parts = sorted({*PROBES, parts_to_search(len(row_ids))})  # the last is what a search of the package looks into
    for breadth in breadths or (WIDTHS if kind.startswith("Hnsw") else parts):
        for refined in REFINED:
            if kind.startswith("Hnsw") and breadth < EXACT * refined:
                continue  # a graph gives no more vectors than it follows

            def found(query: np.ndarray, breadth: int = breadth, refined: int = refined) -> np.ndarray:
                search = table.search(query, vector_column_name="coarse", query_type="vector")
                search = search.distance_type("cosine").select(["_rowid", "_distance"])
                search = search.ef(breadth).nprobes(20) if kind.startswith("Hnsw") else search.nprobes(breadth)
                search = search if refined == 1 else search.refine_factor(refined)
                return search.limit(EXACT).to_arrow()["_rowid"].to_numpy()

            found(queries[0])
            shares, times, worked = [], [], []
            for query, right in zip(queries, exact, strict=True):
                clock, work = time.perf_counter(), time.process_time()
                own = found(query)
                times.append(1000 * (time.perf_counter() - clock))
                worked.append(1000 * (time.process_time() - work))
                shares.append(len(np.intersect1d(own, row_ids[right])) / EXACT)
            p50, p95 = np.percentile(times, [50, 95]).tolist()
            results.append({"breadth": breadth, "refined": refined, "recall": float(np.mean(shares)), "p50": p50})
            results[-1] |= {"p95": p95, "work": float(np.median(worked))}
            print(kind, results[-1], file=sys.stderr, flush=True)
    return results


def text(folder: Path, hours: LargeHours, count: int) -> dict:
    """Builds the full-text index, and searches by it as recall does."""
    from tcd_hf.index.recall import Recall
    from tcd_hf.index.row_indices import create_text_index

    table = open_table(folder, hours.hours)
    before = bytes_of(folder / f"{name_of(hours.hours)}.lance" / "_indices")
    clock, work = time.perf_counter(), time.process_time()
    create_text_index(table)
    built = {"seconds": time.perf_counter() - clock, "cpu_seconds": time.process_time() - work}
    built["bytes"] = bytes_of(folder / f"{name_of(hours.hours)}.lance" / "_indices") - before
    built["peak_gb"] = peak_memory() / 1e9
    recall = Recall(table, memory_budget=0)
    texts = [query.text for query in hours.queries(count)]
    return built | time_each(lambda query: recall.full_text(query, 50, num_videos=10), texts)


TASKS: dict[str, Callable[..., dict]] = {
    "coarse": coarse,
    "text": text,
    "statistics": statistics,
    "search": search,
}


def main() -> None:
    options = json.loads(sys.argv[1])
    torch.set_num_threads(options.pop("threads"))
    hours = LargeHours(options.pop("hours"), options.pop("dim"))
    print(json.dumps(TASKS[options.pop("task")](Path(options.pop("folder")), hours, **options)), flush=True)


if __name__ == "__main__":
    main()
