"""What a (text, video) pair costs: the method as written, the factorised scorer, and the dot products none can avoid.

    python -m scripts.benchmarks.scoring [--texts 64] [--videos 1000] [--json numbers.json]

All read the same random features in one run, with one thread and with all cores. They take turns, and each keeps its
fastest turn, so that other work on the machine hits all of them alike. The dot products are those of each text with the
four vectors of each window (frame, caption, fused frame, fused caption), one matrix product.

Beside the time stand multiply-adds a pair: of the matrix products that ran, as torch counts them from their shapes; and
by the formula EERCF publishes for two stages, `D + (k / N) (F D + F P D)`, which counts the coarse score of every video
and the finer scores of the `k` best of `N` videos with `F` frames of `P` patches.
"""

import argparse
import json
import os
import time
from pathlib import Path

import torch
from torch.nn.functional import normalize
from transformers import CLIPConfig

from scripts.benchmarks.counting import multiply_adds
from scripts.benchmarks.machine import describe_machine, in_words, table, verdict
from tcd_hf import TCDConfig, TCDModel

REFERENCE_VIDEOS = 50  # the reference is slow: it is timed on so many videos, or all if there are fewer
RECALL_K, PATCHES = 50, 49  # of the published formula: candidates of the second stage, patches a frame of ViT-B/32
XCLIP_MULTIPLY_ADDS = 197_000  # quoted by EERCF, at 1,000 videos, 12 frames, 32 words
WAYS = {"reference": "TCD as written", "factorized": "TCD factorised", "dot_products": "bare dot products"}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--videos", type=int, default=1000)
    parser.add_argument("--width", type=int, default=512, help="of the joint space")
    parser.add_argument("--heads", type=int, default=1, help="fusion_num_heads")
    parser.add_argument("--repeats", type=int, default=10, help="turns of each way")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    args = parser.parse_args(argv)
    report = measure(args.texts, args.videos, args.width, args.heads, args.repeats)
    print(to_markdown(report))
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


@torch.no_grad()
def measure(num_texts: int, num_videos: int, width: int, heads: int, repeats: int) -> dict:
    """Microseconds and multiply-adds a pair of each way, how far scores differ, and what a video's tables cost."""
    torch.manual_seed(0)
    model = random_model(width, heads)
    num_frames = model.config.num_frames
    frames, captions = (normalize(torch.randn(num_videos, num_frames, width), dim=-1) for _ in range(2))
    texts = normalize(torch.randn(num_texts, width), dim=-1)
    features = model.fuse(frames, captions, torch.rand(num_videos, num_frames) > 0.4)
    start = time.perf_counter()
    features = model.precompute(features)
    table_seconds = time.perf_counter() - start
    few = features.split(REFERENCE_VIDEOS)[0]
    vectors = torch.stack([frames, captions, features.fused_frame_embeds, features.fused_ocr_embeds]).flatten(0, 2)

    pairs = dict.fromkeys(WAYS, num_texts * num_videos) | {"reference": num_texts * len(few.frame_embeds)}
    ways = {
        "reference": lambda: model.score(texts, few, "reference"),
        "factorized": lambda: model.score(texts, features, "factorized"),
        "dot_products": lambda: texts @ vectors.T,
    }
    reference, factorized = ways["reference"](), model.score(texts, few, "factorized")
    counts = {name: multiply_adds(model, way) / pairs[name] for name, way in ways.items()}
    return {
        "texts": num_texts,
        "videos": num_videos,
        "frames": num_frames,
        "width": width,
        "heads": heads,
        "machine": describe_machine(),
        "microseconds": {
            str(threads): {name: best / pairs[name] * 1e6 for name, best in fastest(ways, threads, repeats).items()}
            for threads in sorted({1, os.cpu_count() or 1})
        },
        "multiply_adds": counts | published_multiply_adds(num_videos, num_frames, width, counts["factorized"]),
        "difference": max((reference[part] - factorized[part]).abs().max().item() for part in reference),
        "table_bytes": sum(table.nbytes for table in features.scoring_tables.values()) / num_videos,
        "table_milliseconds": 1000 * table_seconds / num_videos,
    }


