"""What goes to the terminal holds no control character that a video, a file name or an index brings."""

import json
import logging
import re
import warnings

import pytest
import typer

from tcd_hf.cli import common, main, plot
from tcd_hf.cli.terminal import escape_json, shown
from tcd_hf.printable import one_line, printable
from tcd_hf.processing.ocr_engines import TextReading
from tests.clips import coded_frame, write_clip
from tests.tcd_hf.conftest import CodeReader, invoke

ESC, OVERRIDE, CSI = "\x1b]0;pwned\x07", "\u202etxt.4pm", "\x9b31m"
NASTY = f"EXIT {ESC}{OVERRIDE}{CSI} gate"
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

pytestmark = pytest.mark.usefixtures("wide_terminal")


def test_what_is_spelt_out_and_what_stays():
    assert printable("a\x1b[1m\u202eb\x9b\r\n\tç東👩\u200d🚀") == "a\\x1b[1m\\u202eb\\x9b\\r\n\tç東👩\u200d🚀"
    assert one_line("a\nb\tc") == "a\\nb\\tc"
    assert shown("[bold]\n") == "\\[bold]\\n"
    text = json.dumps({NASTY: ["\x7f", "\u2066"]}, ensure_ascii=False)
    assert not RAW.search(escape_json(text)) and json.loads(escape_json(text)) == json.loads(text)


@pytest.fixture
def nasty_clip(tmp_path, monkeypatch):
    """A video whose name and whose text are hostile, whatever engine reads it."""
    folder = tmp_path / "videos"
    folder.mkdir()
    reading = TextReading(NASTY, 0.9, (0.1, 0.1, 0.9, 0.3))
    monkeypatch.setattr(CodeReader, "__call__", lambda self, images: [[reading] for _ in images])
    return write_clip(folder / f"a{ESC}{OVERRIDE}\nline.mp4", [coded_frame(1)] * 20, fps=5)


def test_no_verb_prints_control_characters(run, nasty_clip, tmp_path):
    index = tmp_path / "my.index"
    broken = nasty_clip.with_name(f"b{ESC}.mp4")
    broken.write_bytes(b"no video")
    for words in (
        ("index", nasty_clip.parent, "--index", index),
        ("search", "exit gate", "--index", index),
        ("search", "exit gate", "--index", index, "--json"),
        ("search", f"gate {ESC}", "--videos", nasty_clip),
        ("list", "--index", index),
        ("list", "--index", index, "--json"),
        ("show", nasty_clip, "--index", index),
        ("show", nasty_clip, "--index", index, "--json"),
        ("search", "x", "--videos", f"{nasty_clip}.lost"),
        ("show", f"{nasty_clip}.lost", "--index", index),
        ("search", "exit", "--index", index, "--cut", nasty_clip),
        ("export", "--index", index, "--to", tmp_path / "texts"),
    ):
        done = run(*words)
        assert not RAW.search(done.stdout + done.stderr), words
    assert "\\x1b" in run("list", "--index", index).stdout
    (entry,) = json.loads(run("list", "--index", index, "--json").stdout)["videos"]
    assert entry["path"] == nasty_clip.as_posix()  # JSON is exact


def test_what_is_logged_or_warned(capsys):
    @common.reports_errors
    def command():
        logging.getLogger("tcd_hf.test").warning("read %s", NASTY)
        warnings.warn(NASTY, stacklevel=1)
        raise ValueError(NASTY)

    handlers = logging.root.handlers[:]
    logging.root.handlers.clear()
    try:
        with pytest.raises(typer.Exit):
            command()
    finally:
        logging.root.handlers[:] = handlers
    said = capsys.readouterr().err
    assert said.count("\\x1b") == 3 and not RAW.search(said)


def test_every_verb_reports_its_errors_in_a_line():
    of_errors = common.reports_errors(lambda: None).__code__
    verbs = [*main.app.registered_commands, *plot.plot.registered_commands]
    assert len(verbs) >= 15
    assert [verb.name for verb in verbs if verb.callback is None or verb.callback.__code__ is not of_errors] == []


def test_an_error_of_several_lines_is_one(capsys):
    @common.reports_errors
    def command():
        raise RuntimeError("lance: not found\n  at row 3\n")

    with pytest.raises(typer.Exit):
        command()
    assert capsys.readouterr().err == "error: lance: not found   at row 3\n"


class TestUnexpectedErrors:
    @pytest.fixture(autouse=True)
    def break_something(self, monkeypatch):
        def fail(*args):
            raise KeyError("lost\nkey")

        monkeypatch.setattr("tcd_hf.training.recipe.list_recipes", fail)

    def test_are_told_in_a_line(self):
        done = invoke("recipes")
        assert done.exit_code == 1 and "Traceback" not in done.stderr
        assert done.stderr.startswith("error: KeyError: 'lost\\nkey' (unexpected: `tcd-hf --debug")

    def test_are_shown_whole_where_asked(self):
        done = invoke("--debug", "recipes")
        assert isinstance(done.exception, KeyError)
        assert invoke("recipes").exit_code == 1  # the next command hides them again


def test_a_query_that_is_not_utf8(run, clips, tmp_path):
    done = run("search", b"caf\xe9".decode("utf-8", "surrogateescape"), "--videos", tmp_path / "videos")
    assert done.exit_code == 1 and done.stderr.startswith("error: The query 'caf\\udce9' is not all UTF-8")
