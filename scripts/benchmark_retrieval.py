"""Times search in an index and counts what recall loses, on synthetic videos.

    python scripts/benchmark_retrieval.py --sizes 1000 10000 100000 1000000 --folder /tmp/retrieval

Videos. One centre per 20 videos, a random unit vector. A video is `n(centre + 0.7 e)`, where `n` divides by the length
and `e` is a Gaussian vector of length 1, anew at each use; its frames and its windows are `n(video + e)` each. Four
videos in five show text: three captions, each over some of the 12 windows, of 4 to 12 words out of 50,000 random
strings, the k-th with a probability in proportion to `k^-0.9`.

Queries. `n(video + 4 e)` of a random video: a cosine of 0.24 with it on average. Its text is three words of one of the
video's captions, a character of one of them misread, and two words that no caption has; of a video without text, five.

The model is untrained, of `--dim` width, and its towers are not run: queries come as vectors. What the text tower of
CLIP ViT-B/32 takes for one query on this machine is printed beside. Tables are kept in `--folder` and continued where a
run was interrupted; above `--largest` videos only what recall reads is written, and only recall is timed.
"""

import argparse
import json
import os
import platform
import resource
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("LANCEDB_LOG", "error")

import lancedb
import numpy as np
import pyarrow as pa
import torch
import transformers
from transformers import BatchEncoding, CLIPConfig, CLIPTextConfig, CLIPTextModelWithProjection

from tcd_hf import TCDConfig, TCDModel
from tcd_hf.index.lexical import LexicalStatistics, spell
from tcd_hf.index.recall import DEFAULT_MEMORY_BUDGET, Recall, create_text_index
from tcd_hf.index.retrieval import Retriever
from tcd_hf.index.schema import (
    COARSE_COLUMN,
    FEATURES_COLUMN,
    IndexMetadata,
    features_from,
    rows_from,
    table_schema,
)
from tcd_hf.processing.text_tracks import TextTrack
from tcd_hf.processing.window_ocr import WindowCaption
from tcd_hf.reading.video_reader import VideoRecord

NUM_FRAMES = 12
VIDEOS_PER_CENTRE = 20
VOCABULARY = 50_000
ROWS_PER_BATCH, ROWS_PER_COMMIT = 500, 10_000
RECALL_SIZES = (10, 50, 100, 200)
MODES = ("full", "two-stage", "coarse", "lexical")
QUERIES_AT_ONCE = 64
WARM_UP = 3  # searches before the clock starts


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000], help="numbers of videos")
    parser.add_argument("--dim", type=int, default=512, help="width of the joint space")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--slow-queries", type=int, default=20, help="queries that are timed in a full search")
    parser.add_argument("--largest", type=int, default=200_000, help="above it, only recall is measured")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of torch")
    parser.add_argument("--folder", type=Path, default=Path("retrieval_benchmark"), help="tables are kept here")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    load, _, _ = os.getloadavg()
    report = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {args.threads} threads, load {load:.1f}",
        "versions": {
            "Python": platform.python_version(),
            **{each.__name__: each.__version__ for each in (torch, transformers, lancedb, np)},
        },
        "dim": args.dim,
        "queries": args.queries,
        "text_tower_ms": time_text_tower(),
        "sizes": {},
    }
    for size in args.sizes:
        videos = SyntheticVideos(size, args.dim)
        measure = measure_recall if size > args.largest else measure_search
        report["sizes"][size] = measure(videos, args)
        if args.json:
            args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(to_markdown(report))
    return 0


