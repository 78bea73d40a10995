"""The form of prepared data: what training and evaluation read in place of videos.

```python
row = load_from_disk("prepared")["train"][0]
queries = processor(text=row["captions"])
video = processor.process_frames(row["frames"], row["ocr_captions"])
```

| column | what |
| --- | --- |
| `video_id`, `captions`, `query_types` | as in [`load_retrieval_dataset`] |
| `frames` | `num_frames` images, as the image processor makes them before it rescales and normalises; see below |
| `frames_1`, ... | where asked for: as many at random times and in random crops, see [`random_frame_sets`] |
| `ocr_captions`, `ocr_mask` | caption of each window, `""` where no text is seen; whether there is one |
| `window_starts`, `window_ends`, `duration` | seconds |
| `group` | where known: name of a group of videos that are hard negatives of one another |
| `moments` | where known: for each caption when the video shows it, a list of `[start, end]` in seconds |

Of a clip with fewer frames than windows, a frame that would be there again is `None`: it is to count once.

Frames are kept as JPEG. Measured at 224 x 224 on 10 clips of films, a video of 12 frames takes 299 kB and 0.7 ms a
frame to decode, and levels (0-255) are off by 1.2 on average, by 20 at most. As PNG it would take 860 kB, as lossless
WebP 608 kB, both with more than twice the time. (Source: ours.)
"""

import io
import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from datasets import Dataset, Features, Image, List, Value
from PIL import Image as PILImage

from tcd_hf.processing.processing_tcd import TCDProcessor, use_one_thread_in_workers
from tcd_hf.processing.window_ocr import WindowCaption

__all__ = [
    "FRAME_SET",
    "JPEG",
    "PER_WINDOW",
    "PREPARED_FEATURES",
    "check_image_processor",
    "check_prepared",
    "complete_split",
    "describe_preparation",
    "frame_columns",
    "image_size",
    "prepare_video",
    "remove_leftovers",
    "save_split",
]

# Colour at full resolution, for coloured letters: at half resolution, the default, levels are off by up to 85.
JPEG = {"format": "JPEG", "quality": 95, "subsampling": 0}

PREPARED_FEATURES = Features(
    {
        "video_id": Value("string"),
        "captions": List(Value("string")),
        "query_types": List(Value("string")),
        "frames": List(Image()),
        "ocr_captions": List(Value("string")),
        "ocr_mask": List(Value("bool")),
        "window_starts": List(Value("float32")),
        "window_ends": List(Value("float32")),
        "duration": Value("float32"),
    }
)
FRAME_SET = "frames_"  # and a number, from 1
PER_WINDOW = ("frames", "ocr_captions", "ocr_mask", "window_starts", "window_ends")

GEOMETRY = (  # options of image processors that decide what is seen where in a frame
    *("do_resize", "size", "resample", "do_center_crop", "crop_size", "do_pad", "pad_size"),
    *("patch_size", "max_num_patches"),  # NaFlex
)


def frame_columns(names: Sequence[str]) -> list[str]:
    """The names of the columns that hold sets of frames, `frames` first."""
    sets = [name for name in names if re.fullmatch(FRAME_SET + "[1-9][0-9]*", name)]
    return ["frames", *sorted(sets, key=lambda name: int(name.removeprefix(FRAME_SET)))]


def prepare_video(
    processor: TCDProcessor,
    frames: Sequence[np.ndarray | None],
    captions: Sequence[WindowCaption],
    frame_sets: Sequence[Sequence[np.ndarray | None]] = (),
) -> dict:
    """What a prepared row says of the video itself.

    Args:
        processor (`TCDProcessor`): its image processor resizes and crops.
        frames (`list[np.ndarray | None]`): one of each window, RGB uint8 `(height, width, 3)`; `None` where it is the
            one before.
        captions (`list[WindowCaption]`): of the windows, in order.
        frame_sets (*optional*): further such frames, at the model's size, see [`random_frame_sets`].
    """
    images = iter(_resize(processor, [frame for frame in frames if frame is not None]))
    return {
        "frames": _stored(None if frame is None else next(images) for frame in frames),
        **{f"{FRAME_SET}{number}": _stored(each) for number, each in enumerate(frame_sets, start=1)},
        "ocr_captions": [caption.text for caption in captions],
        "ocr_mask": [bool(caption.text) for caption in captions],
        "window_starts": [caption.start for caption in captions],
        "window_ends": [caption.end for caption in captions],
        "duration": captions[-1].end,
    }


def _stored(images: Iterable[np.ndarray | None]) -> list[dict | None]:
    return [None if image is None else {"bytes": _jpeg(image), "path": None} for image in images]


