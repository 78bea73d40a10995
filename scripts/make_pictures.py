"""Makes the pictures of the documentation again, all of generated clips.

    python scripts/make_pictures.py --out docs/pictures

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

from PIL import Image

from tcd_hf import TCDModel, TCDProcessor, VideoIndex, load_mini
from tcd_hf.data.synthetic import make_clip
from tcd_hf.demo import render_demo_clips
from tcd_hf.visualization import plot_calibration_cycle, plot_window_similarity, write_html_report

PICTURES = ("hit.png", "report.png", "calibration.png", "windows.png")
QUERIES = ["waiting for departure on platform 9", "the cafe called Harbour"]
CLIP = {"seed": 0, "split": "test", "number": 78}  # an act with one text, then one with another
PAGE_SIZE, MAX_SIDE = "900,1000", 1300  # pixels


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
    found = index.search(QUERIES, top_k=2)
    results = [[replace(hit, path=os.path.relpath(hit.path)) for hit in hits] for hits in found]
    results[0][0].draw().save(out / "hit.png")
    write_html_report("report.html", zip(QUERIES, results, strict=True))
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        print(f"No Chromium is installed: {out / 'report.png'} is not made.", file=sys.stderr)
        return
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={PAGE_SIZE}"]
    command = [browser, *options, f"--screenshot={out / 'report.png'}", Path("report.html").absolute().as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)


def show_clip(model: TCDModel, processor: TCDProcessor, out: Path) -> None:
    """How the model reads one clip."""
    clip = make_clip(**CLIP)
    video = clip.write("clip.mp4", 384)
    plot_calibration_cycle(model, processor, video, out / "calibration.png")
    plot_window_similarity(model, processor, clip.query, video, out / "windows.png")


def shrink(path: Path) -> None:
    """Brings a picture to the width of a page."""
    picture = Image.open(path).convert("RGB")
    picture.thumbnail((MAX_SIDE, MAX_SIDE))
    picture.save(path, optimize=True)


if __name__ == "__main__":
    raise SystemExit(main())
