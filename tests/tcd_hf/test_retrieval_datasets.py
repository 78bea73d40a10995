import json
import os
import pickle
from pathlib import Path

import pytest

from tcd_hf.data.annotation_formats import FORMATS
from tcd_hf.data.retrieval_datasets import FEATURES, MOMENTS, MissingFilesError, load_retrieval_dataset


def join(pairs):
    """A rewriter that tells what it was given."""
    return [f"{question} {answer}" for question, answer in pairs]


def textvr_entry(path, *captions, ocr=None):
    return {
        "path": path,
        "captions_info": [{"caption": text, "caption_info": {"duration": 10.0, "desc_id": 7}} for text in captions],
        "videos_info": {
            "source": "vitvr_batch1",
            "split": "test",
            "Kwai_OCR": ocr or str(Path(path).with_suffix(".json")),
        },
    }


def question(video_id, text, *answers, source1="Single frame", source2="Text"):
    return {
        "question": text,
        "source1": source1,
        "source2": source2,
        "video_id": video_id,
        "answers": list(answers),
        "video_width": 1280,
        "video_height": 720,
        "question_id": 13513,
    }


def vitevqa(*questions):
    return {"dataset_type": "t1s1train", "dataset_name": "vtvqa", "dataset_version": "0.0.2", "data": list(questions)}


def msrvtt(**captions):
    return {
        "info": {"year": "2016"},
        "videos": [{"id": 0, "video_id": name, "category": 9, "url": "", "split": "train"} for name in captions],
        "sentences": [
            {"sen_id": number, "video_id": name, "caption": caption}
            for name, own in captions.items()
            for number, caption in enumerate(own)
        ],
    }


def vatex_entry(video_id, *captions):
    return {"videoID": video_id, "enCap": list(captions), "chCap": ["一个人"]}


def qvhighlight(video_id, query, *windows):
    """A line; without moments one of the test file."""
    entry = {"qid": 2579, "query": query, "duration": 150, "vid": video_id}
    clips = {"relevant_clip_ids": [0], "saliency_scores": [[4, 1, 1]]}
    return entry | ({"relevant_windows": list(windows), **clips} if windows else {})


def lines(*entries):
    return "\n".join(entry if isinstance(entry, str) else json.dumps(entry) for entry in entries)


ANET = {"duration": 82.7, "timestamps": [[0.8, 19.9], [17.4, 60.8]]}
MSVD_PICKLE = pickle.dumps({name: [["a", "man"], ["he", "runs"]] for name in ("tr_0_5", "va_1_6", "te_2_7")})

