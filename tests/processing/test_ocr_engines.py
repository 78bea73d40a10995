"""OCR engines: output contract, options, threads, caching, copies, forks, missing weights."""

import copy
import multiprocessing
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rapidocr

from tcd_hf.processing.ocr_engines import (
    DoctrEngine,
    OCREngineError,
    RapidOCREngine,
    TextReading,
    default_num_threads,
    get_engine,
    normalize_text,
)
from tcd_hf.processing.window_ocr import WindowOCRCaptioner
from tests.clips import text_frame

ROOT = Path(__file__).parents[2]
TINY_DOCTR = {"det_arch": "fast_tiny", "reco_arch": "crnn_mobilenet_v3_small"}


@pytest.fixture(scope="module")
def sign() -> np.ndarray:
    return text_frame("OPEN CAFE", (320, 180), position=(0.5, 0.25), font_size=40)


def texts_in_child(engine, image, queue):
    queue.put([reading.text for reading in engine([image])[0]])


def read_in_both():
    """Reads in this process, and then in one that is forked from it, whose text is printed."""
    image = text_frame("OPEN CAFE", (320, 180), position=(0.5, 0.25), font_size=40)
    engine = get_engine("rapidocr", num_threads=2)
    engine([image])  # its thread pool lives in this process only
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=texts_in_child, args=(engine, image, queue), daemon=True)
    child.start()
    print(*queue.get(timeout=120))
    child.join(timeout=60)
    sys.exit(child.exitcode)


class TestRapidOCR:
    def test_reads_text_where_it_stands(self, sign):
        readings = get_engine("rapidocr")([sign, np.full_like(sign, 255)])
        assert [reading.text for reading in readings[0]] == ["OPEN CAFE"]
        x0, y0, x1, y1 = readings[0][0].box
        assert (x0 + x1) / 2 == pytest.approx(0.5, abs=0.03) and (y0 + y1) / 2 == pytest.approx(0.25, abs=0.03)
        assert readings[0][0].confidence > 0.9
        assert readings[1] == []  # nothing found is a normal answer

    def test_is_built_once_per_process_and_options(self, sign, monkeypatch):
        built, build = [], rapidocr.RapidOCR
        monkeypatch.setattr(rapidocr, "RapidOCR", lambda params: built.append(params) or build(params=params))
        for side in (320, 640):
            get_engine("rapidocr", num_threads=1, limit_side_len=side, box_threshold=0.31)([sign])  # used by no other
        assert len(built) == 1
        get_engine("rapidocr", num_threads=1, box_threshold=0.32)([sign])
        assert len(built) == 2

    @pytest.mark.parametrize("copied", [copy.deepcopy, lambda engine: pickle.loads(pickle.dumps(engine))])
    def test_copies_read_the_same(self, sign, copied):
        engine = get_engine("rapidocr")
        before = engine([sign])
        assert copied(engine)([sign]) == before

    @pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
    def test_survives_a_fork_after_use(self):
        """In a process of its own: what other tests run in this one may hold a lock when it forks."""
        code = "from tests.processing.test_ocr_engines import read_in_both; read_in_both()"
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0 and done.stdout.splitlines()[-1] == "OPEN CAFE", done.stderr

    def test_missing_weights_name_the_file_and_the_offline_engine(self, sign, tmp_path):
        missing = str(tmp_path / "rec.onnx")
        with pytest.raises(OCREngineError, match=r'rec\.onnx.*"rapidocr"'):
            get_engine("rapidocr", params={"Rec.model_path": missing})([sign])


class TestYourOwn:
    def test_tuples_become_readings(self):
        engine = get_engine(lambda images: [[("EXIT", 1, (0, 0, 0.5, 0.25))] for _ in images])
        assert engine([None, None]) == [[TextReading("EXIT", 1.0, (0.0, 0.0, 0.5, 0.25))]] * 2

    @pytest.mark.parametrize(
        ("output", "error", "message"),
        [
            (None, TypeError, "NoneType"),
            ([], ValueError, "1 images and returned readings of 0"),
            ([["EXIT"]], TypeError, "'EXIT'"),
            ([[("EXIT", 0.9, (0, 0, 1))]], TypeError, "box of four numbers"),
            ([[(7, 0.9, (0, 0, 1, 1))]], TypeError, "needs a text"),
        ],
    )
    def test_other_outputs_are_refused(self, output, error, message):
        with pytest.raises(error, match=message):
            get_engine(lambda images: output)([None])

    def test_may_remember_the_frames_before(self):
        class Counter:
            def __call__(self, images):
                return [[("by itself", 1, (0, 0, 1, 1))] for _ in images]

            def video_reader(self, min_text_height):
                seen = []

                def read(stretches):
                    seen.extend(stretches)
                    return [[(f"{len(seen)} at {min_text_height}", 1, (0, 0, 1, 1))] for _ in stretches]

                return read

        frames = np.zeros((2, 36, 64, 3), np.uint8)
        captioner = WindowOCRCaptioner(Counter(), num_windows=2, min_text_height=0.25, reading_interval=None)
        for _ in range(2):  # each video is read anew
            captions = captioner.caption_frames([(0.5, frames[0]), (1.5, frames[1])], 2.0)
            assert [caption.text for caption in captions] == ["2 at 0.25"] * 2

    def test_engines_pass_through(self):
        engine = RapidOCREngine(limit_side_len=640)
        assert get_engine(engine) is engine


