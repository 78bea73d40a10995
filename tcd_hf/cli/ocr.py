"""`tcd-hf ocr`: what a video shows in writing, window by window."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from tcd_hf.cli.common import JsonOption, OcrEngineOption, print_json, reports_errors, stderr, stdout

__all__ = ["ocr"]


@reports_errors
def ocr(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="Video file to read.")],
    as_json: JsonOption = False,
    draw: Annotated[
        Path | None, typer.Option(metavar="IMAGE", help="Also draw frames with their texts onto a contact sheet.")
    ] = None,
    ocr_engine: OcrEngineOption = None,
    num_windows: Annotated[int, typer.Option(min=1, help="Windows that the video is cut into.")] = 12,
    ocr_fps: Annotated[float, typer.Option(help="Frames read per second of video.")] = 2.0,
    min_confidence: Annotated[float, typer.Option(min=0, max=1, help="Readings below are dropped.")] = 0.5,
) -> None:
    """Read the text that appears in a video: one caption per time window."""
    if ocr_fps <= 0:
        raise typer.BadParameter(f"must be above 0, got {ocr_fps}.", param_hint="--ocr-fps")
    if draw is not None:
        _check_image_path(draw)

    from tcd_hf.processing.window_ocr import WindowOCRCaptioner, draw_captions

    captioner = WindowOCRCaptioner(
        engine=ocr_engine or "rapidocr", num_windows=num_windows, ocr_fps=ocr_fps, min_confidence=min_confidence
    )
    with stderr.status("Reading text ..."):
        captions = captioner(video)
    if as_json:
        print_json({"path": str(video), "captions": [caption.to_dict() for caption in captions]})
    else:
        table = Table("seconds", "caption", title=escape(str(video)), title_justify="left", title_style="bold")
        for caption in captions:
            table.add_row(f"{caption.start:.1f}-{caption.end:.1f}", escape(caption.text))
        stdout.print(table)
    if draw is not None:  # last: a full disk then costs the drawing alone
        draw_captions(video, captions).save(draw)


def _check_image_path(path: Path) -> None:
    """Refuses before the reading, which takes minutes, what could not be written after it."""
    from PIL import Image

    formats = Image.registered_extensions()
    if formats.get(path.suffix.lower()) not in Image.SAVE:
        raise typer.BadParameter(
            f"{path} does not end like an image that can be written, such as .png or .jpg.", param_hint="--draw"
        )
    if not path.parent.is_dir():
        raise typer.BadParameter(f"There is no folder {path.parent} to write {path.name} to.", param_hint="--draw")
