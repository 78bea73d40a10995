"""Measures the search score over its weight on generated pairs, whose words the package's checkpoint never saw.

    python -m scripts.benchmarks.fusion

Every caption is a video of one window with text and no picture; a query looks for its own among all, siblings that
differ in one text included. The default weight of the search score rests on this, not on the real clips it is shown on.
Needs the extra `[train-mini]`.
"""

import argparse

import numpy as np
import torch
from torch.nn.functional import normalize
from transformers.utils import logging

from scripts.benchmarks.lexical import LexicalScorer
from scripts.benchmarks.machine import describe_machine, in_words, table
from tcd_hf import compute_retrieval_metrics, load_mini
from tcd_hf.data.text_pairs import TextPairGenerator
from tcd_hf.index.hits import fuse_scores

TEXTS_PER_BATCH = 50


@torch.no_grad()
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=1000, help="queries, and captions to find")
    parser.add_argument("--seed", type=int, default=1, help="1 is the validation set of scripts/train_mini/text.py")
    args = parser.parse_args(argv)
    logging.set_verbosity_error()
    pairs = TextPairGenerator(args.seed, held_out=True, no_text_share=0.0).take(args.pairs)
    queries, captions = [pair.query for pair in pairs], [pair.caption for pair in pairs]
    model = model_scores(queries, captions)
    lexical = LexicalScorer([[caption] for caption in captions]).score(queries)
    cutoffs = ["R@1", "R@5", "R@10", "MRR"]
    rows = [["w", *cutoffs]]
    for weight in np.arange(11) / 10:
        metrics = compute_retrieval_metrics(fuse_scores(model, lexical, weight), np.arange(len(pairs)))
        rows.append([f"{weight:.1f}", *(f"{metrics[f't2v_{name}']:.3f}" for name in cutoffs)])
    print(f"{in_words(describe_machine())}\n\n{table(rows)}")
    return 0


def model_scores(queries: list[str], captions: list[str]) -> np.ndarray:
    """The similarity of tcd-mini between queries and captions, on black frames: `(num_queries, num_captions)`."""
    model, processor = load_mini()

    def embed(texts: list[str]) -> torch.Tensor:
        batches = [texts[start : start + TEXTS_PER_BATCH] for start in range(0, len(texts), TEXTS_PER_BATCH)]
        return torch.cat([model.get_text_features(**processor(text=batch)).pooler_output for batch in batches])

    num_frames = model.config.num_frames
    size = model.config.backbone_config.vision_config.image_size
    black = processor.image_processor([np.zeros((size, size, 3), np.uint8)], return_tensors="pt")["pixel_values"]
    frame = normalize(model.backbone.get_image_features(pixel_values=black).pooler_output, dim=-1)
    frames = frame.expand(len(captions), num_frames, -1)
    videos = model.fuse(frames, embed(captions)[:, None].expand(-1, num_frames, -1))
    return model.score(embed(queries), videos).similarity.numpy()


if __name__ == "__main__":
    raise SystemExit(main())