@pytest.mark.parametrize(
    ("engine", "options", "error", "message"),
    [
        ("tesseract", {}, ValueError, "'rapidocr', 'doctr'"),
        ("rapidocr", {"limit_side": 3}, ValueError, "limit_side"),
        ("rapidocr", {"limit_side_len": 0}, ValueError, "at least 32"),
        ("rapidocr", {"num_threads": 0}, ValueError, "num_threads"),
        (len, {"num_threads": 1}, ValueError, "together with an object"),
        (3, {}, TypeError, "int"),
    ],
)
def test_wrong_engines_and_options(engine, options, error, message):
    with pytest.raises(error, match=message):
        get_engine(engine, **options)


def test_normalize_text():
    assert normalize_text("  ＯＰＥＮ\n ２４ｈ ﬁsh ") == "OPEN 24h fish"


class TestThreads:
    def test_environment_decides(self, monkeypatch):
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        assert default_num_threads() == 3

    def test_cores_are_shared_by_launched_processes(self, monkeypatch):
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(12)), raising=False)
        assert default_num_threads() == 8
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
        assert default_num_threads() == 3
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "40")
        assert default_num_threads() == 1

    def test_pool_workers_take_one(self, monkeypatch):
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(12)), raising=False)
        monkeypatch.setattr(multiprocessing, "parent_process", lambda: object())
        assert default_num_threads() == 1


class TestDoctr:
    @pytest.fixture
    def models(self):
        return pytest.importorskip("doctr.models")

    def test_output_follows_the_protocol(self, models, sign):
        # the weights are random: it is the shape of the answer that counts
        outputs = get_engine("doctr", pretrained=False, **TINY_DOCTR)([sign, sign[:90]])
        assert len(outputs) == 2
        for reading in outputs[0]:
            x0, y0, x1, y1 = reading.box
            assert isinstance(reading.text, str) and 0 <= x0 <= x1 <= 1 and 0 <= y0 <= y1 <= 1

    def test_words_become_readings(self, models, sign):
        from doctr.io import Block, Document, Line, Page, Word

        def predictor(images):
            words = [
                Word("OPEN", 0.9, ((0.1, 0.2), (0.4, 0.3)), 0.9, {}),
                Word("CAFE", 0.8, ((0.5, 0.2), (0.9, 0.3)), 0.9, {}),
            ]
            return Document([Page(image, [Block([Line(words)])], 0, image.shape[:2]) for image in images])

        assert DoctrEngine(predictor=predictor)([sign]) == [
            [TextReading("OPEN", 0.9, (0.1, 0.2, 0.4, 0.3)), TextReading("CAFE", 0.8, (0.5, 0.2, 0.9, 0.3))]
        ]

    def test_ready_predictor_is_recognised(self, models, sign):
        predictor = models.ocr_predictor(**TINY_DOCTR, pretrained=False, pretrained_backbone=False)
        engine = get_engine(predictor)
        assert isinstance(engine, DoctrEngine) and engine.predictor is predictor
        assert len(engine([sign])) == 1

    def test_local_weights_are_used(self, models, sign, tmp_path):
        import torch

        detector = models.detection.fast_tiny(pretrained=False, pretrained_backbone=False)
        recogniser = models.recognition.crnn_mobilenet_v3_small(pretrained=False, pretrained_backbone=False)
        torch.save(detector.state_dict(), tmp_path / "det.pt")
        torch.save(recogniser.state_dict(), tmp_path / "reco.pt")
        engine = DoctrEngine(**TINY_DOCTR, det_weights=tmp_path / "det.pt", reco_weights=tmp_path / "reco.pt")
        own = models.ocr_predictor(detector, recogniser, pretrained=False, pretrained_backbone=False)
        assert engine([sign]) == DoctrEngine(predictor=own)([sign])
        with pytest.raises(OCREngineError, match=r'det\.pt.*"rapidocr"'):  # a file of another model
            get_engine("doctr", **TINY_DOCTR, pretrained=False, reco_weights=str(tmp_path / "det.pt"))([sign])

    def test_missing_file(self, models, sign, tmp_path):
        with pytest.raises(OCREngineError, match=r'nowhere\.pt.*"rapidocr"'):
            get_engine("doctr", **TINY_DOCTR, pretrained=False, det_weights=str(tmp_path / "nowhere.pt"))([sign])

    def test_weights_that_cannot_be_downloaded(self, models, sign, tmp_path, monkeypatch):
        import urllib.error
        import urllib.request

        def refuse(*args, **kwargs):
            raise urllib.error.URLError("no network")

        monkeypatch.setenv("DOCTR_CACHE_DIR", str(tmp_path))
        monkeypatch.setattr(urllib.request, "urlopen", refuse)
        with pytest.raises(OCREngineError, match=r'fast_tiny.*no network.*"rapidocr"'):
            get_engine("doctr", **TINY_DOCTR)([sign])

    def test_unknown_architecture(self, models, sign):
        with pytest.raises(ValueError, match="fast_tiny"):
            get_engine("doctr", det_arch="yolo", pretrained=False)([sign])


def test_missing_package_says_what_to_install(sign, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "doctr", None)
    monkeypatch.setitem(__import__("sys").modules, "doctr.models", None)
    with pytest.raises(ImportError, match=r"tcd-hf\[doctr\]"):
        get_engine("doctr", det_arch="fast_small", pretrained=False)([sign])
