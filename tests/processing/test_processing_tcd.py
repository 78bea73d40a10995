import copy
import json
import logging
import pickle

import numpy as np
import pytest
import torch
from datasets import Dataset
from PIL import Image
from transformers import Siglip2Tokenizer, SiglipImageProcessor

from tcd_hf import TCDConfig, TCDModel, TCDProcessor
from tcd_hf.processing import TextReading, VideoReadError, WindowCaption, WindowOCRCaptioner, open_video
from tests.clips import coded_frames, text_clip, write_clip
from tests.tokenizers import letter_processor

OPTIONS = {
    "num_frames": 3,
    "window_scale": 0.5,
    "ocr_engine": "doctr",
    "ocr_options": {"num_threads": 1},
    "ocr_fps": 3.5,
    "reading_interval": 1.5,
    "min_confidence": 0.25,
    "min_text_height": 0.05,
    "max_side": 640,
    "max_length": 9,
    "video_backend": "pyav",
    "max_pixels": 1 << 20,
    "query_prefix": "query: ",
    "caption_prefix": "passage: ",
    "text_padding": "max_length",
}


@pytest.fixture(scope="module")
def processor():
    return letter_processor()


@pytest.fixture(scope="module")
def sign_clip(tmp_path_factory):
    """Two seconds: OPEN in the first half, nothing in the second."""
    path = tmp_path_factory.mktemp("clips") / "sign.mp4"
    write_clip(path, text_clip([("OPEN", 0, 1)], duration=2, fps=10), fps=10)
    return path


def test_video_becomes_frames_and_captions(processor, sign_clip):
    inputs = processor(text=["an open sign", "b"], videos=[sign_clip, str(sign_clip)])
    assert inputs["input_ids"].shape == inputs["attention_mask"].shape
    assert len(inputs["input_ids"]) == 2
    assert inputs["pixel_values_videos"].shape == (2, 4, 3, 16, 16)
    assert inputs["pixel_values_videos"].dtype == torch.float32
    assert inputs["ocr_input_ids"].shape == inputs["ocr_attention_mask"].shape
    assert inputs["ocr_mask"].tolist() == [[True, True, False, False]] * 2
    assert inputs["ocr_mask"].dtype == torch.bool
    read = processor.tokenizer.batch_decode(inputs["ocr_input_ids"][0], skip_special_tokens=True)
    assert [text.strip() for text in read] == ["open", "open", "", ""]


def test_frame_of_a_window_is_the_one_at_its_centre(tmp_path):
    frames = coded_frames(16, size=(64, 48))  # 16 frames at 8 a second: windows of 0.5 s, centres at .25, .75, ...
    processor = letter_processor(ocr_engine=None)
    read, _ = processor.read_video(np.stack(frames), fps=8, with_captions=False)
    for frame, index in zip(read, (2, 6, 10, 14), strict=True):
        np.testing.assert_array_equal(frame, frames[index])
    inputs = processor(videos=np.stack(frames), fps=8, ocr_captions=[[""] * 4])
    expected = processor.image_processor([Image.fromarray(frames[i]) for i in (2, 6, 10, 14)], return_tensors="pt")
    torch.testing.assert_close(inputs["pixel_values_videos"][0], expected["pixel_values"], rtol=0, atol=0)


def test_one_pass_over_the_video_gives_what_two_passes_give(processor, sign_clip):
    frames, captions = processor.read_video(sign_clip)
    only_frames, nothing = processor.read_video(sign_clip, with_captions=False)
    assert nothing is None
    for one, other in zip(frames, only_frames, strict=True):
        np.testing.assert_array_equal(one, other)
    assert [c.to_dict() for c in captions] == [c.to_dict() for c in processor.caption(sign_clip)[0]]


def test_given_captions_are_not_read_again(sign_clip):
    def refuses(images):
        raise AssertionError("read although captions were given")

    processor = letter_processor(ocr_engine=refuses)
    given = [["first", "", "  ", "4"]]
    inputs = processor(videos=[sign_clip], ocr_captions=given)
    assert inputs["ocr_mask"].tolist() == [[True, False, False, True]]
    windows = [[WindowCaption(0.0, 0.5, text) for text in given[0]]]
    again = processor(videos=[sign_clip], ocr_captions=windows)
    torch.testing.assert_close(again["ocr_input_ids"], inputs["ocr_input_ids"])


