"""Processors of named encoders: what the files of a sentence encoder say. Its embeddings: test_sentence_pooling.py."""

import json

import pytest
from transformers import AutoTokenizer, ConvNextImageProcessor

from tcd_hf import TCDProcessor
from tests.towers import save_towers, word_tokenizer

LONG = "the store " * 200


@pytest.fixture
def encoder(tmp_path):
    """Folders of a text encoder and an image encoder; the former is changed by `write`."""
    return save_towers(tmp_path)


def write(folder, file: str, **content):
    (folder / file).write_text(json.dumps(content))


def prefixes(encoder) -> tuple[str, str]:
    processor = TCDProcessor.from_backbone(text=encoder[0], image=encoder[1])
    return processor.query_prefix, processor.caption_prefix


def test_without_files_of_sentence_transformers(encoder):
    processor = TCDProcessor.from_backbone(text=encoder[0], image=encoder[1], num_frames=4)
    assert type(processor.image_processor).__name__ == "ConvNextImageProcessor"
    assert (processor.query_prefix, processor.caption_prefix, processor.text_padding) == ("", "", "longest")
    assert (processor.num_frames, processor.max_length) == (4, 40)  # as its tokenizer says
    assert set(processor(text=["a shop"])) == {"input_ids", "attention_mask"}  # the tokenizer has `token_type_ids`


@pytest.mark.parametrize(
    ("own", "of_tokenizer", "limit"), [(20, 40, 20), (256, 512, 128), (None, 10**30, 128), (64, 40, 40)]
)
def test_the_limit_is_the_encoders_own_but_bounded(encoder, own, of_tokenizer, limit):
    word_tokenizer(model_max_length=of_tokenizer).save_pretrained(encoder[0])
    write(encoder[0], "sentence_bert_config.json", max_seq_length=own, do_lower_case=False)
    processor = TCDProcessor.from_backbone(text=encoder[0], image=encoder[1])
    assert processor.max_length == limit
    assert processor(text=[LONG])["input_ids"].shape == (1, limit)
    longer = TCDProcessor.from_backbone(text=encoder[0], image=encoder[1], max_length=30)
    assert longer(text=[LONG])["input_ids"].shape == (1, 30)


@pytest.mark.parametrize(
    ("saved", "expected"),
    [
        ({"prompts": {"query": "query: ", "passage": "passage: "}}, ("query: ", "passage: ")),
        ({"prompts": {"query": "query: ", "document": "", "passage": "passage: "}}, ("query: ", "passage: ")),
        ({"prompts": {"query": "find: ", "document": ""}}, ("find: ", "")),
        ({"prompts": {"s2p_query": "find: ", "sts": "same: "}, "default_prompt_name": "s2p_query"}, ("find: ", "")),
        ({"prompts": {"sts": "same: "}, "default_prompt_name": None}, ("", "")),
        ({"__version__": {}}, ("", "")),
    ],
)
def test_prompts_are_prefixes(encoder, saved, expected):
    write(encoder[0], "config_sentence_transformers.json", **saved)
    assert prefixes(encoder) == expected


def test_options_given_come_first(encoder, tmp_path):
    write(encoder[0], "config_sentence_transformers.json", prompts={"query": "find: "})
    processor = TCDProcessor.from_backbone(text=encoder[0], image=encoder[1], query_prefix="query: ", ocr_engine=None)
    assert processor.query_prefix == "query: "
    processor.save_pretrained(tmp_path / "saved")
    assert TCDProcessor.from_pretrained(tmp_path / "saved").query_prefix == "query: "


def test_parts_that_are_loaded_already(encoder):
    tokenizer, image_processor = AutoTokenizer.from_pretrained(encoder[0]), ConvNextImageProcessor()
    processor = TCDProcessor.from_backbone(text=tokenizer, image=image_processor)
    assert processor.tokenizer is tokenizer and processor.image_processor is image_processor
    assert (processor.text_padding, processor.max_length) == ("longest", None)


def test_letters_that_cannot_be_made_small(encoder):
    write(encoder[0], "sentence_bert_config.json", do_lower_case=True)
    tokenizer = json.loads((encoder[0] / "tokenizer_config.json").read_text())
    write(encoder[0], "tokenizer_config.json", **{**tokenizer, "tokenizer_class": "TokenizersBackend"})
    state = json.loads((encoder[0] / "tokenizer.json").read_text())
    write(encoder[0], "tokenizer.json", **{**state, "normalizer": None})
    with pytest.raises(ValueError, match=r"wants all letters small \(`do_lower_case`\), which its tokenizer, a "):
        TCDProcessor.from_backbone(text=encoder[0], image=encoder[1])
