import inspect
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ConvNextImageProcessor

pytest.importorskip("sentence_transformers")
from sentence_transformers import CrossEncoder, SentenceTransformer

from tcd_hf import VideoIndex, VideoReadError
from tcd_hf.integrations.sentence_transformers import TCDModule, TCDReranker, stack_videos, to_sentence_transformer
from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.processing.processing_tcd import TCDProcessor
from tcd_hf.processing.window_ocr import WindowOCRCaptioner
from tests.clips import coded_frame, write_clip
from tests.tcd_hf.conftest import make_tiny_model, make_tiny_processor
from tests.towers import make_tower, word_tokenizer

TEXTS = ["a shop", "the longest of these four texts, by far", "gate B4 at the airport", "STAR WARS toys"]
EXACT = {"rtol": 0, "atol": 1e-6}


def trained_model(**config) -> TCDModel:
    """One whose queries are projected, so that the text alone would be the wrong vector."""
    model = make_tiny_model(**config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("backbone."):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


def own_text_vectors(model, processor, texts) -> np.ndarray:
    with torch.no_grad():
        embeds = [model.get_text_features(**processor(text=[text])).pooler_output for text in texts]
        return model.get_coarse_queries(torch.cat(embeds)).numpy()


def own_video_features(model, processor, videos, fps=None):
    with torch.no_grad():
        return model.get_video_features(**processor(videos=videos, fps=fps))


def assert_different(vectors: np.ndarray):
    distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=-1)
    assert distances[~np.eye(len(vectors), dtype=bool)].min() > 1e-3


@pytest.fixture
def processor(code_reader):
    return make_tiny_processor(code_reader)


@pytest.fixture
def paths(clips) -> list[str]:
    return [str(path) for path in clips.values()]


class TestVectors:
    @pytest.mark.parametrize("config", [{}, {"use_ocr": False}, {"interaction": "tib"}])
    def test_equal_our_own(self, processor, paths, config):
        model = trained_model(**config)
        encoder = to_sentence_transformer(model, processor)
        texts, videos = encoder.encode(TEXTS, batch_size=3), encoder.encode(paths, batch_size=3)
        assert texts.dtype == videos.dtype == np.float32
        np.testing.assert_allclose(texts, own_text_vectors(model, processor, TEXTS), **EXACT)
        np.testing.assert_allclose(videos, own_video_features(model, processor, paths).coarse_embeds, **EXACT)
        assert_different(texts)
        assert_different(videos)
        assert encoder.get_embedding_dimension() == texts.shape[1] == 16

    def test_rank_as_the_index_does(self, processor, paths, tmp_path):
        model = trained_model()
        index = VideoIndex.create(tmp_path / "index", model, processor, cache_dir=tmp_path / "cache")
        index.add(paths, workers=0)
        encoder = to_sentence_transformer(model, processor)
        videos = encoder.encode_document(index.paths)
        similarity = encoder.similarity(encoder.encode_query(TEXTS), videos)
        for scores, hits in zip(similarity, index.search(TEXTS, mode="coarse"), strict=True):
            order = scores.argsort(descending=True)
            assert [hit.path for hit in hits] == [index.paths[place] for place in order]
            np.testing.assert_allclose(scores[order], [hit.score for hit in hits], **EXACT)
        np.testing.assert_allclose(videos, index.export_dataset()["coarse"], **EXACT)

    def test_order_of_a_mixed_call(self, processor, paths):
        encoder = to_sentence_transformer(trained_model(), processor)
        mixed = [TEXTS[0], paths[0], paths[2], TEXTS[1], Path(paths[1]), {"text": TEXTS[2]}]
        expected = [*encoder.encode([TEXTS[0], paths[0]]), *encoder.encode([paths[2], TEXTS[1], paths[1], TEXTS[2]])]
        for batch_size in (1, 2, 32):
            np.testing.assert_allclose(encoder.encode(mixed, batch_size=batch_size), expected, **EXACT)
        own = own_video_features(encoder[0].model, processor, paths[:1])
        np.testing.assert_allclose(expected[1], own.coarse_embeds[0], **EXACT)

    def test_prompts_are_for_texts(self, processor, paths):
        encoder = to_sentence_transformer(trained_model(), processor)
        np.testing.assert_allclose(encoder.encode("a shop", prompt="find "), encoder.encode("find a shop"), **EXACT)
        np.testing.assert_allclose(encoder.encode(paths[0], prompt="find "), encoder.encode(paths[0]), **EXACT)

    def test_of_a_sentence_encoder_beside_an_image_encoder(self, code_reader, paths, tmp_path):
        model = TCDModel.from_backbone(text=make_tower("BERT"), image=make_tower("ConvNeXt"), num_frames=4)
        image_processor = ConvNextImageProcessor(size={"shortest_edge": 16})
        prefix = {"query_prefix": "query : ", "ocr_engine": code_reader}
        processor = TCDProcessor(image_processor, word_tokenizer(), num_frames=4, **prefix)
        encoder = to_sentence_transformer(model, processor)
        texts, videos = encoder.encode(["a shop", "tesco express"], prompt="the "), encoder.encode(paths)
        with torch.no_grad():
            words = model.get_text_features(**word_tokenizer()("query : the a shop", return_tensors="pt"))
        np.testing.assert_allclose(texts[0], words.pooler_output[0], **EXACT)
        expected = own_video_features(model, processor, paths).coarse_embeds
        np.testing.assert_allclose(videos, expected, **EXACT)
        encoder.save_pretrained(str(tmp_path))
        opened = SentenceTransformer(str(tmp_path), trust_remote_code=True, device="cpu")
        np.testing.assert_allclose(opened.encode(["a shop"], prompt="the "), texts[:1], **EXACT)

    def test_half_precision_gives_float32(self, processor, paths):
        encoder = to_sentence_transformer(trained_model(), processor)
        exact = encoder.encode([TEXTS[0], paths[0]])
        half = encoder.to(torch.bfloat16).encode([TEXTS[0], paths[0]])
        assert half.dtype == np.float32
        np.testing.assert_allclose(half, exact, atol=0.03)
        assert not np.array_equal(half, exact)

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    def test_move_to_a_gpu_and_back(self, processor, paths):
        encoder = to_sentence_transformer(trained_model(), processor)
        inputs = [TEXTS[0], paths[0]]
        expected = encoder.encode(inputs)
        moved = encoder.to("cuda").encode(inputs, convert_to_tensor=True)
        assert moved.device.type == "cuda"
        np.testing.assert_allclose(moved.cpu(), expected, atol=1e-4)
        np.testing.assert_allclose(encoder.encode(inputs, device="cpu"), expected, **EXACT)


