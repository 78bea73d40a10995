"""What is measured in a table: searches by mode and by kinds of queries, their steps, and what recall loses."""

import argparse
import resource
import time
from functools import partial
from types import SimpleNamespace

import numpy as np
import torch
from transformers import BatchEncoding, CLIPTextConfig, CLIPTextModelWithProjection

from scripts.benchmarks.retrieval.tables import open_index, open_recall_table
from scripts.benchmarks.synthetic_rows import QUERY_KINDS, Query, SyntheticHours, SyntheticRows, SyntheticVideos
from tcd_hf import TCDModel
from tcd_hf.index.asking import Asker
from tcd_hf.index.lexical import LexicalStatistics
from tcd_hf.index.query_syntax import parse_query
from tcd_hf.index.recall import DEFAULT_MEMORY_BUDGET, Recall
from tcd_hf.index.retrieval import Retriever
from tcd_hf.index.schema import COARSE_COLUMN, FEATURES_COLUMN, features_from

RECALL_SIZES = (10, 50, 100, 200)
COMPARED_MODES = ("full", "two-stage", "coarse", "lexical")
QUERIES_AT_ONCE = 64
WARM_UP = 3  # searches before the clock starts


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
        retriever.asker = Asker(*stand_ins(videos.model, asked))
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
        "recall by both": time_each(lambda query: recall.union(query[1][None], query[1][None], query[:1], 50), queries),
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
