"""A gallery of videos to search in: read once, kept in a cache, scored by the model and by spelling."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from tcd_hf.index.cache import CacheError, VideoCache, hash_file
from tcd_hf.index.fingerprints import caption_fingerprint, feature_fingerprint
from tcd_hf.index.hits import Hit, fuse_scores, matching_texts, score_windows
from tcd_hf.index.lexical import LexicalScorer
from tcd_hf.modeling.modeling_tcd import TCDModel, TCDVideoFeatures
from tcd_hf.processing.processing_tcd import TCDProcessor
from tcd_hf.processing.video_reading import VideoReadError
from tcd_hf.processing.window_ocr import WindowCaption

__all__ = ["DEFAULT_LEXICAL_WEIGHT", "GalleryScores", "SkippedVideo", "VideoGallery"]

DEFAULT_LEXICAL_WEIGHT = 0.5
VIDEOS_PER_BLOCK = 512  # videos whose features are float32 at once while scoring
QUERIES_PER_BATCH = 64


@dataclass(frozen=True)
class SkippedVideo:
    """A video that could not be read: its `path` and the `cause`, in words."""

    path: str
    cause: str


@dataclass(frozen=True)
class GalleryScores:
    """Scores of every query with every video, each `(num_queries, num_videos)` float32.

    Attributes:
        score (`np.ndarray`): what hits are ranked by: `model` and `lexical`, fused.
        model (`np.ndarray`): the model's similarity.
        lexical (`np.ndarray`): lexical score of the best window.
        text_video (`np.ndarray`): the text-video part of the model's similarity.
        text_ocr, text_hybrid (`np.ndarray`, *optional*): its other parts; `None` for a model that does not read OCR.
    """

    score: np.ndarray
    model: np.ndarray
    lexical: np.ndarray
    text_video: np.ndarray
    text_ocr: np.ndarray | None = None
    text_hybrid: np.ndarray | None = None


class VideoGallery:
    """Videos to search in, with captions and features cached on disk by content.

    Args:
        model (`TCDModel`): scores queries and videos. Used on the device it is on, in eval mode.
        processor (`TCDProcessor`): reads frames and text, and makes the model's inputs.
        cache_dir (`str | os.PathLike`, *optional*): cache folder; see [`VideoCache`]. Nothing is written elsewhere.
        lexical_weight (`float`, defaults to 0.5): `w` of the search score `(1 - w) * S + w * L`.

    Example:

    ```python
    >>> gallery = VideoGallery(*load_mini())
    >>> skipped = gallery.add(["shop.mp4", "match.mp4"])
    >>> gallery.search(["the store TESCO express"], top_k=1)[0][0].evidence
    ['TESCO express']
    ```
    """

    def __init__(
        self,
        model: TCDModel,
        processor: TCDProcessor,
        cache_dir: str | os.PathLike | None = None,
        lexical_weight: float = DEFAULT_LEXICAL_WEIGHT,
    ):
        if not 0 <= lexical_weight <= 1:
            raise ValueError(f"lexical_weight must lie in [0, 1], got {lexical_weight}.")
        self.model = model.eval()
        self.processor = processor
        self.cache = VideoCache(cache_dir)
        self.lexical_weight = lexical_weight
        self.paths: list[str] = []
        self.captions: list[list[WindowCaption]] = []
        self._features: list[dict[str, torch.Tensor]] = []
        self._caption_settings = caption_fingerprint(processor.captioner)
        self._feature_settings = feature_fingerprint(model, processor)
        self._lexical: LexicalScorer | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def add(
        self, paths: Iterable[str | os.PathLike], on_video: Callable[[str], None] | None = None
    ) -> list[SkippedVideo]:
        """Reads videos, or takes them from the cache, and adds them in the order given.

        Args:
            paths (`Iterable[str | os.PathLike]`): video files.
            on_video (`Callable[[str], None]`, *optional*): called with each path when it is done, for a progress bar.

        Returns:
            `list[SkippedVideo]`: videos that could not be read. They are not in the gallery; the others are.

        Raises:
            CacheError: when the cache folder cannot be written.
        """
        skipped = []
        for path in map(os.fspath, paths):
            try:
                captions, features = self._read(path)
            except CacheError:
                raise
            except VideoReadError as error:
                skipped.append(SkippedVideo(path, str(error)))
            except OSError as error:  # no such file, no rights, a failing disk: no reason to give up on the others
                cause = VideoReadError(path, f"it cannot be read ({error.strerror or error})", "Check the file")
                skipped.append(SkippedVideo(path, str(cause)))
            else:
                self.paths.append(path)
                self.captions.append(captions)
                self._features.append(features)
                self._lexical = None
            if on_video is not None:
                on_video(path)
        return skipped

    def score(self, queries: Sequence[str]) -> GalleryScores:
        """Scores every query with every video of the gallery."""
        return self._score(queries, self._embed(queries))

    def search(self, queries: Sequence[str], top_k: int = 10) -> list[list[Hit]]:
        """The best `top_k` videos (or all, if there are fewer) of each query, best first; ties in the order added.

        Raises:
            ValueError: for an empty query or `top_k` below 1.
        """
        if top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {top_k}.")
        text_embeds = self._embed(queries)
        scores = self._score(queries, text_embeds)
        ranking = np.argsort(-scores.score, axis=1, kind="stable")[:, :top_k]
        return [
            [self._hit(query, text_embeds[row], scores, row, video) for video in ranking[row].tolist()]
            for row, query in enumerate(queries)
        ]

    def _read(self, path: str) -> tuple[list[WindowCaption], dict[str, torch.Tensor]]:
        content_hash = hash_file(path)
        captions = self.cache.load_captions(content_hash, self._caption_settings)
        features = self.cache.load_features(content_hash, self._feature_settings)
        if captions is None or len(captions) != self.processor.num_frames:  # the latter: not an entry of ours
            frames, captions = self.processor.read_video(path)
            self.cache.save_captions(content_hash, self._caption_settings, captions)
            video = np.stack(frames)
        else:
            video = path
        if features is None:
            features = self._compute_features(video, captions)
            self.cache.save_features(content_hash, self._feature_settings, features)
        return captions, features

    @torch.no_grad()
    def _compute_features(self, video: str | np.ndarray, captions: list[WindowCaption]) -> dict[str, torch.Tensor]:
        inputs = self.processor(videos=[video], ocr_captions=[captions], return_tensors="pt").to(self.model.device)
        features = self.model.get_video_features(**inputs)
        # float16 also when just computed, so that a search gives the same scores with and without the cache
        return dict(features.map_videos(lambda rows: (rows.half() if rows.is_floating_point() else rows).cpu()))

    @torch.no_grad()
    def _embed(self, queries: Sequence[str]) -> torch.Tensor:
        """`(num_queries, dim)` float32."""
        if isinstance(queries, str):
            raise TypeError("queries must be a list of strings, got one string: put it in a list.")
        if not queries:
            raise ValueError("queries is empty: give at least one.")
        embeds = []
        for start in range(0, len(queries), QUERIES_PER_BATCH):
            inputs = self.processor(text=list(queries[start : start + QUERIES_PER_BATCH]), return_tensors="pt")
            embeds.append(self.model.get_text_features(**inputs.to(self.model.device)).pooler_output.float())
        return torch.cat(embeds)

    @torch.no_grad()
    def _score(self, queries: Sequence[str], text_embeds: torch.Tensor) -> GalleryScores:
        if not self.paths:
            raise ValueError("The gallery is empty: add videos before searching.")
        if self._lexical is None:
            self._lexical = LexicalScorer([[caption.text for caption in captions] for captions in self.captions])
        lexical = self._lexical.score(queries).similarity
        blocks = [
            self.model.score(text_embeds, self._stack(self._features[start : start + VIDEOS_PER_BLOCK]))
            for start in range(0, len(self._features), VIDEOS_PER_BLOCK)
        ]
        parts = {name: torch.cat([block[name] for block in blocks], dim=1).cpu().numpy() for name in blocks[0]}
        model = parts.pop("similarity")
        return GalleryScores(fuse_scores(model, lexical, self.lexical_weight), model, lexical, **parts)

    def _stack(self, features: Sequence[dict[str, torch.Tensor]]) -> TCDVideoFeatures:
        """Features of single videos as those of a batch: on the model's device, in float32."""
        batch = TCDVideoFeatures(**{name: torch.cat([video[name] for video in features]) for name in features[0]})
        return batch.map_videos(
            lambda rows: rows.to(self.model.device, torch.float32 if rows.is_floating_point() else rows.dtype)
        )

    def _hit(self, query: str, text_embed: torch.Tensor, scores: GalleryScores, row: int, video: int) -> Hit:
        window = self.captions[video][self._best_window(query, text_embed, video)]

        def part(matrix: np.ndarray | None) -> float | None:
            return None if matrix is None else float(matrix[row, video])

        return Hit(
            path=self.paths[video],
            score=part(scores.score),
            text_video=part(scores.text_video),
            text_ocr=part(scores.text_ocr),
            text_hybrid=part(scores.text_hybrid),
            lexical=part(scores.lexical),
            start=window.start,
            end=window.end,
            evidence=matching_texts(query, [track.text for track in window.tracks]),
        )

    def _best_window(self, query: str, text_embed: torch.Tensor, video: int) -> int:
        features = self._stack([self._features[video]])

        def cosines(embeds: torch.Tensor) -> np.ndarray:
            return torch.cosine_similarity(embeds[0], text_embed, dim=-1).cpu().numpy()

        reads_text = features.ocr_mask is not None
        window_scores = score_windows(
            cosines(features.fused_frame_embeds),
            cosines(features.fused_ocr_embeds) if reads_text else None,
            features.ocr_mask[0].cpu().numpy() if reads_text else None,
            self._lexical.window_scores(query, video),
            self.lexical_weight,
        )
        return int(window_scores.argmax())
