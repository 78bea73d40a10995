"""
TCD for people who use sentence-transformers: a module that embeds texts and videos, and a reranker.

The embedding is the coarse vector: the dot product of a text's and a video's is the score of [`VideoIndex`]'s mode
"coarse". It is made for finding candidates in a large collection; [`TCDReranker`] gives them the full score.
"""

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

try:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modality import infer_modality
    from sentence_transformers.base.modules import InputModule
except ImportError as error:
    raise ImportError(
        "This needs sentence-transformers 6.2 or later: pip install 'tcd-hf[sentence-transformers]'"
    ) from error

from tcd_hf.integrations.videos import concatenate_features, embed_video, process_video
from tcd_hf.loading import load_checkpoint
from tcd_hf.modeling.configuration_tcd import TCDConfig
from tcd_hf.modeling.modeling_tcd import TCDModel, TCDVideoFeatures
from tcd_hf.processing.processing_tcd import TCDProcessor
from tcd_hf.processing.video_inputs import unwrap
from tcd_hf.processing.video_reading import VideoReadError
from tcd_hf.reading.files import VIDEO_EXTENSIONS, FileStamp, absolute_path, file_stamp

__all__ = ["TCDModule", "TCDReranker", "to_sentence_transformer"]

FILES_KEPT = 1024  # features of one take some 100 kB
TEXT_INPUTS = ("input_ids", "attention_mask")
CAPTION_INPUTS = ("ocr_input_ids", "ocr_attention_mask")


def to_sentence_transformer(model: TCDModel, processor: TCDProcessor) -> SentenceTransformer:
    """A `SentenceTransformer` that shares the weights of a model and embeds texts and videos.

    Its `save_pretrained(folder)` writes a TCD checkpoint with what sentence-transformers adds beside it. That folder is
    opened by `SentenceTransformer(folder, trust_remote_code=True)`, and by [`TCDModel`] and [`TCDProcessor`] as well.

    sentence-transformers asks for `trust_remote_code` wherever a module is not its own. Here that is this installed
    package's; the code beside the weights is not run. But the flag has any class imported that `modules.json` names: a
    checkpoint you do not trust is opened without it, by [`tcd_hf.load`] and this function.

    Args:
        model ([`TCDModel`]): stays on its device.
        processor ([`TCDProcessor`]): of the model.

    Example:

    ```python
    >>> from tcd_hf import load_mini
    >>> from tcd_hf.integrations.sentence_transformers import to_sentence_transformer

    >>> encoder = to_sentence_transformer(*load_mini())
    >>> videos = encoder.encode(["shop.mp4", "match.mp4"])
    >>> encoder.similarity(encoder.encode(["the store TESCO express"]), videos)
    ```"""
    modules: list[torch.nn.Module] = [TCDModule(model, processor)]
    return SentenceTransformer(modules=modules, similarity_fn_name="dot", device=str(model.device))