def test_captions_read_once_serve_again(processor, sign_clip):
    captions = processor.caption([sign_clip])
    assert [len(windows) for windows in captions] == [4]
    fresh, reused = processor(videos=sign_clip), processor(videos=sign_clip, ocr_captions=captions)
    for name in fresh:
        torch.testing.assert_close(fresh[name], reused[name])


def test_without_an_engine_captions_are_empty_and_not_read(sign_clip):
    processor = letter_processor(ocr_engine=None)
    assert processor(videos=sign_clip)["ocr_mask"].tolist() == [[False] * 4]
    with pytest.raises(ValueError, match="no OCR engine"):
        processor.caption(sign_clip)


def test_an_open_video_stays_open(processor, sign_clip):
    with open_video(sign_clip) as video:
        processor.read_video(video)
        processor.caption(video)
        assert len(video.frames_at([0.0])) == 1


def test_files_and_arrays_in_one_batch(sign_clip):
    processor = letter_processor(ocr_engine=None)
    inputs = processor(videos=[sign_clip, np.zeros((8, 8, 8, 3), np.uint8)], fps=4)
    assert inputs["pixel_values_videos"].shape == (2, 4, 3, 16, 16)


def test_what_is_one_video_and_what_is_a_batch(processor, sign_clip):
    frames = coded_frames(4, size=(32, 32))
    given = {"ocr_captions": [[""] * 4], "fps": 4}
    reference = processor(videos=[np.stack(frames)], **given)["pixel_values_videos"]
    for one_video in (np.stack(frames), [Image.fromarray(frame) for frame in frames], np.stack(frames)[None]):
        torch.testing.assert_close(processor(videos=one_video, **given)["pixel_values_videos"], reference)
    two = processor(videos=[np.stack(frames), [Image.fromarray(f) for f in frames]], ocr_captions=[[""] * 4] * 2, fps=4)
    torch.testing.assert_close(two["pixel_values_videos"], reference.repeat(2, 1, 1, 1, 1))
    from_bytes = processor(videos=sign_clip.read_bytes(), ocr_captions=[[""] * 4])
    torch.testing.assert_close(from_bytes, processor(videos=sign_clip, ocr_captions=[[""] * 4]))


def test_frames_and_captions_at_hand_are_processed_as_their_videos_are(processor):
    videos = [coded_frames(4, size=(32, 32)), coded_frames(4, size=(32, 32), start=4)]
    captions = [["exit", "", "", ""], ["", "platform", "", "cafe open"]]
    expected = processor(videos=[np.stack(frames) for frames in videos], ocr_captions=captions, fps=4)
    images = [[Image.fromarray(frame) for frame in frames] for frames in videos]
    for frames in (videos, images, [[image.convert("RGBA") for image in of_video] for of_video in images]):
        torch.testing.assert_close(dict(processor.process_frame_batch(frames, captions)), dict(expected))
        one = processor.process_frames(frames[1], captions[1])
        torch.testing.assert_close(one["pixel_values_videos"], expected["pixel_values_videos"][1:])
    with pytest.raises(ValueError, match="3 frames for 4 windows"):
        processor.process_frame_batch([videos[0], videos[1][:3]], captions)
    with pytest.raises(ValueError, match="captions of 1 videos, but frames of 2"):
        processor.process_frame_batch(videos, captions[:1])


def test_of_a_video_with_fewer_frames_than_windows_each_frame_counts_once():
    processor = letter_processor(ocr_engine=None)
    frames = coded_frames(8, size=(32, 32))
    inputs = processor(videos=[frames[:3], frames[:1], frames[:4], frames])
    assert inputs["frame_mask"].tolist() == [
        [True, True, False, True],  # on screen at the centres: 0, 1, 1, 2
        [True, False, False, False],
        [True] * 4,
        [True] * 4,
    ]
    pixels = inputs["pixel_values_videos"]
    assert torch.equal(pixels[0, 1], pixels[0, 2])  # what does not count is there all the same
    for video, own in ((0, [frames[0], frames[1], None, frames[2]]), (2, frames[:4])):
        again = processor.process_frames(own, [""] * 4)
        torch.testing.assert_close(again["pixel_values_videos"][0], pixels[video])
        assert torch.equal(again["frame_mask"][0], inputs["frame_mask"][video])
    with pytest.raises(ValueError, match="first frame of a video is None"):
        processor.process_frames([None, *frames[:3]], [""] * 4)