class SyntheticVideos:
    """Videos as the module says. Every block of videos has a seed of its own, so that any can be made alone."""

    def __init__(self, size: int, dim: int):
        self.size, self.dim = size, dim
        tower = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1}
        torch.manual_seed(0)
        backbone = CLIPConfig(text_config=tower, vision_config=tower, projection_dim=dim)
        self.model = TCDModel(TCDConfig(backbone_config=backbone)).eval()
        frequency = np.arange(1, VOCABULARY + 1) ** -0.9
        self.word_shares = np.cumsum(frequency / frequency.sum())

    @cached_property
    def words(self) -> list[str]:
        """As many again as captions are made of: words that are said of a video, and not read in it."""
        rng = np.random.default_rng(1)
        letters = list("etaoinshrdlucmfwypvbgkjqxz0123456789")
        shares = 1 / np.arange(3, 3 + len(letters))
        pool = rng.choice(letters, 12 * 2 * VOCABULARY, p=shares / shares.sum())
        lengths = rng.integers(2, 10, 2 * VOCABULARY)
        return ["".join(pool[12 * i : 12 * i + length]) for i, length in enumerate(lengths)]

    @cached_property
    def spelled_words(self) -> list[list[str]]:
        return [spell(word).split() for word in self.words]

    def noise(self, rng: np.random.Generator, *shape: int) -> np.ndarray:
        return rng.standard_normal((*shape, self.dim), np.float32) / np.float32(self.dim**0.5)

    def videos(self, start: int, count: int) -> np.ndarray:
        """`(count, dim)` unit vectors: what the videos are about."""
        rng = np.random.default_rng([2, start])
        number = np.arange(start, start + count) // VIDEOS_PER_CENTRE
        centres = {each: unit(self.noise(np.random.default_rng([3, each]))) for each in np.unique(number).tolist()}
        return unit(np.stack([centres[each] for each in number.tolist()]) + 0.7 * self.noise(rng, count))

    def texts(self, start: int, count: int) -> list[list[list[int]]]:
        """For each video its three captions, as numbers of words; none for one video in five."""
        rng = np.random.default_rng([4, start])
        has_text = rng.random(count) < 0.8
        lengths = rng.integers(4, 13, (count, 3))
        words = np.searchsorted(self.word_shares, rng.random((count, 3, 12))).clip(max=VOCABULARY - 1)
        return [[words[i, j, : lengths[i, j]].tolist() for j in range(3)] if has_text[i] else [] for i in range(count)]

    def captions(self, texts: list[list[int]]) -> list[WindowCaption]:
        """The first caption over windows 0 to 3, the second over 4 to 6, the third over 8 to 10."""
        captions = [WindowCaption(float(window), window + 1.0) for window in range(NUM_FRAMES)]
        for numbers, windows in zip(texts, (range(4), range(4, 7), range(8, 11)), strict=False):
            lines = [" ".join(self.words[i] for i in numbers[j : j + 3]) for j in range(0, len(numbers), 3)]
            tracks = [
                TextTrack(line, 0.9, 0.0, 1.0, (0.1, 0.2 * j, 0.9, 0.2 * j + 0.1)) for j, line in enumerate(lines)
            ]
            for window in windows:
                captions[window] = WindowCaption(float(window), window + 1.0, " ".join(lines), tracks)
        return captions

    @torch.no_grad()
    def rows(self, start: int, count: int, schema: pa.Schema | None) -> pa.Table | tuple:
        """Rows of the index; without a schema, their features."""
        rng = np.random.default_rng([5, start])
        videos = self.videos(start, count)[:, None]
        frames, windows = (torch.from_numpy(unit(videos + self.noise(rng, count, NUM_FRAMES))) for _ in range(2))
        captions = [self.captions(texts) for texts in self.texts(start, count)]
        mask = torch.tensor([[bool(caption.text) for caption in video] for video in captions])
        features = self.model.precompute(self.model.fuse(frames, windows, mask))
        if schema is None:
            return features
        records = [
            VideoRecord(f"/videos/{start + i:07}.mp4", str(start + i), 1 << 20, 0, 12.0, 25.0, captions[i])
            for i in range(count)
        ]
        return rows_from(records, features, schema)

    def queries(self, count: int) -> tuple[np.ndarray, list[str], torch.Tensor]:
        """Numbers of the videos meant, texts, and vectors `(count, dim)`."""
        rng = np.random.default_rng(6)
        meant = rng.choice(self.size, count, replace=count > self.size)
        texts, vectors = [], []
        for video in meant.tolist():
            start = video - video % ROWS_PER_BATCH
            block = min(ROWS_PER_BATCH, self.size - start)
            captions = self.texts(start, block)[video - start]
            unseen = [self.words[VOCABULARY + i] for i in rng.integers(0, VOCABULARY, 5)]
            words = unseen
            if captions:
                caption = captions[rng.integers(3)]
                words = [self.words[i] for i in rng.choice(caption, 3, replace=False)]
                place = rng.integers(len(words[0]))
                words[0] = words[0][:place] + "o" + words[0][place + 1 :]
                words = words + unseen[:2]
            texts.append(" ".join(words))
            vectors.append(unit(self.videos(start, block)[video - start] + 4 * self.noise(rng)))
        return meant, texts, torch.from_numpy(np.stack(vectors))


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def open_index(videos: SyntheticVideos, folder: Path) -> tuple:
    """The table of the videos, made or continued or found complete; its metadata; and what making it took."""
    metadata = IndexMetadata.describe(
        videos.rows(0, 1, None),
        model_fingerprint="synthetic",
        tokenizer_fingerprint="synthetic",
        caption_fingerprint="synthetic",
        frame_fingerprint="synthetic",
        model_name="synthetic",
        dim=videos.dim,
        num_frames=NUM_FRAMES,
    )
    schema = table_schema(metadata)

    def make_rows(start: int, count: int) -> pa.Table:
        return videos.rows(start, count, schema)

    return *write_table(folder, videos.size, schema, make_rows), metadata