# Data set: its files, its videos, and the rows of each split as (video_id, video, captions, query_types).
PUBLISHED = {
    "textvr": (
        {
            "TextVR_train.json": [
                textvr_entry("Sports/a_00_10.mp4", " WARRIORS  win.", "They win."),
                textvr_entry("Sports/a_00_10.mp4", "A ball."),
                textvr_entry("News_Movie/b.mp4", "A logo.", ocr="Technology/b.json"),
            ],
            "TextVR_test.json": [textvr_entry("Driving/629.mp4", "A sign says SNOW.")],
            "TextVR_test_rand.json": [textvr_entry("Driving/629.mp4", "Scrambled.")],
        },
        ["Sports/a_00_10.mp4", "News_Movie/b.mp4", "Driving/629.mp4", "629.mp4"],
        {
            "train": [
                ("Sports/a_00_10", "Sports/a_00_10.mp4", ["WARRIORS win.", "They win.", "A ball."], ["Sports"] * 3),
                ("News_Movie/b", "News_Movie/b.mp4", ["A logo."], ["News_Movie"]),
            ],
            "test": [("Driving/629", "Driving/629.mp4", ["A sign says SNOW."], ["Driving"])],
        },
    ),
    "m4-vitevqa-t1s1": (
        {
            "ViteVQA_0.0.2_t1s1train.json": vitevqa(
                question("05453", "Where?", "Here", "there"),
                question("02766", "Which colour?", "red", source1="Multi frame", source2="Visual"),
                question("05453", "When ?", "now"),
                question("02766", "Unanswered?"),
            ),
            "ViteVQA_0.0.2_t1s1val.json": vitevqa(question("00107", "Who?", "Ann", source1="", source2="")),
            "ViteVQA_0.0.2_t1s1test.json": vitevqa(question("03151", "What?", "A pen", source2="Knowledge")),
        },
        ["05453.mp4", "02766.mp4", "00107.mp4", "03151.mp4"],
        {
            "train": [
                ("05453", "05453.mp4", ["Where? Here", "When ? now"], ["Text, Single frame"] * 2),
                ("02766", "02766.mp4", ["Which colour? red"], ["Visual, Multi frame"]),
            ],
            "validation": [("00107", "00107.mp4", ["Who? Ann"], [None])],
            "test": [("03151", "03151.mp4", ["What? A pen"], ["Knowledge, Single frame"])],
        },
    ),
    "msrvtt-1ka": (
        {
            "MSRVTT_data.json": msrvtt(video3=["c", "d"], video7020=["x", "y"], video9000=["e"]),
            "MSRVTT_train.9k.csv": "video_id\nvideo9000\nvideo3\n",
            "MSRVTT_JSFUSION_test.csv": (
                'key,vid_key,video_id,sentence\nret0,msr7020,video7020,"a fondant, baby and flower"\n'
            ),
        },
        ["video3.mp4", "video7020.mp4", "video9000.mp4"],
        {
            "train": [
                ("video9000", "video9000.mp4", ["e"], [None]),
                ("video3", "video3.mp4", ["c", "d"], [None] * 2),
            ],
            "test": [("video7020", "video7020.mp4", ["a fondant, baby and flower"], [None])],
        },
    ),
    "msrvtt-full": (
        {"MSRVTT_data.json": msrvtt(video6512=["a"], video6513=["b", "c"], video7009=["d"], video7010=["e"])},
        ["part/video6512.mp4", "video6513.mp4", "video7009.webm", "video7010.mp4"],
        {
            "train": [("video6512", "part/video6512.mp4", ["a"], [None])],
            "validation": [
                ("video6513", "video6513.mp4", ["b", "c"], [None] * 2),
                ("video7009", "video7009.webm", ["d"], [None]),
            ],
            "test": [("video7010", "video7010.mp4", ["e"], [None])],
        },
    ),
    "msvd": (
        {
            "raw-captions.pkl": MSVD_PICKLE,
            "train_list.txt": "tr_0_5\n",
            "val_list.txt": "va_1_6\n",
            "test_list.txt": "te_2_7\n\n",
        },
        ["tr_0_5.avi", "va_1_6.avi", "te_2_7.avi"],
        {
            split: [(name, f"{name}.avi", ["a man", "he runs"], [None] * 2)]
            for split, name in {"train": "tr_0_5", "validation": "va_1_6", "test": "te_2_7"}.items()
        },
    ),
    "vatex": (
        {
            "vatex_training_v1.0.json": [vatex_entry("Ptf_2VRj-V0_000122_000132", "A man.", "Someone.")],
            "vatex_validation_v1.0.json": [vatex_entry("va_000001_000011", "A dog.")],
            "vatex_public_test_english_v1.1.json": [{"videoID": "te_000002_000012", "enCap": ["A cat."]}],
        },
        ["Ptf_2VRj-V0_000122_000132.mp4", "va_000001_000011.mp4", "te_000002_000012.mkv"],
        {
            "train": [
                (
                    "Ptf_2VRj-V0_000122_000132",
                    "Ptf_2VRj-V0_000122_000132.mp4",
                    ["A man.", "Someone."],
                    [None] * 2,
                )
            ],
            "validation": [("va_000001_000011", "va_000001_000011.mp4", ["A dog."], [None])],
            "test": [("te_000002_000012", "te_000002_000012.mkv", ["A cat."], [None])],
        },
    ),
    "vatex-hgr": (
        {
            "vatex_training_v1.0.json": [vatex_entry("a", "A man.")],
            "vatex_validation_v1.0.json": [vatex_entry("b", "A dog."), vatex_entry("c", "A cat.")],
            "val_list.txt": "c\n",
            "test_list.txt": "b\n",
        },
        ["a.mp4", "b.mp4", "c.mp4"],
        {
            "train": [("a", "a.mp4", ["A man."], [None])],
            "validation": [("c", "c.mp4", ["A cat."], [None])],
            "test": [("b", "b.mp4", ["A dog."], [None])],
        },
    ),
    "activitynet": (
        {
            "train.json": {"v_QOlSCBRmfWY": {**ANET, "sentences": ["A woman dances.", " She  ends."]}},
            "val_1.json": {"v_uqiMw7tQ1Cc": {**ANET, "sentences": ["A man.", "He sits."]}},
        },
        ["v_QOlSCBRmfWY.mp4", "uqiMw7tQ1Cc.mkv"],
        {
            "train": [("v_QOlSCBRmfWY", "v_QOlSCBRmfWY.mp4", ["A woman dances. She ends."], [None])],
            "test": [("v_uqiMw7tQ1Cc", "uqiMw7tQ1Cc.mkv", ["A man. He sits."], [None])],
        },
    ),
    "activitynet-moments": (
        {
            "train.json": {"v_QOlSCBRmfWY": {**ANET, "sentences": ["A woman dances.", " She  ends."]}},
            "val_1.json": {"v_uqiMw7tQ1Cc": {**ANET, "sentences": [" ", "He sits."]}},
            "val_2.json": {"v_bXdq2zI1Ms0": {**ANET, "sentences": ["A man.", "He sits."]}},
        },
        ["v_QOlSCBRmfWY.mp4", "uqiMw7tQ1Cc.mkv", "v_bXdq2zI1Ms0.webm"],
        {
            "train": [("v_QOlSCBRmfWY", "v_QOlSCBRmfWY.mp4", ["A woman dances.", "She ends."], [None] * 2)],
            "validation": [("v_uqiMw7tQ1Cc", "uqiMw7tQ1Cc.mkv", ["He sits."], [None])],
            "test": [("v_bXdq2zI1Ms0", "v_bXdq2zI1Ms0.webm", ["A man.", "He sits."], [None] * 2)],
        },
    ),
    "qvhighlights": (
        {
            "highlight_train_release.jsonl": lines(
                qvhighlight("NUsG9BgSes0_210.0_360.0", "A girl  cooks.", [0, 12], [70, 150]),
                qvhighlight("j7rJstUseKg_60.0_210.0", "Someone films.", [28, 30]),
                qvhighlight("NUsG9BgSes0_210.0_360.0", "Someone eats.", [150, 150.5]),
            ),
            "highlight_val_release.jsonl": lines("", qvhighlight("b_0.0_150.0", "A dog.", [2, 4])) + "\n",
            "highlight_test_release.jsonl": lines(qvhighlight("c_0.0_150.0", "A cat.")),
        },
        ["NUsG9BgSes0_210.0_360.0.mp4", "j7rJstUseKg_60.0_210.0.mp4", "b_0.0_150.0.mp4", "c_0.0_150.0.mp4"],
        {
            "train": [
                (
                    "NUsG9BgSes0_210.0_360.0",
                    "NUsG9BgSes0_210.0_360.0.mp4",
                    ["A girl cooks.", "Someone eats."],
                    [None] * 2,
                ),
                ("j7rJstUseKg_60.0_210.0", "j7rJstUseKg_60.0_210.0.mp4", ["Someone films."], [None]),
            ],
            "validation": [("b_0.0_150.0", "b_0.0_150.0.mp4", ["A dog."], [None])],
            "test": [("c_0.0_150.0", "c_0.0_150.0.mp4", ["A cat."], [None])],
        },
    ),
}

