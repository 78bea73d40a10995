"""Videos of generated cards whose texts are known: what `benchmark_moments.py` searches in.

A *card* is a small picture that carries its own number in blocks of pixels, which survive compression. What can be read
on it is kept in a table, so that `CardReader` reads it as an OCR engine without error would, or with the slips of
`tcd_hf.data.ocr_noise`. Cards stand 8 s, one after the other, and a target card at a random second; an hour takes a
second or two to write.

Readings are `(text, confidence, (x0, y0, x1, y1))`, times seconds; the picture may change each half second (a *tick*).
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from tcd_hf.data.ocr_noise import OCRNoise
from tcd_hf.data.query_templates import ACTIONS, CLAUSES, EVERYWHERE, PLACES, SUBJECTS
from tcd_hf.data.text_material import text_material

TICK = 0.5  # seconds that one frame is on screen
WIDTH, HEIGHT, BLOCK = 128, 72, 8
COLUMNS, ROWS, CODE_ROWS = WIDTH // BLOCK, HEIGHT // BLOCK, 2
STATE_BITS = 12
CARD_SECONDS = 8
MAX_TEXTS = 8  # of a card that is no target; on average half of them, as in real clips
SHARED_WORD = 0.05  # of the other texts: they share a word with one that is searched for
KINDS = ("words", "name", "place", "brand", "title", "number", "plate", "price", "time", "score", "contact")
STRING_KINDS = ("two names", "price", "plate", "score", "headline")

Reading = tuple[str, float, tuple[float, float, float, float]]


@dataclass(frozen=True)
class Card:
    """What is on screen for a while.

    Attributes:
        readings: what can be read of each of its pictures.
        ticks: number of the picture shown in each half second.
    """

    readings: tuple[tuple[Reading, ...], ...]
    ticks: tuple[int, ...]

    @classmethod
    def still(cls, texts: Sequence[str], seconds: float = CARD_SECONDS) -> "Card":
        """One picture with a text on each line."""
        return cls((lines(texts),), (0,) * round(seconds / TICK))

    def moving(self) -> "Card":
        """The same, another picture each half second: an engine reads it again and again."""
        return Card(tuple(self.readings[picture] for picture in self.ticks), tuple(range(len(self.ticks))))

    def shortened(self, num_ticks: int) -> "Card":
        return replace(self, ticks=self.ticks[:num_ticks])

    @property
    def seconds(self) -> float:
        return len(self.ticks) * TICK


@dataclass(frozen=True)
class Target:
    """A query, the number of the video that is right, and from when to when the text stands there, seconds."""

    query: str
    video: int
    start: float
    end: float


@dataclass(frozen=True)
class Collection:
    """Videos, each a list of cards in order, and what is searched for in them."""

    videos: list[list[Card]]
    targets: list[Target]

    def moving(self) -> "Collection":
        """The same texts, each card another picture every half second."""
        return replace(self, videos=[[card.moving() for card in cards] for cards in self.videos])

    def reader(self, noise: float = 0.0) -> "CardReader":
        """The OCR engine that knows these cards."""
        cards = (card for cards in self.videos for card in cards)
        return CardReader({number: card.readings for number, card in enumerate(cards)}, noise)

    def write(self, folder: Path) -> list[Path]:
        """Writes the videos, returns their paths in order."""
        folder.mkdir(parents=True, exist_ok=True)
        paths, first = [], 0
        for number, cards in enumerate(self.videos):
            paths.append(folder / f"video_{number:03}.mp4")
            write_cards(paths[-1], cards, first)
            first += len(cards)
        return paths

    @property
    def seconds(self) -> float:
        return sum(card.seconds for cards in self.videos for card in cards)


class CardReader:
    """An OCR engine for cards. Can be pickled; a picture that is no card shows no text.

    Args:
        table (`dict[int, Sequence[Sequence[Reading]]]`): what each picture of each card shows.
        noise (`float`, *optional*, defaults to 0): level of [`OCRNoise`]; the slips of a picture are always the same.
    """

    def __init__(self, table: dict[int, Sequence[Sequence[Reading]]], noise: float = 0.0):
        self.table, self.noise = table, noise

    def __call__(self, images: list[np.ndarray]) -> list[list[Reading]]:
        return [self._read(image) for image in images]

    def _read(self, image: np.ndarray) -> list[Reading]:
        code = read_code(image)
        if code is None:
            return []
        card, picture = code
        readings = list(self.table[card][picture])
        if not self.noise:
            return readings
        rng, slips = random.Random(f"{card} {picture}"), OCRNoise(self.noise)
        read = [(" ".join(slips(text.split(), rng)), *rest) for text, *rest in readings]
        return [reading for reading in read if reading[0]]


def lines(texts: Sequence[str]) -> tuple[Reading, ...]:
    """One text a line, too far apart for a block."""
    step = min(0.1, 0.98 / max(1, len(texts)))
    return tuple(
        (text, 0.9, (0.05, 0.01 + i * step, 0.05 + min(0.9, 0.02 * len(text)), 0.01 + (i + 0.45) * step))
        for i, text in enumerate(texts)
    )


# pictures -----------------------------------------------------------------------------------------------------------
def draw_card(card: int, picture: int) -> np.ndarray:
    """The picture as YUV 4:2:0, `(HEIGHT * 3 / 2, WIDTH)` uint8.

    Two rows of blocks are the code, the others chance, so that cards differ as much as the scenes of a film; grey
    levels and colours belong to the card.
    """
    dark, light, u, v = np.random.default_rng(card).integers((30, 150, 110, 110), (70, 210, 147, 147))
    grey = np.where(_blocks(card, picture), light, dark).astype(np.uint8).repeat(BLOCK, 0).repeat(BLOCK, 1)
    planes = np.repeat(np.array([u, v], np.uint8), HEIGHT * WIDTH // 4)
    return np.concatenate([grey, planes.reshape(-1, WIDTH)])


def read_code(image: np.ndarray) -> tuple[int, int] | None:
    """Number of the card and of its picture, from RGB `(height, width, 3)`; `None` where the picture is no card."""
    if image.shape[:2] != (HEIGHT, WIDTH):
        return None
    cells = image.mean(axis=2).reshape(ROWS, BLOCK, COLUMNS, BLOCK)[:, 2:-2, :, 2:-2].mean(axis=(1, 3))
    blocks = cells > (cells.min() + cells.max()) / 2
    code = int("".join("01"[bit] for bit in blocks[:CODE_ROWS].ravel().astype(int)), 2)
    card, picture = code >> STATE_BITS, code & ((1 << STATE_BITS) - 1)
    return (card, picture) if (blocks == _blocks(card, picture)).all() else None


def _blocks(card: int, picture: int) -> np.ndarray:
    code = card << STATE_BITS | picture
    shifts = np.arange(CODE_ROWS * COLUMNS)[::-1]
    bits = (code >> shifts & 1).astype(bool).reshape(CODE_ROWS, COLUMNS)
    check = np.random.default_rng([7, code]).random((ROWS - CODE_ROWS, COLUMNS)) < 0.5
    return np.concatenate([bits, check])


def write_cards(path: Path, cards: Sequence[Card], first: int = 0) -> None:
    """Writes cards one after the other, H.264, a frame a tick; the first one has the number `first`."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=round(1 / TICK), options={"preset": "ultrafast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.thread_count = 1  # the pictures are too small to share
        time = 0
        for number, card in enumerate(cards, start=first):
            frame = shown = None
            for picture in card.ticks:
                if picture != shown:
                    frame, shown = av.VideoFrame.from_ndarray(draw_card(number, picture), format="yuv420p"), picture
                frame.pts, time = time, time + 1
                container.mux(stream.encode(frame))
        container.mux(stream.encode())


