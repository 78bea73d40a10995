"""The ablation: rows are what they say, runs depend on nothing else, the summary adds up."""

import itertools
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

pytest.importorskip("faker")
pytest.importorskip("english_words")
pytest.importorskip("font_lato")
pytest.importorskip("font_caladea")
pytest.importorskip("font_fredoka_one")
pytest.importorskip("font_amatic_sc")

from tcd_hf import TCDModel, TCDProcessor
from tcd_hf.checkpoints import MINI
from tcd_hf.data.synthetic import make_clip
from tcd_hf.modeling.distillation import ClueDistilling, CrossAttentionClue
from tests.conftest import assert_computed_alike
from tests.tcd_hf.conftest import NUM_FRAMES, make_tiny_model, make_tiny_processor

ROOT = Path(__file__).resolve().parents[2]
CLIPS = {"train": 60, "validation": 20, "test": 40}


def flat(results: dict, prefix: str = "") -> dict[str, float]:
    """Nested numbers by the path of their names, as `pytest.approx` takes them."""
    numbers = {}
    for name, value in results.items():
        numbers |= flat(value, f"{prefix}{name}/") if isinstance(value, dict) else {prefix + name: value}
    return numbers


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    make_tiny_model(seed=3).save_pretrained(folder)
    make_tiny_processor().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def encoded(checkpoint, tmp_path_factory) -> Path:
    """Folder of what the towers make of all clips."""
    from scripts.ablation.rows import ROWS, readings_of
    from scripts.frozen_towers.features import encode_split

    folder = tmp_path_factory.mktemp("encoded")
    for split, count in CLIPS.items():
        encode_split(checkpoint, split, count, folder / f"{split}.safetensors", processes=1, readings=readings_of(ROWS))
    return folder


@pytest.fixture(scope="module")
def features(encoded) -> dict:
    from scripts.frozen_towers.features import Features

    return {split: Features.load(encoded / f"{split}.safetensors") for split in CLIPS}


@pytest.fixture
def recipe():
    from scripts.frozen_towers.batches import Recipe

    return Recipe(steps=2, backbone_learning_rate=1e-3, learning_rate=1e-2)


class TestRows:
    def test_models_are_what_their_rows_say(self, checkpoint):
        from scripts.ablation.isolated import IsolatedTokenModel
        from scripts.ablation.rows import BASE, ROWS
        from scripts.ablation.training import build_model

        for name, row in ROWS.items():
            model = build_model(row, checkpoint, seed=0)
            config, reads_ocr = model.config, model.config.reads_ocr
            fields = {**BASE, **row.overrides, "num_frames": NUM_FRAMES}
            assert {field: getattr(config, field) for field in fields} == fields, name
            assert (type(model) is IsolatedTokenModel) == row.isolated, name
            assert (model.co_attention is not None) == (reads_ocr and config.use_co_attention), name
            clue = ClueDistilling if config.use_distillation else CrossAttentionClue
            has_clue = reads_ocr and (config.use_distillation or config.use_cross_attention)
            assert type(model.distillation) is (clue if has_clue else type(None)), name
            assert (model.temporal_encoder is not None) == (name in ("temporal", "temporal-unit", "eercf")), name

    def test_no_two_rows_are_the_same(self):
        from scripts.ablation.rows import ROWS

        rows = list(ROWS.values())
        for one, other in itertools.combinations(rows, 2):
            assert one.title != other.title
            assert replace(one, title=other.title, coarse=other.coarse) != other

    def test_every_reading_is_read_once_the_usual_one_first(self):
        from scripts.ablation.rows import ROWS, readings_of
        from scripts.frozen_towers.features import USUAL

        readings = readings_of(ROWS)
        assert readings[0] == USUAL and len(set(readings)) == len(readings)
        assert set(readings) == {row.reading for row in ROWS.values()}

    def test_texts_that_drift_come_whole_windows_late_or_early(self):
        from scripts.ablation.training import drifted

        rows = torch.arange(1, 7).expand(200, 6)
        clips = torch.arange(200)
        lags = {tuple(row.tolist()) for row in drifted(rows, clips, 2)}
        assert lags == {
            (1, 2, 3, 4, 5, 6),
            (2, 3, 4, 5, 6, 0),
            (3, 4, 5, 6, 0, 0),
            (0, 1, 2, 3, 4, 5),
            (0, 0, 1, 2, 3, 4),
        }
        # a clip's drift is its own, whatever is drawn with it
        assert torch.equal(drifted(rows[:2], torch.tensor([150, 3]), 2), drifted(rows, clips, 2)[[150, 3]])

    def test_window_scales_that_read_alike(self):
        clips = [make_clip(0, "test", number) for number in range(40)]

        def read(*how):
            return [clip.captions(12, *how) for clip in clips]

        assert read(0.2, 8.0) == read(1.0, 2.0) == read(0.4, 2.0)
        assert read(0.4, 8.0) == read(0.6, 8.0) != read(0.2, 8.0)
        assert read(0.8, 8.0) == read(1.0, 8.0) != read(0.6, 8.0)

    def test_start_is_the_checkpoint_and_towers_stay(self, checkpoint, features, recipe):
        from scripts.ablation.rows import ROWS
        from scripts.ablation.training import build_model, train

        trained = TCDModel.from_pretrained(checkpoint)
        for name in ("tcd", "isolated"):
            model = build_model(ROWS[name], checkpoint, seed=0)
            for key, weight in trained.backbone.state_dict().items():
                assert torch.equal(model.backbone.state_dict()[key], weight)
            train(model, ROWS[name], features["train"], recipe, seed=0)
            after = model.backbone.state_dict()
            changed = {
                key for key, weight in trained.backbone.state_dict().items() if not torch.equal(after[key], weight)
            }
            assert changed == {"visual_projection.weight", "text_projection.weight", "logit_scale"}


