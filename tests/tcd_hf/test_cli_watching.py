import json
import os
import signal
import threading
import time
from types import SimpleNamespace

import pytest

from tcd_hf.index.storage import IndexStorage
from tcd_hf.reading import watching
from tests.clips import coded_frame, write_clip
from tests.tcd_hf.conftest import count_calls

pytestmark = pytest.mark.usefixtures("wide_terminal")


@pytest.fixture
def watch(run, tmp_path, monkeypatch, heeds_ctrl_c):
    """Runs `tcd-hf index inbox --watch` and, beside it, a function; then comes Ctrl-C."""
    pytest.importorskip("watchfiles", reason="needs the extra tcd-hf[watch]")
    monkeypatch.setattr(watching.FolderWatch.__init__, "__defaults__", (0.5, 60.0))  # seconds that files are still
    looks = count_calls(monkeypatch, watching.FolderWatch, "_look")
    inbox, uri = tmp_path / "inbox", tmp_path / "my.index"
    inbox.mkdir()

    def until_it_waits():
        before = len(looks)
        (inbox / "notes.txt").write_text("a reason to look")
        wait_until(lambda: len(looks) > before)

    def watched(meanwhile, *options):
        errors = []

        def go():
            try:
                meanwhile()
                until_it_waits()
            except Exception as error:
                errors.append(error)
            finally:
                os.kill(os.getpid(), signal.SIGINT)

        other = threading.Thread(target=go)
        other.start()
        result = run("index", inbox, "--watch", "--index", uri, *options)
        other.join()
        assert not errors, (errors, result.stdout, result.stderr)
        return result

    return SimpleNamespace(run=watched, inbox=inbox, uri=uri)


def wait_until(is_so, seconds=120):
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "It never came to it."
        time.sleep(0.1)


def names_in(uri) -> set[str]:
    storage = IndexStorage(uri)
    if not storage.exists():
        return set()
    storage.open()
    return {path.rpartition("/")[2] for path in storage.read(["path"])["path"].to_pylist()}


def errors_of(uri) -> str:
    file = uri / "errors.jsonl"
    return file.read_text() if file.exists() else ""


def clip_of(code):
    return [coded_frame(code)] * 10


def test_an_index_follows_its_folder(watch, run):
    inbox, uri = watch.inbox, watch.uri
    write_clip(inbox / "first.mp4", clip_of(1), fps=5)

    def meanwhile():
        wait_until(lambda: names_in(uri) == {"first.mp4"})
        (inbox / "broken.mp4").write_bytes(b"no video")
        wait_until(lambda: "broken.mp4" in errors_of(uri))
        write_clip(inbox / "second.mp4", clip_of(2), fps=5)
        wait_until(lambda: names_in(uri) == {"first.mp4", "second.mp4"})
        write_clip(inbox / "made.mp4", clip_of(3), fps=5).replace(inbox / "broken.mp4")  # it has become whole
        wait_until(lambda: "broken.mp4" in names_in(uri) and "broken.mp4" not in errors_of(uri))
        (inbox / "first.mp4").unlink()
        time.sleep(1.5)  # without --sync that is no news

    result = watch.run(meanwhile)
    assert result.exit_code == 0, result.stderr
    assert [line.partition(" in ")[0] for line in result.stdout.splitlines()] == [
        "1 added, 0 unchanged, 0 replaced, 0 skipped",
        "0 added, 0 unchanged, 0 replaced, 1 skipped",
        "1 added, 0 unchanged, 0 replaced, 0 skipped",
        "1 added, 0 unchanged, 0 replaced, 0 skipped",
    ]
    assert result.stderr.count("skipped:") == 1  # not again when others come
    assert result.stderr.splitlines()[0] == f"Watching {inbox}; Ctrl-C ends it."
    assert result.stderr.splitlines()[-1] == (
        f"Stopped watching {inbox}; {uri} holds 3 videos, and the same command goes on from there."
    )
    hits = json.loads(run("search", "star wars", "--index", uri, "--json").stdout)["queries"][0]["hits"]
    assert hits[0]["path"] == (inbox / "broken.mp4").as_posix() and hits[0]["evidence"] == ["STAR WARS"]


def test_it_goes_on_from_where_it_was_and_keeps_in_step(watch, code_reader):
    inbox, uri = watch.inbox, watch.uri
    files = {name: write_clip(inbox / name, clip_of(code), fps=5) for name, code in (("a.mp4", 1), ("b.mp4", 2))}
    watch.run(lambda: wait_until(lambda: len(names_in(uri)) == 2))
    read = code_reader.images_read
    files["a.mp4"].unlink()  # while nobody watches
    write_clip(inbox / "c.mp4", clip_of(3), fps=5)

    def meanwhile():
        wait_until(lambda: names_in(uri) == {"b.mp4", "c.mp4"})
        assert (new := code_reader.images_read) > read
        files["b.mp4"].rename(inbox / "d.mp4")
        wait_until(lambda: names_in(uri) == {"c.mp4", "d.mp4"})
        assert code_reader.images_read == new  # known by its content

    result = watch.run(meanwhile, "--sync", "--json")
    assert result.exit_code == 0, result.stderr
    decoder, reports, text = json.JSONDecoder(), [], result.stdout.strip()
    while text:
        report, end = decoder.raw_decode(text)
        reports.append(report)
        text = text[end:].strip()
    names = [
        {group: [path.rpartition("/")[2] for path in report[group]] for group in ("added", "unchanged", "removed")}
        for report in reports
    ]
    assert names[-1]["removed"] == ["b.mp4"] and any("d.mp4" in told["added"] for told in names)
    assert names[0]["removed"] == ["a.mp4"] and "b.mp4" in names[0]["unchanged"]


def test_only_folders_are_watched(run, clips, tmp_path):
    pytest.importorskip("watchfiles", reason="needs the extra tcd-hf[watch]")
    result = run("index", clips["sea.mp4"], "--watch", "--index", tmp_path / "my.index")
    assert result.exit_code == 1 and "Only folders can be watched" in result.stderr
    assert not (tmp_path / "my.index").exists()
