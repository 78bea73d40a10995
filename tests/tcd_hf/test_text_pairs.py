"""Generated text pairs: repeatable, split by word, and honest about what their captions contain."""

import itertools
import random
import re
from difflib import SequenceMatcher

import pytest

pytest.importorskip("faker")
pytest.importorskip("english_words")

from tcd_hf.data.ocr_noise import OCRNoise
from tcd_hf.data.text_material import is_held_out, text_material
from tcd_hf.data.text_pairs import KIND_WEIGHTS, TextPairGenerator

POOLS = ("dictionary", "common", "foreign", "first", "last", "cities", "countries", "other_scripts")


@pytest.fixture(scope="module")
def generator() -> TextPairGenerator:
    return TextPairGenerator(seed=3)


@pytest.fixture(scope="module")
def pairs(generator):
    return generator.take(4000)


def letters(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum())


class TestOCRNoise:
    words = ("The", "quick", "brown", "fox", "jumps", "over", "13", "lazy", "dogs", "near", "TESCO", "express")

    def test_level_zero_leaves_words_alone(self):
        assert OCRNoise(0.0)(self.words, random.Random(0)) == list(self.words)

    def test_damage_grows_with_level(self):
        def lost(level):
            rng = random.Random(0)
            return sum(len(set(self.words) - set(OCRNoise(level)(self.words, rng))) for _ in range(200))

        assert 0 < lost(0.05) < lost(0.2) < lost(0.5)

    @pytest.mark.parametrize(("character", "look_alikes"), [("B", "8R3"), ("0", "OoQD")])
    def test_a_single_character_becomes_a_look_alike(self, character, look_alikes):
        read = {OCRNoise(1.0).damage(character, random.Random(seed)) for seed in range(50)}
        assert read == set(look_alikes)

    def test_one_slip_adds_a_character_at_most_and_leaves_half_of_a_word(self):
        read = {OCRNoise(1.0).damage("TESCO", random.Random(seed)) for seed in range(300)}
        assert {len(word) for word in read} == {3, 4, 5, 6}
        assert all(word in "TESCO" for word in read if len(word) == 3)  # cut off, not mixed up
        assert {"TESO", "TESSCO", "TES CO"} <= read  # dropped, doubled, split

    def test_words_merge_without_a_letter_lost(self):
        noise = OCRNoise(1.0)
        noise.damage = lambda word, rng: word
        read = noise(["TESCO"] * 200, random.Random(0))
        assert set(re.split("(?<=O)(?=T)", "".join(read))) == {"TESCO"}
        assert any(word.startswith("TESCOTESCO") for word in read)

    def test_level_is_checked(self):
        with pytest.raises(ValueError, match=r"0-1, got 2"):
            OCRNoise(2)


class TestMaterial:
    @pytest.fixture
    def held_out(self):
        return text_material(held_out=True)

    @pytest.mark.parametrize("pool", POOLS)
    def test_splits_share_no_word(self, generator, held_out, pool):
        train, validation = getattr(generator.material, pool), getattr(held_out, pool)
        assert len(train) > 3 * len(validation) > 0
        assert not any(is_held_out(word) for text in train for word in text.split())
        assert all(is_held_out(word) for text in validation for word in text.split())

    def test_invented_words_are_split_too(self, held_out):
        rng = random.Random(0)
        assert all(is_held_out(held_out.invented(rng)) for _ in range(100))

    def test_forms(self, generator):
        material, rng = generator.material, random.Random(0)
        assert all(re.fullmatch(r"[A-Z0-9 -]{3,13}", material.plate(rng)) for _ in range(200))
        assert all(any(c.isdigit() for c in material.price(rng)) for _ in range(200))
        assert all(len(re.findall(r"\d+", material.score(rng))) >= 2 for _ in range(200))


class TestPairs:
    def test_same_seed_same_pairs(self, pairs):
        assert TextPairGenerator(seed=3).take(200) == pairs[:200]
        assert TextPairGenerator(seed=4).take(200) != pairs[:200]

    def test_iteration_is_the_same_sequence(self, pairs):
        first = list(itertools.islice(TextPairGenerator(seed=3), 40))
        assert [(p.query, p.caption) for p in first] == [(p.query, p.caption) for p in pairs[:40]]

    def test_every_kind_occurs(self, pairs):
        assert {pair.kind for pair in pairs} == {*KIND_WEIGHTS, "none"}

    def test_every_query_says_something(self):
        pairs = TextPairGenerator(seed=1, no_text_share=0.5).take(4000)
        assert any(pair.kind == "none" for pair in pairs)
        assert all(pair.query.strip() for pair in pairs)

    def test_only_queries_without_mention_have_empty_captions(self, pairs):
        assert all(pair.caption == "" for pair in pairs if pair.kind == "none")
        assert sum(pair.caption == "" for pair in pairs if pair.kind != "none") < 0.01 * len(pairs)

    def test_caption_holds_what_the_query_mentions(self, pairs):
        """More of a caption's letter trigrams occur in its own query than in the query of another group."""

        def overlap(query, caption):
            query, caption = letters(query), letters(caption)
            grams = {query[i : i + 3] for i in range(len(query) - 2)}
            return sum(gram in caption for gram in grams)

        told = [pair for pair in pairs if pair.kind != "none"]
        strangers = told[len(told) // 2 :] + told[: len(told) // 2]
        won = [overlap(a.query, a.caption) > overlap(b.query, a.caption) for a, b in zip(told, strangers, strict=True)]
        assert sum(won) / len(won) > 0.85

    def test_siblings_share_most_words_and_differ(self, pairs):
        groups = [list(group) for _, group in itertools.groupby(pairs, key=lambda pair: pair.group)]
        told = [group for group in groups if group[0].kind != "none"]
        assert {len(group) for group in groups} == {4}
        assert sum(len({letters(pair.query) for pair in group}) > 1 for group in told) > 0.98 * len(told)
        shared = [
            len(set(a.query.lower().split()) & set(b.query.lower().split())) / len(a.query.split()) for a, b, *_ in told
        ]
        assert sum(shared) / len(shared) > 0.5

    def test_what_is_written_is_what_was_read_before_the_slips(self, pairs):
        told = [pair for pair in pairs if pair.kind != "none"]
        assert 0.2 < sum(pair.written == pair.caption for pair in told) / len(told) < 0.8
        alike = [SequenceMatcher(None, pair.written, pair.caption).ratio() for pair in told[:300]]
        assert sum(ratio > 0.8 for ratio in alike) > 0.9 * len(alike)

    def test_kinds_as_often_as_told(self):
        pairs = TextPairGenerator(seed=1, no_text_share=0.0, kind_weights={"plate": 3, "other_script": 1}).take(2000)
        assert 0.65 < sum(pair.kind == "plate" for pair in pairs) / 2000 < 0.85
        assert {pair.kind for pair in pairs} == {"plate", "other_script"}
        with pytest.raises(ValueError, match="no kind of text is called"):
            TextPairGenerator(kind_weights={"plates": 1})

    def test_group_size_is_checked(self):
        with pytest.raises(ValueError, match="siblings=0"):
            TextPairGenerator(siblings=0)
