"""Numbers next to nothing: 0 within, and in one thread alone."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from tcd_hf.processing.denormals import denormals_are_zero, flush_in_threads
from tcd_hf.processing.rapidocr_engine import RapidOCREngine


def are_zero() -> bool:
    return not float(torch.full((), 1e-40, dtype=torch.float32) * 1)


@pytest.fixture(autouse=True)
def as_before():
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot")
    torch.set_flush_denormal(False)
    yield
    torch.set_flush_denormal(False)


def test_they_are_zero_within_and_as_before_afterwards():
    with denormals_are_zero():
        assert are_zero()
    assert not are_zero()
    with pytest.raises(ZeroDivisionError), denormals_are_zero():
        raise ZeroDivisionError
    assert not are_zero()
    torch.set_flush_denormal(True)
    with denormals_are_zero():
        pass
    assert are_zero()


def test_threads_that_are_there_compute_as_before():
    with ThreadPoolExecutor(1) as other:
        assert not other.submit(are_zero).result()
        with denormals_are_zero():
            assert not other.submit(are_zero).result()


def test_it_does_not_depend_on_what_torch_makes_by_default():
    torch.set_default_dtype(torch.float16)
    try:
        with denormals_are_zero():
            pass
    finally:
        torch.set_default_dtype(torch.float32)
    assert not are_zero()


@pytest.mark.parametrize("num_threads", [1, 2])
def test_what_is_read_needs_none_of_them(num_threads):
    """The same probabilities come of the network with them."""
    image = np.random.default_rng(0).integers(0, 256, (96, 160, 3), np.uint8)
    models = RapidOCREngine(num_threads=num_threads).models()
    options = models.detector.detector.session.session.get_session_options()
    assert options.intra_op_num_threads == num_threads
    with models.in_use():
        without = models.detector.probabilities(image, (96, 160))
    assert not are_zero()
    np.testing.assert_allclose(models.detector.probabilities(image, (96, 160)), without, atol=1e-4)


def test_other_runtimes_are_left_alone():
    pytest.importorskip("openvino")
    from rapidocr import EngineType

    models = RapidOCREngine(num_threads=2, params={"Det.engine_type": EngineType.OPENVINO}).models()
    model = models.detector.detector.session
    session = model.session
    flush_in_threads(model, "no file")
    assert model.session is session
    with models.in_use():
        assert models.detector.probabilities(np.zeros((64, 64, 3), np.uint8), (64, 64)).shape == (1, 1, 64, 64)
