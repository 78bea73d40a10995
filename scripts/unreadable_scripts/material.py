"""Words of many scripts, and fonts that have them, in two halves that share neither words nor fonts.

Words are names of countries, languages, currencies, months and days of the CLDR (package `babel`); fonts are Debian's
`fonts-noto-core`, `fonts-noto-cjk` and `fonts-dejavu-core`.
"""

import random
import unicodedata
import zlib
from pathlib import Path

__all__ = ["CJK_FACES", "FONTS", "LANGUAGES", "READABLE", "short", "strings"]

NOTO = Path("/usr/share/fonts/truetype/noto")
NOTO_CJK = Path("/usr/share/fonts/opentype/noto")
DEJAVU = Path("/usr/share/fonts/truetype/dejavu")

READABLE = ("latin", "greek", "han", "kana", "digits")
LANGUAGES = {
    "latin": [
        "en",
        "fr",
        "de",
        "es",
        "pt",
        "it",
        "pl",
        "cs",
        "tr",
        "sv",
        "fi",
        "hu",
        "nl",
        "id",
        "vi",
        "ro",
        "da",
        "en",
    ],
    "greek": ["el"],
    "han": ["zh", "zh_Hant"],
    "kana": ["ja"],
    "cyrillic": ["ru", "uk", "bg", "sr", "be"],
    "hangul": ["ko"],
    "thai": ["th"],
    "hebrew": ["he"],
    "arabic": ["ar", "fa", "ur"],
    "georgian": ["ka"],
    "armenian": ["hy"],
    "devanagari": ["hi", "mr", "ne"],
    "bengali": ["bn"],
    "tamil": ["ta"],
    "telugu": ["te"],
    "gujarati": ["gu"],
    "kannada": ["kn"],
    "malayalam": ["ml"],
    "khmer": ["km"],
    "lao": ["lo"],
    "myanmar": ["my"],
    "ethiopic": ["am"],
    "sinhala": ["si"],
    "gurmukhi": ["pa"],
}
CJK_FACES = {"ja": 0, "ko": 1, "zh": 2, "zh_Hant": 3}  # inside the Noto CJK collections
UNICODE_NAMES = {"han": ("CJK",), "kana": ("KATAKANA", "HIRAGANA", "CJK")}
MAX_LENGTH = 40


def _files(folder: Path, *patterns: str) -> list[str]:
    return [str(path) for pattern in patterns for path in sorted(folder.glob(pattern))]


_LATIN = (
    _files(NOTO, "NotoSans-*", "NotoSerifDisplay-*", "NotoSansDisplay-*")
    + _files(DEJAVU, "DejaVuSans.ttf", "DejaVuSans-*", "DejaVuSerif-Italic.ttf", "DejaVuSerif-BoldItalic.ttf"),
    _files(NOTO, "NotoSerif-*")
    + _files(DEJAVU, "DejaVuSerif.ttf", "DejaVuSerif-Bold.ttf", "DejaVu*Condensed*", "DejaVuSansMono*"),
)
_CJK = (_files(NOTO_CJK, "NotoSansCJK*"), _files(NOTO_CJK, "NotoSerifCJK*"))
# script -> fonts to tune with, fonts to report by
FONTS = {
    script: (_files(NOTO, f"NotoSans{script.title()}-*"), _files(NOTO, f"NotoSerif{script.title()}-*"))
    for script in LANGUAGES
}
FONTS |= dict.fromkeys(("latin", "greek", "cyrillic", "digits"), _LATIN) | dict.fromkeys(
    ("han", "kana", "hangul"), _CJK
)
FONTS["thai"] = (_files(NOTO, "NotoSansThai-*", "NotoLoopedThai-*"), _files(NOTO, "NotoSerifThai-*"))
FONTS["hebrew"] = (
    _files(NOTO, "NotoSansHebrew-*", "NotoSerifHebrew-Bold.ttf"),
    _files(NOTO, "NotoSerifHebrew-Regular.ttf") + _files(DEJAVU, "DejaVuSans.ttf", "DejaVuSans-Bold.ttf"),
)
FONTS["arabic"] = (
    _files(NOTO, "NotoSansArabic-*", "NotoNaskhArabic-*"),
    _files(NOTO, "NotoKufiArabic-*", "NotoNastaliqUrdu-*") + _files(DEJAVU, "DejaVuSans.ttf", "DejaVuSans-Bold.ttf"),
)


