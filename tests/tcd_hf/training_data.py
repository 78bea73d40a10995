"""A prepared data set in small: videos of coloured noise, captions that name what the OCR captions say."""

import numpy as np
from datasets import Dataset, DatasetDict, Features, Value
from PIL import Image as PILImage

from tcd_hf.data.prepared_data import PREPARED_FEATURES
from tests.tcd_hf.conftest import NUM_FRAMES, make_tiny_model, make_tiny_processor

FEATURES = Features({**PREPARED_FEATURES, "group": Value("string")})


def make_split(num_videos: int, seed: int = 0) -> Dataset:
    """Video `i` has 1 + i % 3 captions, group i // 3, and text in its first i % 5 windows."""
    generator = np.random.default_rng(seed)
    rows = []
    for video in range(num_videos):
        words = ["".join(generator.choice(list("abcdefgh"), 4)) for _ in range(3)]
        texts = [words[window % 3] if window < video % 5 else "" for window in range(NUM_FRAMES)]
        frames = generator.integers(0, 256, (NUM_FRAMES, 16, 16, 3), dtype=np.uint8)
        rows.append(
            {
                "video_id": f"video{video}",
                "captions": [f"the sign {word}" for word in words[: 1 + video % 3]],
                "query_types": ["text", "both", "text"][: 1 + video % 3],
                "frames": [PILImage.fromarray(frame) for frame in frames],
                "ocr_captions": texts,
                "ocr_mask": [bool(text) for text in texts],
                "window_starts": [float(window) for window in range(NUM_FRAMES)],
                "window_ends": [window + 1.0 for window in range(NUM_FRAMES)],
                "duration": float(NUM_FRAMES),
                "group": f"group{video // 3}",
            }
        )
    return Dataset.from_list(rows, features=FEATURES)


def make_world(num_train: int = 12, num_validation: int = 6) -> DatasetDict:
    return DatasetDict({"train": make_split(num_train), "validation": make_split(num_validation, seed=1)})


def save_start(folder, **config) -> str:
    """A tiny model and its processor, saved; returns the folder's name."""
    make_tiny_model(**config).save_pretrained(folder)
    make_tiny_processor().save_pretrained(folder)
    return str(folder)
