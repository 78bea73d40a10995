"""The kinds of video that people hand to a processor: all give the frames of the same clip."""

import io

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, Video
from PIL import Image

from tcd_hf import TCDProcessor
from tcd_hf.processing import VideoReadError, WindowOCRCaptioner, open_video
from tests.clips import coded_frames, read_code, write_clip
from tests.tokenizers import letter_processor

try:  # without FFmpeg's libraries it raises a RuntimeError
    from torchcodec.decoders import VideoDecoder
except (ImportError, RuntimeError):
    VideoDecoder = None

needs_torchcodec = pytest.mark.skipif(VideoDecoder is None, reason="needs torchcodec, and FFmpeg's libraries")
FRAMES = coded_frames(8, size=(64, 48))
THWC = np.stack(FRAMES)
TCHW = THWC.transpose(0, 3, 1, 2)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("inputs") / "clip.mp4", FRAMES, fps=4)


@pytest.fixture(scope="module")
def processor() -> TCDProcessor:
    return letter_processor(ocr_engine=None)


def codes(video, **options) -> list[int]:
    with open_video(video, **options) as opened:
        return [read_code(frame) for frame in opened.frames_at(opened.frame_times)]


IN_MEMORY = {
    "array, channels first": TCHW,
    "array of floats": THWC / 255,
    "float16, channels first": (TCHW / 255).astype(np.float16),
    "tensor": torch.from_numpy(THWC),
    "tensor, channels first": torch.from_numpy(TCHW),
    "tensor of floats with a gradient": (torch.from_numpy(TCHW) / 255).requires_grad_(),
    "tensor of bfloat16": (torch.from_numpy(THWC) / 255).bfloat16(),
    "list of arrays": FRAMES,
    "list of arrays, channels first": list(TCHW),
    "list of tensors of floats": [torch.from_numpy(frame) / 255 for frame in TCHW],
    "list of pictures and arrays": [Image.fromarray(FRAMES[0]), *FRAMES[1:]],
    "dictionary of sentence-transformers": {"array": TCHW, "video_metadata": {"fps": 4}},
}


@pytest.mark.parametrize("name", IN_MEMORY)
def test_frames_in_memory_are_the_same_in_every_form(name, processor):
    video = IN_MEMORY[name]
    assert codes(video) == list(range(8))
    expected = processor(videos=THWC)["pixel_values_videos"]
    atol = 0.02 if "16" in name else 0.0  # halves of one in [0, 1] are no whole 255ths
    for given in (video, [video]):  # one video, and a batch of one
        torch.testing.assert_close(processor(videos=given)["pixel_values_videos"], expected, atol=atol, rtol=0)


def test_floats_are_rounded_to_the_nearest_of_255():
    video = np.zeros((1, 1, 2, 3))
    video[0, 0, 0], video[0, 0, 1] = [0, 0.5, 1], [1 / 255, 0.9999, 0.0019]
    with open_video(video) as opened:
        assert opened.frames_at([0])[0].tolist() == [[[0, 128, 255], [1, 255, 0]]]


def test_a_batch_of_arrays_or_tensors_is_split(processor):
    other = np.ascontiguousarray(THWC[::-1])
    expected = processor(videos=[THWC, other])["pixel_values_videos"]
    for batch in (np.stack([THWC, other]), torch.from_numpy(np.stack([TCHW, other.transpose(0, 3, 1, 2)]))):
        torch.testing.assert_close(processor(videos=batch)["pixel_values_videos"], expected)


def test_rates_that_come_with_frames_hold():
    with open_video({"array": THWC, "video_metadata": {"fps": 4}}) as video:
        assert video.duration == 2.0
    with open_video(THWC, fps=2) as video:
        assert video.duration == 4.0


