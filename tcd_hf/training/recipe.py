"""Everything that decides how a model is trained, in one file that can be kept, compared and run again."""

# ruff: noqa: RUF009  fields that the command line explains are made by a function

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import yaml
from transformers import HfArgumentParser
from transformers.hf_argparser import HfArg as _HfArg

__all__ = ["TrainingRecipe", "find_recipe", "list_recipes", "parse_recipe", "read_recipe", "write_recipe"]

RECIPES = Path(__file__).resolve().parent / "recipes"

HfArg = cast(Callable[..., Any], _HfArg)  # its own type says that it gives a `Field`, whatever the field's is


@dataclass
class TrainingRecipe:
    """
    A training run. The defaults are those of TCD on TextVR.

    The help of a field, which the command line shows, tells what it means. A step is one update of the weights, by one
    batch of pairs.

    Raises:
        ValueError: a value out of its range, or `model_overrides` that are no JSON object.
    """

    model: str = HfArg(help="folder or Hub name of a TCD model, or of a dual encoder to build one on")
    data: str = HfArg(help="folder of a prepared data set with a split train, and one named validation to choose by")
    output: str = HfArg(help="folder of this run: its log, its checkpoint, and best/, the trained model")
    model_overrides: dict | str | None = HfArg(
        default=None, help="fields of TCDConfig to set: a mapping, on the command line as JSON, in place of the file's"
    )
    max_length: int | None = HfArg(
        default=None, help="tokens of a query or OCR caption at most; as many as the model's processor takes by default"
    )
    epochs: int = HfArg(default=5, help="times that every video, or every caption, is seen; see --epoch_of")
    epoch_of: Literal["videos", "captions"] = HfArg(
        default="videos",
        help="what an epoch shows once: every video, with one of its captions each time, or every caption, as the "
        "published code of CLIP4Clip, X-Pool and EERCF counts",
    )
    max_steps: int | None = HfArg(default=None, help="steps in all, in place of --epochs")
    batch_size: int = HfArg(default=42, help="pairs of a step, over all processes: each has all others as negatives")
    chunk_size: int | None = HfArg(
        default=None,
        help="pairs that go through the towers at once, in each process: fewer than its share of the batch take less "
        "memory and more time, for the same loss; all by default. Dropout in the towers, of which CLIP has none by "
        "default, is drawn for each chunk: with it the loss depends on this and on the number of processes",
    )
    backbone_learning_rate: float = HfArg(default=1e-6, help="highest learning rate of the towers; 0 freezes them")
    learning_rate: float = HfArg(default=1e-5, help="highest learning rate of everything else")
    weight_decay: float = HfArg(
        default=0.2, help="of AdamW; not for biases, norms, and learned vectors of places and kinds"
    )
    betas: list[float] = HfArg(
        default_factory=lambda: [0.9, 0.999], help="of AdamW: decay of its means of gradients and of their squares"
    )
    warmup_share: float = HfArg(
        default=0.1, help="share of the steps in which learning rates rise, before they fall by a cosine"
    )
    max_grad_norm: float = HfArg(default=1.0, help="gradients of a larger norm are scaled down to it")
    mixed_precision: Literal["no", "bf16"] = HfArg(
        default="no", help="precision of the towers; everything after them is in float32"
    )
    gradient_checkpointing: bool = HfArg(
        default=False, help="compute activations again in the backward pass: less memory"
    )
    group_by_negatives: bool = HfArg(default=False, help="keep videos of equal `group`, hard negatives, in one batch")
    seed: int = HfArg(default=0, help="of all randomness")
    save_every: int | None = HfArg(
        default=None, help="steps between checkpoints to resume from, besides those of each epoch"
    )
    resume: bool = HfArg(default=False, help="continue from the checkpoint in --output, if there is one")
    num_workers: int = HfArg(default=0, help="processes that read and decode pairs, for each training process")
    num_processes: int | None = HfArg(
        default=None, help="training processes that there must be; this is checked, accelerate launch starts them"
    )
    report_to: list[str] = HfArg(default_factory=list, help="trackers: tensorboard, trackio, wandb, or none")

    def __post_init__(self):
        self.model_overrides = _as_mapping(self.model_overrides)
        self.report_to = [each for each in self.report_to if each != "none"]
        for name in ("epochs", "max_steps", "batch_size", "chunk_size", "save_every", "num_processes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"`{name}` must be 1 or more, got {value}.")
        for name in ("backbone_learning_rate", "learning_rate", "weight_decay", "seed", "num_workers"):
            if not (getattr(self, name) >= 0 and math.isfinite(getattr(self, name))):
                raise ValueError(f"`{name}` must be 0 or more, got {getattr(self, name)}.")
        if self.max_length is not None and self.max_length < 3:
            raise ValueError(f"`max_length` must be 3 or more (start, one token, end), got {self.max_length}.")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"`betas` must be two numbers in [0, 1), got {self.betas}.")
        if self.epoch_of not in ("videos", "captions"):
            raise ValueError(f'`epoch_of` must be "videos" or "captions", got {self.epoch_of!r}.')
        if not 0 <= self.warmup_share <= 1:
            raise ValueError(f"`warmup_share` must be in [0, 1], got {self.warmup_share}.")
        if not self.max_grad_norm > 0:
            raise ValueError(f"`max_grad_norm` must be above 0, got {self.max_grad_norm}; use .inf to clip nothing.")
        if self.batch_size < 2:
            raise ValueError("`batch_size` must be 2 or more: a contrastive loss needs another pair as a negative.")
        if self.mixed_precision not in ("no", "bf16"):
            raise ValueError(
                f'`mixed_precision` must be "no" or "bf16", got {self.mixed_precision!r}. fp16 would need its losses '
                "scaled; bf16 does without."
            )