def test_a_picture_that_is_held_counts_as_often_as_it_is_seen():
    """Of a part of a video only the frames on screen in it are asked for; a video of enough frames has no repeats."""
    captioner = WindowOCRCaptioner(engine=None, num_windows=4)
    frames = coded_frames(8, size=(32, 32))
    parts = [(0.0, 4.0, [1, 3, 5, 7]), (1.0, 1.0, [2, None, 3, None]), (3.5, 0.5, [7])]
    parts += [(1.0, 1.5, [2, 3, None, 4])]  # the next frame begins where the part ends
    with open_video(frames, fps=2.0) as video:  # 4 s
        for start, duration, expected in parts:
            read, _ = captioner.read(video, start, duration, with_captions=False)
            own = captioner.own_frames(read, video, start, duration)
            expected = [*expected, *[None] * (4 - len(expected))]
            assert len(own) == 4
            for frame, code in zip(own, expected, strict=True):
                assert (frame is None) == (code is None)
                assert frame is None or np.array_equal(frame, frames[code])
    held = [frames[0]] * 7 + [frames[1]]
    with open_video(held, fps=2.0) as video:
        read, _ = captioner.read(video, with_captions=False)
        assert all(frame is not None for frame in captioner.own_frames(read, video))


def test_query_over_the_limit_is_cut_with_one_warning(caplog):
    processor = letter_processor(model_max_length=8)
    logger = logging.getLogger("transformers")
    logger.addHandler(caplog.handler)
    try:
        first, second = (processor(text="abcdefghijkl")["input_ids"] for _ in range(2))
    finally:
        logger.removeHandler(caplog.handler)
    assert first.shape == second.shape == (1, 8)
    assert first[0, -1] == processor.tokenizer.eos_token_id
    assert sum("14 tokens is cut to 8" in record.getMessage() for record in caplog.records) == 1


def test_caption_over_the_limit_is_cut_between_words(caplog):
    processor = letter_processor(model_max_length=12)  # ten letters beside start and end
    inputs = processor(videos=np.zeros((4, 8, 8, 3), np.uint8), ocr_captions=[["shop gate rest", "x", "", ""]])
    texts = processor.tokenizer.batch_decode(inputs["ocr_input_ids"][0], skip_special_tokens=True)
    assert [text.strip() for text in texts] == ["shop gate", "x", "", ""]


def test_max_length_below_the_tokenizers_limit_holds():
    assert letter_processor(max_length=5)(text="abcdefg")["input_ids"].shape == (1, 5)


def test_no_text_is_longer_than_the_tokenizer_allows():
    assert letter_processor(max_length=50)(text="a" * 40)["input_ids"].shape == (1, 16)


def test_siglip_queries_do_not_depend_on_the_batch(tiny_siglip_config):
    vocab = {token: index for index, token in enumerate(["<pad>", "<eos>", "<bos>", "<unk>", *"▁abcdefgh"])}
    tokenizer = Siglip2Tokenizer(vocab=vocab, merges=[], model_max_length=16)
    processor = TCDProcessor(SiglipImageProcessor(size={"height": 16, "width": 16}), tokenizer, num_frames=4)
    model = TCDModel(TCDConfig(backbone_config=tiny_siglip_config.to_dict(), num_frames=4)).eval()
    alone, together = processor(text="a b"), processor(text=["a b", "a b c d e f g"])
    assert set(alone) == {"input_ids"} and alone["input_ids"].shape == (1, 16)
    embeds = model.get_text_features(**together).pooler_output
    torch.testing.assert_close(model.get_text_features(**alone).pooler_output, embeds[:1])


def test_how_texts_are_padded_can_be_said():
    """As of a sentence encoder beside SigLIP's image tower, whose image processor would tell another way."""
    image_processor = SiglipImageProcessor(size={"height": 16, "width": 16})
    ids = {}
    for text_padding in (None, "longest", "max_length"):
        processor = TCDProcessor(image_processor, letter_processor().tokenizer, num_frames=4, text_padding=text_padding)
        ids[text_padding] = dict(processor(text=["a b"]))
    assert ids[None].keys() == ids["max_length"].keys() == {"input_ids"}
    assert ids[None]["input_ids"].shape == ids["max_length"]["input_ids"].shape == (1, 16)
    assert ids["longest"]["input_ids"].shape == ids["longest"]["attention_mask"].shape == (1, 4)


