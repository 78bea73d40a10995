import threading

import pytest
import torch

from tcd_hf.index.threads import one_thread


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_one_thread_is_of_the_thread_that_asks_and_ends():
    elsewhere = []
    inside, looked = threading.Event(), threading.Event()

    def other():
        torch.get_num_threads()  # from here on it has its own
        inside.wait()
        elsewhere.append(torch.get_num_threads())
        looked.set()

    thread = threading.Thread(target=other)
    thread.start()
    with pytest.raises(KeyError), one_thread():
        assert torch.get_num_threads() == 1
        inside.set()
        assert looked.wait(10)
        raise KeyError
    thread.join()
    assert torch.get_num_threads() == 2
    assert elsewhere == [2]
