"""The script that makes the checkpoint inside the package: its tokenizer, its start, its loss, and a run in small."""

import copy
import json
import math

import pytest
import torch
import yaml

pytest.importorskip("faker")
pytest.importorskip("english_words")

from tcd_hf.data.text_pairs import TextPair, TextPairGenerator
from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.processing.processing_tcd import TCDProcessor
from tests.conftest import assert_computed_alike

CONFIG = {
    "seed": 0,
    "threads": 1,
    "vocab_size": 900,
    "corpus_pairs": 300,
    "model": {
        "projection_dim": 256,
        "text": {"hidden_size": 256, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4},
        "vision": {
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 16,
        },
    },
    "scale": 20.0,
    "tokenizer_variants": {"share": 0.1, "count": 2},
    "warm_up": {"steps": 30, "batch_size": 32, "learning_rate": 3e-3, "weight_learning_rate": 1e-2},
    "train": {"steps": 3, "batch_size": 16, "learning_rate": 1e-4, "rise_steps": 1},
    "validation": {"pairs": 60, "every": 30},
}


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [text for pair in TextPairGenerator(0).take(300) for text in (pair.query, pair.caption)]


@pytest.fixture(scope="module")
def tokenizer(texts):
    from scripts.train_mini import backbone

    return backbone.train_tokenizer(texts, 900)


@pytest.fixture(scope="module")
def model(texts, tokenizer):
    from scripts.train_mini import backbone

    return backbone.build_model(tokenizer, texts, CONFIG["model"], seed=0).eval()


