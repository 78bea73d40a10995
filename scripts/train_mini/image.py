"""Second step of the checkpoint inside the package: its image tower learns what the synthetic world's things look like.

    python -m scripts.train_mini.image --text build/mini-text      # no network

`scripts/train_mini/mean.py` made the text tower, which stays as it is. The image tower learns frames against the words
for what they show: every patch the thing that covers it, the whole frame the things in it. Where nothing is, a
direction of its own which texts hardly take, so that frames without any of these things, as all real ones, disturb no
score. With `--start`, it goes on from the image tower of a checkpoint made before, whose projection is turned to where
the words for the same things are now. (Ours.)

The fusion stays neutral: `scripts/train_mini/fusion.py` trains it.
Needs the extras `[train-mini]` and `[synthetic]`.
"""

import argparse
import logging
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import nn
from torch.nn.functional import cross_entropy, log_softmax, normalize
from transformers import AutoTokenizer, ConvNextConfig, ConvNextModel, PreTrainedTokenizerBase, get_scheduler
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from scripts.train_mini.backbone import LOGIT_SCALE, build_mini, save_mini
from scripts.train_mini.log import TEXT_LOGS, Log, copy_logs
from tcd_hf import load
from tcd_hf.data.synthetic import DURATION, make_clip
from tcd_hf.data.synthetic_queries import SHAPE_WORDS
from tcd_hf.data.synthetic_scene import COLORS, MOTIONS, SHAPES, SIZES, Painter, Scene, Thing
from tcd_hf.modeling.joined_towers import join_towers

ROOT = Path(__file__).resolve().parents[2]
CLASSES = [(color, shape) for color in COLORS for shape in SHAPES]
SPELLINGS = [f"{color} {word}" for color, shape in CLASSES for word in SHAPE_WORDS[shape]]
NOTHING = len(CLASSES)  # class of patches, and frames, without a thing
IGNORED = -100
GRID = 8  # cells of the image tower's last feature map, a side
MEAN, STD = (torch.tensor(each).view(3, 1, 1) for each in (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD))  # of the processor
PLACES = [(x, y) for x in (0.2, 0.5, 0.8) for y in (0.22, 0.5, 0.78)]


