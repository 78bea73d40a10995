"""Collections of videos of cards, and what is searched for in them: a target card stands at a random second."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scripts.benchmarks.videos.cards import TICK, Card, CardReader, write_cards
from scripts.benchmarks.videos.texts import Texts

__all__ = [
    "Collection",
    "Target",
    "arrange",
    "cards_of",
    "clip_collection",
    "collect",
    "sentence_collection",
    "short_text_collection",
    "string_collection",
]


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


def cards_of(minutes: float, seed: int) -> Collection:
    """One video of cards with one to eight texts each."""
    cards, _ = arrange(minutes, [], Texts(seed).filler, random.Random(seed))
    return Collection([cards], [])


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
        clips: every clip's card, by its name as in the annotations; see `real_clips.py`.
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