# texts --------------------------------------------------------------------------------------------------------------
class Texts:
    """A source of generated texts, the same for the same seed.

    Args:
        seed: of the sequence.
        unlike: texts that are searched for. No other text contains one of them; some share a word with one.
    """

    def __init__(self, seed: int, unlike: Sequence[str] = ()):
        self.rng = random.Random(seed)
        self.unlike = list(unlike)
        self._forbidden = {_spelled(text) for text in unlike}
        self._words_of_targets = [word for text in unlike for word in text.split() if word.isalpha()]

    @cached_property
    def makers(self) -> dict[str, Callable[[random.Random], str]]:
        material = text_material(held_out=False)
        return {
            "words": material.phrase,
            "name": material.person,
            "place": material.place,
            "brand": material.brand,
            "title": material.title,
            "number": material.number,
            "plate": material.plate,
            "price": material.price,
            "time": material.date_or_time,
            "score": material.score,
            "contact": material.contact,
            "two names": lambda rng: f"{_one_word(material.first, rng)} {_one_word(material.last, rng)}",
            "headline": lambda rng: " ".join(material.word(rng) for _ in range(rng.randrange(4, 8))).upper(),
            "everywhere": lambda rng: rng.choice(EVERYWHERE),
        }

    def other(self) -> str:
        """A text that nobody searches for."""
        while True:
            text = self._any()
            if self._words_of_targets and self.rng.random() < SHARED_WORD:
                text = f"{self.makers['words'](self.rng)} {self.rng.choice(self._words_of_targets)}"
                text = text.title() if self.rng.random() < 0.5 else text
            spelled = _spelled(text)
            if not any(target in spelled for target in self._forbidden):
                return text

    def others(self, most: int = MAX_TEXTS, least: int = 1) -> list[str]:
        return [self.other() for _ in range(self.rng.randint(least, most))]

    def filler(self) -> Card:
        """A card with one to eight texts."""
        return Card.still(self.others())

    def strings(self, count: int) -> list[str]:
        """Texts to be searched for exactly as shown: as many names, prices, plates, score lines and headlines."""
        chosen: dict[str, str] = {}
        while len(chosen) < count:
            text = self.makers[STRING_KINDS[len(chosen) % len(STRING_KINDS)]](self.rng)
            spelled = _spelled(text)
            if len(spelled.split()) > 1 and not any(spelled in other or other in spelled for other in chosen):
                chosen[spelled] = text
        return list(chosen.values())

    def sentences(self, count: int) -> list[tuple[list[str], list[str]]]:
        """The texts of a card and two sentences that name some of them, where there are no annotated clips."""
        cards = []
        for _ in range(count):
            kinds = self.rng.sample(KINDS, 3)
            texts = [self.makers[kind](self.rng) for kind in kinds]
            queries = []
            for named in (texts[:2], texts[2:]):
                clauses = [self.rng.choice(CLAUSES[kinds[texts.index(text)]]).replace("{x}", text) for text in named]
                scene = (self.rng.choice(part) for part in (SUBJECTS, ACTIONS, PLACES))
                queries.append(" ".join(" ".join([*scene, " and ".join(clauses)]).split()))
            cards.append((texts, queries))
        return cards

    def _any(self) -> str:
        return self.makers[self.rng.choice((*KINDS, *STRING_KINDS, "everywhere", "everywhere"))](self.rng)