# Data set: the moments of each split, by video and caption.
PUBLISHED_MOMENTS = {
    "activitynet-moments": {
        "train": [[[[0.8, 19.9]], [[17.4, 60.8]]]],
        "validation": [[[[17.4, 60.8]]]],
        "test": [[[[0.8, 19.9]], [[17.4, 60.8]]]],
    },
    "qvhighlights": {
        "train": [[[[0, 12], [70, 150]], [[150, 150.5]]], [[[28, 30]]]],
        "validation": [[[[2, 4]]]],
        "test": [[[]]],
    },
}


def publish(folder: Path, files: dict, videos=()):
    """Writes annotation files and empty videos; returns the arguments that name their folders."""
    annotations, video_folder = folder / "annotations", folder / "videos"
    for parent in (annotations, video_folder):
        parent.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        content = content if isinstance(content, str | bytes) else json.dumps(content)
        (annotations / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    for name in videos:
        (video_folder / name).parent.mkdir(parents=True, exist_ok=True)
        (video_folder / name).touch()
    return {"annotations": annotations, "videos": video_folder}


def published(folder: Path, name: str):
    """The arguments that load the small data set of that name, whole."""
    files, videos, _ = PUBLISHED[name]
    arguments = {"name": name, **publish(folder, files, videos)}
    return arguments | ({"rewriter": join} if FORMATS[name].has_questions else {})


@pytest.fixture
def textvr(tmp_path):
    return published(tmp_path, "textvr")


@pytest.fixture
def msvd(tmp_path):
    return published(tmp_path, "msvd")


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files_become_rows_of_one_form(name, tmp_path):
    data = load_retrieval_dataset(**published(tmp_path, name))
    assert list(data) == list(PUBLISHED[name][2])
    for split, rows in PUBLISHED[name][2].items():
        assert data[split].features == {**FEATURES, **(MOMENTS if name in PUBLISHED_MOMENTS else {})}
        found = [
            (
                row["video_id"],
                Path(row["video"]).relative_to(os.path.realpath(tmp_path / "videos")).as_posix(),
                row["captions"],
                row["query_types"],
            )
            for row in data[split]
        ]
        assert found == rows
        assert data[split]["ocr"][:] == [None] * len(rows)
        if name in PUBLISHED_MOMENTS:
            assert data[split]["moments"][:] == PUBLISHED_MOMENTS[name][split]


def test_every_format_has_a_sample_here():
    tasks = {"m4-vitevqa-t1s2", "m4-vitevqa-t2"}
    assert set(PUBLISHED) | tasks == set(FORMATS)
    assert set(PUBLISHED_MOMENTS) == {name for name, form in FORMATS.items() if form.has_moments}
    assert {FORMATS[name].files["test"] for name in tasks} == {
        ("ViteVQA_0.0.2_t1s2test.json",),
        ("ViteVQA_0.0.2_t2test.json",),
    }


def test_what_is_saved_comes_back(textvr, tmp_path):
    from datasets import load_from_disk

    data = load_retrieval_dataset(**textvr)
    data.save_to_disk(tmp_path / "saved")
    assert load_from_disk(tmp_path / "saved")["train"].to_list() == data["train"].to_list()


# what is missing -----------------------------------------------------------------------------------------------------
def test_all_that_is_missing_is_listed_at_once(msvd):
    (msvd["annotations"] / "val_list.txt").unlink()
    for name in ("tr_0_5.avi", "te_2_7.avi"):
        (msvd["videos"] / name).unlink()
    with pytest.raises(MissingFilesError, match=r"tr_0_5(.|\n)*te_2_7") as caught:
        load_retrieval_dataset(**msvd)
    assert caught.value.missing == {
        f"annotation files in {msvd['annotations']}": ["val_list.txt"],
        "videos (train)": ["tr_0_5"],
        "videos (test)": ["te_2_7"],
    }
    with pytest.raises(MissingFilesError):
        load_retrieval_dataset(**msvd, skip_missing=True)  # annotations cannot be skipped


def test_missing_folders_and_files_are_named_together(tmp_path):
    nowhere = tmp_path / "nowhere"
    with pytest.raises(MissingFilesError) as caught:
        load_retrieval_dataset("textvr", tmp_path, nowhere, ocr=tmp_path / "no_ocr")
    assert caught.value.missing == {
        f"annotation files in {tmp_path}": ["TextVR_train.json", "TextVR_test.json"],
        "folders": [str(nowhere), str(tmp_path / "no_ocr")],
    }


def test_a_long_list_is_cut_in_the_message_only(tmp_path):
    ids = [f"v{number}" for number in range(60)]
    arguments = publish(tmp_path, {"train.json": {name: {**ANET, "sentences": ["A man."]} for name in ids}})
    with pytest.raises(MissingFilesError, match="v49 and 10 more") as caught:
        load_retrieval_dataset("activitynet", **arguments, splits=["train"])
    assert caught.value.missing == {"videos (train)": ids}


def test_what_the_folder_of_videos_holds_besides_is_counted(textvr, caplog):
    load_retrieval_dataset(**textvr)
    before = caplog.text
    caplog.clear()
    for name in ("a.jpg", "b.jpg", "c.gif"):
        Path(textvr["videos"], name).touch()
    load_retrieval_dataset(**textvr)
    assert "Left out" not in before
    assert "Left out 3 files that are no videos: 2 .jpg, 1 .gif, in" in caplog.text


def test_missing_videos_may_be_skipped(textvr, caplog):
    (textvr["videos"] / "News_Movie/b.mp4").unlink()
    data = load_retrieval_dataset(**textvr, skip_missing=True)
    assert data["train"]["video_id"][:] == ["Sports/a_00_10"]
    assert "News_Movie/b" in caplog.text
    (textvr["videos"] / "Driving/629.mp4").unlink()  # the last one of its split: the wrong folder, as a rule
    with pytest.raises(MissingFilesError, match="Driving/629"):
        load_retrieval_dataset(**textvr, skip_missing=True)


def test_splits_that_are_not_asked_for_need_no_files(msvd):
    (msvd["annotations"] / "train_list.txt").unlink()
    (msvd["videos"] / "va_1_6.avi").unlink()
    assert list(load_retrieval_dataset(**msvd, splits=["test"])) == ["test"]


def test_the_scrambled_test_file_is_refused(textvr):
    (textvr["annotations"] / "TextVR_test.json").unlink()
    with pytest.raises(MissingFilesError, match=r"scrambled on purpose.*TextVR_test_rand\.json"):
        load_retrieval_dataset(**textvr)


# paths in annotations ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["../secret.mp4", "Sports/../../secret.mp4", "ABSOLUTE"])
def test_no_annotation_leads_out_of_the_folder(name, tmp_path):
    secret = tmp_path / "elsewhere" / "secret.mp4"
    secret.parent.mkdir()
    secret.touch()
    (tmp_path / "secret.mp4").touch()
    name = str(secret) if name == "ABSOLUTE" else name
    arguments = publish(tmp_path, {"TextVR_test.json": [textvr_entry(name, "A caption.")]}, ["Sports/a.mp4"])
    with pytest.raises(MissingFilesError, match=r"1 videos \(test\)"):
        load_retrieval_dataset("textvr", **arguments, splits=["test"])


def test_links_are_followed_wherever_they_lead(tmp_path):
    names = ["Sports/a.mp4", "b.mp4", "far.mp4", "outside/c.mp4"]
    entries = [textvr_entry(name, f"A caption of {name}.") for name in names]
    arguments = publish(tmp_path, {"TextVR_test.json": entries}, ["Sports/a.mp4"])
    videos, elsewhere = arguments["videos"], tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "c.mp4").touch()
    try:
        (videos / "b.mp4").symlink_to(videos / "Sports/a.mp4")
        (videos / "far.mp4").symlink_to(elsewhere / "d.mp4")
        (videos / "outside").symlink_to(elsewhere, target_is_directory=True)
        (elsewhere / "back").symlink_to(videos, target_is_directory=True)
        (tmp_path / "linked").symlink_to(videos, target_is_directory=True)
    except OSError as error:
        pytest.skip(f"links cannot be made here: {error}")
    asked = ("textvr", arguments["annotations"], tmp_path / "linked")
    with pytest.raises(MissingFilesError, match=r"far\.mp4 \(a link to .*d\.mp4, which is not there\)") as error:
        load_retrieval_dataset(*asked, splits=["test"])
    assert len(error.value.missing["videos (test)"]) == 1
    (elsewhere / "d.mp4").touch()
    data = load_retrieval_dataset(*asked, splits=["test"])
    assert [Path(path).name for path in data["test"]["video"][:]] == ["a.mp4", "b.mp4", "far.mp4", "c.mp4"]


