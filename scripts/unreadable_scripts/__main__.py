"""Fits the weights of `tcd_hf.processing.unreadable_scripts`, and says what they drop and what they lose.

    python -m scripts.unreadable_scripts --count 120 --out processing/unreadable_script_weights.py

Renders texts (`material.py`, `rendering.py`), plain ones and hard ones, has them found and read by the shipped models, fits a logistic regression
to the readings of one half of words and fonts, and reports on the other half. Needs the packages babel, onnx and
scikit-learn and the fonts that `material.py` names.
"""

import argparse
import hashlib
import random
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scripts.unreadable_scripts.material import FONTS, LANGUAGES, READABLE, short, strings
from scripts.unreadable_scripts.rendering import Placed, render_frames
from tcd_hf.processing.unreadable_scripts import Recognised, reading_features

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


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=120, help="strings per script and half, more of the common ones")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--strength", type=float, default=0.1, help="inverse of the regularisation")
    parser.add_argument("--loss", type=float, default=0.006, help="share of readable readings to lose when fitting")
    parser.add_argument("--examples", type=Path, help="folder that keeps what was read, to fit again without reading")
    parser.add_argument("--out", type=Path, help="the module to write")
    options = parser.parse_args(arguments)
    model = _models()
    file = Path(model.text_rec.cfg.model_path or _shipped_file())
    columns = _telling_columns(file)
    plain, hard = ([_examples(model, columns, half, options, is_hard) for half in (0, 1)] for is_hard in (False, True))
    weights, bias = _fit(plain[0] + hard[0], options.strength, options.loss)
    for name, halves in (("plain", plain), ("hard", hard)):
        for half, examples in zip(("tuning", "reporting"), halves, strict=True):
            print(f"# {name}, {half} half: {len(examples)} readings")
            _report(examples, np.array([example.features @ weights + bias for example in examples]))
    if options.out is not None:
        letters = [model.text_rec.postprocess_op.character[column] for column in columns]
        options.out.write_text(_module(letters, weights, bias, hashlib.sha256(file.read_bytes()).hexdigest()), "utf-8")


def _models():
    from tcd_hf.processing.ocr_engines import RapidOCREngine

    model, _ = RapidOCREngine(num_threads=1)._model()
    return model


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


def _examples(model, columns: np.ndarray, half: int, options: argparse.Namespace, hard: bool) -> list[Example]:
    kept = options.examples and options.examples / f"{half}_{options.count}_{options.seed}{'_hard' if hard else ''}.npz"
    if kept and kept.exists():
        stored = np.load(kept)
        rows = zip(*(stored[name] for name in ("script", "truth", "text", "confidence", "surprise")), strict=True)
        return [
            Example(str(a), str(b), str(c), float(d), float(e), features)
            for (a, b, c, d, e), features in zip(rows, stored["features"], strict=True)
        ]
    rng = random.Random(4 * options.seed + 2 * hard + half)
    texts = [
        (short(text, rng) if hard and rng.random() < SHORT else text, language, script)
        for script in (*LANGUAGES, "digits")
        for text, language in strings(script, half, _count(script, options.count), rng)
    ]
    examples: list[Example] = []
    for frame, placed in render_frames(texts, lambda script: FONTS[script][half], rng, hard):
        examples += _read(model, columns, frame, placed)
        print(f"half {half}: {len(examples)} of {len(texts)} read", file=sys.stderr)
    if kept:
        arrays = {name: np.array([getattr(example, name) for example in examples]) for name in vars(examples[0])}
        np.savez_compressed(kept, **arrays)
    return examples


def _count(script: str, count: int) -> int:
    return count // 3 if script in FEW else count * MANY.get(script, 1)