class TCDModule(InputModule):
    """The one module of a `SentenceTransformer` that embeds texts and videos by a TCD model.

    **Inputs.** A text is a string, or `{"text": ...}`. A video is a path (a `Path`, or a string with the ending of a
    video file, which must be there), or what else [`process_video`] takes. Both may be mixed in one call; "message" is
    what sentence-transformers calls that, chat messages are refused. A prompt is put in front of texts (and
    the processor's `query_prefix` in front of both), not of videos.

    **Embeddings**, float32, of the model's `projection_dim`: of a text the query of [`~TCDModel.get_coarse_queries`],
    not normalised; of a video its `coarse_embeds`, of length 1. By their dot products texts find videos as in
    [`VideoIndex`]'s mode "coarse", by their cosines in the same order. Videos may be compared with each other too; two
    texts should not be, once the projection of queries is trained.

    Videos are read one after the other in this process. Their text is read once: it is kept in the cache of captions,
    for [`TCDReranker`] and [`VideoIndex`] too. A collection of thousands is read faster by [`VideoIndex`], in many
    processes, and its column `coarse` holds the same vectors ([`~VideoIndex.export_dataset`]).

    Args:
        model ([`TCDModel`]): used on the device it is on.
        processor ([`TCDProcessor`]): of the model.
    """

    def __init__(self, model: TCDModel, processor: TCDProcessor):
        super().__init__()
        self.model, self.processor = model, processor

    @property
    def modalities(self) -> list[str]:
        return ["text", "video", "message"]

    @property
    def tokenizer(self) -> Any:
        return self.processor.tokenizer

    def get_embedding_dimension(self) -> int:
        return self.model.config.projection_dim

    def preprocess(self, inputs: Sequence[Any], prompt: str | None = None, **kwargs: Any) -> dict[str, torch.Tensor]:
        """Makes the model's inputs of texts and videos.

        Args:
            inputs: texts and videos, see above.
            prompt (`str`, *optional*): put in front of texts.

        Returns:
            `dict` of `is_video` `(batch_size,)`, bool, and the model's inputs of the texts and of the videos.

        Raises:
            VideoReadError: a video that cannot be read.
            ValueError, TypeError: something that is neither a text nor a video.
        """
        is_video = [modality_of(each) == "video" for each in inputs]
        texts = [each for each, video in zip(inputs, is_video, strict=True) if not video]
        # One by one: the frames of a whole batch, before they are made small, could fill the memory.
        videos = [process_video(self.processor, each) for each, video in zip(inputs, is_video, strict=True) if video]
        features = {"is_video": torch.tensor(is_video)}
        if texts:
            texts = [each["text"] if isinstance(each, Mapping) else each for each in texts]
            features.update(self.processor(text=[prompt + text for text in texts] if prompt else texts))
        if videos:
            features.update(stack_videos(videos, self.tokenizer.padding_side))
        return features

    def forward(self, features: dict[str, torch.Tensor], **kwargs: Any) -> dict[str, torch.Tensor]:
        """Adds `sentence_embedding` `(batch_size, dim)`, float32, to what [`~TCDModule.preprocess`] gives."""
        is_video = features["is_video"]
        embeds = torch.empty(len(is_video), self.get_embedding_dimension(), device=is_video.device)
        texts = {name: features[name] for name in TEXT_INPUTS if name in features}
        videos = {name: value for name, value in features.items() if name not in ("is_video", *TEXT_INPUTS)}
        if texts:
            text_embeds = self.model.get_text_features(**texts).pooler_output
            embeds[~is_video] = self.model.get_coarse_queries(text_embeds)
        if videos:
            embeds[is_video] = self.model.get_video_features(**videos).coarse_embeds.float()
        return {**features, "sentence_embedding": embeds}

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Writes a TCD checkpoint."""
        self.model.save_pretrained(output_path)
        self.processor.save_pretrained(output_path)

    @classmethod
    def load(
        cls,
        model_name_or_path: str,
        subfolder: str = "",
        token: bool | str | None = None,
        cache_folder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        model_kwargs: dict[str, Any] | None = None,
        processor_kwargs: dict[str, Any] | None = None,
        backend: str = "torch",
        **kwargs: Any,
    ) -> "TCDModule":
        """Loads what [`tcd_hf.load`] does; weights keep the dtype that they are saved in.

        Args:
            model_name_or_path (`str`): as there.
            subfolder, token, cache_folder, revision, local_files_only: where, on the Hub or in a folder.
            model_kwargs (`dict`, *optional*): fields of [`TCDConfig`], options of `PreTrainedModel.from_pretrained`.
            processor_kwargs (`dict`, *optional*): options of [`TCDProcessor`].

        Raises:
            ValueError: a `backend` other than `"torch"`, or what [`tcd_hf.load`] refuses.
        """
        if backend != "torch":
            raise ValueError(f'A TCD model runs with `backend="torch"` only, got {backend!r}.')
        options = dict(model_kwargs or {})
        dtype = options.pop("dtype", options.pop("torch_dtype", "auto"))
        hub = {"token": token, "cache_dir": cache_folder, "revision": revision, "subfolder": subfolder}
        model, processor = load_checkpoint(
            model_name_or_path,
            {**hub, "local_files_only": local_files_only},
            overrides={name: options.pop(name) for name in list(options) if name in TCDConfig.__dataclass_fields__},
            model_options={**options, "dtype": dtype},
            processor_options=processor_kwargs,
        )
        return cls(model, processor)


class TCDReranker:
    """Ranks videos by the full score: what `CrossEncoder.rank` is for documents that are texts.

    A file is read for the first query and again when it has changed; the features of the 1024 files used last are kept
    in memory, on the device of the model. They belong to these weights: make a new reranker after training.

    Args:
        model ([`TCDModel`]): put into evaluation mode.
        processor ([`TCDProcessor`]): of the model.

    Example:

    ```python
    >>> from tcd_hf import load_mini
    >>> from tcd_hf.integrations.sentence_transformers import TCDReranker

    >>> reranker = TCDReranker(*load_mini())
    >>> reranker.rank("the store TESCO express", ["match.mp4", "shop.mp4"], top_k=1)
    ```"""

    def __init__(self, model: TCDModel, processor: TCDProcessor):
        self.model, self.processor = model.eval(), processor
        self._features_of_file = lru_cache(FILES_KEPT)(self._embed_file)

    @torch.inference_mode()
    def rank(
        self,
        query: str,
        documents: Sequence[Any],
        top_k: int | None = None,
        return_documents: bool = False,
        *,
        show_progress_bar: bool = False,
    ) -> list[dict[str, Any]]:
        """The videos that match a query best.

        Args:
            query (`str`): what to look for.
            documents: videos: paths, [`Hit`]s, or what else [`process_video`] takes, which is read each time.
            top_k (`int`, *optional*): how many to return, at least 1; all by default.
            return_documents (`bool`, *optional*, defaults to `False`): return the documents with their scores.
            show_progress_bar (`bool`, *optional*, defaults to `False`): while videos are read.

        Returns:
            `list[dict]`, best first, ties in the order given: `corpus_id` (`int`), the place in `documents`; `score`
            (`float`), the similarity of [`~TCDModel.score`]; and, if asked for, `text`, the document, under the name
            that `CrossEncoder.rank` gives it.

        Raises:
            VideoReadError: a video that cannot be read.
            TypeError: one video in place of a list.
            ValueError: an empty query, or `top_k` below 1.
        """
        from tqdm.auto import tqdm

        if isinstance(documents, str | bytes | os.PathLike | Mapping):
            raise TypeError(f"documents must be a list of videos, got one: {documents!r:.100}. Put it into a list.")
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k must be at least 1, or None for all, got {top_k}.")
        if not len(documents):
            return []
        texts = self.processor(text=[query]).to(self.model.device)
        text_embeds = self.model.get_text_features(**texts).pooler_output
        features = [self._features(each) for each in tqdm(documents, "videos", disable=not show_progress_bar)]
        scores = self.model.score(text_embeds, concatenate_features(features)).similarity[0].tolist()
        ranked = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)[:top_k]
        results = [{"corpus_id": place, "score": scores[place]} for place in ranked]
        if return_documents:
            results = [{**result, "text": documents[result["corpus_id"]]} for result in results]
        return results

    def _features(self, document: Any) -> TCDVideoFeatures:
        video, _ = unwrap(document)  # a file, however it is wrapped, is embedded once
        if not isinstance(video, str | os.PathLike) or not os.path.isfile(video):
            return embed_video(self.model, self.processor, document)
        path = absolute_path(video)
        return self._features_of_file(path, file_stamp(path), self.model.device)

    def _embed_file(self, path: str, stamp: FileStamp, device: torch.device) -> TCDVideoFeatures:
        return embed_video(self.model, self.processor, path)


def modality_of(sample: Any) -> str:
    """`"text"` or `"video"`; refuses all else."""
    if isinstance(sample, str) and os.path.splitext(sample)[1].lower() in VIDEO_EXTENSIONS:
        if not os.path.isfile(sample):
            advice = 'Check the path; a text with such an ending is given as {"text": ...}'
            raise VideoReadError(sample, "there is no such file", advice)
        return "video"
    if isinstance(sample, os.PathLike | bytes) or (isinstance(sample, Mapping) and set(sample) <= {"bytes", "path"}):
        return "video"
    if isinstance(sample, list) and sample and all(infer_modality(each) == "image" for each in sample):
        return "video"
    modality = infer_modality(sample)
    if modality not in ("text", "video"):
        raise ValueError(f"A TCD model embeds texts and videos, got {modality!r}: {sample!r:.100}.")
    return modality


def stack_videos(videos: Sequence[Mapping[str, torch.Tensor]], padding_side: str) -> dict[str, torch.Tensor]:
    """Inputs of single videos as one batch. Captions are padded to the longest; their mask says what is padding."""

    def stack(name: str) -> torch.Tensor:
        values = [video[name][0] for video in videos]
        if name not in CAPTION_INPUTS:
            return torch.stack(values)
        return pad_sequence([value.T for value in values], batch_first=True, padding_side=padding_side).mT

    return {name: stack(name) for name in videos[0]}
