"""An index whose files are damaged: it says so in its own words, answers rightly or not at all, and can be mended."""

import json
import logging
import random
import shutil
from pathlib import Path
from typing import get_args

import pyarrow as pa
import pytest

import tcd_hf
from tcd_hf.choices import SearchMode
from tcd_hf.index.schema import IndexDamagedError, IndexMismatchError
from tcd_hf.index.video_index import VideoIndex
from tests.clips import coded_frame, write_clip
from tests.tcd_hf.conftest import CodeReader, invoke, make_tiny_model, make_tiny_processor, open_storage

TEXTS = {1: ["TESCO express", "£1.30"], 2: ["DEPARTURES", "Gate B4"], 3: ["STAR WARS"]}
SCHEDULE = {"shop": [8, 8, 1, 1], "airport": [2, 2, 16, 16], "toys": [32, 3, 32, 32], "sea": [64] * 4}
QUERIES = ["the store TESCO express", "star wars toys", "gate b4"]
ADVICE = ("--check", "--repair", "VideoIndex.check", "VideoIndex.repair")


class Shelf:
    """An index of four clips that were added in two goes, and copies of it to be damaged.

    Attributes:
        clips (`dict[str, Path]`): the clips, by name.
        folder (`Path`): of the copy at hand.
        reader (`CodeReader`): counts the pictures that were read.
    """

    def __init__(self, root: Path):
        self.root, self.folder, self.made, self.kept = root, root / "index", root / "made", root / "kept"
        self.kept.mkdir()
        for name, codes in SCHEDULE.items():
            write_clip(self.kept / f"{name}.mp4", [coded_frame(code) for code in codes for _ in range(5)], fps=5)
        shutil.copytree(self.kept, root / "videos")
        self.clips = {name: root / "videos" / f"{name}.mp4" for name in SCHEDULE}
        self.reader = CodeReader(TEXTS)
        self.makers = make_tiny_model(), make_tiny_processor(self.reader)
        self.cache = {"cache_dir": root / "cache"}
        index = VideoIndex.create(self.made, *self.makers, **self.cache)
        first, second, *others = self.clips.values()
        index.add([first, second], workers=0)
        index.add([*others, root / "videos" / "missing.mp4"], workers=0)
        self.answers = self.ask(index)

    def fresh(self, compacted: bool = False) -> VideoIndex:
        """Puts whole copies of index and clips in the place of those that there were."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.made, self.folder)
        shutil.copytree(self.kept, self.root / "videos", dirs_exist_ok=True)
        self.reader.images_read = 0
        if compacted:
            self.open().compact()
        return self.open()

    def open(self) -> VideoIndex:
        return VideoIndex.open(self.folder, *self.makers, **self.cache)

    def repair(self):
        return VideoIndex.repair(self.folder, *self.makers, workers=0, **self.cache)

    def ask(self, index: VideoIndex, mode: str = "two-stage") -> list:
        """What is found, in an order of its own: that of equal hits changes when videos are read again."""
        return [
            sorted((Path(hit.path).stem, round(hit.score, 4), *hit.evidence) for hit in hits)
            for hits in index.search(QUERIES, mode=mode)
        ]

    def file(self, pattern: str, place: int = 0) -> Path:
        return sorted(self.folder.glob(pattern))[place]

    def spoil(self, name: str, **values) -> None:
        """Changes values in the row of a clip, as flipped bits would: its checksum stays."""
        storage = open_storage(self.open())
        rows = storage.read(storage.videos.schema.names, f"path LIKE '%{name}.mp4'")
        for column, value in values.items():
            field = rows.schema.field(column)
            rows = rows.set_column(rows.schema.get_field_index(column), field, pa.array([value], field.type))
        storage.update(rows)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    return Shelf(tmp_path_factory.mktemp("shelf"))


def parts(index: VideoIndex) -> list[str]:
    return [damage.part for damage in index.check()]


def is_in_our_words(error: Exception) -> bool:
    words = str(error).lower()
    return isinstance(error, IndexDamagedError | IndexMismatchError) and not any(
        word in words for word in ("lance error", "lanceerror", "rust", ".rs:", "protobuf", "traceback")
    )


def test_the_error_is_exported_and_no_mismatch():
    assert tcd_hf.IndexDamagedError is IndexDamagedError
    assert issubclass(IndexDamagedError, ValueError) and not issubclass(IndexDamagedError, IndexMismatchError)


def test_a_whole_index_is_whole_and_repairing_changes_nothing(shelf):
    index = shelf.fresh()
    assert index.check() == []
    rows = index.read(["path", "checksum", "start"])
    report = shelf.repair()
    assert (report.kept, report.read_again, report.lost, report.remade, report.restored_version) == (
        4,
        [],
        [],
        [],
        None,
    )
    assert report.set_aside is None and shelf.reader.images_read == 0
    assert shelf.open().read(["path", "checksum", "start"]).equals(rows)
    assert shelf.ask(shelf.open()) == shelf.answers and parts(shelf.open()) == []
    assert list(shelf.open().errors) == [str(shelf.root / "videos" / "missing.mp4")]


@pytest.mark.parametrize(
    "values",
    [
        {"texts": "gate of another text"},
        {"captions": b"no captions"},
        {"coarse": [0.25] * 16},
        {"path": "/another.mp4"},
        {"start": 1.0},
        {"checksum": b"12345678"},
    ],
    ids=lambda values: next(iter(values)),
)
@pytest.mark.parametrize("mode", get_args(SearchMode))
def test_no_search_shows_a_row_that_is_not_what_was_written(shelf, values, mode):
    shelf.fresh()
    shelf.spoil("airport", **values)
    name = values.get("path", "airport.mp4")
    with pytest.raises(IndexDamagedError) as error:
        shelf.open().search("gate b4 departures", mode=mode)
    assert str(shelf.folder) in str(error.value) and all(word in str(error.value) for word in ADVICE)
    assert name in str(error.value) and is_in_our_words(error.value)


def test_neither_moments_nor_ordered_searches_show_one(shelf):
    shelf.fresh()
    shelf.spoil("airport", texts="another text")
    index = shelf.open()
    for ask in (
        lambda: index.moments("gate", shelf.clips["airport"]),
        lambda: index.search("departures >> gate", syntax="query"),
        lambda: index.search("departures >> gate", syntax="query", mode="full"),
    ):
        with pytest.raises(IndexDamagedError, match=r"rows of .*airport\.mp4 are not what was written"):
            ask()
    assert index.moments("tesco", shelf.clips["shop"])[0].evidence == ["TESCO express"]  # others are as they were


@pytest.mark.parametrize(
    "values",
    [
        {"caption_text": "no"},
        {"has_text": False},
        {"sources": "given"},
        {"term_text": "_no_"},
        {"path": "/x"},
        {"duration": 3.75},
        {"duration": 8.0},
    ],
)
def test_a_check_finds_what_is_damaged_in_any_column_that_is_verified(shelf, values):
    shelf.fresh()
    shelf.spoil("airport", **values)
    damage = shelf.open().check()[0]
    assert damage.part == "rows" and damage.detail.startswith("1 rows are not what was written")
    assert damage.paths == ((str(shelf.clips["airport"]),) if "path" not in values else ())
    shelf.repair()
    assert parts(shelf.open()) == [] and shelf.ask(shelf.open()) == shelf.answers


def test_statistics_are_counted_anew_with_one_warning(shelf, caplog):
    for spoil in (b"", b"x" * 300):
        shelf.fresh()
        for file in shelf.folder.glob("lexical_statistics.lance/data/*"):
            file.write_bytes(spoil)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            reader = shelf.open()
            assert shelf.ask(reader) == shelf.answers and shelf.ask(reader) == shelf.answers
        (record,) = caplog.records
        assert "statistics" in record.getMessage() and str(shelf.folder) in record.getMessage()
        assert parts(shelf.open()) == ["statistics"]
        shelf.open().add(shelf.clips.values(), workers=0)
        assert parts(shelf.open()) == []


def test_other_numbers_in_the_statistics_are_seen(shelf, caplog):
    shelf.fresh()
    storage = open_storage(shelf.open())
    wrong = storage.load_statistics()
    wrong.document_frequency[:] += 7
    whole = storage.open_table("lexical_statistics").schema.metadata
    storage.save_statistics(wrong)
    table = (
        storage.open_table("lexical_statistics").to_arrow().replace_schema_metadata(whole)
    )  # its checksum is another
    storage.create_rows("other", table.to_reader())
    shutil.rmtree(shelf.folder / "lexical_statistics.lance")
    (shelf.folder / "other.lance").rename(shelf.folder / "lexical_statistics.lance")
    with caplog.at_level(logging.WARNING):
        assert shelf.ask(shelf.open()) == shelf.answers
    assert "statistics" in caplog.text


@pytest.mark.parametrize("mode", get_args(SearchMode))
def test_without_the_full_text_index_texts_are_looked_through(shelf, caplog, mode):
    expected = shelf.ask(shelf.fresh(), mode)
    for file in shelf.folder.glob("videos.lance/_indices/*/*"):
        file.write_bytes(b"x" * 100)
    with caplog.at_level(logging.WARNING):
        reader = shelf.open()
        assert shelf.ask(reader, mode) == expected == shelf.ask(reader, mode)
        filtered = reader.search("gate b4", mode=mode, where="path LIKE '%airport%'")
    assert [Path(hit.path).stem for hit in filtered] == ["airport"]
    assert len(caplog.records) == (1 if mode in ("two-stage", "lexical") else 0)


def test_a_writer_makes_the_full_text_index_anew(shelf, caplog):
    shelf.fresh()
    for file in shelf.folder.glob("videos.lance/_indices/*/*"):
        file.unlink()
    assert parts(shelf.open()) == ["full-text index"]
    with caplog.at_level(logging.WARNING):
        shelf.open().add(shelf.clips.values(), workers=0)
    *_, record = caplog.records  # after the one that it reads in this process
    assert "full-text index" in record.getMessage() and "made anew" in record.getMessage()
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert shelf.ask(shelf.open()) == shelf.answers
    assert parts(shelf.open()) == [] and not caplog.records


@pytest.mark.parametrize("content", [b"\xff\xfe", b'{"path": "a", "cau', b'{"path": 3, "cause": "x"}\n', b"[]\n"])
def test_damaged_lines_of_the_errors_are_left_out(shelf, caplog, content):
    index = shelf.fresh()
    (shelf.folder / "errors.jsonl").write_bytes(b'{"path": "/a.mp4", "cause": "b"}\n' + content)
    assert parts(index) == ["errors.jsonl"]
    with caplog.at_level(logging.WARNING):
        assert index.errors == {"/a.mp4": "b"}
    assert "errors.jsonl" in caplog.text
    missing = shelf.root / "videos" / "missing.mp4"
    index.add([missing, *shelf.clips.values()], workers=0)
    assert set(index.errors) == {"/a.mp4", str(missing)} and parts(index) == []


def test_the_newest_whole_version_is_brought_back_and_what_it_lacks_is_read_from_the_cache(shelf):
    shelf.fresh()
    newest = max(shelf.folder.glob("videos.lance/data/*"), key=lambda file: file.stat().st_mtime_ns)
    newest.write_bytes(newest.read_bytes()[:2000])
    with pytest.raises(IndexDamagedError) as error:
        shelf.open().search(QUERIES)
    assert is_in_our_words(error.value)
    report = shelf.repair()
    assert report.restored_version and report.kept == 3 and not report.lost
    assert [Path(path).stem for path in report.read_again] == ["sea"]  # each video is of a commit of its own
    assert shelf.reader.images_read == 0  # text came from the cache
    assert shelf.ask(shelf.open()) == shelf.answers and parts(shelf.open()) == []


def test_what_was_removed_since_does_not_come_back(shelf):
    index = shelf.fresh()
    index.remove([shelf.clips["shop"]])
    shelf.spoil("airport", texts="another text")
    shelf.open().remove(["/nothing"])
    report = shelf.repair()
    assert not report.lost and sorted(Path(path).stem for path in shelf.open().paths) == ["airport", "sea", "toys"]
    assert parts(shelf.open()) == []


@pytest.mark.parametrize("compacted", [False, True], ids=["as added", "compacted"])
def test_a_list_from_before_the_last_commits_costs_no_video(shelf, compacted):
    """A run that adds writes the list at its end: one that is killed leaves it older than the table."""
    shelf.fresh(compacted)
    head, first, *_ = map(json.loads, (shelf.folder / "videos.jsonl").read_text().splitlines())
    shelf.spoil("sea", texts="another text")
    if compacted:
        open_storage(shelf.open()).compact()  # no older version has the row
    older = [{**head, "version": 1, "videos": 1}, first]
    (shelf.folder / "videos.jsonl").write_text("".join(json.dumps(line) + "\n" for line in older))
    report = shelf.repair()
    assert report.lost == [] and [Path(path).stem for path in report.read_again] == (["sea"] if compacted else [])
    assert sorted(Path(path).stem for path in shelf.open().paths) == ["airport", "sea", "shop", "toys"]
    assert shelf.ask(shelf.open()) == shelf.answers and parts(shelf.open()) == []


@pytest.mark.parametrize("compacted", [False, True], ids=["as added", "compacted"])
def test_rows_that_tell_no_video_are_counted_where_no_list_tells_it_either(shelf, compacted):
    shelf.fresh(compacted)
    head, first, *_ = map(json.loads, (shelf.folder / "videos.jsonl").read_text().splitlines())
    shelf.spoil("sea", path="/elsewhere.mp4")
    if compacted:
        open_storage(shelf.open()).compact()
    (damage,) = shelf.open().check()
    assert damage.paths == () and "1 rows are not what was written; of 1 the path of the video" in damage.detail
    assert "(row " in damage.detail and " of fragment " in damage.detail
    older = [{**head, "version": 1, "videos": 1}, first]
    (shelf.folder / "videos.jsonl").write_text("".join(json.dumps(line) + "\n" for line in older))
    report = shelf.repair()
    assert report.nameless == 1 and report.lost == [] and parts(shelf.open()) == []
    shelf.open().add(shelf.clips.values(), workers=0)
    assert shelf.ask(shelf.open()) == shelf.answers and shelf.reader.images_read == 0


def test_a_video_is_wanted_if_any_of_its_rows_tells_of_it(shelf, tmp_path):
    shelf.fresh()
    index = VideoIndex.create(tmp_path / "index", *shelf.makers, segment_seconds=2, **shelf.cache)
    index.add([shelf.clips["airport"]], workers=0)
    index.compact()
    storage = open_storage(index)
    rows = storage.read(storage.videos.schema.names, "segment = 1")
    field = rows.schema.field("path")
    storage.update(rows.set_column(rows.schema.get_field_index("path"), field, pa.array(["/x"], field.type)))
    open_storage(VideoIndex.open(index.uri, *shelf.makers, **shelf.cache)).compact()
    (tmp_path / "index" / "videos.jsonl").unlink()
    report = VideoIndex.repair(index.uri, *shelf.makers, workers=0, **shelf.cache)
    assert report.read_again == [str(shelf.clips["airport"])] and report.nameless == 1 and report.lost == []


@pytest.mark.parametrize("spoil", [b"", b"x" * 5000, None], ids=["emptied", "overwritten", "removed"])
def test_after_compacting_lost_rows_are_made_from_videos_and_cache(shelf, spoil):
    shelf.fresh(compacted=True)
    (data,) = shelf.folder.glob("videos.lance/data/*")
    data.unlink() if spoil is None else data.write_bytes(spoil)
    shelf.clips["sea"].unlink()
    report = shelf.repair()
    assert (report.kept, report.restored_version) == (0, None)
    assert report.lost == [str(shelf.clips["sea"])] and len(report.read_again) == 3
    assert shelf.reader.images_read == 0 and report.set_aside == str(shelf.folder / ".damaged")
    index = shelf.open()
    assert parts(index) == [] and sorted(Path(path).stem for path in index.paths) == ["airport", "shop", "toys"]
    shutil.copy(shelf.kept / "sea.mp4", shelf.clips["sea"])
    index.add([shelf.clips["sea"]], workers=0)
    assert shelf.ask(index) == shelf.answers


@pytest.mark.parametrize("compacted", [False, True], ids=["as added", "compacted"])
@pytest.mark.parametrize("pattern", ["videos.lance/data/*", "videos.lance/_indices/*/*", "statistics.lance/data/*"])
def test_an_end_that_tells_of_more_than_the_file_holds_does_not_end_the_process(shelf, pattern, compacted):
    shelf.fresh(compacted)
    for file in sorted(shelf.folder.glob(pattern)):
        content = bytearray(file.read_bytes())
        content[-16:-8] = b"\xff" * 8  # how many entries its tables have
        file.write_bytes(content)
    try:
        assert shelf.ask(shelf.open()) == shelf.answers
    except IndexDamagedError as error:
        assert is_in_our_words(error) and ".lance tells of more than it holds" in str(error)
    report = shelf.repair()
    assert (report.lost == [] and report.set_aside is not None) or "statistics" in pattern
    assert parts(shelf.open()) == [] and shelf.ask(shelf.open()) == shelf.answers


def test_whole_rows_are_kept_although_their_videos_are_gone(shelf):
    shelf.fresh(compacted=True)
    shelf.spoil("airport", texts="another text")
    open_storage(shelf.open()).compact()
    shutil.rmtree(shelf.root / "videos")
    report = shelf.repair()
    assert report.lost == [str(shelf.clips["airport"])] and report.kept == 3
    hits = shelf.open().search(QUERIES[0])
    assert Path(hits[0].path).stem == "shop" and len(hits) == 3 and parts(shelf.open()) == []


@pytest.mark.parametrize("told", [True, False], ids=["with a list", "without one"])
@pytest.mark.parametrize("renamed", ["rescued_whole.lance", "videos.lance"])
def test_a_repair_that_is_broken_off_at_its_end_is_finished_by_the_next(shelf, monkeypatch, renamed, told):
    """Before the copy of the whole rows is called complete, and before it takes the place of the table."""
    shelf.fresh(compacted=True)
    shelf.spoil("airport", texts="another text")
    open_storage(shelf.open()).compact()
    shutil.rmtree(shelf.root / "videos")
    rename = Path.rename

    def interrupt(self, target):
        if Path(target).name == renamed:
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "rename", interrupt)
        shelf.repair()
    if not told:
        (shelf.folder / "videos.jsonl").unlink()
    report = shelf.repair()
    assert report.kept == 3 and report.lost == (
        [str(shelf.clips["airport"])] if told or renamed != "videos.lance" else []
    )
    assert sorted(Path(path).stem for path in shelf.open().paths) == ["sea", "shop", "toys"]
    assert parts(shelf.open()) == [] and not list(shelf.folder.glob("rescued*"))


def test_without_any_version_the_list_of_videos_tells_what_to_read(shelf):
    shelf.fresh(compacted=True)
    for file in shelf.folder.glob("videos.lance/_versions/*.manifest"):
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(IndexDamagedError) as error:
        shelf.open()
    assert is_in_our_words(error.value) and all(word in str(error.value) for word in ADVICE)
    report = shelf.repair()
    assert len(report.read_again) == 4 and not report.lost
    assert shelf.ask(shelf.open()) == shelf.answers and parts(shelf.open()) == []
    (shelf.folder / "videos.jsonl").unlink()
    for file in shelf.folder.glob("videos.lance/_versions/*.manifest"):
        file.write_bytes(b"")
    with pytest.raises(IndexDamagedError, match=r"Nothing of the index .* can be read any more"):
        shelf.repair()
    assert list(shelf.folder.glob(".damaged/*"))  # nothing is thrown away


@pytest.mark.parametrize("column", ["duration", "fps", "size", "modified"])
def test_a_check_finds_rows_of_a_file_that_disagree(shelf, tmp_path, column):
    index = VideoIndex.create(tmp_path / "index", *shelf.makers, segment_seconds=2, **shelf.cache)
    index.add([shelf.fresh() and shelf.clips["airport"]], workers=0)
    storage = open_storage(index)
    rows = storage.read(storage.videos.schema.names, "segment = 1")
    assert len(rows) == 1 and index.check() == []
    field = rows.schema.field(column)
    storage.update(rows.set_column(rows.schema.get_field_index(column), field, pa.array([7], field.type)))
    (damage,) = index.check()
    assert damage.part == "rows" and damage.paths == (str(shelf.clips["airport"]),)
    VideoIndex.repair(index.uri, *shelf.makers, workers=0, **shelf.cache)
    assert index.check() == []


@pytest.mark.parametrize("name", ["my.lance", "my_versions"])
def test_what_is_given_up_stays_in_the_folder_whatever_its_name(shelf, tmp_path, name):
    shelf.fresh()
    folder = shutil.copytree(shelf.folder, tmp_path / name)
    newest = min(folder.glob("videos.lance/_versions/*.manifest"))  # LanceDB counts down
    newest.write_bytes(b"")
    report = VideoIndex.repair(folder, *shelf.makers, workers=0, **shelf.cache)
    assert report.set_aside == str(folder / ".damaged") and any((folder / ".damaged").iterdir())
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_texts_that_were_given_are_asked_for_again(shelf):
    index = shelf.fresh()
    index.add([shelf.clips["sea"]], workers=0, texts={shelf.clips["sea"]: [(0.0, 1.0, "waves")]})
    index.compact()
    (data,) = shelf.folder.glob("videos.lance/data/*")
    data.write_bytes(b"")
    report = shelf.repair()
    assert report.without_own_texts == [str(shelf.clips["sea"])] and len(report.read_again) == 4


def test_there_must_be_an_index_in_a_folder(shelf, tmp_path):
    with pytest.raises(IndexMismatchError, match="There is no index"):
        VideoIndex.repair(tmp_path / "none", *shelf.makers)
    assert not (tmp_path / "none").exists()
    with pytest.raises(ValueError, match="object store"):
        VideoIndex.repair("s3://nowhere/at.all", *shelf.makers)


def test_the_command_line_checks_and_repairs(shelf, run):
    shelf.fresh()
    index = ["index", "--index", shelf.folder]
    whole = run(*index, "--check")
    assert whole.exit_code == 0 and whole.stdout.strip() == f"{shelf.folder} is whole: 4 videos."
    shelf.spoil("airport", texts="another text")
    found = run(*index, "--check")
    assert found.exit_code == 1 and not found.stdout
    assert "damaged: rows: 1 rows are not what was written" in found.stderr and "--repair" in found.stderr
    as_json = run(*index, "--check", "--json")
    answer = json.loads(as_json.stdout)
    assert as_json.exit_code == 1 and not answer["whole"] and answer["damages"][0]["part"] == "rows"
    assert "Traceback" not in run("search", "gate", "--index", shelf.folder).stderr
    repaired = invoke(*index, "--repair", "--json")
    assert repaired.exit_code == 0, repaired.stderr
    assert json.loads(repaired.stdout)["lost"] == []
    assert run(*index, "--check").exit_code == 0
    for usage in (["--check", "--repair"], ["--check", shelf.clips["sea"]], ["--repair", shelf.clips["sea"]]):
        assert run(*index, *usage).exit_code == 2


def test_the_command_line_repairs_by_the_model_and_the_ways_of_reading_that_are_named(shelf, run, monkeypatch):
    shelf.fresh()
    asked = []
    repair = VideoIndex.repair

    def watched(uri, *makers, **options):
        asked.append((*makers, options))
        return repair(uri, *makers, **options)

    monkeypatch.setattr(VideoIndex, "repair", watched)
    index = ["index", "--index", shelf.folder]
    assert run(*index, "--repair", "--model", "org/name", "--revision", "v1").exit_code == 0
    assert asked.pop()[:2] == ("org/name@v1", None)
    assert run(*index, "--repair", "--stall-seconds", 5).exit_code == 0
    model, processor, options = asked.pop()
    assert (model, processor, options["stall_seconds"]) == (None, None, 5.0)  # for which no model is loaded
    done = run(*index, "--repair", "--model", "tiny", "--ocr-fps", 7, "--max-pixels", 5000)
    assert done.exit_code == 0, done.stderr
    processor = asked.pop()[1]
    assert (processor.ocr_fps, processor.max_pixels) == (7, 5000)
    for words in (
        ["--repair", "--texts", shelf.root],
        ["--check", "--stall-seconds", 5],
        ["--repair", "--revision", "v1"],
        ["--stats", "--revision", "v1"],
        ["--check", "--no-ocr"],
        [shelf.clips["sea"], "--remove", "--ocr-fps", 0],
    ):
        done = run(*index, *words)
        assert done.exit_code == 2 and words[-2 if words[-1] != "--no-ocr" else -1] in done.stderr, words
    assert not asked


def test_an_index_that_cannot_be_opened_is_repaired_by_what_is_named(shelf, run, monkeypatch):
    """Of its own metadata nothing can be read, by which a processor would be made."""
    shelf.fresh()
    for manifest in shelf.folder.glob("videos.lance/_versions/*.manifest"):
        manifest.write_bytes(b"")
    with pytest.raises(IndexDamagedError):
        shelf.open()
    asked, repair = [], VideoIndex.repair

    def watched(uri, *makers, **options):
        asked.append(makers)
        return repair(uri, *makers, **options)

    monkeypatch.setattr(VideoIndex, "repair", watched)
    done = run("index", "--index", shelf.folder, "--repair", "--ocr-fps", 2)
    assert done.exit_code == 0, done.stderr
    ((_, processor),) = asked
    assert processor.ocr_fps == 2 and "4 read again, 0 lost" in done.stdout
    assert run("index", "--index", shelf.folder, "--check").exit_code == 0


def test_what_an_engine_of_ones_own_read_is_read_again_by_no_other(shelf):
    """Whole rows stay, and what has to be read again waits for its engine."""
    shelf.fresh(compacted=True)
    shelf.spoil("airport", texts="another text")
    shelf.open().compact()  # no older version has the row
    model, _ = shelf.makers
    with pytest.raises(IndexMismatchError, match=r"OCR engine.* give what it was made with \(`ocr_engine`"):
        VideoIndex.repair(
            shelf.folder, model, make_tiny_processor(CodeReader({9: ["other"]})), workers=0, **shelf.cache
        )
    index = shelf.open()
    assert {Path(path).stem for path in index.paths} == {"shop", "toys", "sea"}
    assert {name for name, *_ in shelf.ask(index)[0]} == {"shop", "toys", "sea"}
    report = shelf.repair()
    assert report.read_again == [str(shelf.clips["airport"])] and report.lost == []
    assert shelf.ask(shelf.open()) == shelf.answers and shelf.open().check() == []


def test_a_handle_from_before_a_repair_adds_to_what_was_mended(shelf, tmp_path):
    """As one of the page's, while another process repairs: the table that it knows is another by then."""
    index = shelf.fresh()
    index.remove([shelf.clips["toys"]])
    index.compact()
    handle = index.new_handle()
    shelf.spoil("airport", texts="another text")
    shelf.open().compact()
    assert shelf.repair().read_again == [str(shelf.clips["airport"])]
    assert handle.add([shelf.clips["toys"]], workers=0, alongside=True).added == [str(shelf.clips["toys"])]
    assert len(handle) == 4 and shelf.ask(handle) == shelf.answers
    assert shelf.ask(shelf.open()) == shelf.answers and shelf.open().check() == []


