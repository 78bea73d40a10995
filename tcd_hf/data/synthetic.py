"""A scene-text world that anyone can make again from a seed: small clips, a query for each, and hard negatives.

```python
clip = make_clip(seed=0, split="train", number=12)
clip.query, clip.kind, clip.negatives      # "a blue ring is on screen while ...", "temporal", {13: "other time", ...}
clip.frames(12, size=160), clip.captions(12)      # what a model sees and reads, without a file
clip.write("clip.mp4")
```

Clips come in groups whose members share background, bystanders, styles and the wording of the query, and differ in what
the query is about. `GROUPS` says how many there are of each of the four kinds of query:

- `"text"`: names a text. Members show the same objects with other texts, of which every other one is but a word away.
- `"visual"`: names two objects. Members show the same text, if any, with the first object in another colour, shape or
  motion.
- `"both"`: names an object and a text: two objects by two texts.
- `"temporal"`: names an object *while* a text shows. Two objects in turn, two texts in turn; members have other
  objects, other texts, or the two texts swapped: the same object and the same text, but at different times.

What a member's query says is true of no other member, and no two groups ask for the same text. (Source: ours.)

Needs the extras `[train-mini]` (words) and `[synthetic]` (fonts).
"""

import os
import random
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .encoding import write_h264
from .query_templates import EVERYWHERE
from .synthetic_backgrounds import BACKGROUNDS, Background
from .synthetic_lettering import draw_lettering
from .synthetic_queries import SPLITS, SplitTexts, query_forms, spell_motion, spell_thing
from .synthetic_reading import read_windows
from .synthetic_scene import (
    COLORS,
    MOTIONS,
    SHAPES,
    SIZES,
    Lettering,
    Painter,
    Scene,
    Thing,
)

__all__ = ["DURATION", "FPS", "GROUPS", "SyntheticClip", "make_clip"]

FPS = 8
DURATION = 6.0  # seconds
GROUPS = {"text": 4, "visual": 4, "both": 4, "temporal": 8}  # members of a group; 20 clips have one group of each
SIGNS = [text for text in EVERYWHERE if len(text) > 2]


