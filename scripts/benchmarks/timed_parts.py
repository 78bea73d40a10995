"""Scoring and processing, a turn whenever a line comes in. What `checkouts.py` starts, by the code of any checkout.

A line names a part; what is printed are the seconds of the processor in one turn. So that old checkouts can run it, it
imports nothing of its own, and takes only options that all have.
"""

import sys
import time

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.nn.functional import normalize
from transformers import CLIPConfig, CLIPImageProcessor, PreTrainedTokenizerFast

from tcd_hf import TCDConfig, TCDModel, TCDProcessor
from tcd_hf.processing.ocr_engines import TextReading

WIDTH, FRAMES = 512, 12
TEXTS, VIDEOS = 64, 1000
FEW_TEXTS, FEW_VIDEOS = 8, 50  # for the reference, which is slow
QUERIES = [f"the sign of gate {number} and a shop" for number in range(64)]
WORDS = ["<unk>", "<pad>", "<s>", "</s>", *sorted(set(" ".join(QUERIES).split()))]


class Reader:
    """An OCR engine that costs nothing: every picture shows the same two texts."""

    def __call__(self, images):
        boxes = ((0.1, 0.1, 0.5, 0.2), (0.1, 0.6, 0.5, 0.7))
        return [[TextReading(f"gate {number}", 0.9, box) for number, box in enumerate(boxes)] for _ in images]


@torch.no_grad()
def scoring(interaction: str, method: str | None, num_texts: int, num_videos: int):
    """Scores of texts and videos, of random features, by a model whose towers are tiny."""
    tower = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1}
    backbone = CLIPConfig(text_config=tower, vision_config=tower, projection_dim=WIDTH)
    options = {"interaction": interaction, "temporal_num_layers": 0}
    model = TCDModel(TCDConfig(backbone_config=backbone.to_dict(), **options)).eval()
    for name, parameter in model.named_parameters():
        if not name.startswith("backbone."):  # else the fusion is neutral
            torch.nn.init.normal_(parameter, std=WIDTH**-0.5)
    frames, captions = (normalize(torch.randn(num_videos, FRAMES, WIDTH), dim=-1) for _ in range(2))
    features = model.fuse(frames, captions, torch.rand(num_videos, FRAMES) > 0.4)
    if method != "reference":
        features = model.precompute(features)
    texts = normalize(torch.randn(num_texts, WIDTH), dim=-1)
    return torch.no_grad()(lambda: model.score(texts, features, method))


def processing(video: str):
    """What the processor makes of a batch of texts, of frames with their captions, and of a file that it reads."""
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    tokens = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokens.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"unk_token": "<unk>", "pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokens, model_max_length=77, **special)
    images = CLIPImageProcessor(size={"shortest_edge": 224}, crop_size={"height": 224, "width": 224})
    processor = TCDProcessor(images, tokenizer, num_frames=FRAMES, ocr_engine=Reader())
    frames = np.random.default_rng(0).integers(0, 255, (FRAMES, 240, 320, 3), np.uint8)
    captions = [QUERIES[:FRAMES]]
    return {
        "text": lambda: processor(text=QUERIES),
        "frames": lambda: processor(videos=[frames], ocr_captions=captions),
        "file": lambda: processor(videos=[video]),
    }


def main() -> None:
    torch.manual_seed(0)
    parts = {
        "reference": scoring("tcd", "reference", FEW_TEXTS, FEW_VIDEOS),
        "factorized": scoring("tcd", "factorized", TEXTS, VIDEOS),
        "tib": scoring("tib", None, TEXTS, VIDEOS),
        **processing(sys.argv[1]),
    }
    for part in parts.values():
        part()
    print("ready", flush=True)
    for line in sys.stdin:
        begin = time.process_time()
        parts[line.strip()]()
        print(time.process_time() - begin, flush=True)


if __name__ == "__main__":
    main()
