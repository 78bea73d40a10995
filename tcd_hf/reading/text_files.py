"""Texts with their times in files: SubRip, WebVTT, CSV and JSON, written and read."""

import codecs
import csv
import html
import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import webvtt
from webvtt.errors import MalformedCaptionError, MalformedFileError

from tcd_hf.choices import TextFormat
from tcd_hf.clock import read_clock
from tcd_hf.processing.regular_files import open_regular

__all__ = ["EXTENSIONS", "Cue", "check_cue", "dialogue_text", "plain_text", "read_cues", "write_cues"]

EXTENSIONS = (".srt", ".vtt", ".json")  # that are read

# SubRip has no escapes: what players take for a mark, and this arrow, which ends a file for some of them.
_MARKS = re.compile(r"</?(?:b|i|u|s|font)\b[^>]*>|\{\\[^}]*\}", re.IGNORECASE)
_DRAWS = re.compile(r"\{[^}]*\\p[1-9]")  # ASS: what follows are the strokes of a drawing
_FORMS = {
    ".srt": "SubRip has numbered blocks: a line 1, a line 00:00:01,000 --> 00:00:02,500, and the text.",
    ".vtt": "WebVTT begins with the line WEBVTT; then blocks of a line 00:00:01.000 --> 00:00:02.500 and the text.",
}
_ARROW, NO_SPACE = "-->", "\u200b"  # the latter keeps a mark from being one


@dataclass(frozen=True)
class Cue:
    """A text, and when it is seen or heard.

    Attributes:
        start, end (`float`): seconds of the video.
        text (`str`): line breaks and all.
        source (`str`, *optional*, defaults to `"given"`): where it comes from, see [`TextTrack`].
    """

    start: float
    end: float
    text: str
    source: str = "given"


def write_cues(cues: Sequence[Cue], file_format: TextFormat) -> str:
    """Texts as the content of a file, to be encoded as UTF-8.

    SubRip and WebVTT have times to the millisecond, CSV (`start,end,text,source`) and JSON (a list of objects with
    these keys) as they are, in seconds. Cues may overlap.

    Args:
        cues (`Sequence[Cue]`): in any order; written by their starts.
        file_format (`str`): `"srt"`, `"vtt"`, `"csv"` or `"json"`.

    Raises:
        ValueError: another format.
    """
    if file_format not in get_args(TextFormat):
        raise ValueError(
            f"file_format must be one of {', '.join(map(repr, get_args(TextFormat)))}, got {file_format!r}."
        )
    cues = sorted(cues, key=lambda cue: cue.start)
    if file_format == "json":
        return json.dumps([asdict(cue) for cue in cues], ensure_ascii=False, indent=1) + "\n"
    if file_format == "csv":
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(("start", "end", "text", "source"))
        writer.writerows((cue.start, cue.end, cue.text, cue.source) for cue in cues)
        return table.getvalue()
    lasting = []  # players refuse cues that last no time
    for cue in cues:
        start, end = _milliseconds(cue.start), _milliseconds(cue.end)
        text = "\n".join(line for line in cue.text.splitlines() if line.strip())
        if text and end > start:
            lasting.append((_timestamp(start), _timestamp(end), text))
    return _as_srt(lasting) if file_format == "srt" else _as_vtt(lasting)