class TestFeatures:
    @pytest.mark.parametrize("name", ["tcd", "scale-1", "no-ocr", "eercf"])
    def test_embeddings_are_those_of_the_model(self, checkpoint, features, name):
        """The towers run once, projections later: together what the model and its processor make of the clips."""
        from scripts.ablation.rows import ROWS
        from scripts.ablation.training import build_model, embed

        model, processor = build_model(ROWS[name], checkpoint, seed=0), TCDProcessor.from_pretrained(checkpoint)
        numbers = [0, 4, 8, 13, 39]
        clips = [make_clip(0, "test", number) for number in numbers]
        inputs = processor(
            text=[clip.query for clip in clips],
            videos=[clip.frames(NUM_FRAMES, 16) for clip in clips],
            ocr_captions=[clip.captions(NUM_FRAMES, *ROWS[name].reading) for clip in clips],
            return_tensors="pt",
        )
        with torch.inference_mode():
            expected = model(**inputs)
            texts, videos = embed(model, ROWS[name], features["test"], torch.tensor(numbers))
        assert torch.allclose(texts, expected.text_embeds, atol=1e-5)
        embeds = {part for part in expected.video_features if part.endswith("_embeds")}
        assert embeds == {part for part in videos if part.endswith("_embeds")}
        assert ("ocr_embeds" in embeds) == model.config.reads_ocr
        for part in embeds:
            assert torch.allclose(videos[part], expected.video_features[part], atol=1e-5)
        if model.config.reads_ocr:
            assert torch.equal(videos.ocr_mask.bool(), expected.video_features.ocr_mask.bool())
            assert 0 < videos.ocr_mask.float().mean() < 1

    def test_tokens_are_the_different_readings(self, checkpoint, features, monkeypatch):
        from scripts.frozen_towers import features as ablation_features

        model, processor = TCDModel.from_pretrained(checkpoint), TCDProcessor.from_pretrained(checkpoint)
        clip = make_clip(0, "test", 13)
        tokens = ablation_features.tokens_of(clip, NUM_FRAMES)
        assert len(tokens) > 1 and set(tokens) == {text for window in clip.readings(NUM_FRAMES) for text in window}
        rows = features["test"].tokens[13]
        assert (rows > 0).sum() == len(tokens) and (rows[len(tokens) :] == 0).all()
        inputs = processor.tokenizer(tokens, padding=True, return_tensors="pt")
        with torch.inference_mode():
            expected = model.backbone.text_model(**inputs).pooler_output
        assert torch.allclose(features["test"].texts[rows[: len(tokens)]], expected, atol=1e-5)
        monkeypatch.setattr(ablation_features, "MAX_TOKENS", 1)
        assert ablation_features.tokens_of(clip, NUM_FRAMES) == tokens[:1]

    @pytest.mark.slow
    def test_two_processes_encode_the_same(self, checkpoint, features, tmp_path):
        from scripts.ablation.rows import ROWS, readings_of
        from scripts.frozen_towers.features import Features, encode_split

        encode_split(
            checkpoint, "validation", 20, tmp_path / "again.safetensors", processes=2, readings=readings_of(ROWS)
        )
        again = Features.load(tmp_path / "again.safetensors")
        for name in ("frames", "queries", "texts", "tokens"):
            assert torch.allclose(
                getattr(again, name).float(), getattr(features["validation"], name).float(), atol=1e-5
            )
        assert again.captions.keys() == features["validation"].captions.keys()


