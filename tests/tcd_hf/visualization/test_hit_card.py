from dataclasses import replace
from html.parser import HTMLParser

from tcd_hf.index.hits import Hit
from tcd_hf.index.moments import Moment

ATTACK = '"><img src=x onerror=alert(1)></mark><script>alert(1)</script>\u202e\x1b[31m'
HIT = Hit("/videos/shop.mp4", 0.61234, 0.1, 0.2, 0.3, 0.4, 62.0, 65.5, ["TESCO", "express"])


class Card(HTMLParser):
    def __init__(self, hit: Hit):
        super().__init__()
        self.tags, self.texts, self.marked, self.titles = [], [], [], []
        self.feed(hit._repr_html_())

    def handle_starttag(self, tag, attributes):
        assert {name for name, _ in attributes} <= {"style", "title"}
        self.tags.append(tag)
        self.titles += [value for name, value in attributes if name == "title"]

    def handle_data(self, data):
        self.texts.append(data)
        if self.tags[-1] == "mark" and self.get_starttag_text() == "<mark>" and data.strip():
            self.marked.append(data)


def test_it_shows_name_score_times_and_evidence():
    card = Card(replace(HIT, moments=[Moment(3725.3, 3728.0, 0.5, ["SALE"]), Moment(10.0, 12.0, 0.4)]))
    said = "".join(card.texts)
    assert said == ("shop.mp4 0.6120:01:02.0–0:01:05.5 TESCO express1:02:05.3–1:02:08.0 SALE0:00:10.0–0:00:12.0")
    assert card.marked == ["TESCO", "express", "SALE"]
    assert card.titles == ["/videos/shop.mp4"]


def test_it_says_what_is_weak_and_what_matches_by_meaning():
    meant, spelled = ({"text": text, "time": 62.5, "match": how} for text, how in (("TESCO", "means"), ("a", "spells")))
    card = Card(replace(HIT, evidence=["TESCO", "a"], boxes=[meant, spelled], moments=[Moment(1, 2, 0.5, ["TESCO"])]))
    assert "".join(card.texts) == "shop.mp4 0.6120:01:02.0–0:01:05.5 TESCO by meaning a0:00:01.0–0:00:02.0 TESCO"
    weak = Card(replace(HIT, score=0.05, evidence=[], is_weak=True))
    assert "".join(weak.texts) == "shop.mp4 0.050 weak match0:01:02.0–0:01:05.5"
    assert "weak" not in HIT._repr_html_() and "meaning" not in HIT._repr_html_()


def test_what_comes_from_outside_is_shown_as_text():
    card = Card(replace(HIT, path=f"/v/{ATTACK.replace('/', '|')}", evidence=[ATTACK]))
    assert set(card.tags) == {"div", "b", "mark"}
    spelt = ATTACK.replace("\u202e", "\\u202e").replace("\x1b", "\\x1b")
    assert card.marked == [spelt]
    assert card.titles == [f"/v/{spelt.replace('/', '|')}"]
    assert "\u202e" not in HIT._repr_html_() and spelt.replace("/", "|") in card.texts[0]


def test_no_video_is_read_and_nothing_need_be_found():
    card = Card(replace(HIT, path="/lost/a.mp4", evidence=[]))
    assert "a.mp4" in card.texts[0] and card.marked == []
