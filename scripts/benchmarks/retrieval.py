"""Times search in an index and counts what recall loses, on synthetic videos.

    python -m scripts.benchmarks.retrieval --sizes 1000 10000 100000 1000000 --folder /tmp/retrieval

Videos. One centre per 20 videos, a random unit vector. A video is `n(centre + 0.7 e)`, where `n` divides by the length
and `e` is a Gaussian vector of length 1, anew at each use; its frames and its windows are `n(video + e)` each. Four
videos in five show text: three captions, each over some of the 12 windows, of 4 to 12 words out of 50,000 random
strings, the k-th with a probability in proportion to `k^-0.9`.

Queries. `n(video + 4 e)` of a random video: a cosine of 0.24 with it on average. Its text is three words of one of the
video's captions, a character of one of them misread, and two words that no caption has; of a video without text, five.

Hours (`--hours 1000`). Videos of 120 segments of 30 s, a row each; a video is a centre, and a scene of ten segments is
what a short video is above. In every window of 2.5 s four texts of 1 to 4 words come up (the most frequent words are
English filler words), most of them for a window or two, one in fifty for half a minute or so; two texts are shown
always and three in every other segment: some 55 different texts a segment. Queries, a fifth each: a text as it is
shown; with a slip in every word of more than three letters; with two words that nobody reads; within a sentence; and a
text that at least half of the segments of its video show. Their vectors are made as above.

The model is untrained, of `--dim` width, and its towers are not run: queries come as vectors. What the text tower of
CLIP ViT-B/32 takes for one query on this machine is printed beside. Tables are kept in `--folder` and continued where a
run was interrupted; above `--largest` videos only what recall reads is written, and only recall is timed.
"""

import argparse
import json
import os
import resource
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("LANCEDB_LOG", "error")

import lancedb
import numpy as np
import pyarrow as pa
import torch
from transformers import BatchEncoding, CLIPTextConfig, CLIPTextModelWithProjection

from scripts.benchmarks.machine import describe_machine, in_words, table
from scripts.benchmarks.synthetic_rows import (
    NUM_FRAMES,
    QUERY_KINDS,
    SEGMENT_SECONDS,
    Query,
    SyntheticHours,
    SyntheticRows,
    SyntheticVideos,
    video_path,
)
from tcd_hf import TCDModel
from tcd_hf.index.lexical import LexicalStatistics
from tcd_hf.index.query_syntax import parse_query
from tcd_hf.index.recall import DEFAULT_MEMORY_BUDGET, Recall, create_text_index
from tcd_hf.index.retrieval import Retriever
from tcd_hf.index.schema import (
    COARSE_COLUMN,
    FEATURES_COLUMN,
    IndexMetadata,
    features_from,
    table_schema,
)

BATCHES_PER_COMMIT = 20
RECALL_SIZES = (10, 50, 100, 200)
COMPARED_MODES = ("full", "two-stage", "coarse", "lexical")
QUERIES_AT_ONCE = 64
WARM_UP = 3  # searches before the clock starts


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="*", default=[1000, 10_000], help="numbers of short videos")
    parser.add_argument("--hours", type=int, nargs="+", default=[], help="numbers of videos of an hour")
    parser.add_argument("--dim", type=int, default=512, help="width of the joint space")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--slow-queries", type=int, default=20, help="queries that are timed in a full search")
    parser.add_argument("--largest", type=int, default=200_000, help="above it, only recall is measured")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of torch")
    parser.add_argument("--workers", type=int, default=1, help="processes that make rows")
    parser.add_argument("--folder", type=Path, default=Path("retrieval_benchmark"), help="tables are kept here")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    report = {
        "machine": describe_machine("lancedb"),
        "threads": args.threads,
        "dim": args.dim,
        "queries": args.queries,
        "text_tower_ms": time_text_tower(),
        "sizes": {},
    }
    measures = [
        (f"{size:,}", measure_recall if size > args.largest else measure_search, SyntheticVideos, size)
        for size in args.sizes
    ]
    measures += [(f"{hours:,} of 1 h", measure_hours, SyntheticHours, hours) for hours in args.hours]
    for name, measure, kind, size in measures:
        report["sizes"][name] = measure(kind(size, args.dim), args)
        torch.set_num_threads(args.threads)
        if args.json:
            args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(to_markdown(report))
    return 0