# clips ---------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class SyntheticClip:
    """One clip, as it is planned; nothing is painted before it is asked for.

    Attributes:
        seed, split, number: its name.
        kind: of its query, a key of `GROUPS`.
        query: a sentence that is true of this clip and of no other of its group.
        target: start and end of the moment that the query tells, seconds.
        negatives: numbers of the other clips of its group -> how they differ from it in what the query says: `"other
            text"`, `"other object"`, `"other object and text"`, `"other time"`.
        scene: what it shows.
        crf: how hard a file of it is compressed, as x264 counts: 18 hardly, 36 badly.
    """

    seed: int
    split: str
    number: int
    kind: str
    query: str
    target: tuple[float, float]
    negatives: dict[int, str]
    scene: Scene
    crf: int

    duration = DURATION

    def frames(self, num_frames: int = 12, size: int = 160) -> np.ndarray:
        """The frames on screen at the centres of the windows: RGB uint8 `(num_frames, size, size, 3)`."""
        painter = Painter(self.scene, size, DURATION)
        centers = (np.arange(num_frames) + 0.5) * DURATION / num_frames
        return np.stack([painter.frame(np.floor(time * FPS + 1e-6) / FPS) for time in centers])

    def captions(self, num_windows: int = 12, window_scale: float = 1.0, ocr_fps: float = 2.0) -> list[str]:
        """What an OCR engine makes of the windows, as measured: one caption each, `""` where nothing is read."""
        return [" ".join(texts) for texts in self.readings(num_windows, window_scale, ocr_fps)]

    def readings(self, num_windows: int = 12, window_scale: float = 1.0, ocr_fps: float = 2.0) -> list[list[str]]:
        """The single texts that captions are made of, window by window, the largest first.

        How a text is read in a window does not depend on where else in the window one looks.

        Args:
            window_scale, ocr_fps: see `WindowOCRCaptioner`. At 2 frames a second it looks at the middle of a window of
                half a second and nowhere else, whatever the scale.
        """
        name = f"{self.seed} {self.split} {self.number} read"
        return read_windows(self.scene, DURATION, name, num_windows, window_scale, ocr_fps)

    def iter_video(self, size: int = 384) -> Iterator[np.ndarray]:
        """All frames, `FPS` a second: RGB uint8 `(size, size, 3)`."""
        painter = Painter(self.scene, size, DURATION)
        return (painter.frame(index / FPS) for index in range(round(FPS * DURATION)))

    def write(self, path: str | os.PathLike, size: int = 384) -> Path:
        """Encodes the clip as H.264 into a file, whose name should end in `.mp4`; an even `size` in pixels."""
        return write_h264(path, self.iter_video(size), FPS, self.crf)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able account: the query, the moment, the negatives, and every object and text with its times."""
        start, end = self.target
        return {
            "number": self.number,
            "caption": self.query,
            "kind": self.kind,
            "start": start,
            "end": end,
            "duration": DURATION,
            "negatives": [{"number": number, "differs": how} for number, how in self.negatives.items()],
            "objects": [asdict(thing) for thing in self.scene.things],
            "texts": [
                {"text": text.text, "start": text.start, "end": text.end,
                 "first_box": text.box(text.start), "last_box": text.box(text.end)}
                for text in self.scene.letterings
            ],
        }  # fmt: skip


def make_clip(seed: int, split: str, number: int) -> SyntheticClip:
    """Plans one clip, the same for the same arguments whatever was made before.

    Args:
        seed: of the world.
        split: `"train"`, `"validation"` or `"test"`.
        number: from 0. Every 20 numbers are one group of each kind.

    Raises:
        ValueError: an unknown split or a negative number.
    """
    if split not in SPLITS:
        raise ValueError(f"A split is one of {', '.join(SPLITS)}, got {split!r}.")
    if number < 0:
        raise ValueError(f"Clips are numbered from 0, got {number}.")
    kind, role = _locate(number)
    rng = random.Random(f"{seed} {split} {number - role} {kind}")
    # Members of a group draw the same numbers in the same order; only what is picked by `role` tells them apart.
    setting = _draw_setting(rng, split_texts(split), bare=kind == "visual" and rng.random() < 0.5)
    plot = _PLOTS[kind](rng, split, role, setting.bystander)
    letterings = setting.letterings if setting.bare else (*setting.letterings, *plot.letterings)
    return SyntheticClip(
        seed=seed,
        split=split,
        number=number,
        kind=kind,
        query=plot.query,
        target=plot.target,
        negatives={number - role + other: _difference(kind, role, other) for other in range(GROUPS[kind])
                   if other != role},
        scene=Scene(setting.background, (setting.bystander, *plot.things), letterings),
        crf=rng.randint(18, 36),
    )  # fmt: skip


def _locate(number: int) -> tuple[str, int]:
    """Kind of the group that a clip is in, and its place in the group."""
    places = [(kind, role) for kind, members in GROUPS.items() for role in range(members)]
    return places[number % len(places)]


def _difference(kind: str, role: int, other: int) -> str:
    if kind in ("text", "visual"):
        return {"text": "other text", "visual": "other object"}[kind]
    objects, texts = ((role ^ other) >> shift & 1 for shift in ((1, 0) if kind == "both" else (2, 1)))
    if objects and texts:
        return "other object and text"
    return "other object" if objects else "other text" if texts else "other time"


@cache
def split_texts(split: str) -> SplitTexts:
    """The texts of a split, drawn once."""
    return SplitTexts(split)


# plots: what a group is about ----------------------------------------------------------------------------------------
class _Look(NamedTuple):
    color: str
    shape: str
    size: str
    motion: str

    def at(self, start: float, end: float, center: tuple[float, float]) -> Thing:
        return Thing(*self, start, end, center)


class _Plot(NamedTuple):
    things: tuple[Thing, ...]
    letterings: tuple[Lettering, ...]
    query: str
    target: tuple[float, float]


class _Setting(NamedTuple):
    background: Background
    bystander: Thing
    letterings: tuple[Lettering, ...]
    bare: bool  # whether no text shows


def _text_plot(rng: random.Random, split: str, role: int, bystander: Thing) -> _Plot:
    texts = split_texts(split)
    a, b = _cast(rng, 2, bystander)
    things = _everywhere(rng, a, b)
    drawn = [texts.draw(rng) for _ in range(2)]
    shown = [text for _, first in drawn for text in (first, texts.alter(first, rng))]
    forms = [rng.choice(query_forms("text", split, kind)) for kind, _ in drawn]
    (_, other), times, other_times = texts.draw(rng), _some_time(rng), _some_time(rng)
    letterings = (
        draw_lettering(rng, shown[role], times, "top", things[0]),
        draw_lettering(rng, other, other_times, "bottom", things[1]),
    )
    return _Plot(things, letterings, _phrase(rng, forms[role // 2], x=shown[role]), times)


def _visual_plot(rng: random.Random, split: str, role: int, bystander: Thing) -> _Plot:
    texts = split_texts(split)
    first, b = _cast(rng, 2, bystander)
    a = [
        first,
        _other(rng, first, (b, bystander), color=True),
        _other(rng, first, (b, bystander), shape=True),
        first._replace(motion=rng.choice([motion for motion in MOTIONS if motion != first.motion])),
    ][role]
    things = _everywhere(rng, a, b)
    (_, text), form = texts.draw(rng), rng.choice(query_forms("visual", split))
    letterings = (draw_lettering(rng, text, _some_time(rng), "top", things[1]),)
    wording = random.Random(rng.random())  # synonyms are as many draws as a look has
    a_words = f"{spell_thing(a.color, a.shape, wording, a.size)} {spell_motion(a.motion, wording)}"
    b_words = spell_thing(b.color, b.shape, wording)
    return _Plot(things, letterings, _phrase(rng, form, a=a_words, b=b_words), (things[0].start, things[0].end))


def _both_plot(rng: random.Random, split: str, role: int, bystander: Thing) -> _Plot:
    texts = split_texts(split)
    first, b = _cast(rng, 2, bystander)
    a = (first, _other(rng, first, (b, bystander), **_some_parts(rng)))[role >> 1]
    things = _everywhere(rng, a, b)
    x, times = _two_texts(rng, texts)[role & 1], _some_time(rng)
    letterings = (draw_lettering(rng, x, times, "top", things[0]),)
    form, wording = rng.choice(query_forms("both", split)), random.Random(rng.random())
    return _Plot(things, letterings, _phrase(rng, form, a=spell_thing(a.color, a.shape, wording), x=x), times)


def _temporal_plot(rng: random.Random, split: str, role: int, bystander: Thing) -> _Plot:
    texts = split_texts(split)
    first, second = _cast(rng, 2, bystander)
    third = _other(rng, first, (second, bystander), **_some_parts(rng))
    fourth = _other(rng, second, (first, third, bystander), color=True, shape=True)
    looks = ((first, second), (third, fourth))[role >> 2]
    pairs = list(zip(_two_texts(rng, texts), _two_texts(rng, texts), strict=True))
    shown = pairs[role >> 1 & 1]
    shown = shown[::-1] if role & 1 else shown
    # Between the acts nothing shows for longer than one of 12 windows lasts: none sees both.
    change = _on_frame(rng.uniform(2.5, 3.5))
    acts = ((_on_frame(rng.uniform(0.0, 0.25)), change - 0.375), (change + 0.375, _on_frame(rng.uniform(5.6, 6.0))))
    things, letterings = [], []
    for look, text, (start, end) in zip(looks, shown, acts, strict=True):
        thing = look.at(start, end, (rng.uniform(0.35, 0.65), rng.uniform(0.42, 0.52)))
        times = start + rng.choice((0.0, 0.25)), end - rng.choice((0.0, 0.25))
        things.append(thing)
        letterings.append(draw_lettering(rng, text, times, rng.choice(("top", "bottom")), thing))
    act, form, wording = rng.randrange(2), rng.choice(query_forms("temporal", split)), random.Random(rng.random())
    a_words = spell_thing(looks[act].color, looks[act].shape, wording)
    target = letterings[act].start, letterings[act].end
    return _Plot(tuple(things), tuple(letterings), _phrase(rng, form, a=a_words, x=shown[act]), target)


_PLOTS = {"text": _text_plot, "visual": _visual_plot, "both": _both_plot, "temporal": _temporal_plot}


def _cast(rng: random.Random, count: int, *taken: Thing) -> list[_Look]:
    """Looks that share neither colour nor shape, neither with one another nor with those that are taken."""
    colors = rng.sample([c for c in COLORS if c not in {thing.color for thing in taken}], count)
    shapes = rng.sample([s for s in SHAPES if s not in {thing.shape for thing in taken}], count)
    sizes, motions = list(SIZES), list(MOTIONS)
    return [_Look(*pair, rng.choice(sizes), rng.choice(motions)) for pair in zip(colors, shapes, strict=True)]


def _other(
    rng: random.Random, look: _Look, taken: Iterable[_Look | Thing], color: bool = False, shape: bool = False
) -> _Look:
    """The look in another colour, another shape, or both, which none of those taken has."""
    taken = (look, *taken)
    if color:
        look = look._replace(color=rng.choice([c for c in COLORS if c not in {other.color for other in taken}]))
    if shape:
        look = look._replace(shape=rng.choice([s for s in SHAPES if s not in {other.shape for other in taken}]))
    return look


def _some_parts(rng: random.Random) -> dict[str, bool]:
    return rng.choice(({"color": True}, {"shape": True}, {"color": True, "shape": True}))


def _two_texts(rng: random.Random, texts: SplitTexts) -> tuple[str, str]:
    """A text and one that takes its place: as often as not but a word away."""
    _, text = texts.draw(rng)
    return text, texts.alter(text, rng) if rng.random() < 0.5 else texts.draw(rng)[1]


def _everywhere(rng: random.Random, a: _Look, b: _Look) -> tuple[Thing, Thing]:
    """Two things that stay for the whole clip, side by side."""
    left, right = (rng.uniform(0.27, 0.35), rng.uniform(0.4, 0.55)), (rng.uniform(0.65, 0.73), rng.uniform(0.4, 0.55))
    if rng.random() >= 0.5:
        left, right = right, left
    return a.at(0.0, DURATION, left), b.at(0.0, DURATION, right)


def _on_frame(time: float) -> float:
    return round(time * FPS) / FPS


def _some_time(rng: random.Random) -> tuple[float, float]:
    """An interval of two seconds and more."""
    length = rng.uniform(2.0, 5.5)
    start = rng.uniform(0.0, DURATION - length)
    return _on_frame(start), _on_frame(start + length)


def _phrase(rng: random.Random, form: str, x: str = "", **things: str) -> str:
    """The sentence, with the text in the case that a person might type it in."""
    chance, capital = rng.random(), rng.random() < 0.3
    mention = x if chance < 0.5 else x.lower() if chance < 0.85 else x.upper()
    query = form.format(x=mention, **things)
    return query[0].upper() + query[1:] + "." if capital else query


# settings -----------------------------------------------------------------------------------------------------------
def _draw_setting(rng: random.Random, texts: SplitTexts, bare: bool) -> _Setting:
    """What all clips of a group have in common: background, a small bystander, texts that no query asks for."""
    pan = (rng.uniform(-0.2, 0.2), rng.uniform(-0.1, 0.1)) if rng.random() < 0.6 else (0.0, 0.0)
    background = Background(rng.choice(list(BACKGROUNDS)), rng.getrandbits(32), pan)
    (look,) = _cast(rng, 1)
    bystander = look._replace(size="small").at(0.0, DURATION, (rng.uniform(0.3, 0.7), rng.uniform(0.6, 0.68)))
    letterings = []
    for lane in rng.sample(("top left", "top right", "bottom left", "bottom right"), rng.choice((0, 1, 1, 2))):
        text = rng.choice(SIGNS) if rng.random() < 0.5 else texts.draw(rng)[1]
        letterings.append(draw_lettering(rng, text, _some_time(rng), lane, None))
    return _Setting(background, bystander, () if bare else tuple(letterings), bare)
