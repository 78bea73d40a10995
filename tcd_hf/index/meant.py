"""Texts that mean what a query asks for, where none is spelled like it: of the best windows of the hits that are shown.

Captions are embedded when a video is added, single texts are not: those of shown windows are, when they are shown.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import TypeVar

import numpy as np
import torch

from tcd_hf.index.hits import Hit, evidence_boxes
from tcd_hf.index.moments import Moment, Window, follow_text
from tcd_hf.modeling.backbones import encode_text
from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.processing.processing_tcd import TCDProcessor

__all__ = ["MeaningFinder"]

MAX_TEXTS = 8  # of a window that are compared, the most salient
MAX_MEANT = 2  # of a window that are shown
TEXTS_PER_BATCH = 64
REMEMBERED = 4096  # texts: the same signs are shown again and again

Shown = TypeVar("Shown", Hit, Moment)


class MeaningFinder:
    """Gives hits and moments without evidence those texts of their window that mean what was asked for.

    A text means it if its cosine with the query is at least the `means_from` of the model's calibration; the nearest
    come first. A model without one, or that reads no OCR, finds none.

    Args:
        model ([`TCDModel`]), processor ([`TCDProcessor`]): embed the texts, as captions are.
    """

    def __init__(self, model: TCDModel, processor: TCDProcessor):
        calibration = getattr(model.config, "search_calibration", None) or {}
        self.least: float | None = calibration.get("means_from") if model.config.reads_ocr else None
        self._model, self._processor = model, processor
        self._known: dict[str, np.ndarray] = {}  # the latest last

    def __call__(
        self, shown: Sequence[Shown], text_embeds: Sequence[np.ndarray], windows: Sequence[Sequence[Window]]
    ) -> list[Shown]:
        """The same hits or moments, with what means what was asked for as evidence, and as long as the nearest of it is
        seen.

        Args:
            shown (`Sequence[Hit]` or `Sequence[Moment]`): without evidence.
            text_embeds (`Sequence[np.ndarray]`, each of shape `(dim,)`): of what each was found by, L2-normalised.
            windows (`Sequence[Sequence[WindowCaption]]` or of [`StoredWindow`]): of the video of each, in the order of
                time; the one that begins with it among them, or nothing is found.
        """
        if self.least is None:
            return list(shown)
        places = [
            next((place for place, window in enumerate(own) if window.start == each.start), None)
            for each, own in zip(shown, windows, strict=True)
        ]
        tracks = [[] if place is None else own[place].tracks for place, own in zip(places, windows, strict=True)]
        texts = [list(dict.fromkeys(track.text for track in own))[:MAX_TEXTS] for own in tracks]
        embeds = self._embed(list(dict.fromkeys(chain(*texts))))
        found = []
        for each, asked, place, own, of_window, names in zip(
            shown, text_embeds, places, windows, tracks, texts, strict=True
        ):
            cosines = np.array([embeds[text] @ asked for text in names])
            nearest = np.argsort(-cosines, kind="stable")[:MAX_MEANT].tolist()
            evidence = [names[number] for number in nearest if cosines[number] >= self.least]
            if evidence and place is not None:
                (start, end), _ = follow_text(evidence[0], place, own)
                boxes = evidence_boxes(evidence, of_window, "means")
                each = replace(each, start=start, end=end, evidence=evidence, boxes=boxes)
            found.append(each)
        return found

    def _embed(self, texts: list[str]) -> dict[str, np.ndarray]:
        """L2-normalised embeddings of texts; the latest are remembered. Other threads may search meanwhile."""
        embeds = {text: known for text in texts if (known := self._known.get(text)) is not None}
        unknown = [text for text in texts if text not in embeds]
        for start in range(0, len(unknown), TEXTS_PER_BATCH):
            batch = unknown[start : start + TEXTS_PER_BATCH]
            embeds.update(zip(batch, self._encode(batch), strict=True))
        for text, embed in embeds.items():
            self._known.pop(text, None)
            self._known[text] = embed
        for text in list(self._known)[: max(0, len(self._known) - REMEMBERED)]:
            self._known.pop(text, None)
        return embeds

    @torch.inference_mode()
    def _encode(self, texts: list[str]) -> np.ndarray:
        processor = copy.copy(self._processor)
        processor.query_prefix = processor.caption_prefix
        inputs = processor(text=texts, return_tensors="pt").to(self._model.device)
        output = encode_text(self._model.ocr_encoder, inputs["input_ids"], inputs.get("attention_mask"))
        return output.pooler_output.float().cpu().numpy()
