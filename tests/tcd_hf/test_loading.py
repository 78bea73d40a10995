"""`tcd_hf.load` and all that loads by it: every door, every kind of checkpoint, and checkpoints that bring code."""

import builtins
import contextlib
import inspect
import io
import json
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    Siglip2Config,
    Siglip2ImageProcessor,
    Siglip2Model,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
)
from transformers.utils import logging as transformers_logging

from tcd_hf import TCDModel, TCDProcessor, VideoIndex, load, load_mini, loading
from tcd_hf.checkpoints import MINI
from tcd_hf.index.schema import IndexMismatchError
from tcd_hf.loading import load_processor
from tcd_hf.reading.fingerprints import model_fingerprint, tokenizer_fingerprint
from tcd_hf.training import __main__ as training
from tests.clips import coded_frame, write_clip
from tests.tcd_hf.conftest import NUM_FRAMES, CodeReader, invoke, make_tiny_model, make_tiny_processor
from tests.towers import save_towers

TOWER = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4}
TEXT = {**TOWER, "vocab_size": 514, "bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513}
VISION = {**TOWER, "image_size": 16, "patch_size": 8}
SQUARE = {"height": 16, "width": 16}
UNKNOWN_LIMIT = int(1e30)  # what transformers takes where a tokenizer tells none

SHORT = {**TEXT, "max_position_embeddings": 64}
ENCODERS = {
    "CLIP": lambda: (
        CLIPModel(CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=16)),
        CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=16),
    ),
    "SigLIP": lambda: (
        SiglipModel(SiglipConfig(text_config=SHORT, vision_config=VISION)),
        SiglipImageProcessor(size=SQUARE),
    ),
    "SigLIP 2": lambda: (
        Siglip2Model(Siglip2Config(text_config=SHORT, vision_config={**TOWER, "patch_size": 4, "num_patches": 16})),
        Siglip2ImageProcessor(patch_size=4, max_num_patches=16),
    ),
}
ENCODERS["no limit"] = ENCODERS["CLIP"]
LIMITS = {"TCD": 77, "CLIP": 77, "SigLIP": 64, "SigLIP 2": 64, "no limit": 77}


def save_checkpoint(folder: Path, kind: str = "TCD", seed: int = 0) -> str:
    """A tiny checkpoint, which reads no text in videos; returns its name."""
    processor = make_tiny_processor()
    if kind == "TCD":
        make_tiny_model(seed).save_pretrained(folder)
        processor.save_pretrained(folder)
        return str(folder)
    if kind == "no limit":
        processor.tokenizer.model_max_length = UNKNOWN_LIMIT
    torch.manual_seed(seed)
    for part in (*ENCODERS[kind](), processor.tokenizer):
        part.save_pretrained(folder)
    return str(folder)


def edit_json(file: Path, change) -> None:
    content = json.loads(file.read_text(encoding="utf-8"))
    change(content)
    file.write_text(json.dumps(content), encoding="utf-8")


def limit_of(processor) -> int:
    """Tokens of the longest text that a processor makes."""
    return processor(text=["long " * 100])["input_ids"].shape[1]