def test_prefixes_of_queries_and_captions():
    processor = letter_processor(query_prefix="q: ", caption_prefix="p: ", ocr_engine=None)
    inputs = processor(text=["gate", "a"], videos=VIDEO, ocr_captions=[["gate", "a", "", ""]])
    decode = processor.tokenizer.batch_decode
    queries = [text.strip() for text in decode(inputs["input_ids"], skip_special_tokens=True)]
    captions = [text.strip() for text in decode(inputs["ocr_input_ids"][0], skip_special_tokens=True)]
    assert queries == ["q : gate", "q : a"]
    assert captions == ["p : gate", "p : a", "", ""]  # of nothing there is nothing to say
    assert inputs["ocr_mask"].tolist() == [[True, True, False, False]]


def test_a_caption_fits_with_its_prefix():
    processor = letter_processor(caption_prefix="p: ", ocr_engine=None)  # 16 tokens: start, end, two, and twelve
    inputs = processor(videos=VIDEO, ocr_captions=[["shop tesco abc gate", "", "", ""]])
    assert inputs["ocr_input_ids"].shape == (1, 4, 16)
    read = processor.tokenizer.decode(inputs["ocr_input_ids"][0, 0], skip_special_tokens=True)
    assert read.strip() == "p : shop tesco abc"


def test_tokenizers_without_a_mask_are_padded_to_their_full_length():
    processor = letter_processor()
    processor.tokenizer.model_input_names = ["input_ids"]  # as SigLIP's
    inputs = processor(text=["a"], videos=np.zeros((4, 8, 8, 3), np.uint8), ocr_captions=[["a", "", "", ""]])
    assert inputs["input_ids"].shape == (1, 16)
    assert inputs["ocr_input_ids"].shape == (1, 4, 16)
    assert "attention_mask" not in inputs and "ocr_attention_mask" not in inputs


def test_extra_outputs_of_the_image_processor_are_kept_per_frame():
    class Patches:  # the shapes SigLIP 2's image processor gives
        def __call__(self, images, return_tensors):
            n = len(images)
            shapes = np.full((n, 2), 4)
            return {
                "pixel_values": np.zeros((n, 16, 48)),
                "pixel_attention_mask": np.ones((n, 16)),
                "spatial_shapes": shapes,
            }

    processor = letter_processor()
    processor.image_processor = Patches()
    inputs = processor(videos=np.zeros((4, 8, 8, 3), np.uint8), ocr_captions=[[""] * 4])
    assert inputs["pixel_values_videos"].shape == (1, 4, 16, 48)
    assert inputs["pixel_attention_mask"].shape == (1, 4, 16)
    assert inputs["spatial_shapes"].shape == (1, 4, 2)


VIDEO = np.stack(coded_frames(8, size=(32, 32)))


def test_options_of_one_call():
    processor = letter_processor(ocr_engine=None)
    inputs = processor(text=["abc", "a"], videos=VIDEO, num_frames=2, max_length=4, return_tensors="np")
    expected = letter_processor(ocr_engine=None, num_frames=2, max_length=4)(text=["abc", "a"], videos=VIDEO)
    for name, value in expected.items():
        np.testing.assert_allclose(inputs[name], value)
    assert inputs["input_ids"].shape == (2, 4)  # start, two letters, end
    assert (processor.num_frames, processor.max_length) == (4, None)


def test_options_by_modality_are_those_one_by_one():
    processor = letter_processor(ocr_engine=None)
    flat = processor(text="abc", videos=VIDEO, fps=2, max_length=9, padding="max_length", return_tensors="np")
    by_modality = processor(
        text="abc",
        videos=VIDEO,
        text_kwargs={"max_length": 9, "padding": "max_length"},
        videos_kwargs={"fps": 2},
        images_kwargs={"do_rescale": True},
        common_kwargs={"return_tensors": "np"},
    )
    for name, value in flat.items():
        np.testing.assert_array_equal(by_modality[name], value)
    raw = processor(videos=VIDEO, images_kwargs={"do_rescale": False, "do_normalize": False})["pixel_values_videos"]
    assert raw.max() == 255


