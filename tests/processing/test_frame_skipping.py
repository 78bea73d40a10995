"""Which frames are chosen: still pictures, cuts, text that appears, moving cameras, blur."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from tcd_hf.processing.frame_skipping import split_into_stretches
from tests.clips import text_frame

SIZE = (640, 360)


def noise(seed: int, low=0, high=256) -> np.ndarray:
    """A picture full of detail."""
    small = np.random.default_rng(seed).integers(low, high, (36, 64, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize(SIZE, Image.Resampling.BICUBIC))


def split(frames, interval=0.5, **kwargs):
    """(time of the chosen frame, times it stands for) of each stretch."""
    timed = ((index * interval, frame) for index, frame in enumerate(frames))
    return [(stretch.time, stretch.times) for stretch in split_into_stretches(timed, **kwargs)]


def test_nothing():
    assert split([]) == []


def test_still_picture_is_one_stretch_however_long():
    frame = noise(0, 10, 240).astype(int)
    flicker = [frame + np.random.default_rng(seed).integers(-6, 7, frame.shape) for seed in range(8)]
    frames = [frame.clip(0, 255).astype(np.uint8) for frame in flicker]
    assert split(frames) == [(0.0, [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5])]


def test_interval_none_chooses_every_sample():
    assert split([noise(0)] * 3, reading_interval=None) == [(0.0, [0.0]), (0.5, [0.5]), (1.0, [1.0])]


def test_cut_closes_a_stretch():
    dark, bright = noise(0, 0, 120), noise(1, 130, 256)
    assert split([dark, dark, bright, bright]) == [(0.0, [0.0, 0.5]), (1.0, [1.0, 1.5])]


def test_stretches_say_where_a_scene_begins():
    dark, bright = noise(0, 0, 120), noise(1, 130, 256)
    titled = text_frame("Exit 24", background=bright, position=(0.85, 0.9), font_size=16, color="black")
    frames = enumerate([dark, bright, bright, titled, titled])
    stretches = list(split_into_stretches((0.5 * index, frame) for index, frame in frames))
    assert [stretch.after_cut for stretch in stretches] == [True, True, False]
    assert all(stretch.sharpness > 0 for stretch in stretches)


def test_every_shot_of_a_fast_montage_is_chosen():
    shots = [noise(seed, low, low + 80) for seed, low in enumerate((0, 170, 60, 170))]
    assert [time for time, _ in split(shots, interval=0.25)] == [0.0, 0.25, 0.5, 0.75]


def test_small_text_that_comes_to_rest_is_chosen():
    plain = noise(0)
    with_text = text_frame("Exit 24", background=plain, position=(0.85, 0.9), font_size=16, color="white")
    stretches = split([plain, plain, plain, with_text, with_text, with_text])
    chosen = [time for time, _ in stretches]
    assert any(time >= 1.5 for time in chosen) and len(chosen) == 2


def test_moving_camera_is_read_once_per_interval():
    wide = noise(0)
    panned = [np.roll(wide, 24 * index, axis=1) for index in range(8)]
    assert [times for _, times in split(panned)] == [[0.0, 0.5], [1.0, 1.5], [2.0, 2.5], [3.0, 3.5]]
    assert len(split(panned, reading_interval=2.0)) == 2


@pytest.mark.parametrize("sharp", [0, 1, 2])
def test_the_sharpest_frame_of_a_stretch_is_chosen(sharp):
    frames = []
    for index in range(3):
        image = Image.fromarray(np.roll(noise(0), 40 * index, axis=1))
        blur = ImageFilter.GaussianBlur(2 if index == sharp else 4)
        frames.append(np.asarray(image.filter(blur)))
    assert split(frames, interval=0.25) == [(0.25 * sharp, [0.0, 0.25, 0.5])]


def test_frames_of_another_size_begin_a_stretch():
    assert len(split([noise(0), noise(0)[:200]])) == 2