def damages():
    """Ways to damage the content of a file, by name."""

    def flipped(seed):
        def flip(content: bytes) -> bytes:
            generator, changed = random.Random(seed), bytearray(content)
            for _ in range(1 + len(content) // 500):
                changed[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
            return bytes(changed)

        return flip

    return {
        "truncated": lambda content: content[: len(content) // 2],
        "emptied": lambda content: b"",
        "flipped": flipped(0),
        "flipped otherwise": flipped(1),
    }


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("compacted", [False, True], ids=["as added", "compacted"])
def test_whatever_file_is_damaged_the_index_answers_rightly_or_says_so_and_can_be_mended(shelf, compacted):
    shelf.fresh(compacted)
    whole = shelf.root / "whole"
    shutil.rmtree(whole, ignore_errors=True)
    shutil.copytree(shelf.folder, whole)
    files = [file.relative_to(whole) for file in sorted(whole.rglob("*")) if file.is_file()]
    assert len(files) > 10
    failures = []
    for name in files:
        content = (whole / name).read_bytes() or b"lock"
        for kind, damage in {**damages(), "removed": None}.items():

            def spoil(name=name, content=content, damage=damage):
                shutil.rmtree(shelf.folder)
                shutil.copytree(whole, shelf.folder)
                (shelf.folder / name).unlink() if damage is None else (shelf.folder / name).write_bytes(damage(content))

            def use(what, name=name, kind=kind):
                try:
                    what()
                except Exception as error:
                    if not is_in_our_words(error):
                        failures.append((str(name), kind, what.__name__, repr(error)))

            def search():
                assert shelf.ask(shelf.open()) == shelf.answers

            def check():
                shelf.open().check()

            def add():
                shelf.open().add(shelf.clips.values(), workers=0)
                assert shelf.ask(shelf.open()) == shelf.answers

            def repair():
                report = shelf.repair()
                assert shelf.ask(shelf.open()) == shelf.answers and not report.lost and parts(shelf.open()) == []

            spoil()
            use(search)
            use(check)
            use(add)
            spoil()
            try:
                repair()
            except Exception as error:
                failures.append((str(name), kind, "repair", repr(error)))
    assert not failures, failures
