"""Search against the slow way: every score by the reference scorer and the plain lexical scorer, then a sort."""

import json
from types import SimpleNamespace

import lancedb
import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.nn.functional import normalize

from scripts.benchmarks.lexical import LexicalScorer
from tcd_hf.index import asking, stored_rows
from tcd_hf.index import recall as recall_module
from tcd_hf.index.fusing import Fusion, model_parts
from tcd_hf.index.lexical import LexicalStatistics
from tcd_hf.index.query_syntax import MAX_QUERY_LENGTH
from tcd_hf.index.recall import Recall, largest
from tcd_hf.index.retrieval import Retriever
from tcd_hf.index.row_indices import bytes_in_memory, create_coarse_index, create_text_index, parts_to_search
from tcd_hf.index.schema import IndexMetadata, row_id, rows_from, table_schema
from tcd_hf.processing.text_tracks import TextTrack
from tcd_hf.processing.window_ocr import WindowCaption
from tcd_hf.reading.video_reader import VideoRecord
from tests.conftest import randomise_fusion
from tests.tcd_hf.conftest import NUM_FRAMES, make_tiny_model, make_tiny_processor

DIM = 16
NUM_VIDEOS = 23
QUERIES = ["the store TESCO express", "gate B4 at 17:27", "somebody swims in the sea", "parking £1.30", "出口在左边"]
CALIBRATION = {"bias": -2.0, "text_video": 1.0, "text_ocr": 3.0, "text_window": 4.0, "lexical": 9.0}
SIGNS = [
    "TESCO express",
    "CLUBCARD £1.30",
    "Gate B4",
    "DEPARTURES 17:27",
    "parking 24",
    "no exit",
    "出口",
    "cafe Zürich",
]


def make_caption(rng, window):
    if rng.random() < 0.4:
        return WindowCaption(float(window), window + 1.0)
    texts = rng.choice(SIGNS, size=rng.integers(1, 4), replace=False).tolist()
    tracks = [
        TextTrack(text, 0.9, window + 0.25, window + 0.5, (0.1, 0.2 * line, 0.9, 0.2 * line + 0.1), 1, window + 0.4)
        for line, text in enumerate(texts)
    ]
    return WindowCaption(float(window), window + 1.0, " ".join(texts), tracks)


def round_to_storage(tensor):
    return tensor.half().float() if tensor.is_floating_point() else tensor


def nearest_the_slow_way(texts, features, captions):
    """`(num_texts, num_videos)`: of each video the largest cosine with one of its captions, where equal ones are those
    of the first window."""
    nearest = np.full((len(texts), len(captions)), -np.inf)
    if features.ocr_embeds is None:
        return nearest
    for video, windows in enumerate(captions):
        different = {}
        for caption, embed in zip(windows, features.ocr_embeds[video].half().float().numpy(), strict=True):
            largest = np.float32(np.float16(np.abs(embed).max()))
            different.setdefault(caption.text, np.round(127 * embed / largest) * largest / 127)
        different.pop("", None)
        for row, text in enumerate(texts):
            nearest[row, video] = max((float(text @ embed) for embed in different.values()), default=-np.inf)
    return nearest