def open_index(videos: SyntheticRows, args: argparse.Namespace) -> tuple:
    """The table of the rows, made or continued or found complete; its metadata; and what making it took."""
    metadata = IndexMetadata.describe(
        videos.rows(0, 1, None),
        model_fingerprint="synthetic",
        tokenizer_fingerprint="synthetic",
        caption_fingerprint="synthetic",
        frame_fingerprint="synthetic",
        model_name="synthetic",
        dim=videos.dim,
        num_frames=NUM_FRAMES,
        segment_seconds=SEGMENT_SECONDS,
    )
    schema = table_schema(metadata)
    make_rows = partial(rows_of_index, type(videos), videos.size, videos.dim, schema)
    return *write_table(args, videos, schema, make_rows), metadata


def rows_of_index(kind: type[SyntheticRows], size: int, dim: int, schema: pa.Schema, start: int) -> pa.Table:
    videos = generator(kind, size, dim)
    return videos.rows(start, min(videos.rows_per_batch, size - start), schema)


@cache  # in each process
def generator(kind: type[SyntheticRows], size: int, dim: int) -> SyntheticRows:
    return kind.of_rows(size, dim)


def open_recall_table(videos: SyntheticVideos, args: argparse.Namespace) -> tuple:
    """A table of what recall reads, likewise."""
    schema = pa.schema(
        [("path", pa.string()), ("coarse", pa.list_(pa.float32(), videos.dim)), ("term_text", pa.string())]
    )
    return write_table(args, videos, schema, partial(rows_for_recall, videos.size, videos.dim, schema))


def rows_for_recall(size: int, dim: int, schema: pa.Schema, start: int) -> pa.Table:
    videos = generator(SyntheticVideos, size, dim)
    count = min(videos.rows_per_batch, size - start)
    paths = [video_path(start + i) for i in range(count)]
    coarse = pa.FixedSizeListArray.from_arrays(pa.array(videos.videos(start, count).ravel()), dim)
    terms = [
        " ".join(dict.fromkeys(term for caption in texts for word in caption for term in videos.spelled_words[word]))
        for texts in videos.texts(start, count)
    ]
    return pa.table([pa.array(paths), coarse, pa.array(terms)], schema=schema)


def write_table(
    args: argparse.Namespace, videos: SyntheticRows, schema: pa.Schema, make_rows: Callable[[int], pa.Table]
) -> tuple:
    """Writes a table in commits of some thousand rows, from where an earlier run stopped. Seconds are of this run."""
    database = lancedb.connect(args.folder)
    name = f"{videos.name}_{videos.size}_{videos.dim}"
    table = database.create_table(name, schema=schema, exist_ok=True)
    build_file = args.folder / f"{name}.json"
    build = json.loads(build_file.read_text()) if build_file.exists() else {}
    waiting = 0.0

    def batches(rows: Iterator[pa.Table]) -> Iterator[pa.RecordBatch]:
        nonlocal waiting
        for _ in range(BATCHES_PER_COMMIT):
            clock = time.perf_counter()
            batch = next(rows, None)
            waiting += time.perf_counter() - clock
            if batch is not None:
                yield from batch.combine_chunks().to_batches()

    begin = written = table.count_rows()
    clock = time.perf_counter()
    rows = made_ahead(make_rows, range(begin, videos.size, videos.rows_per_batch), args.workers)
    while written < videos.size:
        table.add(pa.RecordBatchReader.from_batches(schema, batches(rows)))
        written = table.count_rows()
        print(f"{written} of {videos.size} rows written", flush=True)
    if begin < videos.size:
        build = {"write_ms": 1000 * (time.perf_counter() - clock - waiting) / (videos.size - begin)}
    if "text_index_s" not in build:
        table.optimize()  # as `VideoIndex.add` does after so many commits
        before = disk_bytes(args.folder / f"{name}.lance")
        clock = time.perf_counter()
        create_text_index(table)
        build["text_index_s"] = time.perf_counter() - clock
        build["row_bytes"] = before / videos.size
        build["text_index_bytes"] = (disk_bytes(args.folder / f"{name}.lance") - before) / videos.size
        build_file.write_text(json.dumps(build))
    return table, build