def open_recall_table(videos: SyntheticVideos, folder: Path) -> tuple:
    """A table of what recall reads, likewise."""
    schema = pa.schema([("coarse", pa.list_(pa.float32(), videos.dim)), ("term_text", pa.string())])

    def make_rows(start: int, count: int) -> pa.Table:
        coarse = pa.FixedSizeListArray.from_arrays(pa.array(videos.videos(start, count).ravel()), videos.dim)
        terms = [
            " ".join(
                dict.fromkeys(term for caption in texts for word in caption for term in videos.spelled_words[word])
            )
            for texts in videos.texts(start, count)
        ]
        return pa.table([coarse, pa.array(terms)], schema=schema)

    return write_table(folder, videos.size, schema, make_rows)


def write_table(folder: Path, size: int, schema: pa.Schema, make_rows) -> tuple:
    """Writes a table in commits of some thousand rows, from where an earlier run stopped. Seconds are of this run."""
    database = lancedb.connect(folder)
    name = f"videos_{size}_{schema.field('coarse').type.list_size}"
    table = database.create_table(name, schema=schema, exist_ok=True)
    build_file = folder / f"{name}.json"
    build = json.loads(build_file.read_text()) if build_file.exists() else {}
    making = 0.0

    def batches(begin: int, end: int) -> Iterator[pa.RecordBatch]:
        nonlocal making
        for start in range(begin, end, ROWS_PER_BATCH):
            clock = time.perf_counter()
            rows = make_rows(start, min(ROWS_PER_BATCH, end - start))
            making += time.perf_counter() - clock
            yield from rows.combine_chunks().to_batches()

    begin = table.count_rows()
    clock = time.perf_counter()
    for start in range(begin, size, ROWS_PER_COMMIT):
        end = min(start + ROWS_PER_COMMIT, size)
        table.add(pa.RecordBatchReader.from_batches(schema, batches(start, end)))
        print(f"{end} of {size} videos written", flush=True)
    if begin < size:
        build = {"write_ms": 1000 * (time.perf_counter() - clock - making) / (size - begin)}
    if "text_index_s" not in build:
        before = disk_bytes(folder / f"{name}.lance")
        clock = time.perf_counter()
        create_text_index(table)
        build["text_index_s"] = time.perf_counter() - clock
        build["row_bytes"] = before / size
        build["text_index_bytes"] = (disk_bytes(folder / f"{name}.lance") - before) / size
        build_file.write_text(json.dumps(build))
    return table, build


def disk_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def measure_search(videos: SyntheticVideos, args: argparse.Namespace) -> dict:
    """All modes on a whole index."""
    table, build, metadata = open_index(videos, args.folder)
    meant, texts, vectors = videos.queries(args.queries)
    paths = [f"/videos/{video:07}.mp4" for video in meant]
    statistics, clock = LexicalStatistics(), time.perf_counter()
    for batch in table.search().select(["terms"]).to_batches(8192):
        statistics.add(batch)
    build["statistics_s"] = time.perf_counter() - clock
    retriever = Retriever(*stand_ins(videos.model, texts, vectors), table, metadata, statistics)
    clock = time.perf_counter()
    retriever.search(texts[0])
    build["first_search_s"] = time.perf_counter() - clock

    result = {"build": build, "latency": {}, "recall": {}}
    if videos.size <= 1000:
        result["latency"].update(time_scoring(retriever, vectors, args))
    for mode in MODES:
        asked = texts[: args.slow_queries] if mode == "full" else texts
        result["latency"][mode] = time_each(lambda text, mode=mode: retriever.search(text, mode=mode), asked)
    result["stages"] = time_stages(retriever, texts, vectors)
    full = retriever.search(texts, mode="full")
    result["recall"]["full"] = recall_at(full, paths)
    for recall_k in RECALL_SIZES:
        hits = retriever.search(texts, recall_k=recall_k)
        same = np.mean([a[0].path == b[0].path for a, b in zip(hits, full, strict=True)])
        result["recall"][f"two-stage, recall_k={recall_k}"] = {**recall_at(hits, paths), "same first hit": same}
    for mode in ("coarse", "lexical"):
        result["recall"][mode] = recall_at(retriever.search(texts, mode=mode), paths)
    result["peak_rss_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return result


def measure_recall(videos: SyntheticVideos, args: argparse.Namespace) -> dict:
    """Both kinds of recall on a table that has nothing else."""
    table, build = open_recall_table(videos, args.folder)
    _, texts, vectors = videos.queries(args.queries)
    recall = Recall(table, DEFAULT_MEMORY_BUDGET)
    clock = time.perf_counter()
    recall.nearest(vectors[:1].numpy(), 50)
    build["first_search_s"] = time.perf_counter() - clock
    queries = list(zip(texts, vectors.numpy(), strict=True))
    latency = {
        "recall by coarse vector": time_each(lambda query: recall.nearest(query[1][None], 50), queries),
        "recall by text": time_each(lambda query: recall.spelled_like(query[0], 50), queries),
        "recall by both": time_each(lambda query: recall.by_either(query[1][None], query[:1], 50), queries),
    }
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"build": build, "latency": latency, "recall": {}, "peak_rss_gib": peak}