# words ---------------------------------------------------------------------------------------------------------------
def encode(model: nn.Module, tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> torch.Tensor:
    """L2-normalised text embeddings `(num_texts, dim)`."""
    batch = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    return normalize(model.get_text_features(**batch).pooler_output, dim=-1)


def prototypes(model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
    """What each of `CLASSES` is called, synonyms averaged: `(num_classes, dim)`, L2-normalised."""
    owners = torch.tensor([i for i, (_, shape) in enumerate(CLASSES) for _ in SHAPE_WORDS[shape]])
    embeds = encode(model, tokenizer, SPELLINGS)
    return normalize(embeds.new_zeros(len(CLASSES), embeds.shape[1]).index_add(0, owners, embeds), dim=-1)


# frames --------------------------------------------------------------------------------------------------------------
def busy_scene(rng: random.Random) -> Scene:
    """A scene of the world with more things in it, or none: one clip in eight."""
    scene = make_clip(rng.randrange(1 << 30), "train", rng.randrange(20)).scene
    if rng.random() < 0.125:
        return Scene(scene.background, (), tuple(replace(text, carrier=None) for text in scene.letterings))
    things = [
        Thing(*rng.choice(CLASSES), rng.choice(list(SIZES)), rng.choice(list(MOTIONS)), start, rng.uniform(4, 6), place)
        for start, place in ((rng.uniform(0, 2), place) for place in rng.sample(PLACES, rng.randint(0, 4)))
    ]
    return replace(scene, things=(*things, *scene.things))


def labels_of(scene: Scene, time: float, grid: int) -> tuple[np.ndarray, np.ndarray]:
    """What each patch shows, a class or `IGNORED` where it is hard to say, and which classes the frame shows."""
    centers = (np.arange(grid) + 0.5) / grid
    x, y = np.meshgrid(centers, centers)
    patches = np.full((grid, grid), NOTHING)
    shown = np.zeros(NOTHING + 1, dtype=np.float32)
    for thing in scene.things:
        if thing.start <= time < thing.end:
            left, top, diameter = thing.pose(time)
            away = np.maximum(abs(x - left), abs(y - top)) - diameter / 2
            label = CLASSES.index((thing.color, thing.shape))
            patches[away < 0.6 / grid] = IGNORED  # its edge
            patches[away < 0] = label
            shown[label] = 1
    for text in scene.seen(time):
        x0, y0, x1, y1 = text.box(time)
        patches[(x > x0) & (x < x1) & (y > y0) & (y < y1)] = IGNORED
    if not shown.any():
        shown[NOTHING] = 1
    return patches.ravel(), shown / shown.sum()


def frames_with_labels(rng: random.Random, size: int, grid: int, per_scene: int = 12) -> Iterator[tuple]:
    """Endless frames `(size, size, 3)` with their labels, neighbours from one scene."""
    while True:
        scene = busy_scene(rng)
        painter = Painter(scene, size, DURATION)
        for _ in range(per_scene):
            time = rng.uniform(0, DURATION - 0.01)
            yield painter.frame(time), *labels_of(scene, time, grid)


def shuffled(items: Iterator[tuple], rng: random.Random, room: int = 600) -> Iterator[tuple]:
    """The same items, so that a batch has few from one scene."""
    held = [next(items) for _ in range(room)]
    while True:
        place = rng.randrange(room)
        yield held[place]
        held[place] = next(items)


# image tower ---------------------------------------------------------------------------------------------------------
def quiet_direction(model: nn.Module, tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> torch.Tensor:
    """The direction `(1, dim)` in which texts have least energy."""
    embeds = torch.cat([encode(model, tokenizer, texts[i : i + 100]) for i in range(0, len(texts), 100)])
    return torch.linalg.eigh(embeds.T @ embeds)[1][:, :1].T


@torch.no_grad()
def start_from(model: nn.Module, folder: Path, classes: torch.Tensor) -> None:
    """Takes over the image tower of a checkpoint, and its projection turned from its words for things to `classes`.

    Args:
        model: the backbone to change, its image tower of the same shape.
        folder: of the checkpoint.
        classes: what the things are called here, `(num_classes, dim)`.
    """
    saved, processor = load(folder, dtype=torch.float32)
    model.vision_model.load_state_dict(saved.backbone.vision_model.state_dict())
    words = prototypes(saved.backbone, processor.tokenizer)
    # least squares, held short: what tells the things apart has few dimensions
    turn = torch.linalg.solve(words.T @ words + 0.1 * torch.eye(words.shape[1]), words.T @ classes)
    model.visual_projection.weight.copy_(turn.T @ saved.backbone.visual_projection.weight)


class Targets:
    """Losses and hit rates of frames and patches against the words for what they show."""

    def __init__(self, classes: torch.Tensor, scale: float):
        self.classes, self.scale = classes, scale

    def __call__(self, model: nn.Module, batch: list[tuple]) -> tuple[torch.Tensor, dict[str, float]]:
        frames, patches, shown = (torch.from_numpy(np.stack(part)) for part in zip(*batch, strict=True))
        output = model.vision_model((frames.permute(0, 3, 1, 2) / 255 - MEAN) / STD)
        frame_logits = self._logits(model.visual_projection(output.pooler_output))
        cells = output.last_hidden_state.flatten(2).mT  # (num_frames, num_cells, width)
        cell_embeds = model.visual_projection(model.vision_model.layernorm(cells))
        patch_logits = self._logits(cell_embeds).flatten(0, 1)
        labels = patches.flatten()
        weight = torch.where(labels == NOTHING, 0.1, 1.0) * (labels != IGNORED)
        by_patch = cross_entropy(patch_logits, labels, ignore_index=IGNORED, reduction="none")
        loss = -(shown * log_softmax(frame_logits, -1)).sum(-1).mean() + (by_patch * weight).sum() / weight.sum()
        things = (labels != NOTHING) & (labels != IGNORED)
        guesses, right = patch_logits.argmax(1)[things], labels[things]
        width = len(SHAPES)
        return loss, {
            "patch_color": (guesses // width == right // width).float().mean().item(),
            "patch_shape": (guesses % width == right % width).float().mean().item(),
            "frame": (shown.gather(1, frame_logits.argmax(1, keepdim=True)) > 0).float().mean().item(),
        }

    def _logits(self, embeds: torch.Tensor) -> torch.Tensor:
        return self.scale * normalize(embeds, dim=-1) @ self.classes.T


def learn_frames(model: nn.Module, targets: Targets, config: dict, rng: random.Random, log: Log) -> None:
    """Trains the image tower."""
    vision = model.config.vision_config
    frames = shuffled(frames_with_labels(rng, vision.image_size, GRID), rng)
    parameters = [*model.vision_model.parameters(), *model.visual_projection.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=config["learning_rate"], weight_decay=config["weight_decay"])
    schedule = get_scheduler("cosine", optimizer, config["steps"] // 20, config["steps"])
    model.train()
    rates: list[dict[str, float]] = []
    for step in range(1, config["steps"] + 1):
        loss, hits = targets(model, [next(frames) for _ in range(config["batch_size"])])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        rates.append({"loss": loss.item(), **hits})
        if step % config["log_every"] == 0 or step == config["steps"]:
            log(
                phase="frames",
                step=step,
                **{key: round(float(np.mean([r[key] for r in rates])), 4) for key in rates[0]},
            )
            rates.clear()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", type=Path, default=Path(__file__).with_name("image.yaml"))
    parser.add_argument("--text", type=Path, required=True, help="folder that scripts/train_mini/mean.py wrote")
    parser.add_argument("--start", type=Path, help="folder of a checkpoint whose image tower is trained on")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "mini-image")
    options = parser.parse_args(arguments)
    if not (options.text / "model.safetensors").is_file():
        parser.error(f"--text: there is no model.safetensors in {options.text}")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = yaml.safe_load(options.config.read_text(encoding="utf-8"))
    torch.set_num_threads(config["threads"])
    torch.manual_seed(config["seed"])
    rng, log = random.Random(config["seed"]), Log(options.output / "training_log_image.jsonl")
    copy_logs(options.text, options.output, *TEXT_LOGS)

    tokenizer = AutoTokenizer.from_pretrained(options.text)
    vision = ConvNextConfig(**config["vision"], hidden_size=config["vision"]["hidden_sizes"][-1])
    model = join_towers(options.text, ConvNextModel(vision), "mean")
    model.config.logit_scale_init_value = LOGIT_SCALE
    model.config.text_config.name_or_path = ""  # whose folder it came from is nobody's concern
    with torch.no_grad():
        model.logit_scale.fill_(LOGIT_SCALE)
        queries = [make_clip(config["seed"], "train", number).query for number in range(1000)]
        captions = [caption for number in range(100) for caption in make_clip(0, "train", number).captions()]
        quiet = quiet_direction(model, tokenizer, queries + sorted(set(captions)))
        classes = prototypes(model, tokenizer)
    if options.start:
        start_from(model, options.start, classes)
    model.text_model.requires_grad_(False)
    learn_frames(model, Targets(torch.cat([classes, quiet]), config["scale"]), config["frames"], rng, log)
    save_mini(*build_mini(model, tokenizer), options.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