def made_ahead(make_rows: Callable[[int], pa.Table], starts: range, workers: int) -> Iterator[pa.Table]:
    """Rows in order, made by processes besides this one."""
    if workers < 2:
        yield from map(make_rows, starts)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        pending: deque = deque()
        for start in starts:
            pending.append(pool.submit(make_rows, start))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def disk_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def measure_search(videos: SyntheticVideos, args: argparse.Namespace) -> dict:
    """All modes on a whole index."""
    queries = videos.queries(args.queries)
    texts, vectors = [query.text for query in queries], vectors_of(queries)
    retriever, result = open_retriever(videos, queries, args)
    if videos.size <= 1000:
        result["latency"].update(time_scoring(retriever, vectors, args))
    for mode in COMPARED_MODES:
        asked = texts[: args.slow_queries] if mode == "full" else texts
        result["latency"][mode] = time_each(lambda text, mode=mode: retriever.search(text, mode=mode), asked)
    result["stages"] = time_stages(retriever, texts, vectors)
    full = retriever.search(texts, mode="full")
    result["recall"]["full"] = recall_at(full, queries)
    for recall_k in RECALL_SIZES:
        hits = retriever.search(texts, recall_k=recall_k)
        same = np.mean([a[0].path == b[0].path for a, b in zip(hits, full, strict=True)])
        result["recall"][f"two-stage, recall_k={recall_k}"] = {**recall_at(hits, queries), "same first hit": same}
    for mode in ("coarse", "lexical"):
        result["recall"][mode] = recall_at(retriever.search(texts, mode=mode), queries)
    result["peak_rss_gib"] = peak_rss_gib()
    return result


def measure_hours(videos: SyntheticHours, args: argparse.Namespace) -> dict:
    """Two-stage search by kinds of queries, its steps, and phrases and exclusions."""
    queries = videos.queries(args.queries)
    retriever, result = open_retriever(videos, queries, args)
    found = {kind: [query for query in queries if query.kind == kind] for kind in QUERY_KINDS}
    result["latency"]["two-stage"] = time_each(retriever.search, [query.text for query in queries])
    for kind, asked in found.items():
        texts = [query.text for query in asked]
        result["latency"][f"two-stage, {kind}"] = time_each(retriever.search, texts)
        result["recall"][f"two-stage, {kind}"] = recall_at(list(map(retriever.search, texts)), asked)
    result["recall"]["two-stage"] = recall_at([retriever.search(query.text) for query in queries], queries)
    result["stages"] = time_stages(retriever, [query.text for query in queries], vectors_of(queries))
    for name, asked in exact_queries(found).items():
        retriever.model, retriever.processor = stand_ins(videos.model, asked)
        search = partial(retriever.search, syntax="query")
        texts = [query.text for query in asked]
        result["latency"][name] = time_each(search, texts)
        result["recall"][name] = recall_at(list(map(search, texts)), asked)
    result["peak_rss_gib"] = peak_rss_gib()
    return result


def exact_queries(found: dict[str, list[Query]]) -> dict[str, list[Query]]:
    """Queries with operators, by name; what is excluded is a word that nobody reads."""

    def rewritten(kind: str, form: str) -> list[Query]:
        return [query._replace(text=form.format(text=query.text, kind=kind)) for query in found[kind]]

    return {
        "phrase, shown once": rewritten("exact", '"{text}"'),
        "phrase, many segments": rewritten("many segments", '"{text}"'),
        "exclusion": rewritten("exact", "{text} -zzyzx"),
    }


def open_retriever(videos: SyntheticRows, queries: list[Query], args: argparse.Namespace) -> tuple[Retriever, dict]:
    """What answers the queries, and a result that says what making and opening it took."""
    table, build, metadata = open_index(videos, args)
    statistics, clock = LexicalStatistics(), time.perf_counter()
    for batch in table.search().select(["term_text"]).to_batches(8192):
        statistics.add(batch)
    build["statistics_s"] = time.perf_counter() - clock
    retriever = Retriever(*stand_ins(videos.model, queries), table, metadata, statistics)
    clock = time.perf_counter()
    retriever.search(queries[0].text)
    build["first_search_s"] = time.perf_counter() - clock
    return retriever, {"build": build, "latency": {}, "recall": {}}


