"""The captioner's captions added to models that do not read (TCD table A3), and what they bring on the synthetic world.

    tcd-hf synthesize --prepared --out world --splits test --clips 1000
    python -m scripts.benchmarks.plug_and_play --data world --sentence-transformer all-MiniLM-L6-v2

A model that embeds frames and texts, as CLIP4Clip's mean pooling does, scores captions with its own text tower; any
`SentenceTransformer` scores them with its own, beside whatever model looks at the frames. Nothing is trained, and no
weight is chosen: the cosine of a query with the caption nearest to it is averaged with that of the frames.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from datasets import load_from_disk
from PIL import Image
from torch.nn.functional import normalize

from scripts.benchmarks.machine import describe_machine, in_words, table
from tcd_hf.evaluation.metrics import retrieval_ranks
from tcd_hf.evaluation.report import ALL_QUERIES, summarise_by_query_type
from tcd_hf.loading import load

__all__ = ["caption_scores", "frame_scores", "main", "measure"]

BATCH = 64  # texts, or videos
Encode = Callable[[list[str]], torch.Tensor]  # texts as L2-normalised vectors `(num_texts, dim)`


def frame_scores(queries: torch.Tensor, frames: Sequence[torch.Tensor]) -> torch.Tensor:
    """CLIP4Clip's mean pooling: cosines of queries with the mean of a video's frames.

    Args:
        queries (`torch.FloatTensor` of shape `(num_queries, dim)`): L2-normalised.
        frames (`list[torch.FloatTensor]`): of each video its frames, `(num_frames, dim)`, L2-normalised.

    Returns:
        `torch.FloatTensor` of shape `(num_queries, num_videos)`.
    """
    return queries @ normalize(torch.stack([each.mean(dim=0) for each in frames]), dim=-1).T


def caption_scores(queries: Sequence[str], captions: Sequence[Sequence[str]], encode: Encode) -> torch.Tensor:
    """Cosines of queries with the nearest caption of each video, 0 for a video that shows no text.

    Args:
        queries (`list[str]`)
        captions (`list[list[str]]`): of each video those of its windows, as [`WindowOCRCaptioner`] gives them.
        encode (`Callable`): embeds texts, L2-normalised.

    Returns:
        `torch.FloatTensor` of shape `(num_queries, num_videos)`.
    """
    own = [[text for text in dict.fromkeys(of_video) if text] for of_video in captions]
    different = list(dict.fromkeys(text for of_video in own for text in of_video))
    if not different:
        return torch.zeros(len(queries), len(captions))
    cosines = encode(list(queries)) @ encode(different).T
    places = {text: place for place, text in enumerate(different)}
    nearest = [
        cosines[:, [places[text] for text in of_video]].amax(dim=1) if of_video else cosines.new_zeros(len(queries))
        for of_video in own
    ]
    return torch.stack(nearest, dim=1)


@torch.inference_mode()
def embed_texts(encoder: Any, tokenizer: Any, texts: Sequence[str]) -> torch.Tensor:
    """Texts by the text tower of a dual encoder of transformers, L2-normalised."""
    pieces = []
    for start in range(0, len(texts), BATCH):
        inputs = tokenizer(list(texts[start : start + BATCH]), padding=True, truncation=True, return_tensors="pt")
        pieces.append(encoder.get_text_features(**inputs).pooler_output)
    return normalize(torch.cat(pieces), dim=-1)


@torch.inference_mode()
def embed_frames(encoder: Any, image_processor: Any, frames: Sequence[Image.Image | None]) -> torch.Tensor:
    """Frames of a video by the image tower of a dual encoder, L2-normalised; of prepared data those that count."""
    images = [frame.convert("RGB") for frame in frames if frame is not None]
    pixels = image_processor(images=images, return_tensors="pt")["pixel_values"]
    return normalize(encoder.get_image_features(pixel_values=pixels).pooler_output, dim=-1)


def measure(rows: Any, encoder: Any, processor: Any, sentence_encoder: Any = None) -> dict[str, torch.Tensor]:
    """Scores of all queries with all videos of a prepared split, by what made them.

    Args:
        rows (`datasets.Dataset`): prepared.
        encoder (`PreTrainedModel`): a dual encoder of transformers, such as `CLIPModel`.
        processor: with its `tokenizer` and `image_processor`.
        sentence_encoder (`SentenceTransformer`, *optional*): any.
    """
    queries = [text for of_video in rows["captions"] for text in of_video]
    captions = list(rows["ocr_captions"])

    def encode(texts: list[str]) -> torch.Tensor:
        return embed_texts(encoder, processor.tokenizer, texts)

    frames = [embed_frames(encoder, processor.image_processor, row["frames"]) for row in rows.select_columns("frames")]
    seen, read = frame_scores(encode(queries), frames), caption_scores(queries, captions, encode)
    scores = {"frames, mean pooling": seen, "the same and captions, by its text tower": (seen + read) / 2}
    if sentence_encoder is not None:

        def encode_sentences(texts: list[str]) -> torch.Tensor:
            vectors = sentence_encoder.encode(texts, normalize_embeddings=True, show_progress_bar=False)
            return torch.from_numpy(np.asarray(vectors))

        told = caption_scores(queries, captions, encode_sentences)
        scores["captions alone, by the SentenceTransformer"] = told
        scores["frames, and captions by the SentenceTransformer"] = (seen + told) / 2
    return scores


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.benchmarks.plug_and_play", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--data", required=True, metavar="FOLDER", help="a prepared data set")
    parser.add_argument("--split", default="test")
    parser.add_argument("--model", default="tcd-mini", help="a TCD model whose two towers stand for a model like CLIP")
    parser.add_argument("--sentence-transformer", metavar="NAME", help="name or folder of any SentenceTransformer")
    args = parser.parse_args(argv)
    model, processor = load(args.model)
    sentence_encoder = None
    if args.sentence_transformer:
        from sentence_transformers import SentenceTransformer

        sentence_encoder = SentenceTransformer(args.sentence_transformer, device="cpu")
    rows = load_from_disk(args.data)[args.split]
    own = np.repeat(np.arange(len(rows)), [len(of_video) for of_video in rows["captions"]])
    kinds = [kind or "other" for of_video in rows["query_types"] for kind in of_video]
    lines = [["R@1 / R@10", *dict.fromkeys(kinds), ALL_QUERIES]]
    for title, scores in measure(rows, model.backbone, processor, sentence_encoder).items():
        metrics = summarise_by_query_type(retrieval_ranks(scores.numpy(), own), kinds)
        found = [metrics[kind]["t2v"] for kind in lines[0][1:]]
        lines.append([title, *(f"{100 * each['R@1']:.1f} / {100 * each['R@10']:.1f}" for each in found)])
    print(f"{len(own)} queries, {len(rows)} videos; {in_words(describe_machine())}\n\n{table(lines)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
