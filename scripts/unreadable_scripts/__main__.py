"""Fits the weights of `tcd_hf.processing.unreadable_scripts`, and says what they drop and what they lose.

    python -m scripts.unreadable_scripts --clips CLIP... --out processing/unreadable_script_weights.py

Renders texts (`material.py`, `rendering.py`), has them found and read by the shipped models, fits a small network to
the readings of one half of words and fonts, and to what is read in clips that show no script but readable ones; and
reports on the other half. Needs the packages babel and onnx and the fonts that `material.py` names. The clips of the
weights in the package are the annotated ones from v002 to v042 of the set that docs/measured.md describes.
"""

import argparse
import hashlib
import json
import random
import sys
import textwrap
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from scripts.unreadable_scripts.material import FONTS, LANGUAGES, READABLE, short, strings
from scripts.unreadable_scripts.rendering import Placed, render_frames
from tcd_hf.processing.rapidocr_engine import RapidOCREngine, RapidOCRModels
from tcd_hf.processing.text_orientation import TALL, turned
from tcd_hf.processing.text_recognition import WIDTHS, TextRecogniser
from tcd_hf.processing.unreadable_scripts import Recognised, reading_features
from tcd_hf.processing.video_reading import open_video

MANY = {"latin": 4, "greek": 2, "han": 2, "kana": 2, "cyrillic": 2}  # times as many strings
FEW = [
    "gujarati",
    "kannada",
    "malayalam",
    "khmer",
    "lao",
    "myanmar",
    "ethiopic",
    "sinhala",
    "gurmukhi",
]  # a third as many
SHORT = 0.4  # share of the hard texts of which a few letters are seen
UNITS, EPOCHS, FOLDS = 16, 60, 2
READABLE_WEIGHT = 1.5  # of a readable reading; one of another script counts 1
MIN_CONFIDENCE = 0.5  # of the captioner
LOSSES = (0.002, 0.005, 0.0075, 0.01, 0.02, 0.05)


@dataclass
class Example:
    """One reading of a rendered text."""

    script: str
    truth: str
    text: str
    confidence: float
    surprise: float
    features: np.ndarray

    @property
    def is_readable(self) -> bool:
        return self.script in READABLE

    @property
    def is_kept(self) -> bool:
        """Whether the captioner takes it, if nothing else drops it."""
        return self.confidence >= MIN_CONFIDENCE and any(map(str.isalnum, self.text))


