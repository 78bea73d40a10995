"""The kinds of damage, each a function of chance and of whole clips."""

import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePath
from typing import NamedTuple

from scripts.damaged_media import containers
from scripts.damaged_media.clips import CLIPS, SOUNDS, Recipe, encode_clip, encode_sound

__all__ = ["KINDS", "DamagedFile", "damaged_files"]

Clips = Mapping[str, bytes]
Made = tuple[str, bytes]  # ending of a file's name, and its content


class DamagedFile(NamedTuple):
    """A file that is to be written.

    Attributes:
        name: of the file, with its kind.
        kind: one of `KINDS`.
        content: of the file.
    """

    name: str
    kind: str
    content: bytes


def damaged_files(clips: Clips, seed: int = 0, count: int = 270) -> Iterator[DamagedFile]:
    """Damaged files of all kinds in turn. Each is the same for the same seed and clips, however many there are.

    Args:
        clips: content of whole files by name, whose ending names the container. Some of them must be MP4 (`.mp4`),
            Matroska (`.mkv`), AVI (`.avi`), MPEG transport streams (`.ts`), and GIF or Motion JPEG.
        seed (`int`, *optional*, defaults to 0): another one gives other files.
        count (`int`, *optional*, defaults to 270): files.
    """
    kinds = list(KINDS)
    for number in range(count):
        kind, turn = kinds[number % len(kinds)], number // len(kinds)
        rng = random.Random(f"{seed}/{kind}/{turn}")
        ending, content = KINDS[kind](rng, clips)
        while content in clips.values() and kind != "wrong ending":  # a number that was put in its own place
            ending, content = KINDS[kind](rng, clips)
        yield DamagedFile(f"{kind.replace(' ', '-')}-{turn:02d}.{ending}", kind, content)


# of any container -----------------------------------------------------------------------------------------------------
def _one(rng: random.Random, clips: Clips, *endings: str) -> Made:
    """A clip, of one of the endings if there are any."""
    name = rng.choice([name for name in clips if not endings or _ending(name) in endings])
    return _ending(name), clips[name]


def _ending(name: str) -> str:
    return PurePath(name).suffix[1:]