@pytest.fixture
def make_world(tmp_path):
    """An index of random videos with a retriever, and all scores the slow way: of the features as they are stored, or,
    if they are not `rounded`, by the reference scorer of the features before."""

    def make(num_videos=NUM_VIDEOS, rounded=True, seed=0, captions=None, with_text_index=True, **config):
        import lancedb

        rng = np.random.default_rng(seed)
        model = randomise_fusion(make_tiny_model(**config), seed)
        if captions is None:
            captions = [[make_caption(rng, window) for window in range(NUM_FRAMES)] for _ in range(num_videos)]
        frames, ocr = (
            normalize(torch.from_numpy(rng.normal(size=(num_videos, NUM_FRAMES, DIM))).float(), dim=-1)
            for _ in range(2)
        )
        mask = torch.tensor([[bool(caption.text) for caption in video] for video in captions])
        with torch.no_grad():
            mask = mask.reshape(num_videos, NUM_FRAMES)
            features = model.fuse(frames, ocr, mask, frame_norms=torch.full((num_videos, NUM_FRAMES), 10.0))
            if model.config.interaction == "tcd" and model.config.text_condition == "after":
                features = model.precompute(features)
            if rounded:  # then storing the features changes nothing
                features = features.map_videos(round_to_storage)
        metadata = IndexMetadata.describe(
            features,
            model_fingerprint="model",
            tokenizer_fingerprint="tokenizer",
            caption_fingerprint="captions",
            frame_fingerprint="frames",
            model_name="tiny",
            dim=DIM,
            num_frames=NUM_FRAMES,
            segment_seconds=30.0,
        )
        schema = table_schema(metadata)
        records = [
            VideoRecord(f"/clips/{i:02}.mp4", str(i), 1, 0, float(i), 25.0, captions[i]) for i in range(num_videos)
        ]
        table = lancedb.connect(tmp_path / f"index{seed}").create_table("videos", schema=schema)
        rows = rows_from(records, features, schema)
        for start in range(0, num_videos, 10):
            table.add(rows[start : start + 10])
        if with_text_index:
            create_text_index(table)
        statistics = LexicalStatistics()
        statistics.add(rows)
        processor = make_tiny_processor()

        def retriever(**options):
            return Retriever(model, processor, table, metadata, statistics, **options)

        with torch.no_grad():
            inputs = processor(text=QUERIES, return_tensors="pt")
            text_embeds = model.get_text_features(**inputs).pooler_output
            expected = model.score(text_embeds, features, method=None if rounded else "reference")
            coarse = (model.get_coarse_queries(text_embeds) @ features.coarse_embeds.T).numpy()
            nearest_captions = nearest_the_slow_way(text_embeds.numpy(), features, captions)
        lexical = LexicalScorer(captions).score(QUERIES)
        return SimpleNamespace(
            retriever=retriever,
            table=table,
            rows=rows,
            captions=captions,
            paths=[record.path for record in records],
            parts={name: part.numpy() for name, part in expected.items()},
            lexical=lexical,
            coarse=coarse,
            nearest_captions=nearest_captions,
            score=Fusion.of(model.config).score(model_parts(model, text_embeds, features), lexical),
        )

    return make


def paths_of(hits):
    return [hit.path for hit in hits]


def assert_same_hits(results, expected):
    """Equal but for the last digit: a product of matrices rounds a row by what stands around it."""
    assert len(results) == len(expected)
    for hits, others in zip(results, expected, strict=True):
        assert paths_of(hits) == paths_of(others)
        for hit, other in zip(hits, others, strict=True):
            assert_alike(hit.to_dict(), other.to_dict())


def assert_alike(value, other):
    """Equal JSON but for the last digit of its numbers."""
    if isinstance(value, dict):
        assert value.keys() == other.keys()
        for name in value:
            assert_alike(value[name], other[name])
    elif isinstance(value, list):
        assert len(value) == len(other)
        for item, other_item in zip(value, other, strict=True):
            assert_alike(item, other_item)
    else:
        assert value == (pytest.approx(other, abs=1e-6) if isinstance(value, float) else other)


def ranking(world, scores, top_k=10):
    return [[world.paths[video] for video in np.argsort(-row, kind="stable")[:top_k]] for row in scores]


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"text_condition": "before"},
        {"use_co_attention": False, "use_distillation": False},
        {"use_ocr": False},
        {"interaction": "tib"},
    ],
)
def test_full_search_is_the_slow_way(make_world, config):
    world = make_world(**config)
    results = world.retriever().search(QUERIES, mode="full")
    assert list(map(paths_of, results)) == ranking(world, world.score)
    for row, hits in enumerate(results):
        for hit in hits:
            video = world.paths.index(hit.path)
            assert hit.score == pytest.approx(world.score[row, video], abs=1e-6)
            assert hit.lexical == pytest.approx(world.lexical[row, video], abs=1e-6)
            for name in ("text_video", "text_ocr", "text_hybrid"):
                part = world.parts.get(name)
                assert getattr(hit, name) == (None if part is None else pytest.approx(part[row, video], abs=1e-6))


def test_scores_of_all_pairs_are_those_of_the_slow_way_but_for_storage(make_world):
    world = make_world(rounded=False)
    scores = world.retriever().score(QUERIES)
    np.testing.assert_allclose(scores.score, world.score, atol=1e-3)
    np.testing.assert_allclose(scores.similarity, world.parts["similarity"], atol=1e-3)
    np.testing.assert_allclose(scores.lexical, world.lexical, atol=1e-6)
    for name in ("text_video", "text_ocr", "text_hybrid"):
        np.testing.assert_allclose(getattr(scores, name), world.parts[name], atol=1e-3)
    assert scores.score.shape == (len(QUERIES), NUM_VIDEOS) and scores.score.dtype == np.float32
    assert make_world(seed=1, use_ocr=False).retriever().score(QUERIES).text_ocr is None