def _one_word(pool: Sequence[str], rng: random.Random) -> str:
    while True:
        if (word := rng.choice(pool)).isalpha():
            return word


def _spelled(text: str) -> str:
    """Words between single spaces, spaces around: a text that contains another does so in whole words."""
    words = re.findall(r"[^_\W]+", text.casefold())
    return " " + " ".join(words) + " "


# collections --------------------------------------------------------------------------------------------------------
def arrange(
    minutes: float, placed: Sequence[Card], filler: Callable[[], Card], rng: random.Random
) -> tuple[list[Card], list[float]]:
    """Puts cards at random half seconds of a video, in their order, and fills it up with others.

    Returns:
        All cards in order, and when each of `placed` begins, seconds.

    Raises:
        ValueError: they do not fit in.
    """
    free = round(60 * minutes / TICK) - sum(len(card.ticks) for card in placed)
    if free < 0:
        raise ValueError(f"A video of {minutes} minutes is too short for {len(placed)} cards.")
    cards: list[Card] = []
    starts, now = [], 0
    gaps = sorted(rng.randint(0, free) for _ in placed)
    for card, begin, end in zip([*placed, None], [0, *gaps], [*gaps, free], strict=True):
        left = end - begin
        while left > 0:
            cards.append(filler().shortened(left))
            left -= len(cards[-1].ticks)
        now += end - begin
        if card is not None:
            cards.append(card)
            starts.append(now * TICK)
            now += len(card.ticks)
    return cards, starts


def collect(
    minutes: Sequence[float], searched: Sequence[tuple[Card, list[str]]], places: Sequence[int], filler, seed: int
) -> Collection:
    """Videos of the given lengths, in which each searched card stands exactly once.

    Args:
        minutes: length of each video.
        searched: cards, and the queries for each.
        places: number of the video in which each card stands.
        filler: makes other cards.
        seed: of the moments.
    """
    rng = random.Random(seed)
    videos, targets = [], []
    for video, length in enumerate(minutes):
        here = [pair for pair, place in zip(searched, places, strict=True) if place == video]
        rng.shuffle(here)
        cards, starts = arrange(length, [card for card, _ in here], filler, rng)
        videos.append(cards)
        for (card, queries), start in zip(here, starts, strict=True):
            targets += [Target(query, video, start, start + card.seconds) for query in queries]
    return Collection(videos, targets)