def random_model(width: int, heads: int) -> TCDModel:
    """A model whose fusion is not neutral; its towers are tiny because scoring does not use them."""
    tower = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1}
    backbone = CLIPConfig(text_config=tower, vision_config=tower, projection_dim=width)
    model = TCDModel(TCDConfig(backbone_config=backbone, fusion_num_heads=heads, temporal_num_layers=0)).eval()
    for name, parameter in model.named_parameters():
        if not name.startswith("backbone."):
            torch.nn.init.normal_(parameter, std=width**-0.5)
    return model


def fastest(ways: dict, threads: int, repeats: int) -> dict[str, float]:
    """Seconds of each way's fastest call; they take turns, after one turn that does not count."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    turns = [{name: seconds_of(way) for name, way in ways.items()} for _ in range(repeats + 1)]
    torch.set_num_threads(before)
    return {name: min(turn[name] for turn in turns[1:]) for name in ways}


def seconds_of(way) -> float:
    start = time.perf_counter()
    way()
    return time.perf_counter() - start


def published_multiply_adds(num_videos: int, num_frames: int, width: int, factorized: float) -> dict[str, float]:
    """Multiply-adds a pair of two stages by EERCF's formula, and with `factorized` a pair as the second stage."""
    share = min(1.0, RECALL_K / num_videos)
    frames, patches = num_frames * width, num_frames * PATCHES * width
    return {
        "two_stages": width + share * factorized,
        "eercf": width + share * frames,
        "eercf_patches": width + share * (frames + patches),
        "xclip": XCLIP_MULTIPLY_ADDS,
    }


def to_markdown(report: dict) -> str:
    """The report as Markdown."""
    times, counts = report["microseconds"], report["multiply_adds"]
    threads = [f"{each} thread{'s' * (each != '1')}" for each in times]
    stages = f"N = {report['videos']}, k = {min(RECALL_K, report['videos'])}"
    rows = [["", *(f"µs a pair, {each}" for each in threads), "multiply-adds a pair"]]
    for name, title in WAYS.items():
        rows.append([title, *(f"{each[name]:.2f}" for each in times.values()), f"{counts[name]:,.0f}"])
    for name, title in (
        ("two_stages", f"TCD factorised in two stages, {stages} (formula)"),
        ("eercf", f"EERCF, {stages} (formula)"),
        ("eercf_patches", f"EERCF with patches, P = {PATCHES}, {stages} (formula)"),
        ("xclip", "X-CLIP, N = 1000 (as EERCF quotes it)"),
    ):
        rows.append([title, *("" for _ in times), f"{counts[name]:,.0f}"])
    verdicts = [["TCD factorised", "required", *threads], *requirements(times)]
    return "\n\n".join(
        [
            f"{report['texts']} texts x {report['videos']} videos, F = {report['frames']} frames, "
            f"D = {report['width']}, fusion heads: {report['heads']}; {in_words(report['machine'])}.",
            table(rows),
            table(verdicts),
            f"Largest difference of a score {report['difference']:.1e}. Tables: {report['table_bytes'] / 1024:.1f} KiB "
            f"and {report['table_milliseconds']:.2f} ms a video.",
        ]
    )


def requirements(times: dict[str, dict[str, float]]) -> list[list[str]]:
    """What is asked of the factorised scorer and whether it holds, for each number of threads."""
    faster = [each["reference"] / each["factorized"] for each in times.values()]
    slower = [each["factorized"] / each["dot_products"] for each in times.values()]
    return [
        ["times as fast as written", "at least 100", *(f"{x:.0f}, {verdict(x >= 100)}" for x in faster)],
        ["times the bare dot products", "at most 8", *(f"{x:.1f}, {verdict(x <= 8)}" for x in slower)],
    ]


if __name__ == "__main__":
    raise SystemExit(main())
