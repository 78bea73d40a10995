"""First step of the checkpoint inside the package: its text tower learns to match sentences with what is read.

    python -m scripts.train_mini.text --output build/mini-text      # 20 minutes on a CPU core, no network

The text tower learns to match a sentence with the OCR caption that contains the texts it mentions, from generated pairs
only (`tcd_hf.data.text_pairs`). Two phases, both symmetric InfoNCE with siblings as hard negatives:

1. warm-up: only the token embeddings, pooled as a weighted bag, which is what the tower computes at its start (cheap);
2. training: the whole text tower.

The vision tower stays as initialised: `scripts/train_mini/image.py` puts another in its place. Needs the extra
`[train-mini]`.
"""

import argparse
import copy
import logging
import random
from functools import partial
from importlib import metadata
from pathlib import Path

import torch
import yaml
from torch.nn.functional import embedding_bag, normalize
from transformers import CLIPModel, CLIPTokenizer

from scripts.train_mini.backbone import (
    CONTENT_DIMS,
    CONTEXT_DIMS,
    WEIGHT_DIM,
    build_mini,
    build_model,
    directions_of,
    quieten_vision,
    save_mini,
    set_token_embeddings,
    tokenizer_variants,
    train_tokenizer,
)
from scripts.train_mini.log import Log
from tcd_hf.data.text_pairs import TextPair, TextPairGenerator

BETAS = (0.9, 0.98)
ROOT = Path(__file__).resolve().parents[2]


# loss and validation -------------------------------------------------------------------------------------------------
def contrastive_loss(
    query_embeds: torch.Tensor, caption_embeds: torch.Tensor, pairs: list[TextPair], scale: float
) -> torch.Tensor:
    """Symmetric InfoNCE in which equal captions are all right, as the empty ones of queries that mention no text.

    Captions beyond the pairs' own belong to no query.
    """
    names = {caption: number for number, caption in enumerate({pair.caption for pair in pairs})}
    caption_ids = torch.tensor([names[pair.caption] for pair in pairs])
    wrong = caption_ids[:, None] != caption_ids[None, :]
    logits = scale * query_embeds @ caption_embeds.T
    own = logits[:, : len(pairs)]
    right = own.masked_fill(wrong, float("-inf"))
    by_query = (logits.logsumexp(1) - right.logsumexp(1)).mean()
    by_caption = (own.logsumexp(0) - right.logsumexp(0)).mean()
    return (by_query + by_caption) / 2


class Validation:
    """Queries on words that training never shows, each looking for its caption among all, siblings included."""

    def __init__(self, seed: int, pairs: int, every: int):
        self.pairs = TextPairGenerator(seed, held_out=True, no_text_share=0.0).take(pairs)
        self.every = every

    @torch.no_grad()
    def __call__(self, encode, tokenizer: CLIPTokenizer) -> dict[str, float]:
        """R@1 in all and by kind of text; `empty`: share of queries nearer to their caption than to the empty one."""
        queries = encode(tokenizer, [pair.query for pair in self.pairs])
        similarity = queries @ encode(tokenizer, [pair.caption for pair in self.pairs]).T
        right = similarity.diagonal()[:, None]
        first = (similarity >= right).sum(1) == 1  # a tie is no success
        metrics = {"all": first, "empty": (right > queries @ encode(tokenizer, [""]).T).squeeze(1)}
        for kind in sorted({pair.kind for pair in self.pairs}):
            metrics[kind] = first[torch.tensor([pair.kind == kind for pair in self.pairs])]
        return {name: round(hits.float().mean().item(), 3) for name, hits in metrics.items()}


# encoders ------------------------------------------------------------------------------------------------------------
def encode_bag(
    content: torch.Tensor, weight: torch.Tensor, context: torch.Tensor, tokenizer: CLIPTokenizer, texts: list[str]
) -> torch.Tensor:
    """What the tower computes at its start: the mean of token directions by weight and context."""
    ids = [ids[:-1] for ids in tokenizer(texts, truncation=True)["input_ids"]]  # the pooled end of text is empty
    flat = torch.tensor([token for text in ids for token in text])
    places = torch.tensor([place for text in ids for place in range(len(text))])
    starts = (places == 0).nonzero().squeeze(1)
    log_weights = weight[flat]
    for back in range(1, context.shape[1] + 1):  # where there is no token so far back, attention takes the first
        neighbours = flat[torch.arange(len(flat)) - places.clamp(max=back)]
        log_weights = log_weights + context[neighbours, back - 1]
    bags = embedding_bag(flat, directions_of(content), starts, mode="sum", per_sample_weights=log_weights.exp())
    return normalize(bags, dim=-1)


def encode_tower(model: CLIPModel, tokenizer: CLIPTokenizer, texts: list[str], chunk_size: int = 48) -> torch.Tensor:
    """Normalised embeddings; texts of like length go through the tower together."""
    ids = tokenizer(texts, truncation=True)["input_ids"]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    chunks = []
    for start in range(0, len(order), chunk_size):
        batch = tokenizer.pad({"input_ids": [ids[i] for i in order[start : start + chunk_size]]}, return_tensors="pt")
        chunks.append(model.get_text_features(**batch).pooler_output)
    places = torch.tensor(order).argsort()
    return normalize(torch.cat(chunks)[places], dim=-1)