def sentence_collection(
    num_videos: int, minutes: float, seed: int, annotations: Sequence[dict] | None = None, num_cards: int = 33
) -> Collection:
    """Each target card shows what one annotated clip shows, and is searched for by its first two captions.

    Without annotations, `num_cards` cards and their sentences are generated. No other card shows a text that is on one
    of them: a sentence has one right answer.
    """
    if annotations is None:
        pairs = Texts(seed).sentences(num_cards)
    else:
        pairs = [(clip["visible_text"], clip["captions"][:2]) for clip in annotations if clip["has_text"]]
    texts = Texts(seed + 1, unlike=[text for shown, _ in pairs for text in shown])
    searched = [(Card.still(shown), queries) for shown, queries in pairs]
    places = [place % num_videos for place in range(len(searched))]
    return collect([minutes] * num_videos, searched, places, texts.filler, seed)


def string_collection(groups: Sequence[tuple[int, float]], count: int, seed: int) -> Collection:
    """Generated strings, each on one card among others, as many in each group of videos.

    Args:
        groups: numbers of videos and their minutes, such as `[(8, 60), (20, 1)]`.
        count: strings.
        seed: of texts and moments.
    """
    strings = Texts(seed).strings(count)
    texts = Texts(seed + 1, unlike=strings)
    searched = [(Card.still([*texts.others(5, least=0), text]), [text]) for text in strings]
    minutes = [length for number, length in groups for _ in range(number)]
    first = [sum(number for number, _ in groups[:group]) for group in range(len(groups))]
    places = [
        first[place % len(groups)] + place // len(groups) % groups[place % len(groups)][0] for place in range(count)
    ]
    return collect(minutes, searched, places, texts.filler, seed)


def short_text_collection(minutes: float, count: int, seconds: float, seed: int) -> Collection:
    """One long video in which each of some texts stands alone, once and shortly."""
    strings = Texts(seed).strings(count)
    searched = [(Card.still([text], seconds), [text]) for text in strings]
    return collect([minutes], searched, [0] * count, Texts(seed + 1, unlike=strings).filler, seed)


def clip_collection(
    num_videos: int, minutes: float, annotations: Sequence[dict], clips: dict[str, Card], seed: int
) -> Collection:
    """Real clips, as they were read, among generated cards.

    Each annotated clip stands exactly once in the whole collection; the rest are cards, and clips that are not
    annotated, one in four, which may repeat.

    Args:
        annotations: of the clips.
        clips: every clip's card, by its name as in the annotations; see `record_clips`.
    """
    annotated = {clip["video"]: clip["captions"][:2] if clip["has_text"] else [] for clip in annotations}
    others = [card for name, card in sorted(clips.items()) if name not in annotated]
    shown = [text for clip in annotations if clip["has_text"] for text in clip["visible_text"]]
    texts, rng = Texts(seed, unlike=shown), random.Random(seed)

    def filler() -> Card:
        return rng.choice(others) if others and rng.random() < 0.25 else texts.filler()

    searched = [(clips[name], queries) for name, queries in annotated.items()]
    places = [place % num_videos for place in range(len(searched))]
    return collect([minutes] * num_videos, searched, places, filler, seed)


def record_clips(folder: Path, engine, reading_interval: float | None) -> dict[str, Card]:
    """Reads real clips once, as the captioner does, into cards: one picture for each stretch of frames that it reads.

    The product then cuts, samples, reads and merges what it is shown as it does with any video. What a card loses is
    the picture itself: queries that name a text do not need it.

    Args:
        folder: with `clips/`.
        engine: an OCR engine that keeps its readings, such as `benchmark_ocr.TimedEngine`.
        reading_interval: of the captioner.
    """
    from tcd_hf.processing.frame_skipping import split_into_stretches
    from tcd_hf.processing.video_reading import open_video

    cards = {}
    for path in sorted((folder / "clips").glob("*.mp4")):
        with open_video(path) as video:
            times = [(i + 0.5) * TICK for i in range(max(1, int(video.duration / TICK)))]
            frames = zip(times, video.iter_frames_at(times, max_side=1280), strict=True)
            readings, ticks = [], []
            for number, stretch in enumerate(split_into_stretches(frames, reading_interval)):
                readings.append(tuple((text, score, tuple(box)) for text, score, box in engine([stretch.frame])[0]))
                ticks += [number] * len(stretch.times)
        cards[path.relative_to(folder).as_posix()] = Card(tuple(readings), tuple(ticks))
    return cards


def read_clips(folder: Path, store: Path | None, model: str) -> dict[str, Card]:
    """Real clips as cards, by the engine and settings of a model's processor; readings are kept in `store`."""
    from benchmark_ocr import TimedEngine  # beside this script

    from tcd_hf.loading import load_processor
    from tcd_hf.processing.ocr_engines import get_engine

    processor = load_processor(model)
    engine = get_engine(processor.ocr_engine, **(processor.ocr_options or {}))
    return record_clips(folder, TimedEngine(engine, store), processor.reading_interval)
