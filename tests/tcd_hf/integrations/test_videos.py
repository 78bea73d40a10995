import shutil

import numpy as np
import pytest
import torch

from tcd_hf import VideoIndex
from tcd_hf.integrations.videos import process_video
from tests.tcd_hf.conftest import CodeReader, make_tiny_model, make_tiny_processor


@pytest.fixture
def processor(code_reader):
    return make_tiny_processor(code_reader)


def assert_same(inputs, others):
    assert inputs.keys() == others.keys()
    torch.testing.assert_close(dict(inputs), dict(others), atol=1e-5, rtol=0)


class TestCaptionCache:
    def test_text_is_read_once(self, processor, code_reader, clips, tmp_path):
        expected = processor(videos=[clips["shop.mp4"]])
        code_reader.images_read = 0
        first = process_video(processor, clips["shop.mp4"])
        read = code_reader.images_read
        assert read > 0
        assert_same(first, dict(expected))
        copy = shutil.copy(clips["shop.mp4"], tmp_path / "copy.mp4")
        for video in (str(clips["shop.mp4"]), copy, clips["shop.mp4"].read_bytes()):
            assert_same(process_video(processor, video), first)
        assert code_reader.images_read == read

    def test_is_that_of_the_index(self, processor, code_reader, clips, cache_dir, tmp_path):
        index = VideoIndex.create(tmp_path / "index", make_tiny_model(), processor)
        index.add(clips.values(), workers=0)
        read = code_reader.images_read
        for clip in clips.values():
            process_video(processor, clip)
        assert code_reader.images_read == read
        assert len(list(cache_dir.rglob("*.json"))) == len(clips)

    def test_another_engine_reads_anew(self, processor, clips):
        first = process_video(processor, clips["shop.mp4"])
        other = CodeReader({8: ["another text"]})
        second = process_video(make_tiny_processor(other), clips["shop.mp4"])
        assert other.images_read > 0
        assert not torch.equal(first["ocr_mask"], second["ocr_mask"])

    def test_frames_in_memory_are_not_cached(self, processor, code_reader, cache_dir):
        process_video(processor, np.zeros((8, 48, 64, 3), np.uint8))
        assert code_reader.images_read > 0
        assert not cache_dir.exists()