def read_cues(path: Path, source: str = "given") -> list[Cue]:
    """The texts of a file, by its ending: `.srt`, `.vtt` or `.json`.

    JSON is a list of objects with the keys `start`, `end` and `text`, or of `[start, end, text]`. Files are UTF-8 or
    say otherwise by a byte order mark; an old one that is neither is taken for Windows-1252. Marks such as `<i>` are
    left out.

    Args:
        path (`Path`): of the file.
        source (`str`, *optional*, defaults to `"given"`): of the cues, see [`Cue`].

    Raises:
        ValueError: another ending, or a file that is no such one; names it and the place.
        OSError: it cannot be read, or is no regular file.
    """
    path = Path(path)
    if path.suffix.lower() not in EXTENSIONS:
        raise ValueError(f"{path} does not end in {', '.join(EXTENSIONS)}: give texts in one of these formats.")
    with open_regular(path) as file:
        content = _decode(file.read(), path)
    if path.suffix.lower() == ".json":
        return _read_json(content, path, source)
    if not content.strip():  # nothing was said
        return []
    try:
        if path.suffix.lower() == ".srt":
            content = re.sub(r"^(\d+)[ \t]+$", r"\1", content.strip() + "\n", flags=re.MULTILINE)
            captions = webvtt.from_buffer(io.StringIO(content), format="srt")
            texts = [plain_text(caption.raw_text) for caption in captions]
        else:
            captions = webvtt.from_string(content)
            texts = [html.unescape(caption.text) for caption in captions]
    except (MalformedFileError, MalformedCaptionError) as error:
        raise ValueError(f"{path} is no file of subtitles: {error} {_FORMS[path.suffix.lower()]}") from error
    times = [(read_clock(caption.start), read_clock(caption.end)) for caption in captions]
    cues = [Cue(start, end, text.strip(), source) for (start, end), text in zip(times, texts, strict=True)]
    if not cues and (_ARROW in content or not content.lstrip().startswith("WEBVTT")):
        raise ValueError(f"{path} is no file of subtitles: it holds no times. {_FORMS[path.suffix.lower()]}")
    return [cue for cue in cues if cue.text and cue.end > cue.start]


def plain_text(text: str) -> str:
    """A text of SubRip or ASS without its marks: `<i>`, `{\\an8}`."""
    return _MARKS.sub("", text).replace(NO_SPACE, "").strip()


def dialogue_text(text: str) -> str:
    """A text of ASS without its marks, on a line for each of its lines; empty for a drawing."""
    return "" if _DRAWS.search(text) else plain_text(text.replace("\\N", "\n").replace("\\h", " "))


def check_cue(values: Any, source: str, where: str) -> Cue:
    """A `(start, end, text)` or a mapping with these keys as a [`Cue`].

    Raises:
        ValueError: it is none; `where` says of which the message speaks.
    """
    if isinstance(values, Cue):
        values, source = (values.start, values.end, values.text), values.source
    if isinstance(values, dict):
        missing = [key for key in ("start", "end", "text") if key not in values]
        if missing:
            raise ValueError(f"{where} has no {missing[0]!r}: it needs start, end (seconds) and text, got {values!r}.")
        values = (values["start"], values["end"], values["text"])
    try:
        start, end, text = values
        start, end = float(start), float(end)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{where} must be (start, end, text), times in seconds, got {values!r}.") from None
    if not (isinstance(text, str) and math.isfinite(start) and math.isfinite(end) and start <= end):
        raise ValueError(f"{where} must be (start, end, text) with start <= end, in seconds, got {values!r}.")
    text = text.encode("utf-8", "replace").decode()  # a lone surrogate is no letter
    return Cue(start, end, text, source)


def _read_json(content: str, path: Path, source: str) -> list[Cue]:
    try:
        entries = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON: {error}.") from error
    if not isinstance(entries, list):
        raise ValueError(
            f"{path} must hold a list of objects with start, end (seconds) and text, got {type(entries).__name__}."
        )
    return [check_cue(entry, source, f"Text {number} of {path}") for number, entry in enumerate(entries, start=1)]


def _decode(content: bytes, path: Path) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return content.decode("utf-16")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} begins as UTF-16, and is none ({error}): save it as UTF-8.") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _as_vtt(cues: Sequence[tuple[str, str, str]]) -> str:
    subtitles = webvtt.WebVTT()
    for start, end, text in cues:
        subtitles.captions.append(webvtt.Caption(start, end, html.escape(text, quote=False)))
    return subtitles.content.rstrip("\n") + "\n"


def _as_srt(cues: Sequence[tuple[str, str, str]]) -> str:
    """Written here: it has no escapes, and the library leaves out all that stands between < and >, as text may."""
    blocks = []
    for number, (start, end, text) in enumerate(cues, start=1):
        text = _MARKS.sub(lambda mark: f"{mark[0][0]}{NO_SPACE}{mark[0][1:]}", text).replace(_ARROW, "->")
        blocks.append(f"{number}\n{start.replace('.', ',')} --> {end.replace('.', ',')}\n{text}\n")
    return "\n".join(blocks)


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)


def _timestamp(milliseconds: int) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}.{milliseconds:03}"