def _stretch(rng: random.Random, content: bytes) -> tuple[int, int]:
    """Begin and end of up to a third of a file."""
    begin = rng.randrange(len(content))
    return begin, min(len(content), begin + 1 + rng.randrange(max(1, len(content) // 3)))


def _flip(rng: random.Random, content: bytes, count: int, begin: int = 0, end: int | None = None) -> bytes:
    damaged = bytearray(content)
    for _ in range(count):
        damaged[rng.randrange(begin, len(content) if end is None else min(end, len(content)))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def _cut_off(rng: random.Random, clips: Clips) -> Made:
    ending, content = _one(rng, clips)
    return ending, content[: rng.randrange(1, len(content))]


def _emptied(rng: random.Random, clips: Clips) -> Made:
    ending, content = _one(rng, clips)
    return ending, content[: rng.choice([0, 0, 1, 8, 32])]


def _head_lost(rng: random.Random, clips: Clips) -> Made:
    ending, content = _one(rng, clips)
    return ending, content[rng.choice([1, 4, 16, 188, len(content) // 10]) :]


def _few_flipped(rng: random.Random, clips: Clips) -> Made:
    ending, content = _one(rng, clips)
    return ending, _flip(rng, content, rng.randint(1, 8))


def _many_flipped(rng: random.Random, clips: Clips) -> Made:
    ending, content = _one(rng, clips)
    return ending, _flip(rng, content, len(content) // rng.choice([20, 100, 500]))


def _head_flipped(rng: random.Random, clips: Clips) -> Made:
    ending, content = _one(rng, clips)
    return ending, _flip(rng, content, rng.randint(1, 6), end=600)


def _zeroed(rng: random.Random, clips: Clips) -> Made:
    ending, content = _one(rng, clips)
    begin, end = _stretch(rng, content)
    return ending, content[:begin] + bytes(end - begin) + content[end:]


def _cut_out(rng: random.Random, clips: Clips) -> Made:
    ending, content = _one(rng, clips)
    begin, end = _stretch(rng, content)
    return ending, content[:begin] + content[end:]


def _repeated(rng: random.Random, clips: Clips) -> Made:
    ending, content = _one(rng, clips)
    begin, end = _stretch(rng, content)
    return ending, content[:begin] + rng.randint(2, 8) * content[begin:end] + content[end:]


def _pictures_damaged(rng: random.Random, clips: Clips) -> Made:
    """Where pictures are, head and tail being whole."""
    ending, content = _one(rng, clips)
    length = len(content)
    begin, end = containers.mp4_pictures(content) if ending in ("mp4", "mov") else (length // 4, length * 9 // 10)
    return ending, _flip(rng, content, max(1, (end - begin) // rng.choice([50, 200])), begin, end)


def _joined(rng: random.Random, clips: Clips) -> Made:
    ending, content = _one(rng, clips)
    others = (ending,) if rng.random() < 0.7 else ()
    return ending, content + _one(rng, clips, *others)[1]


def _head_of_another(rng: random.Random, clips: Clips) -> Made:
    (ending, content), (_, other) = _one(rng, clips), _one(rng, clips)
    length = rng.choice([12, 64, 512, 4096])
    return ending, other[:length] + content[length:]


def _wrong_ending(rng: random.Random, clips: Clips) -> Made:
    ending, content = _one(rng, clips)
    return rng.choice(sorted({_ending(name) for name in clips} - {ending})), content


def _noise(rng: random.Random, clips: Clips) -> Made:
    return _one(rng, clips)[0], rng.randbytes(rng.choice([100, 5_000, 200_000]))


# other things than videos ---------------------------------------------------------------------------------------------
TEXTS = (
    "just words\n" * 50,
    "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttp://192.0.2.1/a.ts\n#EXT-X-ENDLIST\n",
    "#EXTM3U\n#EXTINF:10,\n/etc/passwd\n",
    "ffconcat version 1.0\nfile h264.mp4\nfile h264.mp4\n",
    "ffconcat version 1.0\n# \xff\nfile h264.mp4\n",
    "<!DOCTYPE html><html><body>404 Not Found</body></html>\n",
    "1\n00:00:01,000 --> 00:00:02,000\nHello\n",
    "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    '<?xml version="1.0"?><MPD type="static"><Period><AdaptationSet/></Period></MPD>\n',
)


def _text(rng: random.Random, clips: Clips) -> Made:
    """Among them lists of other files, which FFmpeg follows, with a byte that no text has."""
    text = rng.choice(TEXTS).encode("latin-1")
    return _one(rng, clips)[0], text + rng.choice([b"", b"\xff", b"\0"])


def _without_pictures(rng: random.Random, clips: Clips) -> Made:
    """Sound alone, or a stream of pictures that holds none."""
    if rng.random() < 0.5:
        ending = rng.choice(list(SOUNDS))
        return ending, encode_sound(ending)
    recipe = rng.choice([Recipe("mp4", "mpeg4"), Recipe("mkv", "ffv1"), Recipe("avi", "mpeg4")])
    return recipe.ending, encode_clip(0, recipe, num_frames=0)


def _huge_pictures(rng: random.Random, clips: Clips) -> Made:
    """Pictures that say they are as large as a house, in a file of some kilobytes."""
    width, height = rng.choice([(9000, 9000), (16000, 16000), (65000, 2000), (30000, 30000), (65535, 65535)])
    start = b"\xff\xc0\x00\x11\x08"  # of each JPEG's own head
    ending, content = _one(rng, {name: clip for name, clip in clips.items() if start in clip or clip[:3] == b"GIF"})
    if start not in content:
        return ending, content[:6] + width.to_bytes(2, "little") + height.to_bytes(2, "little") + content[10:]
    parts = content.split(start)
    size = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return ending, start.join([parts[0], *(size + part[4:] for part in parts[1:])])


def _changing_size(rng: random.Random, clips: Clips) -> Made:
    """Pictures that grow or shrink on the way, once or again and again."""
    recipe = rng.choice([recipe for recipe in CLIPS.values() if recipe.ending in ("ts", "mpg", "flv")])
    small, large = (encode_clip(rng.randrange(8), recipe, scale, num_frames=10) for scale in (1, 2))
    return recipe.ending, b"".join(rng.choice([[small, large], [large, small], [small, large] * 4]))


def _late(rng: random.Random, clips: Clips) -> Made:
    """Pictures that appear hours or years after the others, which makes seconds of video a long one."""
    recipe = rng.choice(
        [Recipe("mkv", "mpeg4"), Recipe("mkv", "ffv1"), Recipe("mp4", "mpeg4"), Recipe("ts", "mpeg2video")]
    )
    gaps = [3600, 86_400] + [10**7, 10**9] * (recipe.ending == "mkv")
    return recipe.ending, encode_clip(rng.randrange(8), recipe, num_frames=20, gap=rng.choice(gaps))


KINDS: dict[str, Callable[[random.Random, Clips], Made]] = {
    "cut off": _cut_off,
    "emptied": _emptied,
    "head lost": _head_lost,
    "few bits flipped": _few_flipped,
    "many bits flipped": _many_flipped,
    "bits of the head flipped": _head_flipped,
    "zeros": _zeroed,
    "stretch cut out": _cut_out,
    "stretch repeated": _repeated,
    "pictures damaged": _pictures_damaged,
    "MP4 counts": lambda rng, clips: ("mp4", containers.mp4_counts(rng, _one(rng, clips, "mp4")[1])),
    "MP4 tables": lambda rng, clips: ("mp4", containers.mp4_tables(rng, _one(rng, clips, "mp4")[1])),
    "MP4 boxes": lambda rng, clips: ("mp4", containers.mp4_boxes(rng, _one(rng, clips, "mp4")[1])),
    "MP4 times": lambda rng, clips: ("mp4", containers.mp4_times(rng, _one(rng, clips, "mp4")[1])),
    "MP4 picture size": lambda rng, clips: ("mp4", containers.mp4_size(rng, _one(rng, clips, "mp4")[1])),
    "Matroska elements": lambda rng, clips: ("mkv", containers.matroska(rng, _one(rng, clips, "mkv")[1])),
    "AVI heads and index": lambda rng, clips: ("avi", containers.avi(rng, _one(rng, clips, "avi")[1])),
    "TS packets": lambda rng, clips: ("ts", containers.ts_packets(rng, _one(rng, clips, "ts")[1])),
    "two joined": _joined,
    "head of another": _head_of_another,
    "wrong ending": _wrong_ending,
    "text": _text,
    "noise": _noise,
    "without pictures": _without_pictures,
    "huge pictures": _huge_pictures,
    "changing size": _changing_size,
    "late pictures": _late,
}