def test_padding_of_queries():
    processor = letter_processor()
    longest = processor(text=["abc", "a"])["input_ids"]
    assert longest.shape == (2, 5)
    for padding in (True, "longest"):
        assert torch.equal(processor(text=["abc", "a"], padding=padding)["input_ids"], longest)
    assert processor(text="abc", padding="max_length")["input_ids"].shape == (1, 16)
    assert processor(text="abc", padding=False)["input_ids"].shape == (1, 5)
    processor.tokenizer.model_input_names = ["input_ids"]  # as SigLIP's, which wants the full length
    assert processor(text="abc", padding=True)["input_ids"].shape == (1, 16)
    processor = letter_processor(max_length=5)
    assert processor(text="abcdefg", truncation=False)["input_ids"].shape == (1, 9)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ValueError, "Nothing to process"),
        ({"text": []}, ValueError, "empty list"),
        ({"text": ""}, ValueError, "Query 0 is empty"),
        ({"text": ["fine", " \n"]}, ValueError, "Query 1 is empty"),
        ({"text": 7}, TypeError, "string or a list of strings, got 7"),
        ({"text": ["a", None]}, TypeError, "list of strings"),
        ({"text": [["a"]]}, TypeError, "list of strings"),
        ({"videos": []}, ValueError, "`videos` is an empty list"),
        ({"videos": 3}, TypeError, "int"),
        ({"videos": "nowhere.mp4"}, VideoReadError, "nowhere.mp4"),
        ({"text": "a", "ocr_captions": [["a"] * 4]}, ValueError, "no `videos`"),
        ({"text": "a", "pading": True}, TypeError, "no option 'pading'; it has .*'padding'"),
        ({"text": "a", "text_kwargs": {"add_eos": True}}, TypeError, "no option 'add_eos'"),
        ({"videos": VIDEO, "num_frames": 0}, ValueError, "`num_frames` must be an int"),
        ({"text": "a", "max_length": 2}, ValueError, "`max_length` must be 3"),
    ],
)
def test_bad_input_is_refused(processor, arguments, error, message):
    with pytest.raises(error, match=message):
        processor(**arguments)


@pytest.mark.parametrize(
    ("captions", "error", "message"),
    [
        ([], ValueError, "captions of 0 videos, but 1"),
        ([["a", "b"]], ValueError, "Video 0 has 2 OCR captions, but there are 4 windows"),
        ([[(0.0, 1.0, "a")]], ValueError, "times, .* `processor.captioner.caption_texts"),
        ([["a", "b", "c", 4]], TypeError, "got int"),
    ],
)
def test_captions_that_do_not_fit_are_refused(processor, captions, error, message):
    with pytest.raises(error, match=message):
        processor(videos=np.zeros((4, 8, 8, 3), np.uint8), ocr_captions=captions)


@pytest.mark.parametrize(
    "options",
    [
        {"num_frames": 0},
        {"window_scale": 1.5},
        {"ocr_engine": "tesseract"},
        {"ocr_options": {"colour": "red"}},
        {"ocr_fps": 0},
        {"min_confidence": 2},
        {"num_frames": "4"},
        {"window_scale": "1"},
        {"max_length": 1},
        {"video_backend": "opencv"},
        {"min_text_height": 1.5},
        {"max_side": 8},
        {"max_pixels": 0},
        {"text_padding": "left"},
        {"query_prefix": None},
        {"caption_prefix": 7},
    ],
)
def test_options_out_of_range_are_refused_at_once(options):
    named = {"ocr_engine": "OCR engine 'tesseract'", "ocr_options": "{'colour': 'red'}"}
    name = next(iter(options))
    with pytest.raises(ValueError, match=named.get(name, name)):
        letter_processor(**options)


def test_every_option_survives_the_round_trip(tmp_path):
    processor = letter_processor(**OPTIONS)
    processor.save_pretrained(tmp_path)
    loaded = TCDProcessor.from_pretrained(tmp_path)
    assert {name: getattr(loaded, name) for name in OPTIONS} == OPTIONS
    assert loaded.captioner.to_dict() == processor.captioner.to_dict()
    assert TCDProcessor.from_pretrained(tmp_path, num_frames=5, ocr_engine=None).num_frames == 5
    assert json.loads((tmp_path / "processor_config.json").read_text())["auto_map"] == {
        "AutoProcessor": "processing_tcd.TCDProcessor"
    }


def test_a_used_processor_copies_pickles_prints_and_saves(sign_clip, tmp_path):
    processor = letter_processor()
    expected = processor(videos=sign_clip)
    assert "rapidocr" in repr(processor)
    processor.save_pretrained(tmp_path)
    for twin in (
        copy.deepcopy(processor),
        pickle.loads(pickle.dumps(processor)),
        TCDProcessor.from_pretrained(tmp_path),
    ):
        inputs = twin(videos=sign_clip)
        for name in expected:
            torch.testing.assert_close(inputs[name], expected[name])


