import av
import numpy as np
import pytest

from tcd_hf.demo import DEMO_CLIPS, DEMO_QUERIES, FPS, HEIGHT, SECONDS, WIDTH, render_demo_clips


def read_frames(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return {path.name: path for path in render_demo_clips(tmp_path_factory.mktemp("demo") / "clips")}


def test_every_clip_is_a_readable_file_of_the_stated_size(clips):
    assert list(clips) == [clip.name for clip in DEMO_CLIPS]
    for path in clips.values():
        frames = read_frames(path)
        assert len(frames) == FPS * SECONDS
        assert frames[0].shape == (HEIGHT, WIDTH, 3)


def test_files_of_the_user_are_not_overwritten(tmp_path):
    (tmp_path / "market.mp4").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"already holds market\.mp4: choose another"):
        render_demo_clips(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["market.mp4"]
    assert (tmp_path / "market.mp4").read_bytes() == b"mine"


def test_texts_appear_when_and_move_as_stated(clips):
    cafe = read_frames(clips["cafe.mp4"])
    lower_half = np.stack([frame[HEIGHT // 2 :] for frame in cafe]).astype(int)
    assert abs(lower_half[10] - lower_half[5]).max() < 40  # nothing there before 1.5 s but what the codec does
    assert abs(lower_half[25] - lower_half[5]).max() > 100  # "open 7 am to 10 pm"
    traffic = read_frames(clips["traffic.mp4"])
    columns = [np.flatnonzero((frame.max(axis=2) < 60).any(axis=0)).mean() for frame in (traffic[0], traffic[-1])]
    assert columns[1] - columns[0] > 0.4 * WIDTH  # the number plate drives from left to right
    assert np.abs(np.diff(np.stack(read_frames(clips["sunset.mp4"])).astype(int), axis=0)).max() < 40  # no text


def test_every_clip_with_text_is_searched_for():
    assert set(DEMO_QUERIES.values()) == {clip.name for clip in DEMO_CLIPS if clip.texts}
