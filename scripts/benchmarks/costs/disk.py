"""What an hour of video weighs in an index, by groups of columns."""

import argparse
import random
from pathlib import Path
from typing import get_args

import numpy as np

from scripts.benchmarks.costs.children import make_index
from scripts.benchmarks.machine import table
from scripts.benchmarks.videos.collection import Collection, arrange, cards_of
from scripts.benchmarks.videos.real_clips import read_clips
from tcd_hf.choices import FeatureType


def measure(args: argparse.Namespace, folder: Path) -> list[dict]:
    """Weighs an index of cards and, where there is data, one of real clips."""
    collections = {"cards": cards_of(args.hour, args.seed)}
    if args.data:
        clips, rng = list(read_clips(args.data, args.readings, args.model).values()), random.Random(args.seed)
        cards, _ = arrange(args.hour, [], lambda: rng.choice(clips), rng)
        collections["real clips, one after the other"] = Collection([cards], [])
    return [
        {"shown": name, "features": kind, **weigh_index(collection, args, folder / name / kind, kind)}
        for name, collection in collections.items()
        for kind in get_args(FeatureType)
    ]


def weigh_index(collection: Collection, args: argparse.Namespace, folder: Path, kind: FeatureType) -> dict:
    """What an index of one video of cards weighs, and how much text it shows."""
    (path,) = collection.write(folder / "videos")
    index = make_index(args, folder, collection.reader(), make=lambda: wide_model(args), feature_type=kind)
    index.add([path], workers=0, on_video=lambda path: None)
    index.compact()
    pictures = [card.readings[picture] for card in collection.videos[0] for picture in card.ticks]
    shown = sum(len(text) for readings in pictures for text, *_ in readings)
    hours = collection.seconds / 3600
    shares = weigh(index, folder / "columns")
    total = index.stats().bytes_on_disk
    return {
        "minutes": args.hour,
        "width": args.width,
        "rows": index.stats().segments,
        "characters_on_screen": shown / len(pictures),
        "megabytes_per_hour": total / 1e6 / hours,
        "shares_megabytes_per_hour": {name: size / 1e6 / hours for name, size in shares.items()},
    }


def weigh(index, folder: Path) -> dict[str, int]:
    """Bytes of groups of columns, each written alone; of the full-text index and the terms' statistics as they are."""
    import lancedb

    from tcd_hf.index.schema import COARSE_COLUMN, FEATURES_COLUMN
    from tcd_hf.index.storage import IndexStorage

    storage = IndexStorage(index.uri)  # rows as they are stored: `read` would unpack the captions
    storage.open()
    rows = storage.videos.to_arrow()
    groups = {"features": [FEATURES_COLUMN, COARSE_COLUMN], "captions": ["captions"]}
    groups["terms"] = [name for name in ("texts", "terms", "term_counts", "term_text") if name in rows.column_names]
    named = {name for names in groups.values() for name in names}
    groups["other columns"] = [name for name in rows.column_names if name not in named]
    database = lancedb.connect(folder)
    sizes = {}
    for number, (name, columns) in enumerate(groups.items()):
        database.create_table(f"group{number}", rows.select(columns).replace_schema_metadata(None))
        sizes[name] = _bytes(folder / f"group{number}.lance" / "data")
    videos = Path(index.uri) / "videos.lance"
    sizes["full-text index"] = _bytes(videos / "_indices")
    sizes["statistics of terms"] = _bytes(Path(index.uri) / "lexical_statistics.lance")
    return sizes


def wide_model(args: argparse.Namespace):
    """An untrained model of the width, with tiny towers, and the package's own processor."""
    import torch
    from transformers import CLIPConfig

    from tcd_hf import TCDConfig, TCDModel
    from tcd_hf.loading import load_processor

    processor = load_processor(args.model)
    tower = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1}
    tokenizer = processor.tokenizer
    text = {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.convert_tokens_to_ids(tokenizer.bos_token or tokenizer.cls_token),
        "eos_token_id": tokenizer.convert_tokens_to_ids(tokenizer.eos_token or tokenizer.sep_token),
        "max_position_embeddings": processor.max_length or tokenizer.model_max_length,
    }
    black = np.zeros((processor.num_frames, 32, 32, 3), np.uint8)
    video = processor.process_frames(black, [""] * processor.num_frames, return_tensors="np")
    side = video["pixel_values_videos"].shape[-1]
    vision = {**tower, "image_size": side, "patch_size": side // 2}
    backbone = CLIPConfig(text_config={**tower, **text}, vision_config=vision, projection_dim=args.width)
    torch.manual_seed(0)
    return TCDModel(TCDConfig(backbone_config=backbone, num_frames=processor.num_frames)).eval(), processor


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def to_markdown(results: list[dict]) -> str:
    """What `measure` gives, as Markdown."""
    first = results[0]
    rows = [
        ["shown", "features as", "characters on screen", "rows", *first["shares_megabytes_per_hour"], "whole index"]
    ]
    for result in results:
        sizes = *result["shares_megabytes_per_hour"].values(), result["megabytes_per_hour"]
        counts = f"{result['characters_on_screen']:.0f}", result["rows"]
        rows.append([result["shown"], result["features"], *counts, *(f"{size:.2f}" for size in sizes)])
    about = f"Disk per hour of video at width {first['width']}, MB, of a video of {first['minutes']:g} min."
    return f"{about} Required: at most 8.5.\n\n{table(rows)}"