class TestInputs:
    def test_every_form_of_the_same_frames(self, processor):
        encoder = to_sentence_transformer(trained_model(), processor)
        frames = np.stack([coded_frame(code) for code in (8, 1, 1, 2)])
        expected = encoder.encode(frames)
        own = own_video_features(encoder[0].model, processor, [frames])
        np.testing.assert_allclose(expected, own.coarse_embeds[0], **EXACT)
        for video in (
            np.moveaxis(frames, -1, 1),
            torch.from_numpy(frames).permute(0, 3, 1, 2),
            {"video": frames},
            {"array": frames, "video_metadata": None},
            [Image.fromarray(frame) for frame in frames],
        ):
            np.testing.assert_allclose(encoder.encode([video])[0], expected, **EXACT)

    def test_frame_rate_of_frames(self, processor):
        encoder = to_sentence_transformer(trained_model(), processor)
        frames = np.stack([coded_frame(code) for code in [1] + [8] * 7])  # 2 a second are read: the first of 8 is not
        slow = encoder.encode([{"array": frames, "video_metadata": {"fps": 1.0}}])
        fast = encoder.encode([{"array": frames, "video_metadata": {"fps": 8.0}}])
        for vector, fps in ((slow, 1.0), (fast, 8.0)):
            expected = own_video_features(encoder[0].model, processor, [frames], fps=fps)
            np.testing.assert_allclose(vector, expected.coarse_embeds, **EXACT)
        assert_different(np.concatenate([slow, fast]))

    def test_bytes(self, processor, paths):
        encoder = to_sentence_transformer(trained_model(), processor)
        data = Path(paths[0]).read_bytes()
        expected = encoder.encode(paths[:1])
        for video in ({"bytes": data, "path": "no such.mp4"}, {"bytes": None, "path": paths[0]}):
            np.testing.assert_allclose(encoder.encode([video]), expected, **EXACT)

    def test_a_file_with_an_ending_that_sentence_transformers_does_not_know(self, processor, paths, tmp_path):
        encoder = to_sentence_transformer(trained_model(), processor)
        other = tmp_path / "clip.M4V"
        other.write_bytes(Path(paths[0]).read_bytes())
        np.testing.assert_allclose(encoder.encode([str(other), paths[1]]), encoder.encode(paths[:2]), **EXACT)

    def test_a_lost_file_is_no_text(self, processor, paths):
        encoder = to_sentence_transformer(trained_model(), processor)
        with pytest.raises(VideoReadError, match=r"'lost clip\.mp4': there is no such file.*\{\"text\": \.\.\.\}"):
            encoder.encode([*paths, "lost clip.mp4"])
        text = encoder.encode([{"text": "lost clip.mp4"}])
        np.testing.assert_allclose(text, own_text_vectors(encoder[0].model, processor, ["lost clip.mp4"]), **EXACT)

    def test_a_broken_file_is_named(self, processor, paths, tmp_path):
        broken = tmp_path / "broken.mp4"
        broken.write_bytes(b"no video")
        with pytest.raises(VideoReadError, match=r"broken\.mp4"):
            to_sentence_transformer(trained_model(), processor).encode([*paths, str(broken)])

    @pytest.mark.parametrize(
        ("sample", "error", "match"),
        [
            ({"role": "user", "content": "a shop"}, ValueError, "texts and videos, got 'message'"),
            (np.zeros((8, 8, 3), np.uint8), ValueError, "image"),
            ({"text": "a shop", "video": "shop.mp4"}, ValueError, "texts and videos, got"),
            (("a shop", "a sea"), TypeError, "`text` must be"),
            ("", ValueError, "is empty"),
            ({"bytes": None, "path": None}, ValueError, "dictionary that is a video has"),
            (None, ValueError, "NoneType"),
        ],
    )
    def test_all_else_is_refused(self, processor, sample, error, match):
        with pytest.raises(error, match=match):
            to_sentence_transformer(trained_model(), processor).encode([sample, sample])

    def test_captions_are_padded_where_the_tokenizer_pads(self):
        videos = [
            {"ocr_input_ids": torch.tensor([[[5, 6], [7, 8]]]), "ocr_mask": torch.tensor([[True, True]])},
            {"ocr_input_ids": torch.tensor([[[1, 2, 3], [4, 5, 6]]]), "ocr_mask": torch.tensor([[True, False]])},
        ]
        right, left = (stack_videos(videos, side) for side in ("right", "left"))
        assert right["ocr_input_ids"].tolist() == [[[5, 6, 0], [7, 8, 0]], [[1, 2, 3], [4, 5, 6]]]
        assert left["ocr_input_ids"].tolist() == [[[0, 5, 6], [0, 7, 8]], [[1, 2, 3], [4, 5, 6]]]
        assert right["ocr_mask"].tolist() == left["ocr_mask"].tolist() == [[True, True], [True, False]]