@pytest.mark.parametrize("config", [{}, {"interaction": "tib"}, {"use_ocr": False}])
def test_scores_of_a_calibrated_model_are_probabilities_of_the_slow_way(make_world, config):
    world = make_world(search_calibration=CALIBRATION, **config)
    scores = world.retriever().score(QUERIES)
    np.testing.assert_allclose(scores.score, world.score, atol=1e-5)
    assert scores.score.min() > 0 and scores.score.max() < 1
    assert (scores.text_window is not None) == (not config)
    for mode in ("two-stage", "full"):
        for row, hits in enumerate(world.retriever().search(QUERIES, top_k=NUM_VIDEOS, mode=mode)):
            assert [hit.score for hit in hits] == pytest.approx(np.sort(world.score[row])[::-1].tolist(), abs=1e-5)
            assert all((hit.text_window is not None) == (not config) for hit in hits)
            moments = [moment.score for hit in hits for moment in hit.moments]
            assert all(0 <= score <= 1 for score in moments)
            assert all(moment.score <= hit.score + 1e-9 for hit in hits for moment in hit.moments)
    (path, *_) = world.paths
    assert all(0 <= moment.score <= 1 for moment in world.retriever().moments(QUERIES[0], path))


def test_a_weight_leans_the_search_of_a_calibrated_model(make_world):
    world = make_world(search_calibration=CALIBRATION)
    by_spelling = world.retriever(lexical_weight=1.0).score(QUERIES)
    expected = 1 / (1 + np.exp(2 - 18 * world.lexical.astype(np.float64)))
    np.testing.assert_allclose(by_spelling.score, expected, atol=1e-5)
    without = world.retriever(lexical_weight=0.0).score(QUERIES)
    np.testing.assert_allclose(
        np.log(without.score / (1 - without.score)),
        -2 + 2 * (without.text_video + 3 * without.text_ocr + 4 * without.text_window),
        atol=1e-4,
    )


def test_what_follows_on_one_another_has_the_mean_probability(make_world):
    world = make_world(search_calibration=CALIBRATION)
    hits = world.retriever().search("gate >> no exit", mode="full", syntax="query", within=10)
    assert hits and all(0 <= hit.score <= 1 for hit in hits)


@pytest.mark.parametrize("config", [{}, {"interaction": "tib"}])
def test_two_stages_that_recall_everything_are_a_full_search(make_world, config):
    retriever = make_world(**config).retriever()
    for options in ({"recall_k": NUM_VIDEOS}, {"recall_k": 1000, "top_k": 50}, {"top_k": 50}):
        expected = retriever.search(QUERIES, mode="full", **options)
        assert_same_hits(retriever.search(QUERIES, **options), expected)


def test_two_stages_rank_by_the_exact_score_what_either_recall_names(make_world):
    world = make_world()
    for row, hits in enumerate(world.retriever().search(QUERIES, top_k=3, recall_k=4)):
        nearest = set(np.argsort(-world.coarse[row], kind="stable")[:4])
        nearest |= set(np.argsort(-world.nearest_captions[row], kind="stable")[:4])
        found = {world.paths.index(hit.path) for hit in hits}
        assert len(hits) == 3
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        for video in found - nearest:  # recalled by its texts
            assert world.lexical[row, video] > 0
        best_of_nearest = max(nearest, key=lambda video: world.score[row, video])
        assert hits[0].score >= world.score[row, best_of_nearest] - 1e-5


@pytest.mark.parametrize("where", [None, "duration >= 20"])
def test_rows_are_recalled_by_their_caption_nearest_in_meaning(make_world, where):
    world = make_world()
    retriever = world.retriever()
    texts = retriever.asker.embed(QUERIES).numpy()
    recall = retriever.recall
    for row, found in enumerate(recall.nearest_captions(texts, 7, where)):
        expected = np.argsort(-world.nearest_captions[row], kind="stable")
        expected = (
            expected if where is None else expected[expected >= 20]
        )  # a video lasts as many seconds as its number
        assert recall.positions(found).tolist() == expected[:7].tolist()
    assert all(len(found) == 0 for found in world.retriever(memory_budget=0).recall.nearest_captions(texts, 7))


