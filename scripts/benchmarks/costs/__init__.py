"""What long videos cost: memory, processor time, disk, decoding, what a kill loses. Parts of `benchmarks/moments.py`.

* `memory`: peak of a process that indexes a video of 1280x720 at 25 fps with an OCR engine that takes 0.2 s a batch,
  over that for a video of one minute. All repeat a short piece, copied as packets.
* `cpu`: processor seconds per hour of video of all but OCR and decoding, of one video of three hours and of several of
  20 minutes. One thread and PyAV, so that decoding is in nobody else's time; opening a file and the scan of its packets
  are counted, the first file of a process is not.
* `disk`: bytes per hour at width 512, of cards with one to eight texts and, with `--data`, of real clips one after the
  other, again and again. Groups of columns are weighed by writing each alone.
* `decoding`: full-size video at the times at which the captioner samples, on one core, per reader: PyAV a long file,
  decord short ones of as many frames as it is given.
* `kills`: an hour, indexed in one go and again, killed (SIGKILL) at random moments and resumed each time.
"""

import argparse
from pathlib import Path

from scripts.benchmarks.costs import cpu, decoding, disk, kills, memory

__all__ = ["PARTS", "add_options", "measure", "to_markdown"]

PARTS = {"memory": memory, "cpu": cpu, "disk": disk, "decoding": decoding, "kills": kills}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options that make the parts smaller."""
    parser.add_argument("--size", type=_size, default=(1280, 720), metavar="WxH", help="of memory and decoding, pixels")
    parser.add_argument("--piece", type=float, default=20, help="seconds of the piece that their videos repeat")
    parser.add_argument(
        "--memory-minutes", type=float, nargs="+", default=[1, 10, 180], help="lengths of the videos of memory"
    )
    parser.add_argument("--decoding-minutes", type=float, default=10, help="minutes of the video that is decoded")
    parser.add_argument("--cpu-videos", type=int, default=3, help="shorter videos whose processor time is compared")
    parser.add_argument("--cpu-minutes", type=float, default=20, help="their minutes")
    parser.add_argument("--hour", type=float, default=60, help="minutes of the video of disk and kills")
    parser.add_argument("--width", type=int, default=512, help="of the model of disk")
    parser.add_argument("--kills", type=int, default=5, help="how often to kill the indexing process")


def measure(part: str, args: argparse.Namespace, folder: Path) -> dict | list[dict]:
    """The numbers of one part."""
    folder.mkdir(parents=True, exist_ok=True)
    return PARTS[part].measure(args, folder)


def to_markdown(part: str, result: dict | list[dict]) -> str:
    """The table of one part."""
    return PARTS[part].to_markdown(result)


def _size(text: str) -> tuple[int, int]:
    width, height = text.split("x")
    return int(width), int(height)
