"""Tiny encoders of texts and of images, of each family, with random weights; and a tokenizer for all of the former."""

from pathlib import Path

import torch
from transformers import (
    AutoModel,
    BertConfig,
    BertTokenizer,
    ConvNextConfig,
    ConvNextImageProcessor,
    Dinov2Config,
    ModernBertConfig,
    MPNetConfig,
    PreTrainedModel,
    Qwen3Config,
    SiglipVisionConfig,
    ViTConfig,
    XLMRobertaConfig,
)

SENTENCE = "the a store shop open tesco express gate b4 star wars query passage : , . in at of"
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *SENTENCE.split()]
SMALL = {
    **{"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4},
    "initializer_range": 0.3,  # so much that texts differ, and mistakes show
}
TEXT = {**SMALL, "vocab_size": len(VOCABULARY), "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
IMAGE = {**SMALL, "image_size": 16, "patch_size": 8}
LIMIT = 40

TEXT_CONFIGS = {
    "BERT": lambda: BertConfig(**TEXT, max_position_embeddings=LIMIT),
    "MPNet": lambda: MPNetConfig(**TEXT, max_position_embeddings=LIMIT + 2),
    "XLM-R": lambda: XLMRobertaConfig(**TEXT, max_position_embeddings=LIMIT + 2, type_vocab_size=1),
    "ModernBERT": lambda: ModernBertConfig(**TEXT, cls_token_id=2, sep_token_id=3, local_attention=4),
    "Qwen3": lambda: Qwen3Config(**TEXT, num_key_value_heads=2, head_dim=8, max_position_embeddings=LIMIT),
}
IMAGE_CONFIGS = {
    "ViT": lambda: ViTConfig(**IMAGE),
    "SigLIP": lambda: SiglipVisionConfig(**IMAGE),
    "ConvNeXt": lambda: ConvNextConfig(hidden_sizes=[8, 24], depths=[1, 1], num_stages=2, image_size=16),
    "DINOv2": lambda: Dinov2Config(**IMAGE),
}


def make_tower(family: str, seed: int = 0) -> PreTrainedModel:
    """An encoder of a family, in evaluation mode."""
    torch.manual_seed(seed)
    return AutoModel.from_config({**TEXT_CONFIGS, **IMAGE_CONFIGS}[family]()).eval()


def word_tokenizer(padding_side: str = "right", model_max_length: int = LIMIT, **options) -> BertTokenizer:
    """BERT's tokenizer over some whole words, which gives `token_type_ids` as well."""
    vocabulary = {word: index for index, word in enumerate(VOCABULARY)}
    return BertTokenizer(vocab=vocabulary, model_max_length=model_max_length, padding_side=padding_side, **options)


def save_towers(folder: Path, text: str = "BERT", image: str = "ConvNeXt") -> tuple[Path, Path]:
    """Folders of a text encoder with its tokenizer, and of an image encoder with its image processor."""
    texts, images = folder / "text", folder / "image"
    make_tower(text).save_pretrained(texts)
    word_tokenizer().save_pretrained(texts)
    make_tower(image).save_pretrained(images)
    ConvNextImageProcessor(size={"shortest_edge": 16}).save_pretrained(images)
    return texts, images
