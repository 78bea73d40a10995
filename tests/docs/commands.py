"""Runs the commands of the pages, here and in small, or at least parses them."""

import argparse
import configparser
import contextlib
import importlib
import io
import os
import re
import shlex
from collections.abc import Callable
from unittest import mock

from typer.core import TyperCommand
from typer.testing import CliRunner

from scripts.train_mini import teacher, wordnet
from tcd_hf.cli.main import app
from tests.docs.pages import ROOT, Command

# What stands on a page, and what is run in its place.
SMALLER = {
    "openai/clip-vit-base-patch32": "small-clip",  # a folder: random weights of some thousand numbers
    "intfloat/e5-small-v2": "small-text",  # likewise
    "facebook/dinov2-small": "small-image",
    "--clips 1000": "--clips 20",
    "--clips 100": "--clips 20",
    "SyntheticSceneTextT2V()": "SyntheticSceneTextT2V(clips=20)",
    "--max_steps 100": "--max_steps 2 --batch_size 8",
    "--batch_size 20 --chunk_size 10": "--batch_size 4 --chunk_size 2",
}

# Commands that are parsed and not run, by a pattern, and why.
NOT_RUN = {
    r"pip download|npm pack": "fetches what scripts/train_mini is made of, which names the same commands",
    r"git worktree add ": "takes out another commit, which a clone may be too shallow for",
    r"pip install": "installs; the extras are looked up in setup.cfg",
    r"pytest": "runs this very test",
    r"tcd-hf .*--engine ray": "starts a cluster: tests/tcd_hf/test_ray.py",
    r"tcd-hf index .*--watch": "goes on for ever: tests/tcd_hf/test_cli_watching.py",
    r"tcd-hf .*(s3|gs|az)://": "needs an object store",
    r"tcd-hf prepare .*--dataset": "needs the data set: tests/tcd_hf/test_cli_prepare.py",
    r"accelerate launch .*tcd_textvr": "needs the data set: tests/tcd_hf/test_training_main.py",
    r"accelerate launch .*--multi_gpu": "starts processes: tests/tcd_hf/test_training_main.py",
    r"tcd-hf import ": "needs a checkpoint of another code: tests/tcd_hf/test_importing.py",
    r"tcd-hf evaluate .*--data prepared/textvr": "needs the data set: tests/tcd_hf/test_evaluate_model.py",
    r"tcd-hf push (?!.*--dry-run)": "publishes: tests/tcd_hf/test_publishing.py",
    r"python -m scripts\.benchmarks\.": "takes minutes: tests/tcd_hf/test_benchmark*.py",
    r"python -m scripts\.search_calibration": "takes minutes: tests/tcd_hf/test_search_calibration.py",
    r"python -m scripts\.train_mini": "takes minutes: tests/tcd_hf/test_train_mini*.py",
    r"python -m scripts\.ablation": "takes hours: tests/tcd_hf/test_ablation.py",
    r"python -m scripts\.pictures\.clips": "tests/tcd_hf/visualization/test_pictures_of_clips.py",
}


class ParsedError(Exception):
    """Raised in the place of what follows the parsing of a command line."""


def why_not_run(command: Command) -> str | None:
    """The reason for which a command is only parsed, or `None`."""
    line = " ".join(command.words)
    return next((why for pattern, why in NOT_RUN.items() if re.match(pattern, line)), None)


def make_smaller(text: str) -> str:
    """A command or snippet as it is run."""
    for shown, smaller in SMALLER.items():
        text = text.replace(shown, smaller)
    return text


def run_command(command: Command) -> str:
    """Runs a command in this process and returns what it printed. Anything but status 0 is an error."""
    words = shlex.split(make_smaller(str(command)))
    with mock.patch.dict(os.environ, dict(command.environment)):
        if words[0] == "tcd-hf":
            result = CliRunner().invoke(app, words[1:], catch_exceptions=False)
            assert result.exit_code == 0, result.output
            return result.stdout
        main, arguments = _script(words)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            assert main(arguments) == 0, printed.getvalue()
        return printed.getvalue()


def parse_command(command: Command) -> None:
    """Parses a command by the parser of the program. An unknown option or a value out of its range is an error."""
    words = list(command.words)
    if words[0] == "accelerate" and "tcd_hf" in words:  # a verb of the command line, in several processes
        words = ["tcd-hf", *words[words.index("tcd_hf") + 1 :]]
    if words[:2] == ["pip", "install"]:
        _check_extras(words[2:])
    elif words == ["pytest"] or words[:3] == ["git", "worktree", "add"]:
        return
    elif words[0] in ("pip", "npm"):
        assert " ".join(words) in (teacher.FETCH, wordnet.FETCH), f"No script says how to fetch by {command}."
    elif words[0] == "tcd-hf":
        with mock.patch.object(TyperCommand, "invoke", lambda command, context: None):
            result = CliRunner().invoke(app, words[1:])
        assert result.exit_code == 0, result.output
    else:
        main, arguments = _script(words)
        if words[0] == "accelerate":  # its parser is called for more than parsing
            from tcd_hf.training.recipe import parse_recipe

            parse_recipe(arguments)
            return
        with (
            mock.patch.object(argparse.ArgumentParser, "parse_args", _parse_and_stop),
            contextlib.suppress(ParsedError),
        ):
            main(arguments)
            raise AssertionError(f"{command} has no parser")


PARSE_ARGS = argparse.ArgumentParser.parse_args


def _parse_and_stop(parser, *args, **kwargs):
    PARSE_ARGS(parser, *args, **kwargs)
    raise ParsedError


def _script(words: list[str]) -> tuple[Callable, list[str]]:
    """The `main` of a module that is run, and its arguments."""
    if words[:2] == ["accelerate", "launch"]:
        parser = importlib.import_module("accelerate.commands.launch").launch_command_parser()
        args = parser.parse_args(words[2:])
        assert args.module, f"{args.training_script} is not run as a module: accelerate launch -m tcd_hf.training."
        name, arguments = args.training_script, args.training_script_args
    elif words[:2] == ["python", "-m"] and len(words) > 2:
        name, *arguments = words[2:]
    else:
        raise AssertionError(f"No test knows how to run {words[0]!r}: teach tests/docs/commands.py.")
    path = ROOT.joinpath(*name.split("."))
    name = f"{name}.__main__" if path.is_dir() else name
    assert ROOT.joinpath(*name.split(".")).with_suffix(".py").is_file(), f"There is no module {name}."
    return importlib.import_module(name).main, arguments


def _check_extras(words: list[str]) -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    for word in words:
        if word in (".", "-e"):
            continue
        name, extras = re.fullmatch(r"(tcd-hf|\.)\[([\w,-]+)\]|.*", word).groups()
        assert name, f"pip install {word}: only this package and its extras are known here."
        for extra in extras.split(","):
            assert setup.has_option("options.extras_require", extra), f"setup.cfg has no extra {extra!r}."