def test_of_captions_that_do_not_fit_beside_the_other_vectors_none_is_recalled(make_world, monkeypatch):
    world = make_world()
    asked = np.ones((1, DIM), np.float32)
    recall = world.retriever(memory_budget=bytes_in_memory(NUM_VIDEOS, DIM) + 8).recall
    assert recall.vectors(np.zeros(0, np.uint64)) is not None and len(recall.nearest_captions(asked, 7)[0]) == 0
    assert len(world.retriever().recall.nearest_captions(asked, 7)[0]) == 7
    monkeypatch.setattr("tcd_hf.index.held_vectors.MAX_CAPTION_BYTES", 8)
    assert len(world.retriever().recall.nearest_captions(asked, 7)[0]) == 0


def test_an_index_without_vectors_of_captions_is_searched_as_before(make_world):
    world = make_world()
    found = world.retriever().search(QUERIES, recall_k=NUM_VIDEOS)
    world.table.drop_columns(["caption_vectors"])
    retriever = world.retriever()
    assert [len(rows) for rows in retriever.recall.nearest_captions(np.ones((2, DIM), np.float32), 7)] == [0, 0]
    assert_same_hits(retriever.search(QUERIES, recall_k=NUM_VIDEOS), found)


def test_coarse_search_ranks_by_the_coarse_vectors(make_world):
    world = make_world()
    results = world.retriever().search(QUERIES, top_k=5, mode="coarse")
    assert list(map(paths_of, results)) == ranking(world, world.coarse, 5)
    for row, hits in enumerate(results):
        np.testing.assert_allclose([hit.score for hit in hits], np.sort(world.coarse[row])[::-1][:5], atol=1e-5)
        video = world.paths.index(hits[0].path)
        assert hits[0].text_hybrid == pytest.approx(world.parts["text_hybrid"][row, video], abs=1e-6)


def test_lexical_search_ranks_by_spelling_and_returns_nothing_else(make_world):
    world = make_world()
    results = world.retriever().search([*QUERIES, "xylophone"], top_k=50, recall_k=50, mode="lexical")
    assert results[-1] == []
    for row, hits in enumerate(results[:-1]):
        order = np.argsort(-world.lexical[row], kind="stable")
        assert paths_of(hits) == [world.paths[video] for video in order if world.lexical[row, video] > 0]
        assert all(hit.score == hit.lexical for hit in hits)
    assert len(results[0]) > 0 and results[2] == []


def test_two_characters_and_slips_are_found(make_world):
    captions = [[WindowCaption(0.0, 1.0, sign)] * NUM_FRAMES for sign in SIGNS]
    world = make_world(len(captions), captions=captions)
    retriever = world.retriever()
    expected = {
        "B4": "Gate B4",
        "24": "parking 24",
        "1.3": "CLUBCARD £1.30",
        "出口": "出口",
        "tesc0 expres": "TESCO express",
        "ZURICH": "cafe Zürich",
    }
    for query, text in expected.items():
        assert retriever.search(query, mode="lexical")[0].path == world.paths[SIGNS.index(text)]


def test_nothing_in_a_query_is_syntax(make_world):
    retriever = make_world().retriever()
    queries = [
        '"',
        'a "quoted" one',
        "-24",
        "+a -b",
        "***",
        "(",
        "a AND (b OR",
        "NOT",
        "path:x",
        "\\",
        "😀",
        "出口",
        "%_'",
    ]
    assert all(len(hits) == 10 for hits in retriever.search(queries))
    found = retriever.search(queries, mode="lexical")
    assert found[queries.index("-24")] and found[queries.index("出口")] and not found[queries.index("😀")]


def test_rows_added_after_the_index_are_found(make_world):
    world = make_world(with_text_index=False)
    create_text_index(world.table)
    late = world.rows.slice(0, 1)
    late = late.set_column(late.schema.get_field_index("path"), late.schema.field("path"), [["/late.mp4"]])
    late = late.set_column(late.schema.get_field_index("term_text"), late.schema.field("term_text"), [["_zebra_"]])
    world.table.add(late)
    retriever = world.retriever()
    found = retriever.recall.full_text("zebra", 5)
    assert retriever.recall.positions(found).tolist() == [NUM_VIDEOS]