def parse_recipe(arguments: Sequence[str], parser: HfArgumentParser | None = None) -> TrainingRecipe:
    """
    A recipe from the command line, `[RECIPE] [--field value ...]`: what is named there wins over the recipe, a name or
    a file as [`find_recipe`] takes it.

    Args:
        arguments (`list[str]`)
        parser (`HfArgumentParser`, *optional*): of [`TrainingRecipe`]; says what it is for when it refuses something.

    Raises:
        SystemExit: as argparse does, on an unknown field or a value that does not do.
    """
    parser = parser or HfArgumentParser(cast(Any, TrainingRecipe), allow_abbrev=False)
    arguments = list(arguments)
    try:
        if arguments and not arguments[0].startswith("-"):
            arguments[:1] = _as_arguments(read_recipe(find_recipe(arguments[0])))
        known, unknown = parser.parse_known_args(arguments)
        if unknown:
            raise ValueError(f"unknown arguments: {' '.join(unknown)}")
        return TrainingRecipe(**vars(known))
    except (ValueError, OSError) as error:
        parser.error(str(error))


def list_recipes() -> dict[str, str]:
    """The recipes that the package brings: their names, and what each trains, in a sentence."""
    recipes = {}
    for path in sorted(RECIPES.glob("*.yaml")):
        first = path.read_text(encoding="utf-8").splitlines()[0]
        recipes[path.stem] = first.removeprefix("# ").rstrip(".")
    return recipes


def find_recipe(name: str | Path) -> Path:
    """
    The file of a recipe.

    Args:
        name (`str | Path`): of a YAML file, or of a recipe of the package ([`list_recipes`]). A file wins.

    Raises:
        ValueError: there is neither.
    """
    shipped = RECIPES / f"{name}.yaml"
    if Path(name).is_file():
        return Path(name)
    if Path(name).name == str(name) and shipped.is_file():
        return shipped
    raise ValueError(f"There is no recipe {str(name)!r}: name a YAML file, or one of {list(list_recipes())}.")


def read_recipe(path: str | Path) -> dict:
    """
    The fields that a YAML file sets.

    Raises:
        ValueError: no mapping, or names that are no fields of [`TrainingRecipe`].
    """
    values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    names = [each.name for each in dataclasses.fields(TrainingRecipe)]
    if not isinstance(values, dict):
        raise ValueError(f"{path} is no recipe: it must map fields to values. Fields are {names}.")
    unknown = sorted(set(values) - set(names), key=str)
    if unknown:
        raise ValueError(f"{path} sets {unknown}, which are no fields of a recipe. Fields are {names}.")
    return values


def write_recipe(recipe: TrainingRecipe, path: str | Path) -> None:
    """Writes all fields as YAML, from which the same run can be started again."""
    text = yaml.safe_dump(dataclasses.asdict(recipe), sort_keys=False, allow_unicode=True)
    Path(path).write_text(text, encoding="utf-8")


def _as_arguments(values: dict) -> list[str]:
    """Values of a file as the command line would give them, so that one parser checks both."""
    arguments = []
    for name, value in values.items():
        if value is None:
            continue
        items = value if isinstance(value, list) else [value]
        items = [json.dumps(each) if isinstance(each, (dict, bool)) else str(each) for each in items]
        arguments += [f"--{name}", *items] if items else []
    return arguments


def _as_mapping(value: dict | str | None) -> dict:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(f"`model_overrides` must be a JSON object, got {value!r}: {error}.") from error
    if not isinstance(value, dict | None):
        raise ValueError(f'`model_overrides` must map fields to values, as {{"use_ocr": false}}, got {value!r}.')
    return value or {}
