"""Measures what rows with features as int8 find less than rows with features as float16.

    python -m scripts.benchmarks.smaller_rows --data FOLDER

Of real clips (`--data`, the folder of `scripts/benchmarks/realvid.py`, indexed once in each type) R@1 of the search and
of the model's score by kind of query; of the generated collections that the search score is judged on
(`scripts/benchmarks/fusion.py`), R@1 of the checkpoint's own score. What rows weigh is measured by
`scripts.benchmarks.moments --parts disk`. Needs the extras `[train-mini]` and `[synthetic]`.
"""

import argparse
import json
import tempfile
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from scripts.benchmarks.machine import READERS, describe_machine, in_words, table
from scripts.benchmarks.realvid import read_queries, recall
from scripts.search_calibration.forms import judge
from scripts.search_calibration.material import KINDS, collections, make_material
from tcd_hf import TCDModel, TCDProcessor, VideoIndex, load
from tcd_hf.choices import FeatureType
from tcd_hf.index.fusing import Fusion
from tcd_hf.index.metadata import COARSE_COLUMN, IndexMetadata, feature_tensors
from tcd_hf.index.stored_features import FEATURE_PREFIX, decode_features, encode_features
from tcd_hf.modeling.outputs import TCDVideoFeatures

TYPES: tuple[FeatureType, ...] = get_args(FeatureType)
NO_FINGERPRINTS = dict.fromkeys(
    (f"{part}_fingerprint" for part in ("model", "tokenizer", "caption", "frame")), "benchmark"
)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder with annotations.json and clips/")
    parser.add_argument("--readings", type=Path, help="keep readings here, to go on with after a stop")
    parser.add_argument("--model", default="tcd-mini", help="model folder or Hub id")
    parser.add_argument("--collections", type=int, default=24, help="generated ones")
    parser.add_argument("--text-pairs", type=int, default=400, help="generated pairs for spelling")
    parser.add_argument("--clips", type=int, default=200, help="clips of the synthetic world")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    args = parser.parse_args(argv)
    model, processor = load(args.model, dtype=torch.float32)
    report = {
        "machine": describe_machine(*READERS),
        "generated": {
            kind: measure_generated(model.eval(), processor, kind, args.collections, args.text_pairs, args.clips)
            for kind in TYPES
        },
    }
    if args.data is not None:
        report["real clips"] = measure_real(model, processor, args.data, args.readings)
    print(to_markdown(report))
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def measure_generated(
    model: TCDModel, processor: TCDProcessor, kind: FeatureType, count: int, text_pairs: int, clips: int
) -> dict[str, float]:
    """R@1 by kind of query."""
    stored = partial(as_stored, kind=kind)
    material = make_material(model, processor, text_pairs, clips, as_stored=stored)
    fusion = Fusion.of(model.config)
    judged = judge(list(collections(material, count)), lambda parts: fusion.score(parts, parts["lexical"]))
    return {name: judged[name][0] for name in KINDS}


def as_stored(features: TCDVideoFeatures, kind: FeatureType) -> TCDVideoFeatures:
    """Features, without scoring tables, as they come back from the rows of an index."""
    sizes = {"dim": features.coarse_embeds.shape[-1], "num_frames": features.frame_embeds.shape[1]}
    made_by = {**NO_FINGERPRINTS, "model_name": "", "segment_seconds": 30.0, "feature_type": kind}
    metadata = IndexMetadata.describe(features, **made_by, **sizes)
    tensors = feature_tensors(features)
    coarse = tensors.pop(COARSE_COLUMN)
    rows = encode_features({name: each.numpy().astype(np.float16) for name, each in tensors.items()}, metadata)
    decoded = decode_features(torch.from_numpy(rows), metadata)
    fields = {name.removeprefix(FEATURE_PREFIX): each for name, each in decoded.items()}
    return TCDVideoFeatures(**fields, coarse_embeds=coarse)


def measure_real(model: TCDModel, processor: TCDProcessor, data: Path, readings: Path | None) -> dict:
    """By type and kind of query, R@1 of the search and of the model's score; bytes of the index, compacted."""
    from scripts.benchmarks.ocr.timed_engine import TimedEngine
    from tcd_hf.processing.ocr_engines import get_engine
    from tcd_hf.reading.files import find_videos

    annotations = json.loads((data / "annotations.json").read_text(encoding="utf-8"))
    engine = get_engine(processor.ocr_engine, **(processor.ocr_options or {}))
    processor.ocr_engine, processor.ocr_options = TimedEngine(engine, readings), None
    measured = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in TYPES:
            options = {"cache_dir": Path(folder) / "cache", "feature_type": kind}
            index = VideoIndex.create(Path(folder) / kind, model, processor, **options)
            index.add(find_videos([data / "clips"]), workers=0, on_video=lambda path: None)
            index.compact()
            measured[kind] = {"bytes": index.stats().bytes_on_disk, **_recall_at_1(index, annotations, data)}
    return measured


def _recall_at_1(index: VideoIndex, annotations: list[dict], data: Path) -> dict[str, dict[str, float]]:
    found = {}
    for name, pairs in read_queries(index, annotations, data).items():
        scores = index.score([query for query, _ in pairs])
        targets = np.array([column for _, column in pairs])
        rankers = {"search": scores.score, "model": scores.similarity}
        found[name] = {ranker: recall(matrix, targets)["R@1"] for ranker, matrix in rankers.items()}
    return found


def to_markdown(report: dict) -> str:
    """The report as Markdown."""
    generated = report["generated"]
    rows = [["features as", *KINDS], *([kind, *(f"{generated[kind][name]:.4f}" for name in KINDS)] for kind in TYPES)]
    parts = [in_words(report["machine"]), "R@1 in generated collections:", table(rows)]
    real = report.get("real clips")
    if real:
        names = [name for name in real[TYPES[0]] if name != "bytes"]
        rows = [["features as", "ranked by", *names, "bytes of the index"]]
        for kind in TYPES:
            for ranker in ("search", "model"):
                shares = (f"{real[kind][name][ranker]:.4f}" for name in names)
                rows.append([kind, ranker, *shares, f"{real[kind]['bytes']:,}"])
        parts += ["R@1 among real clips:", table(rows)]
    return "\n\n".join(parts)


if __name__ == "__main__":
    raise SystemExit(main())
