"""Numbers next to nothing: 0 within, and in one thread alone."""

import threading

import numpy as np
import pytest
import torch

from tcd_hf.processing.denormals import denormals_are_zero
from tcd_hf.processing.rapidocr_engine import RapidOCREngine


def are_zero() -> bool:
    return not float(torch.full((), 1e-40) * 1)


@pytest.fixture
def can_flush():
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot")
    torch.set_flush_denormal(False)


def test_they_are_zero_within_and_as_before_afterwards(can_flush):
    assert not are_zero()
    with denormals_are_zero():
        assert are_zero()
        elsewhere = []
        thread = threading.Thread(target=lambda: elsewhere.append(are_zero()))
        thread.start()
        thread.join()
    assert not are_zero()
    with pytest.raises(ZeroDivisionError), denormals_are_zero():
        raise ZeroDivisionError
    assert not are_zero()
    torch.set_flush_denormal(True)
    with denormals_are_zero():
        pass
    assert are_zero()
    torch.set_flush_denormal(False)


@pytest.mark.parametrize("num_threads", [1, 2])
def test_what_is_read_needs_none_of_them(num_threads, monkeypatch):
    """The same probabilities come of the network with them."""
    image = np.random.default_rng(0).integers(0, 256, (96, 160, 3), np.uint8)
    models = RapidOCREngine(num_threads=num_threads).models()
    with models.in_use():
        without = models.detector.probabilities(image, (96, 160))
    assert not are_zero()
    np.testing.assert_allclose(models.detector.probabilities(image, (96, 160)), without, atol=1e-4)