@pytest.mark.parametrize("mode", ["two-stage", "full", "coarse", "lexical"])
@pytest.mark.parametrize("budget", [4 << 30, 0])
def test_filters_hold_in_every_mode(make_world, mode, budget):
    world = make_world()
    retriever = world.retriever(memory_budget=budget)
    everything = retriever.search(QUERIES, top_k=50, mode=mode)
    some = retriever.search(QUERIES, top_k=50, mode=mode, where="duration >= 5 AND path LIKE '%mp4' AND has_text")
    passing = {path for path, video in zip(world.paths, world.captions, strict=True) if any(c.text for c in video)}
    passing -= set(world.paths[:5])
    assert_same_hits(some, [[hit for hit in hits if hit.path in passing] for hits in everything])
    assert any(some) and some != everything
    assert retriever.search(QUERIES[0], mode=mode, where="duration > 1000") == []


@pytest.mark.parametrize("where", ["nonsense = 1", "duration <", "duration LIKE 3", "DROP TABLE videos", ""])
def test_a_filter_that_is_none_is_refused(make_world, where):
    world = make_world()
    with pytest.raises(ValueError, match="where="):
        world.retriever().search(QUERIES[0], where=where)
    assert world.table.count_rows() == NUM_VIDEOS


@pytest.mark.parametrize("count", [1, 50, 3000])
def test_one_query_finds_the_same_rows_as_many(count):
    dim, num_rows = 64, 3000
    database = lancedb.connect("memory://")
    vectors = normalize(torch.randn(num_rows, dim, generator=torch.manual_seed(0)), dim=1)
    # As near to each other as only exact products tell apart.
    vectors[1500:] = normalize(vectors[:1500] + 1e-5 * torch.randn(1500, dim, generator=torch.manual_seed(1)), dim=1)
    coarse = pa.FixedSizeListArray.from_arrays(pa.array(vectors.numpy().ravel()), dim)
    table = database.create_table(
        "videos", pa.table({"path": [f"{row}.mp4" for row in range(num_rows)], "coarse": coarse})
    )
    recall = Recall(table, 1 << 30)
    queries = 14 * normalize(torch.randn(6, dim, generator=torch.manual_seed(2)), dim=1).numpy()
    expected = np.argsort(-(vectors.numpy() * queries[:, None]).sum(axis=2), axis=1, kind="stable")[:, :count]
    together = recall.nearest(queries, count)
    alone = [recall.nearest(query[None], count)[0] for query in queries]
    for rows, found, found_alone in zip(expected, together, alone, strict=True):
        assert recall.positions(found).tolist() == recall.positions(found_alone).tolist() == rows.tolist()


def test_beyond_the_memory_budget_the_index_on_disk_is_searched(make_world):
    world = make_world(num_videos=300)
    exact = world.retriever().search(QUERIES, mode="coarse")
    assert world.retriever(memory_budget=0).search(QUERIES, mode="coarse") == exact  # no index yet: one by one
    create_coarse_index(world.table)
    retriever = world.retriever(memory_budget=0)
    assert retriever.recall.vectors(np.zeros(0, np.uint64)) is None
    found = retriever.search(QUERIES, mode="coarse")
    shared = sum(len({*paths_of(a)} & {*paths_of(b)}) for a, b in zip(found, exact, strict=True))
    assert shared >= 45  # of 50


def test_equal_videos_keep_the_order_added(make_world):
    rng = np.random.default_rng(3)
    captions = [[make_caption(rng, window) for window in range(NUM_FRAMES)] for _ in range(4)]
    world = make_world(4, captions=captions)
    world.table.delete("duration > 0")
    for name in "cabd":
        row = world.rows.slice(0, 1)
        for column, value in (("path", name), ("id", row_id(name, 0))):
            row = row.set_column(row.schema.get_field_index(column), row.schema.field(column), [[value]])
        world.table.add(row)
    world.table.optimize()
    for mode in ("two-stage", "full", "coarse"):
        assert paths_of(world.retriever().search("anything", mode=mode)) == [world.paths[0], "c", "a", "b", "d"]
        assert paths_of(world.retriever().search("anything", mode=mode, top_k=2)) == [world.paths[0], "c"]


