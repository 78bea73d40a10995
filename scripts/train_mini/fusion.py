"""Third step of the checkpoint inside the package: it learns to read frames and texts together.

    python -m scripts.train_mini.fusion --model build/mini-image      # no network

The towers, of `scripts/train_mini/image.py`, stay as they are and run over everything once, and so does the projection
of texts, which would forget spelling; what is trained is the projection of frames, the logit scale and all that comes
after. A batch holds (ours):

- clips of the synthetic world with their hard negatives, for what frames and texts say together. Of some whose query
  asks for a text alone, the frames are exchanged for unknown ones (`unknown_frames`);
- text pairs of `tcd_hf.data.text_pairs` over unknown frames, so that what the image tower does not know, as all that
  real videos show, does not hide what was read in them.

The weights are then averaged with the neutral ones they started from, which keeps more of what the start could do
outside of this world (Wortsman et al., *Robust fine-tuning of zero-shot models*, 2022), in a share chosen on
validation. The log has R@1 on two validation
sets: clips of the world, and text pairs with held-out words over real photographs.

Needs the extras `[train-mini]` and `[synthetic]`.
"""

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import yaml
from safetensors.torch import load_file, save_file

from scripts.ablation.rows import BASE
from scripts.frozen_towers.batches import Recipe, batches, kinds_of, report
from scripts.frozen_towers.features import BLOCK, USUAL, Features, encode_split, weights_digest
from scripts.frozen_towers.towers import Towers, embed
from scripts.train_mini.backbone import save_mini
from scripts.train_mini.log import TEXT_LOGS, Log, copy_logs
from scripts.train_mini.unknown_frames import noise_picture, photograph, wandering_video
from tcd_hf import TCDModel, compute_retrieval_metrics
from tcd_hf.data.text_pairs import TextPairGenerator
from tcd_hf.evaluation.metrics import retrieval_ranks
from tcd_hf.reading.fingerprints import fingerprint
from tcd_hf.training.optimisation import make_optimizer, make_scheduler

ROOT = Path(__file__).resolve().parents[2]
SPLITS = ("train", "validation")
SIBLINGS = 4  # text pairs that differ in what is mentioned alone
MAX_STRAYS = 3  # captions of others, in the windows of a text pair


class Examples(NamedTuple):
    """Pooled outputs of the towers: of queries `(n, text_dim)`, of their videos' frames `(n, num_frames, vision_dim)`
    and captions `(n, num_frames, text_dim)`, and the mask of windows with text `(n, num_frames)`.
    """

    queries: torch.Tensor
    frames: torch.Tensor
    captions: torch.Tensor
    mask: torch.Tensor


# data ----------------------------------------------------------------------------------------------------------------
class Material:
    """All that one split is made of, encoded: the world, text pairs and unknown frames."""

    def __init__(self, world: Features, others: dict[str, torch.Tensor]):
        self.world, self.others = world, others
        self.asks_for_text = torch.from_numpy(kinds_of(len(world.queries)) == "text")

    def clips(self, numbers: torch.Tensor) -> Examples:
        """Clips of the world, by their numbers."""
        rows = self.world.captions[USUAL][numbers]
        return Examples(self.world.queries[numbers], self.world.frames[numbers], self.world.texts[rows], rows > 0)

    def text_pairs(self, numbers: torch.Tensor, frames: torch.Tensor, rng: np.random.Generator) -> Examples:
        """Text pairs, by their numbers: the caption in a run of windows, which may cover some stray ones."""
        windows = torch.from_numpy(draw_windows(rng, len(numbers), frames.shape[1]))
        strays = self.others["strays"]
        strays = strays[torch.from_numpy(rng.integers(0, len(strays), (len(numbers), MAX_STRAYS)))]
        own = torch.stack([self.others["empty"].expand(len(numbers), -1), self.others["captions"][numbers]], dim=1)
        shown = torch.cat([own, strays], dim=1)[torch.arange(len(numbers))[:, None], windows]
        return Examples(self.others["queries"][numbers], frames, shown, windows > 0)

    def unknown_frames(self, count: int, rng: np.random.Generator) -> torch.Tensor:
        """Frames of noise, of clips of the world, and what lies between the two."""
        noise, known = (
            source[torch.from_numpy(rng.integers(0, len(source), count))]
            for source in (self.others["unknown"], self.world.frames)
        )
        way, share = (torch.from_numpy(rng.random((count, 1, 1), dtype=np.float32)) for _ in range(2))
        return torch.where(way < 0.5, noise, torch.where(way < 0.75, known, share * noise + (1 - share) * known))


