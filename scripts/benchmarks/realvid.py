"""Measures search on a folder of annotated real clips: how often the right clip comes first, and what reading costs.

The gallery is every clip of the folder, the queries those of the annotated clips. `annotations.json` lists `{video,
has_text, visible_text: [...], captions: [3], duration_s}`: of a clip with text, captions 1 and 2 name it and are the
text queries, and, with slips of typing by a seed, the misspelt ones; caption 3 of every clip is the visual query.
`meaning.json`, `[{video, meaning}]`, holds queries that say what a sign means without its words.

    python -m scripts.benchmarks.realvid --data ../shared/data/realvid --json realvid.json

The fused search of models without a calibration was looked at on the text and visual queries for every `w`, the weight
of the lexical score: its numbers there are not those of a held-out set. The tables by weight show how much hangs on it.

Prints Markdown tables. Without the folder it says so and ends with status 0.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from scripts.benchmarks.machine import READERS, describe_machine, in_words, table
from scripts.search_calibration.misspelling import misspell

CUTOFFS = (1, 5, 10)
WEIGHTS = np.arange(11) / 10
SLIPS = 0  # seed
MEAN = ("text_video", "text_ocr", "text_hybrid")  # of the paper's similarity
PARTS = {
    "text_video": "the text-video part",
    "text_ocr": "the text-OCR part",
    "text_hybrid": "the hybrid part",
    "text_window": "the nearest window",
    "lexical": "the lexical score",
}
EQUAL_SHARES = dict.fromkeys((*MEAN, "lexical"), 1.0)  # of a model without a calibration
TITLES = {
    "text_queries": "Queries that name a text",
    "misspelt_queries": "The same with slips of typing",
    "meaning_queries": "Queries that say what a text means",
    "visual_queries": "Visual queries",
}


def main(argv: list[str] | None = None) -> int:
    """Runs the benchmark; returns the exit status."""
    args = _parse(argv)
    if not (args.data / "annotations.json").is_file():
        print(f"Skipped: {args.data} holds no annotations.json. It is a local data set that is not distributed.")
        return 0
    annotations = json.loads((args.data / "annotations.json").read_text(encoding="utf-8"))

    from scripts.benchmarks.ocr.timed_engine import TimedEngine
    from tcd_hf import load
    from tcd_hf.index.video_index import VideoIndex
    from tcd_hf.processing.ocr_engines import get_engine
    from tcd_hf.reading.files import find_videos

    model, processor = load(args.model, device="auto")
    timed = TimedEngine(get_engine(processor.ocr_engine, **(processor.ocr_options or {})), args.readings)
    processor.ocr_engine, processor.ocr_options = timed, None
    with tempfile.TemporaryDirectory() as folder:
        options = {"cache_dir": Path(folder) / "cache", "lexical_weight": args.lexical_weight}
        index = VideoIndex.create(Path(folder) / "index", model, processor, **options)
        start = time.perf_counter()
        added = index.add(find_videos([args.data / "clips"]), workers=0)  # in this process, where the engine is timed
        seconds = time.perf_counter() - start
        captions = index.captions
        report = {
            "machine": describe_machine(*READERS),
            "lexical_weight": index.lexical_weight,
            "gallery": {
                "videos": len(index),
                "skipped": len(added.skipped),
                "seconds": round(seconds, 1),
                "seconds_of_ocr": round(timed.seconds, 1),
                "seconds_of_video": round(sum(windows[-1].end for windows in captions), 1),
            },
            **measure_search(index, annotations, args.data),
        }
    print(to_markdown(report))
    if args.json:
        args.json.write_text(json.dumps(report, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return 0


def measure_search(index, annotations: list[dict], data: Path) -> dict:
    """Recall of every ranker on each kind of query, of the fused search over its weight, and without each part."""
    from tcd_hf.index.fusing import Fusion

    captions = [[caption.text for caption in windows] for windows in index.captions]
    results = {}
    for name, pairs in read_queries(index, annotations, data).items():
        queries, targets = [query for query, _ in pairs], np.array([column for _, column in pairs])
        start = time.perf_counter()
        scores = index.score(queries)
        seconds = time.perf_counter() - start
        rankers = {
            "BM25 on words, one document a clip": bm25_scores(captions, queries),
            "the same without English stop words": bm25_scores(captions, queries, stopwords="en"),
            "words and parts of words, text by text (the lexical score)": scores.lexical,
            "model: text-video part": scores.text_video,
            "model: text-OCR part": scores.text_ocr,
            "model: hybrid part": scores.text_hybrid,
            "model: nearest window": scores.text_window,
            "model: total": scores.similarity,
            "search: model and lexical score fused": scores.score,
            **fused_without(index.model.config.search_calibration, scores, index.lexical_weight),
        }
        weighed = {f"{w:.1f}": Fusion.of(index.model.config, w).score(vars(scores), scores.lexical) for w in WEIGHTS}
        results[name] = {
            "count": len(pairs),
            "milliseconds_per_query": round(1000 * seconds / len(pairs), 2),
            "recall": {name: recall(matrix, targets) for name, matrix in rankers.items() if matrix is not None},
            "recall_at_1_by_weight": {w: recall(matrix, targets)["R@1"] for w, matrix in weighed.items()},
        }
    return results


def read_queries(index, annotations: list[dict], data: Path) -> dict[str, list[tuple[str, int]]]:
    """By kind, queries and the columns of their clips; those by meaning only where the folder has `meaning.json`."""
    columns = {Path(path).resolve(): column for column, path in enumerate(index.paths)}
    text_queries, visual_queries = [], []
    for clip in annotations:
        column = columns[(data / clip["video"]).resolve()]
        if clip["has_text"]:
            text_queries += [(caption, column) for caption in clip["captions"][:2]]
        visual_queries.append((clip["captions"][2], column))
    slips = random.Random(SLIPS)
    kinds = {
        "text_queries": text_queries,
        "misspelt_queries": [(misspell(query, slips), column) for query, column in text_queries],
    }
    if (data / "meaning.json").is_file():
        meanings = json.loads((data / "meaning.json").read_text(encoding="utf-8"))
        kinds["meaning_queries"] = [
            (entry["meaning"], columns[(data / entry["video"]).resolve()]) for entry in meanings
        ]
    return kinds | {"visual_queries": visual_queries}


def fused_without(calibration: dict | None, scores, lexical_weight: float) -> dict[str, np.ndarray]:
    """The fused score with each part left out, by name; what is left keeps its weights, as no order depends on their
    sum."""
    from tcd_hf.index.fusing import Fusion

    left_out = {}
    for part, title in PARTS.items():
        values = getattr(scores, part)
        if values is None or not (calibration or EQUAL_SHARES).get(part):
            continue
        if calibration is not None:
            fused = Fusion({**calibration, part: 0.0}, lexical_weight).score(vars(scores), scores.lexical)
        else:
            others = [name for name in MEAN if name != part and getattr(scores, name) is not None]
            model = sum(getattr(scores, name) for name in others) / len(MEAN)
            lexical = 0 * scores.lexical if part == "lexical" else scores.lexical
            fused = (1 - lexical_weight) * model + lexical_weight * lexical
        left_out[f"search without {title}"] = fused
    return left_out


def recall(similarity: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """R@1, R@5, R@10, MdR of the text-to-video direction."""
    from tcd_hf.evaluation.metrics import compute_retrieval_metrics

    metrics = compute_retrieval_metrics(similarity, targets)
    return {name: round(metrics[f"t2v_{name}"], 4) for name in [*(f"R@{k}" for k in CUTOFFS), "MdR", "MRR"]}


def bm25_scores(captions: list[list[str]], queries: list[str], stopwords: str | None = None) -> np.ndarray | None:
    """Plain BM25 on the same readings: the bar to beat. None without the package bm25s."""
    try:
        import bm25s
    except ImportError:
        print("BM25 is left out: it needs `pip install 'tcd-hf[benchmark]'`.", file=sys.stderr)
        return None
    documents = [" ".join(windows) for windows in captions]
    ranker = bm25s.BM25()
    ranker.index(bm25s.tokenize(documents, stopwords=stopwords, show_progress=False), show_progress=False)
    tokens = bm25s.tokenize(queries, stopwords=stopwords, return_ids=False, show_progress=False)
    return np.stack([ranker.get_scores(words) for words in tokens])


def to_markdown(report: dict) -> str:
    """The report as Markdown."""
    gallery = report["gallery"]
    blocks = [
        f"{in_words(report['machine'])}.",
        f"Gallery: {gallery['videos']} clips, {gallery['seconds_of_video']} s of video, read and encoded in "
        f"{gallery['seconds']} s, OCR {gallery['seconds_of_ocr']} s. w = {report['lexical_weight']}.",
    ]
    for name, title in TITLES.items():
        if name not in report:
            continue
        part = report[name]
        rows = [["ranked by", *(f"R@{k}" for k in CUTOFFS), "MdR"]]
        for ranker, scores in part["recall"].items():
            rows.append([ranker, *(f"{scores[f'R@{k}']:.3f}" for k in CUTOFFS), f"{scores['MdR']:g}"])
        weights = part["recall_at_1_by_weight"]
        blocks += [
            f"{title} ({part['count']}; {part['milliseconds_per_query']} ms each):",
            table(rows),
            "R@1 by w, on these same queries:",
            table([["w", *weights], ["R@1", *(f"{value:.3f}" for value in weights.values())]]),
        ]
    return "\n\n".join(blocks)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with annotations.json and clips/")
    parser.add_argument("--model", default="tcd-mini", help="model folder or Hub id")
    parser.add_argument("--lexical-weight", type=float, default=0.5, help="w of the search score, in [0, 1]")
    parser.add_argument("--readings", type=Path, help="keep readings here, to go on with after a stop")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    args = parser.parse_args(argv)
    if not 0 <= args.lexical_weight <= 1:
        parser.error(f"--lexical-weight must lie in [0, 1], got {args.lexical_weight}")
    return args


if __name__ == "__main__":
    raise SystemExit(main())
