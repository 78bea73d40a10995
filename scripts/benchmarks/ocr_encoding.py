"""Counts what it costs to encode the scene text of a video: TCD's window captions against isolated text instances.

    python -m scripts.benchmarks.ocr_encoding

TCD encodes one caption for each of 12 windows; StarVR, before it, about 200 text instances a video, each apart. Both go
through the same text tower here, that of CLIP ViT-B/32, and the operations of that module are counted, in two ways: all
texts padded to one length, and each only as long as it needs to be, for texts of the synthetic world
(`tcd_hf.data.synthetic`), whose encoding is timed too. One multiply-add is two floating-point operations (FLOPs).

The paper quotes 61.8 GFLOPs for TCD and 395.2 for StarVR at batch 16. It does not say what was counted: readings of it
are tried, and the nearest are printed.

Needs the extras `[train-mini]` and `[synthetic]`.
"""

import argparse
import json
import time
from collections import Counter
from functools import cache
from itertools import chain, cycle, islice, product
from pathlib import Path

import numpy as np
import torch
from transformers import CLIPConfig, CLIPModel, CLIPTextModelWithProjection

from scripts.benchmarks.counting import multiply_adds
from scripts.benchmarks.machine import describe_machine, table, verdict
from tcd_hf import TCDConfig, TCDModel
from tcd_hf.data.synthetic import make_clip
from tcd_hf.loading import load_processor

