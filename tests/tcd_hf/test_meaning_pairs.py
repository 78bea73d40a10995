"""Generated meaning pairs: repeatable, split by concept, and without the words of what they mean."""

import re

import numpy as np
import pytest

pytest.importorskip("faker")
pytest.importorskip("english_words")

from tcd_hf.data.meaning_material import FRAMES, SIGN_CONCEPTS, Concept
from tcd_hf.data.meaning_pairs import MeaningPairGenerator, content_words, meaning_recall, split_concepts
from tcd_hf.data.text_pairs import TextPair

SHOP = Concept("place", ("ALPHA",), ("where one buys letters",))


@pytest.fixture(scope="module")
def generator() -> MeaningPairGenerator:
    return MeaningPairGenerator(seed=3)


@pytest.fixture(scope="module")
def pairs(generator) -> list[TextPair]:
    return generator.take(len(generator.concepts))


class TestMaterial:
    def test_no_meaning_has_a_word_of_its_texts(self):
        for concept in SIGN_CONCEPTS:
            stems = {word[:5] for text in concept.texts for word in re.findall(r"[a-z]{4,}", text.lower())}
            for meaning in concept.meanings:
                told = {word[:5] for word in re.findall(r"[a-z]{4,}", meaning.lower())}
                assert not stems & told - {"house", "this"}, (concept.texts, meaning)

    def test_every_concept_is_complete(self):
        assert len(SIGN_CONCEPTS) > 300
        assert {concept.kind for concept in SIGN_CONCEPTS} == set(FRAMES)
        assert all(concept.texts and concept.meanings and all(concept.texts) for concept in SIGN_CONCEPTS)
        assert all(frame.count("{m}") == 1 for frames in FRAMES.values() for frame in frames)

    def test_no_text_stands_for_two_concepts(self):
        texts = [text for concept in SIGN_CONCEPTS for text in concept.texts]
        assert len(texts) == len(set(texts))


class TestSplit:
    def test_splits_share_no_concept_and_no_word(self):
        train, held_out = (split_concepts(SIGN_CONCEPTS, split) for split in (False, True))
        assert len(train) > len(held_out) > 80
        words = [
            {word for concept in split for text in concept.texts for word in content_words(text)}
            for split in (train, held_out)
        ]
        assert not words[0] & words[1]

    def test_other_concepts_keep_clear_of_held_out_signs(self):
        held_out = split_concepts(SIGN_CONCEPTS, held_out=True)
        copies = [Concept("thing", ("A" * (n + 4), *each.texts), ("something",)) for n, each in enumerate(held_out)]
        for concept in split_concepts(copies, held_out=False):
            assert not any(content_words(text) for text in concept.texts[1:])

    def test_an_empty_split_is_refused(self):
        held_out = bool(split_concepts([SHOP], held_out=True))
        with pytest.raises(ValueError, match="Of these 1 concepts none"):
            MeaningPairGenerator(held_out=not held_out, concepts=[SHOP])
        assert MeaningPairGenerator(held_out=held_out, concepts=[SHOP]).take(1)[0].kind == "place"


class TestPairs:
    def test_same_seed_same_pairs(self, pairs):
        assert MeaningPairGenerator(seed=3).take(50) == pairs[:50]
        assert MeaningPairGenerator(seed=4).take(50) != pairs[:50]

    def test_every_concept_comes_once_before_any_comes_again(self, generator, pairs):
        assert sorted(pair.group for pair in pairs) == list(range(len(generator.concepts)))

    def test_query_holds_a_meaning_and_the_caption_a_text(self, generator, pairs):
        for pair in pairs:
            concept = generator.concepts[pair.group]
            assert pair.kind == concept.kind
            assert any(meaning.lower() in pair.query.lower() for meaning in concept.meanings)
            assert any(text.lower() in pair.written.lower() for text in concept.texts)

    def test_captions_are_read_with_slips_and_hold_other_texts(self, generator, pairs):
        assert 0.2 < sum(pair.caption != pair.written for pair in pairs) / len(pairs) < 0.9
        texts = [" ".join(generator.concepts[pair.group].texts) for pair in pairs]
        assert sum(len(pair.written) > len(text) for pair, text in zip(pairs, texts, strict=True)) > len(pairs) / 2

    def test_sentences_vary(self, pairs):
        assert len({pair.query.split()[0].lower() for pair in pairs}) > 20


class TestRecall:
    def pair(self, group: int) -> TextPair:
        return TextPair("q", "c", "place", group)

    def test_by_hand(self):
        pairs = [self.pair(0), self.pair(1), self.pair(0)]
        similarity = np.array(
            [
                [0.1, 0.5, 0.9],  # the other caption of its concept is first
                [0.2, 0.2, 0.1],  # a tie with a wrong one
                [0.1, 0.4, 0.3],  # a wrong one is first
            ]
        )
        assert meaning_recall(similarity, pairs) == pytest.approx(1 / 3)

    def test_all_right(self):
        assert meaning_recall(np.eye(3), [self.pair(number) for number in range(3)]) == 1.0
