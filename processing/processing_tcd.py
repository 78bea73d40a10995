"""Processor of TCD models: texts, videos, and the text that appears in the videos."""

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from transformers import AutoImageProcessor, BaseImageProcessor, BatchFeature, PreTrainedTokenizerBase, ProcessorMixin
from transformers.utils import logging
from typing_extensions import Unpack

from .call_arguments import TCDProcessorKwargs, as_batch, checked_texts, split_options
from .ocr_engines import OCREngine, default_num_threads, is_pool_worker
from .saved_processors import engine_at_hand, remove_mark
from .sentence_tokenizers import load_sentence_tokenizer
from .tokenizing import count_tokens, has_mask, token_limit, tokenize
from .video_files import MAX_PIXELS
from .video_inputs import VideoInput
from .video_reading import Video, opened_video
from .window_ocr import WindowCaption, WindowOCRCaptioner, fit_caption

__all__ = ["TCDProcessor"]

logger = logging.get_logger(__name__)


class TCDProcessor(ProcessorMixin):
    r"""
    Turns texts and videos into the inputs of a [`TCDModel`]. A video gives `num_frames` frames, each at the centre of
    its window, and one caption per window made of the scene text seen in it; both come from one pass over the file.

    Args:
        image_processor (`BaseImageProcessor`): image processor of the model's backbone; every frame goes through it.
        tokenizer (`PreTrainedTokenizerBase`): tokenizer of the model's backbone, for queries and captions alike.
        num_frames (`int`, *optional*, defaults to 12): frames and windows per video; the model's `num_frames`.
        window_scale (`float`, *optional*, defaults to 1.0): share of each window, around its centre, that text is taken
            from, in (0, 1] (xi in TCD figure A1).
        ocr_engine (`str`, `OCREngine`, callable or `None`, *optional*, defaults to `"rapidocr"`):
            What reads text; see [`WindowOCRCaptioner`]. `None` reads none: captions are empty unless given. An engine
            that is an object is saved by the name of its class only: the processor that is loaded has none, which both
            saving and loading warn of, and is given it again, by `ocr_engine=` of `from_pretrained` or the attribute.
        ocr_options (`dict`, *optional*): options of a built-in engine, such as `{"num_threads": 1}`.
        ocr_preset (`str`, *optional*, defaults to `"balanced"`): what reading may cost: `"fast"`, `"balanced"` or
            `"thorough"`; see [`WindowOCRCaptioner`].
        ocr_fps (`float`, *optional*, defaults to 2.0): frames per second of video that are looked at for text.
        reading_interval (`float`, *optional*, defaults to 0.75): while the picture keeps changing, one of those frames
            is read per this many seconds; with `None` all are.
        min_confidence (`float`, *optional*, defaults to 0.5): readings below it are dropped, in [0, 1].
        min_text_height (`float`, *optional*, defaults to 0.01): readings whose box is lower than this share of the
            height of the frame are dropped, in [0, 1).
        max_side (`int`, *optional*, defaults to 1280): pixels of the longer side to which frames are reduced before
            they are read, at least 32.
        max_length (`int`, *optional*): tokens of a query or caption at most; the tokenizer's own limit by default.
        video_backend (`"auto"`, `"decord"` or `"pyav"`, *optional*, defaults to `"auto"`): what decodes video files.
        max_pixels (`int`, *optional*, defaults to 2^26): pixels that a frame of a video may have, see `open_video`.
        chat_template (`str`, *optional*): not used; part of every processor.
        query_prefix, caption_prefix (`str`, *optional*, default to `""`): put in front of queries, and of captions that
            are not empty, where a sentence encoder was trained so, such as `"query: "` and `"passage: "`.
        text_padding (`"longest"` or `"max_length"`, *optional*): how texts are padded: to the longest, with a mask; or
            to `max_length` without one, as SigLIP's text tower was trained. By default the latter where the tokenizer
            or the image processor is SigLIP's, or the tokenizer has no mask.

    Raises:
        ValueError: an option out of its range.

    Example:

    ```python
    >>> from tcd_hf import load_mini

    >>> model, processor = load_mini()
    >>> inputs = processor(text=["a shop called TESCO"], videos=["a.mp4", "b.mp4"], return_tensors="pt")
    >>> model(**inputs).logits_per_text.shape
    torch.Size([1, 2])
    ```"""

    _auto_class = "AutoProcessor"  # saving copies this file and its siblings beside the tokenizer
    valid_processor_kwargs = TCDProcessorKwargs

    def __init__(
        self,
        image_processor: BaseImageProcessor,
        tokenizer: PreTrainedTokenizerBase,
        num_frames: int = 12,
        window_scale: float = 1.0,
        ocr_engine: str | OCREngine | Callable | None = "rapidocr",
        ocr_options: dict[str, Any] | None = None,
        ocr_fps: float = 2.0,
        reading_interval: float | None = 0.75,
        min_confidence: float = 0.5,
        min_text_height: float = 0.01,
        max_side: int = 1280,
        max_length: int | None = None,
        video_backend: str = "auto",
        max_pixels: int = MAX_PIXELS,
        chat_template: str | None = None,
        ocr_preset: str = "balanced",
        query_prefix: str = "",
        caption_prefix: str = "",
        text_padding: str | None = None,
    ):
        self.num_frames = num_frames
        self.window_scale = window_scale
        self.ocr_engine = ocr_engine
        self.ocr_options = ocr_options
        self.ocr_preset = ocr_preset
        self.ocr_fps = ocr_fps
        self.reading_interval = reading_interval
        self.min_confidence = min_confidence
        self.min_text_height = min_text_height
        self.max_side = max_side
        self.max_length = max_length
        self.video_backend = video_backend
        self.max_pixels = max_pixels
        self.query_prefix = query_prefix
        self.caption_prefix = caption_prefix
        self.text_padding = text_padding
        super().__init__(image_processor, tokenizer, chat_template=chat_template)
        self._check_options()
        self.ocr_options = self.captioner.engine_options or None

    def _check_options(self) -> None:
        """Options out of range are refused where they are given; those of reading by the captioner."""
        if type(self.num_frames) is not int or self.num_frames < 1:
            raise ValueError(f"`num_frames` must be an int of at least 1, got {self.num_frames!r}.")
        if self.video_backend not in ("auto", "decord", "pyav"):
            raise ValueError(f'`video_backend` must be "auto", "decord" or "pyav", got {self.video_backend!r}.')
        if type(self.max_pixels) is not int or self.max_pixels < 1:
            raise ValueError(f"`max_pixels` must be an int of at least 1, got {self.max_pixels!r}.")
        if self.max_length is not None and self.max_length < 3:
            raise ValueError(f"`max_length` must be 3 or more (start, one token, end), got {self.max_length}.")
        if self.text_padding not in (None, "longest", "max_length"):
            raise ValueError(f'`text_padding` must be "longest", "max_length" or None, got {self.text_padding!r}.')
        for name in ("query_prefix", "caption_prefix"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f'`{name}` must be a string, "" for none, got {getattr(self, name)!r}.')

    @property
    def captioner(self) -> WindowOCRCaptioner:
        """The window-OCR captioner these options describe."""
        # Made anew each time: options are attributes, as saving wants them, and may be set after the processor is made.
        return WindowOCRCaptioner(
            engine=self.ocr_engine,
            engine_options=self.ocr_options,
            preset=self.ocr_preset,
            num_windows=self.num_frames,
            window_scale=self.window_scale,
            ocr_fps=self.ocr_fps,
            reading_interval=self.reading_interval,
            min_confidence=self.min_confidence,
            min_text_height=self.min_text_height,
            max_side=self.max_side,
        )

    @property
    def model_input_names(self) -> list[str]:
        return [
            *("input_ids", "attention_mask", "pixel_values_videos"),
            *("ocr_input_ids", "ocr_attention_mask", "ocr_mask", "frame_mask"),
        ]

    def __call__(
        self,
        text: str | Sequence[str] | None = None,
        videos: VideoInput | Sequence[VideoInput] | None = None,
        ocr_captions: Sequence[Sequence[str | WindowCaption]] | None = None,
        **kwargs: Unpack[TCDProcessorKwargs],
    ) -> BatchFeature:
        """Makes the model's inputs of queries, videos and captions.

        Args:
            text (`str` or `list[str]`, *optional*): queries. One longer than the tokenizer's limit is cut, with a
                warning.
            videos (*optional*): one video or a list of them. A video is a path, a file object, `bytes`; an array or a
                tensor `(frames, height, width, 3)` or `(frames, 3, height, width)`, RGB, uint8 or floats in [0, 1]; a
                list of such frames or of PIL images; a `torchcodec.decoders.VideoDecoder`; or a dictionary, as the
                `Video` column of datasets has it. See `tcd_hf.processing.video_reading.open_video`.
            ocr_captions (`list[list[str]]` or `list[list[WindowCaption]]`, *optional*): captions read before, as
                [`~TCDProcessor.caption`] gives them or as strings: `num_frames` per video, `""` where there is no text.
                Nothing is read then.
            fps (`float`, *optional*): frames per second of videos given as arrays or frames; files and decoders have
                their own.
            num_frames (`int`, *optional*), max_length (`int`, *optional*): for this call, in place of the processor's.
            padding (`bool` or `str`, *optional*, defaults to `True`): of queries. `True` pads them as the model wants
                it: to the longest, or for SigLIP to `max_length`. Captions always are.
            truncation (`bool`, *optional*, defaults to `True`): whether queries longer than `max_length` are cut.
            return_tensors (`str`, *optional*, defaults to `"pt"`): `"pt"`, or `"np"` for arrays.

        Returns:
            `BatchFeature` with, for `T` texts, `B` videos, `N = num_frames` and `L` tokens, `input_ids` and
            `attention_mask` `(T, L)`; `pixel_values_videos` `(B, N, 3, height, width)`; `ocr_input_ids` and
            `ocr_attention_mask` `(B, N, L)`; `ocr_mask` `(B, N)`, `True` for windows with text; `frame_mask` `(B, N)`,
            `False` for frames that repeat the one before in a video of fewer than `N`. No masks of tokens for
            tokenizers that have none (SigLIP).

        Raises:
            ValueError: nothing given, an empty list, an empty query, or captions that do not fit the videos.
            TypeError: something that is no text or no video, or an option that there is not.
            VideoReadError: a video that cannot be read.
        """
        if text is None and videos is None:
            raise ValueError("Nothing to process: give `text`, `videos`, or both.")
        image_options, options = split_options(kwargs)
        processor = self._with(num_frames=options.get("num_frames"), max_length=options.get("max_length"))
        inputs = {}
        if text is not None:
            how = {name: options[name] for name in ("padding", "truncation") if name in options}
            queries = [self.query_prefix + each for each in checked_texts(text)]
            inputs.update(processor._tokenize(queries, **how))
        if videos is not None:
            frames, captions = processor._read_videos(as_batch(videos), ocr_captions, options.get("fps"))
            inputs.update(processor._pixel_values(frames, image_options))
            inputs.update(processor._process_captions(captions))
        elif ocr_captions is not None:
            raise ValueError("`ocr_captions` belong to videos, but no `videos` were given.")
        return BatchFeature(inputs, tensor_type=options.get("return_tensors", "pt"))

    def caption(self, videos: VideoInput | Sequence[VideoInput], fps: float | None = None) -> list[list[WindowCaption]]:
        """
        Reads the text in videos.

        Args:
            videos: as in [`~TCDProcessor.__call__`].
            fps (`float`, *optional*): frames per second of videos given as arrays or images.

        Returns:
            `num_frames` [`WindowCaption`]s for each video, in order of time.
        """
        if self.ocr_engine is None:
            raise ValueError('This processor has no OCR engine (`ocr_engine=None`); set it one, such as "rapidocr".')
        captions = []
        for video in as_batch(videos):
            with self._opened(video, fps) as opened:
                captions.append(self.captioner(opened))
        return captions

    def read_video(
        self, video: VideoInput | Video, fps: float | None = None, with_captions: bool = True
    ) -> tuple[list[np.ndarray], list[WindowCaption] | None]:
        """
        Frames and captions of one video, from one pass over it.

        Args:
            video: one video, as in [`~TCDProcessor.__call__`].
            fps (`float`, *optional*): frames per second, for an array or images.
            with_captions (`bool`, *optional*, defaults to `True`): also read text.

        Returns:
            `num_frames` RGB frames `(height, width, 3)`, `uint8`, those at the centres of the windows, of a video of
            fewer frames some of them again; and as many captions, or `None`.
        """
        with self._opened(video, fps) as opened:
            return self.captioner.read(opened, with_captions=with_captions)

    def process_frames(
        self,
        frames: Sequence[np.ndarray | Image.Image | None],
        captions: Sequence[str | WindowCaption],
        return_tensors: str | None = "pt",
    ) -> BatchFeature:
        """
        The inputs of one video whose frames and captions are at hand, as of [`~TCDProcessor.read_video`].

        Args:
            frames (`list[np.ndarray]` or `list[PIL.Image.Image]`): `num_frames` RGB frames `(height, width, 3)`,
                `uint8`, or pictures, one per window; `None` where a window has none but the one before, which then
                stands in its place and does not count, see `own_frames` of the captioner.
            captions (`list[str]` or `list[WindowCaption]`): as many, `""` where there is no text.
            return_tensors (`str`, *optional*, defaults to `"pt"`): `"pt"`, or `"np"` for arrays.

        Returns:
            `BatchFeature`: that of `processor(videos=[video])`, a batch of one; for a video of fewer frames than
            windows, if those that are there again are `None`.

        Raises:
            ValueError: another number of frames or of captions, or no first frame.
        """
        return self.process_frame_batch([frames], [captions], return_tensors)

    def process_frame_batch(
        self,
        frames: Sequence[Sequence[np.ndarray | Image.Image | None]],
        captions: Sequence[Sequence[str | WindowCaption]],
        return_tensors: str | None = "pt",
    ) -> BatchFeature:
        """
        [`~TCDProcessor.process_frames`] of several videos, as one batch: their captions are padded to one length.

        Args:
            frames: for each video its frames, as there.
            captions: for each video its captions, as there.
            return_tensors (`str`, *optional*, defaults to `"pt"`): `"pt"`, or `"np"` for arrays.

        Returns:
            `BatchFeature`: that of `processor(videos=videos)`.

        Raises:
            ValueError: another number of frames or of captions, or no first frame.
        """
        for of_video in frames:
            if len(of_video) != self.num_frames:
                raise ValueError(
                    f"Got {len(of_video)} frames for {self.num_frames} windows (`num_frames`): give one per window."
                )
            if of_video[0] is None:
                raise ValueError("The first frame of a video is None: there is none before it to stand in its place.")
        if len(captions) != len(frames):
            raise ValueError(f"Got captions of {len(captions)} videos, but frames of {len(frames)}.")
        inputs = {**self._pixel_values(frames), **self._process_captions(captions)}
        return BatchFeature(inputs, tensor_type=return_tensors)

    @classmethod
    def from_backbone(
        cls,
        *,
        text: str | os.PathLike | PreTrainedTokenizerBase,
        image: str | os.PathLike | BaseImageProcessor,
        hub_kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> "TCDProcessor":
        """
        The processor of a model on a text encoder and an image encoder, see [`TCDModel.from_backbone`].

        Of a named text encoder, `max_length` is its own limit, but at most 128 tokens, which bounds what a caption
        costs; `query_prefix` and `caption_prefix` are the prompts that its sentence-transformers folder names. Some
        encoders need such and name none (`"query: "` and `"passage: "` of the E5 family): give them.

        Args:
            text (`str`, `os.PathLike` or `PreTrainedTokenizerBase`): name or folder of the text encoder, or its
                tokenizer.
            image (`str`, `os.PathLike` or `BaseImageProcessor`): name or folder of the image encoder, or its image
                processor.
            hub_kwargs (`dict`, *optional*): `token`, `local_files_only`, `cache_dir`, for what is named.
            options: of [`TCDProcessor`].

        Example:

        ```python
        >>> TCDProcessor.from_backbone(
        ...     text="intfloat/e5-small-v2",
        ...     image="facebook/dinov2-small",
        ...     query_prefix="query: ",
        ...     caption_prefix="passage: ",
        ... )
        ```"""
        hub, of_encoder = hub_kwargs or {}, {"text_padding": "longest"}
        tokenizer, image_processor = cast(Any, text), cast(Any, image)
        if not isinstance(text, PreTrainedTokenizerBase):
            tokenizer, of_encoder = load_sentence_tokenizer(text, hub)
        if not isinstance(image, BaseImageProcessor):
            options_of_hub = {**hub, "trust_remote_code": False}
            image_processor = AutoImageProcessor.from_pretrained(image, **options_of_hub)  # nosec B615 # no revision
        return cls(image_processor, tokenizer, **{**of_encoder, **options})

    def save_pretrained(self, save_directory, *args, **kwargs):
        """Saves as `ProcessorMixin.save_pretrained` does; of an OCR engine that is an object, the name of its class."""
        if self.ocr_engine is not None and not isinstance(self.ocr_engine, str):
            logger.warning(
                f"The OCR engine is an object of class {type(self.ocr_engine).__name__}, which is not saved: give it "
                "again after loading, `from_pretrained(..., ocr_engine=...)`."
            )
        files = super().save_pretrained(save_directory, *args, **kwargs)
        for part in (self, self.image_processor):
            remove_mark(vars(part))
        return files

    @classmethod
    def from_args_and_dict(cls, args, processor_dict: dict[str, Any], **kwargs):
        if "ocr_engine" not in kwargs:
            processor_dict = {**processor_dict, **engine_at_hand(processor_dict)}
        return super().from_args_and_dict(args, processor_dict, **kwargs)

    def to_dict(self) -> dict:
        # An engine object may hold what can be neither copied nor written as JSON: its name stands for it.
        engine = self.ocr_engine
        if engine is not None and not isinstance(engine, str):
            self.ocr_engine = type(engine).__name__
        try:
            settings = super().to_dict()
        finally:
            self.ocr_engine = engine
        remove_mark(settings["image_processor"])
        return settings

    def _with(self, **options: Any) -> "TCDProcessor":
        """This processor, or one with other options; those that are `None` are left as they are."""
        options = {name: value for name, value in options.items() if value is not None}
        if not options:
            return self
        other = copy.copy(self)
        vars(other).update(options)
        other._check_options()
        return other

    def _opened(self, video, fps: float | None):
        options = {"backend": self.video_backend, "max_pixels": self.max_pixels}
        return opened_video(video, fps=fps, num_threads=default_num_threads(), **options)

    def _read_videos(self, videos, ocr_captions, fps):
        if ocr_captions is not None and len(ocr_captions) != len(videos):
            raise ValueError(
                f"`ocr_captions` holds captions of {len(ocr_captions)} videos, but {len(videos)} were given."
            )
        frames, captions = [], []
        for index, video in enumerate(videos):
            with self._opened(video, fps) as opened:
                video_frames, read = self.captioner.read(opened, with_captions=ocr_captions is None)
                frames.append(self.captioner.own_frames(video_frames, opened))
            captions.append(read if ocr_captions is None else ocr_captions[index])
        return frames, captions

    def _pixel_values(
        self, frames: Sequence[Sequence[np.ndarray | Image.Image | None]], options: Mapping[str, Any] | None = None
    ) -> dict:
        use_one_thread_in_workers()
        images: list[Image.Image] = []
        for frame in chain(*frames):
            images.append(images[-1] if frame is None else as_image(frame))
        features = self.image_processor(images=images, **{**(options or {}), "return_tensors": "np"})
        shape = (len(frames), self.num_frames)
        features = {name: np.reshape(value, shape + np.shape(value)[1:]) for name, value in features.items()}
        mask = np.array([[frame is not None for frame in video] for video in frames])
        return {"pixel_values_videos": features.pop("pixel_values"), **features, "frame_mask": mask}

    def _process_captions(self, captions: Sequence[Sequence[str | WindowCaption]]) -> dict:
        for index, windows in enumerate(captions):
            if len(windows) != self.num_frames:
                raise ValueError(
                    f"Video {index} has {len(windows)} OCR captions, but there are {self.num_frames} windows "
                    "(`num_frames`). Give one caption per window, an empty one where there is no text; of texts with "
                    "their times, (start, end, text), `processor.captioner.caption_texts(texts, duration)` makes them."
                )
        texts = [self._caption_text(window) for windows in captions for window in windows]
        encoded = self._tokenize([self.caption_prefix + text if text else "" for text in texts])
        shape = (len(captions), self.num_frames)
        inputs = {f"ocr_{name}": np.reshape(value, (*shape, -1)) for name, value in encoded.items()}
        return {**inputs, "ocr_mask": np.reshape([bool(text) for text in texts], shape)}

    def _caption_text(self, caption: str | WindowCaption) -> str:
        """The caption as far as it fits the tokenizer, what matters most first, whole words only."""
        if isinstance(caption, WindowCaption):
            return fit_caption([caption.text], self._fits)
        if isinstance(caption, str):
            return fit_caption([caption], self._fits)
        raise TypeError(f"An OCR caption is a string or a WindowCaption, got {type(caption).__name__}.")

    def _fits(self, text: str) -> bool:
        (count,) = count_tokens(self.tokenizer, [self.caption_prefix + text])
        return count <= token_limit(self.tokenizer, self.max_length)

    def _tokenize(self, texts: list[str], **how: Any) -> dict[str, np.ndarray]:
        with_mask = has_mask(self.tokenizer, self.image_processor, self.text_padding)
        return tokenize(self.tokenizer, texts, token_limit(self.tokenizer, self.max_length), with_mask, **how)


def as_image(frame: np.ndarray | Image.Image) -> Image.Image:
    """A frame, RGB `uint8` `(height, width, 3)` or any picture, as an RGB picture."""
    return frame.convert("RGB") if isinstance(frame, Image.Image) else Image.fromarray(frame)


def use_one_thread_in_workers() -> None:
    """
    The workers of `datasets.map(num_proc=...)` and the like fill the cores themselves. More than that: torch's threads
    do not survive a fork, and a worker whose parent has used them would wait for ever. `DataLoader` does the same.
    """
    if is_pool_worker() and torch.get_num_threads() > 1:
        torch.set_num_threads(1)
