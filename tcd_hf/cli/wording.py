"""Errors of the library in the words of the command line: options in place of arguments, verbs in place of methods."""

import inspect
import re
from collections.abc import Callable, Mapping
from typing import get_args

from typer.models import OptionInfo

__all__ = ["in_own_words", "options_of"]

PHRASES = {
    "`VideoIndex.create(...)`, `tcd-hf index": "`tcd-hf index",
    "give that model, with its processor, to `VideoIndex.open`, or its folder by --model": "give its folder by --model",
    " (`VideoIndex.check`)": "",
    " (`VideoIndex.repair`)": "",
    ", such as QuestionRewriter(model, cache_file)": "",
    "`remove` (--remove)": "--remove",
    "see its `paths`": "`tcd-hf list` names those it has",
}


def options_of(command: Callable) -> dict[str, str]:
    """The options of a verb by the names of its arguments, which are those of the library: `{"top_k": "--top-k"}`."""
    options = {}
    for name, parameter in inspect.signature(command).parameters.items():
        for info in get_args(parameter.annotation):
            if isinstance(info, OptionInfo):
                names = [info.default, *(info.param_decls or ())]  # in `Annotated` the first takes the default's place
                given = [each for each in names if isinstance(each, str) and each.startswith("--")]
                options[name] = given[0] if given else f"--{name.replace('_', '-')}"
    return options


def in_own_words(message: str, options: Mapping[str, str]) -> str:
    """A message in which what are arguments of the library are options.

    Only what can be nothing else is taken for the name of an argument: in backquotes, before `=`, before "must" at the
    begin, and a word that is put together with `_`. Values that somebody gave stand in quotes and stay.

    Args:
        message (`str`): of an error.
        options (`Mapping[str, str]`): what [`options_of`] gives.
    """
    for phrase, own in PHRASES.items():
        message = message.replace(phrase, own)
    for name, option in options.items():
        message = message.replace(f"{option} (`{name}`)", option).replace(f"`{name}`", option)
        message = re.sub(rf"(?<![\w.'\"/-]){name}=(?=[^\s=])", f"{option} ", message)
        message = re.sub(rf"^{name}(?= must\b)", option, message)
        if "_" in name:
            message = re.sub(rf"(?<![\w.'\"/-]){name}(?![\w(/'\"=-])(?!\.\w)", option, message)
    return message