class TestFolder:
    @pytest.fixture
    def encoder(self):
        return to_sentence_transformer(trained_model(), make_tiny_processor())

    @pytest.fixture
    def folder(self, encoder, tmp_path) -> str:
        encoder.save_pretrained(str(tmp_path / "encoder"), create_model_card=False)
        return str(tmp_path / "encoder")

    def test_round_trip(self, encoder, folder, paths):
        inputs = [*TEXTS, *paths]
        loaded = SentenceTransformer(folder, trust_remote_code=True, device="cpu")
        assert loaded.similarity_fn_name == "dot"
        np.testing.assert_allclose(loaded.encode(inputs), encoder.encode(inputs), atol=1e-5)
        half = SentenceTransformer(folder, trust_remote_code=True, device="cpu", model_kwargs={"dtype": torch.bfloat16})
        assert half[0].model.dtype == torch.bfloat16

    def test_is_a_checkpoint_of_tcd(self, encoder, folder):
        for name, weight in TCDModel.from_pretrained(folder).state_dict().items():
            assert torch.equal(weight, encoder[0].model.state_dict()[name])
        loaded = TCDModule.load(folder)
        text = loaded.forward(loaded.preprocess(TEXTS))["sentence_embedding"]
        np.testing.assert_allclose(text.detach(), encoder.encode(TEXTS), **EXACT)
        with pytest.raises(ValueError, match='backend="torch"'):
            TCDModule.load(folder, backend="onnx")

    def test_code_of_the_folder_is_not_run(self, folder):
        for file in Path(folder).glob("*.py"):
            file.write_text("raise SystemExit('code of the folder was run')")
        SentenceTransformer(folder, trust_remote_code=True, device="cpu")
        with pytest.raises(ValueError, match="trust_remote_code"):
            SentenceTransformer(folder, device="cpu")
        to_sentence_transformer(TCDModel.from_pretrained(folder), TCDProcessor.from_pretrained(folder))

    @pytest.mark.slow
    def test_opens_where_tcd_hf_was_never_imported(self, encoder, folder):
        code = (
            "import json, sys; from sentence_transformers import SentenceTransformer;"
            "encoder = SentenceTransformer(sys.argv[1], trust_remote_code=True, device='cpu');"
            "print(json.dumps(encoder.encode(sys.argv[2:]).tolist()))"
        )
        run = [sys.executable, "-c", code, folder, *TEXTS]
        done = subprocess.run(run, capture_output=True, text=True, check=True, cwd=Path(folder).parent)
        np.testing.assert_allclose(json.loads(done.stdout), encoder.encode(TEXTS), **EXACT)


