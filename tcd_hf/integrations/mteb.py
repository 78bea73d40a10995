"""
TCD for the tasks of mteb that have texts and videos: as an encoder, by the coarse vector, and as a search of its own,
by the full score.

Video files are read by [`TCDProcessor`], from their paths or bytes as the task's data set holds them: torchcodec is not
needed, and vectors are those that [`VideoIndex`] would store. Text is read once, and kept in the cache of captions.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from datasets import Dataset, Video
from tqdm.auto import tqdm
from typing_extensions import Self

try:
    from mteb.models import ModelMeta
    from mteb.models.abs_encoder import AbsEncoder
    from mteb.models.model_meta import ScoringFunction
except ImportError as error:
    raise ImportError("This needs mteb 2.26 or later, and Python 3.11: pip install 'tcd-hf[mteb]'") from error

from tcd_hf.integrations.videos import concatenate_features, embed_video
from tcd_hf.modeling.modeling_tcd import TCDModel, TCDVideoFeatures
from tcd_hf.processing.processing_tcd import TCDProcessor
from tcd_hf.reading.fingerprints import all_fingerprints, fingerprint, model_name

__all__ = ["TCDEncoder", "TCDSearch"]

QUERIES_AT_ONCE = 1024  # whose scores with the whole corpus are in memory at once


class TCDEncoder(AbsEncoder):
    """Texts and videos as vectors, compared by their dot products: [`VideoIndex`]'s mode "coarse". For any task of mteb
    whose items are a text or a video each; beside a video, its sound is ignored.

    Args:
        model ([`TCDModel`]): put into evaluation mode.
        processor ([`TCDProcessor`]): of the model.

    Attributes:
        mteb_model_meta (`ModelMeta`): what results are filed under; its revision is a fingerprint of the weights and of
            the settings by which frames and text are read.

    Example:

    ```python
    >>> import mteb
    >>> from tcd_hf import load_mini
    >>> from tcd_hf.integrations.mteb import TCDEncoder, TCDSearch

    >>> tasks = mteb.get_tasks(tasks=["MSRVTTT2V"])
    >>> mteb.evaluate(TCDSearch(*load_mini()), tasks)  # by the full score
    >>> mteb.evaluate(TCDEncoder(*load_mini()), tasks)  # by one vector per video
    ```"""

    score = "coarse"
    model: TCDModel
    processor: TCDProcessor
    mteb_model_meta: ModelMeta

    if TYPE_CHECKING:  # for mteb's protocol, which also says how an encoder is made: from a name, by its command line

        def __new__(cls, model: TCDModel, processor: TCDProcessor) -> Self: ...

        def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    else:

        def __init__(self, model: TCDModel, processor: TCDProcessor):
            self.model, self.processor = model.eval(), processor
            self.mteb_model_meta = describe(model, processor, self.score)

    @torch.inference_mode()
    def encode(self, inputs: torch.utils.data.DataLoader, **kwargs: Any) -> np.ndarray:
        """Embeds texts or videos.

        Args:
            inputs (`DataLoader`): of a data set with a column `text` or `video`.
            kwargs: of mteb's interface; `batch_size` texts are embedded at once, 32 by default, and
                `show_progress_bar` is on by default.

        Returns:
            `np.ndarray` of shape `(num_items, dim)`, float32.

        Raises:
            VideoReadError: a video that cannot be read.
            TypeError: anything but a `DataLoader` of a `datasets.Dataset`.
            ValueError: items that are neither a text nor a video, or both in one.
        """
        items = getattr(inputs, "dataset", None)
        if not isinstance(items, Dataset):
            raise TypeError(
                f"inputs must be a DataLoader of a datasets.Dataset, as mteb gives it, got {inputs!r:.100}. A list of "
                "texts and videos is embedded by to_sentence_transformer(model, processor).encode(...)."
            )
        embeds = self._embed(items, **kwargs)
        if isinstance(embeds, TCDVideoFeatures):
            return embeds.coarse_embeds.float().cpu().numpy()
        return self.model.get_coarse_queries(embeds).cpu().numpy()

    def _embed(
        self, items: Dataset, batch_size: int = 32, show_progress_bar: bool = True, **kwargs: Any
    ) -> torch.Tensor | TCDVideoFeatures:
        """Text embeddings `(num_items, dim)`, or features of videos."""
        columns = [column for column in ("text", "video") if column in items.column_names]
        if columns == ["video"]:
            # Not decoded: the processor reads the files itself.
            videos: Any = items.select_columns("video").cast_column("video", Video(decode=False))
            rows = tqdm(videos, "videos", disable=not show_progress_bar)
            return concatenate_features([embed_video(self.model, self.processor, row["video"]) for row in rows])
        if columns != ["text"]:
            raise ValueError(f"An item must be a text or a video, one of them; got columns {items.column_names}.")
        batches: Any = items.select_columns("text").iter(batch_size)
        return torch.cat([self._embed_texts(batch["text"]) for batch in batches])

    def _embed_texts(self, texts: list[str]) -> torch.Tensor:
        inputs = self.processor(text=texts).to(self.model.device)
        return self.model.get_text_features(**inputs).pooler_output


class TCDSearch(TCDEncoder):
    """Search by the full score of every text with every video, for mteb's retrieval and reranking tasks; in all others
    a [`TCDEncoder`].

    It is the score of [`~TCDModel.score`] alone, as in [`evaluate_model`]: without the spelling that [`VideoIndex`]
    adds to it.
    """

    score = "full"
    _corpus: torch.Tensor | TCDVideoFeatures | None = None

    @torch.inference_mode()
    def index(self, corpus: Dataset, *, encode_kwargs: Mapping[str, Any], **kwargs: Any) -> None:
        """Embeds a corpus of videos, or of texts to find by video, with columns `id`, and `video` or `text`."""
        self._ids, self._corpus = np.array(corpus["id"]), self._embed(corpus, **encode_kwargs)

    @torch.inference_mode()
    def search(
        self,
        queries: Dataset,
        *,
        top_k: int,
        encode_kwargs: Mapping[str, Any],
        top_ranked: dict[str, list[str]] | None = None,
        **kwargs: Any,
    ) -> dict[str, dict[str, float]]:
        """Scores of the best of the corpus, by query.

        Args:
            queries (`datasets.Dataset`): with columns `id`, and `text` or `video`.
            top_k (`int`): how many for each query.
            encode_kwargs (`dict`): see [`~TCDEncoder.encode`].
            top_ranked (`dict[str, list[str]]`, *optional*): of each query the documents that are to be ranked, in
                reranking tasks; all by default.

        Returns:
            `dict[str, dict[str, float]]`: by query, documents and their scores.

        Raises:
            RuntimeError: `index` was not called before.
            ValueError: queries and corpus that are not texts and videos.
        """
        if self._corpus is None:
            raise RuntimeError("There is nothing to search: call `index` with a corpus first.")
        embeds = self._embed(queries, **encode_kwargs)
        places = {document: place for place, document in enumerate(self._ids)}
        scores = (row for block in embeds.split(QUERIES_AT_ONCE) for row in self._score(block))
        found = {}
        for query, row in zip(queries["id"], scores, strict=True):
            chosen = np.arange(len(row))
            if top_ranked is not None:
                chosen = np.array([places[document] for document in top_ranked.get(query, [])], dtype=int)
            best = chosen[np.argsort(-row[chosen], kind="stable")[:top_k]]
            found[query] = dict(zip(self._ids[best].tolist(), row[best].tolist(), strict=True))
        return found

    def _score(self, queries: torch.Tensor | TCDVideoFeatures) -> np.ndarray:
        """`(num_queries, num_documents)`."""
        corpus = self._corpus
        if isinstance(queries, TCDVideoFeatures) and isinstance(corpus, torch.Tensor):
            return self.model.score(corpus, queries).similarity.T.cpu().numpy()
        if isinstance(queries, torch.Tensor) and isinstance(corpus, TCDVideoFeatures):
            return self.model.score(queries, corpus).similarity.cpu().numpy()
        raise ValueError("The full score is of a text and a video. Compare two of a kind by TCDEncoder.")


def describe(model: TCDModel, processor: TCDProcessor, score: str) -> ModelMeta:
    """What mteb files results under: other weights, other settings and the other score are another model to it."""
    name = model_name(model)
    if "/" not in name or os.path.isdir(name):
        name = f"tcd-hf/{Path(name).name or 'tcd'}"
    return ModelMeta(
        loader=None,
        name=name,
        revision=fingerprint(all_fingerprints(model, processor)),
        release_date=None,
        languages=None,
        n_parameters=model.num_parameters(),
        memory_usage_mb=model.get_memory_footprint() / 2**20,
        max_tokens=None,
        embed_dim=model.config.projection_dim,
        license=None,
        open_weights=None,
        public_training_code=None,
        public_training_data=None,
        framework=["PyTorch"],
        similarity_fn_name=ScoringFunction.DOT_PRODUCT,
        use_instructions=False,
        training_datasets=None,
        modalities=["text", "video"],
        experiment_kwargs={"score": score},
    )
