"""Text towers embed as sentence-transformers does with the same folder: its pooling, its prompts, its length limit."""

import json
import logging
import shutil

import numpy as np
import pytest
import torch

pytest.importorskip("sentence_transformers")
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling

from tcd_hf import TCDModel, TCDProcessor
from tcd_hf.modeling.sentence_pooling import read_pooling
from tests.towers import TEXT_CONFIGS, make_tower, save_towers, word_tokenizer

TEXTS = ["the store tesco express at gate b4", "open", "a shop : star wars , open at the gate ."]
PROMPTS = {"query": "query : ", "passage": "passage : "}


@pytest.fixture(autouse=True)
def quiet(caplog):
    """sentence-transformers tells each file that it opens."""
    caplog.set_level(logging.ERROR)


def write_encoder(folder, family="BERT", pooling="mean", more=(), **options):
    """A sentence encoder as its own library writes it, and that encoder; and the folder of an image encoder."""
    plain, images = save_towers(folder, family)
    modules = [Transformer(str(plain)), Pooling(32, pooling), *more]
    encoder = SentenceTransformer(modules=modules, device="cpu", **options)
    encoder.save_pretrained(str(folder / "encoder"))
    return folder / "encoder", SentenceTransformer(str(folder / "encoder"), device="cpu"), images


def embed(texts, images, queries, **options) -> np.ndarray:
    """Queries as a model and a processor on that encoder embed them."""
    model = TCDModel.from_backbone(text=texts, image=images, num_frames=4, **options)
    processor = TCDProcessor.from_backbone(text=texts, image=images, num_frames=4)
    with torch.no_grad():
        return model.get_text_features(**processor(text=queries)).pooler_output.numpy()


@pytest.mark.parametrize(
    ("family", "pooling"),
    [
        *(
            (family, pooling)
            for family in TEXT_CONFIGS
            for pooling in ("mean", "cls", "lasttoken")
            if family != "Qwen3"
        ),
        ("Qwen3", "lasttoken"),  # of a decoder the first token says nothing
    ],
)
def test_embeds_as_sentence_transformers(tmp_path, family, pooling):
    texts, encoder, images = write_encoder(tmp_path, family, pooling)
    found = embed(texts, images, TEXTS)
    np.testing.assert_allclose(found, encoder.encode(TEXTS, normalize_embeddings=True), atol=2e-6)
    assert (found @ found.T)[np.triu_indices(3, 1)].max() < 0.95  # they differ


def test_queries_and_captions_get_their_prompts(tmp_path):
    texts, encoder, images = write_encoder(tmp_path, more=[Normalize()], prompts=PROMPTS)
    np.testing.assert_allclose(embed(texts, images, TEXTS), encoder.encode_query(TEXTS), atol=2e-6)
    model = TCDModel.from_backbone(text=texts, image=images, num_frames=4)
    processor = TCDProcessor.from_backbone(text=texts, image=images, num_frames=4)
    inputs = processor(videos=np.zeros((4, 16, 16, 3), np.uint8), fps=4.0, ocr_captions=[[*TEXTS, ""]])
    with torch.no_grad():
        windows = model.get_video_features(**inputs).ocr_embeds[0, :3]
    np.testing.assert_allclose(windows, encoder.encode(TEXTS, prompt_name="passage"), atol=2e-6)
    without = encoder.encode(TEXTS, prompt_name=None)
    assert np.abs(windows.numpy() - without).max() > 0.1


def test_another_pooling_can_be_asked_for(tmp_path):
    texts, _, images = write_encoder(tmp_path, pooling="max")
    with pytest.raises(ValueError, match=r"pools by \['max'\]; known is one of .* give `text_pooling`"):
        embed(texts, images, TEXTS)
    _, encoder, _ = write_encoder(tmp_path / "other", pooling="cls")
    found = embed(texts, images, TEXTS, text_pooling="cls")
    np.testing.assert_allclose(found, encoder.encode(TEXTS, normalize_embeddings=True), atol=2e-6)


def test_modules_that_are_more_than_pooling(tmp_path):
    texts, _, images = write_encoder(tmp_path, more=[Dense(32, 16)])
    with pytest.raises(ValueError, match=r"is made of \['Transformer', 'Pooling', 'Dense'\]"):
        embed(texts, images, TEXTS)
    assert embed(texts, images, TEXTS, text_pooling="mean").shape == (3, 32)


def test_folders_of_older_releases(tmp_path):
    """Flags in place of a mode, other names of modules, and the encoder in a folder of its own."""
    texts, encoder, images = write_encoder(tmp_path, pooling="cls")
    older = tmp_path / "older"
    shutil.copytree(texts, older / "0_Transformer", ignore=shutil.ignore_patterns("1_Pooling", "modules.json"))
    (older / "1_Pooling").mkdir()
    flags = {"word_embedding_dimension": 32, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (older / "1_Pooling" / "config.json").write_text(json.dumps(flags))
    names = ["Transformer", "Pooling"]
    modules = [
        {"idx": i, "name": str(i), "path": f"{i}_{name}", "type": f"sentence_transformers.models.{name}"}
        for i, name in enumerate(names)
    ]
    (older / "modules.json").write_text(json.dumps(modules))
    assert read_pooling(older, {}) == ("cls", "0_Transformer")
    expected = encoder.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(embed(older, images, TEXTS), expected, atol=2e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pooling_mode": ["mean", "cls"]}, r"pools by \['mean', 'cls'\]"),
        ({"pooling_mode": "mean", "include_prompt": False}, "without the tokens of its prompt"),
        ({"pooling_mode": "weightedmean"}, "weightedmean"),
    ],
)
def test_settings_that_no_backbone_has(tmp_path, settings, message):
    texts, _, _ = write_encoder(tmp_path)
    (texts / "1_Pooling" / "config.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=message):
        read_pooling(texts, {})


def test_an_encoder_without_modules_is_averaged(tmp_path):
    texts, _ = save_towers(tmp_path)
    assert read_pooling(texts, {}) == ("mean", "")
    make_tower("BERT").save_pretrained(tmp_path / "bare")
    assert read_pooling(tmp_path / "bare", {}).pooling == "mean"


def test_long_texts_are_cut_where_it_cuts_them(tmp_path):
    texts, encoder, images = write_encoder(tmp_path)
    settings = json.loads((texts / "sentence_bert_config.json").read_text())
    (texts / "sentence_bert_config.json").write_text(json.dumps({**settings, "max_seq_length": 6}))
    encoder = SentenceTransformer(str(texts), device="cpu")
    assert encoder.max_seq_length == 6
    expected = encoder.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(embed(texts, images, TEXTS), expected, atol=2e-6)


def test_letters_are_made_small_where_it_makes_them_small(tmp_path):
    texts, _, images = write_encoder(tmp_path)
    word_tokenizer(do_lower_case=False).save_pretrained(texts)
    for small in (False, True):
        settings = json.loads((texts / "sentence_bert_config.json").read_text())
        (texts / "sentence_bert_config.json").write_text(json.dumps({**settings, "do_lower_case": small}))
        processor = TCDProcessor.from_backbone(text=texts, image=images)
        tokens = processor.tokenizer.tokenize("OPEN")
        assert tokens == (["open"] if small else ["[UNK]"])
        processor.save_pretrained(tmp_path / "saved")
        assert TCDProcessor.from_pretrained(tmp_path / "saved").tokenizer.tokenize("OPEN") == tokens