def stand_ins(model: TCDModel, texts: list[str], vectors: torch.Tensor) -> tuple:
    """The model, and a processor, that embed queries by looking them up."""
    numbers = {text: i for i, text in enumerate(texts)}

    def process(text, return_tensors):
        return BatchEncoding({"rows": torch.tensor([numbers[each] for each in text])})

    model.get_text_features = lambda rows: SimpleNamespace(pooler_output=vectors[rows])
    return model, process


@torch.inference_mode()
def time_scoring(retriever: Retriever, vectors: torch.Tensor, args: argparse.Namespace) -> dict[str, dict]:
    """The model's scores alone, of features in memory: no texts, no reading, no evidence."""
    model, rows = retriever.model, retriever.table.search().select([COARSE_COLUMN, FEATURES_COLUMN]).to_arrow()
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
        nearest = retriever.recall.nearest(vector.numpy(), 50)[0]
        clock.append(time.perf_counter())
        row_ids = np.union1d(nearest, retriever.recall.spelled_like(text, 50))
        clock.append(time.perf_counter())
        rows = retriever._take(row_ids, retriever._columns)
        clock.append(time.perf_counter())
        retriever._score_rows([text], vector, rows)
        clock.append(time.perf_counter())
        retriever.search(text)
        clock.append(time.perf_counter())
        for name, seconds in zip(("coarse", "text", "read", "score", "all"), np.diff(clock), strict=True):
            steps.setdefault(name, []).append(1000 * seconds)
    medians = {name: float(np.median(values)) for name, values in steps.items()}
    return {**medians, "hits": medians["all"] - sum(medians[name] for name in ("coarse", "text", "read", "score"))}


def time_each(function, queries: list) -> dict[str, float]:
    """Median and 95th percentile, milliseconds, of a function on each query by itself."""
    for query in queries[:WARM_UP]:
        function(query)
    milliseconds = []
    for query in queries:
        clock = time.perf_counter()
        function(query)
        milliseconds.append(1000 * (time.perf_counter() - clock))
    return {"p50": float(np.percentile(milliseconds, 50)), "p95": float(np.percentile(milliseconds, 95))}


@torch.no_grad()
def time_text_tower() -> dict[str, float]:
    """Of a text tower with the shape of CLIP ViT-B/32's, a query of 12 tokens."""
    tower = CLIPTextModelWithProjection(CLIPTextConfig()).eval()
    return time_each(lambda ids: tower(input_ids=ids), [torch.arange(12)[None]] * 20)


def recall_at(results: list, paths: list[str]) -> dict[str, float]:
    """Share of the queries whose video is among the first 1 and 10 hits."""
    return {
        f"R@{k}": float(
            np.mean([path in {hit.path for hit in hits[:k]} for hits, path in zip(results, paths, strict=True)])
        )
        for k in (1, 10)
    }


def to_markdown(report: dict) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    tower = report["text_tower_ms"]
    lines = [
        f"{report['machine']}; {versions}; D = {report['dim']}, {report['queries']} queries, top_k 10, recall_k 50.",
        "",
        f"Milliseconds per query, without its embedding (text tower of CLIP ViT-B/32: p50 {tower['p50']:.1f}).",
        "",
        "| videos | search | p50 | p95 |",
        "| ---: | --- | ---: | ---: |",
    ]
    for size, result in report["sizes"].items():
        for name, times in result["latency"].items():
            lines.append(f"| {size:,} | {name} | {times['p50']:.1f} | {times['p95']:.1f} |")
    lines += ["", "| videos | search | R@1 | R@10 | same first hit as full |", "| ---: | --- | ---: | ---: | ---: |"]
    for size, result in report["sizes"].items():
        for name, values in result["recall"].items():
            same = f"{values['same first hit']:.3f}" if "same first hit" in values else ""
            lines.append(f"| {size:,} | {name} | {values['R@1']:.3f} | {values['R@10']:.3f} | {same} |")
    lines += [
        "",
        "| videos | bytes a video | of which text index | writing, ms a video | text index, s | statistics, s | first "
        "search, s | peak RSS so far, GiB |",
        "| ---: " * 8 + "|",
    ]
    for size, result in report["sizes"].items():
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
        lines.append(f"| {size:,} | " + " | ".join(numbers) + " |")
    for size, result in report["sizes"].items():
        if "stages" in result:
            steps = ", ".join(f"{name} {value:.1f}" for name, value in result["stages"].items())
            lines += ["", f"Steps of a two-stage search in {size:,} videos, median ms: {steps}."]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