def test_the_order_of_the_table_does_not_matter(make_world):
    world = make_world()
    hits = world.retriever().search(QUERIES, mode="full")
    order = np.random.default_rng(5).permutation(NUM_VIDEOS)
    world.table.delete("true")
    world.table.add(world.rows.take(order))
    retriever = world.retriever()
    assert list(map(paths_of, retriever.search(QUERIES, mode="full"))) == list(map(paths_of, hits))
    np.testing.assert_allclose(retriever.score(QUERIES).score, world.score[:, order], atol=1e-5)


@pytest.mark.parametrize("size", [1, 7])
def test_any_block_size_gives_the_same_hits(make_world, monkeypatch, size):
    retriever = make_world().retriever()
    expected = [retriever.search(QUERIES, mode=mode) for mode in ("full", "coarse")]
    scores = retriever.score(QUERIES)
    monkeypatch.setattr(stored_rows, "ROWS_PER_BLOCK", size)
    monkeypatch.setattr(asking, "QUERIES_PER_BATCH", size)
    monkeypatch.setattr(recall_module, "BLOCK_ELEMENTS", size)
    for results, mode in zip(expected, ("full", "coarse"), strict=True):
        assert_same_hits(retriever.search(QUERIES, mode=mode), results)
    np.testing.assert_allclose(retriever.score(QUERIES).score, scores.score, atol=1e-6)