def measure_recall(videos: SyntheticVideos, args: argparse.Namespace) -> dict:
    """Both kinds of recall on a table that has nothing else."""
    table, build = open_recall_table(videos, args)
    queries = [(query.text, query.vector) for query in videos.queries(args.queries)]
    recall = Recall(table, DEFAULT_MEMORY_BUDGET)
    clock = time.perf_counter()
    recall.nearest(queries[0][1][None], 50)
    build["first_search_s"] = time.perf_counter() - clock
    latency = {
        "recall by coarse vector": time_each(lambda query: recall.nearest(query[1][None], 50), queries),
        "recall by text": time_each(lambda query: recall.full_text(query[0], 50), queries),
        "recall by both": time_each(lambda query: recall.union(query[1][None], query[:1], 50), queries),
    }
    return {"build": build, "latency": latency, "recall": {}, "peak_rss_gib": peak_rss_gib()}


def vectors_of(queries: list[Query]) -> torch.Tensor:
    return torch.from_numpy(np.stack([query.vector for query in queries]))


def peak_rss_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def stand_ins(model: TCDModel, queries: list[Query]) -> tuple:
    """The model, and a processor, that embed queries by looking up what is asked for."""
    numbers = {parse_query(query.text, "query").text: i for i, query in enumerate(queries)}
    numbers |= {query.text: i for i, query in enumerate(queries)}
    vectors = vectors_of(queries)

    def process(text, return_tensors):
        return BatchEncoding({"rows": torch.tensor([numbers[each] for each in text])})

    model.get_text_features = lambda rows: SimpleNamespace(pooler_output=vectors[rows])
    return model, process


