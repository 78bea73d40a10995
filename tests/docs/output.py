"""Whether a page shows what is printed: the same words, decimal numbers to a tolerance."""

import difflib
import re
from collections.abc import Sequence

DECIMAL = re.compile(r"-?\d+\.\d+(?![\d.])")
TOLERANCE = 0.02  # of scores and seconds: machines round differently
ELIDED = "..."  # a line of a page that stands for any lines


def find_difference(shown: Sequence[str], printed: Sequence[str]) -> str | None:
    """What of the shown lines was not printed one below the other, or `None`. Blank lines and rules do not count."""
    rest = [line for line in printed if _words(line)]
    run = 0  # lines of `rest` that matched
    anywhere = True  # the next line may come later
    for line in filter(_words, shown):
        if line.strip() == ELIDED:
            anywhere = True
            continue
        places = range(run, len(rest)) if anywhere else range(run, min(run + 1, len(rest)))
        place = next((place for place in places if same_line(line, rest[place])), None)
        if place is None:
            return f"{line!r} was not printed here. Printed was:\n" + "\n".join(printed)
        run, anywhere = place + 1, False
    return None


def same_line(line: str, other: str) -> bool:
    """Equal but for spaces, and decimal numbers within the tolerance."""
    if DECIMAL.sub("#", _words(line)) != DECIMAL.sub("#", _words(other)):
        return False
    numbers, others = (list(map(float, DECIMAL.findall(each))) for each in (line, other))
    return all(abs(a - b) <= TOLERANCE + 1e-9 for a, b in zip(numbers, others, strict=True))


def refresh(shown: Sequence[str], printed: Sequence[str]) -> list[str]:
    """The shown lines, each replaced by the printed one that is most like it if it was not printed; of those that
    differ in numbers alone, by the next."""
    masks = [DECIMAL.sub("#", _words(other)) for other in printed]
    output, after = [], 0
    for line in shown:
        if _words(line) and line.strip() != ELIDED and not any(same_line(line, other) for other in printed):
            nearest = difflib.get_close_matches(DECIMAL.sub("#", _words(line)), masks, 1, cutoff=0)
            places = [place for place, mask in enumerate(masks) if mask in nearest]
            if places:
                place = next((place for place in places if place >= after), places[0])
                line, after = printed[place].rstrip(), place + 1
        output.append(line)
    return output


def _words(line: str) -> str:
    return " ".join(re.sub("[\u2500-\u257f]", " ", line).split())