def main(arguments: list[str] | None = None) -> int:
    """Fits and reports; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=120, help="strings per script and half, more of the common ones")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--hard", type=int, default=0, help="one small and blurred text for so many plain ones; 0: none"
    )
    parser.add_argument("--clips", type=Path, nargs="*", default=[], help="videos that show readable scripts alone")
    parser.add_argument("--loss", type=float, default=0.012, help="share of readable readings to lose when fitting")
    parser.add_argument("--examples", type=Path, help="folder that keeps what was read, to fit again without reading")
    parser.add_argument("--out", type=Path, help="the module to write")
    options = parser.parse_args(arguments)
    if missing := [clip for clip in options.clips if not clip.is_file()]:
        print(f"Skipped: there is no {missing[0]} on this machine.")
        return 0
    models = RapidOCREngine(num_threads=1).models()
    file = _shipped_file()
    columns = _telling_columns(file)
    plain = [_examples(models, columns, half, options, hard=False) for half in (0, 1)]
    hard = [_examples(models, columns, half, options, hard=True) if options.hard else [] for half in (0, 1)]
    clips = _clip_examples(models, columns, options)
    network = _fit(plain[0] + hard[0], clips, options)
    for name, halves in (("plain", plain), ("hard", hard)):
        for half, examples in zip(("tuning", "reporting"), halves, strict=True):
            if examples:
                print(f"# {name}, {half} half: {len(examples)} readings")
                _report(examples, network.scores(examples))
    taken = [example for example in clips if example.is_kept]
    for example, score in zip(taken, network.scores(taken), strict=True):
        if score > 0:
            print(f"dropped in {example.truth}: {example.text!r} {example.confidence:.2f}")
    if options.out is not None:
        letters = [models.recogniser.recogniser.postprocess_op.character[column] for column in columns]
        options.out.write_text(_module(letters, network, hashlib.sha256(file.read_bytes()).hexdigest()), "utf-8")
    return 0


def _shipped_file() -> Path:
    import rapidocr

    (file,) = (Path(rapidocr.__file__).parent / "models").glob("*_rec_small.onnx")
    return file


def _telling_columns(file: Path) -> np.ndarray:
    """Classes whose log-probabilities tell all others': as many as the recogniser's last layer has inputs."""
    import onnx
    import scipy.linalg

    arrays = [onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(file).graph.initializer]
    layer = max((array for array in arrays if array.ndim == 2), key=lambda array: array.shape[1]).astype(float)
    _, _, order = scipy.linalg.qr(layer - layer.mean(axis=1, keepdims=True), pivoting=True, mode="economic")
    return np.concatenate([[0], order[order != 0]])[: layer.shape[0]]


def _examples(
    models: RapidOCRModels, columns: np.ndarray, half: int, options: argparse.Namespace, hard: bool
) -> list[Example]:
    name = f"{half}_{options.count}_{options.seed}{'_hard' if hard else ''}"
    if (stored := _stored(options.examples, name)) is not None:
        return stored
    rng = random.Random(4 * options.seed + 2 * hard + half)
    texts = [
        (short(text, rng) if hard and rng.random() < SHORT else text, language, script)
        for script in (*LANGUAGES, "digits")
        for text, language in strings(script, half, _count(script, options.count // (options.hard if hard else 1)), rng)
    ]
    examples: list[Example] = []
    for frame, placed in render_frames(texts, lambda script: FONTS[script][half], rng, hard):
        examples += _read(models, columns, frame, placed)
        print(f"half {half}: {len(examples)} of {len(texts)} read", file=sys.stderr)
    return _store(options.examples, name, examples)


def _clip_examples(models: RapidOCRModels, columns: np.ndarray, options: argparse.Namespace) -> list[Example]:
    """What is read in six frames of each clip; its name stands for the truth, which nobody knows."""
    if not options.clips:
        return []
    if (stored := _stored(options.examples, "clips")) is not None:
        return stored
    examples: list[Example] = []
    for clip in options.clips:
        with open_video(clip) as video:
            times = [(number + 0.5) * video.duration / 6 for number in range(6)]
            frames = [Image.fromarray(frame) for frame in video.iter_frames_at(times, max_side=1280)]
        for frame in frames:
            scale = 1280 / max(frame.size)
            size = (round(frame.width * scale), round(frame.height * scale))
            pixels = np.asarray(frame.resize(size, Image.Resampling.BICUBIC))
            examples += _read(models, columns, pixels, [Placed(clip.stem, "latin", (0, 0, *size))])
    return _store(options.examples, "clips", examples)


def _stored(folder: Path | None, name: str) -> list[Example] | None:
    if folder is None or not (folder / f"{name}.npz").exists():
        return None
    arrays = np.load(folder / f"{name}.npz")
    rows = zip(*(arrays[field.name].tolist() for field in fields(Example)[:-1]), strict=True)
    return [Example(*row, features) for row, features in zip(rows, arrays["features"], strict=True)]


def _store(folder: Path | None, name: str, examples: list[Example]) -> list[Example]:
    if folder is not None:
        arrays = {field.name: np.array([getattr(one, field.name) for one in examples]) for field in fields(Example)}
        np.savez_compressed(folder / f"{name}.npz", **arrays)
    return examples


def _count(script: str, count: int) -> int:
    return count // 3 if script in FEW else count * MANY.get(script, 1)


def _read(models: RapidOCRModels, columns: np.ndarray, frame: np.ndarray, placed: list[Placed]) -> Iterator[Example]:
    """What is found on one frame and lies in one of its texts."""
    recogniser = models.recogniser
    boxes = models.detector.find(frame, frame.shape[:2])
    for quad in boxes.quads[boxes.are_sure]:
        here = [one for one in placed if _shared(quad, one.box) > 0.5]
        if not here:
            continue
        probabilities = _probabilities(recogniser, frame, quad)
        chosen = Recognised.of(probabilities)
        if not chosen.letters.any():
            yield Example(here[0].script, here[0].text, "", 0.0, 0.0, np.zeros(len(columns) + 6))
            continue
        names = recogniser.recogniser.postprocess_op.character
        text = "".join(names[index] for index in chosen.classes[chosen.letters])
        yield Example(
            here[0].script,
            here[0].text,
            text,
            float(chosen.probabilities[chosen.letters].mean()),
            float(-np.log(np.maximum(chosen.probabilities, 1e-6)).mean()),
            reading_features(probabilities, columns, chosen),
        )


def _probabilities(recogniser: TextRecogniser, frame: np.ndarray, quad: np.ndarray) -> np.ndarray:
    """Of one text, `(steps, classes)`."""
    is_tall = np.ptp(quad[:, 1]) >= TALL * np.ptp(quad[:, 0])
    crop = recogniser.crop(frame, turned(quad, 1) if is_tall else quad)
    width = next(width for width in WIDTHS if width >= crop.shape[1])
    batch = np.zeros((1, 3, *crop.shape[:1], width), np.float32)
    batch[0, :, :, : crop.shape[1]] = crop[..., ::-1].transpose(2, 0, 1) / 127.5 - 1
    probabilities = recogniser.recogniser.session(batch)[0]
    return probabilities[: -(-len(probabilities) * crop.shape[1] // width)]


def _shared(quad: np.ndarray, box: tuple[int, int, int, int]) -> float:
    """How much of a quad's bounding box lies in a box."""
    (x0, y0), (x1, y1) = quad.min(axis=0), quad.max(axis=0)
    width, height = min(x1, box[2]) - max(x0, box[0]), min(y1, box[3]) - max(y0, box[1])
    return max(0, width) * max(0, height) / max(1, (x1 - x0) * (y1 - y0))