class TestIsolatedTokens:
    @pytest.fixture
    def model(self, checkpoint):
        from scripts.ablation.rows import ROWS
        from scripts.ablation.training import build_model

        model = build_model(ROWS["isolated"], checkpoint, seed=0)
        torch.nn.init.normal_(model.video_attention.out_proj.weight)
        torch.nn.init.normal_(model.ocr_attention.weight)
        torch.nn.init.normal_(model.ocr_attention.bias)
        return model

    @pytest.fixture
    def inputs(self):
        generator = torch.Generator().manual_seed(0)
        texts, frames, tokens = (
            normalize(torch.randn(shape, generator=generator), dim=-1) for shape in ((3, 16), (4, 4, 16), (4, 5, 16))
        )
        counts = torch.tensor([5, 2, 1, 0])
        return texts, frames, tokens, torch.arange(5) < counts[:, None]

    @torch.inference_mode()
    def test_scores_against_a_slow_oracle(self, model, inputs):
        texts, frames, tokens, mask = inputs
        sharpness = model.logit_scale.exp() / 5
        attention = model.video_attention
        expected = torch.empty(3, 4, 4)
        for t, text in enumerate(texts):
            for b in range(4):
                kept = tokens[b][mask[b]] if mask[b].any() else tokens[b]
                frame_gate = (frames[b] @ text * sharpness).softmax(0)
                token_gate = (kept @ text * sharpness).softmax(0)
                video_token = sum(gate * frame for gate, frame in zip(frame_gate, frames[b], strict=True))
                text_token = sum(gate * token for gate, token in zip(token_gate, kept, strict=True))
                logits = attention.k_proj(kept) @ attention.q_proj(video_token) / 16**0.5
                answer = attention.out_proj(logits.softmax(0) @ attention.v_proj(kept))
                text_token = text_token + model.ocr_attention(video_token)
                video_token = video_token + answer
                clues = (video_token, text_token, (video_token + text_token) / 2)
                parts = torch.stack([torch.cosine_similarity(text, clue, dim=0) for clue in clues])
                expected[t, b] = torch.cat([parts.mean()[None], parts])
        scores = model.score(texts, model.fuse(frames, tokens, mask))
        found = torch.stack([scores[p] for p in ("similarity", "text_video", "text_ocr", "text_hybrid")], dim=-1)
        assert torch.allclose(found, expected, atol=1e-5)

    @torch.inference_mode()
    def test_places_without_a_token_do_not_matter(self, model, inputs):
        texts, frames, tokens, mask = (each[:3] for each in inputs)
        wider = torch.nn.functional.pad(tokens, (0, 0, 0, 3), value=0.25)
        a = model.score(texts, model.fuse(frames, tokens, mask))
        b = model.score(texts, model.fuse(frames, wider, torch.nn.functional.pad(mask, (0, 3))))
        assert all(torch.allclose(a[part], b[part], atol=1e-6) for part in a)
        coarse = [
            model.fuse(frames, each, mask).coarse_embeds for each in (tokens, tokens.masked_fill(~mask[..., None], 9))
        ]
        assert_computed_alike(*coarse, atol=1e-6)

    @torch.inference_mode()
    def test_blocks_do_not_matter(self, model, inputs, monkeypatch):
        from scripts.ablation import isolated as ablation_isolated

        texts, videos = inputs[0], model.fuse(*inputs[1:])
        whole = model.score(texts, videos).similarity
        monkeypatch.setattr(ablation_isolated, "PAIR_ELEMENTS", 1)
        assert torch.allclose(model.score(texts, videos).similarity, whole, atol=1e-6)

    @torch.inference_mode()
    def test_untrained_it_is_the_gate_alone(self, checkpoint, inputs):
        """With a token for each frame there is a model of windows that should score the same."""
        from scripts.ablation.rows import ROWS
        from scripts.ablation.training import build_model

        texts, frames, tokens, mask = inputs
        isolated, windows = (build_model(ROWS[name], checkpoint, seed=0) for name in ("isolated", "gate-5"))
        a = isolated.score(texts, isolated.fuse(frames, tokens[:, :4], mask[:, :4]))
        videos = windows.fuse(frames, tokens[:, :4], mask[:, :4])
        b = windows.score(texts, videos)
        assert all(torch.allclose(a[part], b[part], atol=1e-5) for part in b)
        assert torch.allclose(isolated.fuse(frames, tokens[:, :4], mask[:, :4]).coarse_embeds, videos.coarse_embeds)