def test_files_in_other_wrappings(clip, processor):
    expected = processor(videos=clip)
    content = clip.read_bytes()
    for video in (
        {"path": str(clip), "bytes": None},
        {"path": "long gone.mp4", "bytes": content},
        {"video": {"path": clip}},
        io.BytesIO(content),
    ):
        assert codes(video) == list(range(8))
        torch.testing.assert_close(dict(processor(videos=[video])), dict(expected))
    with clip.open("rb") as file:
        torch.testing.assert_close(dict(processor(videos=file)), dict(expected))
        assert not file.closed


def test_the_column_of_a_data_set_that_is_not_decoded(clip, processor):
    column = Dataset.from_dict({"video": [str(clip)] * 2}).cast_column("video", Video(decode=False))["video"]
    expected = processor(videos=clip)["pixel_values_videos"].repeat(2, 1, 1, 1, 1)
    torch.testing.assert_close(processor(videos=column)["pixel_values_videos"], expected)
    torch.testing.assert_close(processor(videos=column[:])["pixel_values_videos"], expected)


@needs_torchcodec
def test_the_column_of_a_data_set_is_read_as_its_files_are(clip, processor):
    rows = [{"path": str(clip), "bytes": None}, {"path": None, "bytes": clip.read_bytes()}]
    column = Dataset.from_dict({"video": rows}, features=Features({"video": Video()}))["video"]
    expected = processor(videos=clip)["pixel_values_videos"].repeat(2, 1, 1, 1, 1)
    torch.testing.assert_close(processor(videos=column)["pixel_values_videos"], expected)
    with open_video(column[0]) as video:
        assert video.name == str(clip)


@needs_torchcodec
@pytest.mark.parametrize("options", [{}, {"dimension_order": "NHWC"}, {"output_dtype": torch.float32}])
def test_decoders_of_torchcodec(clip, processor, options):
    decoder = VideoDecoder(str(clip), **options)
    with open_video(decoder) as video, open_video(clip) as file:
        assert (video.backend, video.num_frames, video.duration) == ("torchcodec", 8, 2.0)
        np.testing.assert_allclose(video.frame_times, file.frame_times)
    assert codes(decoder) == list(range(8))
    pixels = processor(videos=[decoder])["pixel_values_videos"]
    torch.testing.assert_close(pixels, processor(videos=clip)["pixel_values_videos"], atol=0.05, rtol=0)
    with pytest.raises(ValueError, match="'VideoDecoder' has its own"):
        open_video(decoder, fps=2)


@needs_torchcodec
def test_decoders_of_larger_frames_are_refused(clip):
    with pytest.raises(VideoReadError, match="64 x 48"):
        open_video(VideoDecoder(str(clip)), max_pixels=100)


def test_a_captioner_takes_the_same(clip):
    captioner = WindowOCRCaptioner(lambda images: [[(str(read_code(image)), 0.9, (0, 0, 1, 1))] for image in images])
    expected = [caption.text for caption in captioner(THWC, fps=4)]
    for video in (torch.from_numpy(TCHW), {"array": THWC, "video_metadata": {"fps": 4}}, {"path": str(clip)}):
        assert [caption.text for caption in captioner(video, fps=4)] == expected


@pytest.mark.parametrize(
    ("video", "message"),
    [
        (np.full((1, 2, 2, 3), 255.0), r"in \[0, 1\], got 255.0 to 255.0"),
        (torch.full((1, 3, 2, 2), -0.1), "before any normalisation"),
        (np.full((1, 2, 2, 3), np.nan), "got nan"),
        (np.zeros((1, 2, 2, 3), np.int64), "got int64"),
        (np.zeros((2, 4, 4, 4), np.uint8), r"uint8 of shape \(2, 4, 4, 4\)"),
        (torch.zeros(4, 4, 3), r"\(frames, height, width, 3\)"),
        ({"path": None, "bytes": None}, "`path`, `bytes`, `array` or `video`; got .*None"),
        ("https://example.org/a.mp4", "is an address.*Download it first"),
        ({"path": "HTTP://example.org/a.mp4"}, "is an address"),
    ],
)
def test_what_is_no_video_is_told(video, message):
    with pytest.raises(ValueError, match=message):
        open_video(video)