# wrong files ---------------------------------------------------------------------------------------------------------
class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_that_would_run_code_is_refused(msvd, tmp_path):
    touched = tmp_path / "touched"
    (msvd["annotations"] / "raw-captions.pkl").write_bytes(pickle.dumps({"tr_0_5": Harmful(touched)}))
    with pytest.raises(ValueError, match=r"raw-captions\.pkl.*do not trust it"):
        load_retrieval_dataset(**msvd)
    assert not touched.exists()


@pytest.mark.parametrize("content", ["{", '{"a": 1}', '[{"path": "a.mp4"}]', b"\xff\xfe", "[1]"])
def test_a_file_of_another_form_is_named(textvr, content):
    publish(textvr["annotations"].parent, {"TextVR_train.json": content})
    with pytest.raises(ValueError, match=r"TextVR_train\.json: not in the form"):
        load_retrieval_dataset(**textvr)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"line 2: not in the form in which qvhighlights is published \(JSONDecodeError"),
        (qvhighlight("a", "A cat."), r"line 2: not in the form .*KeyError\('relevant_windows'\)"),
        ([1], "line 2: not in the form .*TypeError"),
        ({**qvhighlight("a", "A cat.", [2, 4]), "query": None}, "line 2: not in the form .*AttributeError"),
        (qvhighlight("a", "A cat.", [2, 4], [9, 6]), r"line 2: a moment must be .* 0 <= start < end, got \[9, 6\]"),
        (qvhighlight("a", "A cat.", [float("nan"), 6]), r"line 2: a moment must be .* got \[nan, 6\]"),
        ({**qvhighlight("a", "A cat.", [2, 4]), "relevant_windows": 3}, "line 2: moments must be a list .*got 3"),
    ],
)
def test_a_line_of_another_form_is_named(tmp_path, line, message):
    arguments = published(tmp_path, "qvhighlights")
    good = qvhighlight("b_0.0_150.0", "A dog.", [2, 4])
    publish(tmp_path, {"highlight_val_release.jsonl": lines(good, line if isinstance(line, str) else json.dumps(line))})
    with pytest.raises(ValueError, match=rf"highlight_val_release\.jsonl, {message}"):
        load_retrieval_dataset(**arguments)