class TestTraining:
    def test_batches_hold_whole_blocks(self, recipe):
        from scripts.frozen_towers.batches import batches

        drawn = [clips.view(2, 20) for clips in batches(5, recipe._replace(steps=6), seed=0)]
        assert all((each[:, :1] % 20 == 0).all() and (each - each[:, :1] == torch.arange(20)).all() for each in drawn)
        blocks = torch.stack(drawn)[..., 0] // 20
        assert all(len(set(epoch.flatten().tolist())) == 4 for epoch in blocks.split(2))  # two batches an epoch of five
        again, other = (torch.stack(list(batches(5, recipe._replace(steps=6), seed))) for seed in (0, 1))
        assert torch.equal(again, torch.stack(drawn).flatten(1)) and not torch.equal(again, other)

    def test_runs_repeat(self, checkpoint, features, recipe):
        from scripts.ablation.training import train_and_evaluate

        def run(seed):
            result = train_and_evaluate("tcd", seed, recipe, checkpoint, features, "test")
            losses = [value for name, value in result["training"].items() if name.endswith("loss")]
            return losses, flat(result["results"])

        first, again, other = run(0), run(0), run(1)
        assert all(a == pytest.approx(b, rel=1e-5) for a, b in zip(first, again, strict=True))
        assert first[0] != pytest.approx(other[0], rel=1e-3)

    def test_training_lowers_the_loss(self, checkpoint, features, recipe):
        from scripts.ablation.training import train_and_evaluate

        losses = [
            train_and_evaluate("tcd", 0, recipe._replace(steps=steps), checkpoint, features, "train")["training"][
                "loss"
            ]
            for steps in (1, 30)
        ]
        assert losses[1] < losses[0]

    def test_ways_of_ranking(self, checkpoint, features):
        from scripts.ablation.rows import ROWS
        from scripts.ablation.training import build_model, evaluate

        with torch.inference_mode():
            results = {name: evaluate(build_model(ROWS[name], checkpoint, 0), ROWS[name], features["test"])
                       for name in ("tcd", "no-hsc")}  # fmt: skip
        assert list(results["tcd"]) == ["full", "coarse", "two-stage"] and list(results["no-hsc"]) == ["full"]
        metrics = {way: each["metrics"] for way, each in results["tcd"].items()}
        assert metrics["full"] == {**metrics["two-stage"], "all queries": metrics["full"]["all queries"]}  # 40 < top 50
        assert metrics["coarse"] != metrics["full"]
        assert [metrics["full"][kind]["t2v"]["queries"] for kind in ("text", "visual", "both", "temporal")] == [
            8,
            8,
            8,
            16,
        ]

    def test_binding_compares_with_the_swapped_clip(self):
        from scripts.frozen_towers.batches import kinds_of, report
        from tcd_hf.evaluation.metrics import retrieval_ranks

        numbers = np.flatnonzero(kinds_of(20) == "temporal")
        assert numbers.tolist() == list(range(12, 20))
        for number in numbers.tolist():
            assert make_clip(0, "test", number).negatives[number ^ 1] == "other time"
        similarity = np.eye(20)
        similarity[12, 13] = 2.0  # the swapped clip is ahead
        similarity[15, 14] = 1.0  # a tie
        similarity[16, 18] = 2.0  # another clip is ahead
        assert report(retrieval_ranks(similarity, np.arange(20)), similarity)["binding"] == (6 + 0.5) / 8