@dataclass
class Network:
    """Two layers: `hidden` of shape `(units, features)` and `output` of shape `(units,)`, and what is added to each."""

    hidden: np.ndarray
    hidden_bias: np.ndarray
    output: np.ndarray
    bias: float

    def scores(self, examples: list[Example]) -> np.ndarray:
        """Above 0: a reading is of no script that can be written."""
        features = np.array([example.features for example in examples]).reshape(len(examples), self.hidden.shape[1])
        return np.maximum(features @ self.hidden.T + self.hidden_bias, 0) @ self.output + self.bias


def _fit(rendered: list[Example], clips: list[Example], options: argparse.Namespace) -> Network:
    """A network whose threshold is set by readings that it was not fitted to."""
    examples = [example for example in rendered + clips if example.text]
    readable = np.array([example.is_readable for example in examples])
    kept = np.array([example.is_kept for example in examples])
    is_rendered = np.arange(len(examples)) < len([example for example in rendered if example.text])
    # a word in another style, or a clip, is either fitted to or judged
    fold = np.array([zlib.crc32(example.truth.casefold().encode()) // 2 % FOLDS for example in examples])
    scores = np.zeros(len(examples))
    for held_out in range(FOLDS):
        fitted = [example for example, its in zip(examples, fold, strict=True) if its != held_out]
        judged = [example for example, its in zip(examples, fold, strict=True) if its == held_out]
        scores[fold == held_out] = _network(fitted, options.seed).scores(judged)
    threshold = np.quantile(scores[readable & kept & is_rendered], 1 - options.loss)
    lost = (scores > threshold)[readable & kept & ~is_rendered]
    dropped = (scores > threshold)[~readable & kept]
    print(f"# folds: drops {dropped.mean():.4f}, loses {options.loss} and {lost.sum()} of {len(lost)} in clips")
    network = _network(examples, options.seed)
    network.bias -= float(threshold)
    return network


def _network(examples: list[Example], seed: int) -> Network:
    torch.manual_seed(seed)
    features = np.array([example.features for example in examples])
    mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-6
    inputs = torch.tensor((features - mean) / deviation, dtype=torch.float32)
    targets = torch.tensor([float(not example.is_readable) for example in examples])
    weights = torch.tensor([READABLE_WEIGHT if example.is_readable else 1.0 for example in examples])
    layers = [nn.Linear(features.shape[1], UNITS), nn.ReLU(), nn.Dropout(0.2), nn.Linear(UNITS, 1)]
    network = nn.Sequential(*layers)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.05)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(inputs)).split(128):
            losses = nn.functional.binary_cross_entropy_with_logits(
                network(inputs[rows])[:, 0], targets[rows], weights[rows]
            )
            optimizer.zero_grad()
            losses.backward()
            optimizer.step()
    hidden, hidden_bias, output, bias = (parameter.detach().numpy().astype(float) for parameter in network.parameters())
    hidden = hidden / deviation  # features come as they are
    return Network(hidden, hidden_bias - hidden @ mean, output[0], float(bias[0]))