@pytest.mark.parametrize(
    ("timestamps", "message"),
    [
        ([[0, 1]], r"val_2\.json, v_bXdq2zI1Ms0: 1 timestamps for 2 sentences"),
        ([[0, 1], [-2, 1]], r"val_2\.json, v_bXdq2zI1Ms0: a moment must be .*got \[-2, 1\]"),
        ([[0, 1], [1, 2, 3]], r"val_2\.json, v_bXdq2zI1Ms0: a moment must be .*got \[1, 2, 3\]"),
        ([[0, 1], 7], r"val_2\.json: not in the form in which activitynet-moments is published"),
    ],
)
def test_timestamps_of_another_form_are_named(tmp_path, timestamps, message):
    arguments = published(tmp_path, "activitynet-moments")
    entry = {"duration": 9, "timestamps": timestamps, "sentences": ["A man.", "He sits."]}
    publish(tmp_path, {"val_2.json": {"v_bXdq2zI1Ms0": entry}})
    with pytest.raises(ValueError, match=message):
        load_retrieval_dataset(**arguments)


def test_a_sentence_whose_time_has_no_length_has_no_moment(tmp_path, caplog):
    arguments = published(tmp_path, "activitynet-moments")
    entry = {"duration": 9, "timestamps": [[5, 3], [2, 2], [1, 2]], "sentences": ["One.", "Two.", "Three."]}
    publish(tmp_path, {"val_2.json": {"v_bXdq2zI1Ms0": entry}})
    (row,) = load_retrieval_dataset(**arguments, splits=["test"])["test"]
    assert row["captions"] == ["One.", "Two.", "Three."] and row["moments"] == [[], [], [[1, 2]]]
    assert "val_2.json: 2 sentences have a time of no length" in caplog.text


