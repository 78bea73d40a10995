"""Makes the pictures of the documentation again, all of generated clips.

    python -m scripts.pictures.clips --out docs/pictures

Writes hit.png, report.png (a photograph of the page that `tcd-hf search --html` writes; only where a Chromium is
installed), calibration.png and windows.png. Needs the extras `[plot]`, `[synthetic]` and `[train-mini]`.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from PIL import Image, ImageChops

from tcd_hf import TCDModel, TCDProcessor, VideoIndex, load_mini
from tcd_hf.data.synthetic import make_clip
from tcd_hf.demo import render_demo_clips
from tcd_hf.visualization import plot_calibration_cycle, plot_window_similarity, write_html_report
from tcd_hf.visualization.calibration import calibration_cycle
from tcd_hf.visualization.film_strip import read_clip

PICTURES = ("hit.png", "report.png", "calibration.png", "windows.png")
QUERIES = {"waiting for departure on platform 9": 2, "the cafe called Harbour": 1}  # and how many hits are shown
CLIPS = range(12, 212, 20)  # to choose from, of the test split: each shows one text, then another, in its own scene
PAGE_SIZE, MARGIN, MAX_SIDE = "900,2000", 24, 1300  # pixels


def main(argv: list[str] | None = None) -> int:
    """Writes the pictures; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"), help="folder (default: docs/pictures)")
    args = parser.parse_args(argv)
    out, here = args.out.resolve(), Path.cwd()
    out.mkdir(parents=True, exist_ok=True)
    model, processor = load_mini()
    processor.ocr_options = {"limit_side_len": 640}  # pixels; the clips are small
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # names in the pictures are then short, and the same each time
        try:
            show_search(model, processor, out)
            show_clip(model, processor, out)
        finally:
            os.chdir(here)  # what is in use cannot be deleted everywhere
    for name in PICTURES:
        path = out / name
        if path.exists():
            shrink(path)
    return 0


def show_search(model: TCDModel, processor: TCDProcessor, out: Path) -> None:
    """What a search finds: the best hit's frame, and the page of all."""
    index = VideoIndex.create("index", model, processor, cache_dir="cache")
    index.add([str(path) for path in render_demo_clips("videos")])
    results = [
        (query, [replace(hit, path=os.path.relpath(hit.path)) for hit in index.search(query, top_k=count)])
        for query, count in QUERIES.items()
    ]
    results[0][1][0].draw().save(out / "hit.png")
    write_html_report("report.html", results)
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        print(f"No Chromium is installed: {out / 'report.png'} is not made.", file=sys.stderr)
        return
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={PAGE_SIZE}"]
    command = [browser, *options, f"--screenshot={out / 'report.png'}", Path("report.html").absolute().as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    cut_below(out / "report.png")


def show_clip(model: TCDModel, processor: TCDProcessor, out: Path) -> None:
    """How the model reads one clip: the first of those of `CLIPS` of which most frames return to themselves."""
    clips = [make_clip(seed=0, split="test", number=number) for number in CLIPS]
    clip = max(clips, key=lambda clip: frames_home(model, processor, clip.write("clip.mp4")))
    video = clip.write("clip.mp4")
    plot_calibration_cycle(model, processor, video, out / "calibration.png")
    plot_window_similarity(model, processor, clip.query, video, out / "windows.png")


def frames_home(model: TCDModel, processor: TCDProcessor, video: Path) -> int:
    """How many frames of a clip return to themselves."""
    features = read_clip(model, processor, video).features
    return calibration_cycle(features, model.calibration_temperature.item()).num_home


def cut_below(path: Path) -> None:
    """Takes away the part of a page's picture that is left empty below its last line."""
    picture = Image.open(path).convert("RGB")
    empty = Image.new("RGB", picture.size, picture.getpixel((0, 0)))
    bottom = ImageChops.difference(picture, empty).getbbox()[3]
    picture.crop((0, 0, picture.width, min(bottom + MARGIN, picture.height))).save(path)


def shrink(path: Path) -> None:
    """Brings a picture to the width of a page, and to 256 colours: a third of the bytes, and nobody sees it."""
    picture = Image.open(path).convert("RGB")
    picture.thumbnail((MAX_SIDE, MAX_SIDE))
    picture.quantize(256).save(path, optimize=True)


if __name__ == "__main__":
    raise SystemExit(main())
