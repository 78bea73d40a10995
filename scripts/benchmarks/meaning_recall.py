"""Measures whether the first stage of a search keeps what queries mean: recall by one vector of a segment, by those of
its captions, and by both, as a search does.

    python -m scripts.benchmarks.meaning_recall --segments 10000

Segments are generated: windows with captions of a pool, over frames that no image tower has learnt; some hold the
caption that a query means, of held-out concepts, others one that a query spells. Prints how often that segment is among
the 50 nearest, what the vectors take in memory, and how long a query's products take. Spelling, which recalls too, is
left out. Needs the extras `[train-mini]`
and `[synthetic]`.
"""

import argparse
import json
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from scripts.benchmarks.machine import describe_machine, in_words, table
from scripts.train_mini.fusion import MAX_STRAYS, draw_windows
from scripts.train_mini.unknown_frames import noise_picture, wandering_video
from tcd_hf import TCDModel, TCDProcessor, load
from tcd_hf.data.meaning_pairs import MeaningPairGenerator
from tcd_hf.data.text_pairs import TextPairGenerator

NAMED = 50  # rows that a recall names
FRAME_SIZE = 96  # pixels, before the image processor
UNKNOWN_VIDEOS = 40
BATCH = 64
TIMED = 30  # products, of which the fastest half is averaged


class Gallery(NamedTuple):
    """Segments as vectors, and queries.

    Attributes:
        coarse (`torch.FloatTensor` of shape `(num_segments, dim)`): one vector each.
        windows (`torch.FloatTensor` of shape `(num_windows, dim)`): of their different captions, one after the other.
        segment_of (`torch.LongTensor` of shape `(num_windows,)`): whose each is.
        queries (`dict[str, torch.FloatTensor]`): by kind, `(num_queries, dim)`; query i is for segment `targets[i]`.
        targets (`dict[str, torch.LongTensor]`)
    """

    coarse: torch.Tensor
    windows: torch.Tensor
    segment_of: torch.Tensor
    queries: dict[str, torch.Tensor]
    targets: dict[str, torch.Tensor]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--model", default="tcd-mini", help="model folder or Hub id")
    parser.add_argument("--segments", type=int, default=10_000)
    parser.add_argument("--captions", type=int, default=4000, help="in the pool that segments draw from")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    args = parser.parse_args(argv)
    model, processor = load(args.model, dtype=torch.float32)
    gallery = make_gallery(model.eval(), processor, args.segments, args.captions)
    report = {"machine": describe_machine(), "segments": args.segments, **measure(gallery)}
    print(to_markdown(report))
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


@torch.inference_mode()
def make_gallery(model: TCDModel, processor: TCDProcessor, num_segments: int, num_captions: int) -> Gallery:
    """Generates segments and makes vectors of them."""
    rng, num_windows = np.random.default_rng(0), model.config.num_frames
    meant = MeaningPairGenerator(1, held_out=True)
    texts = TextPairGenerator(2, held_out=True, siblings=1, no_text_share=0.0)
    meaning = meant.take(len(meant.concepts))
    spelling = texts.take(len(meaning))
    asked = {"meaning": [pair.query for pair in meaning], "spelling": [pair.query for pair in spelling]}
    own = [pair.caption for pair in (*meaning, *spelling)]
    if num_segments < len(own):
        raise ValueError(f"--segments must be at least {len(own)}, as many as there are queries, got {num_segments}.")
    pool = [pair.caption for pair in TextPairGenerator(3, siblings=1, no_text_share=0.0).take(num_captions)]
    captions = ["", *own, *pool]  # each segment draws from the pool, those with a caption of their own have it, too
    drawn = len(own) + 1 + rng.integers(0, len(pool), (num_segments, MAX_STRAYS + 1))
    drawn[: len(own), 0] = 1 + np.arange(len(own))
    choices = np.concatenate([np.zeros((num_segments, 1), np.int64), drawn], axis=1)
    rows = np.take_along_axis(choices, draw_windows(rng, num_segments, num_windows), axis=1)
    caption_embeds = _embed_captions(model, processor, captions, num_windows)
    frames = _embed_unknown(model, processor, rng, num_windows)
    coarse, windows, segment_of = [], [], []
    for start in range(0, num_segments, BATCH):
        of_batch = torch.from_numpy(rows[start : start + BATCH])
        unknown = torch.from_numpy(rng.integers(0, UNKNOWN_VIDEOS, len(of_batch)))
        norms = {} if frames[1] is None else {"frame_norms": frames[1][unknown]}
        fused = model.fuse(frames[0][unknown], caption_embeds[of_batch], of_batch > 0, **norms)
        coarse.append(fused.coarse_embeds.float())
    for segment, row in enumerate(rows):
        different = np.unique(row[row > 0])
        windows.append(caption_embeds[torch.from_numpy(different)])
        segment_of += [segment] * len(different)
    queries, targets = {}, {}
    for number, (kind, sentences) in enumerate(asked.items()):
        queries[kind] = torch.cat(
            [
                model.get_text_features(
                    **processor(text=sentences[start : start + BATCH], return_tensors="pt")
                ).pooler_output.float()
                for start in range(0, len(sentences), BATCH)
            ]
        )
        targets[kind] = number * len(meaning) + torch.arange(len(sentences))
    return Gallery(torch.cat(coarse), torch.cat(windows), torch.tensor(segment_of), queries, targets)