@pytest.fixture
def videos(tmp_path, monkeypatch) -> Path:
    """A folder of data for all verbs: a videofolder whose splits have the same two clips."""
    monkeypatch.setenv("TCD_HF_CACHE", str(tmp_path / "cache"))
    for split in ("train", "validation", "test"):
        folder = tmp_path / "world" / split
        folder.mkdir(parents=True)
        names = [f"{number}.mp4" for number in range(2)]
        for number, name in enumerate(names):
            write_clip(folder / name, [coded_frame(1 + number)] * 10, fps=5)
        lines = [json.dumps({"file_name": name, "caption": f"clip {name}"}) for name in names]
        (folder / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path / "world"


def command(*arguments):
    result = invoke(*arguments)
    if result.exit_code:
        raise ValueError(result.stderr)
    return result


def train(*arguments) -> None:
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        status = training.main([str(argument) for argument in arguments])
    if status:
        raise ValueError(errors.getvalue())


@pytest.fixture(autouse=True)
def fresh_accelerator(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


class Doors:
    """Each way to use a checkpoint by its name."""

    def __init__(self, name: str, videos: Path, folder: Path):
        self.name, self.videos, self.folder = name, videos, folder
        self.index_uri = folder / "my.index"

    def load(self):
        return model_fingerprint(load(self.name)[0])

    def processor(self):
        load_processor(self.name)

    def search_videos(self):
        options = ["--model", self.name, "--device", "cpu", "--json"]
        found = json.loads(command("search", "x", "--videos", self.videos / "test", *options).stdout)
        assert len(found["queries"][0]["hits"]) == 2
        (made,) = (self.folder / "cache" / "indexes").iterdir()
        return VideoIndex.open(made).metadata.model_fingerprint

    def index(self):
        options = ["--model", self.name, "--device", "cpu", "--workers", 0]
        command("index", self.videos / "test", "--index", self.index_uri, *options)
        return VideoIndex.open(self.index_uri).metadata.model_fingerprint

    def search_index(self):
        found = json.loads(command("search", "x", "--index", self.index_uri, "--device", "cpu", "--json").stdout)
        assert len(found["queries"][0]["hits"]) == 2

    def open(self):
        index = VideoIndex.open(self.index_uri)
        assert len(index.search("x")) == 2
        return model_fingerprint(index.model)

    def page(self):
        pytest.importorskip("gradio", reason="needs the extra tcd-hf[app]")
        pytest.importorskip("prometheus_client", reason="needs the extra tcd-hf[app]")
        from tcd_hf.app.library import Library
        from tcd_hf.app.server import build_app

        index = VideoIndex.open(self.index_uri)
        build_app(index)
        assert len(Library(index).search("x", "two-stage", 2, None)) == 2
        return model_fingerprint(index.model)

    def prepare(self):
        options = ["--model", self.name, "--num-frames", NUM_FRAMES, "--no-ocr"]
        command("prepare", "--videofolder", self.videos, *options, "--out", self.folder / "prepared")

    def evaluate(self):
        whole, out = self.folder / "whole", self.folder / "untrained.json"
        command("prepare", "--videofolder", self.videos, "--model", self.name, "--no-ocr", "--out", whole)
        command("evaluate", "--model", self.name, "--data", whole, "--out", out)
        return json.loads(out.read_text())["about"]["model_fingerprint"]

    def train(self):
        """Without learning: the trained model is the one that training starts from."""
        recipe = self.folder / "recipe.yaml"
        recipe.write_text("batch_size: 2\nmax_steps: 1\nlearning_rate: 0.0\nbackbone_learning_rate: 0.0\n")
        options = ["--model", self.name, "--data", self.folder / "prepared", "--output", self.folder / "run"]
        train(recipe, *options, "--model_overrides", json.dumps({"num_frames": NUM_FRAMES}))
        return model_fingerprint(load(self.folder / "run" / "best")[0])

    def evaluate_trained(self):
        """What training made: its data have as many frames."""
        out = self.folder / "results.json"
        best = self.folder / "run" / "best"
        command("evaluate", "--model", best, "--data", self.folder / "prepared", "--out", out)
        return json.loads(out.read_text())["about"]["model_fingerprint"]

    def sentence_transformers(self):
        pytest.importorskip("sentence_transformers", reason="needs the extra tcd-hf[sentence-transformers]")
        from tcd_hf.integrations.sentence_transformers import TCDModule

        module = TCDModule.load(self.name)
        assert module(module.preprocess(["a red bus"]))["sentence_embedding"].shape[0] == 1
        return model_fingerprint(module.model)

    def mteb(self):
        pytest.importorskip("mteb", reason="needs the extra tcd-hf[mteb]")
        from tcd_hf.integrations.mteb import TCDSearch

        return model_fingerprint(TCDSearch(*load(self.name)).model)


@pytest.mark.slow
@pytest.mark.parametrize("kind", LIMITS)
def test_every_door_opens_every_kind_of_checkpoint(kind, videos, tmp_path):
    name = save_checkpoint(tmp_path / "model", kind)
    model, processor = load(name)
    assert limit_of(processor) == LIMITS[kind]
    doors = Doors(name, videos, tmp_path)
    as_they_are = model_fingerprint(model)
    for door in ("load", "search_videos", "index", "open", "page", "evaluate", "sentence_transformers", "mteb"):
        assert getattr(doors, door)() == as_they_are, door
    doors.search_index()
    doors.prepare()
    of_few_frames = model_fingerprint(load(name, num_frames=NUM_FRAMES)[0])
    for door in ("train", "evaluate_trained"):
        assert getattr(doors, door)() == of_few_frames, door
    trained = load(tmp_path / "run" / "best")[1]
    assert limit_of(trained) == LIMITS[kind]
    assert tokenizer_fingerprint(trained) == tokenizer_fingerprint(processor)


class TestForeignCode:
    """A folder that brings code, which would write a file if it was run."""

    @pytest.fixture(autouse=True)
    def asked(self, monkeypatch):
        monkeypatch.setattr(builtins, "input", lambda *prompt: pytest.fail(f"somebody was asked: {prompt}"))

    @pytest.fixture
    def ran(self, tmp_path):
        """A file that is not there, and must never be."""
        yield tmp_path / "RAN"
        assert not (tmp_path / "RAN").exists()

    @pytest.fixture
    def bring_code(self, ran):
        """Lets a checkpoint name code of its own wherever it could."""

        def bring(folder: Path) -> str:
            parts = ("Config", "Model", "Tokenizer", "ImageProcessor", "VideoProcessor", "Processor")
            classes = "".join(f"class {part}: pass\n" for part in parts)
            (folder / "modeling_x.py").write_text(f"open({str(ran)!r}, 'w').close()\n{classes}", encoding="utf-8")
            auto_map = {f"Auto{part}": f"modeling_x.{part}" for part in parts}
            auto_map["AutoTokenizer"] = [None, "modeling_x.Tokenizer"]
            for file in folder.glob("*config.json"):
                edit_json(file, lambda content: bring_into(content, auto_map))
            return str(folder)

        def bring_into(content, auto_map):
            for value in content.values():
                if isinstance(value, dict) and not {"model_type", "image_processor_type"}.isdisjoint(value):
                    bring_into(value, auto_map)
            content["auto_map"] = auto_map

        return bring

    @pytest.mark.parametrize("kind", ["TCD", "CLIP"])
    def test_beside_a_known_model_is_ignored(self, bring_code, tmp_path, kind):
        name = save_checkpoint(tmp_path / "model", kind)
        expected = model_fingerprint(load(name)[0])
        model, processor = load(bring_code(tmp_path / "model"))
        assert model_fingerprint(model) == expected
        assert type(processor.tokenizer).__module__.startswith("transformers.")
        assert "auto_map" not in json.dumps(model.config.to_dict())
        model.save_pretrained(tmp_path / "again")  # with the code of this package

    @pytest.mark.parametrize("door", ["load", "processor", "search_videos", "index", "sentence_transformers"])
    @pytest.mark.parametrize("model_type", ["foreign", None, ["a"]])
    def test_of_an_unknown_model_is_refused(self, bring_code, videos, tmp_path, door, model_type):
        save_checkpoint(tmp_path / "model")
        edit_json(tmp_path / "model" / "config.json", lambda config: config.update(model_type=model_type))
        doors = Doors(bring_code(tmp_path / "model"), videos, tmp_path)
        with pytest.raises(ValueError, match="Cannot load a model from"):
            getattr(doors, door)()

    @pytest.mark.parametrize(
        ("door", "arguments"),
        [
            (command, ["prepare", "--videofolder", "world", "--out", "prepared", "--model", "model"]),
            (train, ["--data", "prepared", "--output", "run", "--model", "model"]),
            (command, ["evaluate", "--data", "prepared", "--out", "results.json", "--model", "model"]),
            (command, ["plot", "calibration", "world/test/0.mp4", "--out", "cycle.png", "--model", "model"]),
        ],
    )
    def test_of_an_unknown_model_is_refused_by_verbs(
        self, bring_code, videos, tmp_path, monkeypatch, capsys, door, arguments
    ):
        monkeypatch.chdir(tmp_path)
        command("prepare", "--videofolder", "world", "--no-ocr", "--out", "prepared")
        save_checkpoint(tmp_path / "model")
        edit_json(tmp_path / "model" / "config.json", lambda config: config.update(model_type="foreign"))
        bring_code(tmp_path / "model")
        with pytest.raises(ValueError, match="is of the model_type 'foreign'") as error:
            door(*arguments)
        assert "Traceback" not in str(error.value) + capsys.readouterr().err

    def test_of_the_model_of_an_index_is_refused(self, bring_code, videos, tmp_path):
        save_checkpoint(tmp_path / "model")
        doors = Doors(str(tmp_path / "model"), videos, tmp_path)
        doors.index()
        edit_json(tmp_path / "model" / "config.json", lambda config: config.update(model_type="foreign"))
        bring_code(tmp_path / "model")
        for use in (doors.search_index, doors.open, lambda: VideoIndex.open(doors.index_uri).add(videos)):
            with pytest.raises(ValueError, match=r"made by a model that cannot be loaded\. .*code that a model brings"):
                use()
        assert len(VideoIndex.open(doors.index_uri).paths) == 2

    def test_of_a_tokenizer_is_refused(self, bring_code, tmp_path):
        save_checkpoint(tmp_path / "model")
        change = {"tokenizer_class": "ForeignTokenizer"}
        edit_json(tmp_path / "model" / "tokenizer_config.json", lambda config: config.update(change))
        (tmp_path / "model" / "tokenizer.json").unlink()
        with pytest.raises(ValueError, match="Cannot load a model"):
            load(bring_code(tmp_path / "model"))

    def test_kernels_that_a_configuration_names_are_not_fetched(self, tmp_path):
        name = save_checkpoint(tmp_path / "model")
        kernels = {"attn_implementation": "org/kernels", "_attn_implementation": "org/kernels"}
        for change in (lambda config: config.update(kernels), lambda config: config["backbone_config"].update(kernels)):
            edit_json(tmp_path / "model" / "config.json", change)
        assert load(name)[0].config._attn_implementation == "sdpa"

    def test_pickles_are_read_as_weights_alone(self, ran, tmp_path):
        class Harm:
            def __reduce__(self):
                return open, (str(ran), "w")

        name = save_checkpoint(tmp_path / "model")
        expected = load(name)[0]
        (tmp_path / "model" / "model.safetensors").unlink()
        torch.save(expected.state_dict(), tmp_path / "model" / "pytorch_model.bin")
        assert model_fingerprint(load(name)[0]) == model_fingerprint(expected)
        torch.save({"weight": Harm()}, tmp_path / "model" / "pytorch_model.bin")
        with pytest.raises(ValueError, match="Cannot load a model"):
            load(name)

    def test_adapters_may_name_another_model(self, tmp_path, monkeypatch):
        name = save_checkpoint(tmp_path / "model")
        (tmp_path / "model" / "adapter_config.json").write_text('{"base_model_name_or_path": "org/other"}')
        monkeypatch.setattr(loading, "is_peft_available", lambda: True)
        with pytest.raises(ValueError, match="it holds an adapter"):
            load(name)


class TestIndex:
    @pytest.fixture
    def made(self, videos, tmp_path):
        """The name of an index of two clips, and of the folder of its model."""
        name = save_checkpoint(tmp_path / "model")
        model, processor = load(name)
        VideoIndex.create(tmp_path / "my.index", model, processor).add(videos / "test", workers=0)
        return tmp_path / "my.index", tmp_path / "model"

    def test_loads_its_model_when_it_is_needed(self, made, videos, monkeypatch):
        uri, _ = made
        calls = []
        original = loading.load
        monkeypatch.setattr(
            loading, "load", lambda *args, **options: (calls.append(args), original(*args, **options))[1]
        )
        index = VideoIndex.open(uri)
        assert len(index.paths) == len(index) == index.stats().videos == 2
        assert index.transcript(index.paths[0]) == [] and len(index.captions) == 2
        assert len(index.export_dataset()) == 2 and "2 videos" in repr(index)
        assert index.remove([index.paths[0]]) == 1
        index.compact()
        assert calls == []
        assert len(index.search("x")) == 1
        assert len(index.add(videos / "test", workers=0).added) == 1
        assert len(index.search("x")) == 2
        assert index.model.device.type == ("cuda" if torch.cuda.is_available() else "cpu")
        assert len(calls) == 1

    def test_notices_exchanged_weights(self, made, videos):
        uri, folder = made
        save_checkpoint(folder, seed=1)
        index = VideoIndex.open(uri)
        for use in (lambda: index.search("x"), lambda: index.add(videos / "train"), lambda: index.model):
            with pytest.raises(IndexMismatchError, match="another model, or with other weights"):
                use()
        assert len(index) == 2

    def test_says_what_to_do_where_its_model_is_gone(self, made):
        uri, folder = made
        folder.rename(folder.with_name("elsewhere"))
        with pytest.raises(ValueError, match=r"cannot be loaded\. .*there is no such folder"):
            VideoIndex.open(uri).search("x")

    def test_reads_as_it_says_but_no_files_that_it_names(self, videos, tmp_path):
        name = save_checkpoint(tmp_path / "model")
        model, processor = load(name, ocr_engine="rapidocr")
        processor.ocr_options = {
            "limit_side_len": 64,
            "lang": "th",
            "params": {"Rec.model_path": "/somewhere/rec.onnx"},
        }
        processor.ocr_fps, processor.min_confidence = 1.0, 0.9
        VideoIndex.create(tmp_path / "my.index", model, processor)
        change = {"ocr_engine": "doctr", "ocr_options": {"det_weights": "/somewhere/det.pt"}}
        edit_json(tmp_path / "model" / "processor_config.json", lambda config: config.update(change))
        loaded = VideoIndex.open(tmp_path / "my.index").processor
        assert (loaded.ocr_engine, loaded.ocr_options) == ("rapidocr", {"limit_side_len": 64, "lang": "th"})
        assert (loaded.ocr_fps, loaded.min_confidence) == (1.0, 0.9)
        processor.ocr_options = {"lang": "/somewhere/rec.onnx"}
        VideoIndex.create(tmp_path / "third.index", model, processor)
        assert VideoIndex.open(tmp_path / "third.index").processor.ocr_options is None
        processor.ocr_engine, processor.ocr_options = CodeReader({}), None  # which no index can name
        VideoIndex.create(tmp_path / "other.index", model, processor)
        assert VideoIndex.open(tmp_path / "other.index").processor.ocr_options is None

    def test_takes_a_model_that_is_given(self, made):
        uri, folder = made
        model, processor = load(folder)
        index = VideoIndex.open(uri, model)
        assert index.model is model and len(index.search("x")) == 2
        assert VideoIndex.open(uri, model, processor).processor is processor


class TestLoad:
    def test_the_model_inside_the_package(self):
        model, processor = load()
        assert model.name_or_path == str(MINI) and model.dtype == torch.float32 and not model.training
        assert model_fingerprint(model) == model_fingerprint(load_mini()[0])
        assert load_mini(dtype=torch.bfloat16, max_length=9)[0].dtype == torch.bfloat16
        assert processor.num_frames == load_processor().num_frames == 12
        assert load_processor(num_frames=5).num_frames == 5

    def test_its_options_are_typed_as_they_are(self):
        parameters = inspect.signature(load).parameters
        assert list(loading.LoadOptions.__annotations__) == list(parameters)[1:]

    def test_what_can_be_set(self, tmp_path):
        encoder = save_checkpoint(tmp_path / "encoder", "CLIP")
        model, processor = load(encoder, num_frames=5, max_length=9, overrides={"use_distillation": False})
        assert model.config.num_frames == processor.num_frames == 5 and limit_of(processor) == 9
        assert model.config.use_distillation is False
        model, processor = load(save_checkpoint(tmp_path / "model"), num_frames=6)
        assert model.config.num_frames == processor.num_frames == len(model.co_attention.position_embedding) == 6
        model, processor = load(tmp_path / "model", overrides={"temporal_num_layers": 0})
        assert model.temporal_encoder is None and processor.num_frames == NUM_FRAMES
        for name in (encoder, str(tmp_path / "model")):
            with pytest.raises(ValueError, match="are no fields of TCDConfig"):
                load(name, overrides={"use_orc": False})
            with pytest.raises(ValueError, match="-1"):
                load(name, overrides={"calibration_weight": -1})

    def test_the_limit_of_a_tower_counts(self, tmp_path):
        model, processor = load(save_checkpoint(tmp_path, "no limit"))
        assert processor.max_length == 77 and model.name_or_path == str(tmp_path)
        inputs = processor(text=["long " * 100])
        assert inputs["input_ids"].shape == (1, 77)
        assert model.get_text_features(**inputs).pooler_output.shape == (1, 16)

    def test_a_processor_alone_needs_no_weights(self, tmp_path):
        name = save_checkpoint(tmp_path, "CLIP")
        (tmp_path / "model.safetensors").unlink()
        processor = load_processor(name, num_frames=7, max_length=9)
        assert processor.num_frames == 7 and limit_of(processor) == 9
        assert processor.image_processor.crop_size["height"] == 16

    def test_a_processor_is_the_one_that_was_saved(self, tmp_path):
        processor = make_tiny_processor("rapidocr")
        options = {"window_scale": 0.5, "ocr_fps": 1.0, "reading_interval": None, "min_confidence": 0.9}
        options |= {
            "max_length": 9,
            "video_backend": "pyav",
            "max_pixels": 1 << 20,
            "ocr_options": {"limit_side_len": 64},
            "query_prefix": "query: ",
            "caption_prefix": "passage: ",
            "text_padding": "max_length",
        }
        for name, value in options.items():
            setattr(processor, name, value)
        make_tiny_model().save_pretrained(tmp_path)
        processor.save_pretrained(tmp_path)
        loaded = load_processor(tmp_path)
        assert {name: getattr(loaded, name) for name in options} == options and loaded.ocr_engine == "rapidocr"
        assert tokenizer_fingerprint(loaded) == tokenizer_fingerprint(processor)

    def test_an_engine_of_ones_own(self, tmp_path, code_reader):
        make_tiny_model().save_pretrained(tmp_path)
        make_tiny_processor(code_reader).save_pretrained(tmp_path)
        assert load(tmp_path)[1].ocr_engine is None  # and a warning, see the tests of the processor
        assert load(tmp_path, ocr_engine=code_reader)[1].ocr_engine is code_reader

    def test_a_model_on_two_encoders_finds_by_what_is_read(self, tmp_path):
        texts, images = save_towers(tmp_path)
        model = TCDModel.from_backbone(text=texts, image=images, num_frames=NUM_FRAMES)
        prefixes = {"query_prefix": "query : ", "caption_prefix": "passage : ", "ocr_engine": None}
        processor = TCDProcessor.from_backbone(text=texts, image=images, num_frames=NUM_FRAMES, **prefixes)
        for part in (model, processor):
            part.save_pretrained(tmp_path / "model")
        reader = CodeReader({1: ["tesco express"], 2: ["gate b4"]})
        model, processor = load(tmp_path / "model", ocr_engine=reader)
        for code in (1, 2):
            write_clip(tmp_path / f"{code}.mp4", [coded_frame(code)] * 10, fps=5)
        index = VideoIndex.create(tmp_path / "index", model, processor, cache_dir=tmp_path / "cache")
        index.add([tmp_path / "1.mp4", tmp_path / "2.mp4"], workers=0)
        for query, found in (("the store tesco express", "1.mp4"), ("gate b4", "2.mp4")):
            assert Path(index.search(query)[0].path).name == found
        processor.caption_prefix = ""
        with pytest.raises(IndexMismatchError, match="or with other prefixes of texts"):
            VideoIndex.open(tmp_path / "index", model, processor)

    def test_new_weights_come_from_the_seed_alone(self, tmp_path):
        encoder, name = save_checkpoint(tmp_path / "encoder", "CLIP"), save_checkpoint(tmp_path / "model")
        before = torch.get_rng_state()
        first, again, other = (model_fingerprint(load(encoder, seed=seed)[0]) for seed in (3, 3, 4))
        assert first == again != other
        load(name)
        overrides = {"temporal_num_layers": 5}  # one more than it has
        first, again, other = (model_fingerprint(load(name, overrides=overrides, seed=seed)[0]) for seed in (3, 3, 4))
        assert first == again != other
        assert torch.equal(torch.get_rng_state(), before)

    def test_devices(self, tmp_path):
        name = save_checkpoint(tmp_path / "encoder", "CLIP")
        with pytest.raises(ValueError, match="The device 'nonsense' cannot be used"):
            load(name, device="nonsense")
        if not torch.cuda.is_available():
            with pytest.raises(ValueError, match="The device 'cuda:7' cannot be used"):
                load(name, device="cuda:7")
        assert load(name, device=torch.device("cpu"))[0].device.type == "cpu"
        assert load(name, device="auto")[0].device.type == ("cuda" if torch.cuda.is_available() else "cpu")
        with pytest.raises(ValueError, match="not both"):
            load(name, device="cpu", device_map="auto")
        with pytest.raises(ValueError, match="`device_map` is for TCD checkpoints"):
            load(name, device_map="auto")
        assert load(save_checkpoint(tmp_path / "model"), device_map="cpu")[0].device.type == "cpu"

    def test_halves_are_computed_in_float32_by_a_cpu(self, tmp_path):
        make_tiny_model().half().save_pretrained(tmp_path)
        make_tiny_processor().save_pretrained(tmp_path)
        assert TCDModel.from_pretrained(tmp_path).dtype == torch.float16
        assert load(tmp_path)[0].dtype == load(tmp_path, device="cpu")[0].dtype == torch.float32
        assert load(tmp_path, device_map="cpu")[0].dtype == torch.float32
        assert load(tmp_path, dtype="auto")[0].dtype == torch.float16
        assert load(tmp_path, dtype=torch.bfloat16)[0].dtype == torch.bfloat16

    def test_folders_that_hold_no_model(self, tmp_path):
        (tmp_path / "broken").mkdir()
        (tmp_path / "broken" / "config.json").write_text("{broken")
        (tmp_path / "config.json").write_text("{}")
        for name in ("broken", "nowhere", "config.json"):
            with pytest.raises(ValueError, match=f"Cannot load a model from '{tmp_path / name}'.*save_pretrained"):
                load(tmp_path / name)

    @pytest.mark.parametrize("shown", [True, False])
    def test_nothing_is_printed_and_no_setting_is_changed(self, tmp_path, capfd, shown):
        names = [save_checkpoint(tmp_path / kind, kind) for kind in LIMITS]
        before = transformers_logging.is_progress_bar_enabled()
        set_bars = {True: transformers_logging.enable_progress_bar, False: transformers_logging.disable_progress_bar}
        set_bars[shown]()
        try:
            capfd.readouterr()
            for name in (*names, MINI):
                load(name)
            assert tuple(capfd.readouterr()) == ("", "")
            with pytest.raises(ValueError, match="nowhere"):
                load(tmp_path / "nowhere")
            assert transformers_logging.is_progress_bar_enabled() is shown
        finally:
            set_bars[before]()
