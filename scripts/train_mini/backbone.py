"""The small CLIP-shaped backbone of tcd-mini: its tokenizer, its shape, and a start that already knows spelling.

A text tower started at random needs far more pairs than a CPU can read in an hour before it matches a name it has not
seen. So it starts as a bag of character n-grams: each token's embedding is a random projection of the n-grams it is
spelt with, and the last attention takes their mean, weighted by how rare tokens are and, once trained, by the three
tokens before them ("named ..."). Training then adds what a bag cannot know. (Source: ours.)
"""

import copy
import json
import math
import random
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from tokenizers import Tokenizer, models, trainers
from torch import nn
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

from tcd_hf import TCDConfig, TCDModel, TCDProcessor

WEIGHT_DIM = 0  # of the text tower's hidden state: how much a token counts
POSITION_DIMS = slice(1, 25)  # sinusoids of the position
CONTEXT_DIMS = slice(25, 28)  # how much the token adds to the weight of the next, the second and the third token
CONTENT_DIMS = slice(28, None)  # the n-grams
NUM_NEIGHBOURS = CONTEXT_DIMS.stop - CONTEXT_DIMS.start
MAX_LENGTH = 77
PRIVATE_USE = 0xE000  # first character that Unicode leaves to applications


# tokenizer -----------------------------------------------------------------------------------------------------------
def byte_alphabet() -> dict[str, int]:
    """Byte-level BPE's printable character of each byte -> the byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> CLIPTokenizer:
    """Trains a lower-casing byte-level BPE that splits as CLIP's does.

    The vocabulary is laid out as CLIP's: every byte, every byte that ends a word, the merges in order, start and end of
    text. Hence no text has an unknown token.
    """
    bytes_only = [character + end for end in ("", "</w>") for character in byte_alphabet()]
    template = CLIPTokenizer(vocab={token: i for i, token in enumerate(bytes_only)}, merges=[])
    # The trainer numbers "letter that ends a word" in an order that changes from run to run, and breaks ties by number.
    # It is shown one private character instead for each: those it sorts.
    ends = {chr(PRIVATE_USE + byte): character + "</w>" for character, byte in byte_alphabet().items()}
    private = {end.removesuffix("</w>"): character for character, end in ends.items()}
    backend = template.backend_tokenizer
    words = (
        word[:-1] + private[word[-1]]
        for text in texts
        for word, _ in backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(text))
    )
    trained = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=[*byte_alphabet(), *ends],
        max_token_length=12,
        show_progress=False,
    )
    trained.train_from_iterator(words, trainer)
    merges = [tuple(part[:-1] + ends.get(part[-1], part[-1]) for part in merge) for merge in json_merges(trained)][
        : vocab_size - len(bytes_only) - 2
    ]
    vocab = [*bytes_only, *("".join(merge) for merge in merges), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={token: i for i, token in enumerate(vocab)},
        merges=merges,
        model_max_length=MAX_LENGTH,
        padding_side="right",
    )


def json_merges(tokenizer: Tokenizer) -> list[tuple[str, str]]:
    """The merges of a BPE tokenizer in order; its JSON form is the only door to them."""
    return [tuple(merge) for merge in json.loads(tokenizer.to_str())["model"]["merges"]]


def tokenizer_variants(tokenizer: CLIPTokenizer, share: float, count: int, seed: int) -> list[CLIPTokenizer]:
    """Copies of a tokenizer, each without a random `share` of its merges.

    Trained on many ways to cut a word into tokens, a model learns how the word is spelt. (The library's own BPE dropout
    does the same, but cannot be seeded.)
    """
    rng = random.Random(seed)
    merges = json_merges(tokenizer.backend_tokenizer)
    variants = []
    for _ in range(count):
        kept = [merge for merge in merges if rng.random() >= share]
        variants.append(CLIPTokenizer(vocab=tokenizer.get_vocab(), merges=kept, model_max_length=MAX_LENGTH))
    return variants


def token_spellings(tokenizer: CLIPTokenizer) -> list[str]:
    """What each token spells, by id; a space stands for the end of a word, special tokens spell nothing."""
    alphabet = byte_alphabet()
    spellings = []
    for token in tokenizer.convert_ids_to_tokens(range(len(tokenizer))):
        if token in tokenizer.all_special_tokens:
            spellings.append("")
            continue
        stem = token.removesuffix("</w>")
        spelling = bytes(alphabet[c] for c in stem).decode("utf-8", errors="replace")
        spellings.append(spelling + (" " if token.endswith("</w>") else ""))
    return spellings


# model ---------------------------------------------------------------------------------------------------------------
def build_config(tokenizer: CLIPTokenizer, shape: dict) -> CLIPConfig:
    """The configuration for a tokenizer and the `text`, `vision` and `projection_dim` entries of the YAML file."""
    special = {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": MAX_LENGTH,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return CLIPConfig(
        text_config={**shape["text"], **special, "projection_dim": shape["projection_dim"]},
        vision_config={**shape["vision"], "projection_dim": shape["projection_dim"]},
        projection_dim=shape["projection_dim"],
        logit_scale_init_value=math.log(100.0),
    )


def build_model(tokenizer: CLIPTokenizer, texts: list[str], shape: dict, seed: int) -> CLIPModel:
    """A CLIPModel whose text tower starts as a bag of n-grams, each token weighted by how rare it is in `texts`."""
    torch.manual_seed(seed)
    model = CLIPModel(build_config(tokenizer, shape))
    with torch.no_grad():
        init_text_embeddings(model, tokenizer, texts, seed)
        layers = model.text_model.encoder.layers
        for layer in layers:
            layer.mlp.fc2.weight.zero_()
        for layer in layers[:-1]:
            init_neighbour_attention(layer.self_attn)
        init_context(layers[0].self_attn)
        init_pooling_attention(layers[-1].self_attn)
        init_projection(model.text_projection)
    return model


def init_text_embeddings(model: CLIPModel, tokenizer: CLIPTokenizer, texts: list[str], seed: int) -> None:
    """Token embeddings: a random projection of the token's 1-5-grams, and the log of the token's idf as its weight."""
    spellings = token_spellings(tokenizer)
    grams = TfidfVectorizer(analyzer="char", ngram_range=(1, 5), lowercase=False, sublinear_tf=True).fit_transform(
        spellings
    )
    table = model.text_model.embeddings.token_embedding.weight
    dims = table[:, CONTENT_DIMS].shape[1]
    directions = np.random.default_rng(seed).standard_normal((grams.shape[1], dims)).astype(np.float32)
    content = torch.from_numpy(grams @ directions).float()
    content[tokenizer.bos_token_id].normal_()
    weight = token_idf(tokenizer, texts).log()
    # The start of a text is a mass that every text has: texts of few light tokens resemble it.
    weight[[tokenizer.bos_token_id, tokenizer.eos_token_id]] = weight.median()
    set_token_embeddings(model, content, weight, torch.zeros(len(weight), NUM_NEIGHBOURS))
    table[tokenizer.eos_token_id, CONTENT_DIMS] = 0.0  # what is pooled starts empty

    places = torch.arange(MAX_LENGTH)[:, None] * position_frequencies()
    positions = model.text_model.embeddings.position_embedding.weight
    positions.zero_()
    positions[:, POSITION_DIMS] = torch.cat([places.cos(), places.sin()], dim=1)


def token_idf(tokenizer: CLIPTokenizer, texts: list[str]) -> torch.Tensor:
    """Inverse document frequency (log of texts per text with the token) by token id."""
    frequency = torch.zeros(len(tokenizer))
    for ids in tokenizer(texts, truncation=True)["input_ids"]:
        frequency[list(set(ids))] += 1
    return ((len(texts) + 2) / (frequency + 1)).log().clamp(min=0.01)


def directions_of(content: torch.Tensor) -> torch.Tensor:
    """Unit vectors of mean zero, which a layer norm leaves as they are."""
    return nn.functional.normalize(content - content.mean(-1, keepdim=True), dim=-1)


def set_token_embeddings(model: CLIPModel, content: torch.Tensor, weight: torch.Tensor, context: torch.Tensor) -> None:
    """Writes directions, log weights and effects on followers of all tokens into the table."""
    table = model.text_model.embeddings.token_embedding.weight
    table.zero_()
    table[:, CONTENT_DIMS] = directions_of(content) * content.shape[1] ** 0.5
    table[:, WEIGHT_DIM] = weight - weight.median()
    table[:, CONTEXT_DIMS] = context


def position_frequencies() -> torch.Tensor:
    """Angular frequencies (half of the position dims) of the position code, from a turn in 3 tokens to one in 60."""
    count = (POSITION_DIMS.stop - POSITION_DIMS.start) // 2
    return 2 * math.pi / torch.logspace(math.log10(3), math.log10(60), count)


def init_neighbour_attention(attention: nn.Module, gain: float = 10.0) -> None:
    """Makes head `h` look `h + 1` tokens back (the last one at all alike), to see how a word goes on across tokens."""
    head_dim, frequencies = attention.head_dim, position_frequencies()
    half, start = len(frequencies), POSITION_DIMS.start
    for projection in (attention.q_proj, attention.k_proj):
        projection.weight.mul_(0.3)
        projection.bias.zero_()
    for head in range(NUM_NEIGHBOURS):
        angle = (head + 1) * frequencies
        for i in range(half):
            row, cos, sin = head * head_dim + i, start + i, start + half + i
            attention.q_proj.weight[[row, row + half]] = 0.0
            attention.k_proj.weight[[row, row + half]] = 0.0
            # turn the query back by the offset: it meets the key of the token `head + 1` places earlier
            attention.q_proj.weight[row, cos] = attention.q_proj.weight[row + half, sin] = gain * angle[i].cos()
            attention.q_proj.weight[row, sin] = gain * angle[i].sin()
            attention.q_proj.weight[row + half, cos] = -gain * angle[i].sin()
            attention.k_proj.weight[row, cos] = attention.k_proj.weight[row + half, sin] = 1.0
    attention.out_proj.weight.zero_()  # says nothing yet: the untrained tower is the bag alone


def init_context(attention: nn.Module) -> None:
    """Lets the heads that look back add what they find in the context dims to the weight dim."""
    for head in range(NUM_NEIGHBOURS):
        row = head * attention.head_dim
        attention.v_proj.weight[row] = 0.0
        attention.v_proj.weight[row, CONTEXT_DIMS.start + head] = 1.0
        attention.out_proj.weight[WEIGHT_DIM, row] = 1.0


def init_pooling_attention(attention: nn.Module) -> None:
    """Makes every head weigh tokens by the exponential of their weight dim and copy them as they are."""
    head_dim = attention.head_dim
    for projection in (attention.q_proj, attention.k_proj):
        projection.weight.mul_(0.1)
        projection.bias.zero_()
    for row in range(0, attention.embed_dim, head_dim):
        attention.q_proj.bias[row] = head_dim**0.5
        attention.k_proj.weight[row] = 0.0
        attention.k_proj.weight[row, WEIGHT_DIM] = 1.0
    for projection in (attention.v_proj, attention.out_proj):
        nn.init.eye_(projection.weight)
        projection.bias.zero_()


def init_projection(projection: nn.Linear) -> None:
    """Keeps the content of the pooled token and spreads it over the joint space without changing angles."""
    projection.weight.zero_()
    content = torch.empty_like(projection.weight[:, CONTENT_DIMS])
    projection.weight[:, CONTENT_DIMS] = nn.init.orthogonal_(content)


@torch.no_grad()
def quieten_vision(model: CLIPModel, text_embeds: torch.Tensor, dims: int = 16) -> None:
    """Turns what an untrained vision tower says to where texts say least, so that no frame is nearer to a text.

    Args:
        model: its visual projection is changed.
        text_embeds: normalised embeddings of many texts `(num_texts, projection_dim)`.
        dims: directions that frames may take; there is no reason why a trained tower should keep to them.
    """
    _, directions = torch.linalg.eigh(text_embeds.T @ text_embeds)  # in the order of growing energy
    quiet = directions[:, :dims]
    projection = model.visual_projection.weight
    projection.copy_(quiet @ quiet.T @ projection)


# output --------------------------------------------------------------------------------------------------------------
def build_mini(towers: nn.Module, tokenizer: CLIPTokenizer) -> tuple[TCDModel, TCDProcessor]:
    """A TCDModel on a copy of these towers, its fusion neutral, and its processor."""
    size = towers.config.vision_config.image_size
    image_processor = CLIPImageProcessor(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    # no temporal layers: they serve the coarse vector alone, and would add half its size to the file
    model = TCDModel.from_backbone(copy.deepcopy(towers).eval(), temporal_num_layers=0)
    return model, TCDProcessor(image_processor, tokenizer)


def save_mini(model: TCDModel, processor: TCDProcessor, output: Path) -> None:
    """Writes both, the weights as float16, without code: the checkpoint stays inside the package that has it."""
    model = copy.deepcopy(model).half()
    for part in (model.config, processor, processor.tokenizer, processor.image_processor):
        vars(part).pop("auto_map", None)
    processor.tokenizer.init_kwargs.pop("auto_map", None)
    with ExitStack() as stack:
        for kind in (TCDConfig, TCDModel, TCDProcessor):
            stack.enter_context(patch.object(kind, "_auto_class", None))
        model.save_pretrained(output)
        processor.save_pretrained(output)