def _resize(processor: TCDProcessor, frames: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What the image processor makes of frames before it rescales and normalises: RGB uint8 `(height, width, 3)`."""
    use_one_thread_in_workers()
    images = [PILImage.fromarray(frame) for frame in frames]
    made = processor.image_processor(images=images, do_rescale=False, do_normalize=False, return_tensors="np")
    if "spatial_shapes" not in made:
        return [pixels.transpose(1, 2, 0).astype(np.uint8) for pixels in made["pixel_values"]]
    return [_join_patches(*one) for one in zip(made["pixel_values"], made["spatial_shapes"], strict=True)]


def _join_patches(patches: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """The image that an image processor of the kind NaFlex cut into patches `(num_patches, side * side * 3)`."""
    rows, columns = shape
    side = round((patches.shape[-1] / 3) ** 0.5)
    grid = patches[: rows * columns].reshape(rows, columns, side, side, 3)
    return grid.swapaxes(1, 2).reshape(rows * side, columns * side, 3).astype(np.uint8)


def _jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    PILImage.fromarray(pixels).save(buffer, **JPEG)
    return buffer.getvalue()


def image_size(processor: TCDProcessor) -> tuple[int, int]:
    """Height and width, in pixels, of what the image processor makes of a square."""
    (image,) = _resize(processor, [np.zeros((64, 64, 3), np.uint8)])
    return image.shape[:2]


def describe_preparation(processor: TCDProcessor) -> str:
    """What rows are prepared with, as JSON: the `info.description` of a prepared data set."""
    return json.dumps({"image_size": image_size(processor), **json.loads(processor.to_json_string())}, sort_keys=True)


def check_prepared(dataset: Dataset, processor: TCDProcessor) -> None:
    """Refuses a data set that does not fit a processor, or the model whose processor it is.

    Raises:
        ValueError: columns are missing, there are no rows, the number or size of the frames is another one, or they
            were resized or cropped in another way. Only data that say how they were prepared are asked for the latter.
    """
    missing = [name for name in PREPARED_FEATURES if name not in dataset.column_names]
    if missing or not len(dataset):
        raise ValueError(
            f"This is no prepared data set: it has {len(dataset)} rows and lacks the columns {missing}. Prepare it "
            "with `tcd-hf prepare`."
        )
    lengths = [
        pc.call_function("list_value_length", [dataset.data.column(name)]).unique().to_pylist()
        for name in (*PER_WINDOW, *frame_columns(dataset.column_names)[1:])
    ]
    counts = {length for of_column in lengths for length in of_column}
    if counts != {processor.num_frames}:
        raise ValueError(
            f"The data set was prepared with {' or '.join(map(str, counts))} frames a video, but the model takes "
            f"{processor.num_frames} (`num_frames`). Prepare it again with the model's processor: `tcd-hf prepare "
            "--model`."
        )
    frame = np.asarray(dataset[0]["frames"][0].convert("RGB"))
    (made,) = _resize(processor, [frame])
    if not np.array_equal(frame, made):
        raise ValueError(
            f"The data set was prepared with frames of {_size(frame)}, of which the model's image processor makes "
            f"{_size(made)}. Prepare it again with the model's processor: `tcd-hf prepare --model`."
        )
    (needed,) = _geometries(describe_preparation(processor))
    for had in _geometries(dataset.info.description):
        others = [f"{name}={had[name]} in place of {needed[name]}" for name in GEOMETRY if had[name] != needed[name]]
        if others:
            raise ValueError(
                "The data set was prepared by an image processor that resizes or crops differently from the model's: "
                f"{', '.join(others)}. Prepare it again with the model's processor: `tcd-hf prepare --model`."
            )


def _geometries(description: str) -> list[dict[str, Any]]:
    """The options `GEOMETRY`, `None` where not set, of those who prepared a data set; of none where it does not say."""
    try:  # data sets that were put together have the descriptions of all, apart by an empty line
        options = [json.loads(one)["image_processor"] for one in description.split("\n\n")]
        return [{name: each.get(name) or None for name in GEOMETRY} for each in options]
    except (ValueError, KeyError, TypeError, AttributeError):  # words of another origin
        return []


def check_image_processor(processor: TCDProcessor) -> None:
    """Refuses an image processor that would change frames that are its own.

    Raises:
        ValueError: prepared frames would be resized or cropped twice.
    """
    noise = np.random.default_rng(0).integers(0, 256, (180, 320, 3), np.uint8)
    (once,) = _resize(processor, [noise])
    (twice,) = _resize(processor, [once])
    if not np.array_equal(once, twice):
        raise ValueError(
            f"The image processor makes {_size(once)} of its own frames of {_size(twice)}, or other pixels of them, so "
            "that prepared frames would be resized or cropped twice. Give it the same `size` and `crop_size`, or no "
            "`do_center_crop`."
        )


def save_split(
    dataset: Dataset, folder: str | os.PathLike, split: str, report: Mapping[str, Any] | None = None
) -> None:
    """Saves a split beside those that a folder holds; `load_from_disk(folder)` gives all of them, as a `DatasetDict`.

    An older split of that name is replaced when the new one is complete. Where files that are in use cannot be moved
    (Windows), it must not be loaded.
    """
    folder = Path(folder)
    remove_leftovers(folder, split)
    partial = folder / f".{split}.partial"
    dataset.save_to_disk(partial, num_shards=None if len(dataset) else 1)  # of no shards nothing can be loaded
    if report is not None:
        (partial / "preparation.json").write_text(json.dumps(dict(report), ensure_ascii=False), encoding="utf-8")
    if (folder / split).exists():
        (folder / split).rename(folder / f".{split}.older")  # as a whole or not at all
    partial.rename(folder / split)
    complete_split(folder, split)


def complete_split(folder: str | os.PathLike, split: str) -> None:
    """Does what comes after a split was put in its place, also where a run was killed before it was done."""
    remove_leftovers(folder, split)
    splits = sorted(path.parent.name for path in Path(folder).glob("[!.]*/state.json"))
    beside = Path(folder, ".dataset_dict.json.part")
    beside.write_text(json.dumps({"splits": splits}), encoding="utf-8")
    os.replace(beside, Path(folder, "dataset_dict.json"))


def remove_leftovers(folder: str | os.PathLike, split: str) -> None:
    """Removes what is left of a split that was being saved, or that gave way to another."""
    for kind in ("partial", "older"):
        shutil.rmtree(Path(folder, f".{split}.{kind}"), ignore_errors=True)


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[0]} x {pixels.shape[1]} pixels"
