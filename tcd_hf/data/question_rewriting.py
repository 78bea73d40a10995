"""Questions and answers rewritten as sentences, such as a person would search with, by a text-generation model."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download

from tcd_hf.hub import ask_hub, split_revision

__all__ = ["QuestionRewriter"]

INSTRUCTION = (  # as published with TCD
    "Please convert the following question and answer pair from question to the statements as the short video "
    "description"
)


class QuestionRewriter:
    """Makes one declarative sentence of a question and its answer, greedily, with any text-generation model.

    Sentences are kept in a file, a line of JSON each, from the batch on that they were made in: a run that was
    stopped goes on where it was, and one that finds all its sentences does not load the model.

    Args:
        model (`str`): folder or Hub id of a text-generation model, also with a revision, `"name@revision"`. Its chat
            template is used if it has one.
        cache_file (`str | os.PathLike`): where to keep sentences. A sentence belongs to the model's name, its revision
            and all that it was made from; delete the file when a folder holds other weights than before.
        batch_size (`int`, defaults to 16)
        max_new_tokens (`int`, defaults to 64): longest sentence, in tokens of the model.
        **pipeline_options: further options of [`transformers.pipeline`], such as `device`, `dtype` and `revision`.

    Example:
        >>> rewrite = QuestionRewriter("Qwen/Qwen2.5-1.5B-Instruct", "sentences.jsonl", device=0)  # doctest: +SKIP
        >>> rewrite([("What is written on the road?", "CARS ONLY")])  # doctest: +SKIP
    """

    def __init__(
        self,
        model: str,
        cache_file: str | os.PathLike,
        batch_size: int = 16,
        max_new_tokens: int = 64,
        **pipeline_options: Any,
    ):
        for name, value in {"batch_size": batch_size, "max_new_tokens": max_new_tokens}.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value!r}.")
        self.model = model
        self.cache_file = Path(cache_file)
        self.batch_size = batch_size
        self.max_new_tokens = max_new_tokens
        self.pipeline_options = pipeline_options
        self._generator = None

    def __call__(self, pairs: Sequence[tuple[str, str]]) -> list[str]:
        """Makes a sentence of each question and its answer, and keeps it.

        Args:
            pairs (`Sequence[tuple[str, str]]`): questions and their answers.

        Returns:
            `list[str]`, one sentence a pair.

        Raises:
            ValueError: when the model has nothing to say to some pairs; the others are kept.
        """
        keys = {(question, answer): self.key_of(question, answer) for question, answer in pairs}
        sentences = self._load()
        todo = [pair for pair, key in keys.items() if key not in sentences]
        for start in range(0, len(todo), self.batch_size):
            batch = todo[start : start + self.batch_size]
            said = zip(batch, self.generate(batch), strict=True)
            made = {keys[pair]: sentence for pair, sentence in said if sentence}
            self._append(made)
            sentences |= made
        unsaid = [pair for pair, key in keys.items() if key not in sentences]
        if unsaid:
            raise ValueError(
                f"{self.model} gave no sentence for {len(unsaid)} of {len(keys)} questions, among them {unsaid[0]}. "
                "Use a model that follows instructions."
            )
        return [sentences[keys[question, answer]] for question, answer in pairs]

    def key_of(self, question: str, answer: str) -> str:
        """What tells apart the sentences in the cache: all that one is made from."""
        made_from = [
            self.model,
            self.pipeline_options.get("revision"),
            INSTRUCTION,
            self.max_new_tokens,
            question,
            answer,
        ]
        return hashlib.blake2b(json.dumps(made_from).encode(), digest_size=20).hexdigest()

    def _load(self) -> dict[str, str]:
        sentences = {}
        if self.cache_file.exists():
            with open(self.cache_file, encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    try:
                        entry = json.loads(line)
                        sentences[entry["key"]] = entry["sentence"]
                    except (ValueError, KeyError, TypeError):  # the last line of a killed run: it is made again
                        continue
        return sentences

    def _append(self, sentences: dict[str, str]):
        self.cache_file.parent.mkdir(parents=True, exist_ok=True)
        with open(self.cache_file, "a", encoding="utf-8") as file:
            # the newline goes first: it also ends a line that a killed run left open
            file.writelines(f"\n{json.dumps({'key': key, 'sentence': text})}" for key, text in sentences.items())

    def generate(self, pairs: Sequence[tuple[str, str]]) -> list[str]:
        """Sentences by the model, one a pair; `""` where it says nothing."""
        generator = self._generator = self._generator or self._load_generator()
        prompts = [f"{INSTRUCTION}: question: {question} answer: {answer}" for question, answer in pairs]
        if generator.tokenizer.chat_template:
            prompts = [[{"role": "user", "content": prompt}] for prompt in prompts]
        else:
            prompts = [f"{prompt}\nstatement:" for prompt in prompts]
        outputs = generator(
            prompts,
            batch_size=self.batch_size,
            max_new_tokens=self.max_new_tokens,
            do_sample=False,
            return_full_text=False,
        )
        return [_first_line(output[0]["generated_text"]) for output in outputs]

    def _load_generator(self) -> Any:
        from transformers import pipeline

        options = {**self.pipeline_options, "trust_remote_code": False}  # no code that a model brings is ever run
        name, revision = split_revision(self.model)
        if not os.path.isdir(name):
            options["revision"] = revision or options.get("revision")
            hub = ask_hub(name, {"revision": options["revision"]})
            if hub.get("local_files_only"):  # which `pipeline` takes for an option of the model
                name = snapshot_download(name, revision=options.pop("revision"), local_files_only=True)
        generator: Any = pipeline("text-generation", model=name, **options)
        tokenizer = generator.tokenizer
        tokenizer.padding_side = "left"  # sentences go on where prompts end
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        return generator


def _first_line(text: str) -> str:
    return next((tidy for line in text.splitlines() if (tidy := " ".join(line.split()))), "")