BATCH_SIZE = 16
WAYS = {"windows": 12, "instances": 200}  # texts a video
PAPER = {"windows": 61.8, "instances": 395.2}  # GFLOPs, as quoted
PADDED = (77, 32)
REQUIRED = 5  # times less
TEXTS_PER_BATCH = 64
NEAREST = 3  # readings of the paper that are shown


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=200, help="of the synthetic world, whose texts are counted")
    parser.add_argument("--timed-clips", type=int, default=8, help="of those, how many are timed")
    parser.add_argument("--seed", type=int, default=0, help="of the world")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    args = parser.parse_args(argv)
    for name in ("clips", "timed_clips"):
        if getattr(args, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1, got {getattr(args, name)}")
    report = measure(CLIPConfig(), texts_of_clips(args.clips, args.seed), args.timed_clips)
    print(to_markdown(report))
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def measure(config: CLIPConfig, clips: list[dict[str, list[str]]], num_timed: int) -> dict:
    """FLOPs of a batch both ways, padded and not, seconds a video, parameters, and readings of the paper."""
    tower = Tower(config)
    tokenizer = load_processor().tokenizer
    cases = {name: [lengths_of(tokenizer, clip, way) for clip in clips] for name, way in TEXT_CHOICES.items()}
    timed = np.linspace(0, len(clips) - 1, min(num_timed, len(clips))).astype(int)
    module = CLIPTextModelWithProjection(config.text_config).eval()
    needed = {}
    for name, lengths in cases.items():
        needed[name] = {
            "texts": {way: float(np.mean([len(clip[way]) for clip in lengths])) for way in WAYS},
            "tokens": {way: float(np.mean([each for clip in lengths for each in clip[way]])) for way in WAYS},
            "gflops": {
                way: gflops(tower, [each for clip in lengths for each in clip[way]], len(clips)) for way in WAYS
            },
            "seconds": {way: float(np.mean([seconds(module, lengths[i][way]) for i in timed])) for way in WAYS},
        }
    return {
        "machine": describe_machine(),
        "clips": len(clips),
        "timed_clips": len(timed),
        "vocabulary": len(tokenizer),
        "parameters": count_parameters(config),
        "padded": {
            str(length): {way: gflops(tower, [length] * count) for way, count in WAYS.items()} for length in PADDED
        },
        "needed": needed,
        "paper": nearest_readings(tower),
    }


# texts ---------------------------------------------------------------------------------------------------------------
def texts_of_clips(count: int, seed: int) -> list[dict[str, list[str]]]:
    """The captions of each clip's windows, and the single readings that they are made of."""
    clips = [make_clip(seed, "test", number) for number in range(count)]
    return [
        {"windows": clip.captions(WAYS["windows"]), "instances": [*chain(*clip.readings(WAYS["windows"]))]}
        for clip in clips
    ]


def all_places(texts: list[str], count: int) -> list[str]:
    """As many texts as there are places: repeated where there are fewer, empty where there is none."""
    return list(islice(cycle(texts or [""]), count))


def empty_places(texts: list[str], count: int) -> list[str]:
    """As many texts as there are places: those without a text hold the empty one, start and end alone."""
    return (texts + [""] * count)[:count]


def as_seen(texts: list[str], count: int) -> list[str]:
    return texts[:count]


def each_once(texts: list[str], count: int) -> list[str]:
    return list(dict.fromkeys(texts[:count]))


ALL_PLACES, AS_SEEN = "12 captions, 200 instances", "12 captions, as many instances as are read"
TEXT_CHOICES = {
    ALL_PLACES: all_places,
    "12 captions, 200 places, empty where nothing is read": empty_places,
    AS_SEEN: as_seen,
    "each different text of a video once": each_once,  # as TCDModel does, in a batch
}


def lengths_of(tokenizer, clip: dict[str, list[str]], choose) -> dict[str, list[int]]:
    """Tokens of the texts of a clip, those that start and end a text with them, at most as many as CLIP takes."""
    texts = {way: choose(clip[way], count) for way, count in WAYS.items()}
    encode = {"truncation": True, "max_length": max(PADDED)}
    return {way: [len(tokenizer(each, **encode)["input_ids"]) for each in texts[way]] for way in WAYS}


# costs ---------------------------------------------------------------------------------------------------------------
class Tower:
    """What a dual encoder's towers cost: multiply-adds of a text, and of a frame, as counted on the module itself."""

    def __init__(self, config: CLIPConfig):
        with torch.device("meta"):
            self.model = CLIPModel(config).eval()

    @cache  # noqa: B019 - one tower lives as long as the script
    def text(self, length: int, with_attention: bool = True) -> int:
        ids = torch.zeros(1, length, dtype=torch.long, device="meta")
        return multiply_adds(self.model, lambda: self.model.get_text_features(input_ids=ids), with_attention)

    @cache  # noqa: B019
    def frame(self, with_attention: bool = True) -> int:
        side = self.model.config.vision_config.image_size
        pixels = torch.zeros(1, 3, side, side, device="meta")
        return multiply_adds(self.model, lambda: self.model.get_image_features(pixel_values=pixels), with_attention)


def gflops(tower: Tower, lengths: list[int], num_videos: int = 1) -> float:
    """What it costs to encode the texts of `num_videos` videos, for a batch of `BATCH_SIZE`."""
    total = sum(count * tower.text(length) for length, count in Counter(lengths).items())
    return 2 * total * BATCH_SIZE / num_videos / 1e9


@torch.inference_mode()
def seconds(module: CLIPTextModelWithProjection, lengths: list[int]) -> float:
    """How long texts of these lengths take in the faster of two runs. Equal ones go together: none is padded."""
    batches = [
        torch.zeros(len(texts), length, dtype=torch.long)
        for length, count in sorted(Counter(lengths).items())
        for texts in torch.arange(count).split(TEXTS_PER_BATCH)
    ]
    runs = []
    for _ in range(2):
        start = time.perf_counter()
        for batch in batches:
            module(input_ids=batch)
        runs.append(time.perf_counter() - start)
    return min(runs)


def count_parameters(config: CLIPConfig) -> dict[str, int]:
    with torch.device("meta"):
        model = TCDModel(TCDConfig(backbone_config=config.to_dict()))
        text_tower = CLIPTextModelWithProjection(config.text_config)
    new = [each.numel() for name, each in model.named_parameters() if not name.startswith("backbone.")]
    return {"text_tower": sum(each.numel() for each in text_tower.parameters()), "tcd_new": sum(new)}


# the paper's numbers -------------------------------------------------------------------------------------------------
def nearest_readings(tower: Tower) -> list[dict]:
    """What the paper may have counted, the readings nearest to both of its numbers first."""
    readings = []
    for with_attention, length, videos, unit, frames in product(
        (True, False), PADDED, (1, BATCH_SIZE), ("multiply-adds", "FLOPs"), (None, (12, 12), (12, 1))
    ):
        numbers = {}
        for way, num_frames in zip(WAYS, frames or (0, 0), strict=True):
            texts = WAYS[way] + (frames is not None)  # the query is a text too
            total = texts * tower.text(length, with_attention) + num_frames * tower.frame(with_attention)
            numbers[way] = videos * total * (2 if unit == "FLOPs" else 1) / 1e9
        what = "OCR texts" if frames is None else f"OCR texts, query, {frames[0]} frames against {frames[1]}"
        attention = "" if with_attention else ", attention layers not counted"
        of = "one video" if videos == 1 else f"{videos} videos"
        name = f"{what}; texts padded to {length}; {unit} of {of}{attention}"
        error = max(abs(numbers[way] / PAPER[way] - 1) for way in WAYS)
        readings.append({"reading": name, **numbers, "largest_error": error})
    return sorted(readings, key=lambda reading: reading["largest_error"])


# report --------------------------------------------------------------------------------------------------------------
def to_markdown(report: dict) -> str:
    machine, parameters, readings = report["machine"], report["parameters"], report["paper"]
    head = ["texts of a video", "GFLOPs, windows", "GFLOPs, instances", "times less", f"at least {REQUIRED}"]
    rows = [head, *(cost_row(f"all padded to {length}", each) for length, each in report["padded"].items())]
    rows += [cost_row(f"as long as needed: {name}", case["gflops"]) for name, case in report["needed"].items()]
    times = [
        ["texts of a video", *(f"{what}, {way}" for what in ("texts", "tokens a text", "ms a video") for way in WAYS)]
    ]
    for name, case in report["needed"].items():
        numbers = [f"{case[what][way]:.1f}" for what in ("texts", "tokens") for way in WAYS]
        times.append([name, *numbers, *(f"{1000 * case['seconds'][way]:.0f}" for way in WAYS)])
    all_there = report["needed"][ALL_PLACES]
    paper = [["reading", "windows", "instances", "times less", "off by at most"]]
    paper.append(["as quoted", *(f"{PAPER[way]}" for way in WAYS), f"{times_less(PAPER):.1f}", ""])
    for each in readings[:NEAREST]:
        numbers = [f"{each[way]:.1f}" for way in WAYS]
        paper.append([each["reading"], *numbers, f"{times_less(each):.1f}", f"{each['largest_error']:.1%}"])
    return "\n\n".join(
        [
            f"Encoding the text in a video, {BATCH_SIZE} videos, by one text tower of {parameters['text_tower']:,} "
            f"parameters, which TCD shares with the query ({parameters['tcd_new']:,} are new in TCD as a whole). "
            f"{WAYS['windows']} window captions against {WAYS['instances']} text instances.",
            table(rows),
            f"Texts of {report['clips']} clips of the synthetic world, tokenizer of {report['vocabulary']:,} tokens; "
            f"times of {report['timed_clips']} of them, {machine['processor']}, {machine['vectors']}, "
            f"{torch.get_num_threads()} thread(s), torch {machine['versions']['torch']}.",
            table(times),
            f"At these lengths windows cost {REQUIRED} times less from {enough_instances(all_there, REQUIRED):.0f} "
            f"instances a video on, and less at all from {enough_instances(all_there, 1):.0f} on; "
            f"{report['needed'][AS_SEEN]['texts']['instances']:.0f} are read in a clip of this world.",
            f"The paper quotes {PAPER['windows']} and {PAPER['instances']} GFLOPs at batch 16. Nearest of "
            f"{len(readings)} readings, in billions:",
            table(paper),
        ]
    )


def enough_instances(case: dict, ratio: float) -> float:
    """Instances a video from which windows cost `ratio` times less, at the mean cost of each text of a case."""
    instance = case["gflops"]["instances"] / case["texts"]["instances"]
    return ratio * case["gflops"]["windows"] / instance


def cost_row(name: str, costs: dict[str, float]) -> list[str]:
    ratio = times_less(costs)
    return [name, *(f"{costs[way]:,.1f}" for way in WAYS), f"{ratio:.1f}", verdict(ratio >= REQUIRED)]


def times_less(costs: dict[str, float]) -> float:
    return costs["instances"] / costs["windows"]


if __name__ == "__main__":
    raise SystemExit(main())
