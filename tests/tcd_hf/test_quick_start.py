"""What commands do at their start, and what they leave out."""

import gc
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest

from tcd_hf.cli.quick_start import quick_start

# Reads videos, makes pages, trains: nothing of that is needed to search in an index.
NOT_NEEDED = {"av", "cv2", "datasets", "decord", "evaluate", "gradio", "matplotlib", "onnxruntime", "rapidocr"}
NOT_NEEDED |= {"ray", "sklearn", "uvicorn"}
SEARCH = """
import gc, sys
from tcd_hf.cli.main import app
app(["search", "platform 9", "--index", sys.argv[1]], standalone_mode=False)
print("imported:", *sorted({name.partition(".")[0] for name in sys.modules}))
print("left out:", gc.get_freeze_count(), gc.isenabled())
"""


@pytest.fixture
def freezes(monkeypatch):
    """Notes when objects are left out of the search for garbage, in place of doing it for all other tests too."""
    calls = []
    monkeypatch.setattr(gc, "freeze", lambda: calls.append(gc.isenabled()))
    return calls


@pytest.fixture
def import_one(monkeypatch):
    return lambda: monkeypatch.setitem(sys.modules, "a_module_of_this_test", ModuleType("a_module_of_this_test"))


def test_garbage_waits_until_all_is_imported(freezes, import_one):
    with quick_start():
        assert not gc.isenabled()
        import_one()
    assert gc.isenabled() and freezes == [False]


def test_garbage_is_looked_for_again_after_an_error(freezes):
    @quick_start()
    def fail():
        raise ValueError("no index")

    with pytest.raises(ValueError, match="no index"):
        fail()
    assert gc.isenabled()


def test_nothing_is_left_out_where_nothing_is_imported(freezes):
    with quick_start():
        pass
    assert freezes == []


def test_one_inside_another_leaves_the_collector_as_it_was(freezes):
    with quick_start():
        with quick_start():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


@pytest.mark.slow
def test_a_search_in_an_index_imports_nothing_that_reads_videos(tmp_path):
    from tcd_hf import VideoIndex, load_mini
    from tests.clips import write_clip

    model, processor = load_mini(ocr_engine=None)
    index = VideoIndex.create(tmp_path / "index", model, processor, cache_dir=tmp_path / "cache")
    index.add([write_clip(tmp_path / "clip.mp4", [np.full((64, 64, 3), 90, np.uint8)] * 4)], workers=0)
    command = [sys.executable, "-c", SEARCH, str(tmp_path / "index")]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "clip.mp4" in output
    imported, left_out = (line.split()[1:] for line in output.splitlines()[-2:])
    assert {"torch", "lancedb"} <= set(imported) and not NOT_NEEDED & set(imported)
    assert int(left_out[1]) > 100_000 and left_out[2] == "True"
