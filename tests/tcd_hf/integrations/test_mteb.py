import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset, Video

pytest.importorskip("mteb")
import mteb
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.models import EncoderProtocol, SearchProtocol
from torch.utils.data import DataLoader

from tcd_hf import VideoReadError, compute_retrieval_metrics
from tcd_hf.integrations.mteb import TCDEncoder, TCDSearch
from tests.clips import coded_frame, write_clip
from tests.tcd_hf.conftest import CodeReader, make_tiny_model, make_tiny_processor

TEXTS = {1: "TESCO express", 2: "DEPARTURES", 3: "STAR WARS", 4: "OPEN LATE", 5: "Gate B4"}
QUERIES = [f"{phrase} {text}" for text in TEXTS.values() for phrase in ("a sign says", "find")]
TO_VIDEO = np.repeat(np.arange(len(TEXTS)), 2)
EXACT = {"rtol": 0, "atol": 1e-6}


def trained_model(seed: int = 0):
    model = make_tiny_model(seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("backbone."):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("clips")
    codes = [[8, code, 16, code + 32] for code in TEXTS]
    return [
        str(write_clip(folder / f"{shown[1]}.mp4", [coded_frame(code) for code in shown for _ in range(5)], fps=5))
        for shown in codes
    ]


@pytest.fixture(scope="module")
def processor():
    return make_tiny_processor(CodeReader({code: [text] for code, text in TEXTS.items()}))


@pytest.fixture(scope="module")
def model():
    return trained_model()


@pytest.fixture(scope="module")
def own(model, processor, paths):
    """Text embeddings and video features by our own means, and both scores of all pairs."""
    with torch.no_grad():
        text_embeds = model.get_text_features(**processor(text=QUERIES)).pooler_output
        features = model.get_video_features(**processor(videos=paths))
        coarse = model.get_coarse_queries(text_embeds) @ features.coarse_embeds.T
        full = model.score(text_embeds, features).similarity
    return text_embeds, features, {"coarse": coarse.numpy(), "full": full.numpy()}


def text_items() -> Dataset:
    return Dataset.from_dict({"id": [f"q{i}" for i in range(len(QUERIES))], "text": QUERIES})


def video_items(paths, as_bytes: bool = False) -> Dataset:
    videos = [{"bytes": Path(path).read_bytes(), "path": "away.mp4"} for path in paths] if as_bytes else paths
    items = Dataset.from_dict({"id": [f"v{i}" for i in range(len(paths))], "video": videos})
    return items.cast_column("video", Video())


def make_task(paths, category: str = "t2v") -> AbsTaskRetrieval:
    class ClipRetrieval(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name=f"Clips{category.upper()}",
            description="Clips that show a text.",
            type="Any2AnyRetrieval",
            category=category,
            modalities=["text", "video"],
            dataset={"path": "made/in-memory", "revision": "1"},
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
            bibtex_citation="",
            **dict.fromkeys(
                ("reference", "date", "domains", "task_subtypes", "license", "annotations_creators", "dialect")
            ),
            sample_creation=None,
        )

        def load_data(self, num_proc=None, **kwargs):
            sides = [text_items(), video_items(paths, as_bytes=True)]
            relevant = {f"q{text}": {f"v{video}": 1} for text, video in enumerate(TO_VIDEO)}
            if category == "v2t":
                sides = sides[::-1]
                relevant = {
                    f"v{video}": {f"q{text}": 1 for text in np.flatnonzero(video == TO_VIDEO)}
                    for video in range(len(paths))
                }
            data = RetrievalSplitData(queries=sides[0], corpus=sides[1], relevant_docs=relevant, top_ranked=None)
            self.dataset = {"default": {"test": data}}
            self.data_loaded = True

    return ClipRetrieval()


def evaluate(wrapper, task, cache=None) -> dict[str, float]:
    results = mteb.evaluate(wrapper, task, cache=cache, encode_kwargs={"batch_size": 3, "show_progress_bar": False})
    return results.task_results[0].scores["test"][0]


class TestScores:
    @pytest.mark.parametrize(("wrapper", "score"), [(TCDEncoder, "coarse"), (TCDSearch, "full")])
    def test_text_to_video_is_what_we_measure(self, wrapper, score, model, processor, paths, own):
        theirs = evaluate(wrapper(model, processor), make_task(paths))
        ours = compute_retrieval_metrics(own[2][score], TO_VIDEO)
        assert 0 < ours["t2v_R@1"] < 1
        # mteb rounds
        assert theirs["recall_at_1"] == theirs["hit_rate_at_1"] == pytest.approx(ours["t2v_R@1"], abs=1e-5)
        assert theirs["mrr_at_10"] == pytest.approx(ours["t2v_MRR"], abs=1e-5)

    @pytest.mark.parametrize(("wrapper", "score"), [(TCDEncoder, "coarse"), (TCDSearch, "full")])
    def test_video_to_text_is_what_we_measure(self, wrapper, score, model, processor, paths, own):
        theirs = evaluate(wrapper(model, processor), make_task(paths, "v2t"))
        ours = compute_retrieval_metrics(own[2][score], TO_VIDEO)
        assert theirs["hit_rate_at_1"] == pytest.approx(ours["v2t_R@1"], abs=1e-5)
        assert theirs["mrr_at_10"] == pytest.approx(ours["v2t_MRR"], abs=1e-5)

    def test_the_two_scores_differ(self, own):
        orders = [scores.argsort(axis=1) for scores in own[2].values()]
        assert not np.array_equal(*orders)

    def test_results_of_one_are_not_taken_for_the_others(self, model, processor, paths, tmp_path):
        cache = mteb.ResultCache(tmp_path)
        wrappers = [wrapper(model, processor) for wrapper in (TCDEncoder, TCDSearch)]
        alone = [evaluate(wrapper, make_task(paths))["mrr_at_10"] for wrapper in wrappers]
        for _ in range(2):
            cached = [evaluate(wrapper, make_task(paths), cache)["mrr_at_10"] for wrapper in wrappers]
            assert cached == pytest.approx(alone, abs=1e-5)
        assert abs(alone[0] - alone[1]) > 0.01


class TestEncoder:
    @pytest.mark.parametrize("as_bytes", [False, True])
    def test_vectors_are_our_own(self, model, processor, paths, own, as_bytes):
        encoder = TCDEncoder(model, processor)
        text_embeds, features, _ = own
        with torch.no_grad():
            expected = model.get_coarse_queries(text_embeds)
        texts = encoder.encode(DataLoader(text_items()), batch_size=4, show_progress_bar=False)
        videos = encoder.encode(DataLoader(video_items(paths, as_bytes)), show_progress_bar=False)
        assert texts.dtype == videos.dtype == np.float32
        np.testing.assert_allclose(texts, expected, **EXACT)
        np.testing.assert_allclose(videos, features.coarse_embeds, **EXACT)
        np.testing.assert_allclose(encoder.similarity(texts, videos), own[2]["coarse"], **EXACT)

    def test_sound_beside_a_video_is_ignored(self, model, processor, paths, own):
        items = video_items(paths).add_column("audio", ["no sound"] * len(paths))
        videos = TCDEncoder(model, processor).encode(DataLoader(items), show_progress_bar=False)
        np.testing.assert_allclose(videos, own[1].coarse_embeds, **EXACT)

    @pytest.mark.parametrize("columns", [["text", "video"], ["image"]])
    def test_other_items_are_refused(self, model, processor, columns):
        items = Dataset.from_dict({column: ["one"] for column in columns})
        with pytest.raises(ValueError, match="a text or a video, one of them"):
            TCDEncoder(model, processor).encode(DataLoader(items))

    @pytest.mark.parametrize("inputs", [QUERIES, DataLoader(QUERIES)])
    def test_lists_are_sentence_transformers(self, model, processor, inputs):
        with pytest.raises(TypeError, match=r"DataLoader of a datasets\.Dataset.*to_sentence_transformer"):
            TCDEncoder(model, processor).encode(inputs)

    def test_a_broken_video_is_named(self, model, processor, tmp_path):
        broken = tmp_path / "broken.mp4"
        broken.write_bytes(b"no video")
        with pytest.raises(VideoReadError, match=r"broken\.mp4"):
            TCDEncoder(model, processor).encode(DataLoader(video_items([str(broken)])))

    def test_is_described(self, model, processor):
        encoder, search = TCDEncoder(model, processor), TCDSearch(model, processor)
        assert isinstance(encoder, EncoderProtocol) and not isinstance(encoder, SearchProtocol)
        assert isinstance(search, SearchProtocol)
        assert encoder.mteb_model_meta.name == "tcd-hf/tcd"
        assert encoder.mteb_model_meta.modalities == ["text", "video"]
        assert encoder.mteb_model_meta.experiment_name != search.mteb_model_meta.experiment_name
        revisions = {
            TCDEncoder(*parts).mteb_model_meta.revision
            for parts in (
                (model, processor),
                (trained_model(0), processor),  # equal weights
                (trained_model(1), processor),
                (model, make_tiny_processor()),
            )
        }
        assert len(revisions) == 3


class TestSearch:
    @pytest.fixture
    def search(self, model, processor, paths):
        search = TCDSearch(model, processor)
        search.index(video_items(paths), encode_kwargs={"show_progress_bar": False})
        return search

    def test_scores_are_the_full_score(self, search, own):
        found = search.search(text_items(), top_k=100, encode_kwargs={})
        scores = [[found[f"q{text}"][f"v{video}"] for video in range(len(TEXTS))] for text in range(len(QUERIES))]
        np.testing.assert_allclose(scores, own[2]["full"], **EXACT)

    def test_top_k(self, search, own):
        found = search.search(text_items(), top_k=2, encode_kwargs={})
        for text, scores in enumerate(own[2]["full"]):
            assert list(found[f"q{text}"]) == [f"v{video}" for video in np.argsort(-scores)[:2]]

    def test_ranks_no_more_than_a_reranking_task_asks_for(self, search, own):
        found = search.search(text_items(), top_k=10, encode_kwargs={}, top_ranked={"q0": ["v3", "v1"], "q1": []})
        expected = sorted(["v1", "v3"], key=lambda video: -own[2]["full"][0][int(video[1])])
        assert list(found["q0"]) == expected
        assert found["q1"] == found["q2"] == {}

    def test_there_must_be_a_corpus(self, model, processor):
        with pytest.raises(RuntimeError, match="call `index`"):
            TCDSearch(model, processor).search(text_items(), top_k=1, encode_kwargs={})

    def test_two_of_a_kind_have_no_full_score(self, search, paths):
        with pytest.raises(ValueError, match="a text and a video"):
            search.search(video_items(paths), top_k=1, encode_kwargs={"show_progress_bar": False})


@pytest.mark.filterwarnings("ignore:The task 'MSRVTTT2V' is currently in beta")
def test_msr_vtt(model, processor, paths, own, monkeypatch):
    """The task of mteb itself, on clips of ours in the columns of its data."""
    rows = {"video": [Path(path).read_bytes() for path in paths], "caption": QUERIES[::2]}
    data = Dataset.from_dict(rows).cast_column("video", Video())
    monkeypatch.setattr("mteb.tasks.retrieval.eng.msr_vtt.load_dataset", lambda path, **kwargs: data)
    theirs = evaluate(TCDSearch(model, processor), mteb.get_task("MSRVTTT2V"))
    ours = compute_retrieval_metrics(own[2]["full"][::2], np.arange(len(paths)))
    assert theirs["hit_rate_at_1"] == pytest.approx(ours["t2v_R@1"], abs=1e-5)
    assert theirs["mrr_at_10"] == pytest.approx(ours["t2v_MRR"], abs=1e-5)


def test_a_missing_library_is_named():
    code = "import sys; sys.modules['mteb'] = None; import tcd_hf.integrations.mteb"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ImportError" in run.stderr and "pip install 'tcd-hf[mteb]'" in run.stderr