class TestSummary:
    @staticmethod
    def result(row, seed, recall, binding=0.5):
        kinds = ("all queries", "text", "visual", "both", "temporal")
        metrics = {kind: {"t2v": {"R@1": recall, "R@10": 1.0}} for kind in kinds}
        way = {"metrics": metrics, "binding": binding}
        ways = {"full": way}
        if row == "tcd":
            ways |= {"two-stage": way, "coarse": {**way, "binding": 0.25}, "untrained": way}
        training = {"contrastive_loss": recall, "step_seconds": 1.0 + seed}
        return {"row": row, "seed": seed, "results": ways, "training": training, "trained_parameters": 7,
                "logit_scale": 4.6}  # fmt: skip

    def test_arithmetic(self):
        from scripts.ablation.report import summarise

        runs = [self.result("gate-5", 0, 0.5), self.result("tcd", 1, 0.8), self.result("tcd", 0, 0.6, 1.0)]
        rows = summarise(runs)["rows"]
        assert list(rows) == ["tcd", "two-stage", "coarse", "untrained", "gate-5"]
        recall = rows["tcd"]["recall"]["temporal"]["R@1"]
        assert recall["seeds"] == [0.6, 0.8] and recall["mean"] == pytest.approx(0.7)
        assert recall["std"] == pytest.approx(0.02**0.5)  # sqrt(((-.1)^2 + .1^2) / (2 - 1))
        assert rows["tcd"]["binding"]["mean"] == 0.75 and rows["coarse"]["binding"]["mean"] == 0.25
        assert rows["tcd"]["step_seconds"]["mean"] == 1.5
        assert rows["gate-5"]["recall"]["text"]["R@1"] == {"mean": 0.5, "std": None, "seeds": [0.5]}

    def test_what_is_required(self):
        from scripts.ablation.report import summarise

        runs = [self.result("tcd", 0, 0.6), self.result("tcd", 1, 0.7)]
        runs += [self.result("no-ocr", seed, 0.4) for seed in (0, 1)]
        runs += [self.result("gate-5", 0, 0.5), self.result("gate-5", 1, 0.7)]
        runs += [self.result("gate-10", 0, 0.5), self.result("gate-10", 1, 0.55)]
        required = {each["what"].split(" above ")[1]: each for each in summarise(runs)["required"]}
        text, five, ten = required.values()
        assert list(required) == [
            "no OCR, text queries",
            "text condition only, τ = 5, temporal queries",
            "text condition only, τ = 10, temporal queries",
        ]
        assert text["difference"] == pytest.approx(0.25) and text["needed"] == 0.3 and not text["holds"]
        assert five["difference"] == pytest.approx(0.05) and five["needed"] == pytest.approx(0.02**0.5)
        assert not five["holds"]
        assert ten["difference"] == pytest.approx(0.125) and ten["needed"] == pytest.approx(0.005**0.5)
        assert ten["holds"]

    def test_shares_are_printed_in_per_cent(self):
        from scripts.ablation.report import results_table, summarise

        table = results_table(summarise([self.result("tcd", 0, 0.6), self.result("tcd", 1, 0.8)])["rows"])
        assert "| all of TCD | 70.0 ± 14.1 / 100.0 |" in table


class TestCosts:
    def test_texts_are_counted_once_where_they_are_encoded_once(self, checkpoint):
        from scripts.ablation.costs import encoding_cost

        model, processor = TCDModel.from_pretrained(checkpoint).eval(), TCDProcessor.from_pretrained(checkpoint)
        videos = [["ab", "cd"], ["ab", "ab"]]
        once, every = (encoding_cost(model, processor, videos, way) for way in (True, False))
        assert once["texts"] == 1 and every["texts"] == 2  # a video
        assert once["tokens"] == every["tokens"] == 4  # start, two letters, end
        assert every["flops"] == pytest.approx(2 * once["flops"], rel=0.01) and once["flops"] > 0
        linear = 2 * (4 * 32 * 32 + 2 * 32 * 37)  # multiply-adds a token: two layers
        assert once["flops"] >= 2 * 4 * linear

    def test_report(self, checkpoint, features, recipe, monkeypatch):
        from scripts.ablation import costs as ablation_costs
        from scripts.ablation.report import costs_text

        monkeypatch.setattr(ablation_costs, "BATCHES", 1)
        monkeypatch.setattr(ablation_costs, "STEPS", 1)
        costs = ablation_costs.measure_costs(checkpoint, features["train"], recipe)
        windows, captions, places, readings = costs["encoding"]
        assert windows["texts"] == NUM_FRAMES and places["texts"] == 200
        assert readings["texts"] < captions["texts"] < NUM_FRAMES
        assert places["flops"] > windows["flops"] > captions["flops"]
        tcd, isolated, padded = costs["training"]
        assert isolated["parameters"] == padded["parameters"] < tcd["parameters"]
        assert f"| {tcd['parameters']:,} |" in costs_text(costs)