def _report(examples: list[Example], scores: np.ndarray) -> None:
    readable, kept, script = (
        np.array([getattr(example, name) for example in examples]) for name in ("is_readable", "is_kept", "script")
    )
    for name in (*READABLE, *(one for one in LANGUAGES if one not in READABLE)):
        its = kept & (script == name)
        share = f"{(scores[its] > 0).mean() if its.any() else 0:.4f} dropped of {its.sum()} taken"
        print(f"{name:12s} {share}, {(its & (scores <= 0)).sum() / max(1, (script == name).sum()):.4f} of all stay")
    surprise = np.array([example.surprise for example in examples])
    for name, values, limit in (("weights", scores, 0.0), ("surprise alone", surprise, None)):
        if limit is not None:
            print(f"{name}: {_share(values, limit, kept, readable)}")
        for loss in LOSSES:
            at = np.quantile(values[kept & readable], 1 - loss)
            print(f"{name}, limit {at:.3f}: {_share(values, at, kept, readable)}")


def _share(values: np.ndarray, limit: float, kept: np.ndarray, readable: np.ndarray) -> str:
    lost, dropped = (values > limit)[kept & readable].mean(), (values > limit)[kept & ~readable].mean()
    left = (kept & ~readable & (values <= limit)).sum() / (~readable).sum()
    return f"loses {lost:.4f}, drops {dropped:.4f} of what is taken of other scripts, {1 - left:.4f} of all of it"


def _module(letters: list[str], network: Network, recogniser: str) -> str:
    lines = ["".join(letters[start : start + 40]) for start in range(1, len(letters), 40)]
    shown = "\n".join(f"    {json.dumps(line, ensure_ascii=False)}" for line in lines)
    rows = ",\n".join(f"[\n{textwrap.indent(_numbers(row), '    ')}\n]" for row in network.hidden)
    return f'''"""Weights of `unreadable_scripts.py` for rapidocr's recogniser, made by a program."""

import numpy as np

__all__ = ["BIAS", "HIDDEN", "HIDDEN_BIAS", "LETTERS", "OUTPUT", "RECOGNISER"]

RECOGNISER = "{recogniser}"  # SHA-256 of its file
# the classes that are looked at: the blank, and letters
LETTERS = (
    "blank",
    *(
{textwrap.indent(shown, "    ")}
    ),
)
# fmt: off
HIDDEN = np.array([
{textwrap.indent(rows, "    ")}
])
HIDDEN_BIAS = np.array([
{textwrap.indent(_numbers(network.hidden_bias), "    ")}
])
OUTPUT = np.array([
{textwrap.indent(_numbers(network.output), "    ")}
])
BIAS = {network.bias:.4g}
'''


def _numbers(values: np.ndarray) -> str:
    return textwrap.fill(", ".join(f"{value:.3g}" for value in values), 108)


if __name__ == "__main__":
    raise SystemExit(main())
