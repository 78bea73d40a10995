"""Real clips as cards: read once by the real engine, then shown and searched among others."""

from pathlib import Path

from scripts.benchmarks.videos.cards import TICK, Card

__all__ = ["read_clips"]


def record_clips(folder: Path, engine, reading_interval: float | None) -> dict[str, Card]:
    """Reads real clips once, as the captioner does, into cards: one picture for each stretch of frames that it reads.

    The product then cuts, samples, reads and merges what it is shown as it does with any video. What a card loses is
    the picture itself: queries that name a text do not need it.

    Args:
        folder: with `clips/`.
        engine: an OCR engine that keeps its readings, such as `scripts.benchmarks.ocr.timed_engine.TimedEngine`.
        reading_interval: of the captioner.
    """
    from tcd_hf.processing.frame_skipping import split_into_stretches
    from tcd_hf.processing.ocr_engines import get_engine
    from tcd_hf.processing.video_reading import open_video

    cards = {}
    for path in sorted((folder / "clips").glob("*.mp4")):
        with open_video(path) as video:
            times = [(i + 0.5) * TICK for i in range(max(1, int(video.duration / TICK)))]
            frames = zip(times, video.iter_frames_at(times, max_side=1280), strict=True)
            reader, readings, ticks = get_engine(engine).video_reader(), [], []
            for number, stretch in enumerate(split_into_stretches(frames, reading_interval)):
                readings.append(tuple((each.text, each.confidence, each.box) for each in reader([stretch])[0]))
                ticks += [number] * len(stretch.times)
            for each, numbers in getattr(reader, "read_standing", list)():
                for number in numbers:
                    readings[number] += ((each.text, each.confidence, each.box),)
        cards[path.relative_to(folder).as_posix()] = Card(tuple(readings), tuple(ticks))
    return cards


def read_clips(folder: Path, store: Path | None, model: str) -> dict[str, Card]:
    """Real clips as cards, by the engine and settings of a model's processor; readings are kept in `store`."""
    from scripts.benchmarks.ocr.timed_engine import TimedEngine
    from tcd_hf.loading import load_processor
    from tcd_hf.processing.ocr_engines import get_engine

    processor = load_processor(model)
    engine = get_engine(processor.ocr_engine, **(processor.ocr_options or {}))
    return record_clips(folder, TimedEngine(engine, store), processor.reading_interval)
