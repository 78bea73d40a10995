"""The words that generated scene text is made of: names, places, brands, numbers and words of many languages.

Material is split by *word*, not by text: a word whose hash falls into the held-out share never occurs in a training
text, so validation on the other split measures how a model matches spellings it has not seen. (Source: ours.)

Needs the extra `[train-mini]` (faker, english-words).
"""

import random
import zlib
from collections.abc import Iterable
from functools import cache
from string import ascii_uppercase


def _words(text: str) -> list[str]:
    return text.split()


HELD_OUT_ONE_IN = 8
LATIN_LOCALES = _words("en_US en_GB de_DE fr_FR es_ES it_IT pt_BR nl_NL pl_PL tr_TR sv_SE id_ID cs_CZ")
OTHER_LOCALES = _words("ru_RU ja_JP zh_CN ko_KR el_GR")
LOREM_LOCALES = _words("en_US de_DE fr_FR es_ES it_IT nl_NL pl_PL cs_CZ la ru_RU ja_JP zh_CN el_GR")
COMPANY_ENDS = [
    "Ltd",
    "Inc",
    "& Sons",
    "& Co",
    *_words("""
Group Bros GmbH Motors Foods Bank Records Pictures Studios Airlines Electronics Pharma Hotel Cafe Bakery
Pizza Market Express Store Sports Media News TV Tools Books Coffee Beer Insurance Energy Tech Games Fashion
"""),
]
STREET_ENDS = _words("""
Street St Road Rd Avenue Ave Lane Square Park Bridge Station Hill Drive Way Stadium Airport Beach Plaza
Museum School University Hospital Church Tower
""")
SYLLABLE_STARTS = _words("b c d f g h j k l m n p r s t v w x y z br cr dr fl gr kr pl pr sk sl st tr sh ch th qu")
SYLLABLE_VOWELS = _words("a e i o u a e i o ai ea ee io oo ou y")
SYLLABLE_ENDS = ["", "", "", "", *_words("n r s l x t k m nd rt ck ss ng")]
MONTHS = _words("January February March April May June July August September October November December")
DAYS = _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
UNITS = _words("km kg g mg ml l cm mm m mph km/h kcal W V GB MB fps % px hp °C min sec pcs oz lb ft")
TOP_LEVELS = _words("com com com net org co.uk de fr io tv info edu gov")
CURRENCY_SIGNS = _words("$ $ $ £ € ¥ ₹")
LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"
TITLE_FORMS = (
    "The {a} of {b}",
    "{a} and {b}",
    "How to {a} your {b}",
    "The {a} {b}",
    "{a} in {c}",
    "{a}: {b} {d}",
    "{c}'s {a}",
    "Introduction to {a}",
    "The {a}",
    "{a} {b}",
    "Chapter {n} {a}",
    "{a} Part {n}",
)
PLATE_FORMS = (
    "AA00 AAA",
    "AAA 000",
    "AAA-0000",
    "A-AA 0000",
    "00-AAA-0",
    "0AAA000",
    "AA 0000",
    "AA000",
    "A00",
    "AAA0A00",
    "AA-000-AA",
    "AA 00 AA 0000",
)
PHONE_FORMS = ("000-0000", "(000) 000-0000", "00 000 0000", "0000 000 000", "+00 00 000000", "0-800-000-000")


def is_held_out(word: str) -> bool:
    """Whether a word belongs to validation: decided by a hash of its lower-cased letters, the same on every machine."""
    return zlib.crc32(word.lower().encode()) % HELD_OUT_ONE_IN == 0


@cache
def text_material(held_out: bool) -> "TextMaterial":
    """The material of a split, drawn once in a process: that takes seconds."""
    return TextMaterial(held_out)


