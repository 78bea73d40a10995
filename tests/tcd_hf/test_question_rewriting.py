import json
import shutil

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from tcd_hf.data.question_rewriting import INSTRUCTION, QuestionRewriter

PAIRS = [("What is written on the road?", "CARS ONLY"), ("Who?", "Ann"), ("Which day is it?", "Day 1")]
WORDS = f"{INSTRUCTION}: question: answer: statement: {' '.join(text for pair in PAIRS for text in pair)}".split()
CHAT_TEMPLATE = "{% for message in messages %}Who? {{ message['content'] }} Ann {% endfor %}"


def save_model(folder, chat_template=None):
    """A language model of some thousand random weights that knows the words of the questions."""
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys(["<end>", "<unknown>", *WORDS]))}
    tokens = Tokenizer(WordLevel(vocabulary, unk_token="<unknown>"))
    tokens.pre_tokenizer = WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokens, eos_token="<end>", unk_token="<unknown>")
    tokenizer.chat_template = chat_template
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(vocabulary),
        n_positions=128,
        n_embd=32,
        n_layer=2,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
        tie_word_embeddings=False,
        initializer_range=0.5,  # far from uniform: what is said depends on the question
    )
    model = GPT2LMHeadModel(config).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model, tokenizer


def say(model, tokenizer, prompt):
    """What the model says, one prompt by itself and without a cache."""
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    length = ids.shape[1]
    for _ in range(6):
        with torch.no_grad():
            following = model(ids, use_cache=False).logits[0, -1].argmax()
        ids = torch.cat([ids, following.view(1, 1)], dim=1)
        if following == tokenizer.eos_token_id:
            break
    return tokenizer.decode(ids[0, length:], skip_special_tokens=True)


@pytest.fixture
def rewriter(tmp_path):
    save_model(tmp_path / "model")
    return QuestionRewriter(str(tmp_path / "model"), tmp_path / "sentences.jsonl", batch_size=2, max_new_tokens=6)


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("chat_template", [None, CHAT_TEMPLATE])
def test_sentences_are_what_the_model_says(tmp_path, batch_size, chat_template):
    model, tokenizer = save_model(tmp_path / "model", chat_template)
    expected = []
    for question, answer in PAIRS:
        prompt = f"{INSTRUCTION}: question: {question} answer: {answer}"
        prompt = f"Who? {prompt} Ann " if chat_template else f"{prompt}\nstatement:"
        expected.append(say(model, tokenizer, prompt))
    assert all(expected) and len(set(expected)) > 1
    rewriter = QuestionRewriter(
        str(tmp_path / "model"), tmp_path / "sentences.jsonl", batch_size=batch_size, max_new_tokens=6
    )
    assert rewriter(PAIRS) == expected


def test_a_second_run_needs_no_model(rewriter, tmp_path):
    sentences = rewriter([*PAIRS, PAIRS[0]])  # asked twice, made once
    assert sentences[3] == sentences[0]
    assert len([line for line in rewriter.cache_file.read_text().splitlines() if line]) == 3
    shutil.rmtree(tmp_path / "model")
    again = QuestionRewriter(rewriter.model, rewriter.cache_file, max_new_tokens=6)
    assert again(PAIRS[::-1]) == sentences[2::-1]
    with pytest.raises((OSError, ValueError)):
        again([("Who?", "Bob")])  # another answer is another sentence
    with pytest.raises((OSError, ValueError)):
        QuestionRewriter(rewriter.model, rewriter.cache_file, max_new_tokens=7)(PAIRS)
    with pytest.raises((OSError, ValueError)):
        QuestionRewriter(rewriter.model, rewriter.cache_file, max_new_tokens=6, revision="v2")(PAIRS)


def test_a_killed_run_goes_on_where_it_was(rewriter, monkeypatch):
    generate = rewriter.generate
    batches = []

    def killed(batch):
        batches.append(batch)
        if len(batches) == 2:
            raise KeyboardInterrupt
        return generate(batch)

    monkeypatch.setattr(rewriter, "generate", killed)
    with pytest.raises(KeyboardInterrupt):
        rewriter(PAIRS)
    with open(rewriter.cache_file, "a") as file:
        file.write('\n{"key": "half a li')
    sentences = rewriter(PAIRS)
    assert batches == [PAIRS[:2], PAIRS[2:], PAIRS[2:]]
    assert rewriter(PAIRS) == sentences and len(batches) == 3


def test_a_sentence_is_kept_whatever_its_characters(rewriter, monkeypatch):
    keys = [rewriter.key_of(*pair) for pair in PAIRS]
    sentences = [f"A{separator}sign." for separator in "\u2028\x85\v"]
    lines = [
        json.dumps({"key": key, "sentence": text}, ensure_ascii=False)
        for key, text in zip(keys, sentences, strict=True)
    ]
    rewriter.cache_file.write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.setattr(rewriter, "generate", lambda batch: pytest.fail("what is kept is not made again"))
    assert rewriter(PAIRS) == sentences


def test_a_model_with_nothing_to_say_is_refused_and_the_rest_kept(rewriter, monkeypatch):
    monkeypatch.setattr(rewriter, "generate", lambda batch: ["" if pair == PAIRS[1] else "Yes." for pair in batch])
    with pytest.raises(ValueError, match=r"gave no sentence for 1 of 3 questions.*'Who\?', 'Ann'"):
        rewriter(PAIRS)
    entries = [json.loads(line) for line in rewriter.cache_file.read_text().splitlines() if line]
    assert [entry["sentence"] for entry in entries] == ["Yes.", "Yes."]


def test_wrong_sizes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        QuestionRewriter("model", tmp_path / "sentences.jsonl", batch_size=0)