class TestScript:
    def arguments(self, checkpoint, output):
        return ["--model", str(checkpoint), "--output", str(output), "--rows", "gate-5", "tcd", "--seeds", "0", "1",
                "--steps", "2", "--clips", *map(str, CLIPS.values())]  # fmt: skip

    def test_what_is_there_is_not_run_again(self, checkpoint, encoded, tmp_path, monkeypatch):
        from scripts.ablation import __main__ as ablation
        from scripts.ablation import costs as ablation_costs
        from scripts.ablation import jobs

        monkeypatch.setattr(ablation_costs, "BATCHES", 1)
        monkeypatch.setattr(ablation_costs, "STEPS", 1)
        (tmp_path / "encoded").symlink_to(encoded)
        arguments = self.arguments(checkpoint, tmp_path)
        assert ablation.main(arguments) == 0
        runs = {path: path.read_text() for path in (tmp_path / "runs").iterdir()}
        assert {path.name for path in runs} == {"gate-5-0.json", "gate-5-1.json", "tcd-0.json", "tcd-1.json"}
        summary = json.loads((tmp_path / "ablation.json").read_text())
        assert summary["rows"]["tcd"]["seeds"] == [0, 1] and len(summary["choice"]["validation"]) == 8
        tried = {tuple(each["rates"]): each["R@1"] for each in summary["choice"]["validation"]}
        assert tried[tuple(summary["choice"]["chosen"])] == max(tried.values())
        recipes = [json.loads(text)["recipe"] for text in runs.values()]
        assert all(
            [each["backbone_learning_rate"], each["learning_rate"]] == summary["choice"]["chosen"] for each in recipes
        )
        assert "| all of TCD |" in (tmp_path / "ablation.md").read_text()

        lost = tmp_path / "runs" / "tcd-1.json"
        lost.unlink()
        made = []
        original = jobs.train_and_evaluate
        monkeypatch.setattr(jobs, "train_and_evaluate", lambda *job: made.append(job[:2]) or original(*job))
        assert ablation.main(arguments) == 0
        assert made == [("tcd", 1)]
        assert all(path.read_text() == text for path, text in runs.items() if path != lost)
        again, before = json.loads(lost.read_text()), json.loads(runs[lost])
        assert flat(again["results"]) == pytest.approx(flat(before["results"]), rel=1e-5)

        with pytest.raises(SystemExit):
            ablation.main([*arguments, "--steps", "3"])
        assert made == [("tcd", 1)]

    @pytest.mark.slow
    def test_two_processes_run_what_one_runs(self, checkpoint, encoded, tmp_path):
        arguments = ["--model", checkpoint, "--rows", "gate-5", "--seeds", "0", "1", "--steps", "2", "--clips"]
        arguments += [*CLIPS.values(), "--learning-rates", "1e-3", "1e-2"]
        results = {}
        for processes in (1, 2):
            output = tmp_path / str(processes)
            output.mkdir()
            (output / "encoded").symlink_to(encoded)
            options = ["--output", output, "--processes", processes]
            command = [sys.executable, "-m", "scripts.ablation", *arguments, *options]
            subprocess.run(list(map(str, command)), cwd=ROOT, check=True)
            results[processes] = [json.loads(path.read_text())["results"] for path in sorted(output.glob("runs/*"))]
        assert len(results[2]) == 2 and results[1] == results[2]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--steps", "0"], "--steps"),
            (["--processes", "0"], "--processes"),
            (["--clips", "40", "30", "20"], "multiples of 20"),
            (["--clips", "20", "20", "20"], "at least 40 to train on"),
            (["--model", "nowhere"], "no model.safetensors in nowhere"),
            (["--rows", "everything"], "invalid choice"),
        ],
    )
    def test_refusals(self, tmp_path, capsys, arguments, message):
        from scripts.ablation import __main__ as ablation

        with pytest.raises(SystemExit):
            ablation.main(["--model", str(MINI), "--output", str(tmp_path / "new"), *arguments])
        assert message in capsys.readouterr().err
        assert not (tmp_path / "new").exists()