# phases --------------------------------------------------------------------------------------------------------------
class Phases:
    """The two phases of training, which differ in what they train and how it encodes.

    Args:
        model: its text tower is trained.
        tokenizer: for validation, and for half of the batches.
        config: the YAML file.
        log: takes losses and validation metrics.
    """

    def __init__(self, model: CLIPModel, tokenizer: CLIPTokenizer, config: dict, log: Log):
        self.model, self.tokenizer, self.scale, self.log = model, tokenizer, config["scale"], log
        seed = config["seed"]
        self.validation = Validation(seed + 1, **config["validation"])
        self.pairs = TextPairGenerator(seed + 2)
        self.rng = random.Random(seed)
        self.variants = tokenizer_variants(tokenizer, **config["tokenizer_variants"], seed=seed)

    def warm_up(self, steps: int, batch_size: int, learning_rate: float, weight_learning_rate: float) -> None:
        """Trains the token embeddings as a bag, and writes them into the model."""
        table = self.model.text_model.embeddings.token_embedding.weight.detach()
        content = directions_of(table[:, CONTENT_DIMS]).requires_grad_()
        weight, context = (table[:, dims].clone().requires_grad_() for dims in (WEIGHT_DIM, CONTEXT_DIMS))
        optimizer = torch.optim.Adam(
            [{"params": [content], "lr": learning_rate}, {"params": [weight, context], "lr": weight_learning_rate}],
            betas=BETAS,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
        self._run("warm_up", partial(encode_bag, content, weight, context), steps, batch_size, optimizer, schedule)
        with torch.no_grad():
            content[self.tokenizer.eos_token_id] = 0.0
            set_token_embeddings(self.model, content, weight, context)

    def train(self, steps: int, batch_size: int, learning_rate: float, rise_steps: int) -> None:
        """Trains the whole text tower."""
        parameters = [*self.model.text_model.parameters(), *self.model.text_projection.parameters()]
        optimizer = torch.optim.Adam(parameters, lr=learning_rate, betas=BETAS)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min((step + 1) / rise_steps, (steps - step) / max(steps, 1))
        )
        self._run("train", partial(encode_tower, self.model), steps, batch_size, optimizer, schedule)

    def _run(self, phase: str, encode, steps: int, batch_size: int, optimizer, schedule) -> None:
        self.log(phase=phase, step=0, **self.validation(encode, self.tokenizer))
        losses = []
        for step in range(1, steps + 1):
            batch = self.pairs.take(batch_size)
            queries = encode(self._some_tokenizer(), [pair.query for pair in batch])
            strays = self.pairs.take_strays(batch_size // 4)
            captions = encode(self._some_tokenizer(), [pair.caption for pair in batch] + strays)
            loss = contrastive_loss(queries, captions, batch, self.scale)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            if step % self.validation.every == 0 or step == steps:
                self.log(
                    phase=phase,
                    step=step,
                    loss=round(sum(losses) / len(losses), 4),
                    **self.validation(encode, self.tokenizer),
                )
                losses.clear()

    def _some_tokenizer(self) -> CLIPTokenizer:
        return self.tokenizer if self.rng.random() < 0.5 else self.rng.choice(self.variants)


# output --------------------------------------------------------------------------------------------------------------
@torch.no_grad()
def save_checkpoint(model: CLIPModel, tokenizer: CLIPTokenizer, texts: list[str], output: Path) -> None:
    """Writes a TCDModel on these towers, float16, with its processor.

    Args:
        texts: shows where the texts' embeddings lie, so that the untrained frames can keep out of their way.
    """
    model = copy.deepcopy(model).eval()
    quieten_vision(model, encode_tower(model, tokenizer, texts))
    save_mini(*build_mini(model, tokenizer), output)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", type=Path, default=Path(__file__).with_name("text.yaml"))
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "mini-text")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = yaml.safe_load(options.config.read_text(encoding="utf-8"))
    torch.set_num_threads(config["threads"])
    log = Log(options.output / "training_log_text.jsonl")

    corpus = TextPairGenerator(config["seed"]).take(config["corpus_pairs"])
    texts = [text for pair in corpus for text in (pair.query, pair.caption)]
    tokenizer = train_tokenizer(texts, config["vocab_size"])
    model = build_model(tokenizer, texts, config["model"], config["seed"])
    log(
        phase="start",
        parameters=sum(p.numel() for p in model.parameters()),
        vocabulary=len(tokenizer),
        versions={name: metadata.version(name) for name in ("torch", "tokenizers", "faker", "english-words")},
    )
    phases = Phases(model, tokenizer, config, log)
    phases.warm_up(**config["warm_up"])
    phases.train(**config["train"])
    save_checkpoint(model, tokenizer, texts[:2000], options.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