def test_the_end_of_a_query_that_is_too_long_changes_nothing(make_world):
    world = make_world()
    longest = "gate b4 " * (MAX_QUERY_LENGTH // 8)
    with pytest.warns(UserWarning, match="Only the first 1,000"):
        found = world.retriever().search(longest + "tesco express " * 100)
    assert_same_hits([found], [world.retriever().search(longest)])
    with pytest.warns(UserWarning, match="Only the first 1,000"):
        scores = world.retriever().score([longest + "tesco express " * 100])
    np.testing.assert_allclose(scores.score, world.retriever().score([longest]).score, atol=1e-6)


def test_one_query_gives_one_list(make_world):
    retriever = make_world().retriever()
    assert retriever.search(QUERIES[0]) == retriever.search(QUERIES[:1])[0]


def test_evidence_has_its_window_and_boxes(make_world):
    window = WindowCaption(2.0, 3.0, "sale TESCO express", [])
    window.tracks.append(TextTrack("sale", 0.9, 2.0, 2.5, (0.5, 0.5, 0.6, 0.6), 1, 2.1))
    window.tracks.append(TextTrack("TESCO express", 0.8, 2.25, 2.75, (0.1, 0.2, 0.3, 0.4), 2, 2.5))
    captions = [[WindowCaption(float(i), i + 1.0) for i in range(NUM_FRAMES)] for _ in range(3)]
    captions[1][2] = window
    world = make_world(3, captions=captions)
    hit = world.retriever(lexical_weight=1.0).search(QUERIES[0])[0]
    assert (hit.path, hit.start, hit.end, hit.evidence) == (world.paths[1], 2.25, 2.75, ["TESCO express"])
    box = {"text": "TESCO express", "start": 2.25, "end": 2.75, "box": [0.1, 0.2, 0.3, 0.4], "time": 2.5}
    box |= {"source": "ocr", "match": "spells"}
    assert hit.boxes == [box]
    assert json.loads(json.dumps(hit.to_dict()))["boxes"] == [box]


def test_what_is_not_spelled_alike_is_shown_by_its_meaning(make_world):
    window = WindowCaption(2.0, 3.0, "sale TESCO express", [])
    window.tracks.append(TextTrack("TESCO express", 0.8, 2.25, 2.75, (0.1, 0.2, 0.3, 0.4), 2, 2.5))
    captions = [[WindowCaption(float(i), i + 1.0) for i in range(NUM_FRAMES)] for _ in range(3)]
    captions[1][2] = window
    calibration = {"bias": 1.0, "lexical": 6.0, "means_from": -1.0}  # anything means anything
    world = make_world(3, captions=captions, search_calibration=calibration)
    hits = {hit.path: hit for hit in world.retriever().search("somebody swims", mode="full")}
    assert hits[world.paths[0]].evidence == []
    shown = hits[world.paths[1]]
    if shown.start == 2.0:  # the best window is that with the text, or another of a model that knows nothing
        assert shown.evidence == ["TESCO express"] and shown.boxes[0]["match"] == "means"
    (moment,) = world.retriever().moments("somebody swims", world.paths[1])
    assert moment.evidence == shown.evidence
    spelled = world.retriever().search(QUERIES[0], mode="full")[0]
    assert [box["match"] for box in spelled.boxes] == ["spells"]


def test_weak_matches_of_a_calibrated_model(make_world):
    world = make_world(search_calibration={"bias": -4.0, "lexical": 9.0, "means_from": -1.0})
    for mode in ("two-stage", "full", "coarse", "lexical"):
        for hit in world.retriever().search(QUERIES[1], top_k=NUM_VIDEOS, mode=mode):
            assert hit.is_weak == (mode in ("two-stage", "full") and hit.score < 0.1)
            if hit.is_weak:
                assert not any(box["match"] == "means" for box in hit.boxes)
    assert not any(hit.is_weak for hit in world.retriever(lexical_weight=0.6).search(QUERIES[1], top_k=NUM_VIDEOS))
    assert not any(hit.is_weak for hit in make_world(seed=1).retriever().search(QUERIES[1], top_k=NUM_VIDEOS))


def test_of_what_follows_every_part_must_match(make_world):
    """By hand: a text that is spelled out scores 1 / (1 + e^-5), one that is nowhere 1 / (1 + e^4), below 0.1."""
    texts = {0: "TESCO express", 3: "no exit"}
    captions = [WindowCaption(i / 4, (i + 1) / 4, texts.get(i, "")) for i in range(NUM_FRAMES)]
    for i, text in texts.items():
        captions[i].tracks.append(TextTrack(text, 0.9, i / 4, i / 4 + 0.1, (0.1, 0.2, 0.3, 0.4), 1, i / 4))
    blank = [WindowCaption(0.0, 0.0)] * NUM_FRAMES  # the first of these videos lasts no time, the second a second
    world = make_world(2, captions=[blank, captions], search_calibration={"bias": -4.0, "lexical": 9.0})
    expected = {"tesco express >> no exit": (0.9933, False), "tesco express >> zzxqv": ((0.9933 + 0.0180) / 2, True)}
    for mode in ("two-stage", "full"):
        for query, (score, is_weak) in expected.items():
            (hit,) = world.retriever().search(query, mode=mode, syntax="query")
            assert hit.path == world.paths[1]
            assert (hit.score, hit.is_weak) == (pytest.approx(score, abs=2e-3), is_weak)
            leaning = world.retriever(lexical_weight=0.6).search(query, mode=mode, syntax="query")
            assert not leaning[0].is_weak  # no probabilities


def test_wrong_use(make_world):
    world = make_world()
    retriever = world.retriever()
    for options in ({"top_k": 0}, {"recall_k": 0}):
        with pytest.raises(ValueError, match="at least 1, got 0"):
            retriever.search(QUERIES[0], **options)
    with pytest.raises(ValueError, match="'two-stage', 'full', 'coarse', 'lexical', got 'fast'"):
        retriever.search(QUERIES[0], mode="fast")
    with pytest.raises(ValueError, match="Query 1 is empty"):
        retriever.search(["x", " "])
    with pytest.raises(ValueError, match="at least one"):
        retriever.search([])
    with pytest.raises(TypeError, match="list"):
        retriever.score("x")
    with pytest.raises(ValueError, match=r"\[0, 1\], got 1.5"):
        world.retriever(lexical_weight=1.5)
    world.table.delete("true")
    for ask in (world.retriever().search, world.retriever().score):
        with pytest.raises(ValueError, match="index is empty"):
            ask(["x"])


def test_the_largest_are_in_order_and_the_first_of_equals():
    scores = np.array([0.5, 0.9, 0.5, 0.1, 0.9, 0.5])
    assert largest(scores, 3).tolist() == [1, 4, 0]
    assert largest(scores, 4).tolist() == [1, 4, 0, 2]
    assert largest(scores, 10).tolist() == [1, 4, 0, 2, 5, 3]
    assert largest(np.zeros(0), 2).tolist() == []


@pytest.mark.parametrize(("rows", "parts"), [(0, 20), (120_000, 20), (1_200_000, 88), (12_000_000, 441)])
def test_a_smaller_share_of_the_parts_is_searched_the_more_there_are(rows, parts):
    assert parts_to_search(rows) == parts
