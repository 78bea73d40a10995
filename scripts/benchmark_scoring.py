"""Times a (text, video) pair: the method as written, the factorised scorer, and the dot products all exact ones need.

    python scripts/benchmark_scoring.py [--texts 64] [--videos 1000] [--threads 1]

All read the same random features in one run; every figure is the best of `--repeats`. The dot products are those of
each text with the four vectors of each window (frame, caption, fused frame, fused caption), one matrix product.
"""

import argparse
import json
import os
import time
from pathlib import Path

import torch
from torch.nn.functional import normalize
from transformers import CLIPConfig

from tcd_hf import TCDConfig, TCDModel

REFERENCE_VIDEOS = 50  # the reference is slow: it is timed on so many videos, or all if there are fewer


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--videos", type=int, default=1000)
    parser.add_argument("--width", type=int, default=512, help="of the joint space")
    parser.add_argument("--heads", type=int, default=1, help="fusion_num_heads")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    report = measure(args.texts, args.videos, args.width, args.heads, args.repeats)
    report["threads"] = args.threads
    print(
        f"{args.texts} texts x {args.videos} videos, {args.width} wide, {args.heads} head(s), {args.threads} "
        f"thread(s), torch {torch.__version__}; microseconds a pair:\n"
        f"  reference {report['reference']:.1f}, factorised {report['factorized']:.2f}, dot products "
        f"{report['dot_products']:.2f}\n"
        f"  factorised is {report['reference'] / report['factorized']:.0f} times as fast as the reference, and takes "
        f"{report['factorized'] / report['dot_products']:.1f} times the dot products\n"
        f"  largest difference of a score {report['difference']:.1e}; tables {report['table_bytes'] / 1024:.1f} KiB "
        f"and {report['table_milliseconds']:.2f} ms a video"
    )
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


@torch.inference_mode()
def measure(num_texts: int, num_videos: int, width: int, heads: int, repeats: int) -> dict[str, float]:
    """Microseconds a pair of each way, the largest difference between them, and what a video's tables cost."""
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

    pairs, few_pairs = num_texts * num_videos, num_texts * len(few.frame_embeds)
    reference = model.score(texts, few, method="reference")
    factorized = model.score(texts, few, method="factorized")
    return {
        "reference": best_of(2, lambda: model.score(texts, few, "reference")) / few_pairs * 1e6,
        "factorized": best_of(repeats, lambda: model.score(texts, features, "factorized")) / pairs * 1e6,
        "dot_products": best_of(repeats, lambda: texts @ vectors.T) / pairs * 1e6,
        "difference": max((reference[part] - factorized[part]).abs().max().item() for part in reference),
        "table_bytes": sum(table.nbytes for table in features.scoring_tables.values()) / num_videos,
        "table_milliseconds": 1000 * table_seconds / num_videos,
    }


def random_model(width: int, heads: int) -> TCDModel:
    """A model whose fusion is not neutral; its towers are tiny because scoring does not use them."""
    tower = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1}
    backbone = CLIPConfig(text_config=tower, vision_config=tower, projection_dim=width)
    model = TCDModel(TCDConfig(backbone_config=backbone, fusion_num_heads=heads)).eval()
    for name, parameter in model.named_parameters():
        if not name.startswith("backbone."):
            torch.nn.init.normal_(parameter, std=width**-0.5)
    return model


def best_of(repeats: int, function) -> float:
    """Seconds of the fastest of `repeats` calls."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


if __name__ == "__main__":
    raise SystemExit(main())
