"""The synthetic world: repeatable, disjoint between splits, and with negatives that differ as they say."""

import json
import os
import re
import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest

pytest.importorskip("faker")
pytest.importorskip("english_words")
pytest.importorskip("font_lato")
pytest.importorskip("font_caladea")
pytest.importorskip("font_fredoka_one")
pytest.importorskip("font_amatic_sc")

from tcd_hf.data import synthetic, synthetic_reading, synthetic_scene
from tcd_hf.data.ocr_noise import OCRNoise
from tcd_hf.data.query_templates import CLAUSES
from tcd_hf.data.synthesis import write_synthetic_videos
from tcd_hf.data.synthetic import DURATION, FPS, GROUPS, SyntheticClip, make_clip
from tcd_hf.data.synthetic_backgrounds import BACKGROUNDS
from tcd_hf.data.synthetic_queries import SPLITS, SplitTexts, is_shared, query_forms, split_of, words_of
from tcd_hf.data.synthetic_reading import (
    READING_RATES,
    ReadingRate,
    legibility,
    measure_reading_rates,
    seen_in_windows,
)
from tcd_hf.data.synthetic_scene import COLORS, FACES, MOTIONS, SHAPES, SIZES, Painter, load_font
from tcd_hf.processing.video_reading import open_video
from tcd_hf.processing.window_ocr import WindowCaption

CENTERS = (np.arange(12) + 0.5) * DURATION / 12


@pytest.fixture(scope="module")
def gallery() -> list[SyntheticClip]:
    return [make_clip(0, "test", number) for number in range(400)]


@pytest.fixture(scope="module")
def pairs(gallery) -> list[tuple[SyntheticClip, SyntheticClip, str]]:
    """Every clip with each of its negatives, and how they are said to differ."""
    return [(clip, gallery[number], how) for clip in gallery for number, how in clip.negatives.items()]


def looks(clip: SyntheticClip) -> set[tuple[str, str]]:
    return {(thing.color, thing.shape) for thing in clip.scene.things}


def texts(clip: SyntheticClip) -> set[str]:
    return {lettering.text.lower() for lettering in clip.scene.letterings}


def asked(clip: SyntheticClip) -> tuple[tuple[str, str], str]:
    """Colour and shape of the object and the text that a query of kind "both" or "temporal" names, lower-cased."""
    named = [thing for thing in clip.scene.things[1:] if thing.color in re.findall(r"\w+", clip.query.lower())]
    shown = [text for text in texts(clip) if text in clip.query.lower()]
    return (named[0].color, named[0].shape), max(shown, key=len)


