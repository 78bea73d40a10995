"""Tokenizers built in memory, one token per letter, and the processors that use them."""

from string import ascii_lowercase, digits

from transformers import CLIPImageProcessor, CLIPTokenizer

from tcd_hf import TCDProcessor

LETTERS = ascii_lowercase + digits + ".,:-"


def letter_tokenizer(model_max_length: int = 16) -> CLIPTokenizer:
    """CLIP's tokenizer over single letters: a word of five letters has five tokens."""
    tokens = [*LETTERS, *(letter + "</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    vocab = {token: index for index, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=model_max_length)


def letter_processor(image_size: int = 16, model_max_length: int = 16, **options) -> TCDProcessor:
    """A processor for tiny models: square frames of `image_size` pixels, texts of `model_max_length` tokens."""
    size = {"height": image_size, "width": image_size}
    image_processor = CLIPImageProcessor(size={"shortest_edge": image_size}, crop_size=size)
    return TCDProcessor(image_processor, letter_tokenizer(model_max_length), **{"num_frames": 4, **options})