def short(text: str, rng: random.Random) -> str:
    """One to four letters of a text."""
    length = rng.randint(1, 4)
    start = rng.randrange(max(1, len(text) - length + 1))
    return text[start : start + length].strip() or text


def strings(script: str, half: int, count: int, rng: random.Random) -> list[tuple[str, str]]:
    """`count` pairs of a text in a script and its language, of words of one half (0 or 1)."""
    if script == "digits":
        return [(_number(half, rng), "en") for _ in range(count)]
    pool = [(word, language) for language in LANGUAGES[script] for word in _words(language, script, half)]
    texts = []
    for _ in range(count):
        text, language = rng.choice(pool)
        words = text.split()
        if len(words) > 1 and rng.random() < 0.5:
            text = rng.choice(words)
        elif rng.random() < 0.25 and len(text) < 15:
            other = rng.choice([word for word, its in pool if its == language])
            text += ("" if script in ("han", "kana", "thai") else " ") + other
        if script in ("latin", "greek", "cyrillic") and rng.random() < 0.4:
            text = _capitals(text, script)
        texts.append((text[:MAX_LENGTH].strip(), language))
    return texts


def _words(language: str, script: str, half: int) -> list[str]:
    from babel import Locale

    locale = Locale.parse(language)
    tables = (locale.territories, locale.languages, locale.currencies, locale.months["format"]["wide"])
    words = [word for table in (*tables, locale.days["format"]["wide"]) for word in table.values()]
    fitting = [word for word in dict.fromkeys(words) if 1 < len(word) <= MAX_LENGTH and _is_in(script, word)]
    return [word for word in fitting if zlib.crc32(word.casefold().encode()) % 2 == half]


def _is_in(script: str, text: str) -> bool:
    """Whether all letters are of a script; texts of other scripts hold no digits, which are read rightly."""
    names = UNICODE_NAMES.get(script, (script.upper(),))
    letters = [letter for letter in text if unicodedata.category(letter)[0] == "L" and letter != "ー"]
    digits = any(letter.isdigit() for letter in text)
    return (
        bool(letters)
        and (script in READABLE or not digits)
        and all(unicodedata.name(letter, "").startswith(names) for letter in letters)
    )


def _capitals(text: str, script: str) -> str:
    text = text.upper()
    if script == "greek":  # which drops its accents there
        text = "".join(letter for letter in unicodedata.normalize("NFD", text) if not unicodedata.combining(letter))
    return text


def _number(half: int, rng: random.Random) -> str:
    below, letters = rng.randrange, "abcdefghijklmnopqrstuvwxyz"
    name = "".join(rng.choice(letters) for _ in range(below(3, 9)))
    kinds = [
        lambda: f"{below(24)}:{below(60):02}",
        lambda: f"{below(100)}",
        lambda: f"{below(1900, 2030)}",
        lambda: f"${below(500)}.{below(100):02}",
        lambda: f"{below(100)}%",
        lambda: f"+{below(10, 99)} {below(100, 999)} {below(1000, 9999)}",
        lambda: f"{below(1, 31)}/{below(1, 13)}/{below(1990, 2026)}",
        lambda: f"{rng.choice(letters).upper()}{below(1, 99)}",
        lambda: f"{below(1, 9)}-{below(1, 9)}",
        lambda: f"www.{name}.com",
        lambda: f"@{name}{below(100)}",
        lambda: f"{name[:4].upper()}-{below(1000)}",
    ]
    return kinds[half::2][below(6)]()