@torch.inference_mode()
def time_scoring(retriever: Retriever, vectors: torch.Tensor, args: argparse.Namespace) -> dict[str, dict]:
    """The model's scores alone, of features in memory: no texts, no reading, no evidence."""
    model, rows = retriever.model, retriever.rows.table.search().select([COARSE_COLUMN, FEATURES_COLUMN]).to_arrow()
    features = features_from(rows, retriever.metadata)

    def score_nearest(vectors):
        nearest = (model.get_coarse_queries(vectors) @ features.coarse_embeds.T).topk(50).indices
        model.score_pairs(vectors, features, nearest)

    def score_all(vectors, method):
        model.score(vectors, features, method=method)

    times = {}
    at_once = min(QUERIES_AT_ONCE, len(vectors))
    for name, size in (("one query", 1), (f"{at_once} queries at once", at_once)):
        batches = vectors[: len(vectors) // size * size].split(size)
        few = batches[: max(1, args.slow_queries // size)]
        for search, function, asked in (
            ("full by the reference scorer", lambda vectors: score_all(vectors, "reference"), few),
            ("full", lambda vectors: score_all(vectors, "factorized"), few),
            ("two-stage", score_nearest, batches),
        ):
            milliseconds = time_each(function, asked)
            times[f"{search}, scoring alone, {name}"] = {key: value / size for key, value in milliseconds.items()}
    return times


@torch.no_grad()
def time_stages(retriever: Retriever, texts: list[str], vectors: torch.Tensor) -> dict[str, float]:
    """Median milliseconds of each step of a two-stage search."""
    steps: dict[str, list[float]] = {}
    for text, vector in zip(texts, vectors.split(1), strict=True):
        clock = [time.perf_counter()]
        nearest = retriever.recall.nearest(vector.numpy(), 50, num_videos=10)[0]
        clock.append(time.perf_counter())
        row_ids = np.union1d(nearest, retriever.recall.full_text(text, 50, num_videos=10))
        clock.append(time.perf_counter())
        rows = retriever.maker.read(row_ids)
        clock.append(time.perf_counter())
        retriever.rows.score([text], vector, rows)
        clock.append(time.perf_counter())
        retriever.search(text)
        clock.append(time.perf_counter())
        for name, seconds in zip(("coarse", "text", "read", "score", "all"), np.diff(clock), strict=True):
            steps.setdefault(name, []).append(1000 * seconds)
    medians = {name: float(np.median(values)) for name, values in steps.items()}
    return {**medians, "hits": medians["all"] - sum(medians[name] for name in ("coarse", "text", "read", "score"))}


def time_each(function, queries: list) -> dict[str, float]:
    """Median and 95th percentile, milliseconds, of a function on each query by itself; and the median of what all
    threads together worked for it, which other work on the machine changes less."""
    for query in queries[:WARM_UP]:
        function(query)
    passed, worked = [], []
    for query in queries:
        clock, work = time.perf_counter(), time.process_time()
        function(query)
        passed.append(1000 * (time.perf_counter() - clock))
        worked.append(1000 * (time.process_time() - work))
    p50, p95 = np.percentile(passed, [50, 95]).tolist()
    return {"p50": p50, "p95": p95, "work": float(np.median(worked))}


@torch.no_grad()
def time_text_tower() -> dict[str, float]:
    """How long a text tower with the shape of CLIP ViT-B/32's takes for a query of 12 tokens."""
    tower = CLIPTextModelWithProjection(CLIPTextConfig()).eval()
    return time_each(lambda ids: tower(input_ids=ids), [torch.arange(12)[None]] * 20)


def recall_at(results: list, queries: list[Query]) -> dict[str, float]:
    """Share of the queries whose video is among the first 1 and 10 hits, and whose first hit is a moment of the text
    that is meant, if times are known."""
    shares = {
        f"R@{k}": float(
            np.mean(
                [query.path in {hit.path for hit in hits[:k]} for hits, query in zip(results, queries, strict=True)]
            )
        )
        for k in (1, 10)
    }
    if all(query.times for query in queries):
        shares["moment"] = float(np.mean([is_right(hits, query) for hits, query in zip(results, queries, strict=True)]))
    return shares


def is_right(hits: list, query: Query) -> bool:
    """Whether the first hit lies within a time at which its video shows the text, give or take two seconds."""
    if not hits or hits[0].path != query.path:
        return False
    return any(start - 2 <= hits[0].start and hits[0].end <= end + 2 for start, end in query.times)


def to_markdown(report: dict) -> str:
    """The report as Markdown."""
    tower = report["text_tower_ms"]
    times = [["videos", "search", "p50", "p95", "work of all threads, p50"]]
    found = [["videos", "search", "R@1", "R@10", "same first hit as full", "moment"]]
    builds = [["videos", "bytes a row", "of which text index", "writing, ms a row", "text index, s", "statistics, s"]]
    builds[0] += ["first search, s", "peak RSS so far, GiB"]
    steps = []
    for size, result in report["sizes"].items():
        for name, each in result["latency"].items():
            times.append([size, name, *(f"{each[key]:.1f}" for key in ("p50", "p95", "work"))])
        for name, each in result["recall"].items():
            shares = [f"{each[key]:.3f}" if key in each else "" for key in ("R@1", "R@10", "same first hit", "moment")]
            found.append([size, name, *shares])
        build = result["build"]
        numbers = [
            f"{build['row_bytes'] + build['text_index_bytes']:,.0f}",
            f"{build['text_index_bytes']:,.0f}",
            f"{build.get('write_ms', float('nan')):.2f}",
            f"{build['text_index_s']:.1f}",
            f"{build['statistics_s']:.1f}" if "statistics_s" in build else "",
            f"{build['first_search_s']:.2f}",
            f"{result['peak_rss_gib']:.2f}",
        ]
        builds.append([size, *numbers])
        if "stages" in result:
            medians = ", ".join(f"{name} {value:.1f}" for name, value in result["stages"].items())
            steps.append(f"Steps of a two-stage search in {size} videos, median ms: {medians}.")
    return "\n\n".join(
        [
            f"{in_words(report['machine'])}; {report['threads']} threads, D = {report['dim']}, {report['queries']} "
            "queries, top_k 10, recall_k 50.",
            f"Milliseconds per query, without its embedding (text tower of CLIP ViT-B/32: p50 {tower['p50']:.1f}).",
            table(times, align="rlrrr"),
            table(found, align="rlrrrr"),
            table(builds, align="r" * 8),
            *steps,
        ]
    )


if __name__ == "__main__":
    raise SystemExit(main())