def test_ids_without_captions_are_all_listed(msvd):
    publish(msvd["annotations"].parent, {"train_list.txt": "tr_0_5\nx_1_2\ny_1_2\n"})
    with pytest.raises(ValueError, match=r"2 videos of .*train_list\.txt have no caption: x_1_2, y_1_2"):
        load_retrieval_dataset(**msvd)


def test_a_video_without_words_and_a_split_without_videos_are_refused(textvr):
    publish(textvr["annotations"].parent, {"TextVR_train.json": [textvr_entry("Sports/a_00_10.mp4", "  ")]})
    with pytest.raises(ValueError, match="1 videos have no caption: Sports/a_00_10"):
        load_retrieval_dataset(**textvr)
    publish(textvr["annotations"].parent, {"TextVR_train.json": []})
    with pytest.raises(ValueError, match="no videos of the split 'train'"):
        load_retrieval_dataset(**textvr)


def test_withheld_answers_are_explained(tmp_path):
    arguments = published(tmp_path, "m4-vitevqa-t1s1")
    publish(tmp_path, {"ViteVQA_0.0.2_t1s1test.json": vitevqa(question("03151", "Who?", source1="", source2=""))})
    with pytest.raises(ValueError, match="withholds the answers"):
        load_retrieval_dataset(**arguments)
    assert len(load_retrieval_dataset(**arguments, splits=("train", "validation"))) == 2


def test_a_video_in_two_splits_is_warned_of(msvd, caplog):
    publish(msvd["annotations"].parent, {"test_list.txt": "te_2_7\nva_1_6\n"})
    load_retrieval_dataset(**msvd)
    assert "1 videos are in more than one split: va_1_6" in caplog.text