def _embed_captions(model: TCDModel, processor: TCDProcessor, captions: list[str], num_windows: int) -> torch.Tensor:
    """`(num_captions, dim)`, as captions of a video are embedded."""
    black = np.zeros((num_windows, 8, 8, 3), np.uint8)
    embeds = []
    for start in range(0, len(captions), num_windows):
        windows = captions[start : start + num_windows]
        padded = windows + [""] * (num_windows - len(windows))
        inputs = processor(videos=[black], ocr_captions=[padded], return_tensors="pt")
        texts = {name: inputs[name] for name in ("ocr_input_ids", "ocr_attention_mask") if name in inputs}
        encoded = model.encode_videos(inputs["pixel_values_videos"], **texts)
        assert encoded.ocr_embeds is not None
        embeds.append(encoded.ocr_embeds[0, : len(windows)])
    return torch.cat(embeds).float()


def _embed_unknown(
    model: TCDModel, processor: TCDProcessor, rng: np.random.Generator, num_frames: int
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Embeddings of frames of noise `(UNKNOWN_VIDEOS, num_frames, dim)`, and their norms."""
    videos = [np.stack(wandering_video(rng, noise_picture, num_frames, FRAME_SIZE)) for _ in range(UNKNOWN_VIDEOS)]
    embeds, norms = [], []
    for frames in videos:
        inputs = processor(videos=[frames], ocr_captions=[[""] * num_frames], return_tensors="pt")
        texts = {name: inputs[name] for name in ("ocr_input_ids", "ocr_attention_mask") if name in inputs}
        encoded = model.encode_videos(inputs["pixel_values_videos"], **texts)
        embeds.append(encoded.frame_embeds.float())
        if encoded.frame_norms is not None:
            norms.append(encoded.frame_norms.float())
    return torch.cat(embeds), torch.cat(norms) if norms else None


@torch.inference_mode()
def measure(gallery: Gallery) -> dict:
    """Recall of either kind of vectors, and of both; bytes and milliseconds."""
    ways = {"one vector a segment": gallery.coarse, "a vector for each different caption": gallery.windows}
    found = {way: {} for way in (*ways, "both, as a search does")}
    for kind, queries in gallery.queries.items():
        scores = {way: queries @ vectors.T for way, vectors in ways.items()}
        per_segment = torch.full((len(queries), len(gallery.coarse)), -1.0)
        windows = scores["a vector for each different caption"]
        per_segment.scatter_reduce_(1, gallery.segment_of.expand(len(queries), -1), windows, "amax")
        scores["a vector for each different caption"] = per_segment
        right = gallery.targets[kind][:, None]
        named = {way: each.topk(NAMED, dim=1).indices == right for way, each in scores.items()}
        for way, hits in named.items():
            found[way][kind] = hits.any(dim=1).float().mean().item()
        both = torch.cat(list(named.values()), dim=1)
        found["both, as a search does"][kind] = both.any(dim=1).float().mean().item()
    query = next(iter(gallery.queries.values()))[0]
    costs = {way: _cost(vectors, query) for way, vectors in ways.items()}
    return {"recall": found, "costs": costs, "vectors": {way: len(vectors) for way, vectors in ways.items()}}


def _cost(vectors: torch.Tensor, query: torch.Tensor) -> dict[str, float]:
    """Megabytes in float16, by which queries are multiplied, and milliseconds of a query's products."""
    halves, seconds = vectors.half(), []
    for _ in range(TIMED):
        start = time.perf_counter()
        torch.mv(halves, query.half())
        seconds.append(time.perf_counter() - start)
    fastest = sorted(seconds)[: TIMED // 2]
    return {"megabytes": vectors.numel() * 2 / 1e6, "milliseconds": 1000 * float(np.mean(fastest))}


def to_markdown(report: dict) -> str:
    kinds = list(next(iter(report["recall"].values())))
    rows = [["recalled by", *(f"{kind}, R@{NAMED}" for kind in kinds), "vectors", "MB", "ms a query"]]
    for way, recall in report["recall"].items():
        cost = report["costs"].get(way)
        told = ["", "", ""]
        if cost:
            told = [report["vectors"][way], f"{cost['megabytes']:.1f}", f"{cost['milliseconds']:.2f}"]
        rows.append([way, *(f"{recall[kind]:.3f}" for kind in kinds), *told])
    return f"{in_words(report['machine'])}\n\n{report['segments']:,} segments:\n\n{table(rows)}"


if __name__ == "__main__":
    raise SystemExit(main())