def draw_windows(rng: np.random.Generator, count: int, num_windows: int) -> np.ndarray:
    """What each window of a text pair shows, `(count, num_windows)`: 0 nothing, 1 its caption, from 2 on strays."""
    shown = np.zeros((count, num_windows), dtype=np.int64)
    for row in shown:
        strays = 2 + rng.integers(MAX_STRAYS, size=rng.integers(MAX_STRAYS + 1))
        for text in (*strays, 1):
            start = rng.integers(num_windows)
            row[start : rng.integers(start, num_windows) + 1] = text
    return shown


def encode(folder: Path, config: dict, cache: Path) -> dict[str, Material]:
    """The material of both splits; what is in the folder `cache` is not made again."""
    towers = None
    for split in SPLITS:
        world, others = (cache / f"{split}{suffix}.safetensors" for suffix in ("", "-others"))
        if not world.exists():
            encode_split(folder, split, config["clips"][split], world, processes=1, readings=[USUAL])
        if not others.exists():
            towers = towers or Towers(folder)
            unfinished = others.with_suffix(".unfinished")
            save_file(encode_others(towers, split, config), unfinished)
            unfinished.rename(others)
    return {
        split: Material(Features.load(cache / f"{split}.safetensors"), load_file(cache / f"{split}-others.safetensors"))
        for split in SPLITS
    }


def made_of(folder: Path, config: dict) -> str:
    """A name for what the towers of a checkpoint say of this material: none other has it."""
    material = {name: config[name] for name in ("seed", "clips", "text_pairs", "unknown_videos")}
    return fingerprint({"model": weights_digest(folder), **material})