# arguments -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "msrvtt"}, "no data set 'msrvtt'; there are .*msrvtt-1ka, msrvtt-full"),
        ({"splits": ["dev"]}, "no split dev; it has train, validation, test"),
        ({"ocr": "ocr"}, "msvd ships no OCR"),
        ({"rewriter": join}, "leave the `rewriter` out"),
        ({"validation_size": 1}, "a validation split of its own"),
        ({"validation_size": -1}, "must not be negative"),
        ({"name": "m4-vitevqa-t2"}, "give a `rewriter`"),
        ({"name": "textvr", "validation_size": 1, "splits": ["test"]}, "add it to `splits`"),
    ],
)
def test_wrong_arguments_are_explained(msvd, changes, message):
    with pytest.raises(ValueError, match=message):
        load_retrieval_dataset(**{**msvd, **changes})


def test_a_rewriter_must_answer_every_question(tmp_path):
    with pytest.raises(ValueError, match="gave 1 sentences for 5 questions"):
        load_retrieval_dataset(**{**published(tmp_path, "m4-vitevqa-t1s1"), "rewriter": lambda pairs: ["one"]})


# validation ----------------------------------------------------------------------------------------------------------
def test_validation_is_taken_from_training_alone_whatever_the_order(tmp_path):
    ids = [f"v_{number}" for number in range(20)]
    entries = {name: {**ANET, "sentences": ["A man."]} for name in ids}
    test = {"v_test": {**ANET, "sentences": ["A man."]}}
    videos = [f"{name}.mp4" for name in [*ids, "v_test"]]
    forward = publish(tmp_path / "a", {"train.json": entries, "val_1.json": test}, videos)
    shuffled = {name: entries[name] for name in reversed(ids)}
    backward = publish(tmp_path / "b", {"train.json": shuffled, "val_1.json": test}, videos)

    data = load_retrieval_dataset("activitynet", **forward, validation_size=5)
    assert list(data) == ["train", "validation", "test"]
    held_out = data["validation"]["video_id"][:]
    assert len(held_out) == 5
    assert sorted(held_out + data["train"]["video_id"][:]) == sorted(ids)
    assert data["test"]["video_id"][:] == ["v_test"]
    again = load_retrieval_dataset("activitynet", **backward, validation_size=5)
    assert again["validation"]["video_id"][:] == held_out[::-1]
    more = load_retrieval_dataset("activitynet", **forward, validation_size=6)
    assert set(held_out) < set(more["validation"]["video_id"][:])
    with pytest.raises(ValueError, match="leaves none of 20"):
        load_retrieval_dataset("activitynet", **forward, validation_size=20)


# OCR -----------------------------------------------------------------------------------------------------------------
KWAI = {"0": {"recommend_box": [], "score": 0.75, "text": "TESCO", "tracks": {"0": [10] * 10, "1": [10] * 10}}}


def test_shipped_ocr_goes_with_its_video(textvr, tmp_path):
    ocr = tmp_path / "Kwai_VideoOCR"
    contents = {"Sports/a_00_10": KWAI, "Technology/b": {}, "Driving/629": {"0": {"text": "no tracks"}}}
    for name, content in contents.items():
        (ocr / name).parent.mkdir(parents=True, exist_ok=True)
        (ocr / f"{name}.json").write_text(json.dumps(content))
    with pytest.raises(MissingFilesError) as caught:
        load_retrieval_dataset(**textvr, ocr=ocr)
    assert caught.value.missing == {"videos whose OCR is missing or broken (test)": ["Driving/629"]}
    data = load_retrieval_dataset(**textvr, ocr=ocr, skip_missing=True)
    tesco = {"text": "TESCO", "confidence": 0.75, "start_frame": 0, "end_frame": 2}
    assert data["train"]["ocr"][:] == [[tesco], []]  # nothing read is an answer, too
    assert data["test"]["ocr"][:] == [None]


def test_ocr_of_another_video_is_refused(textvr):
    entry = textvr_entry("Driving/629.mp4", "A sign.", ocr="Sports/a_00_10.json")  # as first released
    publish(textvr["annotations"].parent, {"TextVR_test.json": [entry]})
    with pytest.raises(ValueError, match=r"names the OCR of another video, Sports/a_00_10\.json, for Driving/629\.mp4"):
        load_retrieval_dataset(**textvr)