class TextMaterial:
    """Pools of words, and one method for each kind of text that can be made of them.

    Every method takes the source of chance and returns one text, e.g. `material.plate(rng)` -> `"KX12 BDF"`.

    Args:
        held_out: False for the words of training, True for those of validation. The two share no word of a pool.
        seed: seed of the pools drawn from faker.

    Raises:
        ImportError: without the extra `[train-mini]`.
    """

    def __init__(self, held_out: bool = False, seed: int = 0):
        try:
            from english_words import get_english_words_set
            from faker import Faker
        except ImportError as error:
            raise ImportError(
                'Generating text pairs needs faker and english-words: pip install "tcd-hf[train-mini]".'
            ) from error
        self.held_out = held_out
        web2 = get_english_words_set(["web2"], lower=True, alpha=True)
        gcide = get_english_words_set(["gcide"], lower=True, alpha=True)
        lorem = {locale: Faker(locale).get_words_list() for locale in LOREM_LOCALES}
        self.dictionary = self._keep(word for word in web2 & gcide if 3 <= len(word) <= 12)
        self.common = self._keep(word for word in lorem["en_US"] if len(word) > 2)
        self.foreign = self._keep(word for words in lorem.values() for word in words if word.lower() not in web2)
        self._draw_names({locale: Faker(locale) for locale in LATIN_LOCALES + OTHER_LOCALES}, seed)

    def _keep(self, texts: Iterable[str]) -> list[str]:
        """Texts whose words are all of this split, sorted so that the order does not depend on a set's."""
        return sorted({text for text in texts if text and all(is_held_out(w) == self.held_out for w in text.split())})

    def _draw_names(self, fakers: dict, seed: int, draws: int = 1500) -> None:
        def draw(methods: Iterable[str], locales: Iterable[str], count: int = draws) -> list[str]:
            return self._keep(
                getattr(fakers[loc], method)() for loc in locales for method in methods for _ in range(count)
            )

        for fake in fakers.values():
            fake.seed_instance(seed)
        self.first = draw(["first_name"], LATIN_LOCALES)
        self.last = draw(["last_name"], LATIN_LOCALES)
        # faker's Italian cities change with the interpreter's hash seed
        self.cities = draw(["city"], [locale for locale in LATIN_LOCALES if locale != "it_IT"])
        self.countries = self._keep(fakers["en_US"].country().split("(")[0].strip() for _ in range(draws))
        self.other_scripts = draw(["last_name", "city", "company", "name"], OTHER_LOCALES, draws // 4)

    # words ---------------------------------------------------------------------------------------------------------
    def word(self, rng: random.Random) -> str:
        """One word: common, rare or foreign."""
        chance = rng.random()
        return rng.choice(self.common if chance < 0.45 else self.dictionary if chance < 0.85 else self.foreign)

    def phrase(self, rng: random.Random) -> str:
        """One to five words, as on a sign or in a heading."""
        return " ".join(self.word(rng) for _ in range(rng.choice((1, 1, 2, 2, 2, 3, 3, 4, 5))))

    def invented(self, rng: random.Random) -> str:
        """A word that no dictionary has, of one to three syllables."""
        while True:
            word = "".join(
                rng.choice(SYLLABLE_STARTS) + rng.choice(SYLLABLE_VOWELS) + rng.choice(SYLLABLE_ENDS)
                for _ in range(rng.choice((1, 2, 2, 2, 3)))
            )
            if rng.random() < 0.2:
                word = word.lstrip("bcdfghjklmnpqrstvwxz")  # as many names do, it begins with a vowel
            if len(word) > 3 and is_held_out(word) == self.held_out:
                return word

    def acronym(self, rng: random.Random) -> str:
        """Two to five capital letters, such as a channel's or a company's."""
        while True:
            word = "".join(rng.choice(ascii_uppercase) for _ in range(rng.choice((2, 3, 3, 3, 4, 4, 5))))
            if is_held_out(word) == self.held_out:
                return word

    def other_script(self, rng: random.Random) -> str:
        """A name, place or company in Cyrillic, Greek, Chinese, Japanese or Korean."""
        return rng.choice(self.other_scripts)

    # names ---------------------------------------------------------------------------------------------------------
    def person(self, rng: random.Random) -> str:
        """A person's name: first and last, an initial and the last, or the last alone."""
        last, chance = rng.choice(self.last), rng.random()
        if chance < 0.3:
            return last
        first = rng.choice(self.first)
        return f"{first[0]}. {last}" if chance < 0.4 else f"{first} {last}"

    def place(self, rng: random.Random) -> str:
        """A city, country, street or building."""
        chance = rng.random()
        if chance < 0.5:
            return rng.choice(self.cities)
        if chance < 0.65:
            return rng.choice(self.countries)
        return f"{rng.choice(self.last if chance < 0.85 else self.cities)} {rng.choice(STREET_ENDS)}"

    def brand(self, rng: random.Random) -> str:
        """A company or product, with or without what it deals in; sometimes run together or with a model number."""
        chance = rng.random()
        if chance < 0.12:
            head = self.acronym(rng)
        else:
            head = self.invented(rng) if chance < 0.6 else rng.choice(self.last) if chance < 0.78 else self.word(rng)
            head = head.capitalize()
        chance = rng.random()
        if chance < 0.35:
            return head
        if chance < 0.6:
            return f"{head} {rng.choice(COMPANY_ENDS)}"
        if chance < 0.7:
            return f"{head}{rng.choice(COMPANY_ENDS).lower().replace('& ', '')}"
        if chance < 0.85:
            return f"{head} {self.word(rng)}"
        return f"{head} {rng.choice(LETTERS)}{rng.randrange(1, 1000)}"

    def team(self, rng: random.Random) -> str:
        """A team: a town, a country, or a town with a suffix; sometimes its three letters."""
        name, chance = rng.choice(self.cities if rng.random() < 0.6 else self.countries), rng.random()
        if chance < 0.25:
            return name.replace(" ", "")[:3].upper()
        return f"{name} {rng.choice(('FC', 'United', 'City', 'Rovers', 'Tigers', 'Kings'))}" if chance < 0.4 else name

    def title(self, rng: random.Random) -> str:
        """A book's, film's or lecture's title."""
        form = rng.choice(TITLE_FORMS)
        return form.format(a=self.word(rng).capitalize(), b=self.word(rng).capitalize(), c=rng.choice(self.first),
                           d=self.word(rng), n=rng.randrange(1, 30))  # fmt: skip

    # numbers -------------------------------------------------------------------------------------------------------
    def number(self, rng: random.Random) -> str:
        """A number of one to six digits, with or without a unit."""
        digits = str(rng.randrange(1, 10 ** rng.choice((1, 2, 2, 3, 3, 4, 4, 5, 6))))
        chance = rng.random()
        if chance < 0.5:
            return digits
        if chance < 0.8:
            return digits + rng.choice(("", " ")) + rng.choice(UNITS)
        return f"{digits}.{rng.randrange(10)}" if chance < 0.9 else f"No. {digits}"

    def plate(self, rng: random.Random) -> str:
        """A number plate, flight number or serial code."""
        form = rng.choice(PLATE_FORMS)
        return "".join({"A": rng.choice(LETTERS), "0": str(rng.randrange(10))}.get(c, c) for c in form)

    def price(self, rng: random.Random) -> str:
        """A price or a discount."""
        chance, sign = rng.random(), rng.choice(CURRENCY_SIGNS)
        if chance < 0.45:
            return f"{sign}{rng.randrange(100)}.{rng.choice(('99', '50', '95', '00', str(rng.randrange(10, 100))))}"
        if chance < 0.65:
            return f"{sign}{rng.randrange(1, 2000)}"
        if chance < 0.8:
            return f"{rng.randrange(1, 20) * 5}% off"
        return f"{rng.randrange(1, 500)} {rng.choice(('dollars', 'euro', 'USD', 'yuan', 'rupees', 'cents'))}"

    def date_or_time(self, rng: random.Random) -> str:
        """A clock, opening hours, a date or a year."""
        chance, hour, minute = rng.random(), rng.randrange(24), rng.randrange(60)
        if chance < 0.3:
            return f"{hour}:{minute:02d}"
        if chance < 0.45:
            return f"{rng.randrange(1, 13)}{rng.choice(('am', ' AM', 'pm', ' PM'))}"
        if chance < 0.6:
            return f"{rng.randrange(1, 29)} {rng.choice(MONTHS)}"
        if chance < 0.7:
            return f"{rng.randrange(1, 29):02d}/{rng.randrange(1, 13):02d}/{rng.randrange(1990, 2027)}"
        return rng.choice(DAYS) if chance < 0.8 else str(rng.randrange(1900, 2030))

    def score(self, rng: random.Random) -> str:
        """Two teams or players and their points."""
        a, b = (
            (self.team(rng), self.team(rng)) if rng.random() < 0.7 else (rng.choice(self.last), rng.choice(self.last))
        )
        top = rng.choice((5, 5, 30, 120))
        x, y = rng.randrange(top), rng.randrange(top)
        return rng.choice((f"{a} {x} - {y} {b}", f"{a} {x} {b} {y}", f"{a} {x}-{y} {b}", f"{a} {x}:{y} {b}"))

    def contact(self, rng: random.Random) -> str:
        """A web address, e-mail address, handle, hash tag or telephone number."""
        chance = rng.random()
        name = self.invented(rng) if rng.random() < 0.5 else self.word(rng)
        if chance < 0.35:
            return f"{rng.choice(('www.', '', 'http://'))}{name}.{rng.choice(TOP_LEVELS)}"
        if chance < 0.5:
            return f"@{name}{rng.choice(('', '_', str(rng.randrange(100))))}"
        if chance < 0.6:
            return f"#{name}{rng.choice(('', self.word(rng)))}"
        if chance < 0.7:
            return f"{rng.choice(self.first).split()[0].lower()}@{name}.{rng.choice(TOP_LEVELS)}"
        form = rng.choice(PHONE_FORMS)
        return "".join(str(rng.randrange(10)) if c == "0" else c for c in form)