def encode_others(towers: Towers, split: str, config: dict) -> dict[str, torch.Tensor]:
    """Text pairs and unknown frames of a split: those of validation have other words, and show photographs."""
    held_out, seed = split == "validation", config["seed"] + 10 * SPLITS.index(split)
    count, rng = config["text_pairs"][split], np.random.default_rng(seed + 1)
    generator = TextPairGenerator(seed + 2, held_out=held_out, siblings=SIBLINGS, no_text_share=0.0)
    pairs, strays = generator.take(count), generator.take_strays(count // 2)
    texts = ["", *(pair.query for pair in pairs), *(pair.caption for pair in pairs), *strays]
    encoded = towers.encode_texts([" ".join(text.split()) for text in texts]).split([1, count, count, len(strays)])
    picture = photograph if held_out else noise_picture
    videos = (
        wandering_video(rng, picture, towers.num_frames, towers.image_size)
        for _ in range(config["unknown_videos"][split])
    )
    named = zip(("empty", "queries", "captions", "strays"), encoded, strict=True)
    return {name: tensor.clone() for name, tensor in named} | {"unknown": towers.encode_frames(videos)}


def training_batches(material: Material, config: dict, recipe: Recipe) -> Iterator[Examples]:
    """One for each step."""
    rng = np.random.default_rng(config["seed"])
    num_groups = len(material.others["queries"]) // SIBLINGS
    for numbers in batches(len(material.world.queries) // BLOCK, recipe, config["seed"]):
        clips = material.clips(numbers)
        swapped = material.asks_for_text[numbers] & torch.from_numpy(rng.random(len(numbers)) < config["swapped"])
        unknown = material.unknown_frames(len(numbers), rng)
        clips = clips._replace(frames=torch.where(swapped[:, None, None], unknown, clips.frames))
        groups = torch.from_numpy(rng.integers(0, num_groups, config["pairs"] // SIBLINGS))
        pairs = (groups[:, None] * SIBLINGS + torch.arange(SIBLINGS)).flatten()
        pairs = material.text_pairs(pairs, material.unknown_frames(len(pairs), rng), rng)
        yield Examples(*map(torch.cat, zip(clips, pairs, strict=True)))


# training ------------------------------------------------------------------------------------------------------------
@torch.inference_mode()
def validate(model: TCDModel, material: Material, seed: int) -> dict[str, float]:
    """R@1 of text to video: on the world, in all and by kind; of text pairs, also by the text-OCR part alone."""
    own = np.arange(len(material.world.queries))
    similarity = model.score(*embed(model, *material.clips(torch.from_numpy(own)))).similarity.numpy()
    by_kind = report(retrieval_ranks(similarity, own), similarity)["metrics"]
    result = {kind: metrics["t2v"]["R@1"] for kind, metrics in by_kind.items()}
    rng, numbers = np.random.default_rng(seed), torch.arange(len(material.others["queries"]))
    unknown = material.others["unknown"]
    pairs = material.text_pairs(numbers, unknown[numbers % len(unknown)], rng)
    scores = model.score(*embed(model, *pairs))
    for name, matrix in (("text pairs", scores.similarity), ("text pairs, text-OCR part", scores.text_ocr)):
        result[name] = compute_retrieval_metrics(matrix.numpy(), numbers.numpy())["t2v_R@1"]
    return {name: round(value, 4) for name, value in result.items()}


def train(model: TCDModel, material: dict[str, Material], config: dict, log: Log) -> None:
    """Trains the projection of frames and all that comes after, in place."""
    for part in (model.backbone.vision_model, model.backbone.text_model, model.backbone.text_projection):
        part.requires_grad_(False)
    rates = config["learning_rates"]
    recipe = Recipe(
        config["steps"], rates["projections"], rates["new"], config["blocks"], weight_decay=config["weight_decay"]
    )
    optimizer = make_optimizer(model, recipe)
    scheduler = make_scheduler(optimizer, recipe.warmup_share, recipe.steps)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    losses: list[float] = []
    for step, examples in enumerate(training_batches(material["train"], config, recipe), start=1):
        output = model.train().compute_losses(*embed(model, *examples))
        optimizer.zero_grad()
        output.loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, recipe.max_norm)
        optimizer.step()
        scheduler.step()
        losses.append(output.contrastive_loss.item())
        if step % config["validate_every"] == 0 or step == recipe.steps:
            metrics = validate(model.eval(), material["validation"], config["seed"])
            log(phase="fusion", step=step, contrastive_loss=round(float(np.mean(losses)), 4), **metrics)
            losses.clear()


def copy_weights(model: TCDModel) -> dict[str, torch.Tensor]:
    """The weights as they are now, by name."""
    return {name: weight.clone() for name, weight in model.state_dict().items()}


def weighted_mean(
    start: dict[str, torch.Tensor], trained: dict[str, torch.Tensor], share: float
) -> dict[str, torch.Tensor]:
    """Weights by name: `share` of the trained ones, the rest of those at the start; whole numbers are the same."""
    return {
        name: torch.lerp(start[name], weight, share) if weight.is_floating_point() else weight
        for name, weight in trained.items()
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", type=Path, default=Path(__file__).with_name("fusion.yaml"))
    parser.add_argument("--model", type=Path, required=True, help="folder that scripts/train_mini/image.py wrote")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "mini")
    parser.add_argument(
        "--cache", type=Path, default=ROOT / "build" / "mini-fusion", help="folder of what the towers said"
    )
    options = parser.parse_args(arguments)
    if not (options.model / "model.safetensors").is_file():
        parser.error(f"--model: there is no model.safetensors in {options.model}")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = yaml.safe_load(options.config.read_text(encoding="utf-8"))
    torch.set_num_threads(config["threads"])
    torch.manual_seed(config["seed"])
    material = encode(options.model, config, options.cache / made_of(options.model, config))
    towers = Towers(options.model)
    model = TCDModel.from_backbone(towers.model.backbone, **BASE, num_frames=towers.num_frames).eval()
    log = Log(options.output / "training_log_fusion.jsonl")
    copy_logs(options.model, options.output, *TEXT_LOGS, "image")
    log(phase="start", **validate(model, material["validation"], config["seed"]))
    start = copy_weights(model)
    train(model, material, config, log)
    model.load_state_dict(weighted_mean(start, copy_weights(model), config["share"]))
    log(phase="mean", share=config["share"], **validate(model, material["validation"], config["seed"]))
    model.config.fusion_dropout = towers.model.config.fusion_dropout  # left out for the sake of fast training alone
    save_mini(model, towers.processor, options.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
