"""Generated videos and queries that the search score is fitted and checked on, and the parts of their scores.

Three sorts of videos are in one pool: text pairs and meaning pairs, whose caption stands in a run of windows beside
stray ones, over frames that no image tower has learnt (real photographs), and clips of the synthetic world, which show
what the package's image tower knows. Words and concepts are those that no tower was trained on: on others it is surer
than it will be of what users read. One half of the pool is to fit on, the other to check with; collections are drawn
from either.

Visual queries are only ever judged, not fitted on: in this world pictures tell nearly all, in real clips they tell this
checkpoint nothing, and no share of the two in between would be right anywhere.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from scripts.benchmarks.lexical import LexicalScorer
from scripts.frozen_towers.batches import kinds_of
from scripts.frozen_towers.features import USUAL, WORLD
from scripts.search_calibration.misspelling import misspell
from scripts.train_mini.fusion import MAX_STRAYS, draw_windows
from scripts.train_mini.unknown_frames import photograph, wandering_video
from tcd_hf import TCDModel, TCDProcessor
from tcd_hf.data.meaning_pairs import MeaningPairGenerator
from tcd_hf.data.synthetic import make_clip
from tcd_hf.data.text_pairs import TextPairGenerator
from tcd_hf.index.fusing import model_parts
from tcd_hf.modeling.outputs import TCDVideoFeatures

__all__ = ["FITTED", "KINDS", "Collection", "Material", "Pool", "collections", "halves", "make_material"]

FITTED = ("spelling", "misspelt", "meaning")  # kinds of queries
KINDS = (*FITTED, "visual")
SIZES = (30, 100, 300)  # of collections, videos
SIBLINGS = 2  # text pairs that differ in little
SENTENCES = 2  # that ask for a concept, each with a caption of its own
FRAME_SIZE = 96  # pixels, before the image processor
UNKNOWN_VIDEOS = 60
VIDEOS_PER_BATCH = 16
QUERIES_PER_BATCH = 64


class Pool(NamedTuple):
    """What can be drawn from.

    Attributes:
        queries (`list[str]`), kinds (`np.ndarray` of `str`), targets (`np.ndarray` of `int`): a query, its kind, and
            the number of the video that it is for.
        windows (`list[list[str]]`): the captions of each video.
        groups (`np.ndarray` of `int`): videos of one number answer the same queries.
    """

    queries: list[str]
    kinds: np.ndarray
    targets: np.ndarray
    windows: list[list[str]]
    groups: np.ndarray


class Material(NamedTuple):
    """A pool and what the model says of it: `parts`, each `(num_queries, num_videos)`, by name."""

    pool: Pool
    parts: dict[str, np.ndarray]


class Collection(NamedTuple):
    """Some videos of a pool, and queries of which some have no answer among them.

    Attributes:
        parts (`dict[str, np.ndarray]`): `(num_queries, num_videos)`, the lexical score among them.
        right (`np.ndarray`): which videos answer a query; none in rows of queries without an answer.
        kinds (`np.ndarray`): of the queries.
    """

    parts: dict[str, np.ndarray]
    right: np.ndarray
    kinds: np.ndarray


def make_material(
    model: TCDModel,
    processor: TCDProcessor,
    text_pairs: int = 400,
    clips: int = 200,
    seed: int = 7,
    as_stored: Callable[[TCDVideoFeatures], TCDVideoFeatures] = lambda features: features,
) -> Material:
    """Generates a pool, of held-out words and concepts, and scores all its queries with all its videos, by their
    features as they are stored."""
    rng = np.random.default_rng(seed)
    spelled = TextPairGenerator(seed + 1, held_out=True, siblings=SIBLINGS, no_text_share=0.0)
    pairs = spelled.take(text_pairs)
    meant = MeaningPairGenerator(seed + 2, held_out=True)
    meanings = meant.take(SENTENCES * len(meant.concepts))
    strays = spelled.take_strays(text_pairs)
    num_windows = model.config.num_frames
    shown = [*pairs, *meanings]
    windows = [
        [["", pair.caption, *rng.choice(strays, MAX_STRAYS).tolist()][place] for place in row]
        for pair, row in zip(shown, draw_windows(rng, len(shown), num_windows), strict=True)
    ]
    world = [make_clip(WORLD, "validation", number) for number in range(clips)]
    windows += [clip.captions(num_windows, *USUAL) for clip in world]
    slips = random.Random(seed)
    asked = [(pair.query, "spelling", place) for place, pair in enumerate(pairs)]
    asked += [(misspell(query, slips), "misspelt", place) for query, _, place in asked]
    asked += [(pair.query, "meaning", len(pairs) + place) for place, pair in enumerate(meanings)]
    asked += [
        (clip.query, "visual", len(shown) + place)
        for place, (clip, kind) in enumerate(zip(world, kinds_of(clips), strict=True))
        if kind != "text"  # others of its group show the same text: they would answer it, too
    ]
    queries, kinds, targets = zip(*asked, strict=True)
    groups = [*range(len(pairs)), *(-1 - pair.group for pair in meanings)]
    groups += range(len(pairs), len(pairs) + clips)
    pool = Pool(list(queries), np.array(kinds), np.array(targets), windows, np.array(groups))
    unknown = [np.stack(wandering_video(rng, photograph, num_windows, FRAME_SIZE)) for _ in range(UNKNOWN_VIDEOS)]
    frames = (
        unknown[place % UNKNOWN_VIDEOS]
        if place < len(shown)
        else world[place - len(shown)].frames(num_windows, FRAME_SIZE)
        for place in range(len(windows))
    )
    return Material(pool, _score(model, processor, pool, frames, as_stored))


@torch.inference_mode()
def _score(
    model: TCDModel,
    processor: TCDProcessor,
    pool: Pool,
    frames: Iterator[np.ndarray],
    as_stored: Callable[[TCDVideoFeatures], TCDVideoFeatures],
) -> dict[str, np.ndarray]:
    """The model's parts of all queries with all videos."""
    texts = torch.cat(
        [
            model.get_text_features(
                **processor(text=pool.queries[start : start + QUERIES_PER_BATCH], return_tensors="pt")
            ).pooler_output
            for start in range(0, len(pool.queries), QUERIES_PER_BATCH)
        ]
    )
    columns: list[dict[str, np.ndarray]] = []
    for start in range(0, len(pool.windows), VIDEOS_PER_BATCH):
        windows = pool.windows[start : start + VIDEOS_PER_BATCH]
        inputs = processor(videos=[next(frames) for _ in windows], ocr_captions=windows, return_tensors="pt")
        columns.append(model_parts(model, texts, as_stored(model.get_video_features(**inputs))))
    return {name: np.concatenate([column[name] for column in columns], axis=1) for name in columns[0]}


