"""The search score: what a model says of a query and a video, and the spelling they share, as one number."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from tcd_hf.choices import DEFAULT_LEXICAL_WEIGHT, FUSED_MODES, WEAK_BELOW, SearchMode
from tcd_hf.modeling.configuration_tcd import CALIBRATED_PARTS, TCDConfig
from tcd_hf.modeling.modeling_tcd import TCDModel, TCDVideoFeatures

__all__ = ["Fusion", "model_parts", "nearest_window"]


class Fusion:
    """How the parts of a score become one number (ours).

    - Of a model without a calibration, `(1 - w) * S + w * L`: `S` is the model's similarity, for TCD the mean of its
      three parts, `L` the lexical score.
    - Of one with, the probability that the video is what the query asks for, `1 / (1 + exp(-z))` with `z = bias +
      2 (1 - w) * (sum of the model's parts, each times its coefficient) + 2 w * coefficient * L`. `w = 0.5` is as it
      was fitted; others trust spelling less or more, and the number is then no probability.

    Args:
        calibration (`dict[str, float]`, *optional*): [`TCDConfig`]'s `search_calibration`.
        lexical_weight (`float`, *optional*, defaults to 0.5): `w`, in [0, 1].

    Raises:
        ValueError: a weight out of its range.
    """

    def __init__(self, calibration: Mapping[str, float] | None = None, lexical_weight: float = DEFAULT_LEXICAL_WEIGHT):
        if not 0 <= lexical_weight <= 1:
            raise ValueError(f"lexical_weight must lie in [0, 1], got {lexical_weight}.")
        self.lexical_weight = lexical_weight
        self.is_calibrated = calibration is not None
        self._calibration = dict(calibration or {})

    @classmethod
    def of(cls, config: TCDConfig, lexical_weight: float = DEFAULT_LEXICAL_WEIGHT) -> "Fusion":
        """The fusion of a model with this configuration; one of a release before has no calibration."""
        return cls(getattr(config, "search_calibration", None), lexical_weight)

    @property
    def needs_nearest_window(self) -> bool:
        """Whether the part `text_window` counts."""
        return self._weight("text_window") > 0

    @property
    def is_probability(self) -> bool:
        """Whether the score is the probability of being right: of a calibrated model as it was fitted."""
        return self.is_calibrated and self.lexical_weight == DEFAULT_LEXICAL_WEIGHT

    def tells_weak(self, mode: SearchMode = "two-stage") -> bool:
        """Whether a search in this mode knows its weak matches, as the scores of its hits are probabilities."""
        return self.is_probability and mode in FUSED_MODES

    def is_weak(self, score: float, mode: SearchMode = "two-stage") -> bool:
        """Whether a hit of this score, in this mode, is a weak match: its score is a probability below `WEAK_BELOW`."""
        return self.tells_weak(mode) and score < WEAK_BELOW

    def score(self, parts: Mapping[str, Any], lexical: np.ndarray) -> np.ndarray:
        """The search score of videos.

        Args:
            parts (`dict[str, np.ndarray]`): `similarity`, `text_video` and what else the model says, of one shape.
            lexical (`np.ndarray`): of the same shape, in [0, 1].

        Returns:
            `np.ndarray` of that shape; float64 of a calibrated model, whose numbers lie near 0 and 1.
        """
        if self.is_calibrated:
            known = {name: part for name in CALIBRATED_PARTS if (part := parts.get(name)) is not None}
            return _sigmoid(self._logits({**known, "lexical": lexical}))
        if not self.lexical_weight:
            return parts["similarity"]
        return self._weighed(parts["similarity"], lexical)

    def windows(
        self,
        frame_cosines: np.ndarray,
        fused_cosines: np.ndarray | None,
        read_cosines: np.ndarray | None,
        has_text: np.ndarray | None,
        lexical: np.ndarray,
    ) -> np.ndarray:
        """How well each window of a video matches a query, to compare windows of one video, see `beside`.

        Without a calibration, a window's model score is the mean of its two cosines, each taken relative to its mean
        over the video: text-to-text and text-to-image cosines lie in different ranges, and a window without text must
        neither gain nor lose by having only one of them. It is then fused with the window's lexical score as whole
        videos are. With one, each cosine has the coefficient that it has in the score of the video.

        Args:
            frame_cosines (`np.ndarray` of shape `(..., num_windows)`): cosine of the query and the fused frame
                embeddings, of one video or of several.
            fused_cosines (`np.ndarray` of shape `(..., num_windows)`): the same of the fused OCR embeddings; `None` for
                a model that does not read OCR.
            read_cosines (`np.ndarray` of shape `(..., num_windows)`): the same of the OCR embeddings themselves; may be
                `None` where `needs_nearest_window` is false.
            has_text (`np.ndarray` of shape `(..., num_windows)`, bool): windows in which text was read; `None` for a
                model that does not read OCR.
            lexical (`np.ndarray` of shape `(..., num_windows)`): in [0, 1].

        Returns:
            `np.ndarray` of shape `(..., num_windows)`.
        """
        frames = frame_cosines - frame_cosines.mean(axis=-1, keepdims=True)
        fused, read = _over_mean(fused_cosines, has_text), _over_mean(read_cosines, has_text)
        if not self.is_calibrated:
            return self._weighed((frames + fused) / 2, lexical)
        parts = {"text_video": frames, "text_ocr": fused, "text_window": read, "lexical": lexical}
        return self._logits(parts)

    def beside(self, scores: np.ndarray, differences: np.ndarray) -> np.ndarray:
        """How much less than the best window of a video another one scores, by what [`~Fusion.windows`] says.

        Args:
            scores (`np.ndarray`): of the videos; `-inf` where nothing is in question.
            differences (`np.ndarray`): of the windows from the best one, at most 0 but where they are out of range.
        """
        if not self.is_calibrated:
            return differences
        known = np.asarray(scores, np.float64).clip(np.finfo(np.float64).tiny, 1 - np.finfo(np.float64).eps)
        return _sigmoid(np.log(known) - np.log1p(-known) + differences) - known

    def _weight(self, part: str) -> float:
        return self._calibration.get(part, 0)

    def _logits(self, parts: Mapping[str, np.ndarray | float]) -> np.ndarray:
        logits: Any = np.float64(self._calibration["bias"])
        for name, part in parts.items():
            share = self.lexical_weight if name == "lexical" else 1 - self.lexical_weight
            if self._weight(name):
                logits = logits + 2 * share * self._weight(name) * np.asarray(part, np.float64)
        return logits

    def _weighed(self, model: np.ndarray, lexical: np.ndarray) -> np.ndarray:
        return (1 - self.lexical_weight) * model + self.lexical_weight * lexical


def nearest_window(text_embeds: torch.Tensor, features: TCDVideoFeatures) -> torch.Tensor:
    """The part `text_window`: the cosine of texts and that caption of a video which is nearest in meaning, 0 for a
    video without text.

    Args:
        text_embeds (`torch.FloatTensor` of shape `(num_texts, dim)`): L2-normalised.
        features ([`TCDVideoFeatures`]): of `num_videos` videos, by a model that reads OCR.

    Returns:
        `torch.FloatTensor` of shape `(num_texts, num_videos)`.
    """
    captions, _, has_text = features.ocr_parts()
    cosines = torch.einsum("bnd,td->tbn", captions.float(), text_embeds.float())
    best = cosines.masked_fill(~has_text, -torch.inf).amax(dim=-1)
    return best.masked_fill(~has_text.any(dim=-1), 0.0)


@torch.inference_mode()
def model_parts(model: TCDModel, text_embeds: torch.Tensor, features: TCDVideoFeatures) -> dict[str, np.ndarray]:
    """All parts that a search score may be made of, but the lexical one: `(num_texts, num_videos)` each, by name."""
    parts = {name: part.cpu().numpy() for name, part in model.score(text_embeds, features).items()}
    if model.config.reads_ocr:
        parts["text_window"] = nearest_window(text_embeds, features).cpu().numpy()
    return parts


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(logits, -700, 700)))


def _over_mean(cosines: np.ndarray | None, has_text: np.ndarray | None) -> np.ndarray | float:
    """Cosines relative to their mean over the windows with text, 0 in those without."""
    if cosines is None or has_text is None:
        return 0.0
    cosines = np.where(has_text, cosines, 0)
    mean = cosines.sum(axis=-1, keepdims=True) / has_text.sum(axis=-1, keepdims=True).clip(1)
    return np.where(has_text, cosines - mean, 0)