class TestDeterminism:
    def test_a_clip_can_be_made_alone(self, gallery):
        synthetic.split_texts.cache_clear()
        for number in (37, 5, 398):
            again = make_clip(0, "test", number)
            assert again == gallery[number]
            assert np.array_equal(again.frames(4, 48), gallery[number].frames(4, 48))
            assert again.captions() == gallery[number].captions()

    @pytest.mark.slow
    def test_every_process_makes_the_same(self):
        code = """
from hashlib import sha256
from tcd_hf.data.synthetic import make_clip
clips = [make_clip(3, split, number) for split in ("train", "validation", "test") for number in range(0, 200, 7)]
print(sha256(repr([(clip, clip.captions(), clip.frames(2, 32).tobytes()) for clip in clips]).encode()).hexdigest())
"""
        digests = {
            subprocess.run(
                [sys.executable, "-c", code],
                env={**os.environ, "PYTHONHASHSEED": seed},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for seed in ("1", "2")
        }
        assert len(digests) == 1 and len(digests.pop().strip()) == 64

    def test_seeds_and_splits_give_other_worlds(self, gallery):
        for other in (make_clip(1, "test", 37), make_clip(0, "train", 37)):
            assert other.query != gallery[37].query and other.scene != gallery[37].scene

    @pytest.mark.parametrize(("split", "number", "message"), [("dev", 0, "got 'dev'"), ("test", -1, "got -1")])
    def test_refusals(self, split, number, message):
        with pytest.raises(ValueError, match=message):
            make_clip(0, split, number)


class TestSplits:
    def test_words_are_disjoint(self):
        seen = {}
        for split in SPLITS:
            clips = [make_clip(0, split, number) for number in range(300)]
            words = {word for clip in clips for text in texts(clip) for word in words_of(text)}
            seen[split] = {word for word in words if not is_shared(word)}
        assert all(len(words) > 200 for words in seen.values())
        assert all(not seen[a] & seen[b] for a, b in combinations(SPLITS, 2))

    def test_a_word_is_of_one_split_whatever_its_case(self):
        assert split_of("Kolmar") == split_of("KOLMAR")
        shares = np.mean([[split_of(f"word{number}") == split for split in SPLITS] for number in range(4000)], axis=0)
        assert shares == pytest.approx([7 / 8, 1 / 16, 1 / 16], abs=0.015)

    def test_forms_are_disjoint(self):
        kinds = [("text", kind) for kind in CLAUSES] + [("visual", ""), ("both", ""), ("temporal", "")]
        for kind, text_kind in kinds:
            forms = {split: set(query_forms(kind, split, text_kind)) for split in SPLITS}
            assert all(forms.values())
            assert all(not forms[a] & forms[b] for a, b in combinations(SPLITS, 2))

    def test_alter_changes_one_word(self):
        import random

        material, rng = SplitTexts("validation"), random.Random(0)
        for _ in range(300):
            _, text = material.draw(rng)
            altered = material.alter(text, rng)
            assert altered != text
            assert sum(a != b for a, b in zip(text.split(), altered.split(), strict=True)) == 1
            assert all(is_shared(word) or split_of(word) == "validation" for word in words_of(altered))


class TestGroups:
    def test_every_number_has_its_kind(self, gallery):
        kinds = [clip.kind for clip in gallery[:20]]
        assert kinds == [kind for kind, members in GROUPS.items() for _ in range(members)]
        assert all(len(clip.negatives) == GROUPS[clip.kind] - 1 for clip in gallery)

    def test_members_share_what_is_not_asked_for(self, pairs):
        for clip, negative, _ in pairs:
            assert clip.kind == negative.kind
            assert clip.scene.background == negative.scene.background
            assert clip.scene.things[0] == negative.scene.things[0]
            assert clip.crf == negative.crf
            styles = [
                [(text.face, text.height, text.ink, text.origin, text.start, text.end) for text in one.scene.letterings]
                for one in (clip, negative)
            ]
            assert styles[0] == styles[1]

    def test_text_queries(self, pairs):
        of_kind = [(clip, negative) for clip, negative, how in pairs if clip.kind == "text" and how == "other text"]
        assert len(of_kind) == 20 * 4 * 3
        for clip, negative in of_kind:
            assert clip.scene.things == negative.scene.things
            (own,) = texts(clip) - texts(negative)
            assert own in clip.query.lower() and own not in negative.query.lower()

    def test_visual_queries(self, pairs):
        of_kind = [(clip, negative) for clip, negative, how in pairs if clip.kind == "visual" and how == "other object"]
        assert len(of_kind) == 20 * 4 * 3
        for clip, negative in of_kind:
            assert texts(clip) == texts(negative)
            (a, b), (other_a, other_b) = clip.scene.things[1:], negative.scene.things[1:]
            assert b == other_b and a != other_a and a.size == other_a.size and a.center == other_a.center
            assert a.color in clip.query.lower() and b.color in clip.query.lower()
        bases = [clip for clip, _ in of_kind[:: 3 * 4]]
        assert {bool(clip.scene.letterings) for clip in bases} == {True, False}

    def test_visual_negatives_of_the_first_member_change_one_thing(self, gallery):
        for clip in (clip for clip in gallery if clip.kind == "visual" and clip.number % 20 == 4):
            others = [gallery[number].scene.things[1] for number in sorted(clip.negatives)]
            own = clip.scene.things[1]
            changed = [[f for f in ("color", "shape", "motion") if getattr(own, f) != getattr(o, f)] for o in others]
            assert changed == [["color"], ["shape"], ["motion"]]

    @pytest.mark.parametrize("kind", ["both", "temporal"])
    def test_differences_are_as_stated(self, pairs, kind):
        counts = {}
        for clip, negative, how in pairs:
            if clip.kind != kind:
                continue
            look, text = asked(clip)
            assert look in looks(clip) and text in texts(clip)
            assert (look in looks(negative)) == (how in ("other text", "other time"))
            assert (text in texts(negative)) == (how in ("other object", "other time"))
            counts[how] = counts.get(how, 0) + 1
        if kind == "both":
            assert counts == {"other object": 80, "other text": 80, "other object and text": 80}
        else:
            assert counts == {"other object": 320, "other text": 320, "other object and text": 320, "other time": 160}

    def test_temporal_binding(self, pairs):
        """A query's object and text meet in its clip, in every window of the target, and never in the swapped one."""

        def meetings(clip, look, text):
            (thing,) = [thing for thing in clip.scene.things if (thing.color, thing.shape) == look]
            (lettering,) = [one for one in clip.scene.letterings if one.text.lower() == text]
            return min(thing.end, lettering.end) - max(thing.start, lettering.start), thing, lettering

        swapped = [(clip, negative) for clip, negative, how in pairs if how == "other time"]
        assert len(swapped) == 160
        for clip, negative in swapped:
            look, text = asked(clip)
            seconds, _, lettering = meetings(clip, look, text)
            assert seconds >= 1.25 and clip.target == (lettering.start, lettering.end)
            seconds, thing, lettering = meetings(negative, look, text)
            assert seconds <= -0.5  # as long as one of twelve windows
            assert not any(
                lettering in seen and thing.start < window[1] and thing.end > window[0]
                for seen, window in zip(
                    seen_in_windows(negative.scene, DURATION), [(i / 2, (i + 1) / 2) for i in range(12)], strict=True
                )
            )
            assert sorted(texts(clip)) == sorted(texts(negative)) and looks(clip) == looks(negative)

    def test_no_text_is_asked_for_in_two_groups(self):
        clips = [make_clip(0, "test", number) for number in range(1000)]
        groups = {}
        for clip in clips:
            if clip.kind != "visual":
                named = max((text for text in texts(clip) if text in clip.query.lower()), key=len)
                groups.setdefault(named, set()).add(min([clip.number, *clip.negatives]))
        assert len(groups) == 50 * (4 + 2 + 4)
        shown = {}
        for clip in clips:
            for text in texts(clip):
                shown.setdefault(text, set()).add(min([clip.number, *clip.negatives]))
        assert [text for text in groups if shown[text] != groups[text]] == []


class TestPictures:
    def test_everything_occurs(self, gallery):
        assert {clip.scene.background.kind for clip in gallery} == set(BACKGROUNDS)
        things = [thing for clip in gallery for thing in clip.scene.things]
        for field, names in (("color", COLORS), ("shape", SHAPES), ("size", SIZES), ("motion", MOTIONS)):
            assert {getattr(thing, field) for thing in things} == set(names)
        letterings = [lettering for clip in gallery for lettering in clip.scene.letterings]
        assert {lettering.face for lettering in letterings} == set(range(len(FACES)))
        assert {legibility(lettering) for lettering in letterings} == set(READING_RATES)
        assert any(lettering.carrier for lettering in letterings) and any(lettering.edge for lettering in letterings)

    def test_fonts_have_every_letter(self):
        letters = [chr(code) for code in range(0xFF) if chr(code).isalpha()]
        for face in range(len(FACES)):
            font = load_font(face, 23)
            missing = bytes(font.getmask("\U0001fffe"))
            assert all(bytes(font.getmask(letter)) != missing for letter in letters)

    def test_missing_fonts_are_named(self, monkeypatch):
        monkeypatch.setattr(synthetic_scene, "FACES", (("font_of_nowhere", "Nowhere"),))
        with pytest.raises(ImportError, match=r"font-of-nowhere.*tcd-hf\[synthetic\]"):
            load_font(0, 21)

    def test_boxes_are_inside_the_frame(self, gallery):
        for clip in gallery:
            for lettering in clip.scene.letterings:
                for time in np.linspace(lettering.start, lettering.end, 9):
                    x0, y0, x1, y1 = lettering.box(time)
                    assert -1e-9 <= x0 < x1 <= 1 + 1e-9 and -1e-9 <= y0 < y1 <= 1 + 1e-9

    def test_objects_stay_in_sight(self, gallery):
        for clip in gallery:
            for thing in clip.scene.things:
                for time in np.linspace(thing.start, thing.end, 9):
                    x, y, diameter = thing.pose(time)
                    assert min(x, y) - diameter / 2 >= -0.05 and max(x, y) + diameter / 2 <= 1.05

    def test_a_text_changes_its_box_and_nothing_else(self, gallery):
        clip = next(clip for clip in gallery if clip.kind == "both")
        lettering = clip.scene.letterings[-1]
        without = type(clip.scene)(clip.scene.background, clip.scene.things, clip.scene.letterings[:-1])
        time = (lettering.start + lettering.end) / 2
        a, b = (Painter(scene, 200, DURATION).frame(time).astype(int) for scene in (clip.scene, without))
        rows, columns = np.nonzero(np.abs(a - b).max(axis=-1))
        x0, y0, x1, y1 = (200 * part for part in lettering.box(time))
        assert len(rows) > 100
        assert x0 - 1.5 <= columns.min() and columns.max() <= x1 + 1.5
        assert y0 - 1.5 <= rows.min() and rows.max() <= y1 + 1.5

    def test_sizes_agree(self, gallery):
        small, large = gallery[3].frames(4, 80), gallery[3].frames(4, 240)
        reduced = large.reshape(4, 80, 3, 80, 3, 3).mean(axis=(2, 4))
        assert np.abs(small - reduced).mean() < 8
        assert np.abs(gallery[23].frames(4, 80) - reduced).mean() > 25

    @pytest.mark.parametrize("number", [0, 9, 12])
    def test_file_shows_the_frames_of_the_fast_path(self, gallery, number, tmp_path):
        clip = gallery[number]
        with open_video(clip.write(tmp_path / "clip.mp4", 192)) as video:
            assert video.num_frames == FPS * DURATION and video.duration == pytest.approx(DURATION)
            decoded = np.stack(video.frames_at(CENTERS)).astype(int)
        frames = clip.frames(12, 192)
        assert frames.shape == decoded.shape == (12, 192, 192, 3) and frames.dtype == np.uint8
        errors = np.abs(decoded[:, None] - frames[None].astype(int)).mean(axis=(2, 3, 4))
        assert errors.diagonal().max() < 6


class TestReading:
    def test_captions_hold_what_shows(self, gallery, monkeypatch):
        clean = {sort: ReadingRate(0.0, 0.0) for sort in READING_RATES}
        monkeypatch.setattr(synthetic_reading, "READING_RATES", clean)
        for clip in gallery[:60]:
            for caption, time in zip(clip.captions(12), CENTERS, strict=True):
                shown = {lettering.text for lettering in clip.scene.seen(time)}
                assert len(caption) == sum(map(len, shown)) + max(0, len(shown) - 1)
                assert all(text in caption for text in shown)

    def test_captions_are_noisy_but_near(self, gallery):
        clips = [clip for clip in gallery if clip.scene.letterings]
        words = [(word, caption.split()) for clip in clips for caption, seen in
                 zip(clip.captions(), seen_in_windows(clip.scene, DURATION), strict=True)
                 for lettering in seen for word in lettering.text.split()]  # fmt: skip
        assert 0.7 < np.mean([word in caption for word, caption in words]) < 0.99

    def test_captions_are_their_readings(self, gallery):
        for clip in gallery[:40]:
            readings = clip.readings()
            assert clip.captions() == [" ".join(texts) for texts in readings]
            seen = seen_in_windows(clip.scene, DURATION)
            assert all(len(read) <= len(shown) for read, shown in zip(readings, seen, strict=True))
            assert all(all(texts) for texts in readings)

    def test_a_text_is_read_alike_however_the_window_is_looked_at(self, gallery):
        more = 0
        for clip in gallery[:40]:
            for few, many in zip(clip.readings(12, 0.2, 8.0), clip.readings(12, 1.0, 8.0), strict=True):
                assert set(few) <= set(many)
                more += len(many) > len(few)
        assert more > 10

    def test_window_scale_is_the_part_that_is_looked_at(self, gallery):
        clip = next(clip for clip in gallery if clip.kind == "temporal")
        for scale in (0.3, 0.7, 1.0):
            windows = seen_in_windows(clip.scene, DURATION, 4, scale, 8.0)
            for number, seen in enumerate(windows):
                width = DURATION / 4 * scale
                count = int(np.ceil(width * 8 - 1e-9))
                center = (number + 0.5) * DURATION / 4
                times = center - width / 2 + (np.arange(count) + 0.5) * width / count
                expected = {text for text in clip.scene.letterings if any(text in clip.scene.seen(t) for t in times)}
                assert set(seen) == expected

    def test_any_number_of_windows(self, gallery):
        assert [len(gallery[0].captions(count)) for count in (1, 5, 12, 32)] == [1, 5, 12, 32]

    @pytest.mark.parametrize(("missed", "level"), [(0.0, 0.0), (0.3, 0.2)])
    def test_rates_are_recovered(self, gallery, tmp_path, monkeypatch, missed, level):
        """Measured on a captioner whose errors are known."""
        import random

        rng, noise = random.Random(0), OCRNoise(level)
        clips = {f"test-{clip.number}": clip for clip in gallery}
        monkeypatch.setattr(SyntheticClip, "write", lambda clip, path, size: path)

        class Captioner:
            num_windows = 12

            def __call__(self, path):
                captions = []
                for number, seen in enumerate(seen_in_windows(clips[path.stem].scene, DURATION)):
                    read = [noise(one.text.split(), rng) for one in seen if rng.random() >= missed]
                    text = " ".join(word for words in read for word in words)
                    captions.append(WindowCaption(number / 2, (number + 1) / 2, text))
                return captions

        rates = measure_reading_rates(clips.values(), Captioner(), tmp_path)
        for rate in rates.values():
            assert rate.missed == pytest.approx(missed, abs=0.06)
            assert rate.noise_level == pytest.approx(level, abs=0.05)


class TestFiles:
    def test_folder(self, tmp_path, gallery):
        write_synthetic_videos(tmp_path, clips=3, size=64)
        rows = [json.loads(line) for line in (tmp_path / "test" / "metadata.jsonl").read_text("utf-8").splitlines()]
        assert [row["caption"] for row in rows] == [clip.query for clip in gallery[:3]]
        assert [row["negatives"][0]["differs"] for row in rows] == ["other text"] * 3
        assert {row["file_name"] for row in rows} == {file.name for file in (tmp_path / "test").glob("*.mp4")}
        with pytest.raises(ValueError, match="even number of pixels, 2 or more, got 33"):
            write_synthetic_videos(tmp_path, size=33)
        with pytest.raises(ValueError, match=r"of \['train', 'validation', 'test'\], got \['exam'\]"):
            write_synthetic_videos(tmp_path, ["exam"])