class TestTokenizer:
    @pytest.mark.parametrize("text", ["TESCO express", "a\tb  c", "AB12 CDE £4.99", "東京 ąę Ωμ", "\x00\x7f", "🙂"])
    def test_no_text_is_unknown_or_cut_short(self, tokenizer, text):
        ids = tokenizer(text)["input_ids"]
        assert (ids[0], ids[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
        assert tokenizer.eos_token_id not in ids[1:-1]

    def test_vocabulary_is_laid_out_as_clip_does(self, tokenizer):
        tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
        assert len(tokens) == 900
        assert tokens[0] == "!" and tokens[256] == "!</w>"
        assert tokens[-2:] == ["<|startoftext|>", "<|endoftext|>"]

    def test_case_does_not_matter(self, tokenizer):
        assert tokenizer("TESCO Express")["input_ids"] == tokenizer("tesco express")["input_ids"]

    def test_spellings_join_to_the_text(self, tokenizer):
        from scripts.train_mini.backbone import token_spellings

        spellings = token_spellings(tokenizer)
        assert "".join(spellings[i] for i in tokenizer("The Store, 7 am")["input_ids"]) == "the store , 7 am "

    def test_variants_cut_words_differently_and_lose_nothing(self, tokenizer):
        from scripts.train_mini.backbone import token_spellings, tokenizer_variants

        text, spellings = "a sign that says welcome to the store", token_spellings(tokenizer)
        variants = tokenizer_variants(tokenizer, share=0.3, count=3, seed=0)
        cuts = [tuple(variant(text)["input_ids"]) for variant in variants]
        assert len({*cuts, tuple(tokenizer(text)["input_ids"])}) > 1
        assert {"".join(spellings[i] for i in cut) for cut in cuts} == {text + " "}
        again = tokenizer_variants(tokenizer, share=0.3, count=3, seed=0)
        assert [tuple(variant(text)["input_ids"]) for variant in again] == cuts


class TestStart:
    def test_tower_starts_as_the_weighted_bag(self, model, tokenizer, texts):
        from scripts.train_mini.backbone import CONTENT_DIMS, WEIGHT_DIM, set_token_embeddings
        from scripts.train_mini.text import encode_bag, encode_tower

        model = copy.deepcopy(model)
        table = model.text_model.embeddings.token_embedding.weight.detach()
        content, weight = table[:, CONTENT_DIMS].clone(), table[:, WEIGHT_DIM].clone()
        context = 0.7 * torch.randn(len(table), 3, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            set_token_embeddings(model, content, weight, context)
            tower = encode_tower(model, tokenizer, texts[:50])
            bag = encode_bag(content, weight, context, tokenizer, texts[:50])
            without = encode_bag(content, weight, 0 * context, tokenizer, texts[:50])
        # the projection keeps angles: compare all cosines; layer norms do not keep the bag's weights to the last digit
        error, difference = (((tower @ tower.T) - (other @ other.T)).norm() for other in (bag, without))
        assert error < 0.3 * difference

    def test_like_spelling_is_near(self, model, tokenizer):
        from scripts.train_mini.text import encode_tower

        with torch.no_grad():
            word, misread, other = encode_tower(model, tokenizer, ["gronvalia", "gronva1ia", "besktum"])
        assert word @ misread > word @ other + 0.2

    def test_heads_look_back(self, model, tokenizer):
        model.set_attn_implementation("eager")
        inputs = tokenizer("one two three four five six seven", return_tensors="pt")
        with torch.no_grad():
            attention = model.text_model(**inputs, output_attentions=True).attentions[0][0]
        model.set_attn_implementation("sdpa")
        for head in range(3):
            looked_at = attention[head].argmax(-1)[head + 1 : -1]  # the end of text has no content, it only pools
            assert looked_at.tolist() == list(range(len(looked_at)))

    def test_untrained_frames_are_turned_away_from_texts(self, texts, tokenizer):
        from scripts.train_mini.backbone import build_model, quieten_vision
        from scripts.train_mini.text import encode_tower

        model = build_model(tokenizer, texts, CONFIG["model"], seed=0).eval()
        frames = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            text_embeds = encode_tower(model, tokenizer, texts[:100])
            before = text_embeds @ model.get_image_features(frames).pooler_output.T
            quieten_vision(model, text_embeds)
            after = text_embeds @ model.get_image_features(frames).pooler_output.T
        assert after.abs().max() < 0.05 * before.abs().max()


def test_loss_by_hand():
    """Two of three captions are equal: for their queries both are right, and for them both queries."""
    from scripts.train_mini.text import contrastive_loss

    pairs = [TextPair("q", caption, "none", 0) for caption in ("", "", "TESCO")]
    cosines = torch.tensor([[0.5, 0.1, 0.2], [0.3, 0.4, 0.0], [0.1, 0.0, 0.6]])
    e = (2.0 * cosines).exp()
    by_query = -((e[0, 0] + e[0, 1]) / e[0].sum()).log() - ((e[1, 0] + e[1, 1]) / e[1].sum()).log()
    by_caption = -((e[0, 0] + e[1, 0]) / e[:, 0].sum()).log() - ((e[0, 1] + e[1, 1]) / e[:, 1].sum()).log()
    last = -(e[2, 2] / e[2].sum()).log() - (e[2, 2] / e[:, 2].sum()).log()
    loss = contrastive_loss(cosines, torch.eye(3), pairs, scale=2.0)
    assert math.isclose(loss.item(), ((by_query + by_caption + last) / 6).item(), rel_tol=1e-5)


def test_stray_caption_is_wrong_for_every_query():
    from scripts.train_mini.text import contrastive_loss

    pairs = [TextPair("q", "a", "words", 0)]
    query, captions = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    loss = contrastive_loss(query, captions, pairs, scale=3.0)
    assert math.isclose(loss.item(), math.log(1 + math.exp(-3)) / 2, rel_tol=1e-5)


def test_encoding_does_not_depend_on_order_or_chunks(model, tokenizer, texts):
    from scripts.train_mini.text import encode_tower

    with torch.no_grad():
        whole = encode_tower(model, tokenizer, texts[:20], chunk_size=20)
        pieces = encode_tower(model, tokenizer, texts[:20][::-1], chunk_size=3).flip(0)
    torch.testing.assert_close(whole, pieces, atol=1e-5, rtol=1e-4)


def test_run_in_small(tmp_path, monkeypatch):
    """One command makes a checkpoint that loads; the same command makes the same checkpoint; the warm-up learns."""
    from scripts.train_mini import text

    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    (tmp_path / "mini.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    for name in ("first", "second"):
        text.main(["--config", str(tmp_path / "mini.yaml"), "--output", str(tmp_path / name)])

    first, second = (TCDModel.from_pretrained(tmp_path / name) for name in ("first", "second"))
    assert {weight.dtype for weight in first.state_dict().values()} == {torch.float16}
    tokenizers = [(tmp_path / name / "tokenizer.json").read_text(encoding="utf-8") for name in ("first", "second")]
    assert tokenizers[0] == tokenizers[1]
    processor = TCDProcessor.from_pretrained(tmp_path / "first")
    # What is trained in float32 is the same to rounding, and not weight by weight: some have no say.
    inputs = processor(text=["way out", "TESCO express", "the gate b4", "12:30"])
    with torch.inference_mode():
        embeds = [model.float().get_text_features(**inputs).pooler_output for model in (first, second)]
    assert_computed_alike(*embeds, atol=1e-3)
    assert processor.tokenizer.model_max_length == 77 and processor.image_processor.size == {"shortest_edge": 32}
    assert not list((tmp_path / "first").glob("*.py"))
    lines = [json.loads(line) for line in (tmp_path / "first" / "training_log_text.jsonl").read_text().splitlines()]
    assert [line["phase"] for line in lines] == ["start", "warm_up", "warm_up", "train", "train"]
    start, end = (line for line in lines if line["phase"] == "warm_up")
    assert end["all"] > start["all"]
