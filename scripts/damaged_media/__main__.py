"""Writes damaged media files, to see what becomes of those who read them.

    python -m scripts.damaged_media --out FOLDER --seed 0 --count 270

Clips of a few seconds are rendered in the usual containers and codecs, and each is damaged in one of the ways of
`kinds.py`: cut off, bits flipped, tables of headers that lie, packets lost, two files joined, text in a video's place,
and so on. The same seed gives the same files, as long as the encoders do. The whole clips are written too, into
`FOLDER/whole`; the others go into `FOLDER/damaged`, and their names begin with the kind.
"""

import argparse
from pathlib import Path

from scripts.damaged_media import damaged_files, render_clips


def main(argv: list[str] | None = None) -> int:
    """Writes the files; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder that is made, or empty")
    parser.add_argument("--seed", type=int, default=0, help="another one gives other files (default: 0)")
    parser.add_argument("--count", type=int, default=270, help="damaged files (default: 270)")
    args = parser.parse_args(argv)
    if args.count < 1:
        parser.error(f"--count must be at least 1, got {args.count}")
    if args.out.exists() and any(args.out.iterdir()):
        parser.error(f"{args.out} is not empty: give another folder")
    clips = render_clips()
    for name, files in (
        ("whole", clips.items()),
        ("damaged", ((file.name, file.content) for file in damaged_files(clips, args.seed, args.count))),
    ):
        folder = args.out / name
        folder.mkdir(parents=True)
        for file, content in files:
            (folder / file).write_bytes(content)
    print(f"{args.out}: {len(clips)} whole and {args.count} damaged files")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