class CannotBeCopied:
    """An engine of the user's that holds what an ONNX session is like."""

    def __call__(self, images):
        return [[TextReading("hello", 0.9, (0.1, 0.1, 0.5, 0.5))] for _ in images]

    def __deepcopy__(self, memo):
        raise TypeError("cannot copy")

    __reduce__ = None


def test_an_engine_object_is_saved_by_name_and_given_again(tmp_path, caplog):
    engine = CannotBeCopied()
    processor = letter_processor(ocr_engine=engine)
    assert processor.caption(np.zeros((4, 8, 8, 3), np.uint8), fps=4)[0][0].text == "hello"
    assert "CannotBeCopied" in repr(processor) and not caplog.messages
    processor.save_pretrained(tmp_path)
    assert processor.ocr_engine is engine
    loaded = TCDProcessor.from_pretrained(tmp_path)
    told = [message for message in caplog.messages if "of class" in message]
    assert len(told) == 2 and all("CannotBeCopied" in message for message in told)
    assert loaded.ocr_engine is None
    with pytest.raises(ValueError, match="no OCR engine"):
        loaded.caption(np.zeros((4, 8, 8, 3), np.uint8))
    loaded.ocr_engine = engine
    assert loaded.caption(np.zeros((4, 8, 8, 3), np.uint8), fps=4)[0][0].text == "hello"
    caplog.clear()
    assert TCDProcessor.from_pretrained(tmp_path, ocr_engine="rapidocr").ocr_engine == "rapidocr"
    assert not caplog.messages


# What version 0.1 wrote before readings had `min_text_height` and `max_side`.
FORMER_CONFIG = {
    "auto_map": {"AutoProcessor": "processing_tcd.TCDProcessor"},
    "image_processor": {
        "auto_map": {"AutoProcessor": "processing_tcd.TCDProcessor"},
        "crop_size": {"height": 16, "width": 16},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_processor_type": "CLIPImageProcessor",
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"shortest_edge": 16},
    },
    "max_length": 9,
    "max_pixels": 1048576,
    "min_confidence": 0.25,
    "num_frames": 3,
    "ocr_engine": "doctr",
    "ocr_fps": 3.5,
    "ocr_options": {"num_threads": 1},
    "processor_class": "TCDProcessor",
    "reading_interval": 1.5,
    "video_backend": "pyav",
    "window_scale": 0.5,
}


@pytest.mark.parametrize("engine", ["doctr", None, "CannotBeCopied"])
def test_processors_saved_before_load(tmp_path, engine):
    letter_processor().tokenizer.save_pretrained(tmp_path)
    (tmp_path / "processor_config.json").write_text(json.dumps({**FORMER_CONFIG, "ocr_engine": engine}))
    loaded = TCDProcessor.from_pretrained(tmp_path)
    known = None if engine == "CannotBeCopied" else engine
    later = {"query_prefix": "", "caption_prefix": "", "text_padding": None}
    expected = {**OPTIONS, **later, "min_text_height": 0.01, "max_side": 1280, "ocr_engine": known}
    if engine == "CannotBeCopied":
        expected["ocr_options"] = None
    assert {name: getattr(loaded, name) for name in OPTIONS} == expected
    assert loaded(text="a", videos=np.zeros((4, 8, 8, 3), np.uint8), ocr_captions=[[""] * 3])["ocr_mask"].shape == (
        1,
        3,
    )


def prepare(batch, processor):
    inputs = processor(videos=batch["video"], return_tensors="np")
    return {"pixel_values_videos": inputs["pixel_values_videos"], "ocr_mask": inputs["ocr_mask"]}


def test_datasets_map_with_worker_processes(sign_clip, tmp_path):
    processor = letter_processor(ocr_options={"num_threads": 1})
    expected = processor(videos=sign_clip)  # the engine is loaded in this process before the workers start
    dataset = Dataset.from_dict({"video": [str(sign_clip)] * 2})
    prepared = dataset.map(prepare, batched=True, num_proc=2, fn_kwargs={"processor": processor}).with_format("torch")
    assert prepared["ocr_mask"][:].tolist() == expected["ocr_mask"].tolist() * 2
    torch.testing.assert_close(prepared[1]["pixel_values_videos"], expected["pixel_values_videos"][0])
