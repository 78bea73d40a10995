"""Options that say how videos are read, of all verbs that read them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.markup import escape

from tcd_hf.choices import OcrPreset
from tcd_hf.cli.common import stderr
from tcd_hf.reading.files import absolute_path

if TYPE_CHECKING:
    from tcd_hf import TCDProcessor
    from tcd_hf.reading.own_texts import OwnTexts

__all__ = [
    "MaxPixelsOption",
    "MinConfidenceOption",
    "NoOcrOption",
    "OcrFpsOption",
    "OcrLangOption",
    "OcrOptionsOption",
    "OcrPresetOption",
    "Reading",
    "StallSecondsOption",
    "collect_texts",
    "parse_options",
    "with_lang",
]

OcrFpsOption = Annotated[
    float | None, typer.Option(metavar="NUMBER", help="Frames read per second of video; 2 by default.")
]
MinConfidenceOption = Annotated[
    float | None, typer.Option(min=0, max=1, help="Readings below are dropped; 0.5 by default.")
]
OcrOptionsOption = Annotated[
    list[str] | None,
    typer.Option("--ocr-option", metavar="KEY=VALUE", help="An option of the OCR engine, such as limit_side_len=640."),
]
OcrLangOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Recogniser of another script, fetched once: korean, arabic, cyrillic, devanagari, th, ...; or its file.",
    ),
]
StallSecondsOption = Annotated[
    float | None,
    typer.Option(
        min=1,
        metavar="SECONDS",
        help="A file that gives no frame and no text for so long is skipped; 120 by default, 30 on the page.",
    ),
]
MaxPixelsOption = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="NUMBER", help="Files with frames of more pixels are skipped; 67108864 (2^26) by default."
    ),
]
OcrPresetOption = Annotated[
    OcrPreset | None, typer.Option(help="What reading may cost: less time, or more text found; balanced by default.")
]
NoOcrOption = Annotated[bool, typer.Option("--no-ocr", help="Read no text in the pictures.")]


class Reading(NamedTuple):
    """What a user says of reading; `None` where nothing.

    Attributes:
        engine (`str`, *optional*): name of the OCR engine.
        options (`list[str]`, *optional*): of it, `KEY=VALUE`.
        fps (`float`, *optional*): frames read per second.
        min_confidence (`float`, *optional*): of readings.
        no_ocr (`bool`, *optional*, defaults to `False`): read none.
        preset (`str`, *optional*): what reading may cost.
        max_pixels (`int`, *optional*): that a frame may have.
        stall_seconds (`float`, *optional*): that a file may give nothing.
    """

    engine: str | None = None
    options: Sequence[str] | None = None
    fps: float | None = None
    min_confidence: float | None = None
    no_ocr: bool = False
    preset: OcrPreset | None = None
    max_pixels: int | None = None
    stall_seconds: float | None = None

    @property
    def limits(self) -> dict[str, Any]:
        """What is no matter of the processor, as options of whatever reads videos; empty for their own defaults."""
        return {} if self.stall_seconds is None else {"stall_seconds": self.stall_seconds}

    def says_how(self) -> bool:
        """Whether anything was said that is a matter of the processor."""
        return self._replace(stall_seconds=None) != Reading()

    def apply(self, processor: "TCDProcessor") -> None:
        """Has a processor read so.

        Raises:
            typer.BadParameter: options that exclude each other.
            ValueError: an engine or option that there is none of, or a value out of its range.
        """
        if self.no_ocr and (self.engine or self.options):
            raise typer.BadParameter(
                "It reads nothing: leave --ocr-engine and --ocr-option out.", param_hint="--no-ocr"
            )
        if self.no_ocr:
            processor.ocr_engine = processor.ocr_options = None
        if self.engine is not None and self.engine != processor.ocr_engine:
            processor.ocr_engine, processor.ocr_options = self.engine, None  # options are the other engine's
        if self.options:
            processor.ocr_options = {**(processor.ocr_options or {}), **parse_options(self.options)}
        if self.preset is not None:
            processor.ocr_preset = self.preset
        if self.fps is not None:
            processor.ocr_fps = self.fps
        if self.min_confidence is not None:
            processor.min_confidence = self.min_confidence
        if self.max_pixels is not None:
            processor.max_pixels = self.max_pixels
        processor.captioner  # noqa: B018  # refuses what is out of its range


def collect_texts(
    videos: Sequence[str],
    folder: Path | None,
    with_subtitles: bool,
    workers: int | None = None,
    limits: Mapping[str, float] | None = None,
    others: Sequence[str] = (),
) -> "dict[str, OwnTexts] | None":
    """What videos come with, by absolute path; `None` if nothing was asked for.

    A file that is none is named on stderr, and its video left out: it keeps the texts that it has.

    Args:
        videos (`Sequence[str]`): their paths.
        folder (`Path`, *optional*): of files of texts, see `find_texts`.
        with_subtitles (`bool`): take subtitles too, beside videos and inside them.
        workers (`int`, *optional*), limits (`dict`, *optional*): of the processes that look inside, see
            `find_subtitles`.
        others (`Sequence[str]`, *optional*): absolute paths of further videos, whose texts are not those of these.
    """
    if folder is None and not with_subtitles:
        return None
    from tcd_hf.reading.own_texts import OwnTexts, find_texts, subtitles_beside
    from tcd_hf.reading.text_files import read_cues
    from tcd_hf.reading.worker_pool import find_subtitles

    paths = list(map(absolute_path, videos))
    with_inside = find_subtitles(paths, workers, **(limits or {})) if with_subtitles else ()
    files = {} if folder is None else dict(find_texts(folder, list(dict.fromkeys([*paths, *others]))))
    texts = {}
    for path in paths:
        try:
            cues = read_cues(files[path]) if path in files else []
            if with_subtitles:
                cues += subtitles_beside(path)
        except (OSError, ValueError) as error:
            stderr.print(f"[yellow]left out:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
            continue
        texts[path] = OwnTexts(tuple(dict.fromkeys(cues)), path in with_inside)
    return texts


def with_lang(options: Sequence[str] | None, lang: str | None) -> Sequence[str] | None:
    """Options of an engine, `KEY=VALUE`, with the recogniser of a language among them if one is given."""
    if lang is None:
        return options
    return [*(options or []), f"lang={absolute_path(lang) if lang.endswith('.onnx') else lang}"]


def parse_options(options: Sequence[str]) -> dict[str, Any]:
    """`KEY=VALUE` as a dictionary; a value is JSON where it can be, else a string."""
    parsed = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals or not key:
            raise typer.BadParameter(
                f"{option!r} is no KEY=VALUE, such as limit_side_len=640.", param_hint="--ocr-option"
            )
        try:
            parsed[key] = json.loads(value)
        except ValueError:
            parsed[key] = value
    return parsed