def _read(model, columns: np.ndarray, frame: np.ndarray, placed: list[Placed]) -> Iterator[Example]:
    """What is found on one frame and lies in one of its texts."""
    bgr = np.ascontiguousarray(frame[..., ::-1])
    found = model.text_det(bgr)
    for quad in [] if found.boxes is None else found.boxes:
        here = [one for one in placed if _shared(quad, one.box) > 0.5]
        if not here:
            continue
        probabilities = _recognise(model, bgr, np.asarray(quad, dtype=np.float32))
        chosen = Recognised.of(probabilities)
        if not chosen.letters.any():
            yield Example(here[0].script, here[0].text, "", 0.0, 0.0, np.zeros(len(columns) + 6))
            continue
        names = model.text_rec.postprocess_op.character
        text = "".join(names[index] for index in chosen.classes[chosen.letters])
        yield Example(
            here[0].script,
            here[0].text,
            text,
            float(chosen.probabilities[chosen.letters].mean()),
            float(-np.log(np.maximum(chosen.probabilities, 1e-6)).mean()),
            reading_features(probabilities, columns, chosen),
        )


def _recognise(model, bgr: np.ndarray, quad: np.ndarray) -> np.ndarray:
    import cv2
    from rapidocr.utils.process_img import get_rotate_crop_image

    crop = get_rotate_crop_image(bgr, quad)
    width = min(1600, max(8, round(48 * crop.shape[1] / crop.shape[0])))
    padded = -(-width // 32) * 32
    batch = np.zeros((1, 3, 48, max(64, padded)), np.float32)
    batch[0, :, :, :width] = cv2.resize(crop, (width, 48)).transpose(2, 0, 1) / 127.5 - 1
    probabilities = model.text_rec.session(batch)[0]
    return probabilities[: -(-len(probabilities) * width // batch.shape[-1])]


def _shared(quad: np.ndarray, box: tuple[int, int, int, int]) -> float:
    """How much of a quad's bounding box lies in a box."""
    (x0, y0), (x1, y1) = quad.min(axis=0), quad.max(axis=0)
    width, height = min(x1, box[2]) - max(x0, box[0]), min(y1, box[3]) - max(y0, box[1])
    return max(0, width) * max(0, height) / max(1, (x1 - x0) * (y1 - y0))


def _fit(examples: list[Example], strength: float, loss: float) -> tuple[np.ndarray, float]:
    """Weights of the features and a bias: above 0 a reading is of no script that can be written."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    examples = [example for example in examples if example.text]
    features = np.array([example.features for example in examples])
    readable = np.array([example.is_readable for example in examples])
    kept = np.array([example.is_kept for example in examples])
    regression = LogisticRegression(C=strength, max_iter=5000, class_weight="balanced")
    pipeline = make_pipeline(StandardScaler(), regression)
    # the threshold is set by readings that were not fitted
    scores = cross_val_predict(pipeline, features, ~readable, cv=10, method="decision_function")
    threshold = np.quantile(scores[readable & kept], 1 - loss)
    scaler, fitted = pipeline.fit(features, ~readable)
    weights = fitted.coef_[0] / scaler.scale_
    return weights, float(fitted.intercept_[0] - weights @ scaler.mean_ - threshold)


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


def _module(letters: list[str], weights: np.ndarray, bias: float, recogniser: str) -> str:
    numbers = textwrap.fill(", ".join(f"{weight:.4g}" for weight in weights), 116)
    shown = "\n".join(f'    "{"".join(letters[start : start + 40])}"' for start in range(1, len(letters), 40))
    return f'''"""Weights of `unreadable_scripts.py` for rapidocr's own recogniser, by `scripts/unreadable_scripts`."""

import numpy as np

__all__ = ["BIAS", "LETTERS", "RECOGNISER", "WEIGHTS"]

RECOGNISER = "{recogniser}"  # SHA-256 of its file
# the classes that are looked at: the blank, and letters
LETTERS = (
    "blank",
    *(
{textwrap.indent(shown, "    ")}
    ),
)
BIAS = {bias:.5g}
WEIGHTS = np.array(
    [
{textwrap.indent(numbers, "        ")}
    ]
)
'''


if __name__ == "__main__":
    main()
