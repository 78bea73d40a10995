"""Errors of the command line speak of options and verbs, not of arguments and methods."""

import re
from pathlib import Path
from typing import Annotated

import pytest
import typer

from tcd_hf.cli import common, index, prepare, search, synthesize
from tcd_hf.cli.wording import PHRASES, in_own_words, options_of
from tests.tcd_hf.test_installed import SOURCES, strings

OPTIONS = {"top_k": "--top-k", "segment_seconds": "--segment-seconds", "mode": "--mode", "cache_dir": "--cache-dir"}


def test_the_options_of_a_verb():
    found = options_of(search.search)
    assert found["index_uris"] == "--index" and found["top_k"] == "--top-k" and found["as_json"] == "--json"
    assert "queries" not in found  # an argument
    assert options_of(prepare.prepare)["splits"] == "--splits"
    assert options_of(synthesize.synthesize)["text_pairs"] == "--text-pairs"
    assert options_of(index.index)["segment_seconds"] == "--segment-seconds"


@pytest.mark.parametrize(
    ("message", "own"),
    [
        ("top_k must be at least 1, got 0.", "--top-k must be at least 1, got 0."),
        ("mode must be one of 'full', got 'mode'.", "--mode must be one of 'full', got 'mode'."),
        ("Leave `mode` out.", "Leave --mode out."),
        ("Choose another with --cache-dir (`cache_dir`) or else.", "Choose another with --cache-dir or else."),
        ("It takes top_k=3 videos, or mode='full'.", "It takes --top-k 3 videos, or --mode 'full'."),
        ("Another segment_seconds, 30.0.", "Another --segment-seconds, 30.0."),
        ("Give it a smaller top_k.", "Give it a smaller --top-k."),
        # what is no argument
        ("The mode of it, in that mode.", "The mode of it, in that mode."),
        ("Cannot read 'top_k' and /a/top_k/b.mp4, config.top_k or top_k().",) * 2,
        ("Cannot read top_k.mp4 and my-top_k, my_top_k.",) * 2,
        (
            "`--check` (`VideoIndex.check`) tells it, --repair (`VideoIndex.repair`) mends it.",
            "`--check` tells it, --repair mends it.",
        ),
        ("Make one by `VideoIndex.create(...)`, `tcd-hf index VIDEOS`.", "Make one by `tcd-hf index VIDEOS`."),
    ],
)
def test_arguments_become_options(message, own):
    assert in_own_words(message, OPTIONS) == own


def test_each_phrase_that_is_replaced_is_still_said():
    said = "\n".join(text for path in SOURCES if path.name != "wording.py" for text in strings(path.read_text("utf-8")))
    assert PHRASES
    assert not [phrase for phrase in PHRASES if phrase not in said]


def test_it_holds_for_whatever_a_verb_raises(capsys):
    @common.reports_errors
    def verb(num_frames: Annotated[int, typer.Option()] = 1, out: Annotated[Path, typer.Option("--to")] = Path()):
        raise ValueError("`out` holds other files, num_frames=1: make num_frames 2.")

    with pytest.raises(typer.Exit):
        verb()
    assert capsys.readouterr().err == "error: --to holds other files, --num-frames 1: make --num-frames 2.\n"


@pytest.mark.usefixtures("wide_terminal")
def test_what_verbs_say(run, clips, tmp_path):
    place = ["--index", tmp_path / "index"]
    assert run("index", clips["shop.mp4"], *place, "--segment-seconds", 2).exit_code == 0
    questions = [
        "--dataset",
        "m4-vitevqa-t1s1",
        "--annotations",
        tmp_path,
        "--videos",
        tmp_path,
        "--out",
        tmp_path / "o",
    ]
    for words, said in (
        (["index", clips["shop.mp4"], *place, "--segment-seconds", 3], "--segment-seconds"),
        (["index", clips["shop.mp4"], *place, "--segment-seconds", 0], "--segment-seconds must be a number"),
        (["search", "x", "--index", tmp_path / "none"], "make one: `tcd-hf index VIDEOS... --index DIR`"),
        (["synthesize", "--out", tmp_path / "s", "--clips", 3, "--clips-per-video", 2], "--clips must be a multiple"),
        (["prepare", *questions], "--rewriter"),
    ):
        done = run(*words)
        assert done.exit_code != 0
        shown = " ".join(done.stderr.replace("│", " ").split())
        assert said in shown, shown
        assert not re.search("segment_seconds|VideoIndex|`clips|`rewriter|clips_per", shown)