def halves(material: Material) -> tuple[Material, Material]:
    """Two materials, each with half of the videos and what is asked of these. No concept is in both, and siblings,
    which stand beside each other, are in the same."""
    pool = material.pool
    made = []
    for half in range(2):
        is_own = pool.groups // SIBLINGS % 2 == half
        videos, queries = np.flatnonzero(is_own), np.flatnonzero(is_own[pool.targets])
        own = Pool(
            [pool.queries[query] for query in queries],
            pool.kinds[queries],
            np.searchsorted(videos, pool.targets[queries]),
            [pool.windows[video] for video in videos],
            pool.groups[videos],
        )
        made.append(Material(own, {name: part[np.ix_(queries, videos)] for name, part in material.parts.items()}))
    return made[0], made[1]


def collections(
    material: Material, count: int, kinds: Sequence[str] = KINDS, sizes: Sequence[int] = SIZES, seed: int = 0
) -> Iterator[Collection]:
    """Collections of changing size. To each come the queries of its videos, and as many that none of them answers."""
    pool, rng = material.pool, np.random.default_rng(seed)
    asked = np.isin(pool.kinds, kinds)
    for number in range(count):
        size = min(sizes[number % len(sizes)], len(pool.windows) // 2)
        videos = np.sort(rng.permutation(len(pool.windows))[:size])
        answered = np.isin(pool.groups[pool.targets], pool.groups[videos])
        with_answer, without = np.flatnonzero(asked & answered), np.flatnonzero(asked & ~answered)
        without = rng.permutation(without)[: len(with_answer)]
        rows = np.concatenate([with_answer, without])
        lexical = LexicalScorer([pool.windows[video] for video in videos]).score([pool.queries[row] for row in rows])
        parts = {name: part[np.ix_(rows, videos)] for name, part in material.parts.items()}
        right = pool.groups[pool.targets[rows]][:, None] == pool.groups[videos][None]
        yield Collection({**parts, "lexical": lexical}, right, pool.kinds[rows])
