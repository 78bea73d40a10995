"""Places that may show text, and the parts of a frame by which they are looked at: numbers by hand."""

import numpy as np
import pytest

from tcd_hf.processing.text_glances import MARGIN, Place, likely_places, part_around


def test_places_are_those_of_likely_pixels_with_a_margin():
    seen = np.zeros((100, 200), np.float32)
    seen[40:44, 20:60] = 0.5  # a line
    seen[42, 62] = 0.3  # its last letter, near enough
    seen[80, 150] = 0.9
    seen[10, 100] = 0.1  # too unlikely
    expected = [
        (150 - MARGIN, 80 - MARGIN, 151 + MARGIN, 81 + MARGIN),
        (20 - MARGIN, 40 - MARGIN, 63 + MARGIN, 44 + MARGIN),
    ]
    places = likely_places(seen)
    assert [place.box for place in places] == pytest.approx(np.array(expected) / (200, 100, 200, 100))
    assert places[0].peak == pytest.approx([150.5 / 200, 80.5 / 100])
    assert places[1].area == pytest.approx(67 * 28 / 20000)


@pytest.mark.parametrize("seed", range(5))
def test_the_peak_of_a_place_is_its_likeliest_pixel(seed):
    """As found by looking at every pixel of the glance, also where places reach around one another."""
    rng = np.random.default_rng(seed)
    seen = np.where(rng.random((90, 160)) < 0.002, rng.random((90, 160)), 0).astype(np.float32)
    seen[10, 10:150] = seen[10:80, 10] = 0.25  # a place whose box holds others
    reach = np.array([MARGIN, MARGIN]) + 1e-6
    peaks = []
    for place in likely_places(seen):
        column, row = (place.peak * (160, 90) - 0.5).round().astype(int)
        peaks.append(seen[row, column])
        corners = place.box.reshape(2, 2) * (160, 90)
        assert (corners[0] - reach <= (column, row)).all() and ((column, row) <= corners[1] + reach).all()
        neighbours = seen[max(0, row - MARGIN) : row + MARGIN + 1, max(0, column - MARGIN) : column + MARGIN + 1]
        assert seen[row, column] == neighbours.max()  # what is so near belongs to the same place
    assert peaks == sorted(peaks, reverse=True) and peaks[0] == seen.max() and min(peaks) >= 0.2


def test_a_place_within_the_box_of_another_has_its_own_peak():
    seen = np.zeros((100, 100), np.float32)
    seen[5, 5:95] = seen[5:95, 5] = 0.3  # an angle
    seen[60, 60] = 0.9
    likelier, angle = likely_places(seen)
    assert likelier.peak == pytest.approx([0.605, 0.605]) and angle.peak == pytest.approx([0.055, 0.055])


def test_nothing_likely_has_no_place():
    assert likely_places(np.full((32, 32), 0.1, np.float32)) == []


@pytest.mark.parametrize(
    ("place", "scale", "expected"),
    [
        # 40 x 100 pixels, looked at as they are: the next larger shape, around the middle (130, 70)
        ((80 / 640, 50 / 360, 180 / 640, 90 / 360), 1.0, ((slice(38, 102), slice(66, 194)), (64, 128))),
        # twice as large: 80 x 200 pixels fill 128 x 256, which are 64 x 128 of the image
        ((80 / 640, 50 / 360, 180 / 640, 90 / 360), 2.0, ((slice(38, 102), slice(66, 194)), (128, 256))),
        # at the border it is moved inwards
        ((600 / 640, 340 / 360, 1.0, 1.0), 1.0, ((slice(296, 360), slice(576, 640)), (64, 64))),
        # wider than any of the shapes, or than the image: all of it
        ((0.0, 0.0, 1.0, 0.1), 2.0, ((slice(0, 64), slice(0, 640)), (128, 1280))),
        ((0.0, 0.0, 0.5, 1.0), 1.0, ((slice(0, 360), slice(0, 384)), (360, 384))),
    ],
)
def test_parts_have_few_shapes(place, scale, expected):
    box = np.array(place)
    assert part_around(Place(box, (box[:2] + box[2:]) / 2), (360, 640, 3), scale) == expected


def test_of_a_large_place_there_is_a_part_around_its_peak():
    place = Place(np.array([0.0, 0.0, 1.0, 0.5]), np.array([0.75, 0.1]))
    # 640 x 180 pixels, twice as large: 256 of each side are 128 of the image, around (480, 36), from the border on
    assert part_around(place, (360, 640, 3), 2.0, limit=256) == ((slice(0, 128), slice(416, 544)), (256, 256))