class TestReranker:
    QUERY = "the store TESCO express"

    def test_scores_are_the_full_score(self, processor, paths):
        model = trained_model()
        ranked = TCDReranker(model, processor).rank(self.QUERY, paths)
        features = own_video_features(model, processor, paths)
        with torch.no_grad():
            text_embeds = model.get_text_features(**processor(text=[self.QUERY])).pooler_output
            expected = model.score(text_embeds, features, method="factorized").similarity[0].numpy()
        assert [each["corpus_id"] for each in ranked] == np.argsort(-expected).tolist() != [0, 1, 2, 3]
        np.testing.assert_allclose([each["score"] for each in ranked], np.sort(expected)[::-1], **EXACT)
        assert all(set(each) == {"corpus_id", "score"} for each in ranked)

    def test_has_the_shape_of_a_cross_encoder(self, processor, paths):
        theirs = inspect.signature(CrossEncoder.rank).parameters
        ours = inspect.signature(TCDReranker.rank).parameters
        places = [each for each in ours.values() if each.kind is not inspect.Parameter.KEYWORD_ONLY]
        assert (
            [each.name for each in places]
            == list(ours)[:5]
            == list(theirs)[:5]
            == ["self", "query", "documents", "top_k", "return_documents"]
        )
        assert all(ours[name].default == theirs[name].default for name in list(ours)[:5])
        reranker = TCDReranker(trained_model(), processor)
        ranked = reranker.rank(self.QUERY, paths, 2, True)
        assert [each["text"] for each in ranked] == [paths[each["corpus_id"]] for each in ranked]
        assert ranked == reranker.rank(self.QUERY, paths, return_documents=True)[:2]
        assert reranker.rank(self.QUERY, []) == []

    def test_reranks_hits_of_an_index(self, processor, paths, tmp_path):
        model = trained_model()
        index = VideoIndex.create(tmp_path / "index", model, processor, cache_dir=tmp_path / "cache")
        index.add(paths, workers=0)
        hits = index.search(self.QUERY, mode="coarse")
        ranked = TCDReranker(model, processor).rank(self.QUERY, hits, return_documents=True)
        parts = [(each["text"].text_video, each["text"].text_ocr, each["text"].text_hybrid) for each in ranked]
        np.testing.assert_allclose([each["score"] for each in ranked], np.mean(parts, axis=1), atol=2e-3)  # float16

    def test_reads_a_file_once_and_again_when_it_changed(self, processor, paths, monkeypatch):
        files_read, read = [], WindowOCRCaptioner.read

        def count(self, video, *args, **options):
            files_read.append(video.name)
            return read(self, video, *args, **options)

        monkeypatch.setattr(WindowOCRCaptioner, "read", count)
        reranker = TCDReranker(trained_model(), processor)
        first = reranker.rank(self.QUERY, paths)
        assert reranker.rank(self.QUERY, [Path(path) for path in paths]) == first
        assert files_read == paths
        write_clip(paths[3], [coded_frame(1)] * 20, fps=5)
        changed = reranker.rank(self.QUERY, paths)
        assert files_read == [*paths, paths[3]]
        scores, before = ({each["corpus_id"]: each["score"] for each in ranking} for ranking in (changed, first))
        assert [place for place in range(4) if scores[place] != pytest.approx(before[place], abs=1e-4)] == [3]

    def test_equal_videos_keep_their_order(self, processor, paths):
        ranked = TCDReranker(trained_model(), processor).rank(self.QUERY, [paths[1]] * 3)
        assert [each["corpus_id"] for each in ranked] == [0, 1, 2]
        assert len({each["score"] for each in ranked}) == 1

    def test_one_video_is_no_list(self, processor, paths):
        reranker = TCDReranker(trained_model(), processor)
        for video in (paths[0], Path(paths[0]), Path(paths[0]).read_bytes(), {"video": paths[0]}):
            with pytest.raises(TypeError, match="must be a list of videos"):
                reranker.rank(self.QUERY, video)

    def test_what_is_wrong_is_named(self, processor, paths):
        reranker = TCDReranker(trained_model(), processor)
        with pytest.raises(VideoReadError, match=r"lost\.mp4"):
            reranker.rank(self.QUERY, [*paths, "lost.mp4"])
        with pytest.raises(ValueError, match="top_k must be at least 1"):
            reranker.rank(self.QUERY, paths, top_k=0)
        with pytest.raises(ValueError, match="is empty"):
            reranker.rank(" ", paths)


def test_a_missing_library_is_named():
    code = "import sys; sys.modules['sentence_transformers'] = None; import tcd_hf.integrations.sentence_transformers"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ImportError" in run.stderr and "pip install 'tcd-hf[sentence-transformers]'" in run.stderr
